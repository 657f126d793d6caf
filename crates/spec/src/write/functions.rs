//! Where the functions of programs go: each program's own into its section, those that it calls
//! into `.text`, once for all programs that have the same.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::{SLOT, WriteError};
use crate::insn::{Insn, code};
use crate::object::{ProgramSpec, RelocKind, Spec};

/// Source field of a `call` of a function of the object.
const PSEUDO_CALL: u8 = 1;

/// Where the functions of a spec are written.
pub(super) struct Layout<'a> {
    /// Sections of code; the first is `.text`, which may be empty.
    pub(super) sections: Vec<Section<'a>>,
    /// By program, where each of its functions is: section and piece.
    pub(super) places: Vec<Vec<(usize, usize)>>,
}

/// A section of code.
pub(super) struct Section<'a> {
    pub(super) name: String,
    pub(super) pieces: Vec<Piece<'a>>,
    pub(super) slots: u32,
}

/// A function as one of the programs has it.
#[derive(Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) program: &'a ProgramSpec,
    pub(super) number: usize,
    pub(super) name: &'a str,
    /// Its `FUNC`; 0 for none.
    pub(super) type_id: u32,
    /// Its slots in the program.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Its first slot in the section.
    pub(super) base: u32,
}

impl<'a> Piece<'a> {
    /// Gives what stands in the function, of what ascends by instruction.
    pub(super) fn within<T>(&self, all: &'a [T], insn: impl Fn(&T) -> u32) -> &'a [T] {
        let from = all.partition_point(|one| insn(one) < self.start);
        let to = all.partition_point(|one| insn(one) < self.end);
        all.get(from..to).unwrap_or_default()
    }

    pub(super) fn insns(&self) -> &'a [Insn] {
        let range = self.start as usize..self.end as usize;
        self.program.insns.get(range).unwrap_or_default()
    }

    /// Gives the offset in bytes into the section of a slot of the program.
    pub(super) fn offset(&self, insn: u32) -> u64 {
        u64::from(self.base + insn.saturating_sub(self.start)) * SLOT
    }
}

/// Gives the slot that a call of a function of the program goes to; none for other instructions.
pub(super) fn called(insn: &Insn, at: u32) -> Option<i64> {
    let is_call = insn.code == code::JMP | code::CALL && insn.src == PSEUDO_CALL;
    is_call.then(|| i64::from(at) + i64::from(insn.imm) + 1)
}

fn refuse(program: &ProgramSpec, why: &'static str) -> WriteError {
    WriteError::Program {
        name: program.name.clone(),
        why,
    }
}

/// Gives the functions of a program, and which of them each refers to.
fn pieces<'a>(
    number: usize,
    program: &'a ProgramSpec,
) -> Result<(Vec<Piece<'a>>, Vec<Vec<usize>>), WriteError> {
    let len = u32::try_from(program.insns.len()).map_err(|_| refuse(program, "it is too large"))?;
    let mut list: Vec<Piece<'a>> = Vec::with_capacity(program.funcs.len().max(1));
    for (index, func) in program.funcs.iter().enumerate() {
        let end = program.funcs.get(index + 1).map_or(len, |next| next.insn);
        if (index == 0 && func.insn != 0) || func.insn >= end || end > len {
            return Err(refuse(program, "its functions do not follow one another"));
        }
        list.push(Piece {
            program,
            number,
            name: if index == 0 {
                &program.name
            } else {
                &func.name
            },
            type_id: func.type_id,
            start: func.insn,
            end,
            base: 0,
        });
    }
    if list.is_empty() {
        list.push(Piece {
            program,
            number,
            name: &program.name,
            type_id: 0,
            start: 0,
            end: len,
            base: 0,
        });
    }
    let at = |slot: i64| {
        let slot = u32::try_from(slot).ok();
        let found = slot.and_then(|slot| list.binary_search_by_key(&slot, |p| p.start).ok());
        found.ok_or_else(|| refuse(program, "it calls what is no function of it"))
    };
    let mut calls = Vec::with_capacity(list.len());
    for piece in &list {
        let relocs = piece.within(&program.relocs, |reloc| reloc.insn);
        let mut relocs = relocs.iter().peekable();
        let mut own = Vec::new();
        let mut slots = (piece.start..).zip(piece.insns());
        while let Some((slot, insn)) = slots.next() {
            let reloc = relocs.next_if(|reloc| reloc.insn <= slot);
            match reloc.map(|reloc| &reloc.kind) {
                Some(RelocKind::Func(to)) => own.push(at((*to).into())?),
                Some(_) => {}
                None => {
                    if let Some(to) = called(insn, slot) {
                        own.push(at(to)?);
                    }
                }
            }
            if insn.is_wide() {
                slots.next();
            }
        }
        calls.push(own);
    }
    Ok((list, calls))
}

/// Gives functions that are called an order in which each comes after those that it refers to;
/// none where they refer to one another in a circle.
fn called_first(calls: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; calls.len()];
    let mut order = Vec::with_capacity(calls.len());
    for start in 0..calls.len() {
        let mut open = vec![(start, 0usize)];
        while let Some((at, next)) = open.last_mut() {
            if *next == 0 && states[*at] == State::New {
                states[*at] = State::Open;
            } else if *next == 0 {
                open.pop();
                continue;
            }
            match calls[*at].get(*next) {
                Some(&to) => {
                    *next += 1;
                    match states[to] {
                        State::New => open.push((to, 0)),
                        State::Open => return None,
                        State::Done => {}
                    }
                }
                None => {
                    states[*at] = State::Done;
                    order.push(*at);
                    open.pop();
                }
            }
        }
    }
    Some(order)
}

