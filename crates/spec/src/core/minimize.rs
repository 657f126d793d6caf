//! BTF made minimal: what some objects' relocations look at, and no more.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use kscope_btf::{Btf, Kept, Kind, Type, TypeId};

use super::access::{About, Access};
use super::{Failure, Target, failure, resolve};
use crate::object::{CoreKind, Spec};

/// Why BTF cannot be made minimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MinimizeError {
    /// An object's types cannot be read.
    Types {
        /// Index of the object.
        object: usize,
        /// What is wrong.
        error: kscope_btf::Error,
    },
    /// A relocation is refused with the whole BTF as well.
    Refused {
        /// Index of the object.
        object: usize,
        /// The program's name.
        program: String,
        /// The relocation, and why.
        failure: Box<Failure>,
    },
}

impl fmt::Display for MinimizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MinimizeError::Types { object, .. } => {
                write!(f, "the types of object {object} cannot be read")
            }
            MinimizeError::Refused {
                object, program, ..
            } => write!(f, "program {program} of object {object} cannot be fitted"),
        }
    }
}

impl std::error::Error for MinimizeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            MinimizeError::Types { error, .. } => Some(error),
            MinimizeError::Refused { failure, .. } => Some(failure),
        }
    }
}

/// BTF made minimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minimal {
    /// The types, as BTF is written.
    pub types: Vec<u8>,
    /// Relocations that find nothing in the whole BTF either, by object and program.
    pub absent: Vec<Absent>,
}

/// A relocation that finds nothing: its program works where it does not come to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absent {
    /// Index of the object.
    pub object: usize,
    /// The program's name.
    pub program: String,
    /// The relocation, and why it finds nothing.
    pub failure: Failure,
}

/// Makes BTF of the types and members that the objects' relocations come to, as `bpftool gen
/// min_core_btf` does. Relocating against it gives the same instructions as against `target`, but
/// for ids of types ([`CoreKind::TypeIdTarget`]), which are numbered anew. What finds nothing there
/// is told, and finds nothing in what is made. `name` is what errors call `target`, for example
/// `vmlinux`.
///
/// # Errors
/// Where an object cannot be fitted to the whole of `target`.
pub fn minimize(specs: &[&Spec], target: &Btf, name: &str) -> Result<Minimal, MinimizeError> {
    let mut marks = Marks {
        btf: target,
        kept: BTreeMap::new(),
        seen: HashSet::new(),
        waiting: Vec::new(),
    };
    let mut absent = Vec::new();
    for (object, spec) in specs.iter().enumerate() {
        if spec.programs.iter().all(|program| program.core.is_empty()) {
            continue;
        }
        let local = Btf::parse(spec.types.clone());
        let local = local.map_err(|error| MinimizeError::Types { object, error })?;
        let whole = Target::new(target).called(name);
        for program in &spec.programs {
            for (index, relocation) in program.core.iter().enumerate() {
                match resolve(relocation, &local, &whole, spec.byte_order) {
                    Ok(resolved) => {
                        for (candidate, access) in &resolved.found {
                            marks.access(relocation.kind, candidate.id, access);
                        }
                    }
                    Err(fault) => {
                        let is_fatal = fault.reason.is_fatal();
                        let failure = failure(spec, program, (&local, &whole), index, fault);
                        let program = program.name.clone();
                        if is_fatal {
                            let failure = Box::new(failure);
                            return Err(MinimizeError::Refused {
                                object,
                                program,
                                failure,
                            });
                        }
                        absent.push(Absent {
                            object,
                            program,
                            failure,
                        });
                    }
                }
            }
        }
    }
    marks.pointers();
    Ok(Minimal {
        types: target.subset(&marks.kept),
        absent,
    })
}

/// How far a type is followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Reach {
    /// As far as its size and kind are concerned.
    Size,
    /// Through pointers too, as far as kinds are concerned.
    Kinds,
    /// With all members, but not those behind a pointer.
    Members { behind_pointer: bool },
}

struct Marks<'a> {
    btf: &'a Btf,
    kept: BTreeMap<TypeId, Kept>,
    seen: HashSet<(TypeId, Reach)>,
    waiting: Vec<(TypeId, Reach)>,
}

