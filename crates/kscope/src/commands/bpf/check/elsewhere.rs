//! Whether a program would load on a kernel of which there are only the types.

use kscope_bpf::btf::{Btf, Endian, Kind, Type};
use kscope_bpf::{Absent, Error};
use kscope_spec::check::{context_of_raw_tracepoint, reached, read_of_context};
use kscope_spec::core::{self, Target};
use kscope_spec::insn::{Callee, Op};
use kscope_spec::{
    AttachKind, ByteOrder, ExternKind, ProgramSpec, ProgramType, RelocKind, Spec, helper, section,
};

use super::{Attaches, Verdict};

/// How the types of tracepoints' functions begin.
const TYPED: &str = "btf_trace_";

/// Categories of tracepoints that have no types of their own.
const NO_TYPES: [&str; 5] = ["syscalls", "ftrace", "kprobes", "uprobes", "synthetic"];

/// A kernel's types, and what an object has of its own.
pub(super) struct Elsewhere<'a> {
    pub(super) spec: &'a Spec,
    pub(super) local: Option<&'a Btf>,
    pub(super) btf: &'a Btf,
    pub(super) target: Target<'a>,
}

/// Says what can be done about an error, unless that is to look into the running kernel.
fn way_out(error: &Error) -> Option<&'static str> {
    match error {
        Error::NotFound { .. } => None,
        error => error.way_out(),
    }
}

