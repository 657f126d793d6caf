//! Programs in assembler and what they give.

use super::*;
use kscope_spec::asm;
use kscope_spec::{AttachKind, LateValue, MapKind, MapSpec, ProgramSpec, ProgramType};

fn spec(programs: &[&str]) -> Spec {
    let map = |name: &str, kind, key_size, value_size, max_entries| MapSpec {
        name: name.to_owned(),
        kind,
        key_size,
        value_size,
        max_entries,
        flags: 0,
        initial: None,
        frozen: false,
        ..MapSpec::default()
    };
    let late = |name: &str, kind| LateValue {
        name: name.to_owned(),
        kind,
    };
    let mut spec = Spec {
        maps: vec![
            map("hash", MapKind::Hash, 8, 8, 2),
            map("array", MapKind::Array, 4, 16, 3),
            map("percpu", MapKind::PerCpuArray, 4, 8, 1),
            map("percpuhash", MapKind::PerCpuHash, 8, 8, 2),
            map("lru", MapKind::LruHash, 8, 8, 2),
            map("ring", MapKind::RingBuf, 0, 0, 4096),
            map("perf", MapKind::PerfEventArray, 4, 4, 0),
            map("stacks", MapKind::StackTrace, 4, 32, 64),
            map("progs", MapKind::ProgArray, 4, 4, 4),
            MapSpec {
                initial: Some(b"hello\0".to_vec()),
                frozen: true,
                flags: 1 << 7,
                ..map("rodata", MapKind::Array, 4, 8, 1)
            },
        ],
        late: vec![
            late("opt.pid", LateKind::Number),
            late("cpus", LateKind::CpuCount),
        ],
        ..Spec::default()
    };
    for text in programs {
        let text = text.replace(" / ", "\n");
        let done = asm::assemble(&text, &spec).unwrap_or_else(|error| panic!("{error}\n{text}"));
        spec.programs.push(ProgramSpec {
            name: "p".to_owned(),
            kind: ProgramType::RawTracepoint,
            attach: AttachKind::None,
            insns: done.insns,
            relocs: done.relocs,
            lines: Vec::new(),
            funcs: Vec::new(),
            flags: 0,
            ..ProgramSpec::default()
        });
    }
    spec
}

/// Runs a program over a context of three numbers.
fn run(text: &str) -> Result<u64, Fault> {
    let spec = spec(&[text]);
    let mut machine = Machine::new(&spec);
    machine.set_late("opt.pid", 77);
    machine.set_memory(Space::Kernel, 0xffff_0000_0000_1000, b"kernel string\0tail");
    machine.set_memory(Space::User, 0x5000, b"user\0");
    let numbers = [0x1122_3344_5566_7788_u64, 0xffff_0000_0000_1000, 0x5000];
    let mut ctx = numbers.map(u64::to_le_bytes).concat();
    machine.run(ProgramId(0), &mut ctx)
}

#[track_caller]
fn check(text: &str, expected: u64) {
    assert_eq!(run(text), Ok(expected), "{text}");
}

/// Demands a fault of a kind at an instruction.
#[track_caller]
fn refused(text: &str, insn: u32, expected: FaultKind) {
    match run(text) {
        Err(fault) => assert_eq!((fault.insn, fault.kind), (insn, expected), "{text}"),
        Ok(value) => panic!("{value:#x}: {text}"),
    }
}

/// Demands a fault at an instruction whose kind holds an address that varies.
#[track_caller]
fn refused_access(text: &str, insn: u32, expected: &str) {
    let Err(fault) = run(text) else {
        panic!("not refused: {text}")
    };
    let kind = format!("{:?}", fault.kind);
    assert!(
        fault.insn == insn && kind.starts_with(expected),
        "{fault}: {text}"
    );
}

