//! Symbols that the target defines: `.ksyms` and `.kconfig`.

use core::cmp::Reverse;

use kscope_btf::{Btf, Encoding, Int, Kind, Linkage, Type, TypeId, essential_name};

use super::budget::Budget;
use super::data::{MMAPABLE, RDONLY_PROG, data_name};
use super::error::ReadError;
use super::types::{self, KCONFIG, KSYMS};
use super::why::Why;
use super::{Maps, Object};
use crate::elf::{Binding, Elf, SymbolIndex};
use crate::object::{ConfigType, Extern, ExternId, ExternKind, MapId, MapKind, MapSpec, RelocKind};
use crate::table::{self, Names, Table};

/// Largest map of build options, in bytes.
const LARGEST: u32 = 1 << 30;

/// The external symbols.
#[derive(Default)]
pub(super) struct Externs {
    pub(super) list: Vec<Extern>,
    /// What relocations against these symbols become.
    by_symbol: Table<SymbolIndex, Result<ExternId, Why>>,
    /// Those that another object has to define.
    undefined: Table<SymbolIndex, ExternId>,
    /// Where the build options are.
    pub(super) config: Config,
}

/// The map of build options.
#[derive(Default)]
pub(super) struct Config {
    /// Size in bytes; 0 where there is no option.
    pub(super) size: u32,
    /// Offset in bytes of each option's variable.
    pub(super) offsets: Table<TypeId, u32>,
}

impl Externs {
    /// Gives what a symbol that is defined elsewhere is.
    pub(super) fn of(&self, symbol: SymbolIndex, name: &str, call: bool) -> Result<ExternId, Why> {
        match self.by_symbol.get(&symbol) {
            Some(Ok(found)) => Ok(*found),
            Some(Err(why)) => Err(why.copied()),
            None => Err(Why::Undefined {
                name: name.to_owned(),
                call,
            }),
        }
    }

    /// Gives a symbol that another object has to define.
    pub(super) fn undefined(&self, symbol: SymbolIndex) -> Option<ExternId> {
        self.undefined.get(&symbol).copied()
    }

    /// Says whether a relocation is against such a symbol.
    pub(super) fn is_undefined(&self, kind: &RelocKind) -> bool {
        let RelocKind::Extern(id) = kind else {
            return false;
        };
        let symbol = self.list.get(id.0 as usize);
        symbol.is_some_and(|symbol| symbol.kind == ExternKind::Undefined)
    }

    /// Adds the map of build options and says so to them.
    pub(super) fn place(&mut self, object: &Object<'_>, name: &str, maps: &mut Maps) {
        if self.config.size == 0 {
            return;
        }
        let value_type = object
            .types
            .as_ref()
            .and_then(|types| types::section(types, KCONFIG))
            .map_or(0, |(id, _)| id.0);
        let map = maps.add(MapSpec {
            name: data_name(name, KCONFIG),
            kind: MapKind::Array,
            key_size: 4,
            value_size: self.config.size,
            max_entries: 1,
            flags: RDONLY_PROG | MMAPABLE,
            value_type,
            frozen: true,
            section: KCONFIG.to_owned(),
            ..MapSpec::default()
        });
        for item in &mut self.list {
            if let ExternKind::Config { map: place, .. } = &mut item.kind {
                *place = map;
            }
        }
    }
}

/// Where a type says that an external symbol is.
struct Declared<'a> {
    id: TypeId,
    section: Option<&'a str>,
}

/// Gives the declarations of external variables and functions by name.
fn declarations(types: &Btf) -> Names<'_, Declared<'_>> {
    let mut declared = Names::default();
    let mut sections = Vec::new();
    for id in types.own_ids() {
        match types.get(id) {
            Some(Type::Var { name, linkage, .. } | Type::Func { name, linkage, .. })
                if linkage == Linkage::Extern =>
            {
                declared.get_or(name, || Declared { id, section: None });
            }
            Some(Type::DataSec(section)) => sections.push(section),
            _ => {}
        }
    }
    for section in sections {
        for var in section.vars() {
            let found = types.name(var.type_id).and_then(|n| declared.get_mut(n));
            if let Some(found) = found.filter(|found| found.id == var.type_id) {
                found.section = Some(section.name);
            }
        }
    }
    declared
}

/// Finds all external symbols and what they are.
pub(super) fn collect(
    elf: &Elf<'_>,
    types: Option<&Btf>,
    budget: &mut Budget,
) -> Result<Externs, ReadError> {
    let mut externs = Externs::default();
    let declared = types.map(declarations).unwrap_or_default();
    let mut options = Vec::new();
    for (index, symbol) in elf.symbols.iter().enumerate() {
        if !symbol.is_extern() || symbol.name.is_empty() {
            continue;
        }
        budget.take(symbol.name.len(), "external symbols")?;
        let declared = types.zip(declared.get(symbol.name));
        let kind = declared.map(|(types, declared)| kind(types, symbol.name, declared));
        let is_undefined = match &kind {
            Some(Err(why)) => why.is_for_the_linker(),
            other => other.is_none(),
        };
        if is_undefined {
            let id = ExternId(externs.list.len() as u32);
            externs.list.push(Extern {
                name: symbol.name.to_owned(),
                weak: symbol.binding == Binding::Weak,
                kind: ExternKind::Undefined,
            });
            externs.undefined.insert(SymbolIndex(index as u32), id);
        }
        // What has no declaration is undefined for whoever uses it.
        let (Some((_, declared)), Some(kind)) = (declared, kind) else {
            continue;
        };
        let found = kind.map(|kind| {
            let id = ExternId(externs.list.len() as u32);
            let name = match kind {
                ExternKind::Config { .. } => {
                    options.push((id, declared.id));
                    symbol.name
                }
                _ => essential_name(symbol.name),
            };
            externs.list.push(Extern {
                name: name.to_owned(),
                weak: symbol.binding == Binding::Weak,
                kind,
            });
            id
        });
        externs.by_symbol.insert(SymbolIndex(index as u32), found);
    }
    if let Some(types) = types {
        lay_out(types, &mut externs, options);
    }
    Ok(externs)
}

