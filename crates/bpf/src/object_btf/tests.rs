//! The blob read back, and the rules that the kernel holds the records to.

use kscope_btf::Kind;
use kscope_spec::{AttachKind, Insn, ProgramType, SourceFile};

use super::*;

fn spec(funcs: &[(u32, &str)], lines: &[(u32, u32)]) -> Spec {
    let program = ProgramSpec {
        name: "main".to_owned(),
        kind: ProgramType::Kprobe,
        attach: AttachKind::None,
        insns: vec![Insn::default(); 20],
        relocs: Vec::new(),
        lines: lines
            .iter()
            .map(|&(insn, line)| kscope_spec::LineInfo {
                insn,
                file: 0,
                line,
                column: 3,
            })
            .collect(),
        funcs: funcs
            .iter()
            .map(|&(insn, name)| kscope_spec::FuncInfo {
                insn,
                name: name.to_owned(),
                ..kscope_spec::FuncInfo::default()
            })
            .collect(),
        flags: 0,
        ..ProgramSpec::default()
    };
    let file = SourceFile {
        name: "a.bt".to_owned(),
        text: SourceText::Whole("one\ntwo\r\n\nfour".to_owned()),
    };
    Spec {
        programs: vec![program],
        files: vec![file],
        ..Spec::default()
    }
}

type Function = (u32, String);
type Line = (u32, u32, String);

/// Gives functions by name, and lines as slot, number and text.
fn read(spec: &Spec) -> (Vec<Function>, Vec<Line>) {
    let built = ObjectBtf::build(spec, None, &Takes::everything());
    let btf = Btf::parse(built.blob.clone()).expect("well formed");
    btf.validate().expect("well formed");
    let words = |bytes: &[u8]| -> Vec<u32> {
        assert_eq!(bytes.len() % 4, 0);
        let words = bytes.chunks_exact(4);
        words
            .map(|word| u32::from_ne_bytes(word.try_into().expect("four bytes")))
            .collect()
    };
    let records = built.records(0).expect("one program");
    let functions = words(&records.functions);
    let functions = functions.chunks(2).map(|record| {
        let id = TypeId(record[1]);
        assert_eq!(btf.kind(id), Some(Kind::Func));
        (record[0], btf.name(id).expect("named").to_owned())
    });
    let lines = words(&records.lines);
    let lines = lines.chunks(4).map(|record| {
        assert_eq!(btf.string(record[1]), Some("a.bt"));
        assert_eq!(record[3] & 0x3ff, 3);
        (
            record[0],
            record[3] >> 10,
            btf.string(record[2]).expect("a string").to_owned(),
        )
    });
    (functions.collect(), lines.collect())
}

#[test]
fn lines_are_quoted() {
    let (functions, lines) = read(&spec(&[(0, "main")], &[(0, 1), (3, 2), (4, 4), (9, 77)]));
    assert_eq!(functions, [(0, "main".to_owned())]);
    let expected = [(0, 1, "one"), (3, 2, "two"), (4, 4, "four"), (9, 77, "")];
    assert_eq!(
        lines,
        expected.map(|(insn, line, text)| (insn, line, text.to_owned()))
    );
}

#[test]
fn every_function_begins_with_a_line() {
    let starts = |funcs: &[(u32, &str)], lines: &[(u32, u32)]| -> Vec<(u32, u32)> {
        read(&spec(funcs, lines))
            .1
            .into_iter()
            .map(|(insn, line, _)| (insn, line))
            .collect()
    };
    let funcs = [(0, "main"), (6, "f"), (9, "g")];
    assert_eq!(
        starts(&funcs, &[(2, 1), (7, 2)]),
        [(0, 1), (2, 1), (6, 1), (7, 2), (9, 2)]
    );
    assert_eq!(
        starts(&funcs, &[(0, 1), (6, 2), (9, 4)]),
        [(0, 1), (6, 2), (9, 4)]
    );
    // Not ascending: what the kernel would refuse is left out.
    assert_eq!(
        starts(&[(0, "main")], &[(0, 1), (5, 2), (5, 4), (3, 1)]),
        [(0, 1), (5, 2)]
    );
    assert_eq!(starts(&funcs, &[]), []);
}