#[test]
fn arithmetic() {
    check("r0 = -1 / exit", u64::MAX);
    check("w0 = -1 / exit", 0xffff_ffff);
    check("r0 = 7 / r0 += -8 / exit", u64::MAX);
    check("r0 = 7 / w0 += -8 / exit", 0xffff_ffff);
    check("r0 = 7 / r0 *= 6 / exit", 42);
    check("r0 = -7 / r0 /= 2 / exit", 0x7fff_ffff_ffff_fffc);
    check("r0 = -7 / w0 /= 2 / exit", 0x7fff_fffc);
    check("r0 = -7 / r0 s/= 2 / exit", -3_i64 as u64);
    check("r0 = -7 / r0 s%= 2 / exit", u64::MAX);
    check("r0 = -7 / w0 s%= 2 / exit", 0xffff_ffff);
    check("r0 = 7 / r1 = 0 / r0 /= r1 / exit", 0);
    check("r0 = -1 / r1 = 0 / r0 %= r1 / exit", u64::MAX);
    check("r0 = -1 / r1 = 0 / w0 %= w1 / exit", 0xffff_ffff);
    check("r0 = 0x8000000000000000 ll / r0 s/= -1 / exit", 1 << 63);
    check("r0 = 0x8000000000000000 ll / r0 s%= -1 / exit", 0);
    check("r0 = 1 / r0 <<= 63 / exit", 1 << 63);
    check("r0 = 1 / r1 = 65 / r0 <<= r1 / exit", 2);
    check("r0 = 1 / r1 = 33 / w0 <<= w1 / exit", 2);
    check("r0 = -8 / r0 s>>= 1 / exit", -4_i64 as u64);
    check("r0 = -8 / w0 s>>= 1 / exit", 0xffff_fffc);
    check("r0 = -8 / r0 >>= 60 / exit", 15);
    check("r0 = 12 / r0 ^= 10 / r0 |= 16 / r0 &= 20 / exit", 20);
    check("r0 = 5 / r0 = -r0 / exit", -5_i64 as u64);
    check("r0 = 5 / w0 = -w0 / exit", 0xffff_fffb);
    check("r1 = 0x1ff ll / r0 = (s8)r1 / exit", u64::MAX);
    check("r1 = 0x1ff ll / w0 = (s8)w1 / exit", 0xffff_ffff);
    check(
        "r1 = 0x80000000 ll / r0 = (s32)r1 / exit",
        0xffff_ffff_8000_0000,
    );
    check("r0 = 0x1122334455667788 ll / r0 = be16 r0 / exit", 0x8877);
    check(
        "r0 = 0x1122334455667788 ll / r0 = be64 r0 / exit",
        0x8877_6655_4433_2211,
    );
    check(
        "r0 = 0x1122334455667788 ll / r0 = le32 r0 / exit",
        0x5566_7788,
    );
    check(
        "r0 = 0x1122334455667788 ll / r0 = bswap32 r0 / exit",
        0x8877_6655,
    );
}

#[test]
fn jumps() {
    let truth = |condition: &str, expected: u64| {
        let text =
            format!("r6 = -1 / r7 = 1 / r0 = 1 / if {condition} goto out / r0 = 0 / out: exit");
        check(&text, expected);
    };
    truth("r6 > r7", 1);
    truth("r6 s> r7", 0);
    truth("r6 < 5", 0);
    truth("r6 s< 5", 1);
    truth("r6 == -1", 1);
    truth("w6 == -1", 1);
    truth("r6 != r6", 0);
    truth("r7 & 2", 0);
    truth("r7 & 3", 1);
    truth("r7 >= 1", 1);
    truth("r7 <= 0", 0);
    truth("r7 s>= 2", 0);
    truth("r6 s<= -1", 1);
    truth("w6 s> w7", 0);
    truth("w6 > w7", 1);
    check(
        "r0 = 0 / r6 = 5 / a: r0 += r6 / r6 += -1 / if r6 != 0 goto a / exit",
        15,
    );
    check("gotol a / a: r0 = 3 / exit", 3);
    check(
        "r1 = 4 / call f / r0 += 1 / exit / f: r0 = r1 / r0 *= 2 / exit",
        9,
    );
    // Registers r6 to r9 and the frame are those of the function again.
    check(
        "r6 = 4 / *(u64 *)(r10 - 8) = 30 / call f / r0 = *(u64 *)(r10 - 8) / r0 += r6 / exit \
         / f: r6 = 9 / *(u64 *)(r10 - 8) = 9 / r0 = 0 / exit",
        34,
    );
}

