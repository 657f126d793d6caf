//! Types written as JSON, one object a type.

use core::fmt::Write as _;

use crate::blob::{Btf, TypeId};
use crate::types::Type;

/// What tags have whose text is an attribute itself.
const ATTRIBUTE: &str = ",\"attribute\":true";

impl Btf {
    /// Writes a type as a JSON object on one line: its number, kind (the format's word) and name,
    /// and what its kind has beside. Other types are referred to by number; 0 is `void`. Of members,
    /// constants and parameters that would be beyond [`Btf::text_limit`] only the number is written,
    /// as `left_out`.
    #[must_use]
    pub fn write_json(&self, id: TypeId) -> String {
        let mut out = String::new();
        let limit = self.text_limit();
        let Some(ty) = self.get(id) else {
            return out;
        };
        let _ = write!(
            out,
            "{{\"id\":{},\"kind\":\"{}\"",
            id.0,
            word(&ty, self, id)
        );
        let name = self.name(id).unwrap_or_default();
        if !name.is_empty() {
            out.push_str(",\"name\":");
            quoted(&mut out, name);
        }
        match &ty {
            Type::Int(int) => {
                let _ = write!(
                    out,
                    ",\"size\":{},\"signed\":{},\"encoding\":\"{:?}\",\"bits\":{}",
                    int.size, int.signed, int.encoding, int.bits
                );
            }
            Type::Float { size, .. } => {
                let _ = write!(out, ",\"size\":{size}");
            }
            Type::Array(array) => {
                let (element, index) = (array.element.0, array.index.0);
                let _ = write!(
                    out,
                    ",\"type_id\":{element},\"index_type_id\":{index},\"len\":{}",
                    array.len
                );
            }
            Type::Struct(c) | Type::Union(c) => {
                let _ = write!(out, ",\"size\":{}", c.size);
                list(&mut out, limit, "members", c.members(), |out, m| {
                    out.push_str("{\"name\":");
                    quoted(out, m.name);
                    let _ = write!(
                        out,
                        ",\"type_id\":{},\"bit_offset\":{}",
                        m.type_id.0, m.bit_offset
                    );
                    if let Some(width) = m.bitfield {
                        let _ = write!(out, ",\"bits\":{width}");
                    }
                    out.push('}');
                });
            }
            Type::Enum(e) => {
                let _ = write!(out, ",\"size\":{},\"signed\":{}", e.size, e.signed);
                list(&mut out, limit, "values", e.enumerators(), |out, c| {
                    out.push_str("{\"name\":");
                    quoted(out, c.name);
                    let _ = match e.signed {
                        true => write!(out, ",\"value\":{}}}", c.value),
                        false => write!(out, ",\"value\":{}}}", c.value as u64),
                    };
                });
            }
            Type::FuncProto(proto) => {
                let _ = write!(out, ",\"result_type_id\":{}", proto.result.0);
                list(&mut out, limit, "params", proto.params(), |out, p| {
                    out.push_str("{\"name\":");
                    quoted(out, p.name);
                    let _ = write!(out, ",\"type_id\":{}}}", p.type_id.0);
                });
            }
            Type::DataSec(section) => {
                let _ = write!(out, ",\"size\":{}", section.size);
                list(&mut out, limit, "vars", section.vars(), |out, var| {
                    let _ = write!(
                        out,
                        "{{\"type_id\":{},\"offset\":{},\"size\":{}}}",
                        var.type_id.0, var.offset, var.size
                    );
                });
            }
            Type::Fwd { is_union, .. } => {
                let _ = write!(out, ",\"is_union\":{is_union}");
            }
            Type::Func { proto, linkage, .. } => {
                let _ = write!(
                    out,
                    ",\"type_id\":{},\"linkage\":{}",
                    proto.0,
                    linkage.number()
                );
            }
            Type::Var { to, linkage, .. } => {
                let _ = write!(
                    out,
                    ",\"type_id\":{},\"linkage\":{}",
                    to.0,
                    linkage.number()
                );
            }
            Type::DeclTag {
                to,
                component,
                attribute,
                ..
            } => {
                let _ = write!(out, ",\"type_id\":{}", to.0);
                if let Some(component) = component {
                    let _ = write!(out, ",\"component\":{component}");
                }
                if *attribute {
                    out.push_str(ATTRIBUTE);
                }
            }
            Type::TypeTag { to, attribute, .. } => {
                let _ = write!(out, ",\"type_id\":{}", to.0);
                if *attribute {
                    out.push_str(ATTRIBUTE);
                }
            }
            Type::Ptr(to)
            | Type::Const(to)
            | Type::Volatile(to)
            | Type::Restrict(to)
            | Type::Typedef { to, .. } => {
                let _ = write!(out, ",\"type_id\":{}", to.0);
            }
            Type::Void | Type::Other { .. } => {}
        }
        out.push('}');
        out
    }
}

fn word(ty: &Type<'_>, btf: &Btf, id: TypeId) -> &'static str {
    match ty {
        Type::Void => "VOID",
        Type::Int(_) => "INT",
        Type::Ptr(_) => "PTR",
        Type::Array(_) => "ARRAY",
        Type::Struct(_) => "STRUCT",
        Type::Union(_) => "UNION",
        Type::Enum(_) if btf.kind(id) == Some(crate::Kind::Enum64) => "ENUM64",
        Type::Enum(_) => "ENUM",
        Type::Fwd { .. } => "FWD",
        Type::Typedef { .. } => "TYPEDEF",
        Type::Volatile(_) => "VOLATILE",
        Type::Const(_) => "CONST",
        Type::Restrict(_) => "RESTRICT",
        Type::Func { .. } => "FUNC",
        Type::FuncProto(_) => "FUNC_PROTO",
        Type::Var { .. } => "VAR",
        Type::DataSec(_) => "DATASEC",
        Type::Float { .. } => "FLOAT",
        Type::DeclTag { .. } => "DECL_TAG",
        Type::TypeTag { .. } => "TYPE_TAG",
        Type::Other { .. } => "OTHER",
    }
}

fn list<T>(
    out: &mut String,
    limit: usize,
    name: &str,
    items: impl ExactSizeIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    let _ = write!(out, ",\"{name}\":[");
    let count = items.len();
    for (index, item) in items.enumerate() {
        if out.len() > limit {
            let _ = write!(out, "],\"left_out\":{}", count - index);
            return;
        }
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
