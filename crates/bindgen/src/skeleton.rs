//! What a skeleton has beside its types: maps, programs, global variables.

use std::collections::{HashMap, HashSet};

use kscope_btf::{Btf, Linkage, Type, TypeId};
use kscope_spec::{MapKind, MapSpec, ProgramType, Spec};

use crate::error::Error;
use crate::names::Names;
use crate::text::Text;
use crate::types::Types;

/// A map, a program or a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The field's name.
    pub(crate) name: String,
    /// The name in the object.
    pub(crate) of: String,
    /// What it is, for people.
    pub(crate) doc: String,
    pub(crate) kind: PartKind,
}

/// What a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// A map: its type, and whether the load may go on without.
    Map { ty: String, optional: bool },
    /// A table of functions.
    Table { optional: bool },
    /// A program, whether the load may go on without, and whether it is a table's.
    Program { optional: bool, of_table: bool },
    /// A variable: its type, and whether programs may not write it.
    Global { ty: String, constant: bool },
}

/// Largest variable in bytes: `Globals` has them all by value, on the stack.
const LARGEST_VARIABLE: u32 = 64 << 10;

/// The parts of an object.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) maps: Vec<Part>,
    pub(crate) programs: Vec<Part>,
    pub(crate) globals: Vec<Part>,
}

impl Parts {
    /// Collects the parts, and the types they need.
    pub(crate) fn collect(
        spec: &Spec,
        btf: &Btf,
        types: &mut Types<'_>,
        wanted: &[TypeId],
    ) -> Result<Parts, Error> {
        let mut parts = Parts::default();
        let mut names = Names::default();
        for map in spec.maps.iter().filter(|map| !is_data(map)) {
            let kind = match map.kind {
                MapKind::StructOps => PartKind::Table {
                    optional: map.optional || map.refused.is_some(),
                },
                _ => PartKind::Map {
                    ty: map_type(map, types)?,
                    optional: map.optional || map.refused.is_some(),
                },
            };
            parts.maps.push(Part {
                name: names.a_value(&map.name),
                of: map.name.clone(),
                doc: describe_map(map),
                kind,
            });
        }
        let mut names = Names::default();
        for program in &spec.programs {
            let section = program.section.escape_default();
            parts.programs.push(Part {
                name: names.a_value(&program.name),
                of: program.name.clone(),
                doc: format!("Section `{section}`."),
                kind: PartKind::Program {
                    optional: program.optional || program.refused.is_some(),
                    of_table: program.kind == ProgramType::StructOps,
                },
            });
        }
        let mut names = Names::default();
        let mut seen = HashSet::new();
        let statics = statics(btf);
        for variable in &spec.variables {
            let Some(map) = spec.maps.get(variable.map.0 as usize) else {
                continue;
            };
            let id = TypeId(variable.type_id);
            let place = (&*map.section, variable.offset, &*variable.name);
            if variable.type_id == 0 || statics.get(&place) == Some(&true) {
                continue;
            }
            if variable.size > LARGEST_VARIABLE {
                continue;
            }
            // Variables that only name a type, and what points into the kernel.
            if let Some(to) = pointee(btf, id) {
                if matches!(
                    btf.get_resolved(to),
                    Some(Type::Struct(_) | Type::Union(_) | Type::Enum(_))
                ) {
                    types.ty(to, &variable.name)?;
                }
                continue;
            }
            // Only the first of a name can be set by it.
            if !seen.insert(&variable.name) {
                continue;
            }
            let ty = types.ty(id, &variable.name)?;
            if ty.size != u64::from(variable.size) {
                continue;
            }
            parts.globals.push(Part {
                name: names.a_value(&variable.name),
                of: variable.name.clone(),
                doc: format!("In `{}`.", map.section.escape_default()),
                kind: PartKind::Global {
                    ty: ty.text,
                    constant: map.frozen,
                },
            });
        }
        for &id in wanted {
            types.ty(id, "event")?;
        }
        Ok(parts)
    }
}

/// Tells whether a map is a section of variables.
fn is_data(map: &MapSpec) -> bool {
    let is = |name: &str| map.section == name || map.section.starts_with(&format!("{name}."));
    is(".data") || is(".rodata") || is(".bss") || is(".kconfig")
}

/// The places that sections of variables have, by section, offset and name: whether what is there is
/// the object's own business (`static`), as formats of messages are.
fn statics(btf: &Btf) -> HashMap<(&str, u32, &str), bool> {
    let mut places = HashMap::new();
    for id in btf.own_ids() {
        let Some(Type::DataSec(section)) = btf.get(id) else {
            continue;
        };
        for place in section.vars() {
            if let Some(Type::Var { name, linkage, .. }) = btf.get(place.type_id) {
                places
                    .entry((section.name, place.offset, name))
                    .or_insert(linkage == Linkage::Static);
            }
        }
    }
    places
}