impl Marks<'_> {
    /// Keeps what a relocation looked at on its way to the value.
    fn access(&mut self, kind: CoreKind, id: TypeId, access: &Access<'_>) {
        let reach = match (About::of(kind), kind) {
            (About::Field | About::Constant, _) | (_, CoreKind::TypeSize) => Reach::Size,
            (_, CoreKind::TypeMatches) => Reach::Members {
                behind_pointer: false,
            },
            _ => Reach::Kinds,
        };
        self.waiting.push((id, reach));
        if kind == CoreKind::TypeSize {
            self.waiting.push((id, Reach::Kinds));
        }
        for &(composite, index) in &access.members {
            self.member(composite, index, Reach::Size);
        }
        self.follow();
    }

    /// Keeps what tells the size of pointers where it is not the usual one.
    fn pointers(&mut self) {
        let size = self.btf.pointer_size();
        for name in ["long int", "long unsigned int", "long", "unsigned long"] {
            let found = self.btf.find(name, Kind::Int);
            let usual = size.is_none_or(|size| size == 8);
            if let Some(id) = found.filter(|_| !usual) {
                self.waiting.push((id, Reach::Size));
            }
        }
        self.follow();
    }

    fn member(&mut self, composite: TypeId, index: u32, reach: Reach) {
        let Some(members) = self.btf.composite(composite) else {
            return;
        };
        let last = (members.len() as u32).saturating_sub(1);
        let type_id = members.member(index as usize).type_id;
        // An array without a length is a flexible one only at the end.
        let empty = matches!(self.btf.get_resolved(type_id), Some(Type::Array(a)) if a.len == 0);
        let mut keep = vec![(index, type_id)];
        if empty && index != last {
            keep.push((last, members.member(last as usize).type_id));
        }
        let kept = self.kept.entry(composite);
        let kept = kept.or_insert_with(|| Kept::Members(BTreeSet::new()));
        for (index, type_id) in keep {
            if let Kept::Members(set) = kept {
                set.insert(index);
            }
            self.waiting.push((type_id, reach));
        }
    }

    fn follow(&mut self) {
        while let Some((id, reach)) = self.waiting.pop() {
            if self.seen.insert((id, reach)) {
                self.mark(id, reach);
            }
        }
    }

    fn mark(&mut self, id: TypeId, reach: Reach) {
        let Some(ty) = self.btf.get(id) else {
            return;
        };
        match ty {
            Type::Void => return,
            Type::Struct(composite) | Type::Union(composite) => {
                let kept = self.kept.entry(id);
                kept.or_insert_with(|| Kept::Members(BTreeSet::new()));
                let within = Reach::Members {
                    behind_pointer: false,
                };
                if reach == within {
                    for index in 0..composite.len() as u32 {
                        self.member(id, index, within);
                    }
                }
                return;
            }
            Type::Ptr(to) => match reach {
                Reach::Size => {}
                Reach::Kinds => self.waiting.push((to, Reach::Kinds)),
                Reach::Members { .. } => self.waiting.push((
                    to,
                    Reach::Members {
                        behind_pointer: true,
                    },
                )),
            },
            Type::Array(array) => {
                self.waiting.push((array.element, reach));
                self.waiting.push((array.index, Reach::Size));
            }
            Type::Typedef { to, .. }
            | Type::Const(to)
            | Type::Volatile(to)
            | Type::Restrict(to)
            | Type::TypeTag { to, .. }
            | Type::Func { proto: to, .. }
            | Type::Var { to, .. }
            | Type::DeclTag { to, .. } => self.waiting.push((to, reach)),
            Type::FuncProto(proto) => {
                self.waiting.push((proto.result, reach));
                let params = proto.params().map(|param| (param.type_id, reach));
                self.waiting.extend(params);
            }
            Type::Int(_)
            | Type::Enum(_)
            | Type::Fwd { .. }
            | Type::Float { .. }
            | Type::DataSec(_)
            | Type::Other { .. } => {}
        }
        self.kept.insert(id, Kept::Whole);
    }
}
