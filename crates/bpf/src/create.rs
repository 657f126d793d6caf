//! The creation of maps, and why one is refused.

#[cfg_attr(not(feature = "explain"), path = "create/unexplained.rs")]
mod refusal;

use std::os::fd::BorrowedFd;

use kscope_spec::{MapKind, MapSpec};
use kscope_sys::{CpuSet, Errno, Kernel, MapCreate, MapFd, MapShape, SharedKernel, page_size};

use crate::error::Error;
use crate::map::Map;
use crate::unmounted::unmounted;
use refusal::refusal;
#[cfg(feature = "explain")]
pub(crate) use refusal::{since, surely_right};

/// What a map is made with that is no number of its description.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extras<'a> {
    /// The object's types, which the key's and value's types are of.
    pub(crate) btf: Option<BorrowedFd<'a>>,
    /// What the maps inside look like.
    pub(crate) inner: Option<BorrowedFd<'a>>,
    /// The kernel's type of the value.
    pub(crate) kernel_value_type: u32,
    /// BTF of the module that type is of.
    pub(crate) module_btf: Option<BorrowedFd<'a>>,
    /// SHA-256 of the one program that may use it.
    pub(crate) exclusive: Option<&'a [u8; 32]>,
    /// Written in place of what the description says.
    pub(crate) initial: Option<&'a [u8]>,
}

/// Creates a map, writes what it starts with, and freezes it if asked.
pub(crate) fn create(
    kernel: &SharedKernel,
    spec: &MapSpec,
    extras: &Extras<'_>,
) -> Result<Map, Error> {
    let fd = created(&**kernel, spec, extras)?;
    let map = Map::made(kernel, fd, &spec.name, spec.kind);
    if let Some(initial) = extras.initial.or(spec.initial.as_deref()) {
        if spec.kind != MapKind::Arena {
            map.fill(initial)?;
        }
    }
    if spec.frozen {
        kernel
            .map_freeze(map.fd())
            .map_err(|e| map.failed("BPF_MAP_FREEZE", e))?;
    }
    Ok(map)
}

fn created(kernel: &dyn Kernel, spec: &MapSpec, extras: &Extras<'_>) -> Result<MapFd, Error> {
    let shape = MapShape {
        kind: spec.kind as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: max_entries(kernel, spec)?,
    };
    let typed = takes_types(spec.kind) && (spec.key_type != 0 || spec.value_type != 0);
    let plain = MapCreate {
        shape,
        flags: spec.flags,
        name: &spec.name,
        inner: extras.inner,
        numa_node: spec.numa_node,
        btf: extras.btf.filter(|_| extras.kernel_value_type != 0),
        kernel_value_type: extras.kernel_value_type,
        extra: spec.extra,
        module_btf: extras.module_btf,
        exclusive: extras.exclusive,
        ..MapCreate::default()
    };
    let attempt = |map: MapCreate<'_>| match kernel.map_create(map) {
        // Kernels before 5.11 charge maps to the limit on locked memory.
        Err(Errno::PERM) if kernel.raise_memlock().is_ok() => kernel.map_create(map),
        other => other,
    };
    let outcome = match extras.btf {
        Some(btf) if typed && extras.kernel_value_type == 0 => {
            let with_types = MapCreate {
                btf: Some(btf),
                key_type: spec.key_type,
                value_type: spec.value_type,
                ..plain
            };
            // Types only help: what cannot do without them is told by the verifier.
            match attempt(with_types) {
                // Storages must have them, which is EINVAL without.
                Err(refused) => attempt(plain).map_err(|without| match without {
                    Errno::INVAL => refused,
                    without => without,
                }),
                made => made,
            }
        }
        _ => attempt(plain),
    };
    outcome.map_err(|errno| match shape.is_per_cpu() {
        true => unmounted(kernel, errno).unwrap_or_else(|| refusal(kernel, spec, errno)),
        false => refusal(kernel, spec, errno),
    })
}

/// Gives the number of entries as the kernel demands it.
pub(crate) fn max_entries(kernel: &dyn Kernel, spec: &MapSpec) -> Result<u32, Error> {
    match spec.kind {
        MapKind::PerfEventArray if spec.max_entries == 0 => {
            let cpus = kernel.cpus(CpuSet::Possible);
            let cpus = cpus.map_err(|e| Error::os("read", e, "the list of possible CPUs"))?;
            // Indexed by CPU number, which may have gaps.
            Ok(cpus.last().map_or(1, |&last| last + 1))
        }
        MapKind::RingBuf | MapKind::UserRingBuf if spec.max_entries != 0 => {
            // Whole pages, and a power of two of bytes.
            let page = u32::try_from(page_size()).unwrap_or(4096);
            let bytes = spec.max_entries.max(page).checked_next_power_of_two();
            bytes.ok_or_else(|| {
                Error::invalid(format!(
                    "map {}: a ring of {} bytes is more than the 2 GiB there can be",
                    spec.name, spec.max_entries
                ))
            })
        }
        _ => Ok(spec.max_entries),
    }
}

/// Tells whether the kernel takes types of key and value with a kind.
fn takes_types(kind: MapKind) -> bool {
    !matches!(
        kind,
        MapKind::PerfEventArray
            | MapKind::CgroupArray
            | MapKind::StackTrace
            | MapKind::ArrayOfMaps
            | MapKind::HashOfMaps
            | MapKind::DevMap
            | MapKind::DevMapHash
            | MapKind::CpuMap
            | MapKind::XskMap
            | MapKind::SockMap
            | MapKind::SockHash
            | MapKind::Queue
            | MapKind::Stack
            | MapKind::Arena
            | MapKind::RingBuf
            | MapKind::UserRingBuf
    )
}
