//! Symbols that an object uses and the kernel defines.

#[cfg(feature = "kconfig")]
mod config;

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsRawFd, BorrowedFd};

use kscope_btf::{Btf, Kind, Type, TypeId};
use kscope_spec::order::order;
use kscope_spec::{Extern, ExternId, ExternKind, MapId, Spec};
use kscope_sys::SharedKernel;

use super::SymbolResolver;
use super::kernel_types::{Found, KernelTypes};
use crate::error::Error;
use crate::patch::External;

/// Most modules whose functions one object's programs may call.
const MODULES: usize = 256;

/// What an object's external symbols stand for, each found out when first asked for.
pub(crate) struct Externs<'a> {
    spec: &'a Spec,
    local: Option<&'a Btf>,
    kernel: SharedKernel,
    types: &'a KernelTypes<'a>,
    resolver: Option<SymbolResolver<'a>>,
    addresses: OnceCell<Vec<(&'a [u8], Option<u64>)>>,
    /// Modules whose functions are called; their place counts from 1.
    called: RefCell<Vec<usize>>,
    /// `.kconfig` variables without a value: where they lie, and why.
    missing: Vec<Missing>,
}

/// Finds a symbol among those that are looked for, which are ascending.
fn place(wanted: &[(&[u8], Option<u64>)], name: &[u8]) -> Option<usize> {
    wanted
        .binary_search_by(|(known, _)| (*known).cmp(name))
        .ok()
}

struct Missing {
    map: MapId,
    offset: u32,
    size: u32,
    why: Error,
}

