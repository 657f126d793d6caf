//! Encodings against literal bytes, and `Op` against every slot.

use super::*;
use crate::helper;

/// Encoding of the little-endian target, written as in RFC 9669.
#[track_caller]
fn check(insn: Insn, expected: [u8; 8]) {
    assert_eq!(insn.encode_le(), expected, "{insn:?}");
    assert_eq!(Insn::decode_le(expected), insn);
    assert_eq!(Insn::decode_be(insn.encode_be()), insn);
    assert_eq!(Insn::decode(insn.encode()), insn);
    let op = insn.op();
    assert_eq!(op.map(Op::insn), Ok(insn), "{op:?}");
}

#[test]
fn encodings() {
    let (r0, r1, r2, fp) = (Reg::R0, Reg::R1, Reg::R2, Reg::FP);
    check(Insn::mov64(r2, fp), [0xbf, 0xa2, 0, 0, 0, 0, 0, 0]);
    check(
        Insn::mov64_imm(r1, -1),
        [0xb7, 0x01, 0, 0, 0xff, 0xff, 0xff, 0xff],
    );
    check(Insn::mov32(r1, r2), [0xbc, 0x21, 0, 0, 0, 0, 0, 0]);
    check(Insn::mov32_imm(r1, 7), [0xb4, 0x01, 0, 0, 7, 0, 0, 0]);
    check(
        Insn::alu64_imm(AluOp::Add, r2, -8),
        [0x07, 0x02, 0, 0, 0xf8, 0xff, 0xff, 0xff],
    );
    check(
        Insn::alu64(AluOp::Sub, r1, r2),
        [0x1f, 0x21, 0, 0, 0, 0, 0, 0],
    );
    check(
        Insn::alu32(AluOp::Mul, r1, r2),
        [0x2c, 0x21, 0, 0, 0, 0, 0, 0],
    );
    check(
        Insn::alu64(AluOp::Div, r1, r2),
        [0x3f, 0x21, 0, 0, 0, 0, 0, 0],
    );
    check(
        Insn::alu64(AluOp::SDiv, r1, r2),
        [0x3f, 0x21, 1, 0, 0, 0, 0, 0],
    );
    check(
        Insn::alu32_imm(AluOp::SMod, r1, 3),
        [0x94, 0x01, 1, 0, 3, 0, 0, 0],
    );
    check(
        Insn::alu64_imm(AluOp::Or, r1, 3),
        [0x47, 0x01, 0, 0, 3, 0, 0, 0],
    );
    check(
        Insn::alu64_imm(AluOp::And, r1, 3),
        [0x57, 0x01, 0, 0, 3, 0, 0, 0],
    );
    check(
        Insn::alu64_imm(AluOp::Lsh, r1, 3),
        [0x67, 0x01, 0, 0, 3, 0, 0, 0],
    );
    check(
        Insn::alu64_imm(AluOp::Rsh, r1, 3),
        [0x77, 0x01, 0, 0, 3, 0, 0, 0],
    );
    check(
        Insn::alu64_imm(AluOp::Mod, r1, 3),
        [0x97, 0x01, 0, 0, 3, 0, 0, 0],
    );
    check(
        Insn::alu64_imm(AluOp::Xor, r1, 3),
        [0xa7, 0x01, 0, 0, 3, 0, 0, 0],
    );
    check(
        Insn::alu64_imm(AluOp::Arsh, r1, 3),
        [0xc7, 0x01, 0, 0, 3, 0, 0, 0],
    );
    check(Insn::neg64(r1), [0x87, 0x01, 0, 0, 0, 0, 0, 0]);
    check(Insn::neg32(r1), [0x84, 0x01, 0, 0, 0, 0, 0, 0]);
    check(Insn::to_le(r1, 16), [0xd4, 0x01, 0, 0, 16, 0, 0, 0]);
    check(Insn::to_be(r1, 32), [0xdc, 0x01, 0, 0, 32, 0, 0, 0]);
    check(Insn::bswap(r1, 64), [0xd7, 0x01, 0, 0, 64, 0, 0, 0]);
    check(Insn::movsx64(r1, r2, 32), [0xbf, 0x21, 32, 0, 0, 0, 0, 0]);
    check(Insn::movsx32(r1, r2, 8), [0xbc, 0x21, 8, 0, 0, 0, 0, 0]);
    check(
        Insn::ldx(Size::DW, r1, fp, -8),
        [0x79, 0xa1, 0xf8, 0xff, 0, 0, 0, 0],
    );
    check(
        Insn::ldx(Size::B, r0, r1, 3),
        [0x71, 0x10, 3, 0, 0, 0, 0, 0],
    );
    check(
        Insn::ldx(Size::H, r0, r1, 2),
        [0x69, 0x10, 2, 0, 0, 0, 0, 0],
    );
    check(
        Insn::ldx(Size::W, r0, r1, 4),
        [0x61, 0x10, 4, 0, 0, 0, 0, 0],
    );
    check(
        Insn::ldsx(Size::W, r0, r1, 4),
        [0x81, 0x10, 4, 0, 0, 0, 0, 0],
    );
    check(
        Insn::stx(Size::DW, fp, -8, r1),
        [0x7b, 0x1a, 0xf8, 0xff, 0, 0, 0, 0],
    );
    check(
        Insn::st(Size::W, fp, -4, 9),
        [0x62, 0x0a, 0xfc, 0xff, 9, 0, 0, 0],
    );
    check(
        Insn::atomic(Size::DW, AtomicOp::Add, r0, 0, r1),
        [0xdb, 0x10, 0, 0, 0, 0, 0, 0],
    );
    check(
        Insn::atomic(Size::W, AtomicOp::FetchOr, r0, 0, r1),
        [0xc3, 0x10, 0, 0, 0x41, 0, 0, 0],
    );
    check(
        Insn::atomic(Size::DW, AtomicOp::Xchg, r0, 8, r1),
        [0xdb, 0x10, 8, 0, 0xe1, 0, 0, 0],
    );
    check(
        Insn::atomic(Size::DW, AtomicOp::Cmpxchg, r1, 0, r2),
        [0xdb, 0x21, 0, 0, 0xf1, 0, 0, 0],
    );
    check(Insn::ja(-2), [0x05, 0, 0xfe, 0xff, 0, 0, 0, 0]);
    check(Insn::gotol(0x1_0000), [0x06, 0, 0, 0, 0, 0, 1, 0]);
    check(
        Insn::jmp64_imm(Cond::Eq, r1, 5, 3),
        [0x15, 0x01, 3, 0, 5, 0, 0, 0],
    );
    check(
        Insn::jmp64(Cond::Sgt, r1, r2, 3),
        [0x6d, 0x21, 3, 0, 0, 0, 0, 0],
    );
    check(
        Insn::jmp32_imm(Cond::Slt, r1, -1, 1),
        [0xc6, 0x01, 1, 0, 0xff, 0xff, 0xff, 0xff],
    );
    check(
        Insn::jmp32(Cond::Set, r1, r2, 1),
        [0x4e, 0x21, 1, 0, 0, 0, 0, 0],
    );
    check(
        Insn::call(helper::GET_CURRENT_PID_TGID),
        [0x85, 0, 0, 0, 14, 0, 0, 0],
    );
    check(
        Insn::call_local(-5),
        [0x85, 0x10, 0, 0, 0xfb, 0xff, 0xff, 0xff],
    );
    check(Insn::call_kfunc(99, 1), [0x85, 0x20, 1, 0, 99, 0, 0, 0]);
    check(Insn::exit(), [0x95, 0, 0, 0, 0, 0, 0, 0]);
    check(Insn::ld_abs(Size::H, 12), [0x28, 0, 0, 0, 12, 0, 0, 0]);
    check(
        Insn::ld_ind(Size::B, r1, 12),
        [0x50, 0x10, 0, 0, 12, 0, 0, 0],
    );
}

