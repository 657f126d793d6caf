//! Types written as Rust: `#[repr(C)]` structures whose sizes are asserted.

use core::fmt::Write as _;
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::blob::{Btf, TypeId};
use crate::query::CHAIN;
use crate::types::{Composite, Encoding, Enum, Type};

/// Deepest nesting followed.
const DEPTH: usize = 64;
/// What is written where the limit is reached.
const LEFT_OUT: &str = "    // What follows is left out: these types share names that are long, as those \
                        of no compiler do, and would be hundreds of times the BTF.\n";

/// Words that are no names in Rust, and those that are none even as `r#…`.
const KEYWORDS: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield", "union", "auto",
];
const NEVER: [&str; 5] = ["self", "Self", "super", "crate", "_"];

/// Names of Rust's own types, which are left alone.
const OWN: [&str; 19] = [
    "u8", "u16", "u32", "u64", "u128", "i8", "i16", "i32", "i64", "i128", "usize", "isize", "bool",
    "char", "str", "f32", "f64", "core", "std",
];

impl Btf {
    /// Writes all structures, unions, enumerations and typedefs as Rust.
    ///
    /// Sizes and offsets are those of the blob: gaps are `_pad` members, the bytes of bitfields are
    /// `_bits` members, what C would not lay out so is `packed`. A `_Bool` is a `u8`, because bytes
    /// of elsewhere may hold anything; an enumeration is an integer with constants. What would be
    /// beyond [`Btf::text_limit`] is left out, and a comment says so.
    #[must_use]
    pub fn write_rust(&self) -> String {
        self.write_rust_of(self.ids(), true)
    }

    /// Writes these types, and those that they hold, as [`Btf::write_rust`] does. Pointers to other
    /// types are pointers to `c_void` unless `pointees` are wanted as well.
    #[must_use]
    pub fn write_rust_of(&self, types: impl IntoIterator<Item = TypeId>, pointees: bool) -> String {
        let mut writer = Writer {
            btf: self,
            wanted: BTreeSet::new(),
            seen: HashSet::new(),
            names: HashMap::new(),
            taken: Names::default(),
            constants: Names::default(),
            layouts: HashMap::new(),
            limit: self.text_limit(),
            out: String::new(),
        };
        for name in OWN {
            writer.taken.unique(name.to_owned());
        }
        for id in types {
            writer.want(id, pointees);
        }
        let wanted: Vec<TypeId> = writer.wanted.iter().copied().collect();
        // Structures have their names before typedefs, which often have the same.
        let mut room = writer.limit;
        for typedefs in [false, true] {
            for &id in &wanted {
                if matches!(self.get(id), Some(Type::Typedef { .. })) == typedefs {
                    writer.christen(id, &mut room);
                }
            }
        }
        for id in wanted {
            if writer.is_full() {
                writer.out.push_str(LEFT_OUT);
                break;
            }
            writer.define(id);
        }
        writer.out
    }
}

/// How Rust lays out a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    align: u64,
    packed: bool,
}

struct Writer<'a> {
    btf: &'a Btf,
    wanted: BTreeSet<TypeId>,
    /// What was looked at to find those.
    seen: HashSet<TypeId>,
    names: HashMap<TypeId, String>,
    taken: Names,
    constants: Names,
    layouts: HashMap<TypeId, Layout>,
    /// Bytes that may be written.
    limit: usize,
    out: String,
}

/// Names that are given once.
#[derive(Default)]
struct Names {
    taken: HashSet<String>,
    /// How often each was asked for.
    times: HashMap<String, u32>,
}

impl Names {
    /// Gives a name, or where it is taken the first of `___2` and so on that is not.
    fn unique(&mut self, plain: String) -> String {
        if self.taken.insert(plain.clone()) {
            return plain;
        }
        let bare = plain.trim_start_matches("r#");
        let times = self.times.entry(bare.to_owned()).or_insert(1);
        loop {
            *times += 1;
            let text = format!("{bare}___{times}");
            if self.taken.insert(text.clone()) {
                return text;
            }
        }
    }
}