impl<'a> Externs<'a> {
    pub(crate) fn new(
        spec: &'a Spec,
        local: Option<&'a Btf>,
        kernel: SharedKernel,
        types: &'a KernelTypes<'a>,
        resolver: Option<SymbolResolver<'a>>,
    ) -> Externs<'a> {
        Externs {
            spec,
            local,
            kernel,
            types,
            resolver,
            addresses: OnceCell::new(),
            called: RefCell::default(),
            missing: Vec::new(),
        }
    }

    /// Remembers that no variable of `.kconfig` has a value, as this build was made without them; weak ones
    /// are 0, as where a kernel's configuration cannot be read.
    #[cfg(not(feature = "kconfig"))]
    pub(crate) fn write_config(&mut self) {
        for external in self.spec.externs.iter().filter(|external| !external.weak) {
            if let ExternKind::Config {
                map, offset, size, ..
            } = external.kind
            {
                let why = Error::left_out("build options", "kconfig");
                self.missing.push(Missing {
                    map,
                    offset,
                    size,
                    why,
                });
            }
        }
    }

    /// Looks whether bytes of a map's value have been written.
    pub(crate) fn value(&self, map: MapId, offset: u32) -> Result<(), Error> {
        let missing = self.missing.iter().find(|missing| {
            let end = missing.offset.saturating_add(missing.size);
            missing.map == map && (missing.offset..end).contains(&offset)
        });
        missing.map_or(Ok(()), |missing| Err(missing.why.copied()))
    }

    /// Gives what a symbol stands for; none for a weak one that is nowhere.
    pub(crate) fn resolve(&self, id: ExternId) -> Result<Option<External>, Error> {
        let external = self
            .spec
            .externs
            .get(id.0 as usize)
            .ok_or_else(|| Error::invalid("a relocation names no external symbol"))?;
        let name = &external.name;
        let found = match external.kind {
            ExternKind::Config { map, offset, .. } => {
                return Ok(Some(External::Value { map, offset }));
            }
            ExternKind::Address => self.address(name)?.map(External::Address),
            ExternKind::Variable { type_id } => self.variable(name, type_id)?,
            ExternKind::Function { type_id } => self.function(name, type_id)?,
            // A program that uses it is refused before.
            ExternKind::Undefined => None,
        };
        match found {
            None if external.weak => Ok(None),
            None => Err(self.nowhere(external)),
            found => Ok(found),
        }
    }

    /// Gives the modules whose functions are called so far.
    pub(crate) fn modules(&self) -> Vec<BorrowedFd<'_>> {
        let called = self.called.borrow();
        let fds = called
            .iter()
            .filter_map(|&index| self.types.fd_of_module(index));
        fds.collect()
    }

    fn nowhere(&self, external: &Extern) -> Error {
        let what = match external.kind {
            ExternKind::Function { .. } => "kernel function for programs (kfunc)",
            ExternKind::Variable { .. } => "kernel variable",
            _ => "kernel symbol",
        };
        let typed = !matches!(external.kind, ExternKind::Address);
        if typed && self.types.base().is_none() {
            return Error::unsupported(
                format!("BTF, which {what} {} needs", external.name),
                "the build option CONFIG_DEBUG_INFO_BTF",
            );
        }
        Error::not_found(what, &external.name)
    }

    fn variable(&self, name: &str, declared: u32) -> Result<Option<External>, Error> {
        let Some(found) = self.types.find(name, Kind::Var) else {
            return Ok(None);
        };
        let theirs = self
            .types
            .of(found)
            .and_then(|btf| match btf.get(TypeId(found.id)) {
                Some(Type::Var { to, .. }) => Some((btf, to)),
                _ => None,
            });
        if let (Some(local), Some((btf, to))) = (self.local, theirs) {
            if !same_shape(local, TypeId(declared), btf, to) {
                return Err(Error::invalid(format!(
                    "kernel variable {name} is `{}` in the kernel, not `{}`",
                    said(btf, to),
                    said(local, TypeId(declared))
                )));
            }
        }
        let btf = self.raw_fd(found);
        Ok(Some(External::Variable { id: found.id, btf }))
    }

    fn function(&self, name: &str, declared: u32) -> Result<Option<External>, Error> {
        // A flavour (`name___v2`) stands for the function without it.
        let name = kscope_btf::essential_name(name);
        let Some(found) = self.types.find(name, Kind::Func) else {
            return Ok(None);
        };
        let theirs = self
            .types
            .of(found)
            .and_then(|btf| match btf.get(TypeId(found.id)) {
                Some(Type::Func { proto, .. }) => Some((btf, proto)),
                _ => None,
            });
        if let (Some(local), Some((btf, proto))) = (self.local, theirs) {
            if let Some(why) = other_prototype(local, TypeId(declared), btf, proto) {
                return Err(Error::invalid(format!(
                    "kernel function {name} is not what the object declares: {why}"
                )));
            }
        }
        let place = match found.module {
            None => 0,
            Some(module) => self.place(module)?,
        };
        let btf = self.raw_fd(found);
        Ok(Some(External::Function {
            id: found.id,
            btf,
            place,
        }))
    }

    /// Gives a module's place among those that are called.
    fn place(&self, module: usize) -> Result<i16, Error> {
        let mut called = self.called.borrow_mut();
        let at = called.iter().position(|&known| known == module);
        let at = at.unwrap_or_else(|| {
            called.push(module);
            called.len() - 1
        });
        if at + 1 >= MODULES {
            return Err(Error::invalid(format!(
                "functions of more than {MODULES} modules are called"
            )));
        }
        i16::try_from(at + 1).map_err(|_| Error::invalid("functions of too many modules"))
    }

    fn raw_fd(&self, found: Found) -> i32 {
        let module = found
            .module
            .and_then(|index| self.types.fd_of_module(index));
        module.map_or(0, |fd| fd.as_raw_fd())
    }

    fn address(&self, name: &str) -> Result<Option<u64>, Error> {
        if let Some(resolve) = self.resolver {
            return Ok(resolve(name));
        }
        let known = self.addresses.get_or_init(|| self.read_addresses());
        let known = place(known, name.as_bytes()).and_then(|at| known.get(at)?.1);
        match known {
            Some(0) => Err(Error::permission(
                "reading kernel addresses",
                crate::denial::Denial::File {
                    path: "/proc/kallsyms (without CAP_SYSLOG, or with kernel.kptr_restrict=2)"
                        .to_owned(),
                },
            )),
            known => Ok(known),
        }
    }

    /// Looks up all symbols without a type at once.
    #[inline(never)]
    fn read_addresses(&self) -> Vec<(&'a [u8], Option<u64>)> {
        let externs = self.spec.externs.iter();
        let addresses = externs.filter(|external| external.kind == ExternKind::Address);
        let names: Vec<&[u8]> = addresses.map(|external| external.name.as_bytes()).collect();
        let mut found: Vec<(&[u8], Option<u64>)> = Vec::with_capacity(names.len());
        for at in order(names.len(), &|one, other| names[one].cmp(names[other])) {
            if found.last().is_none_or(|(name, _)| *name != names[at]) {
                found.push((names[at], None));
            }
        }
        let list = crate::kallsyms::read(&*self.kernel);
        for symbol in crate::kallsyms::symbols(&list) {
            let entry = place(&found, symbol.name).and_then(|at| found.get_mut(at));
            let Some((_, kept @ None)) = entry else {
                continue;
            };
            let address = std::str::from_utf8(symbol.address).ok();
            *kept = address.and_then(|text| u64::from_str_radix(text, 16).ok());
        }
        found
    }
}

