//! Packing pages, each for itself.

mod lzo1x;
mod zstd;

use core::fmt;

use miniz_oxide::deflate::core::{
    CompressorOxide, TDEFLFlush, TDEFLStatus, compress, create_comp_flags_from_zip_params,
};

/// How pages are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// As they are.
    None,
    /// zlib, level 1: every reader knows it.
    Zlib,
    /// LZO1X: the least work, the least gain.
    Lzo,
    /// Zstandard: less work than zlib for the same gain. makedumpfile and crash know it since
    /// 1.7.0 and 8.0.0.
    #[default]
    Zstd,
}

impl Compression {
    /// Gives the flag of page descriptors, which is the header's too.
    pub(crate) fn flag(self) -> u32 {
        match self {
            Compression::None => 0,
            Compression::Zlib => 0x1,
            Compression::Lzo => 0x2,
            Compression::Zstd => 0x20,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::None => "none",
            Compression::Zlib => "zlib",
            Compression::Lzo => "lzo",
            Compression::Zstd => "zstd",
        })
    }
}

/// Packs pages, with memory of its own for it.
pub(crate) struct Packer {
    how: How,
    flag: u32,
}

enum How {
    None,
    Zlib(Box<CompressorOxide>),
    Lzo(Box<lzo1x::Encoder>),
    Zstd(Box<zstd::Encoder>),
}

impl Packer {
    pub(crate) fn new(compression: Compression) -> Packer {
        let how = match compression {
            Compression::None => How::None,
            Compression::Zlib => {
                /// Positive where there is to be a header of zlib.
                const WINDOW_BITS: i32 = 15;
                let flags = create_comp_flags_from_zip_params(1, WINDOW_BITS, 0);
                How::Zlib(Box::new(CompressorOxide::new(flags)))
            }
            Compression::Lzo => How::Lzo(Box::default()),
            Compression::Zstd => How::Zstd(Box::default()),
        };
        Packer {
            how,
            flag: compression.flag(),
        }
    }

    /// Appends a page to `out`, packed if that makes it smaller, and gives the flags that say
    /// which. Pages have at most 64 KB.
    pub(crate) fn pack(&mut self, page: &[u8], out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        let is_packed = match &mut self.how {
            How::None => false,
            How::Zlib(encoder) => zlib(encoder, page, out),
            How::Lzo(encoder) => encoder.pack(page, out),
            How::Zstd(encoder) => encoder.pack(page, out),
        };
        if is_packed && out.len() - start < page.len() {
            return self.flag;
        }
        out.truncate(start);
        out.extend_from_slice(page);
        0
    }
}

fn zlib(encoder: &mut CompressorOxide, page: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    encoder.reset();
    out.resize(start + page.len(), 0);
    let (status, _, len) = compress(encoder, page, &mut out[start..], TDEFLFlush::Finish);
    out.truncate(start + len);
    // It is not done where there is no room for it.
    status == TDEFLStatus::Done
}

#[cfg(test)]
mod tests;
