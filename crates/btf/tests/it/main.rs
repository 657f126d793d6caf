//! Tests of the reader against blobs from the test kit's own writer.

mod c_names;
mod hostile;
mod printing;
mod reading;
mod running_kernel;
mod sample;
mod writing;
