//! What is written is read again as it was; what has no form in an object is refused.

use super::*;
use crate::insn::Size;
use crate::object::{
    CoreKind, CoreReloc, FuncInfo, LineInfo, MapKind, MapSpec, Pinning, ProgramType, Reloc,
    SourceFile, SourceText, Variable,
};
use crate::read;
use kscope_btf::write::NewMember;
use kscope_btf::{Encoding, Linkage};

fn map(name: &str, section: &str, kind: MapKind) -> MapSpec {
    MapSpec {
        name: name.to_owned(),
        section: section.to_owned(),
        kind,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        ..MapSpec::default()
    }
}

fn program(name: &str, section: &str, kind: ProgramType) -> ProgramSpec {
    ProgramSpec {
        name: name.to_owned(),
        kind,
        section: section.to_owned(),
        insns: vec![Insn::mov64_imm(Reg::R0, 0), Insn::exit()],
        funcs: vec![FuncInfo {
            name: name.to_owned(),
            ..FuncInfo::default()
        }],
        ..ProgramSpec::default()
    }
}

/// Two programs of one section and one of another, over maps of each kind.
fn spec(order: ByteOrder) -> Spec {
    let mut builder = Builder::with_endian(endian(order));
    let int = builder.add_int("int", 4, Encoding::Signed);
    let word = builder.add_int("u64", 8, Encoding::Unsigned);
    let task = builder.add_struct("task_struct", 64, &[NewMember::new("pid", int, 32)]);
    let context = builder.add_ptr(TypeId::VOID);
    let proto = builder.add_func_proto(int, &[("ctx", context)]);
    let mut programs = vec![
        program("first", "kprobe/vfs_read", ProgramType::Kprobe),
        program("second", "kprobe/vfs_read", ProgramType::Kprobe),
        program(
            "third",
            "tracepoint/sched/sched_switch",
            ProgramType::Tracepoint,
        ),
    ];
    for program in &mut programs {
        let func = builder.add_func(&program.name, proto, Linkage::Global);
        program.funcs[0].type_id = func.0;
    }
    let mut insns = Insn::ld_imm64(Reg::R1, 0).to_vec();
    insns.extend(Insn::ld_imm64(Reg::R2, 0));
    insns.push(Insn::ldx(Size::DW, Reg::R2, Reg::R2, 0));
    insns.push(Insn::mov64_imm(Reg::R0, 4));
    insns.push(Insn::exit());
    programs[1].insns = insns;
    let reloc = |insn, kind| Reloc { insn, kind };
    let value = RelocKind::MapValue {
        map: MapId(2),
        offset: 8,
    };
    programs[1].relocs = vec![reloc(0, RelocKind::Map(MapId(1))), reloc(2, value)];
    programs[1].core = vec![CoreReloc {
        insn: 5,
        kind: CoreKind::FieldByteOffset,
        type_id: task.0,
        access: vec![0, 0],
    }];
    let line = |insn, line| LineInfo {
        insn,
        file: 0,
        line,
        column: 3,
    };
    programs[1].lines = vec![line(0, 1), line(4, 2)];
    let hash = MapSpec {
        key_type: int.0,
        value_type: word.0,
        max_entries: 100,
        flags: 1,
        pinning: Pinning::ByName,
        ..map("hash", ".maps", MapKind::Hash)
    };
    let ring = MapSpec {
        key_size: 0,
        value_size: 0,
        max_entries: 4096,
        ..map("ring", ".maps", MapKind::RingBuf)
    };
    let constants = MapSpec {
        value_size: 16,
        initial: Some((0..16).collect()),
        frozen: true,
        ..map(".rodata.late", ".rodata.late", MapKind::Array)
    };
    let variable = |name: &str, offset| Variable {
        name: name.to_owned(),
        map: MapId(2),
        offset,
        size: 8,
        type_id: word.0,
    };
    Spec {
        maps: vec![hash, ring, constants],
        programs,
        variables: vec![variable("one", 0), variable("two", 8)],
        files: vec![SourceFile {
            name: "x.bt".to_owned(),
            text: SourceText::Whole("a line\n  another\n".to_owned()),
        }],
        license: "GPL".to_owned(),
        byte_order: order,
        types: builder.finish(),
        ..Spec::default()
    }
}