#[test]
fn functions_have_c_names() {
    let name = |name: &str| read(&spec(&[(0, name)], &[])).0[0].1.clone();
    assert_eq!(name("kprobe:vfs_*"), "kprobe_vfs__");
    assert_eq!(name("1st"), "_1st");
    assert_eq!(name(""), "_");
    assert_eq!(name(&"x".repeat(500)).len(), 127);
    // A program that names no functions is one.
    assert_eq!(read(&spec(&[], &[])).0, [(0, "main".to_owned())]);
}

/// An object's types with all that kernels do not take, or did not always.
fn from_a_compiler() -> (Btf, Spec) {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let proto = b.add_func_proto(int, &[("x", int)]);
    b.add_func("main", proto, Linkage::Global);
    b.add_func("elsewhere", proto, Linkage::Extern);
    let hits = b.add_var("hits", int, Linkage::Global);
    let symbol = b.add_var("jiffies", int, Linkage::Extern);
    b.add_datasec(".ksyms", 0, &[(symbol, 0, 4)]);
    let last = b.add_var("last", int, Linkage::Static);
    b.add_datasec(".bss", 0, &[(last, 0, 4), (hits, 0, 4)]);
    let lock = b.add_var("locks", int, Linkage::Global);
    b.add_datasec(".maps", 0, &[(lock, 0, 4)]);
    b.add_float("double", 8);
    b.add_decl_tag("tag", hits, None);
    b.add_decl_tag("tag", symbol, None);
    let tag = b.add_type_tag("user", int);
    b.add_ptr(tag);
    b.add_enum64("wide", &[("huge", 1 << 40)]);
    b.add_enum("signed", 4, &[("negative", -1)]);
    let map = |section: &str, value_size| kscope_spec::MapSpec {
        kind: kscope_spec::MapKind::Array,
        section: section.to_owned(),
        key_size: 4,
        value_size,
        ..kscope_spec::MapSpec::default()
    };
    let variable = |name: &str, offset| kscope_spec::Variable {
        name: name.to_owned(),
        map: kscope_spec::MapId(1),
        offset,
        size: 4,
        type_id: 1,
    };
    let spec = Spec {
        maps: vec![map("", 4), map(".bss", 16)],
        variables: vec![variable("hits", 0), variable("last", 8)],
        ..Spec::default()
    };
    (Btf::parse(b.finish()).expect("well formed"), spec)
}

#[test]
fn many_variables_are_found_in_time_whatever_their_names() {
    const COUNT: u32 = 32_000;
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    // Static ones of several functions may have one name.
    let name = |index: u32| format!("v{}", index / 2);
    // As many that have no symbol are before them.
    let mut vars: Vec<_> = (0..COUNT)
        .map(|index| {
            (
                b.add_var(&format!("gone{index}"), int, Linkage::Static),
                0,
                4,
            )
        })
        .collect();
    vars.extend((0..COUNT).map(|index| (b.add_var(&name(index), int, Linkage::Static), 0, 4)));
    b.add_datasec(".bss", 0, &vars);
    let variables = (0..COUNT).map(|index| kscope_spec::Variable {
        name: name(index),
        map: kscope_spec::MapId(0),
        offset: index * 4,
        size: 4,
        type_id: int.0,
    });
    let map = kscope_spec::MapSpec {
        kind: kscope_spec::MapKind::Array,
        section: ".bss".to_owned(),
        key_size: 4,
        value_size: COUNT * 4,
        ..kscope_spec::MapSpec::default()
    };
    let spec = Spec {
        maps: vec![map],
        variables: variables.collect(),
        ..Spec::default()
    };
    let local = Btf::parse(b.finish()).expect("well formed");
    let begin = std::time::Instant::now();
    let built = ObjectBtf::build(&spec, Some(&local), &Takes::everything());
    // Comparing each with each takes minutes.
    assert!(begin.elapsed() < std::time::Duration::from_secs(10));
    let btf = Btf::parse(built.blob).expect("well formed");
    let section = btf.find(".bss", Kind::DataSec).and_then(|id| btf.get(id));
    let Some(kscope_btf::Type::DataSec(section)) = section else {
        panic!("{section:?}");
    };
    assert!((0..COUNT).eq(section.vars().map(|var| var.offset / 4)));
}

