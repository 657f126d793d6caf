//! Logs as kernels from 5.10 to 7.3 write them.

use super::*;
use kscope_spec::{AttachKind, ProgramType};

#[track_caller]
fn check(text: &str, line: &str, insn: Option<u32>, verified: Option<u64>) {
    let log = VerifierLog::parse(text);
    assert_eq!(log.telling_line, line, "{text}");
    assert_eq!((log.insn, log.verified_insns), (insn, verified), "{text}");
    assert_eq!(log.text, text);
}

const PROCESSED: &str = "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 \
                         peak_states 0 mark_read 0";

#[test]
fn the_classic_message_is_the_last_line() {
    let text = "; @x[comm] = count();\n0: (b7) r1 = 3\n1: (85) call pc+1\ncaller:\n R10=fp0\n\
                callee:\n frame1: R1_w=inv3 R10=fp0\n; @x[comm] = count();\n\
                3: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'inv'\n";
    check(
        &format!("{text}{PROCESSED}\n"),
        "R1 invalid mem access 'inv'",
        Some(3),
        Some(3),
    );
}

#[test]
fn statistics_may_stand_behind_the_message() {
    let message = "more than one arg with ref_obj_id R3 2 2";
    let text =
        format!("0: (b7) r1 = 3\n7: (85) call bpf_ringbuf_output#130\n{message}{PROCESSED}\n");
    check(&text, message, Some(7), Some(3));
    let told = "the value processed is no number";
    check(&format!("1: (95) exit\n{told}"), told, Some(1), None);
}

#[test]
fn an_explanation_after_the_message_is_passed_over() {
    let text = "0: R1=ctx() R10=fp0\n; @x[comm] = count(); @ script.bt:7\n\
                0: (b7) r1 = 3                        ; R1=3\n1: (85) call pc+1\ncaller:\n\
                \x20R10=fp0\ncallee:\n frame1: R1=3 R10=fp0\n3: frame1: R1=3 R10=fp0\n\
                3: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n\
                Verification failed: Register Type Safety: Invalid dereference\nReason:\n\
                \x20 R1 is an integer scalar here, not a pointer to memory.\nAt:\n\
                \x20 f1 @ script.bt:7:3\n  Source context:\n  >>> 7 | @x[comm] = count();\n\
                \x20 Instruction context:\n      1 | (85) call pc+1\n      2 | (95) exit\n\
                \x20 >>> 3 | (79) r0 = *(u64 *)(r1 +0)\nCausal path:\n\
                \x20 no retained diagnostic events on this path\nSuggestion:\n\
                \x20 Preserve a pointer-valued register where needed\n";
    check(
        &format!("{text}{PROCESSED}\n"),
        "R1 invalid mem access 'scalar'",
        Some(3),
        Some(3),
    );
}

#[test]
fn states_and_jumps_are_no_messages() {
    let text = "0: (b7) r0 = 0\n1: (15) if r1 == 0x0 goto pc+1\n R1=ctx(id=0) R10=fp0\n\
                2: (79) r0 = *(u64 *)(r0 +0)\nR0 invalid mem access 'inv'\n\nfrom 1 to 3: R0=inv0\n";
    check(text, "R0 invalid mem access 'inv'", Some(2), None);
    check(
        "0: (95) exit\nR0 !read_ok\nverification time 5 usec\nstack depth 0\n",
        "R0 !read_ok",
        Some(0),
        None,
    );
}

#[test]
fn a_message_may_stand_behind_a_jump() {
    // The state of the jump took the line's end away, and had nothing to tell (Linux 6.18).
    let text = "4: (61) r2 = *(u32 *)(r10 -4)         ; R2=scalar() R10=fp0 fp-8=mmmm????\n\
                8: (5d) if r2 != r1 goto pc-5 4: R1=0xfffffffb R2=scalar() R10=fp0 fp-8=mmmm????\n\
                8: (5d) if r2 != r1 goto pc-5 infinite loop detected at insn 4\n\
                cur state: R1=0xfffffffb R10=fp0 fp-8=mmmm????\n\
                old state: R1=0xfffffffb R10=fp0 fp-8=mmmm????\n";
    let message = "infinite loop detected at insn 4";
    check(&format!("{text}{PROCESSED}\n"), message, Some(4), Some(3));
    for state in [
        "",
        "         ; R1=1 R2=2",
        " 4: R1=1 R10=fp0",
        " R1=inv3 R10=fp0",
    ] {
        let text = format!("8: (5d) if r2 != r1 goto pc-5{state}\n{PROCESSED}\n");
        check(&text, "", Some(8), Some(3));
    }
}

#[test]
fn messages_before_any_instruction_name_it_themselves() {
    check(
        "unreachable insn 7\nprocessed 0 insns (limit 1000000)\n",
        "unreachable insn 7",
        Some(7),
        Some(0),
    );
    check(
        "jump out of range from insn 1 to 2\n",
        "jump out of range from insn 1 to 2",
        Some(1),
        None,
    );
    check(
        "back-edge from insn 4 to 3\n",
        "back-edge from insn 4 to 3",
        Some(4),
        None,
    );
    check(
        "last insn is not an exit or jmp\n",
        "last insn is not an exit or jmp",
        None,
        None,
    );
}

#[test]
fn a_long_program_is_told_with_its_count() {
    let text = "9: (07) r1 += 1\nBPF program is too large. Processed 1000001 insn\n\
                processed 1000001 insns (limit 1000000) max_states_per_insn 4\n";
    check(
        text,
        "BPF program is too large. Processed 1000001 insn",
        Some(9),
        Some(1_000_001),
    );
}

#[test]
fn nothing_is_made_of_nothing() {
    check("", "", None, None);
    check("\n\n", "", None, None);
    check("processed many insns", "processed many insns", None, None);
    check(
        "99999999999999: (95) exit",
        "99999999999999: (95) exit",
        None,
        None,
    );
}

#[test]
fn the_place_is_that_of_the_line_before() {
    let line = |insn, line| LineInfo {
        insn,
        file: 0,
        line,
        column: 1,
    };
    let program = ProgramSpec {
        name: String::new(),
        kind: ProgramType::Kprobe,
        attach: AttachKind::None,
        insns: Vec::new(),
        relocs: Vec::new(),
        lines: vec![line(2, 10), line(5, 20)],
        funcs: Vec::new(),
        flags: 0,
        ..ProgramSpec::default()
    };
    let place = |insn| {
        let log = VerifierLog {
            insn,
            ..VerifierLog::default()
        };
        log.place(&program).map(|place| place.line)
    };
    assert_eq!(place(None), None);
    assert_eq!(place(Some(1)), None);
    assert_eq!(place(Some(2)), Some(10));
    assert_eq!(place(Some(4)), Some(10));
    assert_eq!(place(Some(900)), Some(20));
}
