//! The kernel's own types and its modules', each opened when somebody asks for it.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use kscope_btf::{Btf, Kind, Type};
use kscope_sys::SharedKernel;

/// Where the kernel keeps its types.
const FOLDER: &str = "/sys/kernel/btf";

/// Most modules whose types are looked at.
const MODULES: usize = 4096;

/// The types of the running kernel.
pub(crate) struct KernelTypes<'a> {
    kernel: SharedKernel,
    given: Option<&'a Btf>,
    base: OnceCell<Option<Btf>>,
    modules: OnceCell<Vec<Module>>,
}

/// A module's types.
pub(crate) struct Module {
    name: String,
    fd: OwnedFd,
    btf: OnceCell<Option<Btf>>,
}

/// A type that was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its number.
    pub(crate) id: u32,
    /// The module it is of, none for vmlinux.
    pub(crate) module: Option<usize>,
}

impl<'a> KernelTypes<'a> {
    pub(crate) fn new(kernel: SharedKernel, given: Option<&'a Btf>) -> KernelTypes<'a> {
        KernelTypes {
            kernel,
            given,
            base: OnceCell::new(),
            modules: OnceCell::new(),
        }
    }

    /// Gives vmlinux's types; none for a kernel without.
    pub(crate) fn base(&self) -> Option<&Btf> {
        if self.given.is_some() {
            return self.given;
        }
        let open = || {
            let bytes = self.kernel.file_bytes(&Path::new(FOLDER).join("vmlinux"));
            Btf::parse(bytes.ok()?).ok()
        };
        self.base.get_or_init(open).as_ref()
    }

    /// Tells whether an enumeration of vmlinux's has no such constant; false where nothing is known of it.
    pub(crate) fn lacks(&self, enumeration: &str, constant: &str) -> bool {
        let base = self.base();
        let found = base.and_then(|base| base.get(base.find(enumeration, Kind::Enum)?));
        match found {
            Some(Type::Enum(known)) => !known.enumerators().any(|one| one.name == constant),
            _ => false,
        }
    }

    /// Finds a module that is loaded and has types.
    pub(crate) fn module_named(&self, name: &str) -> Option<usize> {
        self.modules().iter().position(|one| one.name == name)
    }

    /// Gives a module's types.
    pub(crate) fn of_module(&self, index: usize) -> Option<&Btf> {
        let module = self.modules().get(index)?;
        let open = || {
            let path = Path::new(FOLDER).join(&module.name);
            let bytes = match self.kernel.file_bytes(&path) {
                Ok(bytes) => bytes,
                Err(_) => self.copied(module.fd.as_fd())?.into(),
            };
            Btf::parse_split(bytes, self.base()?).ok()
        };
        module.btf.get_or_init(open).as_ref()
    }

    /// Gives the descriptor of a module's types.
    pub(crate) fn fd_of_module(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.modules().get(index).map(|module| module.fd.as_fd())
    }

    /// Gives the types of all modules that can be read, with their names.
    pub(crate) fn all_modules(&self) -> Vec<kscope_spec::core::Module> {
        let mut named = Vec::new();
        for (index, module) in self.modules().iter().enumerate() {
            if let Some(btf) = self.of_module(index) {
                named.push(kscope_spec::core::Module {
                    name: module.name.clone(),
                    btf: btf.clone(),
                });
            }
        }
        named
    }

    /// Gives the types that a type was found in.
    pub(crate) fn of(&self, found: Found) -> Option<&Btf> {
        match found.module {
            None => self.base(),
            Some(module) => self.of_module(module),
        }
    }

    /// Finds a type by name in vmlinux, else in the modules. `module:name` looks in that module
    /// alone.
    pub(crate) fn find(&self, name: &str, kind: Kind) -> Option<Found> {
        let (only, name) = match name.split_once(':') {
            Some((module, name)) => (Some(module), name),
            None => (None, name),
        };
        if only.is_none_or(|only| only == "vmlinux") {
            if let Some(id) = self.base()?.find(name, kind) {
                return Some(Found {
                    id: id.0,
                    module: None,
                });
            }
        }
        for (index, module) in self.modules().iter().enumerate() {
            if only.is_some_and(|only| only != module.name) {
                continue;
            }
            let Some(btf) = self.of_module(index) else {
                continue;
            };
            for id in btf.own_ids() {
                if btf.kind(id) == Some(kind) && btf.name(id) == Some(name) {
                    return Some(Found {
                        id: id.0,
                        module: Some(index),
                    });
                }
            }
        }
        None
    }

    /// Gives names of a kind that begin with `prefix` and go on near to `name`, without the prefix; of
    /// `module:name` those of that module and of the kernel.
    #[cfg(any(feature = "explain", feature = "struct_ops"))]
    pub(crate) fn near(&self, prefix: &str, name: &str, kind: Kind) -> Vec<&str> {
        let (module, name) = match name.split_once(':') {
            Some((module, name)) => (Some(module), name),
            None => (None, name),
        };
        let module = module.and_then(|name| self.of_module(self.module_named(name)?));
        // A module's types go on from the kernel's.
        let types = module.or_else(|| self.base());
        types.map_or_else(Vec::new, |types| types.near_prefixed(prefix, name, kind, 3))
    }

    fn modules(&self) -> &[Module] {
        self.modules.get_or_init(|| {
            let mut modules = Vec::new();
            let mut id = 0;
            for _ in 0..MODULES {
                let Ok(next) = self.kernel.btf_next_id(id) else {
                    break;
                };
                id = next;
                modules.extend(self.module(id));
            }
            modules
        })
    }

    /// Opens the types with this id, if they are a module's.
    fn module(&self, id: u32) -> Option<Module> {
        let fd = self.kernel.btf_by_id(id).ok()?;
        let mut name = [0; 64];
        let info = self.kernel.btf_info(fd.as_fd(), &mut name, &mut []).ok()?;
        let end = name.iter().position(|&byte| byte == 0)?;
        let name = std::str::from_utf8(name.get(..end)?).ok()?.to_owned();
        let is_module = info.kernel && !name.is_empty() && name != "vmlinux";
        is_module.then(|| Module {
            name,
            fd,
            btf: OnceCell::new(),
        })
    }

    /// Copies the bytes of types out of the kernel.
    pub(crate) fn copied(&self, btf: BorrowedFd<'_>) -> Option<Vec<u8>> {
        copied(&self.kernel, btf)
    }
}

/// Copies the bytes of types out of the kernel.
pub(crate) fn copied(kernel: &SharedKernel, btf: BorrowedFd<'_>) -> Option<Vec<u8>> {
    /// More than the largest kernel's types.
    const LARGEST: u32 = 1 << 28;
    let size = kernel.btf_info(btf, &mut [], &mut []).ok()?.size;
    let mut bytes = vec![0; size.min(LARGEST) as usize];
    kernel.btf_info(btf, &mut [], &mut bytes).ok()?;
    Some(bytes)
}
