//! Structures and unions.

use kscope_btf::{Encoding, Type, TypeId};

use super::{
    Accessor, AccessorPlace, BitsKind, Field, Item, Role, Struct, Ty, Types, Union, c_name, refused,
};
use crate::error::Error;
use crate::names::Names;

/// A member, those of anonymous structures and unions included.
struct Member<'a> {
    name: &'a str,
    type_id: TypeId,
    /// From the start of the outermost structure.
    bit_offset: u64,
    width: Option<u32>,
    /// The outermost anonymous union that it is in: start and size in bytes.
    union: Option<(u64, u64)>,
}

impl<'b> Types<'b> {
    /// Gives a structure or a union, and collects it.
    pub(super) fn composite(&mut self, id: TypeId, hint: &str) -> Result<Ty, Error> {
        match self.known.get(&id) {
            Some(Some(known)) => return Ok(known.clone()),
            Some(None) => return Err(refused(hint, "it holds itself")),
            None => {}
        }
        self.known.insert(id, None);
        let (word, composite) = match self.btf.get(id) {
            Some(Type::Struct(composite)) => ("struct", composite),
            Some(Type::Union(composite)) => ("union", composite),
            _ => return Err(refused(hint, "its type is not there")),
        };
        let own = if composite.name.is_empty() {
            hint
        } else {
            composite.name
        };
        let name = self.names.a_type(own);
        let at = self.items.len();
        self.items.push(None);
        let mut members = Vec::new();
        let whole = (word == "union").then(|| (0, u64::from(composite.size)));
        self.flatten(id, 0, whole, own, &mut members)?;
        let size = u64::from(composite.size);
        let c_name = c_name(word, composite.name, hint);
        let (item, ty) = match word {
            "union" => {
                let mut names = Names::without(&["bytes"]);
                let mut accessors = Vec::new();
                for member in &members {
                    let accessor = self.accessor(member, own, (0, size), "bytes", &mut names)?;
                    accessors.push(accessor);
                }
                let ty = Ty {
                    text: name.clone(),
                    ..Ty::bytes(size)
                };
                let item = Union {
                    name,
                    c_name,
                    size,
                    accessors,
                };
                (Item::Union(item), ty)
            }
            _ => {
                let item = self.structure(name, c_name, own, size, &members)?;
                let align = match item.packed {
                    true => 1,
                    false => item.fields.iter().map(|f| f.ty.align).max().unwrap_or(1),
                };
                let ty = Ty {
                    text: item.name.clone(),
                    size,
                    align,
                    float: item.float,
                };
                (Item::Struct(item), ty)
            }
        };
        if let Some(place) = self.items.get_mut(at) {
            *place = Some(item);
        }
        self.known.insert(id, Some(ty.clone()));
        Ok(ty)
    }