#[test]
fn memory() {
    check("r0 = *(u64 *)(r1 + 0) / exit", 0x1122_3344_5566_7788);
    check("r0 = *(u32 *)(r1 + 4) / exit", 0x1122_3344);
    check("r0 = *(u16 *)(r1 + 0) / exit", 0x7788);
    check("r0 = *(u8 *)(r1 + 7) / exit", 0x11);
    check("r0 = *(s8 *)(r1 + 0) / exit", 0xffff_ffff_ffff_ff88);
    check(
        "*(u64 *)(r10 - 8) = -2 / r0 = *(u64 *)(r10 - 8) / exit",
        -2_i64 as u64,
    );
    check(
        "*(u32 *)(r10 - 4) = -2 / r0 = *(u8 *)(r10 - 4) / exit",
        0xfe,
    );
    check(
        "*(u64 *)(r10 - 8) = 5 / r1 = 3 / lock *(u64 *)(r10 - 8) += r1 / r0 = *(u64 *)(r10 - 8) / exit",
        8,
    );
    let atomic = |line: &str, expected| {
        let text = format!(
            "*(u64 *)(r10 - 8) = 12 / r0 = 12 / r1 = 10 / {line} / r2 = *(u64 *)(r10 - 8) / r0 <<= 16 / r0 |= r2 / r1 <<= 32 / r0 |= r1 / exit"
        );
        check(&text, expected);
    };
    atomic("lock *(u64 *)(r10 - 8) |= r1", 0xa_000c_000e);
    atomic("r1 = atomic_fetch_and((u64 *)(r10 - 8), r1)", 0xc_000c_0008);
    atomic("r1 = atomic_fetch_xor((u64 *)(r10 - 8), r1)", 0xc_000c_0006);
    atomic("r1 = xchg((u64 *)(r10 - 8), r1)", 0xc_000c_000a);
    atomic("r0 = cmpxchg((u64 *)(r10 - 8), r0, r1)", 0xa_000c_000a);
    atomic(
        "r0 = 1 / r0 = cmpxchg((u64 *)(r10 - 8), r0, r1)",
        0xa_000c_000c,
    );
    atomic("r1 = atomic_fetch_add((u32 *)(r10 - 8), r1)", 0xc_000c_0016);
}

#[test]
fn faults() {
    let unwritten = |number| FaultKind::UnwrittenRegister(Reg(number));
    refused("r0 = r2 / exit", 0, unwritten(2));
    refused("exit", 0, unwritten(0));
    refused("call 5 / r0 = r1 / exit", 1, unwritten(1));
    refused("r10 = 1 / exit", 0, FaultKind::FrameWritten);
    refused("r0 = 0", 1, FaultKind::RanOff);
    refused("goto -5", 0, FaultKind::RanOff);
    refused("goto +5", 6, FaultKind::RanOff);
    refused("goto -1", 0, FaultKind::Steps);
    refused("call pc-1", 0, FaultKind::StackDepth);
    refused(
        "goto +1 / r0 = 0x5 ll / exit",
        2,
        FaultKind::Bad(BadInsn::Code(0)),
    );
    refused(
        ".slot 0xff00000000000000",
        0,
        FaultKind::Bad(BadInsn::Code(0xff)),
    );
    refused(
        "call 9999 / exit",
        0,
        FaultKind::UnknownHelper(HelperId(9999)),
    );
    refused(
        "call kfunc[5] / exit",
        0,
        FaultKind::Unsupported("kernel functions"),
    );
    refused(
        "r1 = map_fd[3] ll / exit",
        0,
        FaultKind::Unsupported("this kind of ld_imm64"),
    );
    refused(
        "r0 = 0 / r0 = *(u64 *)(r0 + 0) / exit",
        1,
        FaultKind::OutOfBounds { addr: 0, size: 8 },
    );
    refused(
        "r0 = -1 / r0 = *(u64 *)(r0 + 0) / exit",
        1,
        FaultKind::OutOfBounds {
            addr: u64::MAX,
            size: 8,
        },
    );
    refused_access("r0 = *(u64 *)(r1 + 24) / exit", 0, "OutOfBounds");
    refused_access("r0 = *(u64 *)(r1 + 17) / exit", 0, "OutOfBounds");
    refused_access("r0 = *(u8 *)(r1 - 1) / exit", 0, "OutOfBounds");
    refused_access("*(u8 *)(r1 + 0) = 1 / exit", 0, "ReadOnly");
    refused_access("r0 = *(u8 *)(r10 + 0) / exit", 0, "OutOfBounds");
    refused_access("*(u64 *)(r10 - 520) = 0 / exit", 0, "OutOfBounds");
    refused_access("*(u64 *)(r10 - 12) = 0 / exit", 0, "Misaligned");
    refused_access(
        "*(u32 *)(r10 - 8) = 0 / r0 = *(u64 *)(r10 - 8) / exit",
        1,
        "UnwrittenMemory",
    );
    refused_access(
        "r1 = map(array) ll / r0 = *(u8 *)(r1 + 0) / exit",
        2,
        "OutOfBounds",
    );
    refused_access(
        "r1 = map_value(array) + 16 ll / r0 = *(u8 *)(r1 + 0) / exit",
        2,
        "OutOfBounds",
    );
    refused_access(
        "r1 = map_value(rodata) + 0 ll / *(u8 *)(r1 + 0) = 1 / exit",
        2,
        "ReadOnly",
    );
    // The frame of a subprogram is gone when it returns.
    refused_access(
        "call f / r0 = *(u64 *)(r0 - 8) / exit / f: *(u64 *)(r10 - 8) = 1 / r0 = r10 / exit",
        1,
        "OutOfBounds",
    );
    refused_access("r1 = 5 / r2 = r10 / call 1 / exit", 2, "Argument");
    refused_access(
        "r1 = map(hash) ll / r2 = r10 / r2 += -8 / call 1 / exit",
        4,
        "UnwrittenMemory",
    );
    refused_access(
        "r1 = r10 / r1 += -8 / r2 = 9 / r3 = 0 / call 113 / exit",
        4,
        "OutOfBounds",
    );
    refused_access(
        "r1 = r10 / r1 += -8 / r2 = -1 / r3 = 0 / call 113 / exit",
        4,
        "OutOfBounds",
    );
    let unwritten = run("r0 = *(u64 *)(r10 - 16) / exit").map_err(|fault| fault.kind);
    assert!(
        matches!(
            unwritten,
            Err(FaultKind::UnwrittenMemory {
                frame_offset: Some(-16),
                ..
            })
        ),
        "{unwritten:?}"
    );
}

