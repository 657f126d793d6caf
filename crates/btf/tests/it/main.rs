//! Tests of the reader against blobs from the test kit's own writer.

mod c_names;
mod hostile;
mod printing;
mod reading;
mod sample;
mod writing;
