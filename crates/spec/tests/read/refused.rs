//! What is refused, with the reason's text; and files that are no objects.

use kscope_btf::NewMember;
use kscope_spec::elf::{Binding, SymbolKind};
use kscope_spec::insn::{Pseudo, Reg};
use kscope_spec::{ByteOrder, Insn, read};

use crate::check;
use crate::object::{ADDRESS, CALL, NOTHING, Object, Says};
use Says::{Type, Uint, Ulong, Values};

/// Checks that a map with these members is refused for this reason.
fn map<T>(build: impl Fn(&mut Object) -> T, why: &str) {
    check(build, &[&format!("  refused: {why}")]);
}

#[test]
fn sections() {
    check(
        |o| o.global("kprobe_multi/f", "p", &NOTHING),
        &[
            "program p kprobe_multi/f Unspec 2 slots",
            "  refused: section 'kprobe_multi/f' says no type of program: did you mean 'kprobe.multi'?",
        ],
    );
    check(
        |o| o.global("?mine", "p", &NOTHING),
        &[
            "program p mine Unspec optional 2 slots",
            "  refused: section 'mine' says no type of program: name it after what it attaches to, for example SEC(\"tracepoint/sched/sched_switch\")",
        ],
    );
    check(
        |o| o.func("xdp", "p", Binding::Local, &NOTHING),
        &["  refused: function 'p' in section 'xdp' is static: leave `static` out of a program"],
    );
}

#[test]
fn functions() {
    check(
        |o| {
            let p = o.global("xdp", "p", &NOTHING);
            o.resize(p, 24);
        },
        &[
            "program p xdp Xdp Expected(Xdp) 0 slots",
            "  refused: its symbol names 24 bytes from byte 0 of section 'xdp', which are not whole instructions of it",
        ],
    );
    check(
        |o| {
            o.global("xdp", "p", &NOTHING);
            let q = o.global("xdp", "q", &NOTHING);
            o.move_to(q, 8);
        },
        &["  refused: at byte 8 of section 'xdp' it overlaps with function 'p'"],
    );
    check(
        |o| {
            let f = o.global(".text", "f", &NOTHING);
            o.move_to(f, 8);
            o.resize(f, 8);
            let text = o.section_symbol(".text");
            o.global("xdp", "p", &[CALL, NOTHING[1]]);
            o.relocate("xdp", 0, text);
        },
        &["  refused: it calls or names byte 0 of section '.text', where no function begins"],
    );
    check(
        |o| {
            let gone = o.undefined("gone", Binding::Global);
            let f = o.global(".text", "f", &[CALL, NOTHING[1]]);
            o.relocate(".text", 0, gone);
            o.global("xdp", "p", &[CALL, NOTHING[1]]);
            o.relocate("xdp", 0, f);
        },
        &[
            "  refused: in function 'f': function 'gone' is called and defined nowhere: link the object that defines it, or declare a kernel's function with __ksym",
        ],
    );
    check(
        |o| {
            o.global("tc", "p", &NOTHING);
            let func = o.typed("tc", 0, "p");
            o.types
                .add_decl_tag("exception_callback:nobody", func, None);
        },
        &["  refused: its exception callback 'nobody' is no global function of the object"],
    );
}

#[test]
fn relocations() {
    check(
        |o| {
            let x = o.global_variable(".bss", "x", &[0; 4]);
            o.global("xdp", "p", &NOTHING);
            o.relocate("xdp", 1, x);
        },
        &[
            "  refused: relocation against 'x' at byte 8 of section 'xdp' is neither on a call nor on ld_imm64",
        ],
    );
    check(
        |o| {
            let x = o.global_variable(".bss", "x", &[0; 4]);
            o.global("xdp", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[1]]);
            o.relocate("xdp", 1, x);
        },
        &[
            "  refused: relocation against 'x' at byte 8 of section 'xdp' is neither on a call nor on ld_imm64",
        ],
    );
    check(
        |o| {
            o.global_variable(".bss", "x", &[0; 4]);
            let code = Insn::ld_pseudo(Reg::R1, Pseudo::Value, -8, -1);
            o.global("xdp", "p", &[code[0], code[1], NOTHING[1]]);
            let bss = o.section_symbol(".bss");
            o.relocate("xdp", 0, bss);
        },
        &["  refused: it names byte -8 of section '.bss', outside of it"],
    );
    check(
        |o| {
            let m = o.map("m", &[Uint("type", 1)]);
            o.move_to(m, 0);
            let code = Insn::ld_pseudo(Reg::R1, Pseudo::Value, 4, 0);
            o.global("xdp", "p", &[code[0], code[1], NOTHING[1]]);
            o.relocate("xdp", 0, m);
        },
        &["  refused: it names byte 4 of section '.maps', where no map is described"],
    );
    check(
        |o| {
            o.data(".odd", &[0; 8]);
            let odd = o.symbol(
                "odd",
                SymbolKind::Object,
                Binding::Global,
                Some(".odd"),
                (0, 8),
            );
            o.global("xdp", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[1]]);
            o.relocate("xdp", 0, odd);
        },
        &["  refused: it uses 'odd' in section '.odd', which is neither of maps nor of data"],
    );
    check(
        |o| {
            o.data(".jumptables", &[0; 8]);
            let table = o.section_symbol(".jumptables");
            o.global("xdp", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[1]]);
            o.relocate("xdp", 0, table);
        },
        &[
            "  refused: it jumps by a table (section '.jumptables'), which takes a map of type BPF_MAP_TYPE_INSN_ARRAY (Linux 6.19) and is not supported: compile with -fno-jump-tables",
        ],
    );
    check(
        |o| {
            let x = o.global_variable(".addr_space.1", "x", &[1; 4]);
            o.global("xdp", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[1]]);
            o.relocate("xdp", 0, x);
        },
        &[
            "  refused: variables in section '.addr_space.1' need a map of type BPF_MAP_TYPE_ARENA in section '.maps'",
        ],
    );
}

