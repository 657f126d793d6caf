//! Programs: each with all functions that it calls.

use kscope_btf::{Btf, Type};

use super::bodies::{Body, Uses};
use super::budget::Budget;
use super::functions::{Function, FunctionIndex};
use super::why::Why;
use crate::elf::{SectionIndex, SymbolKind};
use crate::insn::Insn;
use crate::object::{CoreReloc, FuncInfo, LineInfo, ProgramId, ProgramSpec, Reloc, RelocKind};
use crate::section;
use crate::table::{self, Names, Table};

/// Most slots of a program that any kernel takes.
const LONGEST: u32 = 1_000_000;
/// Section of functions that are no programs.
const TEXT: &str = ".text";
/// Tag on a program that names the function which its exceptions go to.
const EXCEPTION: &str = "exception_callback:";

/// The programs, and where they begin: section and byte.
pub(super) struct Programs {
    pub(super) list: Vec<ProgramSpec>,
    pub(super) ids: Table<(SectionIndex, u64), ProgramId>,
}

/// Puts the programs together.
pub(super) fn assemble(uses: &Uses<'_, '_>, bodies: &[Body], budget: &mut Budget) -> Programs {
    let mut programs = Programs {
        list: Vec::new(),
        ids: Table::default(),
    };
    let called: Table<FunctionIndex, ()> = bodies
        .iter()
        .flat_map(|body| body.calls.iter().map(|call| (call.to, ())))
        .collect();
    let callbacks = uses
        .object
        .types
        .as_ref()
        .map(exceptions)
        .unwrap_or_default();
    let by_name = match callbacks.len() {
        0 => Names::default(),
        _ => functions_by_name(uses),
    };
    for (index, function) in uses.functions.list.iter().enumerate() {
        let index = FunctionIndex(index);
        let full = uses.object.elf.section_name(function.section);
        let name = full.strip_prefix('?').unwrap_or(full);
        // Functions for others to call: of `.text`, and of sections with names of their own.
        let is_program = match section::lookup(name) {
            Some(_) => true,
            None => function.global && full != TEXT && !called.contains_key(&index),
        };
        if !is_program {
            continue;
        }
        let (mut program, mut why) = described(function, full);
        let mut layout = Layout::new(uses, bodies);
        let callback = callbacks.get(&layout.type_of(index)).map(|&name| {
            let found = by_name.get(name).copied().flatten();
            found.ok_or_else(|| Why::ExceptionCallback {
                name: name.to_owned(),
            })
        });
        match layout.whole(index, callback, budget) {
            Ok(()) => {
                program.unlinked = why.is_none() && layout.is_unlinked();
                why = why.or_else(|| layout.why());
                layout.write(&mut program);
            }
            Err(too_much) => {
                why.get_or_insert(too_much);
            }
        }
        program.refused = why.map(|why| why.to_string());
        let id = ProgramId(programs.list.len() as u32);
        if function.why.is_none() {
            let place = (function.section, u64::from(function.start) * 8);
            programs.ids.get_or(place, || id);
        }
        programs.list.push(program);
    }
    programs
}

/// Gives the functions by name, the first of each; none where its place is no function's.
fn functions_by_name<'a>(uses: &Uses<'_, 'a>) -> Names<'a, Option<FunctionIndex>> {
    let mut by_name = Names::default();
    for symbol in &uses.object.elf.symbols {
        let Some(section) = symbol.section() else {
            continue;
        };
        if symbol.kind == SymbolKind::Function {
            by_name.get_or(symbol.name, || {
                let slot = i64::try_from(symbol.value / 8).ok()?;
                uses.functions.at(section, slot)
            });
        }
    }
    by_name
}

/// Describes a program without its instructions by its section, and says why it is none that can be
/// loaded.
fn described(function: &Function<'_>, full: &str) -> (ProgramSpec, Option<Why>) {
    let name = full.strip_prefix('?').unwrap_or(full);
    let mut program = ProgramSpec {
        name: function.name.to_owned(),
        section: name.to_owned(),
        optional: full.starts_with('?'),
        ..ProgramSpec::default()
    };
    let mut why = None;
    match section::lookup(name) {
        Some(known) => {
            program.kind = known.kind;
            program.attach = known.attach_kind(name);
            program.flags = known.flags;
        }
        None => {
            why = Some(Why::UnknownSection {
                section: name.to_owned(),
                near: section::nearest(name),
            });
        }
    }
    #[cfg(not(feature = "struct_ops"))]
    if program.kind == crate::ProgramType::StructOps {
        why = Some(Why::LeftOut {
            section: name.to_owned(),
            feature: "struct_ops",
        });
    }
    if !function.global {
        why.get_or_insert(Why::StaticProgram {
            name: function.name.to_owned(),
            section: name.to_owned(),
        });
    }
    (program, why)
}

/// Gives the names of the functions to which exceptions of programs go, by the programs' `FUNC`s.
fn exceptions(types: &Btf) -> Table<u32, &str> {
    let tags = types.own_ids().filter_map(|id| match types.get(id)? {
        Type::DeclTag {
            name,
            to,
            attribute: false,
            ..
        } => Some((to.0, name.strip_prefix(EXCEPTION)?)),
        _ => None,
    });
    tags.collect()
}

/// Which functions a program has, and from which slot on.
struct Layout<'l, 'a> {
    uses: &'l Uses<'l, 'a>,
    bodies: &'l [Body],
    order: Vec<FunctionIndex>,
    starts: Table<FunctionIndex, u32>,
    len: u32,
}

impl<'l, 'a> Layout<'l, 'a> {
    fn new(uses: &'l Uses<'l, 'a>, bodies: &'l [Body]) -> Layout<'l, 'a> {
        Layout {
            uses,
            bodies,
            order: Vec::new(),
            starts: Table::default(),
            len: 0,
        }
    }