#[test]
fn what_is_written_is_read_again() {
    for order in [ByteOrder::Little, ByteOrder::Big] {
        let spec = spec(order);
        let note = Note {
            name: ".kscope",
            bytes: b"a plan",
        };
        let bytes = object(&spec, &[note]).unwrap();
        assert_eq!(object(&spec, &[note]).unwrap(), bytes);
        let elf = crate::elf::Elf::parse(&bytes).unwrap();
        assert_eq!(elf.named(".kscope").unwrap().1.data, b"a plan");
        let again = read::object(&bytes).unwrap();
        assert_eq!((again.license.as_str(), again.byte_order), ("GPL", order));
        assert_eq!(again.programs.len(), 3);
        for (old, new) in spec.programs.iter().zip(&again.programs) {
            assert_eq!(new.refused, None);
            assert_eq!((&new.name, &new.section), (&old.name, &old.section));
            assert_eq!((new.kind, &new.funcs), (old.kind, &old.funcs));
            assert_eq!((&new.relocs, &new.core), (&old.relocs, &old.core));
            let places = |p: &ProgramSpec| -> Vec<_> {
                p.lines.iter().map(|l| (l.insn, l.line, l.column)).collect()
            };
            assert_eq!(places(new), places(old));
            assert_eq!(new.insns.len(), old.insns.len());
        }
        assert_eq!(again.files[0].text.line(2), Some("another"));
        assert_eq!(again.variables, spec.variables);
        for (old, new) in spec.maps.iter().zip(&again.maps) {
            assert_eq!(new.refused, None);
            assert_eq!((&new.name, new.kind), (&old.name, old.kind));
            assert_eq!(
                (new.key_size, new.value_size),
                (old.key_size, old.value_size)
            );
            assert_eq!(
                (new.max_entries, new.pinning),
                (old.max_entries, old.pinning)
            );
            assert_eq!((&new.initial, new.frozen), (&old.initial, old.frozen));
            assert_eq!(new.key_type, old.key_type);
        }
    }
}

#[test]
fn what_has_no_form_is_refused() {
    let check = |change: &dyn Fn(&mut Spec), expected: &str| {
        let mut spec = spec(ByteOrder::Little);
        change(&mut spec);
        let error = object(&spec, &[]).expect_err(expected);
        assert_eq!(error.to_string(), expected);
    };
    check(
        &|spec| spec.programs[0].section.clear(),
        "program first cannot be written: it names no section",
    );
    check(
        &|spec| spec.programs[0].funcs.push(FuncInfo::default()),
        "program first cannot be written: its functions do not follow one another",
    );
    let late = RelocKind::Late(crate::LateId(0));
    check(
        &|spec| spec.programs[1].relocs[0].kind = late.clone(),
        "program second cannot be written: it has late values in its instructions",
    );
    check(
        &|spec| spec.programs[1].relocs[0].insn = 6,
        "program second cannot be written: a relocation does not stand on ld_imm64",
    );
    check(
        &|spec| spec.programs[1].relocs[0].kind = RelocKind::Map(MapId(9)),
        "program second cannot be written: it uses no known map",
    );
    let inside = RelocKind::MapValue {
        map: MapId(0),
        offset: 0,
    };
    check(
        &|spec| spec.programs[1].relocs[0].kind = inside.clone(),
        "program second cannot be written: it reaches into a map that is no section of data",
    );
    check(
        &|spec| spec.maps[0].initial = Some(vec![1]),
        "map hash cannot be written: it has contents, and no section for them",
    );
    check(
        &|spec| spec.maps[0].inner = Some(Box::default()),
        "map hash cannot be written: a map of its type holds no maps",
    );
    check(
        &|spec| spec.maps[2].kind = MapKind::Hash,
        "map .rodata.late cannot be written: a section of data is an array of one entry",
    );
    check(
        &|spec| spec.maps[2].initial = Some(vec![0; 17]),
        "map .rodata.late cannot be written: it has more bytes than its value",
    );
    check(
        &|spec| spec.types = vec![1, 2, 3],
        "the types cannot be read",
    );
}

/// The product of maps, variables and sections of types would be minutes, and is what a test's own limit
/// is for.
#[test]
fn many_maps_with_many_variables() {
    let mut builder = Builder::with_endian(endian(ByteOrder::Little));
    let int = builder.add_int("int", 4, Encoding::Signed);
    let (mut maps, mut variables) = (Vec::new(), Vec::new());
    for number in 0..20_000 {
        let section = format!(".data.{number}");
        let mut own = Vec::new();
        for offset in [0, 4] {
            let name = format!("v{offset}_{number}");
            own.push((builder.add_var(&name, int, Linkage::Global), offset, 4));
            variables.push(Variable {
                name,
                map: MapId(number),
                offset,
                size: 4,
                type_id: int.0,
            });
        }
        builder.add_datasec(&section, 8, &own);
        maps.push(map(&section, &section, MapKind::Array));
    }
    let spec = Spec {
        maps,
        variables,
        types: builder.finish(),
        ..Spec::default()
    };
    let written = object(&spec, &[]).expect("an object");
    let again = read::object(&written).expect("what was written");
    assert_eq!(again.variables.len(), spec.variables.len());
}

#[test]
fn more_maps_than_types_have_room_for_are_refused() {
    let hash = |number: u32| map(&format!("m{number}"), ".maps", MapKind::Hash);
    let spec = Spec {
        maps: (0..65_536).map(hash).collect(),
        ..Spec::default()
    };
    let error = object(&spec, &[]).expect_err("no object");
    assert!(
        matches!(
            error,
            WriteError::Unwritten(kscope_btf::Error::TooManyElements { count: 65_536, .. })
        ),
        "{error}"
    );
}