/// Gives a type as C says it.
fn said(btf: &Btf, id: TypeId) -> String {
    btf.type_name(id)
}

/// Says how prototypes differ; none where a call means the same in both.
fn other_prototype(local: &Btf, ours: TypeId, kernel: &Btf, theirs: TypeId) -> Option<String> {
    let (ours, theirs) = (local.prototype(ours)?, kernel.prototype(theirs)?);
    if ours.len() != theirs.len() {
        return Some(format!(
            "it takes {} arguments in the kernel, {} in the object",
            theirs.len(),
            ours.len()
        ));
    }
    for (place, (our, their)) in ours.params().zip(theirs.params()).enumerate() {
        if !same_shape(local, our.type_id, kernel, their.type_id) {
            return Some(format!(
                "argument {} is `{}` in the kernel, `{}` in the object",
                place + 1,
                said(kernel, their.type_id),
                said(local, our.type_id)
            ));
        }
    }
    if !same_shape(local, ours.result, kernel, theirs.result) {
        return Some(format!(
            "it gives `{}` in the kernel, `{}` in the object",
            said(kernel, theirs.result),
            said(local, ours.result)
        ));
    }
    None
}

/// Tells whether two types are of one kind and name, as far as callers care: pointers are followed
/// to what they point to, integers are not compared.
fn same_shape(local: &Btf, ours: TypeId, kernel: &Btf, theirs: TypeId) -> bool {
    /// More levels than C programmers write.
    const LEVELS: usize = 32;
    let (mut ours, mut theirs) = (ours, theirs);
    for _ in 0..LEVELS {
        let (Some(our), Some(their)) = (local.get_resolved(ours), kernel.get_resolved(theirs))
        else {
            return false;
        };
        match (our, their) {
            (Type::Ptr(our), Type::Ptr(their)) => (ours, theirs) = (our, their),
            (Type::Array(our), Type::Array(their)) => {
                (ours, theirs) = (our.element, their.element);
            }
            (Type::Void, Type::Void)
            | (Type::Int(_), Type::Int(_))
            | (Type::Enum(_), Type::Enum(_))
            | (Type::FuncProto(_), Type::FuncProto(_))
            | (Type::Float { .. }, Type::Float { .. }) => return true,
            (our, their) => {
                let (Some(our), Some(their)) = (composite(&our), composite(&their)) else {
                    return false;
                };
                let [ours, theirs] = [our.1, their.1].map(kscope_btf::essential_name);
                return our.0 == their.0
                    && (ours == theirs || ours.is_empty() || theirs.is_empty());
            }
        }
    }
    false
}

/// Tells whether a type is a union, and its name; none for what is neither structure nor union.
fn composite<'a>(of: &Type<'a>) -> Option<(bool, &'a str)> {
    match of {
        Type::Struct(found) => Some((false, found.name)),
        Type::Union(found) => Some((true, found.name)),
        Type::Fwd { name, is_union } => Some((*is_union, name)),
        _ => None,
    }
}
