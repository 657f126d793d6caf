//! Each relocation, against literal instructions.

use super::*;
use kscope_spec::{AttachKind, LateId, MapId, ProgramType, Reloc};

struct Fixed;

impl Target for Fixed {
    fn map(&self, map: MapId) -> Result<i32, Error> {
        if map.0 < 2 {
            Ok(70 + map.0 as i32)
        } else {
            Err(Error::invalid("no map"))
        }
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
    instructions(&program, &Fixed)
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
        imm: low.cast_signed(),
    }
    .encode();
    let second = Insn {
        imm: high.cast_signed(),
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
    check(RelocKind::Func(0), 4, (-2i32).cast_unsigned(), 0);
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
