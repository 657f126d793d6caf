//! Types as Rust text.

use crate::text::Text;
use crate::types::{Accessor, AccessorPlace, BitsKind, Field, Item, Newtype, Role, Struct, Union};

/// Writes a type with what belongs to it.
pub(crate) fn item(text: &mut Text, item: &Item) {
    match item {
        Item::Struct(item) => structure(text, item),
        Item::Union(item) => union(text, item),
        Item::Enum(item) => enumeration(text, item),
    }
}

fn structure(text: &mut Text, item: &Struct) {
    let packed = if item.packed {
        ", closer than Rust would lay it out"
    } else {
        ""
    };
    text.doc(&format!("{}: {} bytes{packed}.", item.c_name, item.size));
    text.line(match item.float {
        true => "#[derive(Clone, Copy, PartialEq)]",
        false => "#[derive(Clone, Copy, PartialEq, Eq, Hash)]",
    });
    text.line(if item.packed {
        "#[repr(C, packed)]"
    } else {
        "#[repr(C)]"
    });
    let name = &item.name;
    match item.fields.is_empty() {
        true => text.line(format!("pub struct {name} {{}}")),
        false => {
            text.open(format!("pub struct {name} {{"));
            for field in &item.fields {
                match field.role {
                    Role::Member => text.doc(&format!("At byte {}.", field.offset)),
                    Role::Padding => text.line("#[doc(hidden)]"),
                    Role::Bits => text.doc("Bitfields: see the methods."),
                    Role::Union => text.doc("An anonymous union: see the methods."),
                }
                text.line(format!("pub {}: {},", field.name, field.ty.text));
            }
            text.close("}");
        }
    }
    text.line("");
    text.open("const _: () = {");
    text.line(format!("assert!(size_of::<{name}>() == {});", item.size));
    for field in item
        .fields
        .iter()
        .filter(|field| field.role == Role::Member)
    {
        let (of, at) = (&field.name, field.offset);
        text.line(format!("assert!(offset_of!({name}, {of}) == {at});"));
    }
    text.close("};");
    let fields: Vec<&Field> = item.fields.iter().collect();
    plain(text, name, item.size, item.packed, &fields);
    accessors(text, name, &item.accessors);
    let shown = item
        .fields
        .iter()
        .filter(|field| field.role == Role::Member);
    let shown: Vec<String> = shown
        .map(|field| match item.packed {
            true => format!("{{ self.{} }}", field.name),
            false => format!("self.{}", field.name),
        })
        .collect();
    debug(text, name, &shown, &item.accessors);
    zeroed(text, name);
}

/// Writes how the type is decoded and encoded.
fn plain(text: &mut Text, name: &str, size: u64, packed: bool, fields: &[&Field]) {
    text.line("");
    text.open(format!("impl Plain for {name} {{"));
    text.line(format!("const SIZE: usize = {size};"));
    text.line("");
    let bytes = if fields.is_empty() { "_" } else { "bytes" };
    text.open(format!("fn decode({bytes}: &[u8]) -> Self {{"));
    match fields.is_empty() {
        true => text.line("Self {}"),
        false => {
            text.open("Self {");
            for field in fields {
                let (name, at) = (&field.name, field.offset);
                text.line(format!("{name}: plain::field(bytes, {at}),"));
            }
            text.close("}");
        }
    }
    text.close("}");
    text.line("");
    match fields.is_empty() {
        true => text.line(format!("fn encode(&self, {bytes}: &mut [u8]) {{}}")),
        false => {
            text.open(format!("fn encode(&self, {bytes}: &mut [u8]) {{"));
            for field in fields {
                let value = match packed {
                    true => format!("&{{ self.{} }}", field.name),
                    false => format!("&self.{}", field.name),
                };
                let at = field.offset.to_string();
                text.call("plain::put", &["bytes".to_owned(), at, value], ";");
            }
            text.close("}");
        }
    }
    text.close("}");
}