fn kind(types: &Btf, name: &str, declared: &Declared<'_>) -> Result<ExternKind, Why> {
    let name = || name.to_owned();
    let ty = types.get(declared.id);
    match (declared.section, ty) {
        (Some(KSYMS), Some(Type::Func { proto, .. })) => {
            Ok(ExternKind::Function { type_id: proto.0 })
        }
        (Some(KSYMS), Some(Type::Var { to, .. })) => Ok(match types.resolve(to) {
            Some(TypeId::VOID) | None => ExternKind::Address,
            Some(to) => ExternKind::Variable { type_id: to.0 },
        }),
        (Some(KCONFIG), Some(Type::Var { to, .. })) => {
            let unknown = || Why::ConfigType { name: name() };
            let config = config_type(types, to).ok_or_else(unknown)?;
            let size = types.size_of(to).and_then(|size| u32::try_from(size).ok());
            let size = size.filter(|&size| size > 0 && size < LARGEST);
            Ok(ExternKind::Config {
                map: MapId(0),
                offset: 0,
                size: size.ok_or_else(unknown)?,
                config,
            })
        }
        (Some(KCONFIG), _) => Err(Why::ConfigFunction { name: name() }),
        (Some(section), _) => Err(Why::ExternSection {
            name: name(),
            section: section.to_owned(),
        }),
        (None, Some(Type::Func { .. })) => Err(Why::Undefined {
            name: name(),
            call: true,
        }),
        (None, _) => Err(Why::ExternNowhere { name: name() }),
    }
}

/// Gives how an option of this type is written.
fn config_type(types: &Btf, id: TypeId) -> Option<ConfigType> {
    Some(match types.get_resolved(id)? {
        Type::Int(Int {
            encoding: Encoding::Bool,
            size,
            ..
        }) => (size == 1).then_some(ConfigType::Bool)?,
        Type::Int(int) if matches!(int.size, 1 | 2 | 4 | 8) => ConfigType::Integer {
            signed: int.signed,
            character: int.size == 1,
        },
        Type::Enum(e) if e.name == "libbpf_tristate" && matches!(e.size, 4 | 8) => {
            ConfigType::Tristate
        }
        Type::Array(array) if array.len > 0 => match types.get_resolved(array.element)? {
            Type::Int(int) if int.size == 1 && int.encoding != Encoding::Bool => ConfigType::Text,
            _ => return None,
        },
        _ => return None,
    })
}

/// A build option to be given a place.
struct BuildOption {
    /// Its alignment, size and name: the order of the places.
    key: (Reverse<u32>, u32, String),
    id: ExternId,
    var: TypeId,
}

/// Gives each option its place: those of the largest alignment first, then by size and name.
fn lay_out(types: &Btf, externs: &mut Externs, options: Vec<(ExternId, TypeId)>) {
    let shape = |externs: &Externs, id: ExternId, var: TypeId| {
        let item = externs.list.get(id.0 as usize)?;
        let ExternKind::Config { size, config, .. } = item.kind else {
            return None;
        };
        let of_element = match config {
            ConfigType::Text => 1,
            _ => types.size_of(var).unwrap_or(1).clamp(1, 8) as u32,
        };
        Some((of_element, size, item.name.clone()))
    };
    let mut ordered: Vec<BuildOption> = Vec::new();
    for (id, var) in options {
        let Some((align, size, name)) = shape(externs, id, var) else {
            continue;
        };
        let key = (Reverse(align), size, name);
        ordered.push(BuildOption { key, id, var });
    }
    table::sort_by(&mut ordered, |a, b| a.key.cmp(&b.key));
    let mut end = 0u32;
    let mut full = vec![false; externs.list.len()];
    for BuildOption { key, id, var } in ordered {
        let (Reverse(align), bytes, _) = key;
        let start = end.div_ceil(align) * align;
        let Some(after) = start.checked_add(bytes).filter(|&after| after <= LARGEST) else {
            if let Some(full) = full.get_mut(id.0 as usize) {
                *full = true;
            }
            continue;
        };
        end = after;
        externs.config.offsets.insert(var, start);
        if let Some(ExternKind::Config { offset, .. }) = externs
            .list
            .get_mut(id.0 as usize)
            .map(|item| &mut item.kind)
        {
            *offset = start;
        }
    }
    externs.config.size = end;
    for found in externs.by_symbol.values_mut() {
        let is_full = |id: &ExternId| full.get(id.0 as usize) == Some(&true);
        if found.as_ref().is_ok_and(is_full) {
            *found = Err(Why::ConfigSize);
        }
    }
}

/// Tells whether a type is a prototype, through typedefs.
pub(super) fn is_prototype(types: &Btf, id: TypeId) -> bool {
    types.resolve(id).and_then(|id| types.kind(id)) == Some(Kind::FuncProto)
}
