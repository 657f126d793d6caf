//! Tracepoints through perf events.

use kscope_spec::ProgramType;
use kscope_sys::PerfKind;

use super::Link;
use crate::error::Error;
use crate::program::Program;
use crate::tracefs::Tracefs;

impl Program {
    /// Attaches a [`ProgramType::Tracepoint`] program. A cookie that is not 0 needs Linux 5.15.
    /// Where tracefs is not mounted, this mounts it (see [`Tracefs::find_or_mount`]).
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for an unknown tracepoint, [`Error::NotMounted`] where that fails;
    /// [`Error::Permission`]; [`Error::Os`] with `EACCES` where the program reads past the record.
    pub fn attach_tracepoint(
        &self,
        category: &str,
        name: &str,
        cookie: u64,
    ) -> Result<Link, Error> {
        if self.kind != ProgramType::Tracepoint {
            return Err(self.wrong_kind("a tracepoint"));
        }
        let tracefs = Tracefs::find_or_mount(&*self.kernel)?;
        let id = tracefs.tracepoint_id(&*self.kernel, category, name)?;
        let target = format!("tracepoint:{category}:{name}");
        self.attach_event(PerfKind::Tracepoint(id), None, cookie, &target)
    }
}
