//! Where a script is to run: a kernel with its types.

use std::path::{Path, PathBuf};

use kscope_bpf::btf::Btf;
use kscope_runtime::{Error as RuntimeError, Target};

use crate::error::Failure;

/// A kernel with its types, where it has any.
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) btf: Result<Btf, RuntimeError>,
}

impl Place {
    /// Opens the running kernel, with the types of a file where one is given by a flag or by
    /// `BPFTRACE_BTF`.
    ///
    /// # Errors
    ///
    /// Where a given file cannot be read. A kernel without types is no error yet: many scripts
    /// need none.
    pub(crate) fn open(btf: Option<&Path>) -> Result<Place, Failure> {
        let given = btf
            .map(Path::to_owned)
            .or_else(|| std::env::var_os("BPFTRACE_BTF").map(PathBuf::from));
        let Some(file) = given else {
            let target = Target::live();
            let btf = target.btf();
            return Ok(Place { target, btf });
        };
        let target = Target::live().with_btf(file);
        let btf = target
            .btf()
            .map_err(|error| Failure::of_run(&error, "", false))?;
        Ok(Place {
            target,
            btf: Ok(btf),
        })
    }

    /// Looks programs and libraries up as a process sees them.
    pub(crate) fn of_process(mut self, pid: Option<u32>) -> Place {
        if let Some(pid) = pid {
            self.target = self.target.with_process(pid);
        }
        self
    }

    /// Takes the functions that may be traced from a file, one a line.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub(crate) fn with_traceable(mut self, file: &Path) -> Result<Place, Failure> {
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))?;
        self.target = self.target.with_traceable(text);
        Ok(self)
    }

    /// Gives the types, or the failure to read them.
    pub(crate) fn types(&self) -> Result<&Btf, Failure> {
        let failed = |error| Failure::of_run(error, "", false);
        self.btf.as_ref().map_err(failed)
    }
}
