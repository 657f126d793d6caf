//! Text to slots and back.

use super::*;
use crate::disasm;
use crate::insn::{
    AluOp, AtomicOp, Callee, Cond, Op, Operand, Pseudo, Reg, Size, Special, SwapOrder, Width,
};
use crate::object::{
    AttachKind, FuncInfo, LateId, LateKind, LateValue, LineInfo, MapId, MapKind, MapSpec,
    ProgramSpec, ProgramType, SourceFile, SourceText,
};

/// Demands that the slots print as the text and the text gives the slots.
#[track_caller]
fn check(text: &str, expected: &[Insn]) {
    assert_eq!(disasm::insns(expected), format!("{text}\n"));
    assert_eq!(insns(text).as_deref(), Ok(expected), "{text}");
}

#[test]
fn one_of_each() {
    let (r0, r1, r2, fp) = (Reg::R0, Reg::R1, Reg::R2, Reg::FP);
    check("r1 = r2", &[Insn::mov64(r1, r2)]);
    check("w1 = w2", &[Insn::mov32(r1, r2)]);
    check("r1 = -5", &[Insn::mov64_imm(r1, -5)]);
    check("w1 = 5", &[Insn::mov32_imm(r1, 5)]);
    check("r2 += -8", &[Insn::alu64_imm(AluOp::Add, r2, -8)]);
    check("r2 s>>= 3", &[Insn::alu64_imm(AluOp::Arsh, r2, 3)]);
    check("w2 s/= w1", &[Insn::alu32(AluOp::SDiv, r2, r1)]);
    check("r2 %= r1", &[Insn::alu64(AluOp::Mod, r2, r1)]);
    check("r1 = -r1", &[Insn::neg64(r1)]);
    check("w1 = -w1", &[Insn::neg32(r1)]);
    check("r1 = (s8)r2", &[Insn::movsx64(r1, r2, 8)]);
    check("w1 = (s16)w2", &[Insn::movsx32(r1, r2, 16)]);
    check("r1 = be16 r1", &[Insn::to_be(r1, 16)]);
    check("r1 = le64 r1", &[Insn::to_le(r1, 64)]);
    check("r1 = bswap32 r1", &[Insn::bswap(r1, 32)]);
    check("r1 = *(u64 *)(r10 - 8)", &[Insn::ldx(Size::DW, r1, fp, -8)]);
    check("r1 = *(u8 *)(r2 + 0)", &[Insn::ldx(Size::B, r1, r2, 0)]);
    check("r1 = *(s32 *)(r2 + 4)", &[Insn::ldsx(Size::W, r1, r2, 4)]);
    check("*(u16 *)(r10 - 2) = r1", &[Insn::stx(Size::H, fp, -2, r1)]);
    check("*(u64 *)(r10 - 8) = -1", &[Insn::st(Size::DW, fp, -8, -1)]);
    check(
        "lock *(u64 *)(r0 + 0) += r1",
        &[Insn::atomic(Size::DW, AtomicOp::Add, r0, 0, r1)],
    );
    check(
        "r1 = atomic_fetch_xor((u32 *)(r0 - 4), r1)",
        &[Insn::atomic(Size::W, AtomicOp::FetchXor, r0, -4, r1)],
    );
    check(
        "r0 = cmpxchg((u64 *)(r2 + 0), r0, r1)",
        &[Insn::atomic(Size::DW, AtomicOp::Cmpxchg, r2, 0, r1)],
    );
    check("r1 = 0x123456789a ll", &Insn::ld_imm64(r1, 0x12_3456_789a));
    check(
        "r1 = map_fd[7] ll",
        &Insn::ld_pseudo(r1, Pseudo::MapFd, 7, 0),
    );
    check(
        "r1 = map_fd_value[7] + 16 ll",
        &Insn::ld_pseudo(r1, Pseudo::MapValue, 7, 16),
    );
    check("r0 = *(u16 *)skb[12]", &[Insn::ld_abs(Size::H, 12)]);
    check("r0 = *(u8 *)skb[r1 - 4]", &[Insn::ld_ind(Size::B, r1, -4)]);
    check("goto +3", &[Insn::ja(3)]);
    check("gotol -70000", &[Insn::gotol(-70000)]);
    check(
        "if r1 s> 5 goto +3",
        &[Insn::jmp64_imm(Cond::Sgt, r1, 5, 3)],
    );
    check("if w1 & w2 goto -1", &[Insn::jmp32(Cond::Set, r1, r2, -1)]);
    check("call 14", &[Insn::call(helper::GET_CURRENT_PID_TGID)]);
    check("call pc-5", &[Insn::call_local(-5)]);
    check("call kfunc[99]", &[Insn::call_kfunc(99, 0)]);
    check("call kfunc[99, 1]", &[Insn::call_kfunc(99, 1)]);
    check("exit", &[Insn::exit()]);
    for (text, special) in [
        (
            "r1 = load_acquire((u8 *)(r2 - 4))",
            Special::LoadAcquire {
                size: Size::B,
                dst: r1,
                base: r2,
                off: -4,
            },
        ),
        (
            "store_release((u64 *)(r2 + 8), r1)",
            Special::StoreRelease {
                size: Size::DW,
                base: r2,
                off: 8,
                src: r1,
            },
        ),
        ("may_goto +3", Special::MayGoto { off: 3 }),
        ("gotox r1", Special::GotoRegister { dst: r1 }),
        (
            "r1 = addr_space_cast(r2, 0, 1)",
            Special::CastAddress {
                dst: r1,
                src: r2,
                to: 0,
                from: 1,
            },
        ),
        (
            "r1 = this_cpu(r2)",
            Special::PerCpuAddress { dst: r1, src: r2 },
        ),
        ("w1 = zext(w1)", Special::ZeroExtend { dst: r1 }),
        ("nospec", Special::NoSpeculation),
        (
            "call pc+5[1]",
            Special::CallSubprogram { off: 5, number: 1 },
        ),
        ("call -77264", Special::CallBelow { distance: -77264 }),
    ] {
        check(text, &[special.insn()]);
        assert_eq!(special.insn().special(), Some(special));
        assert_eq!(special.insn().op().ok(), None);
    }
    let bad = Insn {
        code: 0xff,
        dst: 1,
        src: 2,
        off: 3,
        imm: 4,
    };
    check(".slot 0xff21030004000000", &[bad]);
    // The first half of `ld_imm64` alone.
    check(".slot 0x1801000005000000", &[Insn::ld_imm64(r1, 5)[0]]);
}

