//! What the kernel's verifier refuses, shown against the script: each kernel says it in its own words.

use kscope_tests::caller::Program;
use kscope_tests::{program_or_skip, skip};

/// A script that compiles and is refused, and what every kernel's verifier calls that.
struct Refused {
    script: &'static str,
    telling: &'static str,
    /// The line that is at fault, and what it says.
    line: usize,
}

/// Demands the script's line with a caret below it, the telling line of the log, and the whole log for `-v` alone.
#[track_caller]
fn check(program: &Program, refused: &Refused) {
    let Refused {
        script,
        telling,
        line,
    } = *refused;
    let text = script.lines().nth(line - 1).expect("there");
    let brief = program
        .as_root(&["-e", script])
        .is(1, &["cannot load begin: the verifier refused program"]);
    let lines = error_lines(&brief.err);
    assert!(lines[0].contains(telling), "no `{telling}` in {}", lines[0]);
    let place = format!("at line {line}, column ");
    let column = lines[1].strip_prefix(&place).expect("its place");
    let column: usize = column.strip_suffix(':').unwrap_or("").parse().expect("one");
    assert_eq!(lines[2], text);
    assert_eq!(lines[3], " ".repeat(column - 1) + "^");
    assert!(lines[4].starts_with("HINT: -v shows "), "{}", brief.err);
    assert!(lines.len() < 8, "too much said:\n{}", brief.err);
    assert_eq!(brief.out, "");

    let whole = program
        .as_root(&["-v", "-e", script])
        .is(1, &["the verifier's log:\n", telling, "\nprocessed "]);
    let number = |line: &str| {
        line.split_once(": (")
            .map(|(number, _)| number.parse::<u32>())
    };
    let instructions = whole
        .err
        .lines()
        .filter(|line| matches!(number(line), Some(Ok(_))));
    assert!(instructions.count() > 0, "no instruction in the log");
}

/// Gives what is said from the error on; warnings of the compiler (of `while`) stand before it.
fn error_lines(said: &str) -> Vec<&str> {
    let is_error = |line: &&str| line.starts_with("ERROR: ");
    said.lines().skip_while(|line| !is_error(line)).collect()
}

#[test]
fn loops_without_an_end() {
    let program = program_or_skip!("endless");
    check(
        &program,
        &Refused {
            script: "begin { $i = 0; while (1) { $i++; } exit(); }",
            telling: "infinite loop detected",
            line: 1,
        },
    );
    check(
        &program,
        &Refused {
            script: "// two\nbegin {\n\t$i = 0;\n  while (1) { $i++; }\n  exit();\n}",
            telling: "infinite loop detected",
            line: 4,
        },
    );
}

#[test]
fn loops_with_more_branches_than_are_followed() {
    let program = program_or_skip!("branches");
    check(
        &program,
        &Refused {
            script: "begin {\n  $i = 0;\n  while ($i < nsecs) { $i++; }\n  exit();\n}",
            telling: "jumps is too complex",
            line: 3,
        },
    );
}

/// The log is too long for its buffer, and kernels differ in what they leave of it.
fn followed_too_far(program: &Program) {
    let script = "begin {\n  $i = 0;\n  while ($i < 10000000) {\n    $i++; @ = nsecs;\n  }\n}";
    let parts = [
        "program is too large. Processed 1000001 insn",
        "HINT: -v shows the verifier's whole log",
    ];
    let left = program.as_root(&["-e", script]).is(1, &parts);
    let lines = error_lines(&left.err);
    assert!(lines[0].contains(parts[0]), "{}", lines[0]);
    // The place costs another walk, which is not made where the first one was long.
    let told = |start: &str| lines[1].starts_with(start);
    assert!(told("at line ") || told("HINT: "), "{}", lines[1]);
}

#[test]
fn programs_with_more_instructions_than_are_followed() {
    let program = program_or_skip!("long");
    if std::env::var_os("KSCOPE_GUEST").is_some() {
        skip!(
            "time",
            "emulated verifiers need a minute; make test-all gives it"
        );
    }
    followed_too_far(&program);
}

#[test]
#[ignore = "takes a minute in a guest"]
fn programs_with_more_instructions_than_are_followed_in_a_guest() {
    let program = program_or_skip!("longer");
    followed_too_far(&program);
}

/// The verifier does not know how many arguments there are, so this is refused later.
#[test]
fn arguments_that_a_raw_tracepoint_does_not_have() {
    let program = program_or_skip!("arguments");
    let script = "rawtracepoint:sys_enter { print(arg7); exit(); }";
    let parts = [
        "cannot attach rawtracepoint:sys_enter",
        "reads more arguments than raw tracepoint sys_enter has",
    ];
    program.as_root(&["-e", script]).is(1, &parts);
}

/// What one probe lacks is not blamed on the others, and nothing is left behind.
#[test]
fn a_refusal_ends_the_run_before_anything_is_attached() {
    let program = program_or_skip!("whole");
    let script = "tracepoint:sched:sched_switch { @ = count(); }\nbegin { $i = 0; while (1) { $i++; } exit(); }";
    let left = program
        .as_root(&["-e", script])
        .is(1, &["cannot load begin", "at line 2, "])
        .without(&["Attached", "sched_switch"]);
    assert_eq!(left.out, "");
}