#[test]
fn relocations_with_addends() {
    let mut o = Object::new(ByteOrder::Little);
    let x = o.global_variable(".bss", "x", &[0; 4]);
    user(&mut o, "p", x);
    o.global("tc", "other", &NOTHING);
    let mut bytes = o.bytes();
    let table = u64::from_le_bytes(*bytes[40..].first_chunk().expect("a header")) as usize;
    for header in (table..bytes.len()).step_by(64) {
        if bytes[header + 4] == 9 {
            bytes[header + 4] = 4;
        }
    }
    let spec = read::object(&bytes).expect("an object");
    let why: Vec<Option<&str>> = spec.programs.iter().map(|p| p.refused.as_deref()).collect();
    let expected = "section 'xdp/p' has relocations with addends (SHT_RELA): clang and GCC write SHT_REL for eBPF";
    assert_eq!(why, [Some(expected), None]);
}

#[test]
fn core_relocations() {
    check(
        |o| {
            o.global("xdp", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[1]]);
            o.core("xdp", 8, 0, "0");
        },
        &["  refused: CO-RE relocation at byte 8 of section 'xdp', where no instruction begins"],
    );
    check(
        |o| {
            o.global("xdp", "p", &NOTHING);
            o.core("xdp", 0, 99, "0");
        },
        &["  refused: CO-RE relocation of kind 99, which is newer than this release"],
    );
    check(
        |o| {
            o.global("xdp", "p", &NOTHING);
            o.core("xdp", 0, 0, "0:x");
        },
        &[
            "  refused: CO-RE relocation with the access '0:x'; like '0:1:2' it must be, of at most 64 numbers",
        ],
    );
}

#[test]
fn maps() {
    map(
        |o| o.map("m", &[Uint("max_entries", 1)]),
        "its description has no type: add __uint(type, BPF_MAP_TYPE_…)",
    );
    map(
        |o| o.map("m", &[Uint("type", 9999)]),
        "it is of type 9999, and the last that this release knows is 34 (BPF_MAP_TYPE_*): is the \
         number right? Else a newer release may know it",
    );
    map(
        |o| o.map("m", &[Uint("type", 1), Uint("max_entrie", 1)]),
        "its description has an unknown member 'max_entrie': did you mean 'max_entries'?",
    );
    map(
        |o| o.map("m", &[Uint("type", 1), Uint("colour", 1)]),
        "its description has an unknown member 'colour'",
    );
    map(
        |o| o.map("m", &[Ulong("type", 1)]),
        "member 'type' of its description is not a number: use __uint(name, value)",
    );
    map(
        |o| {
            let int = o.int();
            o.map(
                "m",
                &[Uint("type", 1), Uint("key_size", 8), Type("key", int)],
            );
        },
        "its description gives two sizes of the key: 8 and 4",
    );
    map(
        |o| {
            let nothing = o.types.add_fwd("nothing", false);
            o.map("m", &[Uint("type", 1), Type("value", nothing)]);
        },
        "the type of its value has no size: it is only declared in the object",
    );
    map(
        |o| {
            let int = o.int();
            o.map_of("m", int, 4);
        },
        "what describes it is no struct",
    );
    map(
        |o| o.map("m", &[Uint("type", 1), Uint("pinning", 2)]),
        "its pinning is 2: LIBBPF_PIN_NONE (0) and LIBBPF_PIN_BY_NAME (1) are known",
    );
    map(
        |o| {
            o.map("m", &[Uint("type", 1)]);
            o.data(".maps", &[0; 8]);
            let (ty, size) = o.description(&[Uint("type", 1)]);
            let at = o.data(".maps", &[0, 0, 1, 0, 0, 0, 0, 0]);
            o.variable(
                ".maps",
                "n",
                ty,
                (at as u32, size),
                kscope_btf::Linkage::Static,
            );
        },
        "byte 18 of section '.maps' is not zero: a map's description takes no initial values but those of 'values'",
    );
    map(
        |o| {
            o.typed = false;
            o.map("m", &[Uint("type", 1)]);
        },
        "maps in section '.maps' are described by their types, and the object has none: compile with -g",
    );
    map(
        |o| {
            o.map("a", &[Uint("type", 33)]);
            o.map("b", &[Uint("type", 33)]);
        },
        "an object has one arena at most, and map 'a' is one",
    );
}

