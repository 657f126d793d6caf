//! Objects linked: what becomes of sections, symbols and types, and what is refused.

#[path = "../read/object.rs"]
#[allow(dead_code, reason = "the tests of reading use all of it")]
mod object;
#[path = "../read/text.rs"]
mod text;

use kscope_btf::{Btf, Kind, Linkage, NewMember, Type, TypeId};
use kscope_spec::elf::{Binding, Elf, SymbolKind};
use kscope_spec::insn::{Pseudo, Reg};
use kscope_spec::{ByteOrder, Insn, Spec, link, read};

use object::{ADDRESS, CALL, NOTHING, Object, Says};

/// Builds objects and links them.
fn linked(order: ByteOrder, builds: &[&dyn Fn(&mut Object)]) -> Result<Vec<u8>, String> {
    let files: Vec<(String, Vec<u8>)> = builds
        .iter()
        .zip('a'..)
        .map(|(build, name)| {
            let mut object = Object::new(order);
            build(&mut object);
            (format!("{name}.o"), object.bytes())
        })
        .collect();
    let inputs: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), &**b)).collect();
    let first = link::objects(&inputs);
    assert_eq!(link::objects(&inputs), first);
    first.map_err(|error| error.to_string())
}

/// Makes a build of what gives something.
fn with<T>(build: impl Fn(&mut Object) -> T) -> impl Fn(&mut Object) {
    move |o| {
        build(o);
    }
}

/// Links objects of both byte orders and looks for lines of the result's text, in this order.
fn check(builds: &[&dyn Fn(&mut Object)], expected: &[&str]) -> Spec {
    let mut last = None;
    for order in [ByteOrder::Big, ByteOrder::Little] {
        let bytes = linked(order, builds).expect("objects that go together");
        let spec = read::object_named("linked", &bytes).expect("an object");
        if let Ok(types) = Btf::parse(spec.types.clone()) {
            assert_eq!(types.validate(), Ok(()));
        }
        let lines = text::lines(&spec);
        let mut rest = lines.iter();
        for line in expected {
            assert!(
                rest.any(|found| found == line),
                "no line in this place: {line}\n{}",
                lines.join("\n")
            );
        }
        // What was linked can be linked again, and that alone changes nothing of the programs.
        let again = link::spec("linked", &[("linked.o", &bytes)]).expect("a linked object");
        assert_eq!(text::lines(&again), lines);
        last = Some(spec);
    }
    last.expect("a spec")
}

fn refused(builds: &[&dyn Fn(&mut Object)], why: &str) {
    for order in [ByteOrder::Big, ByteOrder::Little] {
        assert_eq!(linked(order, builds), Err(why.to_owned()));
    }
}

/// A function `name` of one `int`, declared or defined, with `parameters`.
fn function(o: &mut Object, name: &str, parameters: usize, linkage: Linkage) -> TypeId {
    let int = o.int();
    let parameters: Vec<(&str, TypeId)> = ["a", "b", "c"]
        .map(|parameter| (parameter, int))
        .into_iter()
        .take(parameters)
        .collect();
    let proto = o.types.add_func_proto(int, &parameters);
    o.types.add_func(name, proto, linkage)
}

/// A program that calls `f`, which is declared with a parameter.
fn caller(o: &mut Object) {
    o.global("xdp", "p", &[CALL, NOTHING[0], NOTHING[1]]);
    let f = o.undefined("f", Binding::Global);
    o.relocate("xdp", 0, f);
    function(o, "f", 1, Linkage::Extern);
}

/// Defines `f`, whose result is this number.
fn callee(binding: Binding, number: i32) -> impl Fn(&mut Object) {
    move |o| {
        let code = [Insn::mov64_imm(Reg::R0, number), Insn::exit()];
        o.func(".text", "f", binding, &code);
        o.typed(".text", 0, "f");
        o.types.add_ptr(TypeId::VOID);
    }
}

/// Defines `f` with a parameter, as `caller` declares it.
fn defined(binding: Binding, number: i32) -> impl Fn(&mut Object) {
    move |o| {
        let code = [Insn::mov64_imm(Reg::R0, number), Insn::exit()];
        o.func(".text", "f", binding, &code);
        function(o, "f", 1, Linkage::Global);
    }
}