/// Text that the disassembler would not print, but the assembler takes.
#[test]
fn labels_comments_and_spelling() {
    let check = |text: &str, plain: &str| {
        let expected = insns(plain).unwrap_or_else(|error| panic!("{plain}: {error}"));
        assert_eq!(insns(text).as_ref(), Ok(&expected), "{text}");
    };
    check("r1=r2 // copies", "r1 = r2");
    check("; nothing\n\n  exit ; ends", "exit");
    check("r1 = 0xffffffff", "r1 = -1");
    check("r1 = *(u64*)(r10-8)", "r1 = *(u64 *)(r10 - 8)");
    check("r1 = 5 ll", "r1 = 0x5 ll");
    check("r1 = -1 ll", "r1 = 0xffffffffffffffff ll");
    check(
        "loop: if r1 == 0 goto out\n goto loop\nout:\nexit",
        "if r1 == 0 goto +1\ngoto -2\nexit",
    );
    check(
        "goto far\nr1 = 0x0 ll\nfar: exit",
        "goto +2\nr1 = 0x0 ll\nexit",
    );
    check("gotol out\nout: exit", "gotol +0\nexit");
    check("call f\nexit\nf: exit", "call pc+1\nexit\nexit");
    check("call ktime_get_ns", "call 5");
    check("call bpf_ktime_get_ns#5", "call 5");
    check("0: r1 = 0x0 ll\n2: exit", "r1 = 0x0 ll\nexit");
}

