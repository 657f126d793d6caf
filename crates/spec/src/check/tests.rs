//! Programs in assembler, and what the check says of them.

use super::*;
use crate::asm;
use crate::insn::Insn;
use crate::object::{
    AttachKind, FuncInfo, LineInfo, MapKind, MapSpec, ProgramType, Reloc, RelocKind,
};

fn spec() -> Spec {
    let map = |name: &str, kind, key_size, value_size| MapSpec {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries: 16,
        flags: 0,
        initial: None,
        frozen: false,
        ..MapSpec::default()
    };
    Spec {
        maps: vec![
            map("hash", MapKind::Hash, 16, 8),
            map("array", MapKind::Array, 4, 8),
            map("ring", MapKind::RingBuf, 0, 0),
        ],
        ..Spec::default()
    }
}

fn assembled(text: &str) -> ProgramSpec {
    let done = asm::assemble(text, &spec()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    ProgramSpec {
        name: "p".to_owned(),
        kind: ProgramType::RawTracepoint,
        attach: AttachKind::None,
        insns: done.insns,
        relocs: done.relocs,
        lines: Vec::new(),
        funcs: Vec::new(),
        flags: 0,
        ..ProgramSpec::default()
    }
}

/// `expected` holds the printed problems, joined by `; `; lines of `text` may be split by `;`
/// written as ` / `.
#[track_caller]
fn check(text: &str, expected: &str) {
    let text = text.replace(" / ", "\n");
    let problems = program(&spec(), &assembled(&text));
    let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(found.join("; "), expected, "\n{text}");
}

#[test]
fn sound_programs() {
    let check = |text: &str| check(text, "");
    check("r0 = 0 / exit");
    check("r0 = *(u64 *)(r1 + 0) / exit");
    check("if r1 == 0 goto a / r0 = 1 / exit / a: r0 = 0 / exit");
    check("r0 = 0 / r6 = 10 / loop: r6 += -1 / if r6 != 0 goto loop / exit");
    check("r6 = r1 / call 14 / r1 = r6 / r0 = *(u64 *)(r1 + 8) / exit");
    check("*(u64 *)(r10 - 512) = 1 / r0 = *(u64 *)(r10 - 512) / exit");
    check("*(u32 *)(r10 - 8) = 1 / *(u32 *)(r10 - 4) = 1 / r0 = *(u64 *)(r10 - 8) / exit");
    check("*(u64 *)(r10 - 8) = r1 / r2 = *(u64 *)(r10 - 8) / r0 = *(u32 *)(r2 + 0) / exit");
    // A helper fills the buffer.
    check("r1 = r10 / r1 += -16 / r2 = 16 / call 16 / r0 = *(u64 *)(r10 - 16) / exit");
    // The pointer to the buffer is itself spilled.
    check(
        "r1 = r10 / r1 += -16 / *(u64 *)(r10 - 24) = r1 / r1 = *(u64 *)(r10 - 24) / r2 = 16 \
         / call 16 / r0 = *(u64 *)(r10 - 8) / exit",
    );
    // Both paths write the bytes.
    check(
        "if r1 == 0 goto a / *(u64 *)(r10 - 8) = 1 / goto b / a: *(u64 *)(r10 - 8) = 2 \
         / b: r0 = *(u64 *)(r10 - 8) / exit",
    );
    check(
        "*(u64 *)(r10 - 16) = 0 / *(u64 *)(r10 - 8) = 0 / r1 = map(hash) ll / r2 = r10 / r2 += -16 \
         / call 1 / if r0 == 0 goto out / r0 = *(u64 *)(r0 + 0) / out: exit",
    );
    // The null comparison holds for copies and spilled copies as well.
    check(
        "*(u32 *)(r10 - 4) = 0 / r1 = map(array) ll / r2 = r10 / r2 += -4 / call 1 / r6 = r0 \
         / *(u64 *)(r10 - 16) = r0 / if r6 != 0 goto in / r0 = 0 / exit \
         / in: r1 = *(u64 *)(r10 - 16) / r0 = *(u64 *)(r1 + 0) / exit",
    );
    check("r1 = map_value(array) + 0 ll / r0 = *(u64 *)(r1 + 0) / exit");
    check("r1 = 1 / r0 = 2 / r0 <<= 63 / w0 <<= 31 / r0 /= r1 / exit");
    check("r5 = 1 / call f / exit / f: r0 = r5 / exit");
    check("r5 = 1 / call f / exit / f: call g / r0 = 1 / exit / g: r0 = r5 / exit");
    check(
        "r1 = 5 / r2 = func(f) ll / r3 = r10 / r3 += -8 / r4 = 0 / call loop / r0 = *(u64 *)(r10 - 8) / exit / f: r0 = 0 / exit",
    );
    check("r0 = 0 / gotol out / out: exit");
    check("r6 = r1 / r0 = *(u8 *)skb[3] / exit");
}

#[test]
fn shape() {
    check("", "instruction 0: the program is empty");
    check("r0 = 0", "instruction 0: control runs over the end");
    check(
        "r0 = 0 / goto -3",
        "instruction 1: leads outside, to slot -1",
    );
    check(
        "r0 = 0 / goto +5",
        "instruction 1: leads outside, to slot 7",
    );
    check(
        "r0 = 0 / goto +1 / exit",
        "instruction 1: leads outside, to slot 3",
    );
    check(
        "if r1 == 0 goto +1 / r0 = 0x1 ll / exit",
        "instruction 0: leads into ld_imm64, to slot 2",
    );
    check(
        "r0 = 0 / exit / r0 = 1 / exit",
        "instruction 2: no path leads here",
    );
    check(
        "r0 = 0 / goto a / r0 = 1 / a: exit",
        "instruction 2: no path leads here",
    );
    check(
        "r0 = 0 / if r0 == 0 goto +0 / r10 = 5 / exit",
        "instruction 2: writes r10",
    );
    check("r10 += 8 / exit", "instruction 0: writes r10");
    check("r10 = *(u64 *)(r1 + 0) / exit", "instruction 0: writes r10");
    check(
        "r10 = atomic_fetch_add((u64 *)(r1 + 0), r10) / exit",
        "instruction 0: writes r10",
    );
    check("r0 = 5 / r0 /= 0 / exit", "instruction 1: divides by zero");
    check("r0 = 5 / w0 s%= 0 / exit", "instruction 1: divides by zero");
    check("r0 = 5 / r0 <<= 64 / exit", "instruction 1: shifts by 64");
    check("r0 = 5 / w0 >>= 32 / exit", "instruction 1: shifts by 32");
    check("r0 = 5 / r0 s>>= -1 / exit", "instruction 1: shifts by -1");
    check(
        "call +9 / exit".replace("call +9", "call pc+9").as_str(),
        "instruction 0: leads outside, to slot 10",
    );
    check(
        ".slot 0xff00000000000000 / exit",
        "instruction 0: no instruction has code 0xff",
    );
    check(
        ".slot 0x1801000005000000",
        "instruction 0: ld_imm64 lacks its second slot",
    );
    check(
        ".slot 0x1800000005000000 / .slot 0x0000010000000000 / exit",
        "instruction 0: the second slot of ld_imm64 has more than an immediate",
    );
    // Falling or jumping from one function into another.
    check(
        "call f / r0 = 0 / f: r0 = 0 / exit",
        "instruction 1: control runs over the end",
    );
    check(
        "call f / goto g / f: r0 = 0 / g: exit",
        "instruction 1: leads outside, to slot 3",
    );
}

#[test]
fn registers() {
    check("exit", "instruction 0: reads r0, which may be unwritten");
    check(
        "r0 = r2 / exit",
        "instruction 0: reads r2, which may be unwritten",
    );
    check(
        "r0 += 1 / exit",
        "instruction 0: reads r0, which may be unwritten",
    );
    check(
        "r0 = -r0 / exit",
        "instruction 0: reads r0, which may be unwritten",
    );
    check(
        "r0 = be16 r0 / exit",
        "instruction 0: reads r0, which may be unwritten",
    );
    check(
        "*(u64 *)(r10 - 8) = r7 / r0 = 0 / exit",
        "instruction 0: reads r7, which may be unwritten",
    );
    check(
        "if r3 == 0 goto +0 / r0 = 0 / exit",
        "instruction 0: reads r3, which may be unwritten",
    );
    check(
        "call 14 / r0 = r1 / exit",
        "instruction 1: reads r1, which may be unwritten",
    );
    check(
        "call 14 / r0 = *(u64 *)(r1 + 0) / exit",
        "instruction 1: reads r1, which may be unwritten",
    );
    check(
        "if r1 == 0 goto a / r0 = 0 / a: exit",
        "instruction 2: reads r0, which may be unwritten",
    );
    check(
        "call f / exit / f: r0 = r5 / exit",
        "instruction 2: reads r5, which may be unwritten",
    );
    check(
        "r5 = 1 / call f / call f / exit / f: call g / exit / g: r0 = r5 / exit",
        "instruction 6: reads r5, which may be unwritten",
    );
    check(
        "call f / exit / f: call g / exit / g: if r1 == 0 goto out / r0 = 1 / out: exit",
        "instruction 1: reads r0, which may be unwritten",
    );
    check(
        "r0 = 0 / loop: r0 += r6 / r6 = 1 / if r0 != 5 goto loop / exit",
        "instruction 1: reads r6, which may be unwritten",
    );
    check(
        "r1 = 1 / r2 = 2 / call 113 / exit",
        "instruction 2: passes in r1 of bpf_probe_read_kernel something other than memory; instruction 2: reads r3, which may be unwritten",
    );
    check(
        "r0 = 5 / r0 = *(u64 *)(r0 + 0) / exit",
        "instruction 1: accesses memory through the number in r0",
    );
    check(
        "r1 = map(array) ll / r0 = *(u64 *)(r1 + 0) / exit",
        "instruction 2: accesses memory through the number in r1",
    );
}

#[test]
fn pointers() {
    let math = |text: &str| {
        let text = format!("r2 = 8 / r6 = *(u64 *)(r1 + 0) / {text} / r0 = 0 / exit");
        check(
            &text,
            "instruction 2: does arithmetic in r1 that pointers do not have",
        );
    };
    math("w1 += 8");
    math("r1 *= 8");
    math("r1 &= -8");
    math("r1 += r6");
    math("r1 += r10");
    let fine = |text: &str| check(&format!("{text} / r0 = 0 / exit"), "");
    fine("r1 += 8");
    fine("r1 -= r10");
    fine("r2 = 16 / r2 += r1");
    fine("r2 = r10 / r6 = *(u64 *)(r1 + 0) / r6 &= 7 / r2 -= r6");
    fine("w2 = w1");
    let check = |text: &str, expected: &str| check(&format!("{text} / r0 = 0 / exit"), expected);
    check(
        "r6 = 8 / r6 -= r1",
        "instruction 1: does arithmetic in r6 that pointers do not have",
    );
    check(
        "r6 = map(array) ll / r6 += 8",
        "instruction 2: does arithmetic in r6 that pointers do not have",
    );
    check(
        "*(u32 *)(r10 - 8) = r1",
        "instruction 0: moves a part of a pointer",
    );
    check(
        "*(u64 *)(r10 - 8) = r1 / r2 = *(u32 *)(r10 - 8)",
        "instruction 1: moves a part of a pointer",
    );
    check(
        "*(u64 *)(r10 - 8) = r1 / *(u32 *)(r10 - 8) = 0 / r2 = *(u32 *)(r10 - 8)",
        "",
    );
}

#[test]
fn objects() {
    let reserve = "r1 = map(ring) ll / r2 = 16 / r3 = 0 / call ringbuf_reserve / if r0 == 0 goto out / r6 = r0";
    let submit = "r1 = r6 / r2 = 0 / call ringbuf_submit / out: r0 = 0 / exit";
    let record = |line: &str, expected: &str| {
        check(&format!("{reserve} / {line} / {submit}"), expected);
    };
    record("*(u64 *)(r6 + 8) = 1", "");
    record(
        "*(u64 *)(r6 + 16) = 1",
        "instruction 7: accesses 8 bytes at 16 of an object of 16",
    );
    record(
        "*(u8 *)(r6 - 1) = 1",
        "instruction 7: accesses 1 bytes at -1 of an object of 16",
    );
    record("r7 = r6 / r7 += 12 / *(u32 *)(r7 + 0) = 1", "");
    record(
        "r7 = r6 / r7 += 12 / *(u64 *)(r7 + 0) = 1",
        "instruction 9: accesses 8 bytes at 12 of an object of 16",
    );
    record(
        "r1 = r6 / r1 += 8 / r2 = 16 / call get_current_comm",
        "instruction 10: accesses 16 bytes at 8 of an object of 16",
    );
    record(
        "r6 += 8",
        "instruction 10: passes in r1 of bpf_ringbuf_submit something other than a reserved record; instruction 12: ends with a ring buffer record neither submitted nor discarded",
    );
    record(
        "if r7 == 0 goto +3",
        "instruction 7: reads r7, which may be unwritten; instruction 12: ends with a ring buffer record neither submitted nor discarded",
    );
    // Kept on the stack over other calls.
    record(
        "*(u64 *)(r10 - 8) = r6 / call 14 / r6 = *(u64 *)(r10 - 8)",
        "",
    );
    check(
        &format!("{reserve} / out: r0 = 0 / exit"),
        "instruction 8: ends with a ring buffer record neither submitted nor discarded",
    );
    check(
        &format!(
            "{reserve} / {}",
            submit.replace("r2 = 0", "r2 = 0 / call ringbuf_discard / r1 = r6 / r2 = 0")
        ),
        "instruction 12: passes in r1 of bpf_ringbuf_submit something other than a reserved record",
    );
    let after = submit.replace("out:", "r0 = *(u8 *)(r6 + 0) / out:");
    check(
        &format!("{reserve} / {after}"),
        "instruction 10: accesses memory through the number in r6",
    );
    check(
        "r1 = map_value(array) + 4 ll / r0 = *(u32 *)(r1 + 0) / exit",
        "",
    );
    check(
        "r1 = map_value(array) + 4 ll / r0 = *(u64 *)(r1 + 0) / exit",
        "instruction 2: accesses 8 bytes at 4 of an object of 8",
    );
    let lookup = "*(u32 *)(r10 - 4) = 0 / r1 = map(array) ll / r2 = r10 / r2 += -4 / call 1 / if r0 == 0 goto out";
    check(&format!("{lookup} / r0 = *(u64 *)(r0 + 0) / out: exit"), "");
    check(
        &format!("{lookup} / r0 = *(u64 *)(r0 + 1) / out: exit"),
        "instruction 7: accesses 8 bytes at 1 of an object of 8",
    );
    // What is added may be anything: not followed.
    check(
        &format!(
            "r6 = *(u64 *)(r1 + 0) / {lookup} / r6 &= 7 / r0 += r6 / r0 = *(u8 *)(r0 + 0) / out: exit"
        ),
        "",
    );
}

#[test]
fn stack() {
    check(
        "r0 = *(u64 *)(r10 + 0) / exit",
        "instruction 0: accesses 8 bytes at r10+0, outside the stack",
    );
    check(
        "*(u64 *)(r10 - 520) = 1 / r0 = 0 / exit",
        "instruction 0: accesses 8 bytes at r10-520, outside the stack",
    );
    check(
        "*(u64 *)(r10 - 4) = 1 / r0 = 0 / exit",
        "instruction 0: accesses 8 bytes at r10-4, outside the stack",
    );
    check(
        "*(u64 *)(r10 - 12) = 1 / r0 = 0 / exit",
        "instruction 0: accesses 8 bytes at r10-12, misaligned",
    );
    check(
        "r0 = *(u64 *)(r10 - 8) / exit",
        "instruction 0: reads the stack at r10-8, which may be unwritten",
    );
    check(
        "*(u32 *)(r10 - 8) = 1 / r0 = *(u64 *)(r10 - 8) / exit",
        "instruction 1: reads the stack at r10-4, which may be unwritten",
    );
    check(
        "if r1 == 0 goto a / *(u64 *)(r10 - 8) = 1 / a: r0 = *(u64 *)(r10 - 8) / exit",
        "instruction 2: reads the stack at r10-8, which may be unwritten",
    );
    check(
        "r2 = r10 / r2 += -600 / r0 = *(u8 *)(r2 + 0) / exit",
        "instruction 2: accesses 1 bytes at r10-600, outside the stack",
    );
    check(
        "lock *(u64 *)(r10 - 8) += r1 / r0 = 0 / exit",
        "instruction 0: reads the stack at r10-8, which may be unwritten",
    );
    check(
        "call f / r0 = *(u64 *)(r10 - 8) / exit / f: r0 = 0 / exit",
        "instruction 1: reads the stack at r10-8, which may be unwritten",
    );
    check(
        "*(u64 *)(r10 - 400) = 1 / call f / exit / f: *(u64 *)(r10 - 120) = 1 / r0 = 0 / exit",
        "instruction 1: calls from here need 544 bytes of stack together",
    );
    check(
        "call f / exit / f: call f / exit",
        "instruction 2: calls a function that is running",
    );
}

#[test]
fn calls() {
    check(
        "*(u64 *)(r10 - 8) = 0 / r1 = map(hash) ll / r2 = r10 / r2 += -16 / call 1 / r0 = 0 / exit",
        "instruction 5: reads the stack at r10-16, which may be unwritten",
    );
    check(
        "*(u32 *)(r10 - 4) = 0 / r1 = map(array) ll / r2 = r10 / r2 += -4 / r3 = r10 / r3 += -16 / r4 = 0 / call 2 / exit",
        "instruction 8: reads the stack at r10-16, which may be unwritten",
    );
    check(
        "*(u32 *)(r10 - 4) = 0 / r1 = 7 / r2 = r10 / r2 += -4 / call 1 / r0 = 0 / exit",
        "instruction 4: passes in r1 of bpf_map_lookup_elem something other than a map",
    );
    check(
        "*(u32 *)(r10 - 4) = 0 / r1 = map(array) ll / r2 = r10 / r2 += -4 / call 1 / r0 = *(u64 *)(r0 + 0) / exit",
        "instruction 6: uses r0 without a comparison with null",
    );
    check(
        "*(u32 *)(r10 - 4) = 0 / r1 = map(array) ll / r2 = r10 / r2 += -4 / call 1 / r0 += 8 / exit",
        "instruction 6: uses r0 without a comparison with null",
    );
    check(
        "r1 = map(ring) ll / r2 = 8 / r3 = 0 / call 131 / if r0 == 0 goto a / exit / a: *(u64 *)(r0 + 0) = 1 / exit",
        "instruction 6: ends with a ring buffer record neither submitted nor discarded; instruction 7: accesses memory through the number in r0",
    );
    check(
        "r1 = r10 / r1 += -8 / r2 = 16 / call 16 / r0 = 0 / exit",
        "instruction 3: accesses 16 bytes at r10-8, outside the stack",
    );
    check(
        "r1 = map(ring) ll / r2 = r10 / r2 += -8 / r3 = 8 / r4 = 0 / call 130 / exit",
        "instruction 6: reads the stack at r10-8, which may be unwritten",
    );
}

#[test]
fn tables() {
    let with = |change: fn(&mut ProgramSpec)| {
        let mut program = assembled("r1 = map(array) ll\nr0 = 0\nexit");
        change(&mut program);
        let problems = super::program(&spec(), &program);
        let found: Vec<String> = problems.iter().map(ToString::to_string).collect();
        found.join("; ")
    };
    assert_eq!(with(|_| ()), "");
    assert_eq!(
        with(|program| program.relocs[0].insn = 2),
        "instruction 2: cannot have a relocation"
    );
    assert_eq!(
        with(|program| program.relocs[0].insn = 99),
        "instruction 99: cannot have a relocation"
    );
    assert_eq!(
        with(|program| program.relocs[0].kind = RelocKind::Map(crate::MapId(3))),
        "instruction 0: refers to a map that is not there"
    );
    assert_eq!(
        with(|program| program.relocs[0].kind = RelocKind::Late(crate::LateId(0))),
        "instruction 0: refers to a late value that is not there"
    );
    assert_eq!(
        with(|program| program.funcs.push(FuncInfo {
            insn: 1,
            name: "f".to_owned(),
            ..FuncInfo::default()
        })),
        "instruction 1: cannot have a function"
    );
    assert_eq!(
        with(|program| program.lines.push(LineInfo {
            insn: 1,
            file: 0,
            line: 1,
            column: 1
        })),
        "instruction 1: cannot have a source line; instruction 1: refers to a source file that is not there"
    );
    assert_eq!(
        with(|program| program.relocs.push(Reloc {
            insn: 0,
            kind: RelocKind::Func(77)
        })),
        "instruction 0: leads outside, to slot 77"
    );
}

/// Whatever the slots are, the check ends and does not panic.
#[test]
fn random_slots() {
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut roll = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let pool = asm::insns(
        "r0 = 0\nr1 = r10\nr1 += -8\n*(u64 *)(r1 + 0) = r0\nr0 = *(u64 *)(r1 + 0)\nif r0 == 0 goto -3\n\
         if r1 s> r0 goto +2\ngoto +1\ncall 1\ncall pc+1\nexit\nr0 = 0x5 ll\nr0 -= r1\n\
         call 16\nr10 = r1\nr1 = -2147483648\nr1 *= r0\n*(u8 *)(r1 + 32767) = 1",
    )
    .unwrap_or_else(|error| panic!("{error}"));
    let mut sound = 0;
    for _ in 0..20_000 {
        let slots: Vec<Insn> = (0..roll() % 12)
            .map(|_| {
                let random = Insn::decode_le(roll().to_le_bytes());
                let at = usize::try_from(roll()).unwrap_or(0) % (pool.len() + 1);
                pool.get(at).copied().unwrap_or(random)
            })
            .collect();
        sound += usize::from(insns(&slots).is_empty());
    }
    assert!(sound > 0);
}