/// Gives the number that the function called first by the program gives.
fn result(spec: &Spec) -> i32 {
    let program = spec.programs.first().expect("a program");
    let function = program.funcs.iter().find(|func| func.name == "f");
    program.insns[function.expect("f").insn as usize].imm
}

#[test]
fn functions_are_found_in_other_objects() {
    let lines = [
        "program p xdp Xdp Expected(Xdp) 5 slots",
        "  func 0 p",
        "  func 3 f",
        "  call 0 -> 3",
    ];
    for builds in [
        [
            &caller as &dyn Fn(&mut Object),
            &defined(Binding::Global, 7),
        ],
        [&defined(Binding::Global, 7), &caller],
    ] {
        let spec = check(&builds, &lines);
        assert_eq!((result(&spec), &spec.programs[0].refused), (7, &None));
        let types = Btf::parse(spec.types).expect("types");
        let f: Vec<TypeId> = types.find_all("f").collect();
        assert_eq!(f.len(), 1);
        let Some(Type::Func { linkage, proto, .. }) = types.get(f[0]) else {
            panic!("no function");
        };
        assert_eq!(linkage, Linkage::Global);
        assert_eq!(types.prototype(proto).map(|proto| proto.len()), Some(1));
    }
}

#[test]
fn the_strong_definition_goes_before_weak_ones() {
    let (weak, other) = (defined(Binding::Weak, 1), defined(Binding::Weak, 2));
    let strong = defined(Binding::Global, 3);
    let of = |builds: &[&dyn Fn(&mut Object)]| result(&check(builds, &[]));
    assert_eq!(of(&[&caller, &weak, &other]), 1);
    assert_eq!(of(&[&caller, &other, &weak]), 2);
    assert_eq!(of(&[&weak, &caller, &strong]), 3);
    assert_eq!(of(&[&strong, &weak, &caller]), 3);
    refused(
        &[&strong, &caller, &defined(Binding::Global, 4)],
        "'f' is defined twice: in a.o (section '.text') and in c.o (section '.text'); make one of them __weak, or static",
    );
}

#[test]
fn what_nobody_defines_stays_declared() {
    let spec = check(
        &[&caller, &with(|o| o.global("tc", "q", &NOTHING))],
        &[
            "program p xdp Xdp Expected(Xdp) 3 slots",
            "  refused: function 'f' is called and defined nowhere: link the object that defines it, or declare a kernel's function with __ksym",
            "program q tc SchedCls 2 slots",
        ],
    );
    assert_eq!(spec.programs.len(), 2);
}

