//! What types have in common: the rules by which those of variables and maps grow.

use std::collections::HashMap;
use std::sync::Arc;

use crate::diagnostic::Span;
use crate::hir::{FieldType, Int, MapKind, Type};
use crate::plan::NAME_ROOM as NAME;
use kscope_rows::MapValueType;

/// Whether an integer's sign may still be chosen: that of literals that are not negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Flex {
    /// The sign is the type's.
    Fixed,
    /// Either sign does.
    Free,
    /// A tuple's or record's parts.
    Parts(Vec<Flex>),
}

impl Flex {
    fn part(&self, index: usize) -> Flex {
        match self {
            Flex::Parts(parts) => parts.get(index).cloned().unwrap_or(Flex::Fixed),
            _ => Flex::Fixed,
        }
    }
}

/// A type as inference sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) ty: Type,
    pub(super) flex: Flex,
}

impl Shape {
    pub(super) fn fixed(ty: Type) -> Shape {
        Shape {
            ty,
            flex: Flex::Fixed,
        }
    }
}

/// What is known of a variable.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct VarInfo {
    pub(super) shape: Option<Shape>,
    /// Set where the declaration fixed the type.
    pub(super) declared: bool,
    /// Stepped or added to before a value was known.
    pub(super) wants_number: bool,
    pub(super) first: Span,
}

/// What the values of a map are known to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum MapContents {
    Unknown,
    Plain(Shape),
    Aggregate(MapValueType),
}

/// What is known of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MapInfo {
    pub(super) name: String,
    pub(super) contents: MapContents,
    pub(super) key: Option<Shape>,
    /// Whether it has keys; none until the first use.
    pub(super) keyed: Option<bool>,
    pub(super) wants_number: bool,
    /// Whether anything is ever put into it.
    pub(super) assigned: bool,
    pub(super) first: Span,
    pub(super) first_keyed: Span,
    pub(super) kind: MapKind,
    pub(super) entries: Option<u32>,
}

/// What names a variable across passes: the probe's instance and where it is declared.
pub(super) type VarKey = (u32, u32, String);

/// What is known of the whole script; it only grows, pass after pass.
#[derive(Debug, Default)]
pub(super) struct Env {
    pub(super) maps: Vec<MapInfo>,
    pub(super) by_name: HashMap<String, usize>,
    pub(super) vars: HashMap<VarKey, VarInfo>,
    /// Variables of a probe's instance that are used outside of the block that assigns them, and where it does.
    pub(super) widened: HashMap<(u32, String), Span>,
    pub(super) changed: bool,
    /// The room of each `str_concat` in the order of a walk, and how often it grew.
    concats: Vec<(u32, u32)>,
}

/// How often the room of a `str_concat` grows by what its strings become known to be.
const GROWTHS: u32 = 8;

impl Env {
    /// Gives a map's index, adding it at its first mention.
    pub(super) fn map(&mut self, name: &str, span: Span) -> usize {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        let index = self.maps.len();
        self.maps.push(MapInfo {
            name: name.to_owned(),
            contents: MapContents::Unknown,
            key: None,
            keyed: None,
            wants_number: false,
            assigned: false,
            first: span,
            first_keyed: span,
            kind: MapKind::Hash,
            entries: None,
        });
        self.by_name.insert(name.to_owned(), index);
        self.changed = true;
        index
    }

    /// Notes the room of a `str_concat`; true where it has grown so often that it would go on.
    pub(super) fn concat_grows(&mut self, place: usize, capacity: u32) -> bool {
        if self.concats.len() <= place {
            self.concats.resize(place + 1, (0, 0));
        }
        let (known, grown) = &mut self.concats[place];
        if capacity > *known {
            *known = capacity;
            *grown += 1;
        }
        *grown > GROWTHS
    }

    /// Makes numbers of what was only stepped or added to; true where there was any.
    pub(super) fn default_numbers(&mut self) -> bool {
        let mut any = false;
        for map in &mut self.maps {
            if map.wants_number && map.contents == MapContents::Unknown {
                map.contents = MapContents::Plain(Shape::fixed(Type::I64));
                any = true;
            }
        }
        for var in self.vars.values_mut() {
            if var.wants_number && var.shape.is_none() {
                var.shape = Some(Shape::fixed(Type::I64));
                any = true;
            }
        }
        any
    }
}