#[test]
fn big_endian_swaps_fields_and_registers() {
    let insn = Insn::jmp64_imm(Cond::Eq, Reg::R3, 0x0102_0304, 0x0506);
    assert_eq!(insn.encode_be(), [0x15, 0x30, 5, 6, 1, 2, 3, 4]);
    assert_eq!(insn.encode_le(), [0x15, 0x03, 6, 5, 4, 3, 2, 1]);
}

#[test]
fn wide_immediates() {
    for value in [0, 1, u64::MAX, 0x8000_0000, 0x1234_5678_9abc_def0] {
        let slots = Insn::ld_imm64(Reg::R7, value);
        assert_eq!(Insn::wide_value(slots), value);
        assert!(slots[0].is_wide() && !slots[1].is_wide());
        assert_eq!((slots[0].slots(), slots[1].slots()), (2, 1));
        assert_eq!(slots[1].op(), Err(BadInsn::Code(0)));
    }
    for kind in Pseudo::ALL {
        let [first, second] = Insn::ld_pseudo(Reg::R1, kind, 5, 6);
        check(first, [0x18, 1 | (kind.src() << 4), 0, 0, 5, 0, 0, 0]);
        assert_eq!(second.encode_le(), [0, 0, 0, 0, 6, 0, 0, 0]);
    }
}

#[test]
fn every_slot_is_an_op_that_gives_it_back_or_bad() {
    let mut good = 0;
    for code in 0..=255u8 {
        for regs in [(0, 0), (1, 2), (10, 1), (1, 10), (11, 1), (1, 11), (0, 7)] {
            for off in [0, 1, -1, 8, 16, 32, i16::MIN] {
                for imm in [0, 1, 0xe1, 0xf1, 0x41, 16, 64, -1, i32::MIN] {
                    let insn = Insn {
                        code,
                        dst: regs.0,
                        src: regs.1,
                        off,
                        imm,
                    };
                    if let Ok(op) = insn.op() {
                        good += 1;
                        assert_eq!(op.insn(), insn, "{op:?}");
                    }
                }
            }
        }
    }
    assert!(good > 3000, "{good}");
}

