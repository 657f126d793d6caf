//! CO-RE: instructions fitted to the layout of the target's types. Pure; the rules are libbpf's
//! (src/relo_core.c of libbpf 1.7, which the kernel shares), down to what is refused.
//!
//! A relocation names a type of the object and a path through it. Types of the target with the same
//! kind and the same name (without flavour, see [`kscope_btf::essential_name`]) are candidates;
//! those through which the path leads as well must agree on the value. Where none fits the
//! instruction is poisoned: the program loads if the verifier never reaches it.

mod access;
mod compat;
mod failure;
mod matching;
#[cfg(feature = "minimize")]
mod minimize;
mod patch;
mod search;
mod target;
mod value;
mod view;

use kscope_btf::{Btf, TypeId};

use access::{About, Access, numbers};
use patch::Change;
use target::Candidate;
use value::{Value, Wrong};
use view::{Pair, View};

pub use failure::{Failure, Mismatch, Reason, Rejected, Source};
#[cfg(feature = "minimize")]
pub use minimize::{Absent, Minimal, MinimizeError, minimize};
pub use patch::POISON;
pub use target::{Module, Target};

use crate::insn::Insn;
use crate::object::{ByteOrder, CoreKind, CoreReloc, ProgramSpec, Spec};

/// A program fitted to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relocated {
    /// The instructions; those of failed relocations are calls of helper [`POISON`].
    pub insns: Vec<Insn>,
    /// The relocations that failed, in the program's order.
    pub failures: Vec<Failure>,
}

impl Relocated {
    /// Gives the first failure for which the program must be refused, whether or not the verifier
    /// reaches it: the object is malformed, or the target ambiguous.
    #[must_use]
    pub fn refusal(&self) -> Option<&Failure> {
        self.failures
            .iter()
            .find(|failure| failure.reason.is_fatal())
    }

    /// Gives the failure that poisoned the instruction at this slot.
    #[must_use]
    pub fn failure_at(&self, insn: u32) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.insn == insn)
    }
}

/// Fits a program's instructions to the target's types.
///
/// `local` are the types of [`Spec::types`]. Programs are given in the order of the object: what
/// one rules out among types of the same name stays so in `target` for the next.
#[must_use]
pub fn relocate(spec: &Spec, program: &ProgramSpec, local: &Btf, target: &Target<'_>) -> Relocated {
    let mut insns = program.insns.clone();
    let mut failures = Vec::new();
    target.serve(local);
    for (index, relocation) in program.core.iter().enumerate() {
        let at = relocation.insn as usize;
        let resolved = resolve(relocation, local, target, spec.byte_order);
        let done = resolved.and_then(|resolved| {
            let change = resolved.change(local, target);
            patch::patch(&mut insns, at, &change).map_err(Fault::from)
        });
        if let Err(fault) = done {
            patch::poison(&mut insns, at);
            failures.push(failure(spec, program, (local, target), index, fault));
        }
    }
    Relocated { insns, failures }
}

/// Names a failed relocation, by numbers alone once the object has had its share of texts.
fn failure(
    spec: &Spec,
    program: &ProgramSpec,
    (local, target): (&Btf, &Target<'_>),
    index: usize,
    Fault { reason, candidates }: Fault,
) -> Failure {
    let relocation = &program.core[index];
    let is_told = !target.budget.is_empty();
    let failure = Failure {
        relocation: index,
        insn: relocation.insn,
        kind: relocation.kind,
        type_id: TypeId(relocation.type_id),
        access: match is_told {
            true => access_text(local, relocation),
            false => format!(
                "type {} {}",
                relocation.type_id,
                numbers(&relocation.access)
            ),
        },
        source: is_told
            .then(|| source(spec, program, relocation.insn))
            .flatten(),
        reason,
        candidates,
    };
    if is_told {
        let text = failure.source.as_ref().and_then(|line| line.text.as_ref());
        let told = failure.to_string().len() + text.map_or(0, String::len);
        target.budget.take(told);
    }
    failure
}

/// What a relocation comes to on both sides.
struct Resolved<'a> {
    old: Value,
    new: Value,
    /// The types that fit, and the path through each. They agree on the value.
    found: Vec<(Candidate, Access<'a>)>,
}

impl Resolved<'_> {
    fn change<'a>(&self, local: &'a Btf, target: &'a Target<'_>) -> Change<'a> {
        let first = self.found.first();
        let views = first.map(|(candidate, _)| (local_view(local), target.view(*candidate)));
        Change {
            old: self.old,
            new: self.new,
            views,
        }
    }
}

/// Why a relocation fails, without what names it.
struct Fault {
    reason: Reason,
    candidates: Vec<Rejected>,
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Fault {
        Fault {
            reason,
            candidates: Vec::new(),
        }
    }
}

impl From<Wrong> for Fault {
    /// For what is asked of the object's own types.
    fn from(wrong: Wrong) -> Fault {
        Fault::from(match wrong {
            Wrong::Type(mismatch) => Reason::BadAccess(mismatch),
            Wrong::Question(reason) => reason,
        })
    }
}