#[test]
fn late_values() {
    check("r0 = late(opt.pid) ll / exit", 77);
    check("r0 = late(cpus) ll / exit", 4);
    let spec = spec(&["r0 = late(opt.pid) ll / exit"]);
    let fault = Machine::new(&spec).run(ProgramId(0), &mut []);
    assert_eq!(
        fault.map_err(|fault| fault.kind),
        Err(FaultKind::MissingLate("opt.pid".to_owned()))
    );
    let fault = Machine::new(&spec).run(ProgramId(9), &mut []);
    assert_eq!(fault.map_err(|fault| fault.kind), Err(FaultKind::NoProgram));
}

/// `r0 = map[key]` with everything set up: `map`, the key in r6.
const LOOKUP: &str = "*(u64 *)(r10 - 8) = r6 / r2 = r10 / r2 += -8 / call map_lookup_elem";
/// `map[r6] = r7` with flags in r4.
const UPDATE: &str = "*(u64 *)(r10 - 8) = r6 / *(u64 *)(r10 - 16) = r7 / r2 = r10 / r2 += -8 \
                      / r3 = r10 / r3 += -16 / call map_update_elem";

#[test]
fn hashes() {
    let update = |key: i64, value: i64, flags: u64| {
        format!("r1 = map(hash) ll / r6 = {key} / r7 = {value} / r4 = {flags} / {UPDATE}")
    };
    let lookup = |key: i64| format!("r1 = map(hash) ll / r6 = {key} / {LOOKUP}");
    let end = "exit";
    check(&format!("{} / {end}", lookup(1)), 0);
    check(&format!("{} / {end}", update(1, 5, 0)), 0);
    let value = "if r0 == 0 goto out / r0 = *(u64 *)(r0 + 0) / out: exit";
    check(&format!("{} / {} / {value}", update(1, 5, 0), lookup(1)), 5);
    check(&format!("{} / {} / {value}", update(1, 5, 0), lookup(2)), 0);
    check(
        &format!("{} / {} / {end}", update(1, 5, 0), update(1, 6, 1)),
        -17_i64 as u64,
    );
    check(&format!("{} / {end}", update(1, 5, 2)), -2_i64 as u64);
    check(&format!("{} / {end}", update(1, 5, 9)), -22_i64 as u64);
    let three = format!(
        "{} / {} / {}",
        update(1, 5, 0),
        update(2, 5, 0),
        update(3, 5, 0)
    );
    check(&format!("{three} / {end}"), -7_i64 as u64);
    let delete = |key: i64| lookup(key).replace("lookup", "delete");
    check(&format!("{} / {} / {end}", update(1, 5, 0), delete(1)), 0);
    check(&format!("{} / {end}", delete(1)), -2_i64 as u64);
    check(
        &format!(
            "{} / {} / {} / {value}",
            update(1, 5, 0),
            delete(1),
            lookup(1)
        ),
        0,
    );
    // The oldest entry makes room in an LRU.
    let lru = three.replace("hash", "lru");
    check(&format!("{lru} / {end}"), 0);
    check(
        &format!("{lru} / {} / {value}", lookup(1).replace("hash", "lru")),
        0,
    );
    check(
        &format!("{lru} / {} / {value}", lookup(3).replace("hash", "lru")),
        5,
    );
    // A pointer held over an update leads to the old value.
    let held = format!(
        "{} / {} / r8 = r0 / {}",
        update(1, 5, 0),
        lookup(1),
        update(1, 6, 0)
    );
    check(&format!("{held} / r0 = *(u64 *)(r8 + 0) / exit"), 5);
}

