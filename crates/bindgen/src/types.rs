//! The types of an object as Rust has them: structures, unions, enumerations.

mod composite;

use std::collections::HashMap;

use kscope_btf::{Btf, Encoding, Enum, Type, TypeId};

use crate::error::Error;
use crate::names::Names;

/// Deepest nesting of types, and longest chain of typedefs.
const DEPTH: u32 = 64;
/// Most members of all types together.
const MEMBERS: usize = 1 << 16;
/// Largest type in bytes.
const LARGEST: u64 = 1 << 30;

/// A type as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ty {
    /// Its Rust text.
    pub(crate) text: String,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What Rust aligns it to.
    pub(crate) align: u64,
    /// Whether a float is in it, so that it has neither `Eq` nor `Hash`.
    pub(crate) float: bool,
}

impl Ty {
    /// A number of Rust's own.
    fn number(letter: char, size: u64) -> Ty {
        Ty {
            text: format!("{letter}{}", size * 8),
            size,
            align: size,
            float: letter == 'f',
        }
    }

    /// Bytes of no type.
    pub(crate) fn bytes(size: u64) -> Ty {
        Ty {
            text: format!("[u8; {size}]"),
            size,
            align: 1,
            float: false,
        }
    }
}

/// A type that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Struct(Struct),
    Union(Union),
    Enum(Newtype),
}

/// A structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// The name in C.
    pub(crate) c_name: String,
    pub(crate) size: u64,
    /// Whether C lays it out closer than Rust would.
    pub(crate) packed: bool,
    pub(crate) float: bool,
    pub(crate) fields: Vec<Field>,
    pub(crate) accessors: Vec<Accessor>,
}

/// A field as Rust has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) ty: Ty,
    pub(crate) role: Role,
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A member.
    Member,
    /// Bytes between members.
    Padding,
    /// Bytes of bitfields.
    Bits,
    /// Bytes of an anonymous union.
    Union,
}

/// What is read and written by methods, out of a field that holds bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accessor {
    /// The method that reads.
    pub(crate) name: String,
    /// The method that writes.
    pub(crate) setter: String,
    /// The field.
    pub(crate) of: String,
    pub(crate) ty: Ty,
    pub(crate) place: AccessorPlace,
}

/// Where it lies in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessorPlace {
    /// At an offset in bytes.
    Bytes(u64),
    /// At an offset in bits.
    Bits {
        offset: u64,
        width: u32,
        kind: BitsKind,
    },
}

/// How bits are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BitsKind {
    Unsigned,
    Signed,
    Truth,
    /// An enumeration, with its sign.
    Enum {
        signed: bool,
        size: u64,
    },
}

/// A union: bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Union {
    pub(crate) name: String,
    pub(crate) c_name: String,
    pub(crate) size: u64,
    pub(crate) accessors: Vec<Accessor>,
}

/// An enumeration: a number with constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Newtype {
    pub(crate) name: String,
    pub(crate) c_name: String,
    /// The number.
    pub(crate) number: Ty,
    /// Names in Rust and C, with values.
    pub(crate) constants: Vec<(String, String, i128)>,
}

/// Collects the types that a skeleton needs.
pub(crate) struct Types<'a> {
    pub(super) btf: &'a Btf,
    items: Vec<Option<Item>>,
    /// None while a type's members are looked at.
    known: HashMap<TypeId, Option<Ty>>,
    names: Names,
    depth: u32,
    members: usize,
}

