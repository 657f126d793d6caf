//! `/proc/PID/maps`: which file lies where in a process.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

/// A part of a process's memory that it may execute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    pub(super) start: u64,
    /// Exclusive.
    pub(super) end: u64,
    /// Offset in bytes into the file of what lies at the start.
    pub(super) offset: u64,
    pub(super) file: Backing,
}

/// What lies in a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Backing {
    File(Arc<FileId>),
    /// The code that the kernel gives each process.
    Vdso,
    /// Memory of the process's own: where just-in-time compilers write.
    Anonymous,
}

/// A file as a process has it mapped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileId {
    /// As the kernel writes it: `fd:01`.
    pub(super) device: String,
    pub(super) inode: u64,
    /// As the process that was first seen with it sees it.
    pub(super) path: String,
    /// Whether nothing has this name any more.
    pub(super) deleted: bool,
    /// What of it was mapped, where that could be looked at.
    pub(super) version: Option<Version>,
}

impl FileId {
    pub(super) fn key(&self) -> (String, u64, Option<Version>) {
        (self.device.clone(), self.inode, self.version)
    }
}

/// What changes with a file's content: its size in bytes, and seconds and nanoseconds of when it was
/// written last. Not of when its inode changed, as that does when its last name goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Version(u64, i64, i64);

impl Version {
    pub(super) fn of(metadata: &Metadata) -> Version {
        Version(metadata.size(), metadata.mtime(), metadata.mtime_nsec())
    }
}

const DELETED: &str = " (deleted)";

/// Reads the executable mappings, in the order of their addresses. Lines that are none are left
/// out.
pub(super) fn parse(text: &str) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = text.lines().filter_map(mapping).collect();
    found.sort_by_key(|mapping| mapping.start);
    found
}

fn mapping(line: &str) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let (access, rest) = rest.split_once(' ')?;
    let (offset, rest) = rest.split_once(' ')?;
    let (device, rest) = rest.split_once(' ')?;
    let (inode, path) = rest.split_once(' ').unwrap_or((rest, ""));
    let hex = |text| u64::from_str_radix(text, 16).ok();
    if !access.contains('x') {
        return None;
    }
    let path = path.trim_start_matches(' ');
    let inode: u64 = inode.parse().ok()?;
    let end = hex(end)?;
    let file = match (path, inode) {
        // That of 32-bit processes is another, of which nothing is known here.
        ("[vdso]", _) if end > 1 << 32 => Backing::Vdso,
        (_, 0) => Backing::Anonymous,
        (path, inode) => {
            let live = path.strip_suffix(DELETED);
            Backing::File(Arc::new(FileId {
                device: device.to_owned(),
                inode,
                path: live.unwrap_or(path).to_owned(),
                deleted: live.is_some(),
                version: None,
            }))
        }
    };
    Some(Mapping {
        start: hex(start)?,
        end,
        offset: hex(offset)?,
        file,
    })
}

/// Finds the mapping that an address lies in.
pub(super) fn find(mappings: &[Mapping], address: u64) -> Option<&Mapping> {
    let after = mappings.partition_point(|mapping| mapping.start <= address);
    let last = mappings.get(after.checked_sub(1)?)?;
    (address < last.end).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55d0c0a00000-55d0c0a02000 r--p 00000000 fd:01 1054 /usr/bin/a b
55d0c0a02000-55d0c0a07000 r-xp 00002000 fd:01 1054 /usr/bin/a b
7f0000000000-7f0000001000 r-xp 00000000 fd:01 77   /tmp/gone (deleted)
7f0000002000-7f0000003000 rwxp 00000000 00:00 0
f7f00000-f7f02000 r-xp 00000000 00:00 0            [vdso]
7fff00000000-7fff00001000 r-xp 00000000 00:00 0    [vdso]
nonsense
";

    #[test]
    fn what_is_executed_is_found() {
        let mappings = parse(TEXT);
        let check = |address, expected: Option<(&str, u64)>| {
            let found = find(&mappings, address).map(|found| match &found.file {
                Backing::File(file) => (file.path.as_str(), address - found.start + found.offset),
                Backing::Vdso => ("[vdso]", address - found.start),
                Backing::Anonymous => ("", 0),
            });
            assert_eq!(found, expected, "{address:#x}");
        };
        check(0x55d0_c0a0_2010, Some(("/usr/bin/a b", 0x2010)));
        check(0x55d0_c0a0_0010, None);
        check(0x55d0_c0a0_7000, None);
        check(0x7f00_0000_0fff, Some(("/tmp/gone", 0xfff)));
        check(0x7f00_0000_2000, Some(("", 0)));
        check(0xf7f0_0001, Some(("", 0)));
        check(0x7fff_0000_0001, Some(("[vdso]", 1)));
        check(0, None);
        assert_eq!(mappings.len(), 5);
    }

    #[test]
    fn any_text_is_taken() {
        for cut in 0..TEXT.len() {
            parse(&TEXT[..cut]);
        }
        assert!(parse("1-2 r-xp 0 0:0 x").is_empty());
    }
}