fn pointee(btf: &Btf, id: TypeId) -> Option<TypeId> {
    match btf.get_resolved(id)? {
        Type::Ptr(to) => Some(to),
        _ => None,
    }
}

/// Gives the type that a map has in a skeleton.
fn map_type(map: &MapSpec, types: &mut Types<'_>) -> Result<String, Error> {
    let mut part = |id: u32, size: u32, what: &str| -> Result<String, Error> {
        let bytes = format!("[u8; {size}]");
        if id == 0 {
            return Ok(bytes);
        }
        let ty = types.ty(TypeId(id), &format!("{}_{what}", map.name))?;
        Ok(if ty.size == u64::from(size) {
            ty.text
        } else {
            bytes
        })
    };
    use MapKind as M;
    Ok(match map.kind {
        M::RingBuf | M::PerfEventArray => "EventMap".to_owned(),
        M::Queue | M::Stack => {
            format!(
                "TypedQueue<{}>",
                part(map.value_type, map.value_size, "value")?
            )
        }
        M::BloomFilter => {
            format!(
                "TypedFilter<{}>",
                part(map.value_type, map.value_size, "value")?
            )
        }
        M::PerCpuHash | M::PerCpuArray | M::LruPerCpuHash | M::PerCpuCgroupStorage => {
            let key = part(map.key_type, map.key_size, "key")?;
            let value = part(map.value_type, map.value_size, "value")?;
            format!("PerCpuMap<{key}, {value}>")
        }
        M::Hash
        | M::Array
        | M::LruHash
        | M::LpmTrie
        | M::CgroupStorage
        | M::SkStorage
        | M::InodeStorage
        | M::TaskStorage
        | M::CgrpStorage
        | M::StackTrace
        | M::DevMap
        | M::DevMapHash
        | M::CpuMap => {
            let key = part(map.key_type, map.key_size, "key")?;
            let value = part(map.value_type, map.value_size, "value")?;
            format!("TypedMap<{key}, {value}>")
        }
        _ => "Map".to_owned(),
    })
}

fn describe_map(map: &MapSpec) -> String {
    match map.kind {
        MapKind::RingBuf => format!("A ring buffer of {} bytes.", map.max_entries),
        MapKind::StructOps => {
            let ops = map.struct_ops.as_ref();
            let name = ops.map_or("", |ops| ops.type_name.as_str());
            format!("A table of functions, `struct {}`.", name.escape_default())
        }
        kind if map.max_entries == 0 => format!("A map of kind {kind:?}."),
        kind => format!(
            "A map of kind {kind:?} with room for {} entries.",
            map.max_entries
        ),
    }
}

/// Writes the skeleton's structures.
pub(crate) fn write(text: &mut Text, name: &str, object: Option<&str>, parts: &Parts) {
    open_object(text, name, object, parts);
    globals(text, parts);
    skeleton(text, parts);
    fields(text, "Maps", "The maps.", &parts.maps, |part| {
        match &part.kind {
            PartKind::Map { ty, optional } => in_option(ty, *optional),
            PartKind::Table { optional } => in_option("Map", *optional),
            _ => String::new(),
        }
    });
    fields(
        text,
        "Programs",
        "The programs.",
        &parts.programs,
        |part| match part.kind {
            PartKind::Program { optional, .. } => in_option("Program", optional),
            _ => String::new(),
        },
    );
    let about = "The global variables of a loaded object, to be read and written while it runs.";
    fields(text, "Cells", about, &parts.globals, |part| {
        match &part.kind {
            PartKind::Global { ty, constant: true } => format!("TypedConstant<{ty}>"),
            PartKind::Global {
                ty,
                constant: false,
            } => format!("TypedGlobal<{ty}>"),
            _ => String::new(),
        }
    });
    let links: Vec<Part> = attached(parts).cloned().collect();
    let about = "What is attached. A link that is dropped is detached; programs whose section does \
                 not say to what they attach have none.";
    text.line("");
    text.doc(about);
    text.line("#[derive(Debug, Default)]");
    body(text, "Links", &links, |_| "Option<Link>".to_owned());
}

