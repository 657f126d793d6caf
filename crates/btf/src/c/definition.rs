//! Structures, unions and enumerations written as C with their members.

use core::cell::RefCell;
use std::borrow::Cow;
use std::collections::HashMap;

use crate::blob::{Btf, TypeId};
use crate::c::layout::Layout;
use crate::c::print::{LEFT_OUT, NESTING, Printer};
use crate::types::{Composite, Enum, Type};

/// Members looked at to find the alignments of one type's members, at most.
const ALIGNED: usize = 1 << 16;

/// How structures and enumerations are written with their members.
pub(super) struct Bodies<'a> {
    renames: Option<&'a Renames<'a>>,
}

impl Bodies<'_> {
    /// Gives the name that a type is written with, where `name` is its own.
    pub(super) fn name<'n>(&self, id: TypeId, name: &'n str) -> Cow<'n, str> {
        match self.renames {
            Some(renames) => renames.name(id, name),
            None => Cow::Borrowed(name),
        }
    }
}

impl Btf {
    /// Gives the declaration of the type itself: `struct foo {...};` with its members on lines of
    /// their own, `typedef int pid_t;`, `int f(int x);`. Tags and attributes of types are left out.
    #[must_use]
    pub fn print_c(&self, id: TypeId) -> String {
        let mut p = Printer::with_bodies(self, id, None);
        let text = match self.get(id) {
            Some(Type::Struct(c)) => p.composite("struct", &c, id, 0),
            Some(Type::Union(c)) => p.composite("union", &c, id, 0),
            Some(Type::Enum(e)) => p.enumeration(&e, id, 0),
            Some(Type::Typedef { name, to }) => format!("typedef {}", p.declare(to, name, 0)),
            Some(
                Type::Func {
                    name, proto: to, ..
                }
                | Type::Var { name, to, .. },
            ) => p.declare(to, name, 0),
            Some(Type::DataSec(d)) => {
                let mut text = format!("SEC(\"{}\") {{\n", d.name);
                for var in d.vars() {
                    if !p.spend() {
                        text.push_str(&format!("\t{LEFT_OUT}\n"));
                        break;
                    }
                    if let Some(Type::Var { name, to, .. }) = self.get(var.type_id) {
                        let declaration = p.declare(to, name, 1);
                        p.wrote(&declaration);
                        text.push_str(&format!("\t{declaration};\n"));
                    }
                }
                text + "}"
            }
            Some(Type::DeclTag {
                name,
                attribute: true,
                ..
            }) => format!("__attribute__(({name}))"),
            Some(Type::DeclTag { name, .. }) => {
                format!("__attribute__((btf_decl_tag(\"{name}\")))")
            }
            _ => p.declare(id, "", 0),
        };
        text + ";"
    }
}

/// Names that are not those of the blob, where a whole blob is written and some clash.
#[derive(Default)]
pub(super) struct Renames<'a> {
    /// Types whose name others took before, or is no C name, and how often it was given with them.
    pub(super) types: HashMap<TypeId, u32>,
    /// How often each name was given to a typedef.
    pub(super) typedefs: HashMap<&'a str, u32>,
    /// How often that of a constant was given to typedefs and constants.
    pub(super) constants: RefCell<HashMap<String, u32>>,
}

impl Renames<'_> {
    /// Gives the name that a type is written with, where `name` is its own.
    pub(super) fn name<'n>(&self, id: TypeId, name: &'n str) -> Cow<'n, str> {
        let Some(&times) = self.types.get(&id) else {
            return Cow::Borrowed(name);
        };
        let mut text: String = name
            .chars()
            .map(|c| if is_plain(c) { c } else { '_' })
            .collect();
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            text.insert(0, '_');
        }
        if times > 1 {
            text.push_str(&format!("___{times}"));
        }
        Cow::Owned(text)
    }
}