impl<'a> Types<'a> {
    pub(crate) fn new(btf: &'a Btf) -> Types<'a> {
        Types {
            btf,
            items: Vec::new(),
            known: HashMap::new(),
            names: Names::of_types(),
            depth: 0,
            members: 0,
        }
    }

    /// Gives the types in the order they were met.
    pub(crate) fn into_items(self) -> Vec<Item> {
        self.items.into_iter().flatten().collect()
    }

    /// Gives a type, and collects what it needs; `hint` names it where it has no name.
    pub(crate) fn ty(&mut self, id: TypeId, hint: &str) -> Result<Ty, Error> {
        if self.depth >= DEPTH {
            return Err(refused(hint, "its types are nested too deep"));
        }
        self.depth += 1;
        let ty = self.resolve(id, hint);
        self.depth -= 1;
        let ty = ty?;
        match ty.size > LARGEST {
            true => Err(refused(hint, "it has more than 1 GiB")),
            false => Ok(ty),
        }
    }

    fn resolve(&mut self, id: TypeId, hint: &str) -> Result<Ty, Error> {
        let mut id = id;
        let mut hint = hint.to_owned();
        for _ in 0..DEPTH {
            match self.btf.get(id) {
                Some(Type::Typedef { name, to }) => {
                    name.clone_into(&mut hint);
                    id = to;
                }
                Some(
                    Type::Const(to)
                    | Type::Volatile(to)
                    | Type::Restrict(to)
                    | Type::TypeTag { to, .. },
                ) => id = to,
                Some(Type::Int(int)) => {
                    let size = u64::from(int.size);
                    return Ok(match (int.encoding, size) {
                        (Encoding::Bool, 1) => Ty {
                            text: "bool".to_owned(),
                            size: 1,
                            align: 1,
                            float: false,
                        },
                        (_, 1 | 2 | 4 | 8 | 16) if int.signed => Ty::number('i', size),
                        (_, 1 | 2 | 4 | 8 | 16) => Ty::number('u', size),
                        _ => Ty::bytes(size),
                    });
                }
                Some(Type::Float { size, .. }) => {
                    return Ok(match size {
                        4 | 8 => Ty::number('f', size.into()),
                        _ => Ty::bytes(size.into()),
                    });
                }
                Some(Type::Ptr(_)) => return Ok(Ty::number('u', 8)),
                Some(Type::Array(array)) => {
                    let text = self.is_char(array.element);
                    return match text {
                        true => Ok(Ty {
                            text: format!("Text<{}>", array.len),
                            size: array.len.into(),
                            align: 1,
                            float: false,
                        }),
                        false => {
                            let element = self.ty(array.element, &hint)?;
                            array_of(&element, array.len, &hint)
                        }
                    };
                }
                Some(Type::Enum(e)) => return self.enumeration(id, &e, &hint),
                Some(Type::Struct(_) | Type::Union(_)) => return self.composite(id, &hint),
                Some(Type::Fwd { name, .. }) => {
                    return Err(refused(name, "the object has its name alone"));
                }
                Some(Type::Void) => return Err(refused(&hint, "it is of type void")),
                Some(_) => return Err(refused(&hint, "it is no type of data")),
                None => return Err(refused(&hint, "its type is not there")),
            }
        }
        Err(refused(&hint, "its typedefs have no end"))
    }

    /// Tells whether an array of these is a text: `char`, and not `signed char` or `unsigned char`.
    fn is_char(&self, element: TypeId) -> bool {
        let resolved = self.btf.get_resolved(element);
        matches!(resolved, Some(Type::Int(int)) if int.size == 1 && int.name == "char")
    }

    fn enumeration(&mut self, id: TypeId, e: &Enum<'_>, hint: &str) -> Result<Ty, Error> {
        if let Some(Some(known)) = self.known.get(&id) {
            return Ok(known.clone());
        }
        let letter = if e.signed { 'i' } else { 'u' };
        let number = match e.size {
            1 | 2 | 4 | 8 => Ty::number(letter, e.size.into()),
            _ => return Err(refused(hint, "it is an enumeration of no size of a number")),
        };
        self.count(e.len(), hint)?;
        let name = self
            .names
            .a_type(if e.name.is_empty() { hint } else { e.name });
        // What the type has beside its constants.
        let mut names = Names::without(&["name", "SIZE", "decode", "encode", "fmt"]);
        let constants = e.enumerators().map(|constant| {
            let value = match (e.signed, e.size) {
                (true, _) => i128::from(constant.value),
                (false, 8) => i128::from(constant.value as u64),
                (false, size) => i128::from((constant.value as u64) & ((1 << (size * 8)) - 1)),
            };
            let constant = constant.name;
            (names.a_value(constant), constant.to_owned(), value)
        });
        let item = Newtype {
            constants: constants.collect(),
            c_name: c_name("enum", e.name, hint),
            number: number.clone(),
            name: name.clone(),
        };
        self.items.push(Some(Item::Enum(item)));
        let ty = Ty {
            text: name,
            ..number
        };
        self.known.insert(id, Some(ty.clone()));
        Ok(ty)
    }

    /// Counts members, so that malformed types do not take for ever.
    fn count(&mut self, members: usize, hint: &str) -> Result<(), Error> {
        self.members = self.members.saturating_add(members);
        match self.members > MEMBERS {
            true => Err(refused(
                hint,
                "all types together have more than 65,536 members",
            )),
            false => Ok(()),
        }
    }
}

fn array_of(element: &Ty, len: u32, hint: &str) -> Result<Ty, Error> {
    let size = element.size.checked_mul(len.into());
    Ok(Ty {
        text: format!("[{}; {len}]", element.text),
        size: size.ok_or_else(|| refused(hint, "it is too large"))?,
        align: element.align,
        float: element.float,
    })
}

fn refused(name: &str, why: &'static str) -> Error {
    Error::Refused {
        name: name.to_owned(),
        why,
    }
}

/// Gives the name that documentation shows.
fn c_name(word: &str, name: &str, hint: &str) -> String {
    match name.is_empty() {
        true => format!("the anonymous {word} {hint}"),
        false => format!("`{word} {name}`"),
    }
}

#[cfg(test)]
mod tests;
