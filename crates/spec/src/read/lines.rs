//! What `.BTF.ext` says of functions: their types, source lines and CO-RE relocations.

use std::collections::BTreeMap;

use kscope_btf::ext::{CoreRecord, Ext, LineRecord, Section};
use kscope_btf::{Btf, TypeId};

use super::Object;
use super::functions::Function;
use super::why::Why;
use crate::object::{CoreKind, CoreReloc, LineInfo, ProgramSpec, SourceFile, SourceText};
use crate::table::{self, Names, Table};

/// Longest access of a CO-RE relocation, as libbpf has it.
const ACCESS: usize = 64;

/// The records of all sections, by name.
pub(super) struct About<'a> {
    types: Option<&'a Btf>,
    sections: Names<'a, Records>,
}

/// The records of a section, ascending.
#[derive(Default)]
struct Records {
    funcs: Table<u32, TypeId>,
    lines: Vec<LineRecord>,
    core: Vec<CoreRecord>,
}

impl<'a> About<'a> {
    pub(super) fn new(object: &'a Object<'_>, ext: &Ext) -> About<'a> {
        let mut about = About {
            types: object.types.as_ref(),
            sections: Names::default(),
        };
        let Some(types) = about.types else {
            return about;
        };
        let sections = &mut about.sections;
        each(types, &ext.funcs, sections, |records, func| {
            records.funcs.get_or(func.offset, || func.type_id);
        });
        each(types, &ext.lines, sections, |records, line| {
            records.lines.push(*line);
        });
        each(types, &ext.core, sections, |records, core| {
            records.core.push(*core);
        });
        for records in about.sections.values_mut() {
            table::sort(&mut records.lines, |line| line.offset);
            table::sort(&mut records.core, |core| core.offset);
        }
        about
    }

    /// Gives a function's `FUNC`; 0 for none.
    pub(super) fn func(&self, section: &str, function: &Function<'_>) -> u32 {
        let records = self.sections.get(section);
        let offset = function.start.checked_mul(8);
        let found = records.zip(offset).and_then(|(r, at)| r.funcs.get(&at));
        found.map_or(0, |id| id.0)
    }

    /// Gives a function's source lines, slots counted from its first; `starts` are those at which
    /// instructions begin.
    pub(super) fn lines(
        &self,
        section: &str,
        function: &Function<'_>,
        starts: &[u32],
        files: &mut Files,
    ) -> Vec<LineInfo> {
        let (Some(records), Some(types)) = (self.sections.get(section), self.types) else {
            return Vec::new();
        };
        let mut lines: Vec<LineInfo> = Vec::new();
        for record in within(&records.lines, function, |line| line.offset) {
            let Some(insn) = slot(function, record.offset, starts) else {
                continue;
            };
            if lines.last().is_some_and(|last| last.insn == insn) {
                continue;
            }
            lines.push(LineInfo {
                insn,
                file: files.place(types, record),
                line: record.line,
                column: record.column,
            });
        }
        lines
    }

    /// Gives a function's CO-RE relocations, slots counted from its first.
    pub(super) fn core(
        &self,
        section: &str,
        function: &Function<'_>,
        starts: &[u32],
    ) -> Result<Vec<CoreReloc>, Why> {
        let (Some(records), Some(types)) = (self.sections.get(section), self.types) else {
            return Ok(Vec::new());
        };
        let records = within(&records.core, function, |core| core.offset);
        let mut relocations = Vec::with_capacity(records.len());
        for record in records {
            let insn = slot(function, record.offset, starts).ok_or_else(|| Why::CorePlace {
                section: section.to_owned(),
                offset: record.offset,
            })?;
            let access = types.string(record.access).unwrap_or_default();
            relocations.push(CoreReloc {
                insn,
                kind: CoreKind::from_number(record.kind).ok_or(Why::CoreKind(record.kind))?,
                type_id: record.type_id.0,
                access: numbers(access)
                    .ok_or_else(|| Why::CoreAccess(access.chars().take(80).collect()))?,
            });
        }
        Ok(relocations)
    }
}

/// Hands each record to the section that it is of.
fn each<'a, T>(
    types: &'a Btf,
    records: &[Section<T>],
    sections: &mut Names<'a, Records>,
    mut take: impl FnMut(&mut Records, &T),
) {
    for section in records {
        let Some(name) = types.string(section.name) else {
            continue;
        };
        let Some(into) = sections.get_or(name, Records::default) else {
            continue;
        };
        section.records.iter().for_each(|record| take(into, record));
    }
}