/// Tells whether names of C have this character.
pub(super) fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Printer<'a> {
    /// A printer of the definition of `id`, with the members of all that has no name.
    fn with_bodies(btf: &'a Btf, id: TypeId, renames: Option<&'a Renames<'a>>) -> Printer<'a> {
        let mut p = Printer::new(btf);
        p.left += btf.raw(id).map_or(0, |raw| raw.count());
        p.room = btf.text_limit();
        p.aligned = ALIGNED;
        p.bodies = Some(Bodies { renames });
        p
    }

    /// Writes the definition of a structure, union, enumeration or typedef with other names, its elements
    /// in at most `room` bytes.
    pub(super) fn definition(
        btf: &'a Btf,
        id: TypeId,
        renames: &'a Renames<'a>,
        room: usize,
    ) -> String {
        let mut p = Printer::with_bodies(btf, id, Some(renames));
        p.room = room;
        let text = match btf.get(id) {
            Some(Type::Struct(c)) => p.composite("struct", &c, id, 0),
            Some(Type::Union(c)) => p.composite("union", &c, id, 0),
            Some(Type::Enum(e)) => p.enumeration(&e, id, 0),
            Some(Type::Typedef { name, to }) => {
                let name = p.name(id, name);
                format!("typedef {}", p.declare(to, &name, 0))
            }
            _ => return String::new(),
        };
        text + ";"
    }

    /// Writes the members of a structure or union after its head.
    pub(super) fn members(
        &mut self,
        mut text: String,
        word: &str,
        c: &Composite<'_>,
        id: TypeId,
        indent: usize,
    ) -> String {
        if indent >= NESTING {
            return text + "{ " + LEFT_OUT + " }";
        }
        let layout = Layout::of(self.btf, id, &mut self.aligned);
        let tabs = "\t".repeat(indent + 1);
        text.push_str("{\n");
        let mut end = 0;
        for m in c.members() {
            if !self.spend() {
                text.push_str(&format!("{tabs}{LEFT_OUT}\n"));
                break;
            }
            if word == "struct" {
                for pad in layout.before(self.btf, end, &m, &mut self.aligned) {
                    text.push_str(&format!("{tabs}{pad}\n"));
                }
            }
            end = layout.end_of(self.btf, &m);
            let declaration = self.declare(m.type_id, m.name, indent + 1);
            self.wrote(&declaration);
            match m.bitfield {
                Some(width) => text.push_str(&format!("{tabs}{declaration}: {width};\n")),
                None => text.push_str(&format!("{tabs}{declaration};\n")),
            }
        }
        if word == "struct" {
            for pad in layout.at_end(end, c.size) {
                text.push_str(&format!("{tabs}{pad}\n"));
            }
        }
        if text.ends_with("{\n") {
            text.pop();
        } else {
            text.push_str(&"\t".repeat(indent));
        }
        text.push('}');
        if layout.packed {
            text.push_str(" __attribute__((packed))");
        }
        text
    }

    /// Gives the name of a constant, which no two may share.
    fn constant(&self, name: &str) -> String {
        let Some(renames) = self.bodies.as_ref().and_then(|bodies| bodies.renames) else {
            return name.to_owned();
        };
        let mut constants = renames.constants.borrow_mut();
        let typedefs = || renames.typedefs.get(name).copied().unwrap_or_default();
        let count = constants.entry(name.to_owned()).or_insert_with(typedefs);
        *count += 1;
        match *count {
            1 => name.to_owned(),
            times => format!("{name}___{times}"),
        }
    }

    /// Writes the constants of an enumeration after its head.
    pub(super) fn constants(&mut self, mut text: String, e: &Enum<'_>, indent: usize) -> String {
        if e.is_empty() {
            // C has no empty enumeration: it is one that is declared only.
            text.truncate(text.trim_end().len());
            return text;
        }
        let tabs = "\t".repeat(indent + 1);
        text.push_str("{\n");
        for c in e.enumerators() {
            if !self.spend() {
                text.push_str(&format!("{tabs}{LEFT_OUT}\n"));
                break;
            }
            let value = match (e.size, e.signed) {
                (8, true) => format!("{}LL", c.value),
                (8, false) => format!("{}ULL", c.value as u64),
                _ => c.value.to_string(),
            };
            let name = self.constant(c.name);
            self.wrote(&name);
            text.push_str(&format!("{tabs}{name} = {value},\n"));
        }
        text.push_str(&"\t".repeat(indent));
        text.push('}');
        match e.size {
            1 => text.push_str(" __attribute__((mode(byte)))"),
            2 => text.push_str(" __attribute__((mode(HI)))"),
            _ => {}
        }
        text
    }
}
