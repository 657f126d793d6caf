//! `struct`, `union` and `enum` definitions of the script.

use std::sync::Arc;

use super::ctype::{bit_place, keyword};
use super::{Checker, infer};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{EnumType, ExprKind, FieldType, Int, StructSource, StructType, Type};
use crate::syntax::tree::{AggregateKeyword, Definition, DefinitionBody, MemberDecl};

impl Checker<'_> {
    /// Takes the script's type definitions in, in order.
    pub(super) fn define(&mut self) {
        let script = self.script;
        for definition in &script.definitions {
            match &definition.body {
                DefinitionBody::Members(members) => self.define_struct(definition, members),
                DefinitionBody::Enumerators(_) => self.define_enum(definition),
            }
        }
    }

    fn define_struct(&mut self, definition: &Definition, members: &[MemberDecl]) {
        let name = format!("{} {}", keyword(definition.keyword), definition.name.text);
        if self.definitions.structs.contains_key(&name) {
            self.report(Diagnostic::error(
                "redefined",
                definition.name.span,
                format!("{name} is defined twice"),
            ));
            return;
        }
        let union = definition.keyword == AggregateKeyword::Union;
        // Pointers to itself are pointers to something of that name.
        let opaque = super::ctype::opaque(&name);
        if let Type::Struct(s) = opaque {
            self.definitions.structs.insert(name.clone(), s);
        }
        let mut bits: u64 = 0;
        let mut size_bits: u64 = 0;
        let mut align = 1u32;
        let mut fields: Vec<FieldType> = Vec::with_capacity(members.len());
        for member in members {
            let Some(ty) = self.type_name(&member.ty) else {
                continue;
            };
            let ty = c_string(member, ty);
            if contains(&ty, &name) {
                let message = format!("{name} can not be a member of itself, a pointer to it can");
                self.error("incomplete-type", member.ty.span, message);
                continue;
            }
            let unit = u64::from(ty.size()) * 8;
            let own_align = if definition.packed {
                1
            } else {
                self.c_align(&ty)
            };
            align = align.max(own_align);
            if union {
                bits = 0;
            }
            let (offset, place, end) = match (member.bits, ty.scalar_int()) {
                (Some(0), _) => {
                    bits = bits.next_multiple_of(unit.max(8));
                    continue;
                }
                (Some(width), Some(int)) if u64::from(width) <= unit => {
                    // A bit-field does not cross a boundary of its type.
                    let crosses = bits / unit != (bits + u64::from(width) - 1) / unit;
                    if crosses && !definition.packed {
                        bits = bits.next_multiple_of(unit);
                    }
                    let Ok(start) = u32::try_from(bits) else {
                        break;
                    };
                    let (offset, place) = bit_place(start, width, int);
                    (offset, Some(place), bits + u64::from(width))
                }
                (Some(_), _) => {
                    self.error(
                        "invalid-bitfield",
                        member.name.span,
                        "the bit-field is wider than its type",
                    );
                    continue;
                }
                (None, _) => {
                    let start = bits.next_multiple_of(u64::from(own_align) * 8);
                    let Ok(offset) = u32::try_from(start / 8) else {
                        break;
                    };
                    (offset, None, start + unit)
                }
            };
            bits = end;
            size_bits = size_bits.max(end);
            if !member.name.text.is_empty() {
                self.add_field(
                    &mut fields,
                    member.name.span,
                    FieldType {
                        name: member.name.text.clone(),
                        ty,
                        offset,
                        bits: place,
                    },
                );
            } else if let Type::Struct(inner) = ty {
                // The members of an anonymous structure are those of the one around it.
                let StructSource::Fields(own) = &inner.source else {
                    continue;
                };
                for field in own.iter() {
                    let mut field = field.clone();
                    field.offset = field.offset.saturating_add(offset);
                    self.add_field(&mut fields, member.name.span, field);
                }
            }
        }
        // `aligned` only raises it.
        let wanted = definition.align.and_then(|n| u32::try_from(n).ok());
        align = align.max(wanted.filter(|n| n.is_power_of_two()).unwrap_or(1));
        self.definitions.aligns.insert(name.clone(), align);
        let size = size_bits.div_ceil(8).next_multiple_of(u64::from(align));
        let types: Vec<&Type> = fields.iter().map(|f| &f.ty).collect();
        let problem = match u32::try_from(size) {
            Err(_) => Some(format!("{name} is larger than 4 GiB")),
            Ok(_) if !Type::is_bounded(&types) => Some(super::expr::too_many_parts()),
            Ok(_) => None,
        };
        if let Some(problem) = problem {
            self.error("too-large", definition.name.span, problem);
            return;
        }
        let ty = StructType {
            name: name.as_str().into(),
            size: size as u32,
            source: StructSource::Fields(fields.into()),
        };
        self.definitions.structs.insert(name, Arc::new(ty));
    }

    /// Adds a member, whose name no other may have.
    fn add_field(&mut self, fields: &mut Vec<FieldType>, span: Span, field: FieldType) {
        if fields.iter().any(|known| known.name == field.name) {
            let message = format!("the member '{}' is there twice", field.name);
            self.error("duplicate-field", span, message);
            return;
        }
        fields.push(field);
    }

    /// Gives the alignment of a type as C lays it out; strings are arrays of characters.
    fn c_align(&self, ty: &Type) -> u32 {
        match ty {
            Type::Struct(s) => match self.definitions.aligns.get(&*s.name) {
                Some(align) => *align,
                None => ty.align().max(1),
            },
            Type::Array { element, .. } => self.c_align(element),
            _ => ty.align().max(1),
        }
    }

    fn define_enum(&mut self, definition: &Definition) {
        let DefinitionBody::Enumerators(list) = &definition.body else {
            return;
        };
        let mut next = 0i64;
        let mut variants = Vec::with_capacity(list.len());
        for (name, value) in list {
            if let Some(e) = value {
                let checked = self.expr(e);
                match checked.kind {
                    ExprKind::Int(n) if checked.ty != Type::Void => next = n,
                    _ => {
                        if checked.ty != Type::Void {
                            self.error("invalid-enumerator", e.span, "expected a number");
                        }
                    }
                }
            }
            variants.push((next, name.text.clone()));
            self.constant_so_far(&definition.name.text, &name.text, next);
            next = next.wrapping_add(1);
        }
        let signed = variants.iter().any(|v| v.0 < 0);
        let wide = variants
            .iter()
            .any(|v| !infer::holds(Int::new(4, signed), v.0));
        let ty = Arc::new(EnumType {
            name: definition.name.text.as_str().into(),
            int: Int::new(if wide { 8 } else { 4 }, signed),
            variants: variants.into(),
        });
        for (value, name) in ty.variants.iter() {
            let constant = (*value, Arc::clone(&ty));
            self.definitions.constants.insert(name.clone(), constant);
        }
        self.definitions
            .enums
            .insert(definition.name.text.clone(), ty);
    }

    /// Lets later enumerators of the same definition use this one.
    fn constant_so_far(&mut self, of: &str, name: &str, value: i64) {
        let ty = EnumType {
            name: of.into(),
            int: Int::I64,
            variants: Arc::new([]),
        };
        let constant = (value, Arc::new(ty));
        self.definitions.constants.insert(name.to_owned(), constant);
    }
}

/// Says whether values of a type hold whole ones of the structure of that name.
fn contains(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Struct(s) => &*s.name == name,
        Type::Array { element, .. } => contains(element, name),
        _ => false,
    }
}

/// Takes an array of `char` for a string.
fn c_string(member: &MemberDecl, ty: Type) -> Type {
    use crate::syntax::tree::TypeBase;
    let char_base = matches!(&member.ty.base, TypeBase::Named(n) if n == "char");
    match &ty {
        Type::Array { element, len } if char_base && element.size() == 1 => {
            Type::Str { capacity: *len }
        }
        _ => ty,
    }
}
