//! Types of maps' keys and values and of events, so that other programs can print them.

use kscope_btf::write::{Builder, NewMember};
use kscope_btf::{Encoding, TypeId};
use kscope_rows::{DataType, MapValueType};
use kscope_spec::{MapKind, Spec};

use crate::plan::{MapPlan, Plan, Site, SiteKind};

/// Fields inside one another that are described.
const LEVELS: u32 = 16;

/// Describes the maps of the script whose keys and values the kernel takes types for, and the
/// events by their sites: `struct event_0`, `struct event_1`, …
pub(super) fn describe(spec: &mut Spec, plan: &Plan, builder: &mut Builder) {
    let mut types = Types::new(builder);
    for map in &plan.maps {
        let Some(spec) = spec.maps.get_mut(map.map.0 as usize) else {
            continue;
        };
        let typed = matches!(
            spec.kind,
            MapKind::Hash
                | MapKind::PerCpuHash
                | MapKind::LruHash
                | MapKind::LruPerCpuHash
                | MapKind::PerCpuArray
        );
        if !typed {
            continue;
        }
        let (key, value) = (spec.key_size, spec.value_size);
        spec.key_type = match &map.key {
            Some(ty) => types.padded(&format!("{}_key", map.name), ty, key).0,
            None => types.int(4, false).0,
        };
        spec.value_type = types.value(map, value).0;
    }
    let sites = plan.sites.iter().enumerate();
    let send = |(_, site): &(usize, &Site)| !matches!(site.kind, SiteKind::MapFull { .. });
    for (number, site) in sites.filter(send) {
        types.event(number, site);
    }
}

struct Types<'a> {
    builder: &'a mut Builder,
    index: TypeId,
    ints: Vec<((u8, bool), TypeId)>,
}

impl<'a> Types<'a> {
    fn new(builder: &'a mut Builder) -> Types<'a> {
        let index = builder.add_int("__ARRAY_SIZE_TYPE__", 4, Encoding::Unsigned);
        Types {
            builder,
            index,
            ints: Vec::new(),
        }
    }

    fn int(&mut self, bytes: u8, signed: bool) -> TypeId {
        if let Some((_, id)) = self
            .ints
            .iter()
            .find(|(shape, _)| *shape == (bytes, signed))
        {
            return *id;
        }
        let name = match (bytes, signed) {
            (1, false) => "u8",
            (2, false) => "u16",
            (4, false) => "u32",
            (8, false) => "u64",
            (1, true) => "s8",
            (2, true) => "s16",
            (4, true) => "s32",
            _ => "s64",
        };
        let encoding = match signed {
            true => Encoding::Signed,
            false => Encoding::Unsigned,
        };
        let id = self.builder.add_int(name, u32::from(bytes), encoding);
        self.ints.push(((bytes, signed), id));
        id
    }

    fn bytes(&mut self, len: u32) -> TypeId {
        let byte = self.int(1, false);
        self.builder.add_array(byte, self.index, len)
    }

    /// Describes an event: the site's number, then its fields.
    fn event(&mut self, number: usize, site: &Site) {
        let header = ("site".to_owned(), self.int(8, false), 0);
        let mut members = vec![header];
        for field in &site.fields {
            let name = identifier(&field.name);
            let id = self.data(&field.ty, LEVELS);
            members.push((name, id, field.offset.saturating_mul(8)));
        }
        self.structure(&format!("event_{number}"), site.size, &members);
    }

    fn structure(&mut self, name: &str, size: u32, members: &[(String, TypeId, u32)]) -> TypeId {
        let members: Vec<NewMember<'_>> = members
            .iter()
            .map(|(name, id, offset)| NewMember::new(name, *id, *offset))
            .collect();
        self.builder.add_struct(name, size, &members)
    }

    fn value(&mut self, map: &MapPlan, size: u32) -> TypeId {
        let word = |signed| DataType::Int { bytes: 8, signed };
        let two = |first: &str, second: &str, signed| {
            let parts = vec![
                (first.to_owned(), word(signed)),
                (second.to_owned(), word(false)),
            ];
            let (fields, size) = DataType::lay_out(parts);
            DataType::Record {
                name: "".into(),
                fields,
                size,
            }
        };
        let ty = match &map.value {
            MapValueType::Plain(ty) => ty.clone(),
            MapValueType::Count => word(false),
            MapValueType::Sum { signed } => word(*signed),
            MapValueType::Min { signed } | MapValueType::Max { signed } => {
                two("value", "set", *signed)
            }
            MapValueType::Avg { signed } | MapValueType::Stats { signed } => {
                two("total", "count", *signed)
            }
            MapValueType::Hist { .. } | MapValueType::Lhist { .. } => DataType::Array {
                element: std::sync::Arc::new(word(false)),
                len: map.value.buckets(),
            },
            MapValueType::Series {
                buckets, signed, ..
            } => {
                let names = ["value", "beside", "number"];
                let parts = names.map(|name| (name.to_owned(), word(*signed && name == "value")));
                let (fields, size) = DataType::lay_out(parts.into());
                DataType::Array {
                    element: std::sync::Arc::new(DataType::Record {
                        name: "".into(),
                        fields,
                        size,
                    }),
                    len: *buckets,
                }
            }
        };
        self.padded(&format!("{}_value", map.name), &ty, size)
    }

    /// Gives a type of exactly `size` bytes that begins with the one that is described.
    fn padded(&mut self, name: &str, ty: &DataType, size: u32) -> TypeId {
        let inner = self.data(ty, LEVELS);
        if ty.size() == size {
            return inner;
        }
        let member = NewMember::new("value", inner, 0);
        self.builder.add_struct(&identifier(name), size, &[member])
    }

    fn data(&mut self, ty: &DataType, levels: u32) -> TypeId {
        let Some(levels) = levels.checked_sub(1) else {
            return self.bytes(ty.size());
        };
        match ty {
            DataType::Int { bytes, signed } | DataType::Enum { bytes, signed, .. } => {
                self.int(*bytes, *signed)
            }
            DataType::Bool => self.int(1, false),
            DataType::Pointer
            | DataType::KernelSymbol
            | DataType::CgroupPath { .. }
            | DataType::Timestamp { .. } => self.int(8, false),
            DataType::KernelStack { .. } => self.int(8, true),
            DataType::UserName => self.int(4, false),
            DataType::Named { .. } => self.int(4, true),
            DataType::Str { capacity } => {
                let character = self.builder.add_int("char", 1, Encoding::Char);
                self.builder.add_array(character, self.index, *capacity)
            }
            DataType::Array { element, len } => {
                let element = self.data(element, levels);
                self.builder.add_array(element, self.index, *len)
            }
            DataType::Tuple(fields) | DataType::Record { fields, .. }
                if fields.iter().all(|field| field.bits.is_none()) =>
            {
                let mut members = Vec::with_capacity(fields.len());
                for field in fields.iter() {
                    let id = self.data(&field.ty, levels);
                    let name = identifier(&field.name);
                    members.push((name, id, field.offset.saturating_mul(8)));
                }
                self.structure("", ty.size(), &members)
            }
            _ => self.bytes(ty.size()),
        }
    }
}

/// Makes a C name.
fn identifier(name: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = name.chars().map(clean).collect();
    match name.as_bytes().first() {
        Some(b'0'..=b'9') | None => format!("_{name}"),
        _ => name,
    }
}
