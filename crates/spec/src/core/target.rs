//! Where relocations look for types: the kernel's, its modules', or others given in their place.

use core::cell::{LazyCell, RefCell};
use core::fmt;
use std::rc::Rc;

use kscope_btf::{Btf, Kind, TypeId};

use super::view::{Budget, View};
use crate::table::Table;

/// The types that an object is fitted to. It serves the programs of one object: what earlier
/// relocations rule out among types of the same name stays ruled out, as in libbpf, and all of them
/// together may take a number of steps that objects of compilers are far from. To fit an object again,
/// make another target: it takes no time.
pub struct Target<'a> {
    base: &'a Btf,
    /// What errors call them.
    name: &'a str,
    modules: LazyCell<Vec<Module>, LoadModules<'a>>,
    pointer: LazyCell<u32, Box<dyn FnOnce() -> u32 + 'a>>,
    cache: RefCell<Cache>,
    /// What is left to the object whose candidates are in the cache.
    pub(super) budget: Budget,
}

type LoadModules<'a> = Box<dyn FnOnce() -> Vec<Module> + 'a>;

/// A kernel module's types.
#[derive(Clone, Debug)]
pub struct Module {
    /// The module's name.
    pub name: String,
    /// Its types, which continue the kernel's.
    pub btf: Btf,
}

/// A type of the target that may stand for one of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Index of the module; none for the kernel.
    pub(super) module: Option<usize>,
    /// The type.
    pub(super) id: TypeId,
}

/// Candidates by the object's type.
#[derive(Default)]
struct Cache {
    /// The object's types; as long as they are held, no others lie where they do.
    of: Option<Btf>,
    candidates: Table<TypeId, Rc<[Candidate]>>,
}

impl<'a> Target<'a> {
    /// Makes a target of one BTF, for example vmlinux's or one that a person gives in its place.
    #[must_use]
    pub fn new(base: &'a Btf) -> Target<'a> {
        Target {
            base,
            name: "vmlinux",
            modules: LazyCell::new(Box::new(Vec::new)),
            pointer: LazyCell::new(Box::new(|| base.pointer_size().unwrap_or(8))),
            cache: RefCell::default(),
            budget: Budget::default(),
        }
    }

    /// Gives what errors call the types, which are `vmlinux` where nobody says so.
    #[must_use]
    pub fn called(mut self, name: &'a str) -> Target<'a> {
        self.name = name;
        self
    }

    /// Lets types be looked for in modules where the kernel has none of that name. The modules are
    /// asked for once, when the first such type is met.
    #[must_use]
    pub fn with_modules(mut self, load: impl FnOnce() -> Vec<Module> + 'a) -> Target<'a> {
        self.modules = LazyCell::new(Box::new(load));
        self
    }

    /// Gives the types that a candidate belongs to.
    pub(super) fn view(&self, candidate: Candidate) -> View<'_> {
        let module = candidate.module.and_then(|index| self.modules.get(index));
        View {
            btf: module.map_or(self.base, |module| &module.btf),
            pointer: *self.pointer,
        }
    }

    /// Gives the name of what a candidate belongs to.
    pub(super) fn owner(&self, candidate: Candidate) -> &str {
        let module = candidate.module.and_then(|index| self.modules.get(index));
        module.map_or(self.name, |module| &module.name)
    }

    /// Gives the types of the same kind and the same name without flavour as the object's type:
    /// those of the kernel, else those of all modules.
    pub(super) fn candidates(&self, local: &Btf, id: TypeId) -> Rc<[Candidate]> {
        self.serve(local);
        let mut cache = self.cache.borrow_mut();
        let found = cache.candidates.get_or(id, || self.find(local, id).into());
        found.map_or_else(|| Rc::from([]), |found| Rc::clone(found))
    }

    /// Begins anew where the object is another one than before.
    pub(super) fn serve(&self, local: &Btf) {
        let mut cache = self.cache.borrow_mut();
        let same = |of: &Btf| core::ptr::eq(of.bytes(), local.bytes());
        if !cache.of.as_ref().is_some_and(same) {
            cache.of = Some(local.clone());
            cache.candidates = Table::default();
            self.budget.refill();
        }
    }

    /// Rules out all candidates but those left.
    pub(super) fn keep(&self, id: TypeId, left: Vec<Candidate>) {
        let mut cache = self.cache.borrow_mut();
        cache.candidates.insert(id, left.into());
    }

    fn find(&self, local: &Btf, id: TypeId) -> Vec<Candidate> {
        let (Some(name), Some(kind)) = (local.name(id), local.kind(id)) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for id in self.base.flavours(name) {
            if same_kind(Some(kind), self.base.kind(id)) {
                found.push(Candidate { module: None, id });
            }
        }
        if !found.is_empty() {
            return found;
        }
        for (index, Module { btf, .. }) in self.modules.iter().enumerate() {
            for id in btf.own_flavours(name) {
                if same_kind(Some(kind), btf.kind(id)) {
                    let module = Some(index);
                    found.push(Candidate { module, id });
                }
            }
        }
        found
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("base", self.base).finish()
    }
}

/// Tells whether kinds are the same, enumerations of 32-bit and of 64-bit constants being so.
pub(super) fn same_kind(one: Option<Kind>, other: Option<Kind>) -> bool {
    let narrow = |kind| match kind {
        Some(Kind::Enum64) => Some(Kind::Enum),
        kind => kind,
    };
    one.is_some() && narrow(one) == narrow(other)
}
