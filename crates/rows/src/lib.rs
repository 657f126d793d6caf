//! Values, rows, schemas and histograms: what a question answered looks like before it is rendered.
//!
//! [`DataType`] describes bytes as an eBPF program leaves them in an event or a map; decoding
//! turns them into a [`Value`]. Views take values, never bytes.

mod data_type;
mod decode;
mod format;
mod from_row;
mod histogram;
mod merge;
mod names;
mod order;
mod output;
mod resolve;
mod schema;
mod series;
mod snapshot;
pub mod time;
mod type_name;
mod value;

pub use data_type::{
    Bits, DataType, Field, MapValueType, SERIES_BUCKET, SeriesFunction, StackMode,
};
pub use decode::{decode, decode_field};
pub use format::{
    Conversion, ConversionKind, Flags, Format, FormatError, FormatErrorKind, FormatProblem, Length,
    MAX_WIDTH, Piece,
};
pub use from_row::{FromRow, FromValue, RowError, column};
pub use merge::{average, decode_map_value};
pub use names::{NameTable, allocation_flags};
pub use order::{divide, sort_entries};
pub use output::{
    HelperFailure, MapContent, MapKind, MapOutput, Output, Place, RuntimeFailure, Severity,
};
pub use resolve::{Cut, Directory, Resolve, Unresolved};
pub use schema::{Column, Row, Schema};
pub use series::align_series;
pub use snapshot::{
    Age, LockSeen, LogReport, ReportKind, SnapshotLog, StackState, SyscallSeen, TaskGroup,
    TaskSeen, group_tasks, read_log,
};
pub use value::{Bucket, Frame, Histogram, Point, Scale, Series, Stack, Value};
