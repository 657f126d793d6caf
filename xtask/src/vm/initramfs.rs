//! Writes the guest's initramfs: a cpio archive in the format "newc" (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::{self, Write};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;

/// An archive being written; names are relative to the guest's root.
pub(crate) struct Initramfs<W> {
    out: W,
    /// Number of the last entry.
    inode: u32,
}

impl<W: Write> Initramfs<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    pub(crate) fn folder(&mut self, name: &str) -> io::Result<()> {
        self.entry(name, FOLDER, &[])
    }

    pub(crate) fn program(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.entry(name, PROGRAM, content)
    }

    pub(crate) fn file(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.entry(name, FILE, content)
    }

    pub(crate) fn link(&mut self, name: &str, to: &str) -> io::Result<()> {
        self.entry(name, LINK, to.as_bytes())
    }

    /// Writes the trailer and gives the writer back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.entry("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len())
            .map_err(|_| io::Error::other("a file of 4 GiB or more"))?;
        self.inode += 1;
        write!(
            self.out,
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}",
            self.inode, 0, 0, 1, 0
        )?;
        write!(
            self.out,
            "{:08x}{:08x}{:08x}{:08x}{:08x}{:08x}",
            0,
            0,
            0,
            0,
            name.len() + 1,
            0
        )?;
        self.out.write_all(name.as_bytes())?;
        // The header's 110 bytes, the name and its NUL are padded to a multiple of four, then the content is.
        self.zeros(1 + padding(110 + name.len() + 1))?;
        self.out.write_all(content)?;
        self.zeros(padding(content.len()))
    }

    fn zeros(&mut self, count: usize) -> io::Result<()> {
        self.out.write_all(&[0; 4][..count])
    }
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use super::Initramfs;

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_reads_it() {
        let mut archive = Initramfs::new(Vec::new());
        archive.program("ab", b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        // Magic, inode, mode; owner, group, links; time, size; four device numbers; name's size, check sum.
        let expected = [
            "07070100000001000081ed",
            "000000000000000000000001",
            "0000000000000005",
            "00000000000000000000000000000000",
            "0000000300000000",
            "ab\0\0\0\0hello\0\0\0",
        ]
        .concat();
        // 110 bytes of header and "ab\0" make 113; three zeros reach 116.
        assert_eq!(bytes[..124], *expected.as_bytes());
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(bytes[124..130], *b"070701");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0"));
    }
}