/// Looking at all maps and variables for each section takes minutes.
#[test]
fn many_sections_are_found_in_time() {
    const COUNT: u32 = 20_000;
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let mut spec = Spec::default();
    for number in 0..COUNT {
        let section = format!(".data.{number}");
        let var = b.add_var(&format!("v{number}"), int, Linkage::Global);
        b.add_datasec(&section, 0, &[(var, 0, 4)]);
        spec.variables.push(kscope_spec::Variable {
            name: format!("v{number}"),
            map: kscope_spec::MapId(number),
            offset: 4,
            size: 4,
            type_id: int.0,
        });
        spec.maps.push(kscope_spec::MapSpec {
            kind: kscope_spec::MapKind::Array,
            section,
            key_size: 4,
            value_size: 8,
            ..kscope_spec::MapSpec::default()
        });
    }
    let local = Btf::parse(b.finish()).expect("well formed");
    let built = ObjectBtf::build(&spec, Some(&local), &Takes::everything());
    let btf = Btf::parse(built.blob).expect("well formed");
    let sections = btf.ids().filter_map(|id| match btf.get(id)? {
        kscope_btf::Type::DataSec(section) => section.vars().next(),
        _ => None,
    });
    assert!(sections.map(|var| var.offset).eq((0..COUNT).map(|_| 4)));
}

#[test]
fn attributes_are_for_kernels_that_know_them() {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let tag = b.add_type_tag("user", int);
    b.add_ptr(tag);
    let attribute = b.add_type_attribute("address_space(1)", int);
    b.add_ptr(attribute);
    let name = b.add_typedef("number_t", int);
    b.add_decl_tag("tag", name, None);
    b.add_decl_attribute("aligned(8)", name, None);
    let local = Btf::parse(b.finish()).expect("well formed");
    let spec = Spec::default();
    let check = |attributes: bool, expected: [&str; 8]| {
        // As the kernel before 6.15, which has no flag in tags.
        let kernel = kscope_sys::FakeKernel::new(move |call| match call {
            kscope_sys::Call::Bpf(kscope_sys::Bpf::BtfLoad(load)) => {
                let btf = Btf::parse(load.bytes.to_vec()).expect("well formed");
                let has = |id| btf.write_json(id).contains("attribute");
                match !attributes && btf.ids().any(has) {
                    true => Err(Errno::INVAL),
                    false => kscope_sys::FakeKernel::object(),
                }
            }
            _ => Err(Errno::NOSYS),
        });
        let loaded = LoadedBtf::load(&kernel, &spec, Some(&local));
        assert_eq!(loaded.refused(), None);
        let btf = Btf::parse(loaded.built.blob).expect("well formed");
        let found: Vec<String> = btf
            .ids()
            .map(|id| {
                let name = btf.name(id).expect("named");
                let kind = btf.kind(id).expect("there");
                format!("{kind:?} {name}").trim_end().to_owned()
            })
            .collect();
        assert_eq!(found, expected);
    };
    check(
        true,
        [
            "Int int",
            "TypeTag user",
            "Ptr",
            "TypeTag address_space(1)",
            "Ptr",
            "Typedef number_t",
            "DeclTag tag",
            "DeclTag aligned(8)",
        ],
    );
    check(
        false,
        [
            "Int int",
            "TypeTag user",
            "Ptr",
            "Const",
            "Ptr",
            "Typedef number_t",
            "DeclTag tag",
            "Ptr",
        ],
    );
}

/// Lists what becomes of each type, as kind and name.
fn fitted(takes: &Takes) -> Vec<String> {
    let (local, spec) = from_a_compiler();
    let built = ObjectBtf::build(&spec, Some(&local), takes);
    let btf = Btf::parse(built.blob).expect("well formed");
    btf.validate().expect("well formed");
    assert_eq!(btf.type_count(), local.type_count());
    let line = |id| {
        format!(
            "{:?} {}",
            btf.kind(id).expect("there"),
            btf.name(id).expect("there")
        )
    };
    btf.ids().map(line).collect()
}

#[test]
fn what_no_kernel_takes_is_replaced() {
    let new = fitted(&Takes::everything());
    let expected = [
        "Int int",
        "FuncProto ",
        "Func main",
        "Ptr ",
        "Var hits",
        "Ptr ",
        "Ptr ",
        "Var last",
        "DataSec .bss",
        "Var locks",
        "Ptr ",
        "Float double",
        "DeclTag tag",
        "Ptr ",
        "TypeTag user",
        "Ptr ",
        "Enum64 wide",
        "Enum signed",
    ];
    assert_eq!(new, expected);
    let old = fitted(&Takes::probe(&refusing(), &from_a_compiler().0));
    assert_eq!(
        old[11..],
        [
            "Struct double",
            "Ptr ",
            "Ptr ",
            "Const ",
            "Ptr ",
            "Int wide",
            "Enum signed"
        ]
    );
    assert_eq!(old[..11], expected[..11]);
}