/// Gives the type that both fit; none where they have nothing in common.
pub(super) fn join(a: &Shape, b: &Shape) -> Option<Shape> {
    if let (Type::Int(x), Type::Int(y)) = (&a.ty, &b.ty) {
        let (int, flex) = join_ints(*x, &a.flex, *y, &b.flex);
        return Some(Shape {
            ty: Type::Int(int),
            flex,
        });
    }
    let ty = match (&a.ty, &b.ty) {
        (Type::Void, _) => return Some(b.clone()),
        (_, Type::Void) => return Some(a.clone()),
        (Type::Tuple(x), Type::Tuple(y)) if x.len() == y.len() => {
            let (fields, flex) = join_fields(x, y, a, b, Some)?;
            return Some(Shape {
                ty: Type::Tuple(fields),
                flex,
            });
        }
        (Type::Record(x), Type::Record(y)) if x.len() == y.len() => {
            let place = |i: usize| y.iter().position(|f| f.name == x[i].name);
            let (fields, flex) = join_fields(x, y, a, b, place)?;
            return Some(Shape {
                ty: Type::Record(fields),
                flex,
            });
        }
        (x, y) if x == y => x.clone(),
        (Type::Enum(x), Type::Enum(y)) if x.name == y.name => a.ty.clone(),
        (Type::Enum(e), Type::Int(i)) => Type::Int(join_ints(e.int, &Flex::Fixed, *i, &b.flex).0),
        (Type::Int(i), Type::Enum(e)) => Type::Int(join_ints(*i, &a.flex, e.int, &Flex::Fixed).0),
        (Type::Enum(x), Type::Enum(y)) => {
            Type::Int(join_ints(x.int, &Flex::Fixed, y.int, &Flex::Fixed).0)
        }
        (Type::Pointer { to: x, space }, Type::Pointer { to: y, .. }) if same_pointee(x, y) => {
            Type::Pointer {
                to: x.clone(),
                space: *space,
            }
        }
        // The address of a variable whose type has grown.
        (Type::Pointer { to: x, space }, Type::Pointer { to: y, .. }) => match (&**x, &**y) {
            (Type::Int(x), Type::Int(y)) if x.signed == y.signed => Type::Pointer {
                to: Type::Int(if x.bytes < y.bytes { *y } else { *x }).into(),
                space: *space,
            },
            _ => return None,
        },
        (Type::Str { capacity: x }, Type::Str { capacity: y }) => Type::Str {
            capacity: *x.max(y),
        },
        // A name is a string where it meets one.
        (Type::Named(_), Type::Str { capacity }) | (Type::Str { capacity }, Type::Named(_)) => {
            Type::Str {
                capacity: (*capacity).max(NAME),
            }
        }
        (Type::Named(_), Type::Named(_)) => Type::Str { capacity: NAME },
        (Type::Buffer { capacity: x }, Type::Buffer { capacity: y }) => Type::Buffer {
            capacity: *x.max(y),
        },
        (Type::Arguments { capacity: x }, Type::Arguments { capacity: y }) => Type::Arguments {
            capacity: *x.max(y),
        },
        (Type::Struct(x), Type::Struct(y)) if x.name == y.name && x.size == y.size => a.ty.clone(),
        (Type::Timestamp { .. }, Type::Timestamp { .. }) => a.ty.clone(),
        _ => return None,
    };
    Some(Shape::fixed(ty))
}

fn join_fields(
    x: &[FieldType],
    y: &[FieldType],
    a: &Shape,
    b: &Shape,
    place: impl Fn(usize) -> Option<usize>,
) -> Option<(Arc<[FieldType]>, Flex)> {
    let mut parts = Vec::with_capacity(x.len());
    let mut flex = Vec::with_capacity(x.len());
    for (i, field) in x.iter().enumerate() {
        let j = place(i)?;
        let left = Shape {
            ty: field.ty.clone(),
            flex: a.flex.part(i),
        };
        let right = Shape {
            ty: y.get(j)?.ty.clone(),
            flex: b.flex.part(j),
        };
        let joined = join(&left, &right)?;
        parts.push((field.name.clone(), joined.ty));
        flex.push(joined.flex);
    }
    Some((FieldType::lay_out(parts), Flex::Parts(flex)))
}

/// Says whether two pointers may be mixed: to the same, or one of them to anything.
fn same_pointee(x: &Type, y: &Type) -> bool {
    match (x, y) {
        (Type::Struct(x), Type::Struct(y)) => x.name == y.name,
        (Type::Pointer { to: x, .. }, Type::Pointer { to: y, .. }) => same_pointee(x, y),
        (Type::Int(x), Type::Int(y)) => x.bytes == y.bytes,
        _ => x == y,
    }
}

/// Gives the integer that both fit: the wider one; of different sign, the next wider signed one.
pub(super) fn join_ints(x: Int, xf: &Flex, y: Int, yf: &Flex) -> (Int, Flex) {
    let x_free = *xf == Flex::Free;
    let y_free = *yf == Flex::Free;
    let bytes = x.bytes.max(y.bytes);
    if x.signed == y.signed {
        let flex = if x_free && y_free {
            Flex::Free
        } else {
            Flex::Fixed
        };
        return (Int::new(bytes, x.signed), flex);
    }
    if x_free || y_free {
        let signed = if x_free { y.signed } else { x.signed };
        return (Int::new(bytes, signed), Flex::Fixed);
    }
    let (signed, unsigned) = if x.signed { (x, y) } else { (y, x) };
    let bytes = if signed.bytes > unsigned.bytes {
        signed.bytes
    } else {
        unsigned.bytes.saturating_mul(2).min(8)
    };
    (Int::new(bytes, true), Flex::Fixed)
}

/// Says whether every value of one integer type is one of the other.
pub(super) fn int_fits(from: Int, to: Int) -> bool {
    match (from.signed, to.signed) {
        (true, false) => false,
        (false, true) => from.bytes < to.bytes,
        _ => from.bytes <= to.bytes,
    }
}

/// Gives the smallest signed integer that holds a number.
pub(super) fn smallest(value: i64) -> Int {
    let bytes = [1u8, 2, 4]
        .into_iter()
        .find(|b| holds(Int::new(*b, true), value));
    Int::new(bytes.unwrap_or(8), true)
}

/// Says whether an integer type has a number among its values; of `uint64` all bit patterns are.
pub(super) fn holds(int: Int, value: i64) -> bool {
    let bits = u32::from(int.bytes) * 8;
    if bits >= 64 {
        return int.signed || value >= 0;
    }
    if int.signed {
        let half = 1i64 << (bits - 1);
        (-half..half).contains(&value)
    } else {
        (0..1i64 << bits).contains(&value)
    }
}
