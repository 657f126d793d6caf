//! A map: keys and values as bytes.

#[cfg(feature = "bulk")]
mod bulk;
#[cfg(any(feature = "explain", feature = "manage"))]
mod closed;
mod entries;
#[cfg(feature = "kinds")]
mod handle;
#[cfg(feature = "kinds")]
mod kinds;
#[cfg(feature = "manage")]
mod manage;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use kscope_spec::{MapKind, MapSpec};
use kscope_sys::{Errno, MapFd, MapValues, SharedKernel};

use crate::create::{Extras, create};
use crate::denial::{Needs, explain};
use crate::error::Error;

pub use entries::PerCpuValues;
#[cfg(feature = "manage")]
pub use manage::MapDetails;

/// What an update does when the key is there already, or is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateMode {
    /// Creates or replaces (`BPF_ANY`).
    Any,
    /// Only creates (`BPF_NOEXIST`).
    Create,
    /// Only replaces (`BPF_EXIST`).
    Replace,
}

/// A map on a kernel. Clones are the same map.
#[derive(Clone, Debug)]
pub struct Map {
    kernel: SharedKernel,
    fd: Arc<MapFd>,
    name: Arc<str>,
    kind: MapKind,
}

impl Map {
    /// Creates a map, writes what it starts with, and freezes it if asked.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a kind that the kernel does not have, [`Error::Permission`],
    /// [`Error::Invalid`] for an initial value that does not fit.
    pub fn create(kernel: &SharedKernel, spec: &MapSpec) -> Result<Map, Error> {
        create(kernel, spec, &Extras::default())
    }

    /// Takes over a map that the kernel made.
    pub(crate) fn made(kernel: &SharedKernel, fd: MapFd, name: &str, kind: MapKind) -> Map {
        Map {
            kernel: kernel.clone(),
            fd: Arc::new(fd),
            name: name.into(),
            kind,
        }
    }

    /// Writes `initial` to entry 0, zeros after it, for every CPU of a per-CPU array.
    pub(crate) fn fill(&self, initial: &[u8]) -> Result<(), Error> {
        let one = self.value_size();
        if !matches!(self.kind, MapKind::Array | MapKind::PerCpuArray) || initial.len() > one {
            let why = format!(
                "map {} of {one}-byte values cannot start with {} bytes",
                self.name,
                initial.len()
            );
            return Err(Error::Invalid { why });
        }
        let mut value = vec![0; self.fd.transfer_size()];
        for slot in value.chunks_mut(self.stride()) {
            slot.iter_mut()
                .zip(initial)
                .for_each(|(to, from)| *to = *from);
        }
        self.update(&0u32.to_ne_bytes(), &value, UpdateMode::Any)
    }

    /// Gives the name of the spec.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the kind.
    pub fn kind(&self) -> MapKind {
        self.kind
    }

    /// Gives the key's size in bytes.
    pub fn key_size(&self) -> usize {
        self.fd.shape().key_size as usize
    }

    /// Gives the size in bytes of one value, of one CPU for per-CPU kinds.
    pub fn value_size(&self) -> usize {
        self.fd.shape().value_size as usize
    }

    /// Gives the number of entries there is room for.
    pub fn max_entries(&self) -> u32 {
        self.fd.shape().max_entries
    }

    /// Tells whether each CPU has its own values.
    pub fn is_per_cpu(&self) -> bool {
        self.fd.shape().is_per_cpu()
    }

    /// Tells whether entries come and go, found by a hash of their key.
    pub(crate) fn is_hash(&self) -> bool {
        matches!(
            self.kind,
            MapKind::Hash | MapKind::LruHash | MapKind::PerCpuHash | MapKind::LruPerCpuHash
        )
    }

    /// Gives the size in bytes of what [`Map::lookup`] returns: a value, or one for each possible
    /// CPU, each rounded up to 8 bytes.
    pub fn transfer_size(&self) -> usize {
        self.fd.transfer_size()
    }

    /// Gives the distance in bytes between two CPUs' values in one lookup.
    pub fn stride(&self) -> usize {
        if self.is_per_cpu() {
            self.value_size().next_multiple_of(8).max(8)
        } else {
            self.transfer_size().max(1)
        }
    }

    /// Gives the descriptor with its sizes.
    pub fn fd(&self) -> &MapFd {
        &self.fd
    }