#[test]
fn static_functions_are_each_their_own() {
    let build = |number: i32, section: &'static str| {
        move |o: &mut Object| {
            let code = [Insn::mov64_imm(Reg::R0, number), Insn::exit()];
            o.func(".text", "f", Binding::Local, &code);
            let text = o.section_symbol(".text");
            let call = [Insn::call_local(-1), Insn::exit()];
            o.global(section, &format!("p{number}"), &call);
            o.relocate(section, 0, text);
        }
    };
    let spec = check(
        &[&build(1, "tc"), &build(2, "tc"), &build(3, "xdp")],
        &[
            "program p1 tc SchedCls 4 slots",
            "program p2 tc SchedCls 4 slots",
        ],
    );
    let numbers: Vec<i32> = spec.programs.iter().map(|p| p.insns[2].imm).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn sections_of_variables_follow_one_another() {
    let build = |name: &'static str, value: u8| {
        move |o: &mut Object| {
            let variable = o.global_variable(".data", name, &[value; 4]);
            o.global_variable(".bss", &format!("{name}_zero"), &[0; 4]);
            let code = [ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]];
            o.global("tc", &format!("p_{name}"), &code);
            o.relocate("tc", 0, variable);
            // A static one, by its section and place.
            let section = o.section_symbol(".data");
            let static_ = o.data(".data", &[value + 1; 4]);
            let address = Insn::ld_pseudo(Reg::R1, Pseudo::Value, static_ as i32, 0);
            o.global(
                "xdp",
                &format!("q_{name}"),
                &[address[0], address[1], NOTHING[1]],
            );
            o.relocate("xdp", 0, section);
        }
    };
    let spec = check(&[&build("a", 1), &build("b", 5), &|_| ()], &[]);
    let data = spec.maps.iter().find(|map| map.section == ".data");
    let data = data.and_then(|map| map.initial.as_deref());
    assert_eq!(
        data,
        Some(&[1, 1, 1, 1, 2, 2, 2, 2, 5, 5, 5, 5, 6, 6, 6, 6][..])
    );
    let place = |name: &str| spec.variable_named(name).map(|v| (v.offset, v.size));
    assert_eq!((place("a"), place("b")), (Some((0, 4)), Some((8, 4))));
    assert_eq!(place("b_zero"), Some((8, 4)));
    let offset = |program: &str| {
        let id = spec.program_named(program).expect("a program");
        match spec.programs[id.0 as usize].relocs[0].kind {
            kscope_spec::RelocKind::MapValue { offset, .. } => offset,
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!(["p_a", "p_b", "q_a", "q_b"].map(offset), [0, 8, 4, 12]);
}

#[test]
fn external_variables_are_those_of_other_objects() {
    let user = |o: &mut Object| {
        let int = o.int();
        o.variable(".extern", "shared", int, (0, 4), Linkage::Extern);
        let shared = o.undefined("shared", Binding::Global);
        o.global("tc", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[1]]);
        o.relocate("tc", 0, shared);
    };
    let owner = with(|o| o.global_variable(".data", "shared", &[9; 4]));
    for builds in [[&user as &dyn Fn(&mut Object), &owner], [&owner, &user]] {
        let spec = check(&builds, &["  reloc 0 value linked.data+0"]);
        assert_eq!(spec.variables.len(), 1);
        let types = Btf::parse(spec.types).expect("types");
        assert_eq!(types.find(".extern", Kind::DataSec), None);
        assert_eq!(types.find_all("shared").count(), 1);
    }
    let wrong = |o: &mut Object| {
        let int = o.int();
        let two = o.types.add_struct("two", 8, &[NewMember::new("a", int, 0)]);
        o.variable(".data", "shared", two, (0, 8), Linkage::Global);
        o.data(".data", &[0; 8]);
        let kind = SymbolKind::Object;
        o.symbol("shared", kind, Binding::Global, Some(".data"), (0, 8));
    };
    refused(
        &[&user, &wrong],
        "'shared' is declared differently in a.o than in b.o: 'int', not 'struct two'",
    );
}

#[test]
fn maps_are_shared_by_name() {
    const HASH: [Says; 4] = [
        Says::Uint("type", 1),
        Says::Uint("max_entries", 8),
        Says::Uint("key_size", 4),
        Says::Uint("value_size", 8),
    ];
    let owner = |o: &mut Object| {
        o.map("own", &HASH);
        o.map("both", &HASH);
    };
    let user = |says: &'static [Says]| {
        move |o: &mut Object| {
            o.map("mine", &HASH);
            let (description, size) = o.description(says);
            o.variable(".maps", "both", description, (0, size), Linkage::Extern);
            let both = o.undefined("both", Binding::Global);
            o.global("tc", "p", &[ADDRESS[0], ADDRESS[1], NOTHING[1]]);
            o.relocate("tc", 0, both);
        }
    };
    for builds in [
        [&owner as &dyn Fn(&mut Object), &user(&HASH)],
        [&user(&HASH), &owner],
    ] {
        let spec = check(&builds, &["  reloc 0 map both"]);
        assert_eq!(spec.maps.len(), 3);
        assert!(spec.maps.iter().all(|map| map.refused.is_none()));
    }
    refused(
        &[
            &owner,
            &user(&[Says::Uint("type", 1), Says::Uint("max_entries", 9)]),
        ],
        "'both' is declared differently in b.o than in a.o: key_size 0, not 4",
    );
    let fewer = [HASH[0], Says::Uint("max_entries", 4), HASH[2], HASH[3]];
    let fewer: &'static [Says] = Box::leak(Box::new(fewer));
    refused(
        &[&owner, &user(fewer)],
        "'both' is declared differently in b.o than in a.o: max_entries 4, not 8",
    );
}

