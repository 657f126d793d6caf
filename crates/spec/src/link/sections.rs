//! The sections of the result: those of the same name follow one another.

use std::collections::HashMap;

use super::LinkError;
use super::input::Input;
use crate::elf::number::{SHF_EXECINSTR, SHT_NOBITS, SHT_PROGBITS};
use crate::elf::write::Writer;
use crate::elf::{Section, SectionIndex};

/// Flags of strings that linkers may merge; they are not, and need no flag.
const MERGE_STRINGS: u64 = 0x30;
/// Sections that all objects have alike.
const SHARED: [&str; 2] = ["license", "version"];
/// What a script's object says of itself; two of them do not make one.
const PLAN: &str = ".kscope";
/// Tables of jumps.
const JUMP_TABLES: &str = ".jumptables";
/// Largest alignment of a section, in bytes.
const ALIGNMENT: u64 = 1 << 20;
/// Most bytes that all alignments together may add.
const PADDING: u64 = 16 << 20;

/// The sections of the result.
#[derive(Default)]
pub(super) struct Layout<'a> {
    pub(super) list: Vec<Part<'a>>,
    by_name: HashMap<&'a str, usize>,
    /// Where the sections of each object begin in those of the result.
    places: HashMap<(usize, SectionIndex), Place>,
    /// What alignments have added so far, in bytes.
    padding: u64,
}

/// A section of the result.
pub(super) struct Part<'a> {
    pub(super) name: &'a str,
    kind: u32,
    flags: u64,
    align: u64,
    pub(super) data: Vec<u8>,
    pub(super) size: u64,
    /// The file that has it first.
    file: &'a str,
}

/// Where a section of an object is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Index in [`Layout::list`].
    pub(super) part: usize,
    /// Offset in bytes.
    pub(super) offset: u64,
    /// It is the same as that of an object before.
    pub(super) shared: bool,
}

impl<'a> Layout<'a> {
    pub(super) fn of(inputs: &[Input<'a>]) -> Result<Layout<'a>, LinkError> {
        let mut layout = Layout::default();
        for (number, input) in inputs.iter().enumerate() {
            input.check()?;
            for (index, section) in input.linked() {
                // They count from the start of the section of code, without relocations.
                if section.name == JUMP_TABLES && inputs.len() > 1 {
                    let why = "holds tables of jumps (Linux 6.19), which do not move with the code: \
                               compile with -fno-jump-tables";
                    return Err(refused(input.name, section, why));
                }
                let place = layout.append(input.name, section)?;
                layout.places.insert((number, index), place);
            }
        }
        Ok(layout)
    }

    fn append(&mut self, file: &'a str, section: &Section<'a>) -> Result<Place, LinkError> {
        let align = alignment(file, section)?;
        let flags = section.flags & !MERGE_STRINGS;
        let part = *self.by_name.entry(section.name).or_insert_with(|| {
            self.list.push(Part {
                name: section.name,
                kind: section.kind,
                flags,
                align,
                data: Vec::new(),
                size: 0,
                file,
            });
            self.list.len() - 1
        });
        let Some(into) = self.list.get_mut(part) else {
            return Err(refused(file, section, "is nowhere"));
        };
        let differ = |what: String| LinkError::Sections {
            section: section.name.to_owned(),
            first: into.file.to_owned(),
            file: file.to_owned(),
            what,
        };
        if into.kind != section.kind {
            let zeros = if into.kind == SHT_NOBITS {
                into.file
            } else {
                file
            };
            return Err(differ(format!("it has only zeros in {zeros} alone")));
        }
        let is_shared = SHARED.contains(&section.name);
        // Of a licence it does not matter whether it is const.
        if into.flags != flags && !is_shared {
            let what = format!("its flags are {:#x} and {:#x}", flags, into.flags);
            return Err(differ(what));
        }
        if into.file != file || into.size != 0 {
            if is_shared {
                if into.data != section.data {
                    let what = format!("'{}' and '{}'", text(section.data), text(&into.data));
                    return Err(differ(what));
                }
                return Ok(Place {
                    part,
                    offset: 0,
                    shared: true,
                });
            }
            if section.name == PLAN {
                return Err(differ(
                    "two compiled scripts do not make one object".to_owned(),
                ));
            }
        }
        into.align = into.align.max(align);
        let offset = into.size.checked_next_multiple_of(into.align);
        let size = offset.and_then(|offset| offset.checked_add(section.size));
        let (Some(offset), Some(size)) = (offset, size) else {
            return Err(refused(file, section, "is too large"));
        };
        if section.kind == SHT_PROGBITS {
            self.padding = self.padding.saturating_add(offset - into.size);
            if self.padding > PADDING {
                let why = "is one of many with alignments that add more than 16 MiB";
                return Err(refused(file, section, why));
            }
            into.data.resize(offset as usize, 0);
            into.data.extend_from_slice(section.data);
        }
        into.size = size;
        Ok(Place {
            part,
            offset,
            shared: false,
        })
    }

    /// Gives where a section of an object is; none for those that are left out.
    pub(super) fn place(&self, input: usize, section: SectionIndex) -> Option<Place> {
        self.places.get(&(input, section)).copied()
    }

    /// Finds a section by name.
    pub(super) fn named(&self, name: &str) -> Option<&Part<'a>> {
        self.list.get(*self.by_name.get(name)?)
    }

    /// Writes the sections; they have the same order there, from 1.
    pub(super) fn write(&mut self, writer: &mut Writer) -> Result<(), LinkError> {
        // With relocations, types and tables there are twice as many.
        if self.list.len() > 30_000 {
            let last = self.list.last();
            return Err(LinkError::Section {
                file: last.map_or("", |part| part.file).to_owned(),
                section: last.map_or("", |part| part.name).to_owned(),
                why: "is one of more sections than an object can have",
            });
        }
        for part in &mut self.list {
            let data = core::mem::take(&mut part.data);
            let index = match part.kind {
                SHT_NOBITS => writer.zeros_with(part.name, part.flags, part.size),
                kind => writer.section(part.name, kind, part.flags, data),
            };
            writer.align(index, part.align);
        }
        Ok(())
    }
}

impl Part<'_> {
    pub(super) fn is_code(&self) -> bool {
        self.kind == SHT_PROGBITS && self.flags & SHF_EXECINSTR != 0
    }
}

impl Place {
    /// Gives the section's index in the file.
    pub(super) fn index(&self) -> SectionIndex {
        SectionIndex(self.part as u32 + 1)
    }
}

/// Gives the alignment of a section that may be linked.
fn alignment(file: &str, section: &Section<'_>) -> Result<u64, LinkError> {
    if !matches!(section.kind, SHT_PROGBITS | SHT_NOBITS) {
        let why = "is of a type that eBPF objects do not have";
        return Err(refused(file, section, why));
    }
    let align = section.align.max(1);
    if !align.is_power_of_two() || align > ALIGNMENT {
        let why = "has an alignment that is no power of two up to 1 MiB";
        return Err(refused(file, section, why));
    }
    Ok(align)
}

fn refused(file: &str, section: &Section<'_>, why: &'static str) -> LinkError {
    LinkError::Section {
        file: file.to_owned(),
        section: section.name.to_owned(),
        why,
    }
}

/// Gives some of a section's bytes as text.
fn text(data: &[u8]) -> String {
    let end = data
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(data.len());
    let text = data.get(..end.min(64)).unwrap_or_default();
    text.escape_ascii().to_string()
}