impl Elsewhere<'_> {
    /// Looks up what a program asks of the kernel.
    pub(super) fn look_up(&self, program: &ProgramSpec) -> Verdict {
        match self.refusal(program) {
            None => self.target(program),
            Some(error) => Verdict {
                reason: error.to_string(),
                hint: way_out(&error),
                ..Verdict::default()
            },
        }
    }

    /// Says of a program that fits whether what it attaches to later is there, as far as types tell.
    fn target(&self, program: &ProgramSpec) -> Verdict {
        let fits = |attaches| Verdict {
            loads: true,
            attaches,
            ..Verdict::default()
        };
        let target = section::target(&program.section);
        let (what, name) = match program.kind {
            ProgramType::RawTracepoint | ProgramType::RawTracepointWritable => {
                ("raw tracepoint", target)
            }
            ProgramType::Tracepoint => match target.split_once('/') {
                // These are made of other things.
                Some((category, _)) if NO_TYPES.contains(&category) => {
                    return fits(Attaches::Unknown);
                }
                Some((_, name)) => ("tracepoint", name),
                None => return fits(Attaches::Unknown),
            },
            // What the kernel looked up when it loaded them.
            _ if program.attach.target().is_some() => return fits(Attaches::Yes),
            _ => return fits(Attaches::Unknown),
        };
        let there = |name: &str| self.btf.find(&format!("{TYPED}{name}"), Kind::Typedef);
        if name.is_empty() {
            return fits(Attaches::ByHand);
        }
        if let Some(id) = there(name) {
            let given = match program.kind {
                ProgramType::Tracepoint => None,
                _ => context_of_raw_tracepoint(self.btf, id),
            };
            if given.is_some_and(|given| read_of_context(&program.insns) > given) {
                return Verdict {
                    reason: format!(
                        "it fits, and cannot be attached: the program reads more arguments than raw \
                         tracepoint {name} has"
                    ),
                    ..fits(Attaches::No)
                };
            }
            // Nothing in the types has the name of a tracepoint's category.
            let is_raw = program.kind != ProgramType::Tracepoint;
            return fits(if is_raw {
                Attaches::Yes
            } else {
                Attaches::Unknown
            });
        }
        let mut names = self.btf.ids().filter_map(|id| self.btf.name(id));
        if !names.any(|name| name.starts_with(TYPED)) {
            return fits(Attaches::Unknown);
        }
        let near = near(self.btf, TYPED, name, Kind::Typedef);
        let error = Error::NotFound {
            what,
            name: format!("{target} in these types (a module may have it)"),
            near,
        };
        Verdict {
            reason: format!("it fits, and cannot be attached: {error}"),
            hint: way_out(&error),
            ..fits(Attaches::No)
        }
    }

    /// Gives why the kernel refuses a program, as far as types tell.
    fn refusal(&self, program: &ProgramSpec) -> Option<Error> {
        if let Some(why) = &program.refused {
            return Some(Error::Invalid { why: why.clone() });
        }
        self.other_order()
            .or_else(|| self.refused_map(program))
            .or_else(|| self.unknown_number(program))
            .or_else(|| missing_target(program, self.btf))
            .or_else(|| self.missing_symbol(program))
            .or_else(|| self.unfitted(program))
    }

    fn other_order(&self) -> Option<Error> {
        let order = match self.btf.endian() {
            Endian::Little => ByteOrder::Little,
            Endian::Big => ByteOrder::Big,
        };
        let own = self.spec.byte_order;
        (order != own).then(|| Error::Invalid {
            why: format!(
                "the object is for {own} machines, and these types are of a {order} one: compile it \
                 with clang -target {}",
                order.clang_target()
            ),
        })
    }

    fn refused_map(&self, program: &ProgramSpec) -> Option<Error> {
        program.relocs.iter().find_map(|reloc| {
            let (RelocKind::Map(id) | RelocKind::MapValue { map: id, .. }) = reloc.kind else {
                return None;
            };
            let map = self.spec.maps.get(id.0 as usize)?;
            let why = map.refused.as_ref()?;
            Some(Error::Invalid {
                why: format!("map {}: {why}", map.name),
            })
        })
    }

    /// Names types of programs, links and maps whose numbers the kernel does not have.
    fn unknown_number(&self, program: &ProgramSpec) -> Option<Error> {
        let lacks = |enumeration, number| self.has(enumeration, number) == Some(false);
        let missing = |what: String| Error::Unsupported {
            feature: what,
            since: None,
        };
        let kind = program.kind;
        if lacks("bpf_prog_type", kind as u32) {
            return Some(missing(format!("program type {kind:?}")));
        }
        let attach = program.attach.attach_type();
        if attach != 0 && lacks("bpf_attach_type", attach) {
            let section = program.section.split('/').next().unwrap_or_default();
            return Some(missing(format!("way to attach programs of {section}")));
        }
        program.relocs.iter().find_map(|reloc| {
            let (RelocKind::Map(id) | RelocKind::MapValue { map: id, .. }) = reloc.kind else {
                return None;
            };
            let map = self.spec.maps.get(id.0 as usize)?;
            lacks("bpf_map_type", map.kind as u32).then(|| {
                missing(format!(
                    "map type {:?}, of which map {} is",
                    map.kind, map.name
                ))
            })
        })
    }

    /// Tells whether an enumeration has a number; none where there is no such enumeration.
    fn has(&self, enumeration: &str, number: u32) -> Option<bool> {
        let Some(Type::Enum(known)) = self.btf.get(self.btf.find(enumeration, Kind::Enum)?) else {
            return None;
        };
        // The last is one more than all that there are.
        let mut known = known
            .enumerators()
            .filter(|one| !one.name.starts_with("__"));
        Some(known.any(|one| one.value == i64::from(number)))
    }

    /// Says which function or variable of the kernel a program uses and these types do not have.
    fn missing_symbol(&self, program: &ProgramSpec) -> Option<Error> {
        program.relocs.iter().find_map(|reloc| {
            let RelocKind::Extern(id) = reloc.kind else {
                return None;
            };
            let symbol = self.spec.externs.get(usize::try_from(id.0).ok()?)?;
            let (what, kind) = match symbol.kind {
                ExternKind::Function { .. } => ("function for programs (kfunc)", Kind::Func),
                ExternKind::Variable { .. } => ("variable", Kind::Var),
                _ => return None,
            };
            let name = &symbol.name;
            let missing = !symbol.weak && self.btf.find(name, kind).is_none();
            missing.then(|| Error::NotFound {
                what,
                name: format!("{name} in these types (a module may have it)"),
                near: near(self.btf, "", name, kind),
            })
        })
    }

    /// Says which instruction, of those that the verifier comes to, cannot be had there.
    fn unfitted(&self, program: &ProgramSpec) -> Option<Error> {
        let unresolved = |failure: &core::Failure| Error::Unresolved {
            program: program.name.clone(),
            absent: Box::new(Absent::Relocation(failure.clone())),
            log: Box::default(),
        };
        let relocated = match self.local {
            Some(local) if !program.core.is_empty() => {
                core::relocate(self.spec, program, local, &self.target)
            }
            _ => core::Relocated {
                insns: program.insns.clone(),
                failures: Vec::new(),
            },
        };
        if let Some(failure) = relocated.refusal() {
            return Some(unresolved(failure));
        }
        let reached = reached(self.spec, program, &relocated.insns);
        let is_reached = |insn: usize| reached.get(insn).copied().unwrap_or(true);
        let mut failures = relocated.failures.iter();
        if let Some(failure) = failures.find(|failure| is_reached(failure.insn as usize)) {
            return Some(unresolved(failure));
        }
        let calls = relocated.insns.iter().enumerate();
        let calls = calls.filter_map(|(at, insn)| match insn.op() {
            Ok(Op::Call(Callee::Helper(id))) if is_reached(at) => Some(id),
            _ => None,
        });
        let mut missing = calls.filter(|id| self.has("bpf_func_id", id.0) == Some(false));
        missing.next().map(|id| Error::Unsupported {
            feature: format!("helper {id}, which program {} calls", program.name),
            since: helper::since(id),
        })
    }
}