#[test]
fn refusals() {
    let check = |text: &str, expected: &str| {
        let found = insns(text).map_err(|error| error.to_string());
        assert_eq!(found, Err(expected.to_owned()), "{text}");
    };
    check("r11 = 1", "line 1: expected a register, found `r11`");
    check("r01 = 1", "line 1: expected a register, found `r01`");
    check(
        "r1 = w2",
        "line 1: expected a register of the same width, found `w2`",
    );
    check("exit\nr1 =", "line 2: expected a value at the end");
    check("r1 = 4294967296", "line 1: 4294967296 does not fit");
    check("goto 40000", "line 1: 40000 does not fit");
    check("goto there", "line 1: nothing is called `there`");
    check("call nobody", "line 1: nothing is called `nobody`");
    check(
        "call bpf_ktime_get_ns#6",
        "line 1: nothing is called `bpf_ktime_get_ns#6`",
    );
    check("r1 = map(m) ll", "line 1: nothing is called `m`");
    check("a: exit\na: exit", "line 2: label `a` is there already");
    check("exit\n0: exit", "line 2: this is slot 1, not 0");
    check(
        "exit exit",
        "line 1: expected the end of the line, found `exit`",
    );
    check(
        "r1 = -r2",
        "line 1: expected the register assigned to, found `r2`",
    );
    check(
        "r1 = be16 r2",
        "line 1: expected the register assigned to, found `r2`",
    );
    check("r1 ?= 2", "line 1: expected an assignment, found `?`");
    check(
        "if r1 s== 2 goto +0",
        "line 1: expected a comparison, found `s`",
    );
    check(
        "r1 = *(s64 *)(r2 + 0)",
        "line 1: expected u8, u16, u32, u64, s8, s16 or s32, found `s64`",
    );
    check(
        "*(s8 *)(r2 + 0) = 1",
        "line 1: expected an unsigned type, found `s8`",
    );
    check("*(u8 *)(r2 + 70000) = 1", "line 1: 70000 does not fit");
    check(
        "w1 = (s32)w2",
        "line 1: field off has a value this instruction forbids",
    );
    check(
        "lock *(u8 *)(r2 + 0) += r1",
        "line 1: no instruction has code 0xd3",
    );
    check("r1 = 12x", "line 1: expected a number, found `12x`");
    check("r1 = map(m", "line 1: expected `)` at the end");
    check(
        "call \u{e9}",
        "line 1: expected a helper, a label, pc or kfunc, found `\u{e9}`",
    );
}

/// A small generator of numbers, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.roll() % from.len() as u64).unwrap_or(0)]
    }

    fn reg(&mut self) -> Reg {
        Reg((self.roll() % 11) as u8)
    }

    fn imm(&mut self) -> i32 {
        let roll = self.roll();
        match roll % 4 {
            0 => (roll >> 8) as i32 % 16,
            1 => self.pick(&[0, 1, -1, i32::MIN, i32::MAX]),
            _ => (roll >> 16) as i32,
        }
    }

    fn off(&mut self) -> i16 {
        let wide = self.imm();
        self.pick(&[wide as i16, 0, -8, i16::MIN, i16::MAX])
    }

    fn width(&mut self) -> Width {
        self.pick(&[Width::W32, Width::W64])
    }

    fn operand(&mut self) -> Operand {
        let either = [Operand::Reg(self.reg()), Operand::Imm(self.imm())];
        self.pick(&either)
    }

    fn op(&mut self) -> Op {
        let (dst, base, off) = (self.reg(), self.reg(), self.off());
        let size = self.pick(&Size::ALL);
        match self.roll() % 16 {
            0..3 => Op::Alu {
                width: self.width(),
                op: self.pick(&AluOp::ALL),
                dst,
                src: self.operand(),
            },
            3 => Op::MovSx {
                width: self.width(),
                bits: self.pick(&[8, 16]),
                dst,
                src: base,
            },
            4 => Op::Neg {
                width: self.width(),
                dst,
            },
            5 => Op::Swap {
                order: self.pick(&[SwapOrder::Le, SwapOrder::Be, SwapOrder::Always]),
                bits: self.pick(&[16, 32, 64]),
                dst,
            },
            6 => Op::Load {
                size,
                signed: size != Size::DW && self.roll() % 2 == 0,
                dst,
                base,
                off,
            },
            7 | 8 => Op::Store {
                size,
                base,
                off,
                src: self.operand(),
            },
            9 => Op::Atomic {
                size: self.pick(&[Size::W, Size::DW]),
                op: self.pick(&AtomicOp::ALL),
                base,
                off,
                src: dst,
            },
            10 => Op::LoadImm64 {
                kind: self.pick(&Pseudo::ALL),
                dst,
                low: self.imm(),
            },
            11 => Op::LoadPacket {
                size: self.pick(&[Size::B, Size::H, Size::W]),
                index: self.pick(&[None, Some(base)]),
                off: self.imm(),
            },
            12 => {
                let long = self.roll() % 2 == 0;
                let far = self.imm();
                let off = if long { far } else { i32::from(off) };
                Op::Jump { off, long }
            }
            13 => Op::Branch {
                width: self.width(),
                cond: self.pick(&Cond::ALL),
                dst,
                src: self.operand(),
                off,
            },
            14 => {
                let number = (self.roll() % 300) as u32;
                let far = self.imm();
                Op::Call(self.pick(&[
                    Callee::Helper(crate::HelperId(number)),
                    Callee::Local(far),
                    Callee::Kfunc {
                        btf_id: far,
                        fd_index: off,
                    },
                ]))
            }
            _ => Op::Exit,
        }
    }
}

