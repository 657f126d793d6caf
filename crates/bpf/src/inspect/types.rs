//! BTF that is loaded.

use std::os::fd::AsFd;

use kscope_btf::Btf;
use kscope_sys::{Errno, SharedKernel};

use super::{ids, not_opened, text};
use crate::error::Error;
use crate::unmounted::undescribed;

/// Types that are loaded: the kernel's, its modules', those of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedTypes {
    /// Id, unique while they are loaded.
    pub id: u32,
    /// `vmlinux` or the module's name; empty for an object's.
    pub name: String,
    /// Whether they are the kernel's own or a module's (5.11; false before).
    pub is_kernel: bool,
    /// Size in bytes.
    pub size: u32,
}

impl LoadedTypes {
    /// Lists the ids of all BTF of the kernel, ascending.
    ///
    /// # Errors
    ///
    /// [`Error::Permission`].
    pub fn ids(kernel: &SharedKernel) -> Result<Vec<u32>, Error> {
        ids(kernel, "BPF_BTF_GET_NEXT_ID", |kernel, after| {
            kernel.btf_next_id(after)
        })
    }

    /// Describes the BTF with this id.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::Permission`].
    pub fn by_id(kernel: &SharedKernel, id: u32) -> Result<LoadedTypes, Error> {
        let failed = |errno| not_opened(kernel, "BTF", "BPF_BTF_GET_FD_BY_ID", id, errno);
        let fd = kernel.btf_by_id(id).map_err(failed)?;
        let mut name = [0; 64];
        let info = match kernel.btf_info(fd.as_fd(), &mut name, &mut []) {
            // Before Linux 5.11 types have no names.
            Err(Errno::TOO_BIG) => kernel.btf_info(fd.as_fd(), &mut [], &mut []),
            answered => answered,
        };
        let info = info.map_err(|errno| undescribed(&**kernel, errno, format!("BTF {id}")))?;
        Ok(LoadedTypes {
            id,
            name: text(&name),
            is_kernel: info.kernel,
            size: info.size,
        })
    }

    /// Reads the types. Those of a module stand on `base`, the kernel's.
    ///
    /// # Errors
    ///
    /// As [`LoadedTypes::by_id`]; [`Error::Invalid`] for what cannot be parsed.
    pub fn read(&self, kernel: &SharedKernel, base: Option<&Btf>) -> Result<Btf, Error> {
        let id = self.id;
        let failed = |errno| not_opened(kernel, "BTF", "BPF_BTF_GET_FD_BY_ID", id, errno);
        let fd = kernel.btf_by_id(id).map_err(failed)?;
        let mut bytes = vec![0; self.size as usize];
        kernel
            .btf_info(fd.as_fd(), &mut [], &mut bytes)
            .map_err(|errno| undescribed(&**kernel, errno, format!("BTF {id}")))?;
        let is_module = self.is_kernel && self.name != "vmlinux";
        let parsed = match base.filter(|_| is_module) {
            Some(base) => Btf::parse_split(bytes, base),
            None => Btf::parse(bytes),
        };
        parsed.map_err(|error| Error::invalid(format!("BTF {id}: {error}")))
    }
}
