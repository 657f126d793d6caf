//! Access paths: numbers of members, elements and constants, and what they lead to.

use kscope_btf::{Array, Composite, Kind, Type, TypeId};

use super::failure::Mismatch;
use super::view::View;
use crate::object::{CoreKind, CoreReloc};

/// Most numbers in a path; libbpf's bound.
pub(super) const LONGEST: usize = 64;

/// A path followed through the types of one side.
pub(super) struct Access<'a> {
    /// The type it begins at, as named.
    pub(super) root: TypeId,
    /// What matters of it: named members, elements of arrays; or one constant.
    pub(super) points: Vec<Point<'a>>,
    /// All numbers, those through anonymous structures too.
    pub(super) raw: Vec<u32>,
    /// The members that the numbers stand for: structure or union, and number in it.
    pub(super) members: Vec<(TypeId, u32)>,
    /// Offset in bits of where it leads to.
    pub(super) bit_offset: u32,
}

/// A step of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point<'a> {
    /// The structure, union or enumeration; of an element the element's type. Resolved.
    pub(super) type_id: TypeId,
    /// Number of the member, element or constant.
    pub(super) index: u32,
    /// Name of the member or constant; none for elements.
    pub(super) name: Option<&'a str>,
}

/// What a kind of relocation is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    Field,
    Type,
    Constant,
}

impl About {
    pub(super) fn of(kind: CoreKind) -> About {
        match kind {
            CoreKind::FieldByteOffset
            | CoreKind::FieldByteSize
            | CoreKind::FieldExists
            | CoreKind::FieldSigned
            | CoreKind::FieldLeftShift
            | CoreKind::FieldRightShift => About::Field,
            CoreKind::TypeIdLocal
            | CoreKind::TypeIdTarget
            | CoreKind::TypeExists
            | CoreKind::TypeSize
            | CoreKind::TypeMatches => About::Type,
            CoreKind::EnumValueExists | CoreKind::EnumValue => About::Constant,
        }
    }
}

impl<'a> Access<'a> {
    pub(super) fn new(root: TypeId) -> Access<'a> {
        Access {
            root,
            points: Vec::new(),
            raw: Vec::new(),
            members: Vec::new(),
            bit_offset: 0,
        }
    }

    /// Follows an object's path through its own types.
    pub(super) fn parse(local: View<'a>, relocation: &CoreReloc) -> Result<Access<'a>, Mismatch> {
        let root = TypeId(relocation.type_id);
        let mut access = Access::new(root);
        let path = relocation.access.as_slice();
        let about = About::of(relocation.kind);
        if about == About::Type {
            return match path {
                [0] => Ok(access),
                [] => Err(Mismatch::NoIndex(0)),
                [first, ..] => Err(Mismatch::NoIndex(*first)),
            };
        }
        if path.len() > LONGEST {
            return Err(Mismatch::TooDeep);
        }
        let &first = path.first().ok_or(Mismatch::NoIndex(0))?;
        if let Some(&negative) = path.iter().find(|&&index| i32::try_from(index).is_err()) {
            return Err(Mismatch::NoIndex(negative));
        }
        access.raw.extend_from_slice(path);
        let id = local.resolve(root)?;
        if about == About::Constant {
            let Type::Enum(e) = local.get(id)? else {
                return Err(Mismatch::NoEnum(local.text(id)));
            };
            let found = e.enumerator(first as usize);
            let constant = found.filter(|_| path.len() == 1);
            let constant = constant.ok_or(Mismatch::NoIndex(first))?;
            access.points.push(Point {
                type_id: id,
                index: first,
                name: Some(constant.name),
            });
            return Ok(access);
        }
        access.element(local, id, first)?;
        let mut id = id;
        for &index in &path[1..] {
            id = access.down(local, id, index)?;
        }
        Ok(access)
    }

    /// Follows one number from a type; gives the type it leads to.
    fn down(&mut self, view: View<'a>, from: TypeId, index: u32) -> Result<TypeId, Mismatch> {
        let id = view.resolve(from)?;
        match view.get(id)? {
            Type::Struct(composite) | Type::Union(composite) => {
                if index as usize >= composite.len() {
                    return Err(Mismatch::NoIndex(index));
                }
                let member = composite.member(index as usize);
                self.shift(member.bit_offset)?;
                self.members.push((id, index));
                if !member.name.is_empty() {
                    self.points.push(Point {
                        type_id: id,
                        index,
                        name: Some(member.name),
                    });
                }
                Ok(member.type_id)
            }
            Type::Array(array) => {
                let len = array.len;
                if index >= len && !self.ends_flexible(view, &array) {
                    return Err(Mismatch::Short { index, len });
                }
                let element = view.resolve(array.element)?;
                self.element(view, element, index)?;
                Ok(element)
            }
            _ => Err(Mismatch::NoMembers(view.text(id))),
        }
    }

    /// Adds an element of an array, or of what the path begins at.
    pub(super) fn element(
        &mut self,
        view: View<'a>,
        element: TypeId,
        index: u32,
    ) -> Result<(), Mismatch> {
        self.points.push(Point {
            type_id: element,
            index,
            name: None,
        });
        let size = view.size(element)?;
        let bits = size.checked_mul(8).and_then(|bits| bits.checked_mul(index));
        self.shift(bits.ok_or(Mismatch::Sizeless(element))?)
    }

    /// Adds to the offset.
    pub(super) fn shift(&mut self, bits: u32) -> Result<(), Mismatch> {
        let sum = self.bit_offset.checked_add(bits);
        self.bit_offset = sum.ok_or(Mismatch::Sizeless(self.root))?;
        Ok(())
    }

    /// Tells whether an array that the path has led to is a flexible one: the last member of its
    /// structure, without a length.
    pub(super) fn ends_flexible(&self, view: View<'_>, array: &Array) -> bool {
        let last = self.points.last().filter(|point| point.name.is_some());
        let (Some(point), 0) = (last, array.len) else {
            return false;
        };
        let len = view
            .btf
            .composite(point.type_id)
            .map_or(0, |c: Composite<'_>| c.len());
        point.index as usize + 1 == len
    }

    /// Gives type and path as C says them, then the numbers.
    pub(super) fn text(&self, view: View<'_>, about: About) -> String {
        let mut text = view.text(self.root);
        if about == About::Type {
            return text;
        }
        for (place, point) in self.points.iter().enumerate() {
            match point.name {
                Some(_) if about == About::Constant => text.push_str("::"),
                Some(_) => text.push('.'),
                None if place == 0 && point.index == 0 => {}
                None => text.push_str(&format!("[{}]", point.index)),
            }
            text.push_str(point.name.unwrap_or_default());
        }
        text + " " + &numbers(&self.raw)
    }
}

/// Gives a path as the object spells it.
pub(super) fn numbers(path: &[u32]) -> String {
    let mut text = String::from("(");
    for (place, number) in path.iter().enumerate() {
        text.push_str(if place == 0 { "" } else { ":" });
        text.push_str(&number.to_string());
    }
    text + ")"
}

/// Gives the constant of an enumeration as libbpf counts it: 32-bit ones have a sign.
pub(super) fn constant(view: View<'_>, point: &Point<'_>) -> Result<u64, Mismatch> {
    let Type::Enum(e) = view.get(point.type_id)? else {
        return Err(Mismatch::NoEnum(view.text(point.type_id)));
    };
    let found = e.enumerator(point.index as usize);
    let value = found.ok_or(Mismatch::NoIndex(point.index))?.value;
    Ok(match view.btf.kind(point.type_id) {
        Some(Kind::Enum64) => value as u64,
        _ => i64::from(value as i32) as u64,
    })
}