#[test]
fn arrays_and_cpus() {
    check(
        "*(u32 *)(r10 - 4) = 3 / r1 = map(array) ll / r2 = r10 / r2 += -4 / call 1 / exit",
        0,
    );
    check(
        "*(u32 *)(r10 - 4) = 2 / r1 = map(array) ll / r2 = r10 / r2 += -4 / call 1 / *(u64 *)(r0 + 8) = 9 \
         / r1 = map(array) ll / r2 = r10 / r2 += -4 / call 1 / r0 = *(u64 *)(r0 + 8) / exit",
        9,
    );
    check(
        "r1 = map_value(rodata) + 1 ll / r0 = *(u8 *)(r1 + 0) / exit",
        u64::from(b'e'),
    );
    let spec = spec(&[
        "*(u32 *)(r10 - 4) = 0 / r1 = map(percpu) ll / r2 = r10 / r2 += -4 / call 1 / if r0 == 0 goto out \
         / r1 = 1 / lock *(u64 *)(r0 + 0) += r1 / out: r0 = 0 / exit",
        "*(u32 *)(r10 - 4) = 0 / r1 = map(percpu) ll / r2 = r10 / r2 += -4 / r3 = 2 / call 195 / r0 = *(u64 *)(r0 + 0) / exit",
    ]);
    let mut machine = Machine::new(&spec);
    for cpu in [0, 2, 2, 3] {
        machine.world.cpu = cpu;
        assert_eq!(machine.run(ProgramId(0), &mut []), Ok(0));
    }
    let map = machine.map_named("percpu").expect("it is there");
    let counts = [1_u64, 0, 2, 1].map(u64::to_le_bytes);
    assert_eq!(map.get(&[0; 4]), Some(counts.concat()));
    assert_eq!(map.get_cpu(&[0; 4], 2), Some(counts[2].to_vec()));
    assert_eq!(map.entries(), [(vec![0; 4], counts.concat())]);
    assert_eq!(machine.run(ProgramId(1), &mut []), Ok(2));
    let array = machine.map_named("array").expect("it is there");
    assert_eq!(array.get(&2_u32.to_le_bytes()), Some(vec![0; 16]));
    assert_eq!(array.get(&3_u32.to_le_bytes()), None);
    assert_eq!(array.get(&[0; 3]), None);
    // User space writes every CPU's value, a program its own.
    let hash = MapId(3);
    assert!(machine.set_entry(hash, &[1; 8], &[7; 8]));
    assert!(!machine.set_entry(hash, &[1; 4], &[7; 8]));
    assert!(!machine.set_entry(hash, &[1; 8], &[7; 4]));
    let map = machine.map(hash).expect("it is there");
    assert_eq!(map.get(&[1; 8]), Some(vec![7; 32]));
    assert_eq!(map.len(), 1);
}

#[test]
fn reading_memory() {
    let read = |helper: &str, size: u64, from: u64, then: &str| {
        format!(
            "r6 = r1 / *(u64 *)(r10 - 8) = -1 / *(u64 *)(r10 - 16) = -1 / r1 = r10 / r1 += -16 / r2 = {size} \
             / r3 = *(u64 *)(r6 + {from}) / call {helper} / {then} / exit"
        )
    };
    let bytes = |text: &[u8; 8]| u64::from_le_bytes(*text);
    let word = "r0 = *(u64 *)(r10 - 16)";
    check(&read("probe_read_kernel", 8, 8, ""), 0);
    check(&read("probe_read_kernel", 8, 8, word), bytes(b"kernel s"));
    check(&read("probe_read_kernel", 8, 16, ""), -14_i64 as u64);
    check(&read("probe_read_kernel", 8, 16, word), 0);
    check(&read("probe_read_user", 5, 16, ""), 0);
    check(&read("probe_read_user", 5, 16, word), 0xffff_ff00_7265_7375);
    check(&read("probe_read_user", 6, 16, ""), -14_i64 as u64);
    check(&read("probe_read_user_str", 16, 16, ""), 5);
    check(
        &read("probe_read_user_str", 16, 16, word),
        0xffff_ff00_7265_7375,
    );
    check(&read("probe_read_user_str", 3, 16, ""), 3);
    check(
        &read("probe_read_user_str", 3, 16, word),
        0xffff_ffff_ff00_7375,
    );
    check(&read("probe_read_kernel_str", 16, 8, ""), 14);
    check(&read("probe_read_kernel_str", 16, 16, ""), -14_i64 as u64);
    check(&read("probe_read_kernel_str", 16, 16, word), 0);
    // The program's own memory is kernel memory.
    let own = "*(u64 *)(r10 - 8) = 6 / r1 = r10 / r1 += -16 / r2 = 8 / r3 = r10 / r3 += -8 / call 113 / r0 = *(u64 *)(r10 - 16) / exit";
    check(own, 6);
}

