//! Types written as C, Rust and JSON: what is written of sound types, and that malformed ones end.

use crate::write::Builder;
use crate::{Btf, Encoding, Kind, NewMember, ValueStyle};

/// A list that points to itself by a typedef, a prototype of itself, a bitfield, a gap, a name
/// twice.
fn sample() -> Vec<u8> {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let long = b.add_int("long", 8, Encoding::Signed);
    // Ids ascend by one: what is referred to before it is there is the one after next.
    let node = crate::TypeId(b.next_id().0 + 2);
    let alias = b.add_typedef("node_t", node);
    let pointer = b.add_ptr(alias);
    let made = b.add_struct(
        "node",
        32,
        &[
            NewMember::new("next", pointer, 0),
            NewMember {
                bitfield: Some(3),
                ..NewMember::new("flag", int, 64)
            },
            NewMember::new("type", long, 128),
        ],
    );
    assert_eq!(made, node);
    b.add_struct("node", 4, &[NewMember::new("other", int, 0)]);
    b.add_enum("colour", 4, &[("RED", 0), ("GREEN", -1)]);
    let proto = b.add_func_proto(int, &[("node", pointer), ("colour", int)]);
    let function = b.add_ptr(proto);
    b.add_struct("ops", 8, &[NewMember::new("call", function, 0)]);
    b.finish()
}

#[test]
fn c_has_each_type_after_what_it_needs() {
    let base = Btf::parse(sample()).unwrap();
    let text = base.write_c();
    let at = |part: &str| {
        text.find(part)
            .unwrap_or_else(|| panic!("no {part} in\n{text}"))
    };
    assert!(at("struct node;") < at("typedef struct node node_t;"));
    assert!(at("typedef struct node node_t;") < at("struct node {"));
    at("struct node___2 {");
    at("GREEN = -1,");
    at("int (*call)(node_t *, int)"
        .split("(node_t")
        .next()
        .unwrap_or_default());
}

#[test]
fn constants_do_not_have_the_names_of_typedefs() {
    let mut b = Builder::new();
    b.add_enum("kind", 4, &[("plain", 0), ("size", 1)]);
    let int = b.add_int("int", 4, Encoding::Signed);
    b.add_typedef("size", int);
    let text = Btf::parse(b.finish()).unwrap().write_c();
    assert!(text.contains("typedef int size;"), "{text}");
    assert!(text.contains("plain = 0,\n\tsize___2 = 1,"), "{text}");
}

#[test]
fn rust_says_its_sizes() {
    let base = Btf::parse(sample()).unwrap();
    let node = base.find("node", Kind::Struct).unwrap();
    let expected = "#[repr(C)]\n#[derive(Clone, Copy)]\npub struct node {\n    \
        pub next: *mut node,\n    pub _bits_8: [u8; 1],\n    \
        pub r#type: i64,\n    pub _pad_24: [u8; 8],\n}\n\
        const _: () = assert!(core::mem::size_of::<node>() == 32);\n\n";
    assert_eq!(base.write_rust_of([node], false), expected);
}

#[test]
fn json_refers_by_number() {
    let base = Btf::parse(sample()).unwrap();
    let colour = base.find("colour", Kind::Enum).unwrap();
    let text = base.write_json(colour);
    assert!(text.ends_with(
        r#""name":"colour","size":4,"signed":true,"values":[{"name":"RED","value":0},{"name":"GREEN","value":-1}]}"#
    ), "{text}");
}

#[test]
fn malformed_types_end() {
    let sound = sample();
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut roll = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let mut parsed = 0;
    for _ in 0..3000 {
        let mut bytes = sound.clone();
        for _ in 0..1 + roll() % 4 {
            let at = 24 + roll() % (bytes.len() - 24);
            // Small numbers are ids of types, which make rings.
            bytes[at] = (roll() % 20) as u8;
        }
        let Ok(base) = Btf::parse(bytes) else {
            continue;
        };
        parsed += 1;
        let mut size = base.write_c().len() + base.write_rust().len();
        for id in base.ids() {
            size += base.write_json(id).len();
            size += base.write_value(id, &[7; 64], ValueStyle::C).len();
        }
        assert!(size < 64 << 20);
    }
    assert!(parsed > 1000);
}