/// Functions of `.text` by what tells them apart at a glance.
type Known<'a> = HashMap<(&'a str, u32, u64), Vec<(Piece<'a>, Vec<usize>, usize)>>;

pub(super) fn lay_out(spec: &Spec) -> Result<Layout<'_>, WriteError> {
    let text = Section {
        name: ".text".to_owned(),
        pieces: Vec::new(),
        slots: 0,
    };
    let mut layout = Layout {
        sections: vec![text],
        places: Vec::with_capacity(spec.programs.len()),
    };
    let mut by_name: HashMap<String, usize> = HashMap::new();
    let mut known: Known<'_> = HashMap::new();
    for (number, program) in spec.programs.iter().enumerate() {
        if program.section.is_empty() {
            return Err(refuse(program, "it names no section"));
        }
        let is_refused = program.refused.is_some() && !program.unlinked;
        if is_refused || program.insns.is_empty() {
            return Err(refuse(program, "it was refused, or has no instruction"));
        }
        let (pieces, calls) = pieces(number, program)?;
        let name = match program.optional {
            true => format!("?{}", program.section),
            false => program.section.clone(),
        };
        let sections = &mut layout.sections;
        let own = *by_name.entry(name).or_insert_with_key(|name| {
            sections.push(Section {
                name: name.clone(),
                pieces: Vec::new(),
                slots: 0,
            });
            sections.len() - 1
        });
        let mut places = vec![(0, 0); pieces.len()];
        places[0] = layout.add(own, pieces[0])?;
        // Which of `.text` each is: known, or new in the order in which the program has them.
        let order = called_first(&calls);
        let mut same: Vec<Option<usize>> = vec![None; pieces.len()];
        for at in order.iter().flatten().copied().filter(|&at| at != 0) {
            let to: Option<Vec<usize>> = calls[at].iter().map(|&to| same[to]).collect();
            same[at] = to.and_then(|to| find(&known, &pieces[at], &to));
        }
        for (at, piece) in pieces.iter().enumerate().skip(1) {
            places[at] = match same[at] {
                Some(found) => (0, found),
                None => layout.add(0, *piece)?,
            };
        }
        if order.is_some() {
            for (at, piece) in pieces.iter().enumerate().skip(1) {
                let to: Vec<usize> = calls[at].iter().map(|&to| places[to].1).collect();
                // What calls the program itself is its own alone.
                if same[at].is_none() && !calls[at].contains(&0) {
                    let list = known.entry(key(piece)).or_default();
                    list.push((*piece, to, places[at].1));
                }
            }
        }
        layout.places.push(places);
    }
    Ok(layout)
}

impl<'a> Layout<'a> {
    fn add(&mut self, section: usize, piece: Piece<'a>) -> Result<(usize, usize), WriteError> {
        let into = &mut self.sections[section];
        let base = into.slots;
        // Offsets of relocations are in bytes, of 32 bits.
        let slots = base.checked_add(piece.end - piece.start);
        let slots = slots.filter(|&slots| slots < 1 << 28);
        into.slots = slots.ok_or_else(|| refuse(piece.program, "its section is too large"))?;
        into.pieces.push(Piece { base, ..piece });
        Ok((section, into.pieces.len() - 1))
    }
}

fn key<'a>(piece: &Piece<'a>) -> (&'a str, u32, u64) {
    let mut hasher = DefaultHasher::new();
    for insn in piece.insns() {
        // Where functions are differs from program to program.
        let call = called(insn, 0).is_some();
        let imm = if call { 0 } else { insn.imm };
        (insn.code, insn.dst, insn.src, insn.off, imm).hash(&mut hasher);
    }
    (piece.name, piece.type_id, hasher.finish())
}

fn find(known: &Known<'_>, piece: &Piece<'_>, to: &[usize]) -> Option<usize> {
    let list = known.get(&key(piece))?;
    // More of one name and hash than this are no functions that somebody wrote.
    let found = list
        .iter()
        .take(64)
        .find(|(other, others, _)| others == to && is_same(piece, other));
    found.map(|(_, _, at)| *at)
}

fn is_same(one: &Piece<'_>, two: &Piece<'_>) -> bool {
    let insns = |piece: &Piece<'_>| piece.insns().len();
    let same_insns = insns(one) == insns(two)
        && one.insns().iter().zip(two.insns()).all(|(a, b)| {
            let call = called(a, 0).is_some() && called(b, 0).is_some();
            a == b || (call && Insn { imm: b.imm, ..*a } == *b)
        });
    let relocs = |piece: &Piece<'_>| {
        let all = piece.within(&piece.program.relocs, |reloc| reloc.insn);
        let all = all.iter().map(|reloc| {
            let kind = match &reloc.kind {
                RelocKind::Func(_) => None,
                other => Some(other.clone()),
            };
            (reloc.insn - piece.start, kind)
        });
        all.collect::<Vec<_>>()
    };
    let core = |piece: &Piece<'_>| {
        let all = piece.within(&piece.program.core, |core| core.insn);
        let all = all.iter().cloned().map(|mut core| {
            core.insn -= piece.start;
            core
        });
        all.collect::<Vec<_>>()
    };
    let lines = |piece: &Piece<'_>| {
        let all = piece.within(&piece.program.lines, |line| line.insn);
        let all = all.iter().copied().map(|mut line| {
            line.insn -= piece.start;
            line
        });
        all.collect::<Vec<_>>()
    };
    same_insns && relocs(one) == relocs(two) && core(one) == core(two) && lines(one) == lines(two)
}
