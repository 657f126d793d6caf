//! Files of constant content, mapped where the kernel allows it.

use std::path::Path;

use crate::call::{Call, Reply};
use crate::errno::Errno;
use crate::kernel::Kernel;
use crate::mapping::Mapping;
use crate::real::RealKernel;

/// The bytes of a file: mapped if it lies in sysfs and can be (Linux 6.16 for
/// `/sys/kernel/btf`), otherwise read into memory.
///
/// Files elsewhere are always read, since another process could change or cut them while mapped.
#[derive(Debug)]
pub struct FileBytes(Store);

#[derive(Debug)]
enum Store {
    Mapped(Mapping),
    Read(Vec<u8>),
}

impl FileBytes {
    /// Opens a file.
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened or read.
    pub fn open(path: impl AsRef<Path>) -> Result<FileBytes, Errno> {
        let kernel: &dyn Kernel = &RealKernel;
        kernel.file_bytes(path.as_ref())
    }

    /// Tells whether the bytes are mapped, not copied.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Store::Mapped(_))
    }
}

impl AsRef<[u8]> for FileBytes {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Store::Read(bytes) => bytes,
            // SAFETY: only mappings that the real kernel made of immutable sysfs files are stored.
            Store::Mapped(map) => unsafe { map.bytes(0, map.len()) }.unwrap_or_default(),
        }
    }
}

impl From<Vec<u8>> for FileBytes {
    fn from(bytes: Vec<u8>) -> FileBytes {
        FileBytes(Store::Read(bytes))
    }
}

impl dyn Kernel + '_ {
    /// Maps or reads a file of constant content; see [`FileBytes`].
    ///
    /// # Errors
    ///
    /// Where the file cannot be opened or read.
    pub fn file_bytes(&self, path: &Path) -> Result<FileBytes, Errno> {
        match self.call(Call::MapFile(path)) {
            Ok(Reply::Mapping(map)) if map.is_immutable() => Ok(FileBytes(Store::Mapped(map))),
            _ => Ok(FileBytes(Store::Read(self.read_file(path)?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_files_are_read_and_absent_ones_named() {
        let path = std::env::temp_dir().join(format!("kscope-sys-file-{}", std::process::id()));
        std::fs::write(&path, b"abc").expect("a temporary file");
        let bytes = FileBytes::open(&path).expect("it is there");
        assert!(!bytes.is_mapped());
        assert_eq!(bytes.as_ref(), b"abc");
        std::fs::remove_file(&path).expect("it is ours");
        assert_eq!(FileBytes::open(&path).expect_err("gone"), Errno::NOENT);
    }

    #[test]
    fn kernel_types_are_the_same_mapped_and_read() {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let Ok(read) = std::fs::read(path) else {
            return;
        };
        let bytes = FileBytes::open(path).expect("readable a moment ago");
        assert!(bytes.as_ref() == read.as_slice());
    }
}