    /// Lists the members of a structure, with those of anonymous ones in it.
    fn flatten(
        &mut self,
        id: TypeId,
        base: u64,
        union: Option<(u64, u64)>,
        hint: &str,
        into: &mut Vec<Member<'b>>,
    ) -> Result<(), Error> {
        if self.depth >= super::DEPTH {
            return Err(refused(hint, "its types are nested too deep"));
        }
        let btf = self.btf;
        let Some(composite) = btf.composite(id) else {
            return Ok(());
        };
        self.count(composite.len(), hint)?;
        self.depth += 1;
        for member in composite.members() {
            let bit_offset = base.saturating_add(member.bit_offset.into());
            if !member.name.is_empty() {
                into.push(Member {
                    name: member.name,
                    type_id: member.type_id,
                    bit_offset,
                    width: member.bitfield,
                    union,
                });
                continue;
            }
            // What has no name and no members is padding (`int : 4`).
            let Some(inner) = btf.composite(member.type_id) else {
                continue;
            };
            let union = match btf.get_resolved(member.type_id) {
                Some(Type::Union(_)) if union.is_none() => {
                    Some((bit_offset / 8, u64::from(inner.size)))
                }
                _ => union,
            };
            self.flatten(member.type_id, bit_offset, union, hint, into)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn structure(
        &mut self,
        name: String,
        c_name: String,
        own: &str,
        size: u64,
        members: &[Member<'_>],
    ) -> Result<Struct, Error> {
        let mut fields: Vec<Field> = Vec::new();
        let mut accessors = Vec::new();
        let mut names = Names::default();
        let mut methods = Names::default();
        let mut end = 0;
        let mut rest = members.iter().peekable();
        while let Some(member) = rest.next() {
            let at = member.bit_offset / 8;
            let (start, stop, role) = match (member.union, member.width) {
                (Some((start, size)), _) => (start, start.saturating_add(size), Role::Union),
                (None, Some(width)) => {
                    // All bitfields in a row share their bytes, one after the other.
                    let mut last = member.bit_offset.saturating_add(width.into());
                    let mut ahead = rest.clone();
                    while let Some(next) =
                        ahead.next_if(|next| next.union.is_none() && next.width.is_some())
                    {
                        if next.bit_offset < last {
                            return Err(refused(own, "its bitfields overlap, or go backwards"));
                        }
                        let width = next.width.unwrap_or(0).into();
                        last = next.bit_offset.saturating_add(width);
                    }
                    (at, last.div_ceil(8), Role::Bits)
                }
                (None, None) => {
                    whole_bytes(member, own)?;
                    let ty = self.ty(member.type_id, &format!("{own}_{}", member.name))?;
                    pad(&mut fields, &mut names, end, at, own)?;
                    end = at.saturating_add(ty.size);
                    fields.push(Field {
                        name: names.a_value(member.name),
                        offset: at,
                        ty,
                        role: Role::Member,
                    });
                    continue;
                }
            };
            pad(&mut fields, &mut names, end, start, own)?;
            end = stop;
            let bytes = names.a_value(&match role {
                Role::Union => format!("_union_{start}"),
                _ => format!("_bits_{start}"),
            });
            let within = (start, stop);
            accessors.push(self.accessor(member, own, within, &bytes, &mut methods)?);
            let same = |next: &&Member<'_>| match role {
                Role::Union => next.union == member.union,
                _ => next.union.is_none() && next.width.is_some(),
            };
            while let Some(next) = rest.next_if(same) {
                accessors.push(self.accessor(next, own, within, &bytes, &mut methods)?);
            }
            fields.push(Field {
                name: bytes,
                offset: start,
                ty: Ty::bytes(stop.saturating_sub(start)),
                role,
            });
        }
        pad(&mut fields, &mut names, end, size, own)?;
        let align = fields.iter().map(|field| field.ty.align).max().unwrap_or(1);
        let misplaced = |field: &Field| field.offset % field.ty.align.max(1) != 0;
        let packed = size % align.max(1) != 0 || fields.iter().any(misplaced);
        let float = fields.iter().any(|field| field.ty.float);
        Ok(Struct {
            name,
            c_name,
            size,
            packed,
            float,
            fields,
            accessors,
        })
    }

    /// Makes the methods of a member that is part of bytes.
    fn accessor(
        &mut self,
        member: &Member<'_>,
        own: &str,
        (start, stop): (u64, u64),
        of: &str,
        names: &mut Names,
    ) -> Result<Accessor, Error> {
        let outside = || refused(&format!("{own}.{}", member.name), "it lies outside");
        let first = start.checked_mul(8).ok_or_else(outside)?;
        let offset = member.bit_offset.checked_sub(first).ok_or_else(outside)?;
        let ty = self.ty(member.type_id, &format!("{own}_{}", member.name))?;
        let (place, end) = match member.width {
            Some(width) => {
                let kind = self.bits_kind(member.type_id);
                let kind = kind.filter(|_| (1..=64).contains(&width) && ty.size <= 8);
                let kind = kind.ok_or_else(|| {
                    refused(
                        &format!("{own}.{}", member.name),
                        "it is no bitfield of a number",
                    )
                })?;
                if u64::from(width) > ty.size * 8 {
                    let name = format!("{own}.{}", member.name);
                    return Err(refused(&name, "it is a bitfield wider than its type"));
                }
                let place = AccessorPlace::Bits {
                    offset,
                    width,
                    kind,
                };
                (place, offset.saturating_add(width.into()).div_ceil(8))
            }
            None => {
                whole_bytes(member, own)?;
                let at = offset / 8;
                (AccessorPlace::Bytes(at), at.saturating_add(ty.size))
            }
        };
        if end > stop.saturating_sub(start) {
            return Err(outside());
        }
        let name = names.a_value(member.name);
        let bare = name.trim_start_matches("r#");
        Ok(Accessor {
            setter: names.a_value(&format!("set_{bare}")),
            name,
            of: of.to_owned(),
            ty,
            place,
        })
    }

    fn bits_kind(&self, id: TypeId) -> Option<BitsKind> {
        match self.btf.get_resolved(id)? {
            Type::Int(int) if int.encoding == Encoding::Bool => Some(BitsKind::Truth),
            Type::Int(int) if int.signed => Some(BitsKind::Signed),
            Type::Int(_) => Some(BitsKind::Unsigned),
            Type::Enum(e) => Some(BitsKind::Enum {
                signed: e.signed,
                size: e.size.into(),
            }),
            _ => None,
        }
    }
}

/// Refuses what is no bitfield and begins inside of a byte all the same.
fn whole_bytes(member: &Member<'_>, own: &str) -> Result<(), Error> {
    match member.bit_offset % 8 {
        0 => Ok(()),
        _ => {
            let name = format!("{own}.{}", member.name);
            Err(refused(&name, "it begins between two bytes"))
        }
    }
}

/// Fills the gap before a member.
fn pad(
    fields: &mut Vec<Field>,
    names: &mut Names,
    from: u64,
    to: u64,
    own: &str,
) -> Result<(), Error> {
    let gap = to.checked_sub(from);
    let gap = gap.ok_or_else(|| refused(own, "its members overlap, or lie outside of it"))?;
    if gap > 0 {
        fields.push(Field {
            name: names.a_value(&format!("_pad_{from}")),
            offset: from,
            ty: Ty::bytes(gap),
            role: Role::Padding,
        });
    }
    Ok(())
}