/// Writes the methods of what lies in bytes.
fn accessors(text: &mut Text, name: &str, all: &[Accessor]) {
    if all.is_empty() {
        return;
    }
    text.line("");
    text.open(format!("impl {name} {{"));
    for (index, accessor) in all.iter().enumerate() {
        if index > 0 {
            text.line("");
        }
        let Accessor {
            name,
            setter,
            of,
            ty,
            place,
        } = accessor;
        let what = name.trim_start_matches("r#");
        let ty = &ty.text;
        match place {
            AccessorPlace::Bytes(at) => {
                text.doc(&format!("Reads `{what}`."));
                text.open(format!("pub fn {name}(&self) -> {ty} {{"));
                text.line(format!("plain::field(&self.{of}, {at})"));
                text.close("}");
                text.line("");
                text.doc(&format!("Writes `{what}`."));
                let value = format!("value: {ty}");
                text.call(
                    &format!("pub fn {setter}"),
                    &["&mut self".to_owned(), value],
                    " {",
                );
                text.line(format!("plain::put(&mut self.{of}, {at}, &value);"));
                text.close("}");
            }
            AccessorPlace::Bits {
                offset,
                width,
                kind,
            } => {
                let bits = format!("plain::bits(&self.{of}, {offset}, {width})");
                let (read, write) = bit_conversions(&bits, ty, *width, *kind);
                text.doc(&format!("Reads `{what}`, {}.", bits_text(*width)));
                text.open(format!("pub fn {name}(&self) -> {ty} {{"));
                text.line(read);
                text.close("}");
                text.line("");
                text.doc(&format!("Writes `{what}`, {}.", bits_text(*width)));
                let value = format!("value: {ty}");
                text.call(
                    &format!("pub fn {setter}"),
                    &["&mut self".to_owned(), value],
                    " {",
                );
                let to = format!("&mut self.{of}");
                let arguments = [to, offset.to_string(), width.to_string(), write];
                text.call("plain::set_bits", &arguments, ";");
                text.close("}");
            }
        }
    }
    text.close("}");
}

fn bits_text(width: u32) -> String {
    match width {
        1 => "1 bit".to_owned(),
        _ => format!("{width} bits"),
    }
}

/// Gives how bits become a value, and a value bits.
fn bit_conversions(bits: &str, ty: &str, width: u32, kind: BitsKind) -> (String, String) {
    let signed = |ty: &str| match ty {
        "i64" => format!("plain::sign({bits}, {width})"),
        _ => format!("plain::sign({bits}, {width}) as {ty}"),
    };
    let unsigned = |ty: &str| match ty {
        "u64" => bits.to_owned(),
        _ => format!("{bits} as {ty}"),
    };
    let widened = |value: &str, wide: bool| match wide {
        true => value.to_owned(),
        false => format!("u64::from({value})"),
    };
    match kind {
        BitsKind::Truth => (format!("{bits} != 0"), "u64::from(value)".to_owned()),
        BitsKind::Signed => (signed(ty), "value as u64".to_owned()),
        BitsKind::Unsigned => (unsigned(ty), widened("value", ty == "u64")),
        BitsKind::Enum { signed: true, size } => {
            let number = format!("i{}", size * 8);
            (
                format!("{ty}({})", signed(&number)),
                "value.0 as u64".to_owned(),
            )
        }
        BitsKind::Enum {
            signed: false,
            size,
        } => {
            let number = format!("u{}", size * 8);
            (
                format!("{ty}({})", unsigned(&number)),
                widened("value.0", size == 8),
            )
        }
    }
}

/// Writes how the type is shown: its members, not its padding.
fn debug(text: &mut Text, name: &str, members: &[String], accessors: &[Accessor]) {
    text.line("");
    text.open(format!("impl core::fmt::Debug for {name} {{"));
    text.open("fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {");
    if members.is_empty() && accessors.is_empty() {
        text.line(format!("f.write_str(\"{name}\")"));
    } else {
        text.line(format!("let mut out = f.debug_struct(\"{name}\");"));
        for member in members {
            let bare = member
                .trim_matches(['{', ' ', '}'])
                .trim_start_matches("self.");
            let bare = bare.trim_start_matches("r#");
            let arguments = [format!("\"{bare}\""), format!("&{member}")];
            text.call("out.field", &arguments, ";");
        }
        for accessor in accessors {
            let bare = accessor.name.trim_start_matches("r#");
            let arguments = [format!("\"{bare}\""), format!("&self.{}()", accessor.name)];
            text.call("out.field", &arguments, ";");
        }
        text.line("out.finish()");
    }
    text.close("}");
    text.close("}");
}

