//! Where a dump goes: a file that is written at places, or a pipe, through which places go as
//! records (makedumpfile's flattened form) or bytes in order.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt as _;

/// Takes bytes at offsets.
pub(crate) trait Sink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Tells whether what was written can be written over, and what was left out is zeros.
    fn is_file(&self) -> bool {
        false
    }

    /// Ends what goes through a pipe.
    fn finish(&mut self, len: u64) -> io::Result<()>;
}

/// A file.
pub(crate) struct FileSink<'f>(pub(crate) &'f File);

impl Sink for FileSink<'_> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn is_file(&self) -> bool {
        true
    }

    fn finish(&mut self, len: u64) -> io::Result<()> {
        // The end may be a hole.
        self.0.set_len(len)
    }
}

/// Records of places and bytes, from which `makedumpfile -R` makes the file; readers know them.
pub(crate) struct FlatSink<W> {
    out: W,
    begun: bool,
}

impl<W: Write> FlatSink<W> {
    pub(crate) fn new(out: W) -> FlatSink<W> {
        FlatSink { out, begun: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        const SIZE: usize = 4096;
        let mut head = b"makedumpfile\0\0\0\0".to_vec();
        // Type and version.
        head.extend_from_slice(&1u64.to_be_bytes());
        head.extend_from_slice(&1u64.to_be_bytes());
        head.resize(SIZE, 0);
        self.begun = true;
        self.out.write_all(&head)
    }
}

impl<W: Write> Sink for FlatSink<W> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        // Where an empty piece begins at the same place as another, crash does not find the other
        // and takes what is there for zeros.
        if bytes.is_empty() {
            return Ok(());
        }
        if !self.begun {
            self.begin()?;
        }
        let mut head = [0; 16];
        head[..8].copy_from_slice(&offset.to_be_bytes());
        head[8..].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.out.write_all(&head)?;
        self.out.write_all(bytes)
    }

    fn finish(&mut self, _: u64) -> io::Result<()> {
        // An offset and a length of -1 are the end.
        self.out.write_all(&[0xff; 16])?;
        self.out.flush()
    }
}

/// Bytes in order.
pub(crate) struct StreamSink<W> {
    out: W,
    at: u64,
}

impl<W: Write> StreamSink<W> {
    pub(crate) fn new(out: W) -> StreamSink<W> {
        StreamSink { out, at: 0 }
    }

    fn fill(&mut self, until: u64) -> io::Result<()> {
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.at < until {
            let n = (until - self.at).min(ZEROS.len() as u64);
            self.out.write_all(&ZEROS[..n as usize])?;
            self.at += n;
        }
        Ok(())
    }
}

impl<W: Write> Sink for StreamSink<W> {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset < self.at {
            return Err(io::Error::other("a pipe cannot be written out of order"));
        }
        self.fill(offset)?;
        self.at += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn finish(&mut self, len: u64) -> io::Result<()> {
        self.fill(len)?;
        self.out.flush()
    }
}
