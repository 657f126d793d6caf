//! Archives that the kernel unpacks as its first file system: cpio, format "newc"
//! (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::Error;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const SECRET: u32 = 0o100_600;
const LINK: u32 = 0o120_777;
const DEVICE: u32 = 0o020_600;

/// An archive being made. Folders are added before what is in them.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    names: BTreeSet<PathBuf>,
    /// What was added: path and bytes of content.
    pub(crate) listing: Vec<(PathBuf, u64)>,
}

impl Archive {
    pub(crate) fn folder(&mut self, path: &str) -> Result<(), Error> {
        self.folders(Path::new(path))
    }

    pub(crate) fn program(&mut self, path: &Path, content: &[u8]) -> Result<(), Error> {
        self.entry(path, PROGRAM, content)
    }

    pub(crate) fn file(&mut self, path: &Path, content: &[u8]) -> Result<(), Error> {
        self.entry(path, FILE, content)
    }

    /// Adds a file that only root reads.
    pub(crate) fn secret(&mut self, path: &Path, content: &[u8]) -> Result<(), Error> {
        self.entry(path, SECRET, content)
    }

    pub(crate) fn link(&mut self, path: &Path, to: &str) -> Result<(), Error> {
        self.entry(path, LINK, to.as_bytes())
    }

    /// Adds a character device by its major and minor number, in a folder that is there.
    pub(crate) fn device(&mut self, name: &str, numbers: (u32, u32)) -> Result<(), Error> {
        self.write(name, DEVICE, numbers, &[])
    }

    /// Ends the archive and gives its bytes.
    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Error> {
        self.write("TRAILER!!!", 0, (0, 0), &[])?;
        // Others may be appended only at a multiple of four.
        Ok(self.bytes)
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> Result<(), Error> {
        let path = below(path);
        if !self.names.insert(path.to_path_buf()) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            self.folders(folder)?;
        }
        let name = path
            .to_str()
            .ok_or_else(|| Error::malformed(format!("the name {} is no UTF-8", path.display())))?;
        self.listing
            .push((Path::new("/").join(path), content.len() as u64));
        self.write(name, mode, (0, 0), content)
    }

    fn folders(&mut self, path: &Path) -> Result<(), Error> {
        let path = below(path).to_path_buf();
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for folder in above {
            if !folder.as_os_str().is_empty() && self.names.insert(folder.to_path_buf()) {
                self.write(&folder.to_string_lossy(), FOLDER, (0, 0), &[])?;
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        name: &str,
        mode: u32,
        (major, minor): (u32, u32),
        content: &[u8],
    ) -> Result<(), Error> {
        let size = u32::try_from(content.len())
            .map_err(|_| Error::malformed(format!("{name} has 4 GiB or more")))?;
        self.inode += 1;
        // Inode, mode, owner, group, links, time, size, four device numbers, the name's size, check sum.
        let links = if mode == FOLDER { 2 } else { 1 };
        let fields = [
            self.inode,
            mode,
            0,
            0,
            links,
            0,
            size,
            0,
            0,
            major,
            minor,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        let length = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(length, 0);
    }
}

fn below(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

/// An entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its path without the first `/`.
    pub path: String,
    /// File type and permissions.
    pub mode: u32,
    /// Its content.
    pub content: &'a [u8],
}

/// Reads an archive.
///
/// # Errors
/// Names the offset of what is no entry.
pub fn entries(bytes: &[u8]) -> Result<Vec<Entry<'_>>, Error> {
    let mut found = Vec::new();
    let mut at = 0usize;
    loop {
        let wrong = || Error::malformed(format!("no entry of a newc archive at offset {at}"));
        let header = bytes.get(at..at + 110).ok_or_else(wrong)?;
        let field = |index: usize| -> Result<usize, Error> {
            let text = std::str::from_utf8(&header[6 + 8 * index..14 + 8 * index]);
            let number = text
                .ok()
                .and_then(|text| u32::from_str_radix(text, 16).ok());
            number.map(|number| number as usize).ok_or_else(wrong)
        };
        if &header[..6] != b"070701" {
            return Err(wrong());
        }
        let (mode, size, name_size) = (field(1)?, field(6)?, field(11)?);
        let name = bytes
            .get(at + 110..at + 110 + name_size)
            .ok_or_else(wrong)?;
        let path = String::from_utf8_lossy(name.strip_suffix(b"\0").ok_or_else(wrong)?);
        if path == "TRAILER!!!" {
            return Ok(found);
        }
        let start = (at + 110 + name_size).next_multiple_of(4);
        let content = bytes.get(start..start + size).ok_or_else(wrong)?;
        found.push(Entry {
            path: path.into_owned(),
            mode: mode as u32,
            content,
        });
        at = (start + size).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Archive::default();
        archive.program(Path::new("/ab"), b"hello").expect("small");
        let bytes = archive.finish().expect("small");
        let expected = [
            "07070100000001000081ed",
            "000000000000000000000001",
            "0000000000000005",
            "00000000000000000000000000000000",
            "0000000300000000",
            "ab\0\0\0\0hello\0\0\0",
        ]
        .concat();
        assert_eq!(bytes[..124], *expected.as_bytes());
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut archive = Archive::default();
        archive.file(Path::new("/a/b/c"), b"x").expect("small");
        archive.link(Path::new("/a/l"), "b/c").expect("small");
        archive.file(Path::new("a/b/c"), b"again").expect("small");
        let bytes = archive.finish().expect("small");
        let read = entries(&bytes).expect("ours");
        let paths: Vec<_> = read.iter().map(|entry| &*entry.path).collect();
        assert_eq!(paths, ["a", "a/b", "a/b/c", "a/l"]);
        assert_eq!(read[2].content, b"x");
        for cut in [0, 50, 120, bytes.len() - 20] {
            assert!(entries(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn cpio_reads_it() {
        use std::io::Write as _;
        let mut archive = Archive::default();
        archive.file(Path::new("/etc/x"), b"text").expect("small");
        archive.device("etc/null", (1, 3)).expect("small");
        let bytes = archive.finish().expect("small");
        let cpio = std::process::Command::new("cpio")
            .args(["-tv", "--quiet"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn();
        let Ok(mut cpio) = cpio else {
            println!("SKIP: cpio_reads_it: cpio is not installed");
            return;
        };
        let mut input = cpio.stdin.take().expect("piped");
        input.write_all(&bytes).expect("it reads");
        drop(input);
        let output = cpio.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<Vec<&str>> = said
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let names: Vec<_> = lines.iter().filter_map(|words| words.last()).collect();
        assert_eq!(names, [&"etc", &"etc/x", &"etc/null"]);
        assert_eq!(lines[2][0], "crw-------");
        assert_eq!(lines[2][4..6], ["1,", "3"], "{said}");
    }
}
