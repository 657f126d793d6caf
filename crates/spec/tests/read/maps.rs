//! Maps: described by types, by bytes, and as tables of functions.

use kscope_btf::{Linkage, NewMember};
use kscope_spec::elf::{Binding, SymbolKind};

use crate::check;
use crate::object::{ADDRESS, NOTHING, Object, Says};
use Says::{Type, Uint, Ulong, Values};

#[test]
fn described_by_types() {
    check(
        |o| {
            let int = o.int();
            o.map(
                "h",
                &[
                    Uint("type", 1),
                    Uint("max_entries", 9),
                    Type("key", int),
                    Type("value", int),
                ],
            );
        },
        &["map h .maps Hash 4->4 *9 key-typed value-typed"],
    );
    check(
        |o| {
            o.map(
                "a",
                &[Uint("type", 2), Uint("key_size", 4), Uint("value_size", 12)],
            )
        },
        &["map a .maps Array 4->12 *0"],
    );
    check(
        |o| {
            let says = [
                Uint("type", 1),
                Uint("map_flags", 5),
                Uint("numa_node", 1),
                Uint("pinning", 1),
            ];
            o.map("m", &says);
        },
        &["map m .maps Hash 0->0 *0 flags 0x5 node 1 pinned"],
    );
    check(
        |o| o.map("arena", &[Uint("type", 33), Ulong("map_extra", 1 << 44)]),
        &["map arena .maps Arena 0->0 *0 extra 0x100000000000"],
    );
    check(
        |o| o.map("bloom", &[Uint("type", 30), Uint("map_extra", 3)]),
        &["map bloom .maps BloomFilter 0->0 *0 extra 0x3"],
    );
    check(
        |o| o.map("small", &[Uint("type", 30), Ulong("map_extra", 7)]),
        &["map small .maps BloomFilter 0->0 *0 extra 0x7"],
    );
}

#[test]
fn described_through_typedefs_and_by_static_variables() {
    check(
        |o| {
            let (ty, size) = o.description(&[Uint("type", 27), Uint("max_entries", 4096)]);
            let ty = o.types.add_typedef("ring_t", ty);
            let ty = o.types.add_const(ty);
            o.map_of("ring", ty, size);
        },
        &["map ring .maps RingBuf 0->0 *4096"],
    );
    check(
        |o| {
            let (ty, size) = o.description(&[Uint("type", 1)]);
            o.data(".maps", &vec![0; size as usize]);
            o.variable(".maps", "mine", ty, (0, size), Linkage::Static);
            o.global(
                "xdp",
                "p",
                &[ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]],
            );
            let section = o.section_symbol(".maps");
            o.relocate("xdp", 0, section);
        },
        &[
            "map mine .maps Hash 0->0 *0",
            "program p xdp Xdp Expected(Xdp) 4 slots",
            "  reloc 0 map mine",
        ],
    );
}

#[test]
fn maps_are_in_the_order_of_their_places() {
    check(
        |o| {
            let (ty, size) = o.description(&[Uint("type", 1)]);
            let first = o.map_of("written_first", ty, size);
            let second = o.map_of("written_second", ty, size);
            o.move_to(first, size.into());
            o.move_to(second, 0);
        },
        &[
            "map written_second .maps Hash 0->0 *0",
            "map written_first .maps Hash 0->0 *0",
        ],
    );
}

#[test]
fn maps_in_maps() {
    check(
        |o| {
            let (inner, _) = o.description(&[Uint("type", 2), Uint("max_entries", 3)]);
            o.map(
                "outer",
                &[Uint("type", 12), Uint("max_entries", 2), Values(inner, 0)],
            );
        },
        &[
            "map outer .maps ArrayOfMaps 0->4 *2",
            "  inner map outer.inner .maps Array 0->0 *3",
        ],
    );
    check(
        |o| {
            let (inner, size) = o.description(&[Uint("type", 2)]);
            let a = o.map_of("a", inner, size);
            let b = o.map_of("b", inner, size);
            o.map(
                "outer",
                &[Uint("type", 13), Uint("key_size", 4), Values(inner, 3)],
            );
            let place = u64::from(size) * 2 + 16;
            o.relocate_data(".maps", place, a);
            o.relocate_data(".maps", place + 16, b);
        },
        &[
            "map a .maps Array 0->0 *0",
            "map outer .maps HashOfMaps 4->4 *0",
            "  slot 0 a",
            "  slot 2 b",
        ],
    );
}

#[test]
fn arrays_of_programs() {
    check(
        |o| {
            let int = o.int();
            let proto = o.types.add_func_proto(int, &[]);
            o.map(
                "jumps",
                &[Uint("type", 3), Uint("max_entries", 2), Values(proto, 2)],
            );
            o.global("socket", "first", &NOTHING);
            let second = o.global("socket", "second", &NOTHING);
            o.relocate_data(".maps", 24, second);
        },
        &["map jumps .maps ProgArray 0->4 *2", "  slot 1 second"],
    );
}