#[test]
fn refusals() {
    let check = |insn: Insn, expected: BadInsn| assert_eq!(insn.op(), Err(expected), "{insn:?}");
    let exit = Insn::exit();
    check(Insn { imm: 1, ..exit }, BadInsn::Field("imm"));
    check(Insn { code: 0xff, ..exit }, BadInsn::Code(0xff));
    check(Insn::mov64(Reg(11), Reg::R1), BadInsn::Register(11));
    check(Insn::mov64(Reg::R1, Reg(15)), BadInsn::Register(15));
    check(
        Insn {
            imm: 1,
            ..Insn::mov64(Reg::R1, Reg::R2)
        },
        BadInsn::Field("imm"),
    );
    check(
        Insn {
            src: 1,
            ..Insn::mov64_imm(Reg::R1, 2)
        },
        BadInsn::Field("src"),
    );
    check(
        Insn {
            off: 2,
            ..Insn::alu64_imm(AluOp::Div, Reg::R1, 2)
        },
        BadInsn::Field("off"),
    );
    check(Insn::to_be(Reg::R1, 8), BadInsn::Field("imm"));
    check(Insn::movsx32(Reg::R1, Reg::R2, 32), BadInsn::Field("off"));
    check(
        Insn::ldsx(Size::DW, Reg::R1, Reg::R2, 0),
        BadInsn::Code(0x99),
    );
    check(
        Insn::atomic(Size::H, AtomicOp::Add, Reg::R1, 0, Reg::R2),
        BadInsn::Code(0xcb),
    );
    check(
        Insn {
            src: 3,
            ..Insn::call_local(0)
        },
        BadInsn::Field("src"),
    );
    check(
        Insn {
            imm: -1,
            ..Insn::call(helper::LOOP)
        },
        BadInsn::Field("imm"),
    );
    check(
        Insn {
            src: 9,
            ..Insn::ld_imm64(Reg::R1, 0)[0]
        },
        BadInsn::Field("src"),
    );
    assert_eq!(
        BadInsn::Code(0xff).to_string(),
        "no instruction has code 0xff"
    );
}

#[test]
fn conditions_turn_round() {
    for cond in Cond::ALL {
        assert_eq!(cond.swapped().swapped(), cond);
        if let Some(negated) = cond.negated() {
            assert_ne!(negated, cond);
            assert_eq!(negated.negated(), Some(cond));
        }
    }
    assert_eq!(Cond::Gt.negated(), Some(Cond::Le));
    assert_eq!(Cond::Gt.swapped(), Cond::Lt);
    assert_eq!(Cond::Slt.negated(), Some(Cond::Sge));
}

#[test]
fn instructions_tell_what_they_read_and_write() {
    let check = |op: Op, reads: &[u8], writes: Option<u8>| {
        let read: Vec<u8> = op.reads().map(|reg| reg.0).collect();
        assert_eq!(
            (read.as_slice(), op.writes().map(|reg| reg.0)),
            (reads, writes),
            "{op:?}"
        );
    };
    let (width, size, off) = (Width::W64, Size::DW, 0);
    let (dst, src, base) = (Reg(1), Reg(2), Reg(3));
    let alu = |op, src| Op::Alu {
        width,
        op,
        dst,
        src,
    };
    check(alu(AluOp::Add, Operand::Reg(src)), &[1, 2], Some(1));
    check(alu(AluOp::Add, Operand::Imm(7)), &[1], Some(1));
    check(alu(AluOp::Mov, Operand::Reg(src)), &[2], Some(1));
    check(alu(AluOp::Mov, Operand::Imm(7)), &[], Some(1));
    check(Op::Neg { width, dst }, &[1], Some(1));
    let src_operand = Operand::Reg(src);
    let store = Op::Store {
        size,
        base,
        off,
        src: src_operand,
    };
    check(store, &[2, 3], None);
    let atomic = |op| Op::Atomic {
        size,
        op,
        base,
        off,
        src,
    };
    check(atomic(AtomicOp::Add), &[2, 3], None);
    check(atomic(AtomicOp::FetchAdd), &[2, 3], Some(2));
    check(atomic(AtomicOp::Cmpxchg), &[2, 0, 3], Some(0));
    let packet = |index| Op::LoadPacket {
        size: Size::W,
        index,
        off: 0,
    };
    check(packet(Some(src)), &[2, 6], Some(0));
    check(packet(None), &[6], Some(0));
    check(Op::Exit, &[], None);
    check(Op::Call(Callee::Helper(helper::HelperId(1))), &[], Some(0));
}