#[test]
fn the_world() {
    check("call ktime_get_ns / exit", 1_000_000_000);
    check("call get_current_pid_tgid / exit", (1000 << 32) | 1001);
    check("call get_current_uid_gid / exit", 0);
    check("call get_smp_processor_id / exit", 0);
    check("call get_current_task / exit", 0xffff_8880_0001_0000);
    check("call get_current_cgroup_id / exit", 1);
    check(
        "r1 = r10 / r1 += -16 / r2 = 16 / call get_current_comm / r0 = *(u64 *)(r10 - 16) / exit",
        u64::from_le_bytes(*b"test\0\0\0\0"),
    );
    check(
        "r1 = r10 / r1 += -8 / r2 = 4 / call get_current_comm / r0 = *(u32 *)(r10 - 8) / exit",
        u64::from_le_bytes(*b"tes\0\0\0\0\0"),
    );
    check(
        "r1 = 0 / r2 = 0 / r3 = r10 / r3 += -8 / r4 = 8 / call get_ns_current_pid_tgid / r0 = *(u32 *)(r10 - 4) / exit",
        1000,
    );
    let compare = |left: u32, expected: i64| {
        check(
            &format!(
                "*(u32 *)(r10 - 8) = {left} / *(u32 *)(r10 - 4) = 111 / r1 = r10 / r1 += -8 / r2 = 8 / r3 = map_value(rodata) + 0 ll / call strncmp / exit"
            ),
            expected as u64,
        );
    };
    compare(u32::from_le_bytes(*b"hell"), 0);
    compare(u32::from_le_bytes(*b"helm"), 1);
    compare(u32::from_le_bytes(*b"held"), -1);
    let spec = spec(&["call 5 / r6 = r0 / call 5 / r0 -= r6 / exit"]);
    let mut machine = Machine::new(&spec);
    machine.world.clock_step = 15;
    assert_eq!(machine.run(ProgramId(0), &mut []), Ok(15));
    assert_eq!(machine.steps(), 5);
}

#[test]
fn events() {
    let ring = "*(u64 *)(r10 - 8) = 9 / r1 = map(ring) ll / r2 = r10 / r2 += -8 / r3 = 8 / r4 = 0 / call ringbuf_output / exit";
    let reserve = "r1 = map(ring) ll / r2 = 16 / r3 = 0 / call ringbuf_reserve / if r0 == 0 goto out / *(u64 *)(r0 + 8) = 7 \
                   / r1 = r0 / r2 = 0 / call ringbuf_submit / out: r0 = 0 / exit";
    let perf = "r6 = r1 / *(u64 *)(r10 - 8) = 9 / r1 = r6 / r2 = map(perf) ll / r3 = 0xffffffff ll / r4 = r10 / r4 += -8 / r5 = 8 / call perf_event_output / exit";
    let spec = spec(&[ring, reserve, perf, &reserve.replace("submit", "discard")]);
    let mut machine = Machine::new(&spec);
    machine.world.cpu = 3;
    for program in 0..4 {
        assert_eq!(machine.run(ProgramId(program), &mut []), Ok(0), "{program}");
    }
    let nine = 9_u64.to_le_bytes().to_vec();
    let mut record = vec![0; 8];
    record.extend(7_u64.to_le_bytes());
    let expected = [
        Event::Ring {
            map: MapId(5),
            data: nine.clone(),
            unwritten: 0,
        },
        Event::Ring {
            map: MapId(5),
            data: record,
            unwritten: 8,
        },
        Event::Perf {
            map: MapId(6),
            cpu: 3,
            data: nine,
        },
    ];
    assert_eq!(machine.events(), expected);
    assert_eq!(machine.take_events(), expected);
    // A ring of 4096 bytes holds 255 records of 16 bytes, one less than fit.
    let mut fitted = 0;
    while machine.run(ProgramId(0), &mut []) == Ok(0) {
        fitted += 1;
    }
    assert_eq!(fitted, 255);
    assert_eq!(machine.run(ProgramId(0), &mut []), Ok(-11_i64 as u64));
    let _ = machine.take_events();
    assert_eq!(machine.run(ProgramId(0), &mut []), Ok(0));
}

