//! Types written as C, in the layout that `bpftool btf dump format c` uses.

use core::cell::RefCell;
use std::collections::HashMap;

use crate::blob::{Btf, TypeId};
use crate::c::layout::Layout;
use crate::query::CHAIN;
use crate::types::{Composite, Enum, FuncProto, Type};

/// Members, parameters and constants of inner types written for one type, at most. Its own are
/// as many as the blob has room for.
const ELEMENTS: usize = 1 << 15;
/// Members looked at to find the alignments of one type's members, at most.
const ALIGNED: usize = 1 << 16;
/// Deepest nesting of anonymous structures and prototypes written.
const NESTING: usize = 16;
/// What is written where a limit is reached or a reference is dangling.
const LEFT_OUT: &str = "/* ... */";

impl Btf {
    /// Gives the type's name on one line, for example `struct task_struct *` or `char[16]`. The
    /// members of an anonymous structure are left out: `struct {...}`.
    #[must_use]
    pub fn type_name(&self, id: TypeId) -> String {
        self.declaration(id, "")
    }

    /// Gives the declaration of `name` with this type on one line, without a semicolon, for
    /// example `char comm[16]` or `int (*open)(struct inode *, struct file *)`.
    #[must_use]
    pub fn declaration(&self, id: TypeId, name: &str) -> String {
        Printer::new(self, false).declare(id, name, 0)
    }

    /// Gives the declaration of the type itself: `struct foo {...};` with its members on lines of
    /// their own, `typedef int pid_t;`, `int f(int x);`.
    #[must_use]
    pub fn print_c(&self, id: TypeId) -> String {
        let mut p = Printer::new(self, true);
        p.left += self.raw(id).map_or(0, |raw| raw.count());
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
                for var in d.vars().take(ELEMENTS) {
                    if let Some(Type::Var { name, to, .. }) = self.get(var.type_id) {
                        text.push_str(&format!("\t{};\n", p.declare(to, name, 1)));
                    }
                }
                text + "}"
            }
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
pub(super) struct Renames {
    /// Names of types that another of the same name took, or that are no C names.
    pub(super) types: HashMap<TypeId, String>,
    /// How often each name of a constant was written.
    pub(super) constants: RefCell<HashMap<String, u32>>,
}

pub(super) struct Printer<'a> {
    btf: &'a Btf,
    renames: Option<&'a Renames>,
    /// Elements that may still be written.
    left: usize,
    /// Members that may still be looked at for their alignment.
    aligned: usize,
    /// Whether anonymous structures and enumerations are written with their members.
    bodies: bool,
}

impl<'a> Printer<'a> {
    /// Writes the definition of a structure, union, enumeration or typedef with other names.
    pub(super) fn definition(btf: &'a Btf, id: TypeId, renames: &'a Renames) -> String {
        let mut p = Printer::new(btf, true);
        p.renames = Some(renames);
        p.left += btf.raw(id).map_or(0, |raw| raw.count());
        let text = match btf.get(id) {
            Some(Type::Struct(c)) => p.composite("struct", &c, id, 0),
            Some(Type::Union(c)) => p.composite("union", &c, id, 0),
            Some(Type::Enum(e)) => p.enumeration(&e, id, 0),
            Some(Type::Typedef { name, to }) => {
                let name = p.name(id, name).to_owned();
                format!("typedef {}", p.declare(to, &name, 0))
            }
            _ => return String::new(),
        };
        text + ";"
    }