/// Gives what is attached: programs, but for those of tables, and tables.
fn attached(parts: &Parts) -> impl Iterator<Item = &Part> {
    let tables = parts
        .maps
        .iter()
        .filter(|part| matches!(part.kind, PartKind::Table { .. }));
    let own = |part: &&Part| !matches!(part.kind, PartKind::Program { of_table: true, .. });
    let own_names = parts
        .programs
        .iter()
        .filter(own)
        .map(|part| part.name.as_str());
    let names: HashSet<&str> = own_names.collect();
    parts
        .programs
        .iter()
        .filter(own)
        .chain(tables.filter(move |table| !names.contains(table.name.as_str())))
}

fn in_option(ty: &str, optional: bool) -> String {
    match optional {
        true => format!("Option<{ty}>"),
        false => ty.to_owned(),
    }
}

fn fields(text: &mut Text, name: &str, doc: &str, parts: &[Part], ty: impl Fn(&Part) -> String) {
    text.line("");
    text.doc(doc);
    text.line("#[derive(Clone, Debug)]");
    body(text, name, parts, ty);
}

fn body(text: &mut Text, name: &str, parts: &[Part], ty: impl Fn(&Part) -> String) {
    if parts.is_empty() {
        return text.line(format!("pub struct {name} {{}}"));
    }
    text.open(format!("pub struct {name} {{"));
    for part in parts {
        text.doc(&part.doc);
        text.assign(&format!("pub {}:", part.name), &ty(part), ",");
    }
    text.close("}");
}

fn open_object(text: &mut Text, name: &str, object: Option<&str>, parts: &Parts) {
    let of = quoted(name);
    if let Some(path) = object {
        text.line("");
        text.doc("The object file.");
        let path = format!("include_bytes!(\"{}\")", path.escape_default());
        text.assign("pub const OBJECT: &[u8] =", &path, ";");
    }
    text.line("");
    text.doc("The object before it is loaded.");
    text.line("#[derive(Clone, Debug)]");
    text.open("pub struct Open {");
    text.doc("The global variables, with the values that they are to start with.");
    text.line("pub globals: Globals,");
    text.line("spec: Spec,");
    text.close("}");
    text.line("");
    text.open("impl Open {");
    if object.is_some() {
        text.doc("Opens the object.");
        text.line("///");
        text.line("/// # Errors");
        text.line("///");
        text.doc("Where it cannot be read, which does not happen to what the compiler made.");
        text.open("pub fn new() -> Result<Open, Error> {");
        text.line("Open::read(OBJECT)");
        text.close("}");
        text.line("");
    }
    text.doc("Opens the object out of bytes: the same, compiled again for example.");
    text.line("///");
    text.line("/// # Errors");
    text.line("///");
    text.doc("Where it cannot be read, or is another.");
    text.open("pub fn read(bytes: &[u8]) -> Result<Open, Error> {");
    text.line(format!("let spec = skeleton::read({of}, bytes)?;"));
    match parts.globals.is_empty() {
        true => text.line("let globals = Globals {};"),
        false => {
            text.open("let globals = Globals {");
            for part in &parts.globals {
                let arguments = ["&spec".to_owned(), quoted(&part.of)];
                let head = format!("{}: skeleton::initial", part.name);
                text.call(&head, &arguments, "?,");
            }
            text.close("};");
        }
    }
    text.line("Ok(Open { globals, spec })");
    text.close("}");
    text.line("");
    text.doc("Gives what is to be loaded.");
    text.open("pub fn spec(&self) -> &Spec {");
    text.line("&self.spec");
    text.close("}");
    text.line("");
    text.doc("Gives what is to be loaded, to be changed: sizes of maps for example.");
    text.open("pub fn spec_mut(&mut self) -> &mut Spec {");
    text.line("&mut self.spec");
    text.close("}");
    text.line("");
    text.doc("Loads the object into the running kernel.");
    text.line("///");
    text.line("/// # Errors");
    text.line("///");
    text.doc("The first map's or program's that is not optional and was refused.");
    text.open("pub fn load(&self) -> Result<Skeleton, Error> {");
    text.line("self.load_with(Loader::new(kscope_bpf::sys::real_kernel()))");
    text.close("}");
    text.line("");
    text.doc("Loads the object with a loader of one's own.");
    text.line("///");
    text.line("/// # Errors");
    text.line("///");
    text.doc("As [`Open::load`].");
    text.open("pub fn load_with(&self, loader: Loader<'_>) -> Result<Skeleton, Error> {");
    for part in &parts.globals {
        let arguments = [
            "loader".to_owned(),
            "&self.spec".to_owned(),
            quoted(&part.of),
            format!("&self.globals.{}", part.name),
        ];
        text.call("let loader = skeleton::set", &arguments, ";");
    }
    text.line("Skeleton::new(&self.spec, loader.load(&self.spec)?)");
    text.close("}");
    text.close("}");
}

