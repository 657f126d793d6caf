//! Text to instructions: what [`crate::disasm`] prints, plus labels. For tests and by hand.
//!
//! One instruction a line; `;` and `//` begin a comment. `name:` before an instruction is a
//! label that `goto`, `call` and `func()` take; `12:` demands that the instruction is slot 12.

mod line;
mod token;

use crate::helper;
use crate::insn::{BadInsn, Insn};
use crate::object::{Reloc, RelocKind, Spec};
use line::{Slot, Target};
use std::collections::BTreeMap;
use std::fmt;

/// What [`assemble`] gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// The slots.
    pub insns: Vec<Insn>,
    /// What the loader patches, ascending.
    pub relocs: Vec<Reloc>,
    /// Labels and their slots.
    pub labels: BTreeMap<String, u32>,
}

/// Why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsmError {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong with it.
    pub kind: AsmErrorKind,
}

/// Kinds of [`AsmError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AsmErrorKind {
    /// Something else should stand there.
    Expected {
        /// What.
        what: &'static str,
        /// The text there; empty at the end of the line.
        found: String,
    },
    /// A label, helper, map or late value that nobody defined.
    Unknown(String),
    /// A label defined twice.
    Duplicate(String),
    /// A number too large for its field.
    Range(i128),
    /// A slot number that is not that of the instruction after it.
    Slot {
        /// The number written.
        written: i128,
        /// The number of the slot.
        actual: u32,
    },
    /// Fields that make no instruction.
    Bad(BadInsn),
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.kind {
            AsmErrorKind::Expected { what, found } if found.is_empty() => {
                write!(f, "expected {what} at the end")
            }
            AsmErrorKind::Expected { what, found } => write!(f, "expected {what}, found `{found}`"),
            AsmErrorKind::Unknown(name) => write!(f, "nothing is called `{name}`"),
            AsmErrorKind::Duplicate(name) => write!(f, "label `{name}` is there already"),
            AsmErrorKind::Range(number) => write!(f, "{number} does not fit"),
            AsmErrorKind::Slot { written, actual } => {
                write!(f, "this is slot {actual}, not {written}")
            }
            AsmErrorKind::Bad(bad) => write!(f, "{bad}"),
        }
    }
}

impl std::error::Error for AsmError {}

/// Assembles a text without maps and late values.
///
/// # Errors
/// The first line that is wrong.
pub fn insns(text: &str) -> Result<Vec<Insn>, AsmError> {
    Ok(assemble(text, &Spec::default())?.insns)
}

/// Assembles a text; maps and late values are named as in `spec`.
///
/// # Errors
/// The first line that is wrong.
pub fn assemble(text: &str, spec: &Spec) -> Result<Assembled, AsmError> {
    let mut done = Assembled::default();
    let mut open: Vec<(u32, u32, Target)> = Vec::new();
    for (at, text) in text.lines().enumerate() {
        let number = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
        let fail = |kind| AsmError { line: number, kind };
        let mut tokens = token::split(text).map_err(fail)?;
        loop {
            let slot = slot_of(done.insns.len());
            if let Some(label) = tokens.label() {
                if done.labels.insert(label.to_owned(), slot).is_some() {
                    return Err(fail(AsmErrorKind::Duplicate(label.to_owned())));
                }
            } else if let Some(written) = tokens.slot_number() {
                if written != i128::from(slot) {
                    let actual = slot;
                    return Err(fail(AsmErrorKind::Slot { written, actual }));
                }
            } else {
                break;
            }
        }
        if tokens.at_end() {
            continue;
        }
        let slot = slot_of(done.insns.len());
        match line::parse(&mut tokens, spec).map_err(fail)? {
            Slot::Raw(insn) => done.insns.push(insn),
            Slot::Op(op) => {
                let insn = op.insn();
                insn.op().map_err(|bad| fail(AsmErrorKind::Bad(bad)))?;
                done.insns.push(insn);
            }
            Slot::Wide(insns, reloc) => {
                done.insns.extend(insns);
                if let Some(kind) = reloc {
                    done.relocs.push(Reloc { insn: slot, kind });
                }
            }
            Slot::Linked(insn, kind) => {
                done.insns.push(insn);
                done.relocs.push(Reloc { insn: slot, kind });
            }
            Slot::To(insn, target) => {
                open.push((slot, number, target));
                done.insns.extend(insn);
            }
        }
    }
    for (slot, line, target) in open {
        done.resolve(slot, target)
            .map_err(|kind| AsmError { line, kind })?;
    }
    done.relocs.sort_by_key(|reloc| reloc.insn);
    Ok(done)
}

fn slot_of(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Assembled {
    fn resolve(&mut self, slot: u32, target: Target) -> Result<(), AsmErrorKind> {
        let find = |name: &str| self.labels.get(name).copied();
        let unknown = |name: &str| AsmErrorKind::Unknown(name.to_owned());
        let distance = |to: u32| i64::from(to) - i64::from(slot) - 1;
        let insn = usize::try_from(slot)
            .ok()
            .and_then(|slot| self.insns.get_mut(slot));
        let Some(insn) = insn else {
            return Err(AsmErrorKind::Range(i128::from(slot)));
        };
        match target {
            Target::Jump(name) => {
                let far = distance(find(&name).ok_or_else(|| unknown(&name))?);
                insn.off = i16::try_from(far).map_err(|_| AsmErrorKind::Range(i128::from(far)))?;
            }
            Target::LongJump(name) => {
                let far = distance(find(&name).ok_or_else(|| unknown(&name))?);
                insn.imm = i32::try_from(far).map_err(|_| AsmErrorKind::Range(i128::from(far)))?;
            }
            Target::Call(name) => match (find(&name), helper::by_name(&name)) {
                (Some(to), _) => {
                    let far = distance(to);
                    let far =
                        i32::try_from(far).map_err(|_| AsmErrorKind::Range(i128::from(far)))?;
                    *insn = Insn::call_local(far);
                }
                (None, Some(helper)) => *insn = Insn::call(helper),
                (None, None) => return Err(unknown(&name)),
            },
            Target::Func(name) => {
                let to = match name.parse() {
                    Ok(to) => to,
                    Err(_) => find(&name).ok_or_else(|| unknown(&name))?,
                };
                let kind = RelocKind::Func(to);
                self.relocs.push(Reloc { insn: slot, kind });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