#[test]
fn contents_of_maps_move_with_their_sections() {
    let build = |name: &'static str| {
        move |o: &mut Object| {
            let int = o.int();
            let proto = o.types.add_func_proto(int, &[]);
            let tail = o.global("socket", &format!("tail_{name}"), &NOTHING);
            let says = [Says::Uint("type", 3), Says::Uint("max_entries", 2)];
            let says = [
                says[0],
                says[1],
                Says::Uint("key_size", 4),
                Says::Values(proto, 2),
            ];
            let jumps = o.map(&format!("jumps_{name}"), &says);
            let _ = jumps;
            // Past three members.
            let start = o.data(".maps", &[]) - 16;
            o.relocate_data(".maps", start + 8, tail);
        }
    };
    let spec = check(&[&build("a"), &build("b")], &[]);
    let slots: Vec<_> = spec.maps.iter().map(|map| &map.slots[..]).collect();
    let slot = |program: u32| kscope_spec::MapSlot {
        index: 1,
        value: kscope_spec::SlotValue::Program(kscope_spec::ProgramId(program)),
    };
    assert_eq!(slots, [&[slot(0)][..], &[slot(1)][..]]);
}

#[test]
fn symbols_of_the_target_stay_its_own() {
    let build = |weak: bool| {
        move |o: &mut Object| {
            let binding = if weak { Binding::Weak } else { Binding::Global };
            let int = o.int();
            o.variable(".ksyms", "jiffies", int, (0, 4), Linkage::Extern);
            let jiffies = o.undefined("jiffies", binding);
            o.variable(".kconfig", "CONFIG_HZ", int, (0, 4), Linkage::Extern);
            let hz = o.undefined("CONFIG_HZ", binding);
            let code = [ADDRESS[0], ADDRESS[1], ADDRESS[0], ADDRESS[1], NOTHING[1]];
            o.global("tc", &format!("p{weak}"), &code);
            o.relocate("tc", 0, jiffies);
            o.relocate("tc", 2, hz);
        }
    };
    let spec = check(&[&build(true), &build(false)], &[]);
    let externs: Vec<_> = spec.externs.iter().map(|e| (&*e.name, e.weak)).collect();
    assert_eq!(externs, [("jiffies", false), ("CONFIG_HZ", false)]);
    let spec = check(&[&build(true), &|_| ()], &[]);
    assert!(spec.externs.iter().all(|one| one.weak));
    refused(
        &[&build(true), &|o: &mut Object| {
            let int = o.int();
            o.variable(".ksyms", "CONFIG_HZ", int, (0, 4), Linkage::Extern);
            o.undefined("CONFIG_HZ", Binding::Global);
        }],
        "'CONFIG_HZ' is declared differently in b.o than in a.o: in section '.ksyms', not '.kconfig'",
    );
}

#[test]
fn what_one_object_hides_is_hidden() {
    let hidden = |o: &mut Object| {
        let f = o.func(".text", "f", Binding::Global, &NOTHING);
        o.hide(f);
        function(o, "f", 1, Linkage::Global);
    };
    let bytes = linked(ByteOrder::Little, &[&caller, &hidden]).expect("a linked object");
    let elf = Elf::parse(&bytes).expect("an object");
    let f = elf.symbols.iter().find(|symbol| symbol.name == "f");
    assert!(f.is_some_and(|symbol| symbol.hidden && symbol.binding == Binding::Global));
    let spec = read::object(&bytes).expect("an object");
    let types = Btf::parse(spec.types).expect("types");
    let f = types.find("f", Kind::Func).and_then(|id| types.get(id));
    assert!(matches!(
        f,
        Some(Type::Func {
            linkage: Linkage::Static,
            ..
        })
    ));
}