    /// Gives the name that a type is written with.
    fn name<'n>(&self, id: TypeId, name: &'n str) -> &'n str
    where
        'a: 'n,
    {
        let renamed = self.renames.and_then(|renames| renames.types.get(&id));
        renamed.map_or(name, String::as_str)
    }

    fn new(btf: &'a Btf, bodies: bool) -> Printer<'a> {
        Printer {
            btf,
            renames: None,
            left: ELEMENTS,
            aligned: ALIGNED,
            bodies,
        }
    }

    /// Counts one element; false when the limit is reached.
    fn spend(&mut self) -> bool {
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    /// Writes a declaration: C's declarators are built from the name outwards, until the type
    /// that stands at the left is reached.
    fn declare(&mut self, id: TypeId, name: &str, indent: usize) -> String {
        let mut inner = name.to_owned();
        // Qualifiers seen since the last pointer, outermost first.
        let mut qualifiers: Vec<&'static str> = Vec::new();
        let mut id = id;
        let mut base = LEFT_OUT.to_owned();
        for _ in 0..CHAIN {
            let Some(ty) = self.btf.get(id) else { break };
            let to = match ty {
                Type::Ptr(to) => {
                    inner = pointer(&qualifiers, &inner);
                    qualifiers.clear();
                    to
                }
                Type::Const(to) => {
                    add(&mut qualifiers, "const");
                    to
                }
                Type::Volatile(to) => {
                    add(&mut qualifiers, "volatile");
                    to
                }
                Type::Restrict(to) => {
                    add(&mut qualifiers, "restrict");
                    to
                }
                Type::TypeTag { to, .. } => to,
                Type::Array(a) => {
                    inner = format!("{}[{}]", grouped(inner), a.len);
                    a.element
                }
                Type::FuncProto(p) => {
                    if !self.spend() {
                        break;
                    }
                    inner = format!("{}({})", grouped(inner), self.params(&p, indent));
                    qualifiers.clear();
                    p.result
                }
                named => {
                    base = self.base(id, &named, indent);
                    break;
                }
            };
            id = to;
        }
        let mut text: String = qualifiers.iter().rev().map(|q| format!("{q} ")).collect();
        text.push_str(&base);
        if !inner.is_empty() && !inner.starts_with('[') {
            text.push(' ');
        }
        text + &inner
    }

    /// Writes the type that stands at the left of a declaration.
    fn base(&mut self, id: TypeId, ty: &Type<'_>, indent: usize) -> String {
        match ty {
            Type::Struct(c) if c.name.is_empty() => self.composite("struct", c, id, indent),
            Type::Union(c) if c.name.is_empty() => self.composite("union", c, id, indent),
            Type::Enum(e) if e.name.is_empty() => self.enumeration(e, id, indent),
            Type::Struct(c) => format!("struct {}", self.name(id, c.name)),
            Type::Union(c) => format!("union {}", self.name(id, c.name)),
            Type::Enum(e) => format!("enum {}", self.name(id, e.name)),
            Type::Fwd {
                name,
                is_union: false,
            } => format!("struct {}", self.name(id, name)),
            Type::Fwd {
                name,
                is_union: true,
            } => format!("union {}", self.name(id, name)),
            Type::Other { kind } => format!("/* BTF kind {kind} */"),
            other => self.name(id, other.name()).to_owned(),
        }
    }

    fn params(&mut self, proto: &FuncProto<'_>, indent: usize) -> String {
        if indent >= NESTING {
            return LEFT_OUT.to_owned();
        }
        let mut texts = Vec::new();
        for p in proto.params() {
            if !self.spend() {
                texts.push(LEFT_OUT.to_owned());
                break;
            }
            texts.push(self.declare(p.type_id, p.name, indent + 1));
        }
        match (texts.is_empty(), proto.is_variadic()) {
            // Compilers write `()` as a lone `...`.
            (true, _) => return "void".to_owned(),
            (false, true) => texts.push("...".to_owned()),
            (false, false) => {}
        }
        texts.join(", ")
    }

    fn composite(&mut self, word: &str, c: &Composite<'_>, id: TypeId, indent: usize) -> String {
        let mut text = head(word, self.name(id, c.name));
        if !self.bodies {
            return text + "{...}";
        }
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
        let Some(renames) = self.renames else {
            return name.to_owned();
        };
        let mut constants = renames.constants.borrow_mut();
        let count = constants.entry(name.to_owned()).or_default();
        *count += 1;
        match *count {
            1 => name.to_owned(),
            times => format!("{name}___{times}"),
        }
    }

    fn enumeration(&mut self, e: &Enum<'_>, id: TypeId, indent: usize) -> String {
        let mut text = head("enum", self.name(id, e.name));
        if !self.bodies {
            return text + "{...}";
        }
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

/// Adds a qualifier once: a `const` array has `const` elements, and BTF says both.
fn add(qualifiers: &mut Vec<&'static str>, word: &'static str) {
    if !qualifiers.contains(&word) {
        qualifiers.push(word);
    }
}

/// Gives `struct name `, or `struct ` where it has no name.
fn head(word: &str, name: &str) -> String {
    if name.is_empty() {
        format!("{word} ")
    } else {
        format!("{word} {name} ")
    }
}

/// Gives the declarator of a pointer whose own declarator is `inner`.
fn pointer(qualifiers: &[&str], inner: &str) -> String {
    let mut text = "*".to_owned();
    for q in qualifiers.iter().rev() {
        text.push(' ');
        text.push_str(q);
    }
    // `* const x` and `* (*f)(void)`, but `*x` and `**x`.
    if !inner.is_empty() && (!qualifiers.is_empty() || inner.starts_with('(')) {
        text.push(' ');
    }
    text + inner
}

/// Puts parentheses around a pointer's declarator, as an array or function of it needs.
fn grouped(inner: String) -> String {
    if inner.starts_with('*') {
        format!("({inner})")
    } else {
        inner
    }
}