#[test]
fn records_must_be_released() {
    let reserve = "r1 = map(ring) ll / r2 = 16 / r3 = 0 / call ringbuf_reserve";
    refused(
        &format!("{reserve} / r0 = 0 / exit"),
        6,
        FaultKind::LeakedRecord,
    );
    let twice = format!(
        "{reserve} / r6 = r0 / r1 = r6 / r2 = 0 / call ringbuf_submit / r1 = r6 / r2 = 0 / call ringbuf_submit / exit"
    );
    refused_access(&twice, 11, "Argument");
    refused_access(
        &format!("{reserve} / *(u64 *)(r0 + 16) = 1 / exit"),
        5,
        "OutOfBounds",
    );
    let after = format!(
        "{reserve} / r6 = r0 / r1 = r0 / r2 = 0 / call ringbuf_submit / *(u64 *)(r6 + 0) = 1 / exit"
    );
    refused_access(&after, 9, "OutOfBounds");
}

#[test]
fn stacks() {
    let spec = spec(&[
        "r2 = map(stacks) ll / r3 = 0 / call get_stackid / exit",
        "r2 = r10 / r2 += -32 / r3 = 32 / r4 = 1 / call get_stack / r1 = *(u64 *)(r10 - 32) / r0 <<= 32 / r0 |= r1 / exit",
        "r2 = map(stacks) ll / r3 = 256 / call get_stackid / exit",
    ]);
    let mut machine = Machine::new(&spec);
    machine.world.kernel_stack = vec![0x10, 0x20, 0x30, 0x40, 0x50];
    let id = machine.run(ProgramId(0), &mut []).expect("it runs");
    let key = u32::try_from(id).expect("an id").to_le_bytes();
    let stored = machine.map_named("stacks").and_then(|map| map.get(&key));
    let expected = [0x10_u64, 0x20, 0x30, 0x40].map(u64::to_le_bytes).concat();
    assert_eq!(stored, Some(expected));
    assert_eq!(machine.run(ProgramId(0), &mut []), Ok(id));
    assert_eq!(machine.run(ProgramId(1), &mut []), Ok(32 << 32 | 0x20));
    assert_eq!(machine.run(ProgramId(2), &mut []), Ok(-14_i64 as u64));
}

#[test]
fn callbacks() {
    let loops = "*(u64 *)(r10 - 8) = 0 / r1 = 5 / r2 = func(body) ll / r3 = r10 / r3 += -8 / r4 = 0 / call loop \
                 / r1 = *(u64 *)(r10 - 8) / r0 <<= 8 / r0 |= r1 / exit \
                 / body: r3 = *(u64 *)(r2 + 0) / r3 += r1 / *(u64 *)(r2 + 0) = r3 / r0 = 0 / if r1 != STOP goto out / r0 = 1 / out: exit";
    check(&loops.replace("STOP", "9"), 5 << 8 | 10);
    check(&loops.replace("STOP", "2"), 3 << 8 | 3);
    let each = "*(u64 *)(r10 - 8) = 0 / r1 = map(array) ll / r2 = func(body) ll / r3 = r10 / r3 += -8 / r4 = 0 \
                / call for_each_map_elem / r1 = *(u64 *)(r10 - 8) / r0 <<= 8 / r0 |= r1 / exit \
                / body: r1 = *(u32 *)(r2 + 0) / r5 = *(u64 *)(r4 + 0) / r5 += r1 / *(u64 *)(r4 + 0) = r5 / r0 = 0 / exit";
    check(each, 3 << 8 | 3);
    refused_access(
        "r1 = 5 / r2 = 6 / r3 = 0 / r4 = 0 / call loop / exit",
        4,
        "Argument",
    );
}

#[test]
fn tail_calls_and_packets() {
    let spec = spec(&[
        "r2 = map(progs) ll / r3 = 1 / call tail_call / r0 = 99 / exit",
        "r0 = 5 / exit",
        "r2 = map(progs) ll / r3 = 2 / call tail_call / exit",
        "r6 = r1 / r0 = *(u16 *)skb[1] / exit",
    ]);
    let mut machine = Machine::new(&spec);
    assert_eq!(machine.run(ProgramId(0), &mut []), Ok(99));
    machine.set_program(MapId(8), 1, ProgramId(1));
    assert_eq!(machine.run(ProgramId(0), &mut []), Ok(5));
    machine.set_program(MapId(8), 2, ProgramId(2));
    let fault = machine
        .run(ProgramId(2), &mut [])
        .map_err(|fault| fault.kind);
    assert_eq!(
        fault,
        Err(FaultKind::Unsupported("more than 33 tail calls"))
    );
    assert_eq!(machine.run(ProgramId(3), &mut []), Ok(0));
    machine.world.packet = vec![1, 2, 3];
    assert_eq!(machine.run(ProgramId(3), &mut []), Ok(0x0203));
}

