//! Functions: where the table of symbols says that they are.

use super::Object;
use super::why::Why;
use crate::elf::{Binding, Section, SectionIndex, Symbol, SymbolKind};
use crate::insn::Insn;
use crate::object::ByteOrder;
use crate::table::{self, Code, Key, Table};

/// Index of a function in [`Functions::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FunctionIndex(pub(super) usize);

/// A function of the object.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    pub(super) section: SectionIndex,
    /// Its first slot in the section.
    pub(super) start: u32,
    /// Number of its slots.
    pub(super) len: u32,
    /// Whether other objects see it.
    pub(super) global: bool,
    /// Why it cannot be used.
    pub(super) why: Option<Why>,
}

impl Key for FunctionIndex {
    fn code(self) -> Code {
        self.0.code()
    }
}

/// All functions, by section and place.
pub(super) struct Functions<'a> {
    pub(super) list: Vec<Function<'a>>,
    /// The function that begins at a slot.
    at: Table<(SectionIndex, u32), FunctionIndex>,
}

impl<'a> Functions<'a> {
    /// Gives the function that begins at a slot of a section.
    pub(super) fn at(&self, section: SectionIndex, slot: i64) -> Option<FunctionIndex> {
        let slot = u32::try_from(slot).ok()?;
        self.at.get(&(section, slot)).copied()
    }

    /// Gives a function.
    pub(super) fn get(&self, index: FunctionIndex) -> Option<&Function<'a>> {
        self.list.get(index.0)
    }
}

impl Function<'_> {
    /// Decodes its instructions.
    pub(super) fn insns<'e>(&self, object: &'e Object<'_>) -> impl Iterator<Item = Insn> + use<'e> {
        let order = object.elf.order;
        let section = object.elf.section(self.section);
        let start = self.start as usize * 8;
        let end = start + self.len as usize * 8;
        let bytes = section.and_then(|section| section.data.get(start..end));
        let slots = bytes.unwrap_or_default().chunks_exact(8);
        slots.filter_map(move |slot| {
            let slot = slot.try_into().ok()?;
            Some(match order {
                ByteOrder::Little => Insn::decode_le(slot),
                ByteOrder::Big => Insn::decode_be(slot),
            })
        })
    }
}

/// Finds the functions.
pub(super) fn collect<'a>(object: &Object<'a>) -> Functions<'a> {
    let elf = &object.elf;
    let mut found: Vec<(SectionIndex, &Symbol<'a>)> = elf
        .symbols
        .iter()
        .filter(|symbol| symbol.kind == SymbolKind::Function)
        .filter_map(|symbol| Some((symbol.section()?, symbol)))
        .filter(|(index, _)| elf.section(*index).is_some_and(Section::is_code))
        .collect();
    table::sort(&mut found, |(index, symbol)| (*index, symbol.value));
    let mut functions = Functions {
        list: Vec::with_capacity(found.len()),
        at: Table::default(),
    };
    // The last of this section that is usable: its place and end.
    let mut last: Option<(FunctionIndex, SectionIndex, u32, u32)> = None;
    let ends = ends(object, &found);
    for (&(index, symbol), (next, end)) in found.iter().zip(ends) {
        let size = match symbol.size {
            0 => next.saturating_sub(symbol.value),
            size => size,
        };
        let mut function = Function {
            name: symbol.name,
            section: index,
            start: 0,
            len: 0,
            global: symbol.binding != Binding::Local,
            why: None,
        };
        let id = FunctionIndex(functions.list.len());
        match place(symbol.value, size, end) {
            None => {
                function.why = Some(Why::FunctionPlace {
                    section: elf.section_name(index).to_owned(),
                    offset: symbol.value,
                    size,
                });
            }
            Some((start, len)) => {
                let before = last.filter(|(_, section, ..)| *section == index);
                let other = before.filter(|&(_, _, first, after)| {
                    start < after && (first, after) != (start, start + len)
                });
                if let Some(other) = other.and_then(|(other, ..)| functions.get(other)) {
                    function.why = Some(Why::FunctionOverlaps {
                        section: elf.section_name(index).to_owned(),
                        offset: symbol.value,
                        other: other.name.to_owned(),
                    });
                } else {
                    (function.start, function.len) = (start, len);
                    functions.at.get_or((index, start), || id);
                    last = Some((id, index, start, start + len));
                }
            }
        }
        functions.list.push(function);
    }
    functions
}

/// Gives for each of them where the next begins, and where its section ends.
fn ends(object: &Object<'_>, found: &[(SectionIndex, &Symbol<'_>)]) -> Vec<(u64, u64)> {
    let mut ends = Vec::with_capacity(found.len());
    // The section and place of the one after this, and what comes after that.
    let mut after: Option<(SectionIndex, u64, u64)> = None;
    for &(index, symbol) in found.iter().rev() {
        let section = object.elf.section(index);
        let end = section.map_or(0, |section| section.data.len() as u64);
        let next = match after {
            Some((other, place, beyond)) if other == index && place == symbol.value => beyond,
            Some((other, place, _)) if other == index => place,
            _ => end,
        };
        after = Some((index, symbol.value, next));
        ends.push((next, end));
    }
    ends.reverse();
    ends
}

/// Gives first slot and number of slots of whole instructions before byte `end`.
fn place(offset: u64, size: u64, end: u64) -> Option<(u32, u32)> {
    let inside = offset.checked_add(size)? <= end;
    let whole = size > 0 && (size | offset) & 7 == 0;
    if !inside || !whole {
        return None;
    }
    let start = u32::try_from(offset / 8).ok()?;
    let len = u32::try_from(size / 8).ok()?;
    start.checked_add(len)?;
    Some((start, len))
}
