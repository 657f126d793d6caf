//! Where a dump's bytes come from, and reading numbers out of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::Error;

/// Bytes at offsets: a file, a buffer, or a file inside of another.
pub trait Bytes: Send + Sync {
    /// Fills `buf` from `offset` on as far as there are bytes, and gives how many were there.
    ///
    /// # Errors
    /// Where the bytes are there and cannot be read.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Gives the number of bytes.
    fn len(&self) -> u64;

    /// Tells whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Bytes for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|o| self.get(o..));
        let rest = rest.unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn len(&self) -> u64 {
        self.len() as u64
    }
}

impl<B: Bytes + ?Sized> Bytes for Arc<B> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buf)
    }

    fn len(&self) -> u64 {
        (**self).len()
    }
}

/// A file as bytes.
#[derive(Debug)]
pub struct FileBytes {
    file: File,
    len: u64,
}

impl FileBytes {
    /// Takes a file; of one that grows, what it holds now.
    ///
    /// # Errors
    /// Where its length cannot be read.
    pub fn new(file: File) -> io::Result<FileBytes> {
        let len = file.metadata()?.len();
        Ok(FileBytes { file, len })
    }
}

impl Bytes for FileBytes {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
            // Offsets of files have a sign.
            let Some(at) = offset
                .checked_add(done as u64)
                .filter(|&at| i64::try_from(at).is_ok())
            else {
                break;
            };
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn len(&self) -> u64 {
        self.len
    }
}

/// Fills `buf` or says what was missing.
pub(crate) fn read_exact(
    bytes: &dyn Bytes,
    offset: u64,
    buf: &mut [u8],
    what: &'static str,
) -> Result<(), Error> {
    match read_some(bytes, offset, buf)? == buf.len() {
        true => Ok(()),
        false => Err(Error::Malformed { what, offset }),
    }
}

pub(crate) fn read_some(bytes: &dyn Bytes, offset: u64, buf: &mut [u8]) -> Result<usize, Error> {
    bytes.read_at(offset, buf).map_err(|why| Error::Read {
        offset,
        why: Arc::new(why),
    })
}

/// Reads `len` bytes, of which no more is allocated than the file has.
pub(crate) fn read_vec(
    bytes: &dyn Bytes,
    offset: u64,
    len: u64,
    most: u64,
) -> Result<Vec<u8>, Error> {
    let len = len.min(most).min(bytes.len().saturating_sub(offset));
    let mut buf = vec![0; usize::try_from(len).unwrap_or(0)];
    let n = read_some(bytes, offset, &mut buf)?;
    buf.truncate(n);
    Ok(buf)
}

macro_rules! little_endian {
    ($($name:ident $number:ty,)*) => {$(
        /// Reads a little-endian number; 0 where there are no bytes for it.
        pub(crate) fn $name(bytes: &[u8], at: usize) -> $number {
            bytes
                .get(at..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |raw| <$number>::from_le_bytes(*raw))
        }
    )*};
}

little_endian! {
    u16_at u16,
    i16_at i16,
    u32_at u32,
    i32_at i32,
    u64_at u64,
}
