//! A whole blob written as C that compiles: each type after those it needs.

use core::cell::RefCell;
use std::collections::HashMap;

use crate::blob::{Btf, TypeId};
use crate::c::definition::{Renames, is_plain};
use crate::c::print::Printer;
use crate::kind::Kind;
use crate::types::{Array, Type};

/// Deepest way from a type to one that it needs.
const DEPTH: usize = 400;

/// How far a type is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Nothing,
    /// `struct name;` is there.
    Declared,
    /// Its definition waits for what it needs.
    Begun { declared: bool },
    /// It is defined.
    Defined,
}

impl Btf {
    /// Writes all structures, unions, enumerations and typedefs as C that a compiler takes, in an
    /// order in which each stands after those it needs. A name that several types or constants
    /// have goes to the first; the others get `___2` and so on, as flavours of CO-RE have it. What would
    /// be beyond [`Btf::text_limit`] is left out, and a comment says so.
    #[must_use]
    pub fn write_c(&self) -> String {
        self.write_c_of(self.ids())
    }

    /// Writes these types and all that they need, as [`Btf::write_c`] does.
    #[must_use]
    pub fn write_c_of(&self, types: impl IntoIterator<Item = TypeId>) -> String {
        let mut whole = Whole {
            btf: self,
            renames: renames(self),
            states: vec![State::Nothing; self.type_count() as usize],
            out: String::new(),
            full: false,
        };
        for id in types {
            whole.need(id, true, 0);
        }
        whole.out
    }
}

struct Whole<'a> {
    btf: &'a Btf,
    renames: Renames<'a>,
    states: Vec<State>,
    out: String,
    /// Whether it was said that the rest is left out.
    full: bool,
}

impl Whole<'_> {
    fn state(&self, id: TypeId) -> State {
        let state = self.states.get(id.0 as usize);
        state.copied().unwrap_or(State::Defined)
    }

    fn set(&mut self, id: TypeId, state: State) {
        if let Some(slot) = self.states.get_mut(id.0 as usize) {
            *slot = state;
        }
    }

    /// Writes what has to stand before a use of the type; `whole` where its size counts there.
    fn need(&mut self, id: TypeId, whole: bool, depth: usize) {
        if depth > DEPTH {
            return;
        }
        let Some(ty) = self.btf.get(id) else { return };
        match ty {
            Type::Struct(c) | Type::Union(c) => {
                let named = !c.name.is_empty();
                match self.state(id) {
                    State::Defined => return,
                    State::Begun { .. } if !named => return,
                    State::Begun { declared } => {
                        if !declared {
                            self.declare(id, &ty);
                            self.set(id, State::Begun { declared: true });
                        }
                        return;
                    }
                    State::Declared if !whole => return,
                    State::Nothing if !whole && named => {
                        self.declare(id, &ty);
                        self.set(id, State::Declared);
                        return;
                    }
                    State::Nothing | State::Declared => {}
                }
                let declared = self.state(id) == State::Declared;
                self.set(id, State::Begun { declared });
                for m in c.members() {
                    self.need(m.type_id, true, depth + 1);
                }
                // One without a name is written where it is used; what it needs is there now.
                if named {
                    self.define(id);
                }
                self.set(id, State::Defined);
            }
            Type::Enum(e) if self.state(id) != State::Defined => {
                // One without a name is written where it is used; where that is nowhere its
                // constants are still of use.
                if !e.name.is_empty() || (depth == 0 && !e.is_empty()) {
                    self.define(id);
                }
                self.set(id, State::Defined);
            }
            Type::Fwd { .. } if self.state(id) == State::Nothing => {
                self.declare(id, &ty);
                self.set(id, State::Declared);
            }
            Type::Typedef { name, to } => {
                match self.state(id) {
                    State::Nothing => {
                        self.set(id, State::Begun { declared: false });
                        // Of a structure with a name the declaration is enough.
                        self.need(to, false, depth + 1);
                        // Compilers have this one.
                        if name != "__builtin_va_list" {
                            self.define(id);
                        }
                        self.set(id, State::Defined);
                    }
                    State::Begun { .. } => return,
                    State::Declared | State::Defined => {}
                }
                if whole {
                    self.need(to, true, depth + 1);
                }
            }
            Type::Ptr(to) if self.state(id) == State::Nothing => {
                self.set(id, State::Defined);
                self.need(to, false, depth + 1);
            }
            Type::Const(to)
            | Type::Volatile(to)
            | Type::Restrict(to)
            | Type::TypeTag { to, .. } => self.need(to, whole, depth + 1),
            // Elements need a size even behind a pointer.
            Type::Array(Array { element, .. }) => self.need(element, true, depth + 1),
            Type::FuncProto(proto) if self.state(id) == State::Nothing => {
                self.set(id, State::Defined);
                self.need(proto.result, false, depth + 1);
                for param in proto.params() {
                    self.need(param.type_id, false, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn declare(&mut self, id: TypeId, ty: &Type<'_>) {
        if self.room() == 0 {
            return;
        }
        let word = match ty {
            Type::Union(_) | Type::Fwd { is_union: true, .. } => "union",
            _ => "struct",
        };
        let name = self.renames.name(id, ty.name());
        self.out.push_str(&format!("{word} {name};\n\n"));
    }

    fn define(&mut self, id: TypeId) {
        let room = self.room();
        if room == 0 {
            return;
        }
        let text = Printer::definition(self.btf, id, &self.renames, room);
        self.out.push_str(&text);
        self.out.push_str("\n\n");
    }

    /// Gives the bytes that may still be written.
    fn room(&mut self) -> usize {
        let room = self.btf.text_limit().saturating_sub(self.out.len());
        if room == 0 && !self.full {
            self.full = true;
            self.out.push_str(
                "/* What follows is left out: these types share names that are long, as those of no \
                 compiler do, and would be hundreds of times the BTF. */\n\n",
            );
        }
        room
    }
}

/// Finds names that clash: structures, unions and enumerations share one set of names, typedefs and
/// constants have another.
fn renames(btf: &Btf) -> Renames<'_> {
    let mut tags: HashMap<&str, (Kind, u32)> = HashMap::new();
    let mut others: HashMap<&str, u32> = HashMap::new();
    let mut types = HashMap::new();
    // What is only declared is the structure of that name, where there is one.
    let mut forwards = Vec::new();
    for id in btf.ids() {
        let (Some(kind), Some(name)) = (btf.kind(id), btf.name(id)) else {
            continue;
        };
        if name.is_empty() {
            continue;
        }
        let times = match kind {
            Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 => {
                let (_, times) = tags.entry(name).or_insert((kind, 0));
                *times += 1;
                *times
            }
            Kind::Typedef => {
                let times = others.entry(name).or_default();
                *times += 1;
                *times
            }
            Kind::Fwd => {
                forwards.push((id, name));
                continue;
            }
            _ => continue,
        };
        rename(&mut types, id, name, times);
    }
    for (id, name) in forwards {
        let is_union = matches!(btf.get(id), Some(Type::Fwd { is_union: true, .. }));
        let own = if is_union { Kind::Union } else { Kind::Struct };
        let (kind, times) = tags.entry(name).or_insert((own, 1));
        let times = if *kind == own { 1 } else { *times + 1 };
        rename(&mut types, id, name, times);
    }
    Renames {
        types,
        typedefs: others,
        constants: RefCell::default(),
    }
}

fn rename(types: &mut HashMap<TypeId, u32>, id: TypeId, name: &str, times: u32) {
    let is_name = name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_name || times != 1 {
        types.insert(id, times);
    }
}
