//! What a partition says of the file system on it: its kind and its UUID.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// A file system that dumps can go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// `ext4` (which mounts ext2 and ext3 too) or `xfs`.
    pub kind: &'static str,
    /// The UUID, in small letters with dashes.
    pub uuid: String,
}

/// Reads the superblock of a device; none where there is neither ext4 nor xfs on it.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn read(device: &Path) -> io::Result<Option<Superblock>> {
    let file = File::open(device)?;
    let mut bytes = [0; 2048];
    let mut there = 0;
    while there < bytes.len() {
        match file.read_at(&mut bytes[there..], there as u64)? {
            0 => break,
            n => there += n,
        }
    }
    Ok(Superblock::parse(&bytes[..there]))
}

impl Superblock {
    /// Reads the first 2048 bytes of a partition. ext4: struct ext4_super_block at 1024, `s_magic` at
    /// 0x38, `s_uuid` at 0x68. xfs: struct xfs_dsb at 0, `sb_uuid` at 32, big-endian.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Superblock> {
        let uuid = |at: usize| bytes.get(at..at + 16).map(uuid_text);
        if bytes.get(0x438..0x43a) == Some(&[0x53, 0xef]) {
            let uuid = uuid(0x468)?;
            return Some(Superblock { kind: "ext4", uuid });
        }
        if bytes.get(..4) == Some(b"XFSB") {
            let uuid = uuid(32)?;
            return Some(Superblock { kind: "xfs", uuid });
        }
        None
    }
}

fn uuid_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes the start of an ext4 file system.
    pub(crate) fn ext4(uuid: [u8; 16]) -> Vec<u8> {
        let mut bytes = vec![0; 4096];
        bytes[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
        bytes[0x468..0x478].copy_from_slice(&uuid);
        bytes
    }

    #[test]
    fn superblocks() {
        let uuid: [u8; 16] = std::array::from_fn(|at| at as u8 * 17);
        let text = "00112233-4455-6677-8899-aabbccddeeff";
        let found = Superblock::parse(&ext4(uuid)).expect("ext4");
        assert_eq!((found.kind, &*found.uuid), ("ext4", text));
        let mut xfs = b"XFSB".to_vec();
        xfs.resize(512, 0);
        xfs[32..48].copy_from_slice(&uuid);
        assert_eq!(Superblock::parse(&xfs).map(|found| found.kind), Some("xfs"));
        assert_eq!(Superblock::parse(&xfs[..40]), None);
        assert_eq!(Superblock::parse(&[]), None);
        assert_eq!(Superblock::parse(&[0; 2048]), None);
    }

    #[test]
    fn what_mkfs_made_is_read() {
        let file = std::env::temp_dir().join(format!("kscope-kdump-fs-{}", std::process::id()));
        let text = "01234567-89ab-cdef-0123-456789abcdef";
        for (program, size, flag) in [
            ("mkfs.ext4", 8u64 << 20, "-U"),
            ("mkfs.xfs", 400 << 20, "-m"),
        ] {
            File::create(&file)
                .and_then(|file| file.set_len(size))
                .expect("a file");
            let value = match flag {
                "-m" => format!("uuid={text}"),
                _ => text.to_owned(),
            };
            let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
            let made = std::process::Command::new(program)
                .env("PATH", path)
                .args(["-q", flag, &value])
                .arg(&file)
                .output();
            match made {
                Ok(output) if output.status.success() => {
                    let found = read(&file).expect("readable").expect("a file system");
                    assert_eq!(found.uuid, text);
                    assert!(program.ends_with(found.kind));
                }
                _ => println!("SKIP: what_mkfs_made_is_read: {program} is not installed"),
            }
        }
        let _ = std::fs::remove_file(file);
    }
}