#[test]
fn references() {
    check(
        |o| {
            let (ty, size) = o.description(&[Uint("type", 1)]);
            o.map_of("first", ty, size);
            let second = o.map_of("second", ty, size);
            let code = [NOTHING[0], ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]];
            o.global("xdp", "p", &code);
            o.relocate("xdp", 1, second);
        },
        &[
            "program p xdp Xdp Expected(Xdp) 5 slots",
            "  reloc 1 map second",
        ],
    );
}

/// Appends a description of 32-bit words to section `maps`.
fn legacy(o: &mut Object, name: &str, words: &[u32]) -> usize {
    let order = o.order;
    let bytes: Vec<u8> = words
        .iter()
        .flat_map(|word| match order {
            kscope_spec::ByteOrder::Little => word.to_le_bytes(),
            kscope_spec::ByteOrder::Big => word.to_be_bytes(),
        })
        .collect();
    let offset = o.data("maps", &bytes);
    let place = (offset, bytes.len() as u64);
    o.symbol(
        name,
        SymbolKind::Object,
        Binding::Global,
        Some("maps"),
        place,
    )
}

#[test]
fn described_by_bytes() {
    check(
        |o| {
            o.typed = false;
            legacy(o, "a", &[1, 4, 8, 10, 1]);
            let b = legacy(o, "b", &[2, 4, 16, 1, 0]);
            o.global(
                "kprobe/f",
                "p",
                &[ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]],
            );
            o.relocate("kprobe/f", 0, b);
        },
        &[
            "map a maps Hash 4->8 *10 flags 0x1",
            "map b maps Array 4->16 *1",
            "  reloc 0 map b",
        ],
    );
    check(
        |o| {
            let a = legacy(o, "no_size", &[1, 4, 8, 10, 0]);
            o.resize(a, 0);
            legacy(o, "next", &[2, 4, 4, 1, 0]);
        },
        &[
            "map no_size maps Hash 4->8 *10",
            "map next maps Array 4->4 *1",
        ],
    );
    check(
        |o| {
            legacy(o, "typed", &[1, 4, 4, 1, 0]);
            let int = o.int();
            let members = [
                NewMember::new("key", int, 0),
                NewMember::new("value", int, 32),
            ];
            o.types.add_struct("____btf_map_typed", 8, &members);
        },
        &["map typed maps Hash 4->4 *1 key-typed value-typed"],
    );
    check(
        |o| legacy(o, "zeros_after", &[1, 4, 8, 10, 0, 0, 0, 0, 0, 0, 0]),
        &["map zeros_after maps Hash 4->8 *10"],
    );
}

#[test]
fn described_as_iproute2_does() {
    check(
        |o| legacy(o, "pinned", &[1, 4, 8, 10, 0, 0, 2, 0, 0]),
        &["map pinned maps Hash 4->8 *10 pinned"],
    );
    check(
        |o| legacy(o, "short", &[15, 4, 8, 1, 0, 0, 2]),
        &["map short maps SockMap 4->8 *1 pinned"],
    );
    check(
        |o| {
            legacy(o, "outer", &[12, 4, 4, 8, 0, 1, 2, 7, u32::MAX]);
            legacy(o, "in", &[2, 4, 8, 1, 0, 7, 0, 0, 3]);
        },
        &[
            "map outer maps ArrayOfMaps 4->4 *8 pinned",
            "  inner map in maps Array 4->8 *1",
            "  slot 3 in",
        ],
    );
}

/// Adds a table of two functions and a number; gives its place.
fn table(o: &mut Object, section: &str, name: &str, ty: &str) -> u64 {
    let int = o.int();
    let proto = o.types.add_func_proto(int, &[]);
    let function = o.ptr(proto);
    let members = [
        NewMember::new("init", function, 0),
        NewMember::new("exit", function, 64),
        NewMember::new("flags", int, 128),
    ];
    let ops = o.types.add_struct(ty, 24, &members);
    let offset = o.data(section, &[0; 24]);
    o.variable(section, name, ops, (0, 24), Linkage::Global);
    o.symbol(
        name,
        SymbolKind::Object,
        Binding::Global,
        Some(section),
        (offset, 24),
    );
    offset
}

#[test]
fn tables_of_functions() {
    check(
        |o| {
            let at = table(o, ".struct_ops", "mine", "tcp_congestion_ops");
            let p = o.global("struct_ops/start", "start", &NOTHING);
            o.relocate_data(".struct_ops", at, p);
        },
        &[
            "map mine .struct_ops StructOps 4->24 *1 value-typed",
            "  struct_ops tcp_congestion_ops 24 bytes",
            "  member init start",
            "program start struct_ops/start StructOps StructOps { type_name: \"tcp_congestion_ops\", member: \"init\" } 2 slots",
        ],
    );
    check(
        |o| {
            let at = table(o, "?.struct_ops.link", "mine", "sched_ext_ops___v2");
            o.func("struct_ops.s/x", "padding", Binding::Global, &NOTHING);
            o.func("struct_ops.s/x", "stop", Binding::Global, &NOTHING);
            let section = o.section_symbol("struct_ops.s/x");
            o.relocate_data("?.struct_ops.link", at + 8, section);
        },
        &[
            "map mine .struct_ops.link StructOps 4->24 *1 flags 0x2000 value-typed optional",
            "  struct_ops sched_ext_ops 24 bytes link",
            "  member exit padding",
        ],
    );
}