    /// Puts in a program with all that it calls, and the function to which its exceptions go.
    fn whole(
        &mut self,
        program: FunctionIndex,
        callback: Option<Result<FunctionIndex, Why>>,
        budget: &mut Budget,
    ) -> Result<(), Why> {
        self.append(program, budget)?;
        match callback {
            Some(callback) => self.append(callback?, budget),
            None => Ok(()),
        }
    }

    fn function(&self, index: FunctionIndex) -> Option<&'l Function<'a>> {
        self.uses.functions.get(index)
    }

    /// Gives a function's body, that of the first where several have the same place.
    fn body(&self, index: FunctionIndex) -> Option<&'l Body> {
        let function = self.function(index)?;
        let first = match function.why {
            None => self
                .uses
                .functions
                .at(function.section, function.start.into()),
            Some(_) => None,
        };
        self.bodies.get(first.unwrap_or(index).0)
    }

    fn type_of(&self, index: FunctionIndex) -> u32 {
        self.body(index).map_or(0, |body| body.type_id)
    }

    /// Appends a function and, depth first, those that it calls and that are not in yet.
    fn append(&mut self, index: FunctionIndex, budget: &mut Budget) -> Result<(), Why> {
        let mut open = vec![(index, 0usize)];
        self.add(index, budget)?;
        while let Some((index, next)) = open.last_mut() {
            let call = self.body(*index).and_then(|body| body.calls.get(*next));
            *next += 1;
            match call {
                Some(call) if !self.starts.contains_key(&call.to) => {
                    self.add(call.to, budget)?;
                    open.push((call.to, 0));
                }
                Some(_) => {}
                None => drop(open.pop()),
            }
        }
        Ok(())
    }

    fn add(&mut self, index: FunctionIndex, budget: &mut Budget) -> Result<(), Why> {
        if self.starts.contains_key(&index) {
            return Ok(());
        }
        let len = self.function(index).map_or(0, |function| function.len);
        let cost = self.body(index).map_or(0, |body| {
            size_of::<FuncInfo>()
                + body.calls.len() * size_of::<Reloc>()
                + body.relocs.len() * size_of::<Reloc>()
                + body.lines.len() * size_of::<LineInfo>()
                + body.core.len() * size_of::<CoreReloc>()
        });
        if !budget.program(cost + len as usize * size_of::<Insn>()) {
            return Err(Why::TooMuch);
        }
        self.order.push(index);
        self.starts.insert(index, self.len);
        self.len = self.len.saturating_add(len);
        if self.len > LONGEST {
            return Err(Why::TooLong {
                slots: self.len as usize,
            });
        }
        Ok(())
    }

    /// Says whether what other objects have to define is all that is missing.
    fn is_unlinked(&self) -> bool {
        let bodies = self.order.iter().filter_map(|&index| self.body(index));
        let mut whys = bodies.filter_map(|body| body.why.as_ref()).peekable();
        whys.peek().is_some() && whys.all(Why::is_for_the_linker)
    }

    /// Gives why the program cannot be loaded: the first reason of its functions.
    fn why(&self) -> Option<Why> {
        for (number, &index) in self.order.iter().enumerate() {
            let why = self.body(index).and_then(|body| body.why.as_ref());
            if let Some(why) = why {
                let name = self.function(index).map_or("", |function| function.name);
                return Some(match number {
                    0 => why.copied(),
                    _ => Why::Subprogram {
                        name: name.to_owned(),
                        why: Box::new(why.copied()),
                    },
                });
            }
        }
        None
    }

    /// Writes instructions and what is patched in them.
    fn write(&self, program: &mut ProgramSpec) {
        program.insns.reserve_exact(self.len as usize);
        for &index in &self.order {
            let (Some(function), Some(body)) = (self.function(index), self.body(index)) else {
                continue;
            };
            let start = program.insns.len() as u32;
            program.insns.extend(function.insns(self.uses.object));
            program.funcs.push(FuncInfo {
                insn: start,
                name: function.name.to_owned(),
                type_id: body.type_id,
            });
            program.lines.extend(body.lines.iter().map(|line| LineInfo {
                insn: start + line.insn,
                ..*line
            }));
            program.core.extend(body.core.iter().map(|core| CoreReloc {
                insn: start + core.insn,
                ..core.clone()
            }));
            let mut relocs: Vec<Reloc> = body
                .relocs
                .iter()
                .map(|reloc| Reloc {
                    insn: start + reloc.insn,
                    ..reloc.clone()
                })
                .collect();
            for call in &body.calls {
                let Some(&to) = self.starts.get(&call.to) else {
                    continue;
                };
                let insn = start + call.insn;
                if call.address {
                    relocs.push(Reloc {
                        insn,
                        kind: RelocKind::Func(to),
                    });
                } else if let Some(slot) = program.insns.get_mut(insn as usize) {
                    // Both are below a million.
                    slot.imm = to as i32 - insn as i32 - 1;
                }
            }
            table::sort(&mut relocs, |reloc| reloc.insn);
            for reloc in &relocs {
                // The linker adds what stands there to the place.
                if self.uses.externs.is_undefined(&reloc.kind) {
                    continue;
                }
                // What stands there is counted in the relocation already.
                let at = reloc.insn as usize;
                let pair = program
                    .insns
                    .get_mut(at..)
                    .and_then(|r| r.first_chunk_mut());
                if let Some([first, second]) = pair.filter(|pair: &&mut [_; 2]| pair[0].is_wide()) {
                    (first.src, first.imm, second.imm) = (0, 0, 0);
                }
            }
            program.relocs.append(&mut relocs);
        }
    }
}
