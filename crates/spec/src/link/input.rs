//! One of the objects that are linked.

use std::collections::HashMap;

use kscope_btf::ext::Ext;
use kscope_btf::{Btf, Endian, Linkage, Type, TypeId};

use super::LinkError;
use crate::elf::number::{SHF_ALLOC, SHT_NOBITS, SHT_PROGBITS, SHT_REL, SHT_RELA};
use crate::elf::{Elf, Relocation, Section, SectionIndex};
use crate::object::ByteOrder;
use crate::read::ReadError;

/// An object.
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) elf: Elf<'a>,
    pub(super) types: Option<Btf>,
    pub(super) ext: Ext,
    /// Types of what other objects see, by name.
    pub(super) declared: HashMap<String, Declared>,
}

/// How an object declares a symbol that others see.
#[derive(Clone, Debug)]
pub(super) struct Declared {
    /// Its `VAR` or `FUNC`.
    pub(super) id: TypeId,
    /// The section of its types, for example `.ksyms` of what only the kernel defines; empty where
    /// it is in none.
    pub(super) section: String,
}

impl<'a> Input<'a> {
    pub(super) fn read(name: &'a str, bytes: &'a [u8]) -> Result<Input<'a>, LinkError> {
        let bad = |error| LinkError::Object {
            file: name.to_owned(),
            error,
        };
        let elf = Elf::parse(bytes).map_err(|error| bad(ReadError::Elf(error)))?;
        // Sections may overlap in the file; together they are no more than some times its size.
        let all: usize = elf.sections.iter().fold(0, |sum, section| {
            sum.saturating_add(section.data.len().saturating_add(section.name.len()))
        });
        let names = elf.symbols.iter().map(|symbol| symbol.name.len()).sum();
        if all.saturating_add(names) > bytes.len().saturating_mul(4).saturating_add(4096) {
            return Err(bad(ReadError::Overlapping { what: "sections" }));
        }
        let data = |section: &str| match elf.named(section) {
            Some((_, found)) if !found.data.is_empty() => Some(found.data),
            _ => None,
        };
        let types = data(".BTF").map(|data| {
            let types = Btf::parse(data.to_vec())?;
            types.validate()?;
            let order = match elf.order {
                ByteOrder::Little => Endian::Little,
                ByteOrder::Big => Endian::Big,
            };
            match types.endian() == order {
                true => Ok(types),
                false => Err(kscope_btf::Error::Malformed {
                    what: "byte order, which is not that of the object,",
                    offset: 0,
                }),
            }
        });
        let types = types
            .transpose()
            .map_err(|error| bad(ReadError::Types(error)))?;
        let ext = data(".BTF.ext").filter(|_| types.is_some()).map(Ext::parse);
        let ext = ext
            .transpose()
            .map_err(|error| bad(ReadError::Ext(error)))?;
        let declared = types.as_ref().map(declared).unwrap_or_default();
        Ok(Input {
            name,
            elf,
            types,
            ext: ext.unwrap_or_default(),
            declared,
        })
    }

    /// Gives the sections that are linked.
    pub(super) fn linked(&self) -> impl Iterator<Item = (SectionIndex, &Section<'a>)> {
        self.elf.indexed().filter(|(_, section)| is_linked(section))
    }

    /// Gives the relocations of sections that are linked.
    pub(super) fn relocations(
        &self,
    ) -> impl Iterator<Item = (SectionIndex, &Section<'a>, Relocation)> {
        let all = self.elf.indexed().filter_map(|(_, section)| {
            let target = SectionIndex(section.info);
            let applies = self.elf.section(target).filter(|to| is_linked(to))?;
            (section.kind == SHT_REL).then_some((target, applies, section))
        });
        all.flat_map(|(target, applies, section)| {
            let list = self.elf.relocations(section);
            list.map(move |relocation| (target, applies, relocation))
        })
    }

    /// Gives what a relocation's symbol is called.
    pub(super) fn symbol_name(&self, relocation: &Relocation) -> String {
        match self.elf.symbol(relocation.symbol) {
            Some(symbol) => self.elf.symbol_name(symbol).to_owned(),
            None => format!("number {}", relocation.symbol.0),
        }
    }

    /// Refuses relocations of a kind that eBPF compilers do not write.
    pub(super) fn check(&self) -> Result<(), LinkError> {
        let with_addends = self
            .elf
            .indexed()
            .filter(|(_, section)| section.kind == SHT_RELA)
            .find_map(|(_, section)| {
                let to = self.elf.section(SectionIndex(section.info))?;
                is_linked(to).then_some(section)
            });
        match with_addends {
            Some(section) => Err(LinkError::Section {
                file: self.name.to_owned(),
                section: section.name.to_owned(),
                why: "has relocations with addends (SHT_RELA): clang and GCC write SHT_REL for eBPF",
            }),
            None => Ok(()),
        }
    }
}

/// Tells whether a section goes into the result as it stands.
pub(super) fn is_linked(section: &Section<'_>) -> bool {
    let is_about = matches!(section.name, ".BTF" | ".BTF.ext")
        || [".debug_", ".comment", ".note", ".eh_frame", ".llvm"]
            .iter()
            .any(|prefix| section.name.starts_with(prefix));
    let nothing = section.name == ".text" && section.size == 0;
    match section.kind {
        SHT_PROGBITS | SHT_NOBITS => !is_about && !nothing,
        _ => section.flags & SHF_ALLOC != 0 && !is_about,
    }
}

/// Finds what other objects see, and which section of types it is in.
fn declared(types: &Btf) -> HashMap<String, Declared> {
    let mut sections: HashMap<TypeId, &str> = HashMap::new();
    for id in types.own_ids() {
        if let Some(Type::DataSec(section)) = types.get(id) {
            let vars = section.vars().map(|var| (var.type_id, section.name));
            sections.extend(vars);
        }
    }
    let mut declared: HashMap<String, Declared> = HashMap::new();
    for id in types.own_ids() {
        let name = match types.get(id) {
            Some(Type::Func { name, linkage, .. } | Type::Var { name, linkage, .. })
                if linkage != Linkage::Static =>
            {
                name
            }
            _ => continue,
        };
        let section = sections.get(&id).copied().unwrap_or_default().to_owned();
        let known = declared.get(name);
        // What stands in a section says more than what does not.
        if known.is_none_or(|known| known.section.is_empty() && !section.is_empty()) {
            declared.insert(name.to_owned(), Declared { id, section });
        }
    }
    declared
}