fn globals(text: &mut Text, parts: &Parts) {
    let about = "Values of the global variables.";
    fields(text, "Globals", about, &parts.globals, |part| {
        match &part.kind {
            PartKind::Global { ty, .. } => ty.clone(),
            _ => String::new(),
        }
    });
}

fn skeleton(text: &mut Text, parts: &Parts) {
    text.line("");
    text.doc("The object, loaded.");
    text.line("#[derive(Clone, Debug)]");
    text.open("pub struct Skeleton {");
    text.doc("The maps.");
    text.line("pub maps: Maps,");
    text.doc("The programs.");
    text.line("pub programs: Programs,");
    text.doc("The global variables.");
    text.line("pub globals: Cells,");
    text.line("object: Arc<Object>,");
    text.line("spec: Arc<Spec>,");
    text.close("}");
    text.line("");
    text.open("impl Skeleton {");
    text.open("fn new(spec: &Spec, object: Object) -> Result<Skeleton, Error> {");
    text.line("let object = Arc::new(object);");
    literal(text, "maps", "Maps", &parts.maps, |part| match part.kind {
        PartKind::Map { optional: true, .. } | PartKind::Table { optional: true } => {
            ("optional_map", ",")
        }
        _ => ("map", "?,"),
    });
    literal(
        text,
        "programs",
        "Programs",
        &parts.programs,
        |part| match part.kind {
            PartKind::Program { optional: true, .. } => ("optional_program", ","),
            _ => ("program", "?,"),
        },
    );
    literal(
        text,
        "globals",
        "Cells",
        &parts.globals,
        |part| match part.kind {
            PartKind::Global { constant: true, .. } => ("constant", "?,"),
            _ => ("global", "?,"),
        },
    );
    text.line("let spec = Arc::new(spec.clone());");
    text.open("Ok(Skeleton {");
    for field in ["maps", "programs", "globals", "object", "spec"] {
        text.line(format!("{field},"));
    }
    text.close("})");
    text.close("}");
    text.line("");
    text.doc("Gives the object without its types.");
    text.open("pub fn object(&self) -> &Object {");
    text.line("&self.object");
    text.close("}");
    text.line("");
    text.doc("Gives what was loaded, as it was described.");
    text.open("pub fn spec(&self) -> &Spec {");
    text.line("&self.spec");
    text.close("}");
    text.line("");
    text.doc("Attaches each program as its section says.");
    text.line("///");
    text.line("/// # Errors");
    text.line("///");
    text.doc("The first program's that cannot be attached; nothing is attached then.");
    text.open("pub fn attach(&self) -> Result<Links, Error> {");
    attach(text, parts);
    text.close("}");
    text.close("}");
}

/// Writes `let name = Type { … };`, each field by a function, with what comes after its call.
fn literal(
    text: &mut Text,
    name: &str,
    ty: &str,
    parts: &[Part],
    how: impl Fn(&Part) -> (&'static str, &'static str),
) {
    if parts.is_empty() {
        return text.line(format!("let {name} = {ty} {{}};"));
    }
    text.open(format!("let {name} = {ty} {{"));
    for part in parts {
        let (function, tail) = how(part);
        let head = format!("{}: skeleton::{function}", part.name);
        let arguments = ["spec".to_owned(), "&object".to_owned(), quoted(&part.of)];
        text.call(&head, &arguments, tail);
    }
    text.close("};");
}

fn attach(text: &mut Text, parts: &Parts) {
    let all: Vec<&Part> = attached(parts).collect();
    if all.is_empty() {
        return text.line("Ok(Links {})");
    }
    text.open("Ok(Links {");
    for part in all {
        let name = &part.name;
        let (function, arguments) = match part.kind {
            PartKind::Table { optional } => {
                let function = match optional {
                    true => "attach_optional_table",
                    false => "attach_table",
                };
                let spec = "&self.spec".to_owned();
                (
                    function,
                    vec![spec, "&self.object".to_owned(), quoted(&part.of)],
                )
            }
            PartKind::Program { optional: true, .. } => {
                let program = format!("&self.programs.{name}");
                ("attach_optional", vec!["&self.object".to_owned(), program])
            }
            _ => {
                let program = format!("&self.programs.{name}");
                ("attach", vec!["&self.object".to_owned(), program])
            }
        };
        text.call(&format!("{name}: skeleton::{function}"), &arguments, "?,");
    }
    text.close("})");
}

/// Gives a name as a text of Rust.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.escape_default())
}
