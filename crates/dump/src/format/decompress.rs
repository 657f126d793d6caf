//! The compressions of pages.

use std::sync::{Mutex, PoisonError};

use ruzstd::decoding::FrameDecoder;

/// How a page's bytes were packed, as its descriptor's flags say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Raw,
    Zlib,
    Lzo,
    Snappy,
    Zstd,
}

impl Packing {
    /// Reads the flags of a page descriptor; none where they name nothing known.
    pub(crate) fn from_flags(flags: u32) -> Option<Packing> {
        Some(match flags {
            0 => Packing::Raw,
            0x1 => Packing::Zlib,
            0x2 => Packing::Lzo,
            0x4 => Packing::Snappy,
            0x20 => Packing::Zstd,
            _ => return None,
        })
    }
}

/// Unpacks pages. The decoder of zstd is kept, since making one costs more than a page.
#[derive(Default)]
pub(crate) struct Unpacker {
    zstd: Mutex<Option<FrameDecoder>>,
}

impl Unpacker {
    /// Unpacks `packed` so that it fills `page` exactly; none where it does not.
    pub(crate) fn unpack(&self, packing: Packing, packed: &[u8], page: &mut [u8]) -> Option<()> {
        let len = match packing {
            Packing::Raw if packed.len() == page.len() => {
                page.copy_from_slice(packed);
                page.len()
            }
            Packing::Raw => return None,
            Packing::Zlib => miniz_oxide::inflate::decompress_slice_iter_to_slice(
                page,
                std::iter::once(packed),
                true,
                false,
            )
            .ok()?,
            Packing::Lzo => lzo::decompress_into(packed, page).ok()?,
            Packing::Snappy => snap::raw::Decoder::new().decompress(packed, page).ok()?,
            Packing::Zstd => {
                if !zstd_window_is_small(packed) {
                    return None;
                }
                let mut kept = self.zstd.lock().unwrap_or_else(PoisonError::into_inner);
                let decoder = kept.get_or_insert_with(FrameDecoder::new);
                decoder.decode_all(packed, page).ok()?
            }
        };
        (len == page.len()).then_some(())
    }
}

/// Tells whether the header of the first frame asks for a window that pages can need: decoders
/// reserve it before they read on.
fn zstd_window_is_small(packed: &[u8]) -> bool {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    /// Largest exponent accepted: 8 MB, what every decoder must bear.
    const EXPONENT: u8 = 23;
    let Some((&magic, rest)) = packed.split_first_chunk::<4>() else {
        return false;
    };
    let (Some(&descriptor), Some(&window)) = (rest.first(), rest.get(1)) else {
        return false;
    };
    if magic != MAGIC {
        return false;
    }
    // Without a window there is the size of the content, in as many bytes as the upper bits say.
    if descriptor & 0x20 == 0 {
        return (window >> 3) + 10 <= EXPONENT;
    }
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let Some(bytes) = rest.get(1 + dictionary..1 + dictionary + size) else {
        return false;
    };
    let mut number = [0; 8];
    number[..size].copy_from_slice(bytes);
    u64::from_le_bytes(number) <= 1 << EXPONENT
}
