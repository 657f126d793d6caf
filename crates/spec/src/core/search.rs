//! Whether a type of the target has what the object's path leads to.

use kscope_btf::{Composite, Type, TypeId, essential_name, nearest};

use super::access::{About, Access, LONGEST, Point};
use super::compat::{fields_fit, types_fit};
use super::failure::Mismatch;
use super::matching::types_match;
use super::view::Pair;
use crate::object::CoreKind;

/// Steps for which the comparison of a name with one that is nearly so counts.
const NEAR: usize = 16;

/// Follows the object's path through a type of the target.
pub(super) fn find<'a>(
    pair: &Pair<'a>,
    kind: CoreKind,
    local: &Access<'a>,
    id: TypeId,
) -> Result<Access<'a>, Mismatch> {
    let mut found = Access::new(id);
    match About::of(kind) {
        About::Type => {
            let fits = match kind {
                CoreKind::TypeMatches => types_match(pair, local.root, id)?,
                _ => types_fit(pair, local.root, id)?,
            };
            if !fits {
                return Err(match kind {
                    CoreKind::TypeMatches => Mismatch::Differs,
                    _ => Mismatch::Kind,
                });
            }
        }
        About::Constant => constant(pair, local, id, &mut found)?,
        About::Field => field(pair, local, id, &mut found)?,
    }
    Ok(found)
}

fn constant<'a>(
    pair: &Pair<'a>,
    local: &Access<'a>,
    id: TypeId,
    found: &mut Access<'a>,
) -> Result<(), Mismatch> {
    let id = pair.target.resolve(id)?;
    let Type::Enum(e) = pair.target.get(id)? else {
        return Err(Mismatch::NoEnum(pair.target.text(id)));
    };
    let wanted = local.points.first().and_then(|point| point.name);
    let wanted = essential_name(wanted.unwrap_or_default());
    let mut same = None;
    for (index, constant) in (0..).zip(e.enumerators()) {
        pair.name(constant.name)?;
        if essential_name(constant.name) == wanted {
            same = Some((index, constant));
            break;
        }
    }
    let Some((index, constant)) = same else {
        return Err(Mismatch::NoConstant(wanted.to_owned()));
    };
    found.raw.push(index);
    found.points.push(Point {
        type_id: id,
        index,
        name: Some(constant.name),
    });
    Ok(())
}

fn field<'a>(
    pair: &Pair<'a>,
    local: &Access<'a>,
    id: TypeId,
    found: &mut Access<'a>,
) -> Result<(), Mismatch> {
    let mut id = id;
    for (place, point) in local.points.iter().enumerate() {
        id = pair.target.resolve(id)?;
        if point.name.is_some() {
            id = member(pair, point, id, found)?;
            continue;
        }
        // What the path begins at is an element already.
        if place > 0 {
            let Type::Array(array) = pair.target.get(id)? else {
                return Err(Mismatch::NoArray(pair.target.text(id)));
            };
            let (index, len) = (point.index, array.len);
            if index >= len && !found.ends_flexible(pair.target, &array) {
                return Err(Mismatch::Short { index, len });
            }
            id = pair.target.resolve(array.element)?;
        }
        if found.raw.len() == LONGEST {
            return Err(Mismatch::TooDeep);
        }
        found.raw.push(point.index);
        found.element(pair.target, id, point.index)?;
    }
    Ok(())
}

/// A member of the object that is looked for.
struct Wanted<'a> {
    name: &'a str,
    type_id: TypeId,
}

/// Finds a member by name, also inside of anonymous structures and unions; gives its type.
fn member<'a>(
    pair: &Pair<'a>,
    point: &Point<'a>,
    id: TypeId,
    found: &mut Access<'a>,
) -> Result<TypeId, Mismatch> {
    let local = pair.local.btf.composite(point.type_id);
    let local = local.ok_or(Mismatch::Malformed(point.type_id))?;
    let wanted = Wanted {
        name: point.name.unwrap_or_default(),
        type_id: local.member(point.index as usize).type_id,
    };
    let mut unfit = None;
    if let Some(type_id) = inside(pair, &wanted, id, found, &mut unfit)? {
        return Ok(type_id);
    }
    let target = pair.target;
    Err(match (unfit, target.btf.composite(id)) {
        (Some(unfit), _) => Mismatch::MemberType {
            name: wanted.name.to_owned(),
            local: pair.local.btf.type_name(wanted.type_id),
            target: target.btf.type_name(unfit),
        },
        (None, Some(_)) => {
            let fields = target.btf.fields(id);
            // Short names are near to everything.
            let is_looked_for = wanted.name.len() > 2 && pair.budget.take(fields.len() * NEAR);
            let fields = fields.iter().filter(|_| is_looked_for);
            let near = nearest(wanted.name, fields.map(|field| field.0), 1);
            let root = target.btf.resolve(found.root);
            Mismatch::NoMember {
                name: wanted.name.to_owned(),
                inside: (root != Some(id)).then(|| target.text(id)),
                near: near.first().map(|&near| near.to_owned()),
            }
        }
        (None, None) => Mismatch::NoMembers(target.text(id)),
    })
}

/// Looks at each member in turn. `unfit` is the type of one whose name is right.
fn inside<'a>(
    pair: &Pair<'a>,
    wanted: &Wanted<'a>,
    id: TypeId,
    found: &mut Access<'a>,
    unfit: &mut Option<TypeId>,
) -> Result<Option<TypeId>, Mismatch> {
    let id = pair.target.resolve(id)?;
    let (Type::Struct(composite) | Type::Union(composite)) = pair.target.get(id)? else {
        return Ok(None);
    };
    let composite: Composite<'a> = composite;
    for index in 0..composite.len() {
        pair.step()?;
        if found.raw.len() == LONGEST {
            return Err(Mismatch::TooDeep);
        }
        let name = composite.member_name(index);
        pair.name(name)?;
        if name != wanted.name && !name.is_empty() {
            continue;
        }
        let member = composite.member(index);
        // The member is taken for the right one until it turns out not to be.
        let before = (found.bit_offset, found.raw.len(), found.members.len());
        found.shift(member.bit_offset)?;
        found.raw.push(index as u32);
        found.members.push((id, index as u32));
        if name.is_empty() {
            let hit = inside(pair, wanted, member.type_id, found, unfit)?;
            if hit.is_some() {
                return Ok(hit);
            }
        } else if fields_fit(pair, wanted.type_id, member.type_id)? {
            found.points.push(Point {
                type_id: id,
                index: index as u32,
                name: Some(name),
            });
            return Ok(Some(member.type_id));
        } else {
            *unfit = Some(member.type_id);
        }
        found.bit_offset = before.0;
        found.raw.truncate(before.1);
        found.members.truncate(before.2);
        if !name.is_empty() {
            return Ok(None);
        }
    }
    Ok(None)
}