    /// Refuses a map of another kind than a reader needs.
    pub(crate) fn must_be(&self, kind: MapKind, what: &str) -> Result<(), Error> {
        if self.kind() == kind {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "map {} is no {what}: it is of type {:?}, not {kind:?}",
            self.name(),
            self.kind()
        )))
    }

    /// Gives the kernel the map lives on.
    pub fn kernel(&self) -> &SharedKernel {
        &self.kernel
    }

    pub(crate) fn failed(&self, call: &'static str, errno: Errno) -> Error {
        #[cfg(feature = "explain")]
        if let Some(why) = (errno == Errno::PERM)
            .then(|| self.closed_to(call))
            .flatten()
        {
            return Error::os(call, errno, format!("map {}, {why}", self.name));
        }
        explain(
            &*self.kernel,
            Needs::Bpf,
            call,
            errno,
            format!("map {}", self.name),
        )
    }

    fn check(&self, key: &[u8]) -> Result<(), Error> {
        self.sized("key", key, self.key_size())
    }

    fn sized(&self, what: &str, bytes: &[u8], wanted: usize) -> Result<(), Error> {
        let is = bytes.len();
        if is == wanted {
            return Ok(());
        }
        Err(Error::Invalid {
            why: format!("map {}: a {what} of {is} bytes, not {wanted}", self.name),
        })
    }

    /// Looks up a key into `value`, which must be [`Map::transfer_size`] long; `false` if the key
    /// is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for wrong sizes, else what the kernel says.
    pub fn lookup_into(&self, key: &[u8], value: &mut [u8]) -> Result<bool, Error> {
        self.check(key)?;
        self.sized("value", value, self.transfer_size())?;
        match self.kernel.map_lookup(&self.fd, key, value) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("BPF_MAP_LOOKUP_ELEM", errno)),
        }
    }

    /// Looks up a key; `None` if it is not there. Per-CPU kinds: see [`Map::transfer_size`].
    ///
    /// # Errors
    ///
    /// As [`Map::lookup_into`].
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let mut value = vec![0; self.transfer_size()];
        Ok(self.lookup_into(key, &mut value)?.then_some(value))
    }

    /// Writes a value of [`Map::transfer_size`] bytes; for per-CPU kinds one of
    /// [`Map::value_size`] is taken for every CPU as well.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for wrong sizes; [`Error::Os`] with `EEXIST` or `ENOENT` where the mode
    /// forbids, `E2BIG` where the map is full, `EPERM` where it is frozen.
    pub fn update(&self, key: &[u8], value: &[u8], mode: UpdateMode) -> Result<(), Error> {
        self.check(key)?;
        let spread;
        let value = if self.is_per_cpu()
            && value.len() == self.value_size()
            && value.len() != self.transfer_size()
        {
            let mut all = vec![0; self.transfer_size()];
            for slot in all.chunks_mut(self.stride()) {
                slot.iter_mut()
                    .zip(value)
                    .for_each(|(to, from)| *to = *from);
            }
            spread = all;
            spread.as_slice()
        } else {
            value
        };
        self.sized("value", value, self.transfer_size())?;
        self.kernel
            .map_update(&self.fd, key, value, mode as u64)
            .map_err(|errno| self.failed("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Stores a descriptor: a program in a [`MapKind::ProgArray`], a perf event in a
    /// [`MapKind::PerfEventArray`].
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn update_fd(&self, index: u32, fd: BorrowedFd<'_>) -> Result<(), Error> {
        self.kernel
            .map_update_fd(&self.fd, &index.to_ne_bytes(), fd)
            .map_err(|errno| self.failed("BPF_MAP_UPDATE_ELEM", errno))
    }

    /// Deletes a key; `false` if it was not there.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EINVAL` for arrays, whose entries cannot be deleted.
    pub fn delete(&self, key: &[u8]) -> Result<bool, Error> {
        self.check(key)?;
        match self.kernel.map_delete(&self.fd, key) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.failed("BPF_MAP_DELETE_ELEM", errno)),
        }
    }

    /// Finds the key after `key`; `None` at the end. `None` gives the first key.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> {
        if let Some(key) = key {
            self.check(key)?;
        }
        let mut next = vec![0; self.key_size()];
        match self.kernel.map_next_key(&self.fd, key, &mut next) {
            Ok(()) => Ok(Some(next)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.failed("BPF_MAP_GET_NEXT_KEY", errno)),
        }
    }

    /// Makes the map read-only for system calls, for good; programs still write to it unless it
    /// was made read-only for them.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EBUSY` where it is frozen, or mapped for writing.
    pub fn freeze(&self) -> Result<(), Error> {
        self.kernel
            .map_freeze(&self.fd)
            .map_err(|errno| self.failed("BPF_MAP_FREEZE", errno))
    }

    /// Maps the values of an array that was made with `BPF_F_MMAPABLE`, or the pages of an arena,
    /// into this process; programs write to them at any time.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind or an array without the flag; [`Error::Os`] with
    /// `EPERM` for writing to one that is frozen.
    pub fn mapped(&self, writable: bool) -> Result<MapValues, Error> {
        let mapped = self.kernel.map_values(&self.fd, writable);
        mapped.map_err(|errno| match errno {
            Errno::INVAL | Errno::NODEV | Errno::NOTSUPP => {
                self.no_such("values that can be mapped (BPF_F_MMAPABLE)")
            }
            errno => Error::os("mmap", errno, format!("map {}", self.name)),
        })
    }

    #[cfg_attr(
        not(feature = "struct_ops"),
        allow(dead_code, reason = "tables of functions alone are taken back by it")
    )]
    pub(crate) fn shared_fd(&self) -> Arc<MapFd> {
        self.fd.clone()
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes a key of an LPM trie ([`MapKind::LpmTrie`]): the number of leading bits that count, and
/// the bytes they are of, the most significant first.
///
/// # Examples
///
/// ```
/// use kscope_bpf::lpm_key;
/// // 10.1.0.0/16
/// assert_eq!(lpm_key(16, &[10, 1, 0, 0])[4..], [10, 1, 0, 0]);
/// ```
#[must_use]
pub fn lpm_key(bits: u32, data: &[u8]) -> Vec<u8> {
    [&bits.to_ne_bytes(), data].concat()
}
