//! Values, rows, schemas and histograms: what a question answered looks like before it is rendered.
//!
//! [`DataType`] describes bytes as an eBPF program leaves them in an event or a map; decoding
//! turns them into a [`Value`]. Views take values, never bytes.

mod data_type;
mod value;

pub use data_type::{Bits, DataType, Field, MapValueType, StackMode};
pub use value::{Bucket, Frame, Histogram, Stack, Value};