#[test]
fn types_of_functions_and_lines_move_with_the_code() {
    let build = |name: &'static str| {
        move |o: &mut Object| {
            o.types.add_struct(&format!("only_{name}"), 4, &[]);
            o.global("tc", name, &NOTHING);
            o.typed("tc", 0, name);
            o.line("tc", 0, (3, 1), &format!("int {name}()"));
            o.core("tc", 0, 8, "0");
        }
    };
    check(
        &[&build("one"), &build("two")],
        &[
            "program one tc SchedCls 2 slots",
            "  line 0 sample.c:3:1 int one()",
            "program two tc SchedCls 2 slots",
            "  line 0 sample.c:3:1 int one()",
        ],
    );
    let bytes = linked(ByteOrder::Little, &[&build("one"), &build("two")]).expect("an object");
    let spec = read::object(&bytes).expect("an object");
    let types = Btf::parse(spec.types.clone()).expect("types");
    for program in &spec.programs {
        let name = types.name(TypeId(program.funcs[0].type_id));
        assert_eq!(name, Some(&*program.name));
        assert_eq!(types.name(TypeId(program.core[0].type_id)), Some("int"));
    }
    // One int, one prototype.
    assert_eq!(types.find_all("int").count(), 1);
    let protos = types
        .ids()
        .filter(|id| types.kind(*id) == Some(Kind::FuncProto));
    assert_eq!(protos.count(), 1);
}

#[test]
fn licences_are_the_same() {
    let gpl = Object::new(ByteOrder::Little).bytes();
    let mut mit = gpl.clone();
    let at = mit.windows(4).position(|four| four == b"GPL\0");
    mit[at.expect("a licence")..][..3].copy_from_slice(b"MIT");
    let error = link::objects(&[("a.o", &gpl), ("b.o", &mit)]).expect_err("no object");
    let expected = "section 'license' of b.o and a.o: 'MIT' and 'GPL'";
    assert_eq!(error.to_string(), expected);
    let mut none = Object::new(ByteOrder::Little);
    none.global("xdp", "p", &NOTHING);
    let (one, two) = (none.bytes(), Object::new(ByteOrder::Little).bytes());
    let spec = link::spec("linked", &[("a.o", &one), ("b.o", &two)]).expect("a spec");
    assert_eq!(spec.license, "GPL");
}

#[test]
fn what_reads_the_licence_still_does() {
    // By a name of its own, by the name that all have, and by the section.
    let name = |o: &mut Object, name: &str, binding| {
        o.symbol(name, SymbolKind::Object, binding, Some("license"), (1, 3))
    };
    let symbols: [&dyn Fn(&mut Object) -> usize; 4] = [
        &|o| name(o, "own", Binding::Local),
        &|o| name(o, "LICENSE", Binding::Global),
        &|o| name(o, "other", Binding::Global),
        &|o| o.section_symbol("license"),
    ];
    for symbol in symbols {
        let first = |o: &mut Object| {
            name(o, "LICENSE", Binding::Global);
            o.data("data", &[0; 8]);
        };
        let second = |o: &mut Object| {
            let at = symbol(o);
            o.data("data", &[0; 8]);
            o.relocate_data("data", 0, at);
        };
        let bytes = linked(ByteOrder::Little, &[&first, &second]).expect("an object");
        let elf = Elf::parse(&bytes).expect("an object");
        let relocations: Vec<_> = elf
            .sections
            .iter()
            .filter(|section| section.kind == kscope_spec::elf::number::SHT_REL)
            .flat_map(|section| elf.relocations(section))
            .collect();
        let [relocation] = relocations.as_slice() else {
            panic!("{relocations:?}");
        };
        let found = elf.symbol(relocation.symbol).expect("a symbol");
        let section = found.section().expect("a section");
        assert_eq!(
            (relocation.offset, elf.section_name(section)),
            (8, "license")
        );
        let expected = if found.kind == SymbolKind::Section {
            0
        } else {
            1
        };
        assert_eq!(found.value, expected);
    }
}

