//! Refusals as the kernel and its verifier tell them, in a build that looks for no causes.

use super::{Attempt, Refused, told};
use crate::denial::{Needs, explain};
use crate::error::Error;
use crate::log::VerifierLog;

impl Refused<'_> {
    /// Loads the program again with the verifier's log, and gives what that says.
    pub(crate) fn why(&self, load: &Attempt<'_>) -> Error {
        let program = self.program.name.clone();
        let log = Box::new(VerifierLog::parse(&told(load, self)));
        if let Some(absent) = self.absent(&log) {
            let absent = Box::new(absent);
            return Error::Unresolved {
                program,
                absent,
                log,
            };
        }
        let errno = self.errno;
        if !log.telling_line.is_empty() {
            return Error::Rejected {
                program,
                errno,
                log,
            };
        }
        let needs = Needs::of(self.program.kind);
        explain(self.kernel, needs, "BPF_PROG_LOAD", errno, program)
    }
}
