//! Many functions at their entry, exit or both by one program (Linux 7.2), with typed arguments.

use std::os::fd::AsFd;

use kscope_btf::{Btf, Kind, Type, TypeId};
use kscope_spec::section;
use kscope_sys::{Errno, LinkCreate, LinkTarget};

use super::Link;
use super::many::once;
use super::raw::no_trampolines;
use crate::error::Error;
use crate::loader::{KernelTypes, traces_many};
use crate::program::Program;
use crate::search::matches;

/// What the error texts call these programs.
const PLACE: &str = "many functions' entries or exits";

impl Program {
    /// Attaches a [`kscope_spec::ProgramType::Tracing`] program, loaded as
    /// [`kscope_spec::AttachType::TraceFentryMulti`], [`kscope_spec::AttachType::TraceFexitMulti`] or
    /// [`kscope_spec::AttachType::TraceFsessionMulti`], to many functions of the kernel at once. `cookies` is empty
    /// or as long as `names`. Functions are the kernel's, or those of the one module that the program's
    /// section names (`fentry.multi/MODULE:PATTERN`).
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if one name is unknown, [`Error::Invalid`] for no names or one whose
    /// arguments cannot be traced, [`Error::Unsupported`] for a kernel without it.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 7.2, on x86-64.
    pub fn attach_functions(&self, names: &[&str], cookies: &[u64]) -> Result<Link, Error> {
        self.must_trace_many()?;
        if !cookies.is_empty() && cookies.len() != names.len() {
            return Err(Error::invalid(
                "there must be one cookie for each function, or none",
            ));
        }
        let all = KernelTypes::new(self.kernel.clone(), None);
        let types = self.types_of_functions(&all)?;
        let id = |&name: &&str| match own_function(types, name) {
            Some(id) if is_traceable(types, id) => Ok(id.0),
            Some(_) => Err(Error::invalid(format!(
                "function {name} has arguments or a result that programs cannot be given"
            ))),
            None => {
                let near = types.near_names(name, Kind::Func, 3);
                Err(Error::not_found_near("function", name, near))
            }
        };
        let ids: Vec<u32> = names.iter().map(id).collect::<Result<_, _>>()?;
        self.attach_ids(&ids, cookies)
    }

    /// Attaches as [`Program::attach_functions`], to all functions that tracefs lists as traceable, whose
    /// arguments programs can be given, and whose name matches a pattern of `*` and `?`.
    ///
    /// # Errors
    ///
    /// As [`Program::attach_functions`]; [`Error::NotFound`] where nothing matches,
    /// [`Error::NotMounted`] without tracefs.
    pub fn attach_functions_matching(&self, pattern: &str) -> Result<Link, Error> {
        self.must_trace_many()?;
        let module = self.module_of_functions();
        let bare = match pattern.split_once(':') {
            Some((given, bare)) if Some(given) == module => bare,
            Some((given, _)) => {
                return Err(Error::invalid(format!(
                    "program {} was not loaded for functions of module {given}: its section names \
                     the module, as in SEC(\"fentry.multi/{given}:*\")",
                    self.name
                )));
            }
            None => pattern,
        };
        let all = KernelTypes::new(self.kernel.clone(), None);
        let types = self.types_of_functions(&all)?;
        let list = self.traceable_functions()?;
        let of = module.unwrap_or_default().as_bytes();
        // Of names that several functions have it is not known which one the types mean.
        let names = once(&list, |name, module| {
            module == of && matches(bare.as_bytes(), name)
        });
        let of_name = |name: &[u8]| {
            let id = own_function(types, std::str::from_utf8(name).ok()?)?;
            is_traceable(types, id).then_some(id.0)
        };
        let ids: Vec<u32> = names.into_iter().filter_map(of_name).collect();
        if ids.is_empty() {
            return Err(Error::not_found("function matching", pattern));
        }
        self.attach_ids(&ids, &[])
    }

    fn must_trace_many(&self) -> Result<(), Error> {
        match traces_many(&self.attach) {
            true => Ok(()),
            false => Err(self.wrong_kind(PLACE)),
        }
    }

    /// Gives the module whose functions the program was loaded for; none for the kernel's.
    fn module_of_functions(&self) -> Option<&str> {
        section::module(self.section())
    }

    fn types_of_functions<'a>(&self, all: &'a KernelTypes<'_>) -> Result<&'a Btf, Error> {
        let types = match self.module_of_functions() {
            None => all.base(),
            Some(name) => all
                .module_named(name)
                .and_then(|index| all.of_module(index)),
        };
        types.ok_or_else(|| Error::unsupported("BTF", "the build option CONFIG_DEBUG_INFO_BTF"))
    }

    fn attach_ids(&self, btf_ids: &[u32], cookies: &[u64]) -> Result<Link, Error> {
        if btf_ids.is_empty() {
            return Err(Error::invalid("no function to trace"));
        }
        let target = format!("{} functions", btf_ids.len());
        let created = self.kernel.link_create(LinkCreate {
            program: self.as_fd(),
            attach_type: self.attach.attach_type(),
            target: LinkTarget::TracingMulti { btf_ids, cookies },
        });
        let fd = created.map_err(|errno| match errno {
            Errno::NOTSUPP | Errno::OPNOTSUPP => no_trampolines(),
            // bpf_check_attach_btf_id_multi() (kernel/bpf/verifier.c) does not say which.
            Errno::INVAL => Error::invalid(format!(
                "one of the {target} cannot be traced by program {}; those that cannot sleep need a \
                 section without .s",
                self.name
            )),
            errno => self.failed("BPF_LINK_CREATE", errno, &target),
        })?;
        Ok(Link::of(&self.kernel, fd, target))
    }
}

/// Finds a function; of a module's types not those of the kernel that they stand on.
fn own_function(types: &Btf, name: &str) -> Option<TypeId> {
    let first = types.own_ids().next()?;
    let mut named = types.find_all(name);
    named.find(|&id| id >= first && types.kind(id) == Some(Kind::Func))
}

/// Tells whether programs can be given a function's arguments: at most 12, each known and of at most 16
/// bytes, no `...`, and a result of at most 8 bytes that is no structure.
///
/// Source: `btf_distill_func_proto()`, kernel/bpf/btf.c.
fn is_traceable(types: &Btf, id: TypeId) -> bool {
    const MOST: usize = 12;
    const LARGEST: u64 = 16;
    let Some(Type::Func { proto, .. }) = types.get(id) else {
        return false;
    };
    let Some(Type::FuncProto(proto)) = types.get(proto) else {
        return false;
    };
    let result_fits = types.resolve(proto.result) == Some(TypeId::VOID)
        || matches!(
            types.get_resolved(proto.result),
            Some(Type::Int(_) | Type::Enum(_) | Type::Ptr(_))
        );
    let fits = |id: TypeId| {
        let is_value = matches!(
            types.get_resolved(id),
            Some(Type::Int(_) | Type::Enum(_) | Type::Ptr(_) | Type::Struct(_) | Type::Union(_))
        );
        is_value
            && types
                .size_of(id)
                .is_some_and(|size| (1..=LARGEST).contains(&size))
    };
    let mut arguments = proto.params();
    result_fits
        && !proto.is_variadic()
        && proto.len() <= MOST
        && arguments.all(|argument| fits(argument.type_id))
}

#[cfg(test)]
mod tests;
