//! What programs take their arguments for, kept in the object's types and compared with the target's.
//!
//! An argument of a kernel function or a raw tracepoint is found by its place, which no relocation
//! asks the target for. So a type is kept for each program that reads some, and where the object is
//! run they have to be what the target's types say.

use std::fmt;

use kscope_btf::write::Builder;
use kscope_btf::{Btf, Encoding, FuncProto, Kind, Type as BtfType, TypeId};
use kscope_spec::{ProgramSpec, Spec};

use crate::hir::{Signature, Type};
use crate::plan::{Attach, ProbePlan};

/// Before the name of a program whose arguments a type describes.
const PREFIX: &str = "args_of_";

/// Describes the arguments that a program reads: a pointer to a function, under a name.
pub(super) fn describe(signature: &Signature, program: &str, builder: &mut Builder) {
    let mut parameters = Vec::with_capacity(signature.parameters.len());
    for (name, ty) in &signature.parameters {
        let id = argument(ty, builder);
        parameters.push((name.as_str(), id));
    }
    let result = match &signature.result {
        Some(ty) => argument(ty, builder),
        None => TypeId::VOID,
    };
    let function = builder.add_func_proto(result, &parameters);
    let pointer = builder.add_ptr(function);
    builder.add_typedef(&format!("{PREFIX}{program}"), pointer);
}

/// Gives a type as far as [`Shape`] tells types apart.
fn argument(ty: &Type, builder: &mut Builder) -> TypeId {
    let named = |ty: &Type| match ty {
        Type::Struct(of) => of.name.split_once(' ').map(|(word, name)| {
            let is_union = word == "union";
            (name.to_owned(), is_union)
        }),
        _ => None,
    };
    match ty {
        Type::Pointer { to, .. } => {
            let to = match named(to) {
                Some((name, is_union)) => builder.add_fwd(&name, is_union),
                None => TypeId::VOID,
            };
            builder.add_ptr(to)
        }
        Type::Struct(of) => builder.add_struct("", of.size, &[]),
        _ => {
            let bytes = ty.size().max(1);
            builder.add_int(&format!("u{}", bytes * 8), bytes, Encoding::Unsigned)
        }
    }
}

/// What is compared of an argument's type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    /// A pointer; the name of the structure it points to, where it does.
    Pointer(Option<String>),
    /// A number of so many bytes; whether it has a sign is settled when the object is built.
    Number(u64),
    /// A structure of so many bytes.
    Whole(u64),
    /// None of these.
    Other,
}

impl Shape {
    fn of(btf: &Btf, id: TypeId) -> Shape {
        let size = || btf.size_of(id).unwrap_or_default();
        match btf.get_resolved(id) {
            Some(BtfType::Ptr(to)) => {
                let to = btf.resolve(to);
                let to = to.filter(|to| {
                    matches!(btf.kind(*to), Some(Kind::Struct | Kind::Union | Kind::Fwd))
                });
                let name = to.and_then(|to| btf.name(to));
                Shape::Pointer(name.filter(|name| !name.is_empty()).map(str::to_owned))
            }
            Some(BtfType::Struct(_) | BtfType::Union(_)) => Shape::Whole(size()),
            Some(BtfType::Int(_) | BtfType::Enum(_)) => Shape::Number(size()),
            _ => Shape::Other,
        }
    }

    /// Says whether code made for this reads the other right.
    fn reads(&self, other: &Shape) -> bool {
        match (self, other) {
            (Shape::Pointer(None), Shape::Pointer(_))
            | (Shape::Pointer(_), Shape::Pointer(None)) => true,
            (one, other) => one == other,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Pointer(Some(name)) => write!(f, "a pointer to {name}"),
            Shape::Pointer(None) => f.write_str("a pointer"),
            Shape::Number(1) => f.write_str("a number of one byte"),
            Shape::Number(bytes) => write!(f, "a number of {bytes} bytes"),
            Shape::Whole(bytes) => write!(f, "a structure of {bytes} bytes"),
            Shape::Other => f.write_str("something else"),
        }
    }
}

/// How the arguments of a function or tracepoint of the target differ from what a program reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unlike {
    /// The function or tracepoint.
    pub of: String,
    /// What is different.
    why: String,
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unlike { of, why } = self;
        write!(f, "on this kernel {why} of {of}")
    }
}

/// Compares the arguments that a program of an object reads with those that the target has at its
/// attach points. What the target's types do not tell is not compared.
#[must_use]
pub fn unlike(spec: &Spec, local: &Btf, probe: &ProbePlan, target: &Btf) -> Option<Unlike> {
    let program = spec.programs.get(probe.program.0 as usize)?;
    let expected = expected(program, local)?;
    probe.attach.iter().find_map(|point| {
        let (of, skip, found) = match point {
            Attach::RawTracepoint { event } => {
                let id = target.find(&format!("btf_trace_{event}"), Kind::Typedef)?;
                // The first is the tracepoint's own.
                (format!("the tracepoint {event}"), 1, id)
            }
            Attach::FunctionEntry { function } | Attach::FunctionExit { function } => {
                let name = function.rsplit(':').next()?;
                let id = target.find(name, Kind::Func)?;
                (format!("the function {name}"), 0, id)
            }
            _ => return None,
        };
        let found = target.prototype(found)?;
        let why = difference((local, &expected), (target, &found), skip)?;
        Some(Unlike { of, why })
    })
}

fn expected<'a>(program: &ProgramSpec, local: &'a Btf) -> Option<FuncProto<'a>> {
    let name = format!("{PREFIX}{}", program.name);
    local.prototype(local.find(&name, Kind::Typedef)?)
}

fn difference(
    (local, expected): (&Btf, &FuncProto<'_>),
    (target, found): (&Btf, &FuncProto<'_>),
    skip: usize,
) -> Option<String> {
    let mut there = found.params().skip(skip);
    for (number, parameter) in (1..).zip(expected.params()) {
        let name = parameter.name;
        let Some(here) = there.next() else {
            return Some(format!("there is no argument {number} ({name})"));
        };
        let wanted = Shape::of(local, parameter.type_id);
        let shape = Shape::of(target, here.type_id);
        if !wanted.reads(&shape) {
            return Some(format!(
                "{shape}, not {wanted}, is argument {number} ({name})"
            ));
        }
    }
    if expected.result == TypeId::VOID {
        return None;
    }
    let more = there.count();
    if more > 0 {
        let count = expected.params().count();
        return Some(format!(
            "{}, not {count}, is the number of arguments",
            count + more
        ));
    }
    let wanted = Shape::of(local, expected.result);
    let shape = Shape::of(target, found.result);
    (!wanted.reads(&shape)).then(|| format!("{shape}, not {wanted}, is the result"))
}
