//! The kernel that scripts run on: its door, its types, its symbols.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kscope_btf::Btf;
use kscope_symbol::KernelSymbolizer;
use kscope_sys::{Errno, SharedKernel, real_kernel};

use crate::error::Error;
use crate::types_file::types_of_file;
use crate::user::UserFiles;

/// Where the kernel shows its own types.
const VMLINUX_BTF: &str = "/sys/kernel/btf/vmlinux";

/// The running kernel.
#[derive(Clone, Debug)]
pub struct Target {
    kernel: SharedKernel,
    btf_path: PathBuf,
    symbols: Arc<KernelSymbolizer>,
    user: Arc<UserFiles>,
    traceable: Option<Arc<str>>,
}

impl Target {
    /// Gives the running kernel with the types it shows itself.
    #[must_use]
    pub fn live() -> Target {
        Target {
            kernel: real_kernel(),
            btf_path: PathBuf::from(VMLINUX_BTF),
            symbols: Arc::new(KernelSymbolizer::new()),
            user: Arc::new(UserFiles::new(None)),
            traceable: None,
        }
    }

    /// Takes the types from another file.
    #[must_use]
    pub fn with_btf(mut self, path: impl Into<PathBuf>) -> Target {
        self.btf_path = path.into();
        self
    }

    /// Takes the functions that may be traced from a text as that of the kernel's
    /// `available_filter_functions`.
    #[must_use]
    pub fn with_traceable(mut self, functions: impl Into<Arc<str>>) -> Target {
        self.traceable = Some(functions.into());
        self
    }

    /// Gives the functions that may be traced, where somebody said which.
    pub(crate) fn traceable(&self) -> Option<&str> {
        self.traceable.as_deref()
    }

    /// Looks programs and libraries up as a process sees them: in its own mount namespace, and its
    /// libraries first.
    #[must_use]
    pub fn with_process(mut self, pid: u32) -> Target {
        self.user = Arc::new(UserFiles::new(Some(pid)));
        self
    }

    /// Gives the programs and libraries.
    pub(crate) fn user(&self) -> &UserFiles {
        &self.user
    }

    /// Gives the door to the kernel.
    #[must_use]
    pub fn kernel(&self) -> &SharedKernel {
        &self.kernel
    }

    /// Gives where the types are read from.
    #[must_use]
    pub fn btf_path(&self) -> &Path {
        &self.btf_path
    }

    /// Gives the kernel's symbols, read when first asked for.
    #[must_use]
    pub fn symbols(&self) -> &Arc<KernelSymbolizer> {
        &self.symbols
    }

    /// Reads the kernel's types; mapped, not copied, where the kernel allows that.
    ///
    /// # Errors
    ///
    /// [`Error::NoTypes`] where the kernel has none, [`Error::Types`] where the file is closed or
    /// malformed.
    pub fn btf(&self) -> Result<Btf, Error> {
        let running = || self.of_running_kernel();
        match self.btf_path == Path::new(VMLINUX_BTF) {
            true => running(),
            false => types_of_file(&self.btf_path, &running),
        }
    }

    fn of_running_kernel(&self) -> Result<Btf, Error> {
        let path = VMLINUX_BTF.to_owned();
        match self.kernel.file_bytes(Path::new(VMLINUX_BTF)) {
            Ok(bytes) => Btf::parse(bytes).map_err(|error| Error::Types {
                path,
                why: error.to_string(),
            }),
            Err(Errno::NOENT) => Err(Error::NoTypes { path }),
            Err(errno) => Err(Error::Types {
                path,
                why: errno.to_string(),
            }),
        }
    }
}