/// Gives the records of a function.
fn within<'r, T>(records: &'r [T], function: &Function<'_>, offset: impl Fn(&T) -> u32) -> &'r [T] {
    let start = u64::from(function.start) * 8;
    let end = start + u64::from(function.len) * 8;
    let from = records.partition_point(|record| u64::from(offset(record)) < start);
    let to = records.partition_point(|record| u64::from(offset(record)) < end);
    records.get(from..to).unwrap_or_default()
}

/// Gives the slot, counted from the function's first, of the instruction at a byte of the section.
fn slot(function: &Function<'_>, offset: u32, starts: &[u32]) -> Option<u32> {
    let slot = (offset / 8).checked_sub(function.start)?;
    let begins = offset & 7 == 0 && starts.binary_search(&slot).is_ok();
    begins.then_some(slot)
}

/// Reads `0:1:2`.
fn numbers(access: &str) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in access.split(':') {
        if numbers.len() == ACCESS {
            return None;
        }
        numbers.push(part.parse().ok()?);
    }
    Some(numbers)
}

/// Numbers the files in the order in which the programs name them, and leaves out files and lines
/// that none of them has.
pub(super) fn keep_used(files: &mut Vec<SourceFile>, programs: &mut [ProgramSpec]) {
    let mut numbers: Table<u32, u32> = Table::default();
    let mut used: Vec<Table<u32, ()>> = Vec::new();
    for line in programs.iter_mut().flat_map(|program| &mut program.lines) {
        let next = numbers.len() as u32;
        let number = numbers
            .get_or(line.file, || next)
            .map_or(next, |number| *number);
        if number == next {
            used.push(Table::default());
        }
        if let Some(used) = used.get_mut(number as usize) {
            used.insert(line.line, ());
        }
        line.file = number;
    }
    let mut kept: Vec<(u32, SourceFile)> = (0..)
        .zip(core::mem::take(files))
        .filter_map(|(old, file)| Some((*numbers.get(&old)?, file)))
        .collect();
    table::sort(&mut kept, |(number, _)| *number);
    for ((_, file), used) in kept.iter_mut().zip(&used) {
        if let SourceText::Lines(lines) = &mut file.text {
            for (line, text) in core::mem::take(lines) {
                if used.contains_key(&line) {
                    lines.insert(line, text);
                }
            }
        }
    }
    files.extend(kept.into_iter().map(|(_, file)| file));
}

/// The source files, in the order in which they are first met.
pub(super) struct Files {
    pub(super) list: Vec<SourceFile>,
    by_name: Table<u32, u32>,
    /// Bytes of lines that may still be kept.
    left: usize,
}

impl Files {
    pub(super) fn of(file: &[u8]) -> Files {
        Files {
            list: Vec::new(),
            by_name: Table::default(),
            left: file.len().saturating_mul(4),
        }
    }

    /// Gives the file of a line, and keeps the line's text.
    fn place(&mut self, types: &Btf, record: &LineRecord) -> u32 {
        let number = match self.by_name.get(&record.file) {
            Some(&number) => number,
            None => {
                let name = self.afford(types.string(record.file).unwrap_or_default());
                let number = self.list.len() as u32;
                self.list.push(SourceFile {
                    name,
                    text: SourceText::Lines(BTreeMap::new()),
                });
                self.by_name.insert(record.file, number);
                number
            }
        };
        let text = types.string(record.text).unwrap_or_default();
        let lines = match self
            .list
            .get_mut(number as usize)
            .map(|file| &mut file.text)
        {
            Some(SourceText::Lines(lines)) if !text.is_empty() => lines,
            _ => return number,
        };
        if !lines.contains_key(&record.line) && self.left >= text.len() {
            self.left -= text.len();
            lines.insert(record.line, text.to_owned());
        }
        number
    }

    /// Gives a copy of a text, an empty one where too much was kept.
    fn afford(&mut self, text: &str) -> String {
        match self.left.checked_sub(text.len()) {
            Some(left) => {
                self.left = left;
                text.to_owned()
            }
            None => String::new(),
        }
    }
}