#[test]
fn maps_in_maps() {
    map(
        |o| {
            let (inner, _) = o.description(&[Uint("type", 2)]);
            o.map("m", &[Uint("type", 1), Values(inner, 0)]);
        },
        "'values' is for maps of maps and arrays of programs, and this is of type 1; 'type' goes before it",
    );
    map(
        |o| {
            let (inner, _) = o.description(&[Uint("type", 2)]);
            o.map(
                "m",
                &[Uint("type", 12), Values(inner, 0), Uint("max_entries", 1)],
            );
        },
        "'values' must be the last member of its description",
    );
    map(
        |o| {
            let (deep, _) = o.description(&[Uint("type", 2)]);
            let (inner, _) = o.description(&[Uint("type", 12), Values(deep, 0)]);
            o.map("m", &[Uint("type", 12), Values(inner, 0)]);
        },
        "the maps in it cannot be maps of maps themselves",
    );
    map(
        |o| {
            let (inner, _) = o.description(&[Uint("type", 2), Uint("pinning", 1)]);
            o.map("m", &[Uint("type", 12), Values(inner, 0)]);
        },
        "the maps in it cannot be pinned by its description",
    );
    map(
        |o| {
            let int = o.int();
            let proto = o.types.add_func_proto(int, &[]);
            let f = o.global(".text", "f", &NOTHING);
            o.map("m", &[Uint("type", 3), Values(proto, 1)]);
            o.relocate_data(".maps", 8, f);
        },
        "'f' in its 'values' is no program of the object",
    );
    map(
        |o| {
            let (inner, size) = o.description(&[Uint("type", 2)]);
            let a = o.map_of("a", inner, size);
            o.map("m", &[Uint("type", 12), Values(inner, 1)]);
            o.relocate_data(".maps", u64::from(size), a);
        },
        "'a' at byte 8 of section '.maps' is not in its 'values'",
    );
    map(
        |o| {
            let (inner, size) = o.description(&[Uint("type", 2)]);
            let a = o.map_of("a", inner, size);
            o.map(
                "m",
                &[Uint("type", 13), Uint("key_size", 8), Values(inner, 1)],
            );
            o.relocate_data(".maps", u64::from(size) + 16, a);
        },
        "its 'values' have numbers for keys, and its keys are of 8 bytes: they must be of 4",
    );
}

/// Adds a program that uses `symbol`.
fn user(o: &mut Object, name: &str, symbol: usize) {
    let section = format!("xdp/{name}");
    let code = [ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]];
    o.global(&section, name, &code);
    o.relocate(&section, 0, symbol);
}

#[test]
fn variables_that_hold_addresses() {
    check(
        |o| {
            let f = o.global(".text", "f", &NOTHING);
            let number = o.global_variable(".rodata", "number", &[0; 8]);
            let table = o.global_variable(".rodata", "table", &[0; 16]);
            let after = o.global_variable(".rodata", "after", &[0; 8]);
            o.relocate_data(".rodata", 16, f);
            user(o, "a", number);
            user(o, "b", table);
            user(o, "c", after);
        },
        &[
            "  reloc 0 value sample.rodata+0",
            "program b xdp/b Xdp Expected(Xdp) 4 slots",
            "  refused: it uses a variable that holds, at byte 16 of section '.rodata', the address of function 'f', which no kernel can fill in: call it directly or by a switch",
            "  reloc 0 value sample.rodata+24",
        ],
    );
    check(
        |o| {
            o.func("mine", "g", Binding::Local, &NOTHING);
            let mine = o.section_symbol("mine");
            let pointer = o.global_variable(".data", "pointer", &[0; 8]);
            o.relocate_data(".data", 0, mine);
            user(o, "a", pointer);
        },
        &[
            "  refused: it uses a variable that holds, at byte 0 of section '.data', the address of function 'g', which no kernel can fill in: call it directly or by a switch",
        ],
    );
    check(
        |o| {
            let x = o.global_variable(".bss", "x", &[0; 4]);
            let pointer = o.global_variable(".data", "pointer", &[0; 8]);
            o.relocate_data(".data", 0, x);
            user(o, "a", pointer);
        },
        &[
            "  refused: it uses a variable that holds, at byte 0 of section '.data', the address of variable 'x', which no kernel can fill in: use an array or an index",
        ],
    );
}

