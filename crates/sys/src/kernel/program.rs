//! Programs: what a kernel shows of their code.

use std::os::fd::BorrowedFd;

use super::Kernel;
use crate::bpf::{Bpf, ProgramImage};
use crate::call::Call;
use crate::errno::Errno;

#[allow(
    clippy::missing_errors_doc,
    reason = "each gives the error number of the call it names"
)]
impl dyn Kernel + '_ {
    /// Describes a loaded program with its code and tables.
    pub fn program_image(&self, program: BorrowedFd<'_>) -> Result<ProgramImage, Errno> {
        let mut into = ProgramImage::default();
        self.done(Call::Bpf(Bpf::ProgramImage {
            program,
            into: &mut into,
        }))?;
        Ok(into)
    }
}
