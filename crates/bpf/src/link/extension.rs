//! Programs in the place of another program's function.

use std::os::fd::AsFd;

use kscope_btf::{Btf, Kind};
use kscope_spec::{AttachKind, ProgramType};
use kscope_sys::{Errno, LinkCreate, LinkTarget};

use super::Link;
use super::raw::no_trampolines;
use crate::error::Error;
use crate::loader::copied;
use crate::program::Program;

impl Program {
    /// Attaches a [`ProgramType::Ext`] program in place of the function that it was loaded for.
    ///
    /// # Errors
    ///
    /// [`Error::Os`] with `EBUSY` where another program has taken it, [`Error::Unsupported`] for a
    /// kernel without trampolines.
    pub fn attach_extension(&self) -> Result<Link, Error> {
        let AttachKind::Extension(name) = &*self.attach else {
            return Err(self.wrong_kind("a function of another program"));
        };
        let target = format!("freplace:{name}");
        let opened = self.kernel.raw_tracepoint_open(self.as_fd(), None, 0);
        let fd = opened.map_err(|errno| match errno {
            Errno::NOTSUPP | Errno::OPNOTSUPP => no_trampolines(),
            errno => self.failed("BPF_RAW_TRACEPOINT_OPEN", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }

    /// Attaches a [`ProgramType::Ext`] program in place of a function, of the same prototype as
    /// the one it was loaded for, of another program.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_extension`]; [`Error::NotFound`] for a function that is not there.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.10.
    pub fn attach_extension_to(&self, program: &Program, function: &str) -> Result<Link, Error> {
        self.must_be(ProgramType::Ext, "a function of another program")?;
        let target = format!("freplace:{}:{function}", program.name);
        let btf_id = program.function_type(function)?;
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: 0,
            target: LinkTarget::Function {
                program: program.as_fd(),
                btf_id,
                cookie: 0,
            },
        });
        let fd = created.map_err(|errno| match errno {
            Errno::NOTSUPP | Errno::OPNOTSUPP => no_trampolines(),
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }

    /// Finds the type of one of this program's functions in its BTF.
    pub(crate) fn function_type(&self, function: &str) -> Result<u32, Error> {
        let name = self.name();
        let untyped = || {
            Error::invalid(format!(
                "program {name} was loaded without types, so that none of its functions can be found"
            ))
        };
        let info = self.kernel.program_info(self.fd.as_fd());
        let info = info.map_err(|errno| self.failed("BPF_OBJ_GET_INFO_BY_FD", errno, name))?;
        if info.btf_id == 0 {
            return Err(untyped());
        }
        let fd = self.kernel.btf_by_id(info.btf_id);
        let fd = fd.map_err(|errno| self.failed("BPF_BTF_GET_FD_BY_ID", errno, name))?;
        let btf = copied(&self.kernel, fd.as_fd()).and_then(|bytes| Btf::parse(bytes).ok());
        let btf = btf.ok_or_else(untyped)?;
        let id = btf.find(function, Kind::Func).ok_or_else(|| {
            let near = btf.near_names(function, Kind::Func, 3);
            Error::not_found_near("subprogram", format!("{function} in program {name}"), near)
        })?;
        Ok(id.0)
    }
}
