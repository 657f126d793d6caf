//! Global variables: their maps, places and references.

use kscope_btf::Linkage;
use kscope_spec::elf::{Binding, SymbolKind};
use kscope_spec::insn::{Pseudo, Reg};
use kscope_spec::{ByteOrder, Insn, read};

use crate::check;
use crate::object::{ADDRESS, NOTHING, Object, Says};

#[test]
fn sections_are_maps() {
    check(
        |o| o.global_variable(".data", "d", &[1, 2, 3, 4]),
        &[
            "map sample.data .data Array 4->4 *1 flags 0x400 value-typed",
            "  initial 4 bytes 01020304",
            "variable d sample.data+0 size 4",
        ],
    );
    check(
        |o| o.global_variable(".rodata", "r", &[7; 4]),
        &[
            "map sample.rodata .rodata Array 4->4 *1 flags 0x480 value-typed frozen",
            "  initial 4 bytes 07070707",
        ],
    );
    check(
        |o| o.global_variable(".bss", "b", &[0; 32]),
        &[
            "map sample.bss .bss Array 4->32 *1 flags 0x400 value-typed",
            "variable b sample.bss+0 size 32",
        ],
    );
    check(
        |o| o.global_variable(".data.mine", "m", &[1; 4]),
        &["map .data.mine .data.mine Array 4->4 *1 flags 0x400 value-typed"],
    );
    check(
        |o| o.data(".rodata.str1.1", b"text\0"),
        &[
            "map .rodata.str1.1 .rodata.str1.1 Array 4->5 *1 flags 0x80 frozen",
            "  initial 5 bytes 7465787400",
        ],
    );
}

#[test]
fn variables_get_places_and_order_from_symbols() {
    check(
        |o| {
            let int = o.int();
            o.data(".data", &[0; 12]);
            o.variable(".data", "last", int, (0, 4), Linkage::Global);
            o.variable(".data", "middle", int, (4, 4), Linkage::Static);
            o.variable(".data", "first", int, (0, 4), Linkage::Global);
            o.symbol(
                "last",
                SymbolKind::Object,
                Binding::Global,
                Some(".data"),
                (8, 4),
            );
            o.symbol(
                "first",
                SymbolKind::Object,
                Binding::Weak,
                Some(".data"),
                (0, 4),
            );
        },
        &[
            "variable first sample.data+0 size 4",
            "variable middle sample.data+4 size 4",
            "variable last sample.data+8 size 4",
        ],
    );
}

#[test]
fn variables_of_one_file_are_not_mapped_to_user_space() {
    check(
        |o| {
            let int = o.int();
            o.data(".data", &[0; 4]);
            o.variable(".data", "own", int, (0, 4), Linkage::Static);
        },
        &["map sample.data .data Array 4->4 *1 value-typed"],
    );
    check(
        |o| {
            let hidden = o.global_variable(".data", "hidden", &[0; 4]);
            o.hide(hidden);
        },
        &["map sample.data .data Array 4->4 *1 value-typed"],
    );
}

#[test]
fn variables_without_types() {
    check(
        |o| {
            o.typed = false;
            o.data(".data", &[0; 12]);
            o.symbol(
                "b",
                SymbolKind::Object,
                Binding::Global,
                Some(".data"),
                (4, 8),
            );
            o.symbol(
                "a",
                SymbolKind::Object,
                Binding::Local,
                Some(".data"),
                (0, 4),
            );
        },
        &[
            "map sample.data .data Array 4->12 *1",
            "variable a sample.data+0 size 4 untyped",
            "variable b sample.data+4 size 8 untyped",
        ],
    );
}

#[test]
fn an_arena_has_variables() {
    for section in [".addr_space.1", ".arena.1"] {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let mut o = Object::new(order);
            let says = [Says::Uint("type", 33), Says::Uint("max_entries", 100)];
            o.map("arena", &says);
            o.global_variable(section, "x", &[5; 4]);
            let y = o.global_variable(section, "y", &[6; 4]);
            o.global(
                "syscall",
                "p",
                &[ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]],
            );
            o.relocate("syscall", 0, y);
            let spec = read::object(&o.bytes()).expect("an object");
            let lines = crate::text::lines(&spec);
            for line in [
                "map arena .maps Arena 0->0 *100",
                "  initial 8 bytes 0505050506060606",
                "variable y arena+4 size 4",
                "  reloc 0 value arena+4",
            ] {
                assert!(
                    lines.iter().any(|found| found == line),
                    "{line}: {lines:#?}"
                );
            }
        }
    }
}

#[test]
fn references() {
    check(
        |o| {
            o.global_variable(".bss", "a", &[0; 4]);
            let b = o.global_variable(".bss", "b", &[0; 4]);
            o.global(
                "xdp",
                "p",
                &[ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]],
            );
            o.relocate("xdp", 0, b);
        },
        &["  reloc 0 value sample.bss+4"],
    );
    check(
        |o| {
            o.global_variable(".rodata", "a", &[0; 40]);
            let code = Insn::ld_pseudo(Reg::R1, Pseudo::Value, 24, 0);
            o.global("xdp", "p", &[code[0], code[1], NOTHING[0], NOTHING[1]]);
            let section = o.section_symbol(".rodata");
            o.relocate("xdp", 0, section);
        },
        &["  reloc 0 value sample.rodata+24"],
    );
}

#[test]
fn what_is_relocated_is_cleared_in_the_instruction() {
    let mut o = Object::new(ByteOrder::Little);
    o.global_variable(".rodata", "a", &[0; 40]);
    let code = Insn::ld_pseudo(Reg::R3, Pseudo::Value, 24, 0);
    o.global("xdp", "p", &[code[0], code[1], NOTHING[0], NOTHING[1]]);
    let section = o.section_symbol(".rodata");
    o.relocate("xdp", 0, section);
    let spec = read::object(&o.bytes()).expect("an object");
    assert_eq!(spec.programs[0].insns[..2], Insn::ld_imm64(Reg::R3, 0));
}

#[test]
fn license_and_version() {
    check(
        |o| o.data("version", &[4, 4, 4, 4]),
        &["license GPL", "version 0x4040404"],
    );
    for size in [0, 3, 8] {
        let mut o = Object::new(ByteOrder::Little);
        o.data("version", &vec![1; size]);
        let read = read::object(&o.bytes());
        assert_eq!(read, Err(read::ReadError::Version { size }));
    }
}