#[test]
fn sections_get_the_linkers_sizes() {
    let (local, spec) = from_a_compiler();
    let built = ObjectBtf::build(&spec, Some(&local), &Takes::everything());
    let btf = Btf::parse(built.blob).expect("well formed");
    let id = btf.find(".bss", Kind::DataSec).expect("kept");
    let Some(kscope_btf::Type::DataSec(section)) = btf.get(id) else {
        panic!("no section");
    };
    let vars: Vec<_> = section
        .vars()
        .map(|var| (btf.name(var.type_id).expect("named"), var.offset, var.size))
        .collect();
    assert_eq!(
        (section.size, vars),
        (16, vec![("hits", 0, 4), ("last", 8, 4)])
    );
}

#[test]
fn an_enumeration_without_sign_keeps_its_constants() {
    let (local, spec) = from_a_compiler();
    let takes = Takes::probe(&refusing(), &local);
    let built = ObjectBtf::build(&spec, Some(&local), &takes);
    let btf = Btf::parse(built.blob).expect("well formed");
    let id = btf.find("signed", Kind::Enum).expect("kept");
    let Some(kscope_btf::Type::Enum(e)) = btf.get(id) else {
        panic!("no enumeration");
    };
    assert!(!e.signed);
    assert_eq!(e.enumerators().next().map(|c| c.name), Some("negative"));
}

/// A kernel that takes no types.
fn refusing() -> kscope_sys::FakeKernel {
    kscope_sys::FakeKernel::new(|_| Err(Errno::INVAL))
}

#[test]
fn functions_keep_their_types() {
    let (local, mut spec) = from_a_compiler();
    let func = |insn, type_id| kscope_spec::FuncInfo {
        insn,
        name: format!("f{insn}"),
        type_id,
    };
    spec.programs = vec![ProgramSpec {
        // One of the object's, one that is elsewhere, one without a type.
        funcs: vec![func(0, 3), func(4, 4), func(8, 0)],
        ..ProgramSpec::default()
    }];
    let built = ObjectBtf::build(&spec, Some(&local), &Takes::everything());
    let btf = Btf::parse(built.blob.clone()).expect("well formed");
    btf.validate().expect("well formed");
    let records = &built.records(0).expect("one program").functions;
    let names: Vec<_> = records
        .chunks(8)
        .map(|record| {
            let id = u32::from_ne_bytes(record[4..].try_into().expect("four"));
            btf.name(TypeId(id)).expect("named")
        })
        .collect();
    assert_eq!(names, ["main", "f4", "f8"]);
}

#[test]
fn refused_types_are_loaded_without_what_the_kernel_does_not_know() {
    let (local, spec) = from_a_compiler();
    // A kernel that knows no floating-point numbers: kind 16.
    let kernel = kscope_sys::FakeKernel::new(|call| match call {
        kscope_sys::Call::Bpf(kscope_sys::Bpf::BtfLoad(load)) => {
            let btf = Btf::parse(load.bytes.to_vec()).expect("well formed");
            match btf.ids().any(|id| btf.kind(id) == Some(Kind::Float)) {
                true => Err(Errno::INVAL),
                false => kscope_sys::FakeKernel::object(),
            }
        }
        _ => Err(Errno::NOSYS),
    });
    let loaded = LoadedBtf::load(&kernel, &spec, Some(&local));
    assert_eq!(loaded.refused(), None);
    assert!(loaded.fd().is_some());
    let btf = Btf::parse(loaded.built.blob).expect("well formed");
    assert!(btf.find("double", Kind::Struct).is_some());
    assert!(btf.ids().any(|id| btf.kind(id) == Some(Kind::TypeTag)));
    let none = LoadedBtf::load(&refusing(), &spec, Some(&local));
    assert!(none.fd().is_none());
    assert_eq!(none.refused().and_then(Error::errno), Some(Errno::INVAL));
}