fn near(btf: &Btf, prefix: &str, name: &str, kind: Kind) -> Vec<String> {
    let near = btf.near_prefixed(prefix, name, kind, 3);
    near.into_iter().map(str::to_owned).collect()
}

/// Says what a program attaches to at load time and the kernel does not have.
fn missing_target(program: &ProgramSpec, btf: &Btf) -> Option<Error> {
    match &program.attach {
        AttachKind::StructOps { type_name, member } => {
            return missing_member(btf, type_name, member);
        }
        AttachKind::None if program.kind == ProgramType::StructOps => {
            return Some(Error::Invalid {
                why: format!(
                    "program {} (struct_ops) is in no table of functions: assign it to a member of a \
                     structure in SEC(\".struct_ops\") or SEC(\".struct_ops.link\")",
                    program.name
                ),
            });
        }
        _ => {}
    }
    let wanted = program.attach.target()?;
    let (what, kind, prefix, name) = (wanted.what, wanted.kind, wanted.prefix, wanted.name);
    if name.is_empty() {
        let section = program.section.trim_end_matches('/');
        return Some(Error::Invalid {
            why: format!(
                "program {} does not say which {what} it is for: its section ends before the name, as \
                 in SEC(\"{section}/NAME\")",
                program.name
            ),
        });
    }
    // `module:name`
    let bare = name.split_once(':').map_or(name, |(_, bare)| bare);
    let missing = btf.find(&format!("{prefix}{bare}"), kind).is_none();
    missing.then(|| Error::NotFound {
        what,
        name: name.to_owned(),
        near: near(btf, prefix, bare, kind),
    })
}

/// Says which table of functions, or which member of it, the kernel does not have.
fn missing_member(btf: &Btf, type_name: &str, member: &str) -> Option<Error> {
    const PREFIX: &str = "bpf_struct_ops_";
    let name = kscope_bpf::btf::essential_name(type_name);
    let table = btf.find(name, Kind::Struct);
    let around = btf.find(&format!("{PREFIX}{name}"), Kind::Struct);
    let Some((table, _)) = table.zip(around) else {
        let near = near(btf, PREFIX, name, Kind::Struct);
        return Some(absent("table of functions", name, near));
    };
    let mut members = btf.composite(table)?.members();
    let missing = members.all(|one| one.name != member);
    missing.then(|| {
        let near = btf.near_members(table, member, 3);
        let near = near.into_iter().map(str::to_owned).collect();
        absent("member", &format!("{member} in struct {name}"), near)
    })
}

/// Says what a kernel lacks of a table: misspelt, or of another kernel.
fn absent(what: &'static str, name: &str, near: Vec<String>) -> Error {
    match near.is_empty() {
        false => Error::NotFound {
            what,
            name: name.to_owned(),
            near,
        },
        true => Error::Unsupported {
            feature: format!("{what} {name}"),
            since: Some("another kernel"),
        },
    }
}
