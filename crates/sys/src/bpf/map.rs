//! Maps: many entries in one call, and what the kernel tells of a map.

use std::os::fd::BorrowedFd;

use super::attr::Attr;
use super::sized;
use crate::errno::Errno;
use crate::map_fd::{MapFd, MapShape};

/// Entries read in one call.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The map.
    pub map: &'a MapFd,
    /// Whether entries are removed as they are read.
    pub delete: bool,
    /// Where to go on; at least 4 bytes and the key's size. Rewritten by the call.
    pub position: &'a mut [u8],
    /// Whether `position` holds a position yet.
    pub resume: bool,
    /// Room for the keys.
    pub keys: &'a mut [u8],
    /// Room for the values.
    pub values: &'a mut [u8],
    /// Number of entries there is room for.
    pub room: u32,
}

/// What is done to many entries in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind<'a> {
    /// These values are written.
    Update(&'a [u8]),
    /// The entries are deleted.
    Delete,
}

/// Entries written or deleted in one call.
#[derive(Clone, Copy, Debug)]
pub struct BatchWrite<'a> {
    /// The map.
    pub map: &'a MapFd,
    /// What is done.
    pub kind: BatchKind<'a>,
    /// The keys, one after another.
    pub keys: &'a [u8],
    /// How many.
    pub count: u32,
    /// `BPF_ANY` and so on of each element, with `BPF_F_LOCK`.
    pub flags: u64,
}

/// What the kernel tells of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// Type and sizes.
    pub shape: MapShape,
    /// Id, unique while the map lives.
    pub id: u32,
    /// `BPF_F_*` creation flags.
    pub flags: u32,
    /// Name as the kernel keeps it, up to 15 bytes.
    pub name: [u8; 16],
    /// Network interface it was made for; 0 for none.
    pub interface: u32,
    /// Id of the BTF blob that describes key and value; 0 for none.
    pub btf: u32,
    /// The key's type in it.
    pub key_type: u32,
    /// The value's type in it.
    pub value_type: u32,
    /// The kernel's type of the value, for maps of functions.
    pub kernel_value_type: u32,
    /// What some kinds take beside (`map_extra`, 5.16).
    pub extra: u64,
}

/// Gives the number at an offset inside a structure that is surely long enough.
fn number(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..).and_then(<[u8]>::first_chunk);
    bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

impl MapInfo {
    /// Bytes of `struct bpf_map_info` that are asked for.
    pub const SIZE: usize = 88;

    /// Decodes what the kernel wrote.
    pub fn decode(bytes: &[u8; Self::SIZE]) -> MapInfo {
        let mut name = [0; 16];
        name.copy_from_slice(&bytes[24..40]);
        MapInfo {
            shape: MapShape {
                kind: number(bytes, 0),
                key_size: number(bytes, 8),
                value_size: number(bytes, 12),
                max_entries: number(bytes, 16),
            },
            id: number(bytes, 4),
            flags: number(bytes, 20),
            name,
            interface: number(bytes, 40),
            btf: number(bytes, 64),
            key_type: number(bytes, 68),
            value_type: number(bytes, 72),
            kernel_value_type: number(bytes, 44),
            extra: bytes
                .last_chunk()
                .map_or(0, |bytes| u64::from_ne_bytes(*bytes)),
        }
    }
}

/// Asks for the SHA-256 of what a map holds, with the last fields of `struct bpf_map_info`.
pub(super) fn hash(map: BorrowedFd<'_>, into: &mut [u8; 32]) -> Box<Attr> {
    /// Bytes of the structure up to and with `hash_size`.
    const SIZE: u32 = 104;
    let mut info = Box::new([0u64; SIZE as usize / 8]);
    info[11] = into.as_mut_ptr() as u64;
    // `hash_size`, and what lies unused behind it.
    info[12] = super::load::pair(into.len() as u32, 0);
    let mut attr = Attr::new(15, 16)
        .fd(0, map)
        .u32(4, SIZE)
        .u64(8, info.as_mut_ptr() as u64);
    attr.held.map_info = Some(info);
    attr
}

/// Checks a key and the room for a value of a lookup that may have no key.
pub(super) fn keyed(map: &MapFd, key: &[u8], value: &[u8]) -> Result<(), Errno> {
    sized(key, map.shape().key_size as usize)?;
    sized(value, map.transfer_size())
}

impl Batch<'_> {
    pub(super) fn attr(&mut self) -> Result<Box<Attr>, Errno> {
        let room = self.room as usize;
        let key_size = self.map.shape().key_size as usize;
        let keys = room.checked_mul(key_size).ok_or(Errno::TOO_BIG)?;
        let values = room
            .checked_mul(self.map.transfer_size())
            .ok_or(Errno::TOO_BIG)?;
        sized(self.keys, keys)?;
        sized(self.values, values)?;
        if self.position.len() < key_size.max(4) {
            return Err(Errno::INVAL);
        }
        let command = if self.delete { 25 } else { 24 };
        let mut attr = Attr::new(command, 56);
        if self.resume {
            attr = attr.source(0, self.position);
        }
        Ok(attr
            .sink(8, self.position)
            .sink(16, self.keys)
            .sink(24, self.values)
            .u32(32, self.room)
            .fd(36, self.map))
    }
}

impl BatchWrite<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            BatchKind::Update(_) => "BPF_MAP_UPDATE_BATCH",
            BatchKind::Delete => "BPF_MAP_DELETE_BATCH",
        }
    }

    pub(super) fn attr(&self) -> Result<Box<Attr>, Errno> {
        let count = self.count as usize;
        let all = |one: usize| count.checked_mul(one).ok_or(Errno::TOO_BIG);
        sized(self.keys, all(self.map.shape().key_size as usize)?)?;
        let (command, values) = match self.kind {
            BatchKind::Update(values) => {
                sized(values, all(self.map.transfer_size())?)?;
                (26, values)
            }
            BatchKind::Delete => (27, [].as_slice()),
        };
        Ok(Attr::new(command, 56)
            .source(16, self.keys)
            .source(24, values)
            .u32(32, self.count)
            .fd(36, self.map)
            .u64(40, self.flags))
    }
}
