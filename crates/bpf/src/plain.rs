//! Values as C lays them out in maps, events and variables, decoded from bytes.

mod bits;
mod text;

pub use bits::{bits, set_bits, sign};
pub use text::Text;

/// A value of a fixed number of bytes, laid out as C does: numbers, texts, arrays of those, and
/// the structures that `kscope bindgen` writes.
///
/// Decoding copies field by field: any bytes give a value, wherever they lie in memory, so that
/// none of it needs `unsafe` and a program that writes nonsense does no harm.
///
/// # Examples
///
/// ```
/// use kscope_bpf::plain::Plain;
///
/// assert_eq!(u16::from_bytes(&7u16.to_ne_bytes()), Some(7));
/// assert_eq!(<[bool; 2]>::from_bytes(&[1, 0]), Some([true, false]));
/// assert_eq!(u32::from_bytes(&[1, 2]), None);
/// ```
pub trait Plain: Sized {
    /// Its size in bytes.
    const SIZE: usize;

    /// Makes the value of the first [`Plain::SIZE`] bytes; bytes that are not there are zero.
    fn decode(bytes: &[u8]) -> Self;

    /// Writes the value to the first [`Plain::SIZE`] bytes, or to as many as there are.
    fn encode(&self, bytes: &mut [u8]);

    /// Makes the value of bytes; none where there are too few. Bytes after it are not looked at:
    /// samples of a perf buffer may end in up to 7 bytes of padding.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.get(..Self::SIZE).map(Self::decode)
    }

    /// Gives the value's bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; Self::SIZE];
        self.encode(&mut bytes);
        bytes
    }

    /// Makes the value whose bytes are all zero, as the kernel leaves what nobody has written.
    fn zeroed() -> Self {
        Self::decode(&[])
    }
}

/// Decodes a field of a structure at an offset in bytes.
pub fn field<T: Plain>(bytes: &[u8], offset: usize) -> T {
    T::decode(bytes.get(offset..).unwrap_or_default())
}

/// Encodes a field of a structure at an offset in bytes.
pub fn put<T: Plain>(bytes: &mut [u8], offset: usize, value: &T) {
    value.encode(bytes.get_mut(offset..).unwrap_or_default());
}

macro_rules! numbers {
    ($($number:ident)*) => {
        $(impl Plain for $number {
            const SIZE: usize = size_of::<$number>();

            fn decode(bytes: &[u8]) -> $number {
                match bytes.first_chunk() {
                    Some(bytes) => $number::from_ne_bytes(*bytes),
                    None => {
                        let mut all = [0; size_of::<$number>()];
                        copy(&mut all, bytes);
                        $number::from_ne_bytes(all)
                    }
                }
            }

            fn encode(&self, bytes: &mut [u8]) {
                copy(bytes, &self.to_ne_bytes());
            }
        })*
    };
}

numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);

/// Copies as many bytes as both have.
fn copy(to: &mut [u8], from: &[u8]) {
    let both = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..both), from.get(..both)) {
        to.copy_from_slice(from);
    }
}

impl Plain for bool {
    const SIZE: usize = 1;

    fn decode(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|&byte| byte != 0)
    }

    fn encode(&self, bytes: &mut [u8]) {
        copy(bytes, &[u8::from(*self)]);
    }
}

/// Nothing: the key of a map without keys.
impl Plain for () {
    const SIZE: usize = 0;

    fn decode(_: &[u8]) {}

    fn encode(&self, _: &mut [u8]) {}
}

impl<T: Plain, const N: usize> Plain for [T; N] {
    const SIZE: usize = N * T::SIZE;

    fn decode(bytes: &[u8]) -> [T; N] {
        core::array::from_fn(|index| field(bytes, index.saturating_mul(T::SIZE)))
    }

    fn encode(&self, bytes: &mut [u8]) {
        for (index, value) in self.iter().enumerate() {
            put(bytes, index.saturating_mul(T::SIZE), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    fn check<T: Plain + PartialEq + Debug>(value: &T, bytes: &[u8]) {
        assert_eq!(T::SIZE, bytes.len());
        assert_eq!(value.to_bytes(), bytes);
        assert_eq!(T::from_bytes(bytes).as_ref(), Some(value));
        let mut longer = bytes.to_vec();
        longer.push(0xff);
        assert_eq!(T::from_bytes(&longer).as_ref(), Some(value));
        if let Some((_, shorter)) = bytes.split_last() {
            assert_eq!(T::from_bytes(shorter), None);
            let mut room = vec![0; shorter.len()];
            value.encode(&mut room);
            assert_eq!(room, bytes[..room.len()]);
        }
    }

    #[test]
    fn values_are_their_bytes() {
        check(&7u8, &[7]);
        check(&-2i16, &(-2i16).to_ne_bytes());
        check(&u128::MAX, &[0xff; 16]);
        check(&1.5f64, &1.5f64.to_ne_bytes());
        check(&true, &[1]);
        check(&(), &[]);
        check(&[1u8, 2, 3], &[1, 2, 3]);
        check(&[[1u8, 2], [3, 4]], &[1, 2, 3, 4]);
        check(&[0u32; 0], &[]);
    }

    #[test]
    fn any_byte_is_a_truth() {
        assert_eq!(bool::from_bytes(&[2]), Some(true));
        assert_eq!(<[u16; 2]>::zeroed(), [0, 0]);
    }

    #[test]
    fn what_is_missing_is_zero() {
        assert_eq!(u32::decode(&[]), 0);
        assert_eq!(u16::decode(&[0, 0, 1]), 0);
        assert_eq!(field::<u8>(&[1, 2], 1), 2);
        assert_eq!(field::<u8>(&[1, 2], 9), 0);
    }
}