/// Writes the default: all zero.
fn zeroed(text: &mut Text, name: &str) {
    text.line("");
    text.open(format!("impl Default for {name} {{"));
    text.open("fn default() -> Self {");
    text.line("Plain::zeroed()");
    text.close("}");
    text.close("}");
}

fn union(text: &mut Text, item: &Union) {
    text.doc(&format!(
        "{}: {} bytes, read and written by methods.",
        item.c_name, item.size
    ));
    text.line("#[derive(Clone, Copy, PartialEq, Eq, Hash)]");
    text.line("#[repr(C)]");
    let name = &item.name;
    text.open(format!("pub struct {name} {{"));
    text.doc("Its bytes.");
    text.line(format!("pub bytes: [u8; {}],", item.size));
    text.close("}");
    text.line("");
    text.line(format!(
        "const _: () = assert!(size_of::<{name}>() == {});",
        item.size
    ));
    let bytes = Field {
        name: "bytes".to_owned(),
        offset: 0,
        ty: crate::types::Ty::bytes(item.size),
        role: Role::Union,
    };
    plain(text, name, item.size, false, &[&bytes]);
    accessors(text, name, &item.accessors);
    debug(text, name, &[], &item.accessors);
    zeroed(text, name);
}

fn enumeration(text: &mut Text, item: &Newtype) {
    let Newtype {
        name,
        c_name,
        number,
        constants,
    } = item;
    let number = &number.text;
    text.doc(&format!("{c_name}: any number may be in it."));
    text.line("#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    text.line("#[repr(transparent)]");
    text.line(format!("pub struct {name}(pub {number});"));
    text.line("");
    text.open(format!("impl {name} {{"));
    for (constant, _, value) in constants {
        text.doc(&format!("{value}."));
        text.assign(
            &format!("pub const {constant}: {name} ="),
            &format!("{name}({value})"),
            ";",
        );
    }
    if !constants.is_empty() {
        text.line("");
    }
    text.doc("Gives the name in C of the first constant with this value.");
    text.open("pub fn name(self) -> Option<&'static str> {");
    let mut seen = std::collections::HashSet::new();
    let named: Vec<_> = constants
        .iter()
        .filter(|(.., value)| seen.insert(*value))
        .collect();
    match named.is_empty() {
        true => text.line("None"),
        false => {
            text.open("match self {");
            for (constant, c_name, _) in named {
                let value = format!("Some(\"{}\")", c_name.escape_default());
                text.arm(&format!("{name}::{constant} =>"), &value);
            }
            text.line("_ => None,");
            text.close("}");
        }
    }
    text.close("}");
    text.close("}");
    text.line("");
    text.open(format!("impl Plain for {name} {{"));
    text.line(format!("const SIZE: usize = size_of::<{number}>();"));
    text.line("");
    text.open("fn decode(bytes: &[u8]) -> Self {");
    text.line(format!("{name}(plain::field(bytes, 0))"));
    text.close("}");
    text.line("");
    text.open("fn encode(&self, bytes: &mut [u8]) {");
    text.line("plain::put(bytes, 0, &self.0);");
    text.close("}");
    text.close("}");
    text.line("");
    text.open(format!("impl core::fmt::Debug for {name} {{"));
    text.open("fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {");
    text.open("match self.name() {");
    text.line("Some(name) => f.write_str(name),");
    text.line(format!("None => write!(f, \"{name}({{}})\", self.0),"));
    text.close("}");
    text.close("}");
    text.close("}");
}