fn local_view(local: &Btf) -> View<'_> {
    View {
        btf: local,
        // Programs are 64-bit whatever the machine.
        pointer: 8,
    }
}

/// Finds what the relocation comes to.
fn resolve<'a>(
    relocation: &CoreReloc,
    local: &'a Btf,
    target: &'a Target<'_>,
    order: ByteOrder,
) -> Result<Resolved<'a>, Fault> {
    let (kind, id) = (relocation.kind, TypeId(relocation.type_id));
    let view = local_view(local);
    let access = Access::parse(view, relocation).map_err(Reason::BadAccess)?;
    let old = value::value(view, kind, &access, order);
    if kind == CoreKind::TypeIdLocal {
        let old = old?;
        return Ok(Resolved {
            old,
            new: old,
            found: Vec::new(),
        });
    }
    if local.name(id).is_none_or(str::is_empty) || id == TypeId::VOID {
        return Err(Reason::Anonymous.into());
    }
    let candidates = target.candidates(local, id);
    let old = old?;
    let mut search = Search {
        view,
        kind,
        order,
        target,
        first: None,
        found: Vec::new(),
        rejected: Vec::new(),
    };
    for &candidate in candidates.iter() {
        if let Err(reason) = search.look(&access, candidate) {
            return Err(Fault {
                reason,
                candidates: search.rejected,
            });
        }
    }
    if let Some(new) = search.first {
        let found = search.found;
        if found.len() < candidates.len() {
            target.keep(id, found.iter().map(|(candidate, _)| *candidate).collect());
        }
        return Ok(Resolved { old, new, found });
    }
    match value::absent(kind) {
        Some(new) => Ok(Resolved {
            old,
            new,
            found: Vec::new(),
        }),
        None => Err(Fault {
            reason: match candidates.is_empty() {
                true => Reason::NoCandidate,
                false => Reason::NoneFits,
            },
            candidates: search.rejected,
        }),
    }
}

/// A look at one candidate after the other.
struct Search<'a, 't> {
    view: View<'a>,
    kind: CoreKind,
    order: ByteOrder,
    target: &'a Target<'t>,
    /// What the first that fits comes to.
    first: Option<Value>,
    found: Vec<(Candidate, Access<'a>)>,
    rejected: Vec<Rejected>,
}

impl<'a> Search<'a, '_> {
    /// Looks at a candidate; fails where the relocation must be refused.
    fn look(&mut self, access: &Access<'a>, candidate: Candidate) -> Result<(), Reason> {
        let theirs = self.target.view(candidate);
        let pair = Pair::new(self.view, theirs, &self.target.budget);
        let found = match search::find(&pair, self.kind, access, candidate.id) {
            Ok(found) => found,
            Err(why) => return self.reject(theirs, candidate, why),
        };
        let new = match value::value(theirs, self.kind, &found, self.order) {
            Ok(new) => new,
            Err(Wrong::Question(reason)) => return Err(reason),
            Err(Wrong::Type(why)) => return self.reject(theirs, candidate, why),
        };
        let before = self.first.get_or_insert(new);
        let offset = self.found.first().map(|(_, first)| first.bit_offset);
        if let Some(first) = offset.filter(|&first| first != found.bit_offset) {
            let second = found.bit_offset;
            return Err(Reason::AmbiguousOffset { first, second });
        }
        if before.number != new.number {
            let (first, second) = (before.number, new.number);
            return Err(Reason::AmbiguousValue { first, second });
        }
        self.found.push((candidate, found));
        Ok(())
    }

    fn reject(&mut self, view: View<'_>, of: Candidate, why: Mismatch) -> Result<(), Reason> {
        let fatal = why.is_fatal();
        self.rejected.push(Rejected {
            owner: self.target.owner(of).to_owned(),
            type_id: of.id,
            name: view.text(of.id),
            why,
        });
        if fatal {
            Err(Reason::BadCandidate)
        } else {
            Ok(())
        }
    }
}

/// Gives type and path as C says them.
pub(crate) fn access_text(local: &Btf, relocation: &CoreReloc) -> String {
    let view = local_view(local);
    match Access::parse(view, relocation) {
        Ok(access) => access.text(view, About::of(relocation.kind)),
        Err(_) => {
            let id = TypeId(relocation.type_id);
            format!("{} {}", view.text(id), numbers(&relocation.access))
        }
    }
}

/// Finds the source line of an instruction.
fn source(spec: &Spec, program: &ProgramSpec, insn: u32) -> Option<Source> {
    let after = program.lines.partition_point(|line| line.insn <= insn);
    let line = program.lines.get(after.checked_sub(1)?)?;
    let file = spec.files.get(line.file as usize)?;
    let text = file.text.line(line.line);
    Some(Source {
        file: file.name.clone(),
        line: line.line,
        text: text.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests;