#[test]
fn legacy_maps() {
    map(
        |o| {
            o.data("maps", &[1; 16]);
            o.symbol(
                "m",
                SymbolKind::Object,
                Binding::Global,
                Some("maps"),
                (0, 16),
            );
        },
        "its description of 16 bytes at byte 0 of section 'maps' is no struct bpf_map_def (20 bytes) or bpf_elf_map (36): describe it in '.maps'",
    );
    map(
        |o| {
            let mut bytes = [0; 48];
            // A byte of the type that is 1 in both orders.
            (bytes[0], bytes[3], bytes[40]) = (0, 0, 1);
            o.data("maps", &bytes);
            o.symbol(
                "m",
                SymbolKind::Object,
                Binding::Global,
                Some("maps"),
                (0, 48),
            );
        },
        "byte 40 of section 'maps' is not zero, and what it means is not known: describe the map in '.maps'",
    );
}

#[test]
fn tables_of_functions() {
    /// Adds a table with one function and one pointer to a number.
    fn table(o: &mut Object) {
        let int = o.int();
        let proto = o.types.add_func_proto(int, &[]);
        let (function, number) = (o.ptr(proto), o.ptr(int));
        let members = [
            NewMember::new("init", function, 0),
            NewMember::new("count", number, 64),
        ];
        let ops = o.types.add_struct("my_ops", 16, &members);
        o.data(".struct_ops", &[0; 16]);
        o.variable(
            ".struct_ops",
            "mine",
            ops,
            (0, 16),
            kscope_btf::Linkage::Static,
        );
    }
    map(
        |o| {
            table(o);
            let p = o.global("xdp", "p", &NOTHING);
            o.relocate_data(".struct_ops", 0, p);
        },
        "member 'init' is program 'p' of section 'xdp': it must be in SEC(\"struct_ops/…\")",
    );
    map(
        |o| {
            table(o);
            let p = o.global("struct_ops/a", "p", &NOTHING);
            o.relocate_data(".struct_ops", 8, p);
        },
        "member 'count' holds an address and is no pointer to a function",
    );
    map(
        |o| {
            table(o);
            let p = o.global("struct_ops/a", "p", &NOTHING);
            o.relocate_data(".struct_ops", 4, p);
        },
        "byte 4 of section '.struct_ops' holds an address where its type has no member",
    );
    map(
        |o| {
            table(o);
            let f = o.global(".text", "f", &NOTHING);
            o.relocate_data(".struct_ops", 0, f);
        },
        "member 'init' is 'f', which is no program of the object",
    );
}

#[test]
fn files_that_are_no_objects() {
    let good = || {
        let mut o = Object::new(ByteOrder::Little);
        o.global("xdp", "p", &NOTHING);
        o.bytes()
    };
    let with = |at: usize, bytes: &[u8]| {
        let mut file = good();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let text = |file: &[u8]| read::object(file).expect_err("no object").to_string();
    for (file, why) in [
        (Vec::new(), "no ELF file: it does not begin with \\x7fELF"),
        (
            b"#!/bin/sh".to_vec(),
            "no ELF file: it does not begin with \\x7fELF",
        ),
        (with(4, &[1]), "a 32-bit ELF file: eBPF objects are 64-bit"),
        (with(5, &[7]), "malformed ELF: byte order at byte 5"),
        (
            with(18, &[62]),
            "an ELF file for machine 62, not for eBPF (247): compile with clang -target bpf",
        ),
        (
            with(16, &[2]),
            "an ELF file of type 2, not a relocatable object (1): compile with -c",
        ),
        (good()[..60].to_vec(), "malformed ELF: header at byte 0"),
        (
            good()[..200].to_vec(),
            "malformed ELF: table of sections at byte 40",
        ),
        (
            with(62, &[200]),
            "malformed ELF: section of the names at byte 62",
        ),
    ] {
        assert_eq!(text(&file), why);
    }
    let mut o = Object::new(ByteOrder::Little);
    o.typed = false;
    o.data(".BTF", &[1, 2, 3, 4]);
    assert_eq!(
        text(&o.bytes()),
        "section .BTF: not BTF: the magic number is missing"
    );
}