#[test]
fn what_is_refused() {
    assert_eq!(
        link::objects(&[]).map_err(|error| error.to_string()),
        Err("there is no object to link".to_owned())
    );
    let (big, little) = (ByteOrder::Big, ByteOrder::Little);
    let (one, two) = (Object::new(big).bytes(), Object::new(little).bytes());
    let said = |inputs: &[(&str, &[u8])]| {
        let error = link::objects(inputs).expect_err("no object");
        error.to_string()
    };
    assert_eq!(
        said(&[("a.o", &one), ("b.o", &two)]),
        "b.o and a.o are of different byte orders: compile both with the same -target"
    );
    assert_eq!(
        said(&[("b.o", &two), ("c.o", b"#!/bin/sh")]),
        "c.o: no ELF file: it does not begin with \\x7fELF"
    );
    refused(
        &[&with(|o| o.zeros("mine", 4)), &|o: &mut Object| {
            o.data("mine", &[1; 4]);
        }],
        "section 'mine' of b.o and a.o: it has only zeros in a.o alone",
    );
    refused(
        &[&with(|o| o.data(".kscope", b"plan")), &|o: &mut Object| {
            o.data(".kscope", b"plan");
        }],
        "section '.kscope' of b.o and a.o: two compiled scripts do not make one object",
    );
    refused(
        &[&|o: &mut Object| {
            let f = o.undefined("f", Binding::Global);
            o.global("tc", "p", &NOTHING);
            o.relocate("tc", 2, f);
        }],
        "a.o: relocation against 'f' at byte 16 of section 'tc' is on no instruction or data of the section",
    );
    // What is dropped with a section is not dropped silently.
    let relocated = |o: &mut Object| {
        let f = o.undefined("f", Binding::Global);
        o.relocate_data("license", 0, f);
    };
    refused(
        &[&|_: &mut Object| {}, &relocated],
        "b.o: relocation against 'f' at byte 0 of section 'license' is in a section that holds text or a number alone",
    );
    refused(
        &[&callee(Binding::Global, 1), &caller],
        "'f' is declared differently in b.o than in a.o: 1 parameters, not 0",
    );
    refused(
        &[&caller, &with(|o| o.data(".jumptables", &[0; 8]))],
        "b.o: section '.jumptables' holds tables of jumps (Linux 6.19), which do not move with the code: compile with -fno-jump-tables",
    );
}

#[test]
fn alignments_do_not_make_a_small_file_large() {
    use kscope_spec::elf::{number, write::Writer};
    let file = |count: usize| {
        let mut writer = Writer::new(ByteOrder::Little);
        for _ in 0..count {
            let flags = number::SHF_ALLOC | number::SHF_WRITE;
            writer.section(".data", number::SHT_PROGBITS, flags, vec![1]);
        }
        let mut bytes = writer.finish();
        // Each begins at a multiple of 1 MiB once linked.
        let table = u64::from_le_bytes(bytes[40..48].try_into().expect("8 bytes")) as usize;
        for header in 1..=count {
            let align = table + header * 64 + 48;
            bytes[align..align + 8].copy_from_slice(&(1u64 << 20).to_le_bytes());
        }
        bytes
    };
    let linked = |count| link::objects(&[("a.o", &file(count))]).map(|bytes| bytes.len() >> 20);
    assert_eq!(linked(3), Ok(2));
    let error = linked(1000).expect_err("a gigabyte").to_string();
    let why = "is one of many with alignments that add more than 16 MiB";
    assert!(error.contains(why), "{error}");
}

#[test]
fn texts_of_lines_that_overlap_are_refused() {
    use kscope_btf::ext::{Ext, LineRecord, Section};
    use kscope_spec::elf::write::Writer;
    let mut types = kscope_btf::write::Builder::new();
    types.add_int("int", 4, kscope_btf::Encoding::Signed);
    let (name, long) = (types.add_string("xdp"), types.add_string(&"x".repeat(4000)));
    // The text of each begins one byte behind that of the one before.
    let records = (0..4000).map(|number| LineRecord {
        offset: 0,
        file: 0,
        text: long + number,
        line: 1,
        column: 1,
    });
    let records = records.collect();
    let ext = Ext {
        lines: vec![Section { name, records }],
        ..Ext::default()
    };
    let mut writer = Writer::new(ByteOrder::Little);
    writer.code("xdp", &NOTHING);
    writer.note(".BTF", types.finish());
    writer.note(".BTF.ext", ext.to_bytes(kscope_btf::Endian::Little));
    let error = link::objects(&[("a.o", &writer.finish())]).expect_err("refused");
    let expected = "a.o: section .BTF.ext: malformed BTF: texts, which overlap, at byte 0";
    assert_eq!(error.to_string(), expected);
}
