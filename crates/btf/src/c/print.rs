//! Types written as C, in the layout that `bpftool btf dump format c` uses.

use std::borrow::Cow;

use crate::blob::{Btf, TypeId};
#[cfg(feature = "print")]
use crate::c::definition::Bodies;
use crate::query::CHAIN;
use crate::types::{Composite, Enum, FuncProto, Type};

/// Members, parameters and constants of inner types written for one type, at most. Its own are
/// as many as the blob has room for.
pub(super) const ELEMENTS: usize = 1 << 15;
/// Deepest nesting of anonymous structures and prototypes written.
pub(super) const NESTING: usize = 16;
/// Bytes written of the elements of one type, at most, where it is to be one line.
const LINE: usize = 1 << 16;
/// What is written where a limit is reached or a reference is dangling.
pub(super) const LEFT_OUT: &str = "/* ... */";

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
        Printer::new(self).declare(id, name, 0)
    }
}

pub(super) struct Printer<'a> {
    pub(super) btf: &'a Btf,
    /// Elements that may still be written.
    pub(super) left: usize,
    /// Bytes that those may still take; those of inner ones count at each level.
    pub(super) room: usize,
    /// Members that may still be looked at for their alignment.
    #[cfg(feature = "print")]
    pub(super) aligned: usize,
    /// How structures and enumerations are written with their members; none without them.
    #[cfg(feature = "print")]
    pub(super) bodies: Option<Bodies<'a>>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(btf: &'a Btf) -> Printer<'a> {
        Printer {
            btf,
            left: ELEMENTS,
            room: LINE,
            #[cfg(feature = "print")]
            aligned: 0,
            #[cfg(feature = "print")]
            bodies: None,
        }
    }

    /// Gives the name that a type is written with.
    pub(super) fn name<'n>(&self, id: TypeId, name: &'n str) -> Cow<'n, str> {
        #[cfg(feature = "print")]
        if let Some(bodies) = &self.bodies {
            return bodies.name(id, name);
        }
        let _ = id;
        Cow::Borrowed(name)
    }

    /// Counts one element; false when a limit is reached.
    pub(super) fn spend(&mut self) -> bool {
        let some = self.left > 0 && self.room > 0;
        self.left = self.left.saturating_sub(1);
        some
    }

    /// Counts the bytes of an element.
    pub(super) fn wrote(&mut self, element: &str) {
        self.room = self.room.saturating_sub(element.len());
    }

    /// Writes a declaration: C's declarators are built from the name outwards, until the type
    /// that stands at the left is reached.
    pub(super) fn declare(&mut self, id: TypeId, name: &str, indent: usize) -> String {
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
            other => self.name(id, other.name()).into_owned(),
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
            let text = self.declare(p.type_id, p.name, indent + 1);
            self.wrote(&text);
            texts.push(text);
        }
        match (texts.is_empty(), proto.is_variadic()) {
            // Compilers write `()` as a lone `...`.
            (true, _) => return "void".to_owned(),
            (false, true) => texts.push("...".to_owned()),
            (false, false) => {}
        }
        texts.join(", ")
    }

    pub(super) fn composite(
        &mut self,
        word: &str,
        c: &Composite<'_>,
        id: TypeId,
        indent: usize,
    ) -> String {
        let text = head(word, &self.name(id, c.name));
        #[cfg(feature = "print")]
        if self.bodies.is_some() {
            return self.members(text, word, c, id, indent);
        }
        let _ = indent;
        text + "{...}"
    }

    pub(super) fn enumeration(&mut self, e: &Enum<'_>, id: TypeId, indent: usize) -> String {
        let text = head("enum", &self.name(id, e.name));
        #[cfg(feature = "print")]
        if self.bodies.is_some() {
            return self.constants(text, e, indent);
        }
        let _ = indent;
        text + "{...}"
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
