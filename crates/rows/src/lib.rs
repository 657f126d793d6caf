//! Values, rows, schemas and histograms: what a question answered looks like before it is rendered.
//!
//! [`DataType`] describes bytes as an eBPF program leaves them in an event or a map; decoding
//! turns them into a [`Value`]. Views take values, never bytes.

mod data_type;
mod decode;
mod format;
mod histogram;
mod merge;
mod resolve;
mod type_name;
mod value;

pub use data_type::{Bits, DataType, Field, MapValueType, StackMode};
pub use decode::{decode, decode_field};
pub use format::{
    Conversion, ConversionKind, Flags, Format, FormatError, FormatErrorKind, FormatProblem, Length,
    MAX_WIDTH, Piece,
};
pub use merge::{average, decode_map_value};
pub use resolve::{Resolve, Unresolved};
pub use value::{Bucket, Frame, Histogram, Scale, Stack, Value};