impl Dice {
    fn special(&mut self) -> Special {
        let (dst, src, off) = (self.reg(), self.reg(), self.off());
        let size = self.pick(&Size::ALL);
        match self.roll() % 10 {
            0 => Special::LoadAcquire {
                size,
                dst,
                base: src,
                off,
            },
            1 => Special::StoreRelease {
                size,
                base: dst,
                off,
                src,
            },
            2 => Special::MayGoto { off },
            3 => Special::GotoRegister { dst },
            4 => Special::CastAddress {
                dst,
                src,
                to: self.roll() as u16,
                from: self.roll() as u16,
            },
            5 => Special::PerCpuAddress { dst, src },
            6 => Special::ZeroExtend { dst },
            7 => Special::NoSpeculation,
            // Without a distance it is the usual call.
            8 => Special::CallSubprogram {
                off: if off == 0 { 1 } else { off },
                number: self.imm(),
            },
            _ => Special::CallBelow {
                distance: -1 - (self.roll() >> 34) as i32,
            },
        }
    }
}

#[test]
fn random_specials_come_back() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for _ in 0..5000 {
        let special = dice.special();
        let slots = [special.insn()];
        assert_eq!(slots[0].special(), Some(special));
        let text = disasm::insns(&slots);
        assert!(!text.contains(".slot"), "{text}");
        assert_eq!(insns(&text).as_deref(), Ok(slots.as_slice()), "{text}");
    }
}

/// Every operation code with every immediate that means something comes back.
#[test]
fn every_code_comes_back() {
    let mut dice = Dice(4711);
    for code in 0..=255u8 {
        for imm in [
            0, 1, 16, 32, 64, 0xe1, 0xf1, 0x41, 0x51, 0xa1, 0x100, 0x110, -1,
        ] {
            for off in [0, 1, -1, 8, 16, 32] {
                let (dst, src) = ((dice.roll() % 12) as u8, (dice.roll() % 12) as u8);
                for (dst, src) in [(dst, src), (dst, 0), (0, src), (0, 0), (1, 1)] {
                    let slots = [Insn {
                        code,
                        dst,
                        src,
                        off,
                        imm,
                    }];
                    let text = disasm::insns(&slots);
                    assert_eq!(insns(&text).as_deref(), Ok(slots.as_slice()), "{text}");
                }
            }
        }
    }
}

#[test]
fn random_programs_come_back() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for round in 0..300 {
        let mut slots = Vec::new();
        for _ in 0..40 {
            let op = dice.op();
            let insn = op.insn();
            assert_eq!(insn.op(), Ok(op));
            slots.push(insn);
            if insn.is_wide() {
                let imm = dice.imm();
                slots.push(Insn {
                    imm,
                    ..Insn::default()
                });
            }
        }
        let text = disasm::insns(&slots);
        assert_eq!(insns(&text), Ok(slots.clone()), "round {round}\n{text}");
        let program = ProgramSpec {
            insns: slots.clone(),
            ..empty_program()
        };
        let text = disasm::program(&Spec::default(), &program, disasm::Options::default());
        assert_eq!(insns(&text), Ok(slots), "round {round}\n{text}");
    }
}

#[test]
fn random_slots_come_back() {
    let mut dice = Dice(77);
    for _ in 0..3000 {
        let slots: Vec<Insn> = (0..4)
            .map(|_| Insn::decode_le(dice.roll().to_le_bytes()))
            .collect();
        let text = disasm::insns(&slots);
        assert_eq!(insns(&text), Ok(slots), "{text}");
    }
}