impl Writer<'_> {
    /// Tells whether the text has reached its limit.
    fn is_full(&self) -> bool {
        self.out.len() >= self.limit
    }

    /// Notes a type and those it holds.
    fn want(&mut self, id: TypeId, pointees: bool) {
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            if !self.seen.insert(id) {
                continue;
            }
            let Some(ty) = self.btf.get(id) else { continue };
            match ty {
                Type::Struct(c) | Type::Union(c) if self.wanted.insert(id) => {
                    waiting.extend(c.members().map(|m| m.type_id));
                }
                Type::Enum(_) => {
                    self.wanted.insert(id);
                }
                Type::Fwd { .. } if pointees => {
                    self.wanted.insert(id);
                }
                Type::Typedef { to, .. } if self.wanted.insert(id) => waiting.push(to),
                Type::Ptr(to) if pointees => waiting.push(to),
                Type::Const(to)
                | Type::Volatile(to)
                | Type::Restrict(to)
                | Type::Var { to, .. }
                | Type::TypeTag { to, .. } => waiting.push(to),
                Type::Array(array) => waiting.push(array.element),
                Type::DataSec(section) => waiting.extend(section.vars().map(|var| var.type_id)),
                _ => {}
            }
        }
    }

    /// Gives a type its name; typedefs of a structure of the same name have none of their own.
    fn christen(&mut self, id: TypeId, room: &mut usize) {
        let Some(ty) = self.btf.get(id) else { return };
        let plain = match ty {
            Type::Typedef { name, to } => {
                let base = self.btf.resolve(to);
                if base
                    .and_then(|base| self.names.get(&base))
                    .is_some_and(|n| *n == name)
                {
                    return;
                }
                if OWN.contains(&name) && self.is_own(to, name) {
                    return;
                }
                identifier(name)
            }
            _ if ty.name().is_empty() => format!("anon_{}", id.0),
            _ => identifier(ty.name()),
        };
        // Where names are beyond all bounds, what follows is left out of the text as well.
        let plain = match room.checked_sub(plain.len()) {
            Some(left) => {
                *room = left;
                plain
            }
            None => format!("anon_{}", id.0),
        };
        let name = self.taken.unique(plain);
        self.names.insert(id, name);
    }

    /// Tells whether a typedef such as `u32` is Rust's type of that name.
    fn is_own(&self, to: TypeId, name: &str) -> bool {
        self.btf.get_resolved(to).is_some_and(|ty| match ty {
            Type::Int(int) => int_name(int.size, int.signed) == Some(name),
            _ => false,
        })
    }

    /// Gives the Rust type of a member.
    fn ty(&self, id: TypeId) -> String {
        let mut id = id;
        let mut arrays = Vec::new();
        let mut text = "u8".to_owned();
        for _ in 0..CHAIN {
            let Some(ty) = self.btf.get(id) else { break };
            if let Some(name) = self.names.get(&id) {
                text.clone_from(name);
                break;
            }
            match ty {
                Type::Const(to)
                | Type::Volatile(to)
                | Type::Restrict(to)
                | Type::TypeTag { to, .. }
                | Type::Typedef { to, .. }
                | Type::Var { to, .. } => id = to,
                Type::Array(array) => {
                    arrays.push(array.len);
                    id = array.element;
                }
                Type::Ptr(to) => {
                    text = format!("*mut {}", self.pointee(to));
                    break;
                }
                Type::Int(int) => {
                    let signed = int.signed && int.encoding != Encoding::Bool;
                    let name = int_name(int.size, signed);
                    text = name.map_or_else(|| format!("[u8; {}]", int.size), str::to_owned);
                    break;
                }
                Type::Float { size, .. } => {
                    text = match size {
                        4 => "f32".to_owned(),
                        8 => "f64".to_owned(),
                        _ => format!("[u8; {size}]"),
                    };
                    break;
                }
                Type::Enum(e) => {
                    let name = int_name(e.size, e.signed);
                    text = name.unwrap_or("u32").to_owned();
                    break;
                }
                _ => {
                    "core::ffi::c_void".clone_into(&mut text);
                    break;
                }
            }
        }
        for len in arrays.iter().rev() {
            text = format!("[{text}; {len}]");
        }
        text
    }

    /// Gives what a pointer points to: a type with a name, an integer, or nothing known.
    fn pointee(&self, id: TypeId) -> String {
        let mut id = id;
        for _ in 0..CHAIN {
            if let Some(name) = self.names.get(&id) {
                return name.clone();
            }
            match self.btf.get(id) {
                Some(
                    Type::Const(to)
                    | Type::Volatile(to)
                    | Type::Restrict(to)
                    | Type::TypeTag { to, .. }
                    | Type::Typedef { to, .. },
                ) => id = to,
                Some(Type::Int(_) | Type::Float { .. }) => return self.ty(id),
                _ => break,
            }
        }
        "core::ffi::c_void".to_owned()
    }

    /// Gives the alignment that Rust gives what [`Writer::ty`] writes.
    fn align(&mut self, id: TypeId, depth: usize) -> u64 {
        let mut id = id;
        for _ in 0..CHAIN {
            let Some(resolved) = self.btf.resolve(id) else {
                return 1;
            };
            return match self.btf.get(resolved) {
                Some(Type::Array(array)) => {
                    id = array.element;
                    continue;
                }
                Some(Type::Var { to, .. }) => {
                    id = to;
                    continue;
                }
                Some(Type::Int(int)) => match int_name(int.size, false) {
                    Some(_) => int.size.into(),
                    None => 1,
                },
                Some(Type::Float {
                    size: size @ (4 | 8),
                    ..
                }) => size.into(),
                Some(Type::Enum(e)) => match int_name(e.size, false) {
                    Some(_) => e.size.into(),
                    None => 4,
                },
                Some(Type::Ptr(_)) => 8,
                Some(Type::Struct(_) | Type::Union(_)) => self.layout(resolved, depth).align,
                _ => 1,
            };
        }
        1
    }

    fn layout(&mut self, id: TypeId, depth: usize) -> Layout {
        if let Some(&known) = self.layouts.get(&id) {
            return known;
        }
        let mut layout = Layout {
            align: 1,
            packed: false,
        };
        let (Some(c), true) = (self.btf.composite(id), depth < DEPTH) else {
            return layout;
        };
        // What holds itself finds this, and goes no further.
        self.layouts.insert(id, layout);
        for m in c.members().filter(|m| m.bitfield.is_none()) {
            let align = self.align(m.type_id, depth + 1).max(1);
            layout.packed |= u64::from(m.bit_offset).checked_rem(align * 8) != Some(0);
            layout.align = layout.align.max(align);
        }
        layout.packed |= u64::from(c.size).checked_rem(layout.align) != Some(0);
        if layout.packed {
            layout.align = 1;
        }
        self.layouts.insert(id, layout);
        layout
    }

    fn define(&mut self, id: TypeId) {
        let Some(name) = self.names.get(&id).cloned() else {
            return;
        };
        match self.btf.get(id) {
            Some(Type::Struct(c)) => self.structure(id, &name, &c),
            Some(Type::Union(c)) => self.union(id, &name, &c),
            Some(Type::Enum(e)) => self.enumeration(&name, &e),
            Some(Type::Typedef { to, .. }) => {
                let ty = self.ty(to);
                let _ = writeln!(self.out, "pub type {name} = {ty};\n");
            }
            Some(Type::Fwd { .. }) => {
                let _ = writeln!(
                    self.out,
                    "#[repr(C)]\n#[derive(Clone, Copy)]\npub struct {name} {{\n    _opaque: [u8; 0],\n}}\n"
                );
            }
            _ => {}
        }
    }

    fn head(&mut self, id: TypeId, word: &str, name: &str) {
        let repr = match self.layout(id, 0).packed {
            true => "C, packed",
            false => "C",
        };
        let _ = writeln!(
            self.out,
            "#[repr({repr})]\n#[derive(Clone, Copy)]\npub {word} {name} {{"
        );
    }

    fn tail(&mut self, name: &str, size: u32) {
        let _ = writeln!(
            self.out,
            "}}\nconst _: () = assert!(core::mem::size_of::<{name}>() == {size});\n"
        );
    }

    fn structure(&mut self, id: TypeId, name: &str, c: &Composite<'_>) {
        self.head(id, "struct", name);
        let packed = self.layout(id, 0).packed;
        let mut names = Names::default();
        let mut end = 0u64;
        let mut members = c.members().peekable();
        while let Some(m) = members.next() {
            if self.is_full() {
                self.out.push_str(LEFT_OUT);
                break;
            }
            let mut start = u64::from(m.bit_offset / 8);
            if start < end && m.bitfield.is_none() {
                // Malformed, or a union in disguise: Rust cannot say it.
                continue;
            }
            if let Some(width) = m.bitfield {
                // Bytes that no other member has, of all bitfields in a row.
                start = start.max(end);
                let mut last = u64::from(m.bit_offset) + u64::from(width);
                while let Some(next) = members.next_if(|next| next.bitfield.is_some()) {
                    let width = next.bitfield.unwrap_or(0);
                    last = last.max(u64::from(next.bit_offset) + u64::from(width));
                }
                let stop = last.div_ceil(8);
                if stop > start {
                    self.pad(end, start);
                    let _ = writeln!(self.out, "    pub _bits_{start}: [u8; {}],", stop - start);
                    end = stop;
                }
                continue;
            }
            let align = if packed {
                1
            } else {
                self.align(m.type_id, 0).max(1)
            };
            if end.checked_next_multiple_of(align) != Some(start) {
                self.pad(end, start);
            }
            let field = unique(&mut names, m.name, m.bit_offset / 8);
            let ty = self.ty(m.type_id);
            let _ = writeln!(self.out, "    pub {field}: {ty},");
            end = start.saturating_add(self.btf.size_of(m.type_id).unwrap_or(0));
        }
        let align = self.layout(id, 0).align;
        let size = u64::from(c.size);
        if end.checked_next_multiple_of(align) != Some(size) {
            self.pad(end, size);
        }
        self.tail(name, c.size);
    }

    fn pad(&mut self, from: u64, to: u64) {
        if to > from {
            let _ = writeln!(self.out, "    pub _pad_{from}: [u8; {}],", to - from);
        }
    }

    fn union(&mut self, id: TypeId, name: &str, c: &Composite<'_>) {
        self.head(id, "union", name);
        let mut names = Names::default();
        let mut largest = 0;
        for (index, m) in (0..).zip(c.members()) {
            if self.is_full() {
                self.out.push_str(LEFT_OUT);
                break;
            }
            if m.bitfield.is_some() {
                continue;
            }
            let field = unique(&mut names, m.name, index);
            let ty = self.ty(m.type_id);
            let _ = writeln!(self.out, "    pub {field}: {ty},");
            largest = largest.max(self.btf.size_of(m.type_id).unwrap_or(0));
        }
        let align = self.layout(id, 0).align;
        let size = u64::from(c.size);
        if largest.checked_next_multiple_of(align) != Some(size) || c.is_empty() {
            let _ = writeln!(self.out, "    pub _bytes: [u8; {}],", c.size);
        }
        self.tail(name, c.size);
    }

    fn enumeration(&mut self, name: &str, e: &Enum<'_>) {
        let ty = int_name(e.size, e.signed).unwrap_or("u32");
        let _ = writeln!(self.out, "pub type {name} = {ty};");
        for constant in e.enumerators() {
            if self.is_full() {
                self.out.push_str(LEFT_OUT);
                break;
            }
            let unique = self.constants.unique(identifier(constant.name));
            let value = match (e.size, e.signed) {
                (8, false) => (constant.value as u64).to_string(),
                (4, false) => (constant.value as u32).to_string(),
                (2, false) => (constant.value as u16).to_string(),
                (1, false) => (constant.value as u8).to_string(),
                _ => constant.value.to_string(),
            };
            let _ = writeln!(self.out, "pub const {unique}: {name} = {value};");
        }
        self.out.push('\n');
    }
}

/// Gives the name of a member: anonymous ones have a number.
fn unique(names: &mut Names, name: &str, number: u32) -> String {
    names.unique(match name {
        "" => format!("anon_{number}"),
        name => identifier(name),
    })
}

/// Makes a name of Rust of a name of C.
fn identifier(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut text: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        text.insert(0, '_');
    }
    if NEVER.contains(&text.as_str()) {
        text.push('_');
    } else if KEYWORDS.contains(&text.as_str()) {
        text.insert_str(0, "r#");
    }
    text
}

fn int_name(size: u32, signed: bool) -> Option<&'static str> {
    Some(match (size, signed) {
        (1, false) => "u8",
        (2, false) => "u16",
        (4, false) => "u32",
        (8, false) => "u64",
        (16, false) => "u128",
        (1, true) => "i8",
        (2, true) => "i16",
        (4, true) => "i32",
        (8, true) => "i64",
        (16, true) => "i128",
        _ => return None,
    })
}