#[test]
fn worlds_with_other_rules() {
    let text = "r1 = *(u64 *)(r1 + 0) / r0 = *(u64 *)(r1 + 0) / exit";
    let spec = spec(&[
        text,
        "r3 = *(u64 *)(r1 + 0) / r1 = r10 / r1 += -8 / r2 = 8 / call 115 / r0 = *(u64 *)(r10 - 8) / exit",
    ]);
    let mut machine = Machine::new(&spec);
    machine.set_memory(Space::Kernel, 0xffff_1000, b"ab\0\0\0\0\0\0");
    let mut ctx = 0xffff_1000_u64.to_le_bytes();
    assert!(machine.run(ProgramId(0), &mut ctx).is_err());
    assert_eq!(machine.run(ProgramId(1), &mut ctx), Ok(0x6261));
    machine.world.direct_reads = true;
    assert_eq!(machine.run(ProgramId(0), &mut ctx), Ok(0x6261));
    assert_eq!(machine.run(ProgramId(0), &mut [0; 8]), Ok(0));
    machine.world.strict_strings = true;
    let fault = machine
        .run(ProgramId(1), &mut ctx)
        .map_err(|fault| fault.insn);
    assert_eq!(fault, Err(5));
}

#[test]
fn only_syscall_programs_write_their_context() {
    let mut spec = spec(&["*(u64 *)(r1 + 0) = 5 / r0 = 0 / exit"]);
    let mut ctx = [0; 8];
    assert!(Machine::new(&spec).run(ProgramId(0), &mut ctx).is_err());
    spec.programs[0].kind = ProgramType::Syscall;
    assert_eq!(Machine::new(&spec).run(ProgramId(0), &mut ctx), Ok(0));
    assert_eq!(ctx, 5_u64.to_le_bytes());
}

/// What the static check lets through never reads what nobody wrote, nor leaves the program;
/// and nothing at all panics.
#[test]
fn random_programs_against_the_check() {
    let mut seed = 0x5555_1234_9abc_def1_u64;
    let mut roll = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    let pool = asm::insns(
        "r0 = 0\nr1 = r10\nr1 += -8\n*(u64 *)(r10 - 8) = r0\nr0 = *(u64 *)(r10 - 8)\nif r0 == 0 goto +2\n\
         if r1 s> r0 goto +1\ngoto +1\ncall 5\ncall pc+1\nexit\nr6 = r1\nr0 -= r6\n*(u32 *)(r10 - 4) = 7\n\
         r2 = 8\ncall 16\nr0 = *(u32 *)(r10 - 8)\nw0 <<= 3\nr0 = be16 r0\nexit\nr7 = r0\nr1 = r7\ncall 14",
    )
    .expect("it assembles");
    let mut sound = 0;
    for _ in 0..60_000 {
        let mut spec = Spec::default();
        let mut insns: Vec<_> = (0..2 + roll() % 8)
            .map(|_| pool[roll() % pool.len()])
            .collect();
        insns.push(kscope_spec::Insn::exit());
        spec.programs.push(ProgramSpec {
            name: "p".to_owned(),
            kind: ProgramType::RawTracepoint,
            attach: AttachKind::None,
            insns,
            relocs: Vec::new(),
            lines: Vec::new(),
            funcs: Vec::new(),
            flags: 0,
            ..ProgramSpec::default()
        });
        let problems = kscope_spec::check::program(&spec, &spec.programs[0]);
        let result = Machine::new(&spec).run(ProgramId(0), &mut [0; 16]);
        if problems.is_empty() {
            sound += 1;
            let text = kscope_spec::disasm::insns(&spec.programs[0].insns);
            // What it does not know: pointers other than those into the frame.
            let known = match &result {
                Ok(_) => true,
                Err(fault) => matches!(
                    fault.kind,
                    FaultKind::OutOfBounds { .. } | FaultKind::ReadOnly { .. }
                ),
            };
            assert!(known, "{result:?}\n{text}");
        }
    }
    assert!(sound > 100, "{sound}");
}