#[test]
fn random_text_never_panics() {
    let mut dice = Dice(99);
    let words = [
        "r1",
        "w2",
        "=",
        "*",
        "(",
        ")",
        "u64",
        "goto",
        "if",
        "call",
        "#",
        "map(",
        "late(x)",
        "ll",
        "lock",
        "+",
        "-",
        "s",
        ">",
        "5",
        "0x",
        "99999999999999999999",
        ":",
        "exit",
        "[",
        "]",
        ",",
        ".slot",
        "skb",
        "be16",
        "xchg",
        "\u{e9}",
    ];
    for _ in 0..5000 {
        let line: Vec<&str> = (0..8).map(|_| dice.pick(&words)).collect();
        let text = line.join(dice.pick(&["", " "]));
        if let Ok(slots) = insns(&text) {
            assert_eq!(insns(&disasm::insns(&slots)), Ok(slots));
        }
    }
}

fn empty_program() -> ProgramSpec {
    ProgramSpec {
        name: "p".to_owned(),
        kind: ProgramType::RawTracepoint,
        attach: AttachKind::None,
        insns: Vec::new(),
        relocs: Vec::new(),
        lines: Vec::new(),
        funcs: Vec::new(),
        flags: 0,
        ..ProgramSpec::default()
    }
}

#[test]
fn a_program_with_names_and_source() {
    let map = |name: &str| MapSpec {
        name: name.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        initial: None,
        frozen: false,
        ..MapSpec::default()
    };
    let spec = Spec {
        maps: vec![map("events"), map("odd) name")],
        late: vec![LateValue {
            name: "opt.pid".to_owned(),
            kind: LateKind::Number,
        }],
        files: vec![SourceFile {
            name: "x.bt".to_owned(),
            text: SourceText::Whole("begin {\n  @ = 1; }".to_owned()),
        }],
        ..Spec::default()
    };
    let text = "\
main:
; x.bt:2:3: @ = 1; }
   0: r1 = map(events) ll
   2: r2 = map_value(#1) + 4 ll
   4: r3 = late(opt.pid) ll
   6: r4 = func(11) ll
   8: call bpf_ktime_get_ns#5
   9: call pc+1
  10: exit
callback:
  11: exit
";
    let assembled = assemble(text, &spec).unwrap_or_else(|error| panic!("{error}"));
    let reloc = |insn, kind| Reloc { insn, kind };
    let expected = [
        reloc(0, RelocKind::Map(MapId(0))),
        reloc(
            2,
            RelocKind::MapValue {
                map: MapId(1),
                offset: 4,
            },
        ),
        reloc(4, RelocKind::Late(LateId(0))),
        reloc(6, RelocKind::Func(11)),
    ];
    assert_eq!(assembled.relocs, expected);
    assert_eq!(assembled.labels.get("callback"), Some(&11));
    let func = |insn, name: &str| FuncInfo {
        insn,
        name: name.to_owned(),
        ..FuncInfo::default()
    };
    let program = ProgramSpec {
        insns: assembled.insns,
        relocs: assembled.relocs,
        lines: vec![LineInfo {
            insn: 0,
            file: 0,
            line: 2,
            column: 3,
        }],
        funcs: vec![func(0, "main"), func(11, "callback")],
        ..empty_program()
    };
    let printed = disasm::program(&spec, &program, disasm::Options::default());
    assert_eq!(printed, text);
    let bare = disasm::Options {
        numbers: false,
        helper_names: false,
        source: false,
    };
    let printed = disasm::program(&spec, &program, bare);
    assert!(printed.contains("\ncall 5\n"), "{printed}");
    assert!(!printed.contains(';'), "{printed}");
}

#[test]
fn names_have_no_control_characters() {
    let program = ProgramSpec {
        insns: vec![Insn::exit()],
        funcs: vec![FuncInfo {
            insn: 0,
            name: "a\x1b[2J\nexit".to_owned(),
            type_id: 0,
        }],
        ..empty_program()
    };
    let printed = disasm::program(&Spec::default(), &program, disasm::Options::default());
    assert_eq!(printed, "a [2J exit:\n   0: exit\n");
}
