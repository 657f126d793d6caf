//! Each relocation, against literal instructions.

use super::*;
use kscope_spec::{AttachKind, ProgramType, Reloc};

struct Fixed;

impl Target for Fixed {
    fn map(&self, map: MapId) -> Result<Option<i32>, Error> {
        match map.0 {
            0 | 1 => Ok(Some(70 + map.0 as i32)),
            2 => Ok(None),
            _ => Err(Error::invalid("no map")),
        }
    }

    fn value(&self, _: MapId, offset: u32) -> Result<(), Error> {
        match offset {
            0..100 => Ok(()),
            _ => Err(Error::invalid("no value")),
        }
    }

    fn external(&self, external: ExternId) -> Result<Option<External>, Error> {
        Ok(Some(match external.0 {
            0 => External::Address(0xfedc_ba98_7654_3210),
            1 => External::Variable { id: 17, btf: 0 },
            2 => External::Function {
                id: 18,
                btf: 9,
                place: 3,
            },
            3 => External::Value {
                map: MapId(1),
                offset: 8,
            },
            _ => return Ok(None),
        }))
    }

    fn late(&self, _: LateId) -> Result<u64, Error> {
        Ok(0xfedc_ba98_7654_3210)
    }
}

fn patched(at: u32, kind: RelocKind) -> Result<Vec<u8>, Error> {
    let wide = |dst| Insn {
        code: 0x18,
        dst,
        ..Insn::default()
    };
    let exit = Insn {
        code: 0x95,
        ..Insn::default()
    };
    let program = ProgramSpec {
        name: "p".to_owned(),
        kind: ProgramType::Kprobe,
        attach: AttachKind::None,
        insns: vec![exit, wide(3), Insn::default(), exit],
        relocs: vec![Reloc { insn: at, kind }],
        lines: Vec::new(),
        funcs: Vec::new(),
        flags: 0,
        ..ProgramSpec::default()
    };
    instructions(&program, program.insns.clone(), &Fixed)
}

#[track_caller]
fn check(kind: RelocKind, src: u8, low: u32, high: u32) {
    let bytes = patched(1, kind).expect("well formed");
    let exit = Insn {
        code: 0x95,
        ..Insn::default()
    }
    .encode();
    let first = Insn {
        code: 0x18,
        dst: 3,
        src,
        off: 0,
        imm: low as i32,
    }
    .encode();
    let second = Insn {
        imm: high as i32,
        ..Insn::default()
    }
    .encode();
    assert_eq!(bytes, [exit, first, second, exit].concat());
}

#[test]
fn each_kind() {
    check(RelocKind::Map(MapId(1)), 1, 71, 0);
    check(
        RelocKind::MapValue {
            map: MapId(0),
            offset: 24,
        },
        2,
        70,
        24,
    );
    check(RelocKind::Late(LateId(0)), 0, 0x7654_3210, 0xfedc_ba98);
    // From the slot after the first: 3 - 1 - 1, and 0 - 1 - 1.
    check(RelocKind::Func(3), 4, 1, 0);
    check(RelocKind::Func(0), 4, (-2i32) as u32, 0);
}

#[test]
fn symbols_of_the_kernel() {
    let external = |index| RelocKind::Extern(ExternId(index));
    check(external(0), 0, 0x7654_3210, 0xfedc_ba98);
    check(external(1), 3, 17, 0);
    check(external(2), 3, 18, 9);
    check(external(3), 2, 71, 8);
    check(external(4), 0, 0, 0);
}

/// What becomes of a call of an external function, as source, offset and constant.
fn called(index: u32) -> Result<(u8, i16, i32), Error> {
    let call = Insn {
        code: 0x85,
        src: 1,
        imm: -1,
        ..Insn::default()
    };
    let program = ProgramSpec {
        name: "p".to_owned(),
        insns: vec![call],
        relocs: vec![Reloc {
            insn: 0,
            kind: RelocKind::Extern(ExternId(index)),
        }],
        ..ProgramSpec::default()
    };
    let bytes = instructions(&program, program.insns.clone(), &Fixed)?;
    let done = Insn::decode(bytes[..8].try_into().expect("one"));
    assert_eq!((bytes.len(), done.code), (8, 0x85));
    Ok((done.src, done.off, done.imm))
}

#[test]
fn functions_of_the_kernel_are_called() {
    assert_eq!(called(2), Ok((2, 3, 18)));
    // A weak one that is nowhere: no helper has this number.
    assert_eq!(called(7), Ok((0, 0, 2_002_000_007)));
    let error = called(0).expect_err("an address");
    assert!(error.to_string().contains("calls what is no function"));
}

#[test]
fn what_is_left_out_becomes_a_call_of_nothing() {
    let bytes = patched(1, RelocKind::Map(MapId(2))).expect("well formed");
    for slot in bytes[8..24].chunks(8) {
        let insn = Insn::decode(slot.try_into().expect("one"));
        assert_eq!((insn.code, insn.src, insn.imm), (0x85, 0, 2_001_000_002));
    }
    let value = |map, offset| RelocKind::MapValue {
        map: MapId(map),
        offset,
    };
    assert!(patched(1, value(2, 4)).is_ok());
    let error = patched(1, value(0, 100)).expect_err("not written");
    assert_eq!(error.to_string(), "no value");
}

#[test]
fn misplaced_ones_are_refused() {
    let refuse = |at, kind| patched(at, kind).expect_err("misplaced").to_string();
    let map = RelocKind::Map(MapId(0));
    let expected = |at| format!("program p: the relocation at {at} does not stand on ld_imm64");
    for at in [0, 2, 3, 4, u32::MAX] {
        assert_eq!(refuse(at, map.clone()), expected(at));
    }
    assert_eq!(refuse(1, RelocKind::Map(MapId(9))), "no map");
    assert_eq!(
        refuse(1, RelocKind::Func(4)),
        "program p: the relocation at 1 names a function past the end"
    );
}
