//! Whole scripts: deep ones, mutated ones, ones for kernels that have little, ones with many
//! errors.

use super::cases::{refuse, wrong};
use super::fixture::{Setup, checked, findings};
use kscope_script::catalogue::TextCatalogue;
use kscope_script::types::dump;

#[test]
fn nothing_can_be_looked_up() {
    let setup = Setup {
        btf: None,
        catalogue: TextCatalogue::default(),
        ..Setup::default()
    };
    let check = |source: &str| {
        let (program, found) = checked(source, &setup);
        (program.probes.len(), findings(source, &found))
    };
    let (probes, found) = check("kprobe:vfs_read { @ = count(); }");
    assert_eq!(probes, 1);
    assert!(found.contains("WARNING [unchecked-probe]"), "{found}");
    assert!(!found.contains("ERROR"), "{found}");
    let (probes, found) = check("t:syscalls:sys_enter_openat { print(str(args.filename)); }");
    assert_eq!(probes, 1);
    assert!(!found.contains("ERROR"), "{found}");
    let (probes, found) = check("t:syscalls:sys_enter_open* { print(str(args.filename)); }");
    assert!(probes >= 2, "{found}");
    let (probes, found) = check("t:sched:sched_switch { print(args.prev_comm == \"x\"); }");
    assert_eq!(probes, 0);
    assert!(found.contains("[unchecked-args]"), "{found}");
    assert!(!found.contains("ERROR"), "{found}");
    let (_, found) = check("BEGIN { print(curtask->pid); }");
    assert!(found.contains("there is no BTF"), "{found}");
    let (_, found) = check("BEGIN { $p = (struct file *)1; }");
    assert_eq!(found, "");
}

#[test]
fn all_errors_are_reported_in_one_run() {
    let source = "BEGIN { print(a); print(b); $x = c + 1; @m[d] = e; $y = $x; } kprobe:nothing { print(f); } END { print(g); }";
    let (_, found) = checked(source, &Setup::default());
    let found = findings(source, &found);
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        assert!(
            found.contains(&format!("Unknown identifier: '{name}'")),
            "{name} in {found}"
        );
    }
    assert!(
        found.contains("kernel function not found: nothing"),
        "{found}"
    );
    assert_eq!(found.matches("ERROR").count(), 8, "{found}");
}

#[test]
fn deep_scripts_are_refused_or_checked() {
    for n in [10, 100, 240, 2000] {
        let source = format!("BEGIN {{ print({}1{}); }}", "(".repeat(n), ")".repeat(n));
        checked(&source, &Setup::default());
        let source = format!("BEGIN {{ print(1{}); }}", "+pid".repeat(n));
        checked(&source, &Setup::default());
        let source = format!("BEGIN {{ print({}pid); }}", "-".repeat(n));
        checked(&source, &Setup::default());
        let source = format!("BEGIN {{ print(curtask{}); }}", "->real_parent".repeat(n));
        checked(&source, &Setup::default());
        let source = format!("BEGIN {{ {} }}", "$x = ($x, 1);".repeat(n));
        checked(&source, &Setup::default());
        let source = format!(
            "BEGIN {{ {} @a = 1; {} }}",
            "if (pid) {".repeat(n),
            "}".repeat(n)
        );
        checked(&source, &Setup::default());
    }
}

#[test]
fn types_that_never_settle_are_reported() {
    refuse("BEGIN { $a = $b; $b = $a; }", &["[undefined-variable]"]);
    wrong("@a = 1; @a = (@a, 1)", &["[type-mismatch]"]);
    wrong("let $x; print($x)", &["[unresolved-type]"]);
}

#[test]
fn bodies_of_probes_that_are_not_there() {
    let source = "config = { missing_probes = warn } \
        kprobe:nothing { @s[tid] = nsecs; print(curtask->no_such); print(getopt(\"x\")); } \
        t:syscalls:sys_enter_openat3 { @f = args.fd; } \
        t:syscalls:sys_enter_creat { @p = args.pathname; } \
        BEGIN { print(@s[tid]); print(@p); print(1); }";
    let (program, found) = checked(source, &Setup::default());
    let found = findings(source, &found);
    assert!(!found.contains("ERROR"), "{found}");
    assert_eq!(program.probes.len(), 1);
    assert_eq!(program.sites.len(), 3);
    assert_eq!(program.options.len(), 1);
    let source = "watchpoint:0x10:8:w { @s = arg0; print(xyz); } BEGIN { print(@s); }";
    let (_, found) = checked(source, &Setup::default());
    let found = findings(source, &found);
    assert_eq!(found.matches("ERROR").count(), 2, "{found}");
    assert!(found.contains("'xyz'"), "{found}");
}

/// Takes a number from a simple generator; the same ones in every run.
fn next(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    (*state >> 16) as usize
}

#[test]
fn mutated_scripts_never_panic() {
    let words = [
        "@a",
        "$x",
        "pid",
        "comm",
        "1",
        "\"s\"",
        "(",
        ")",
        "{",
        "}",
        "[",
        "]",
        ";",
        ",",
        "->pid",
        "*",
        "-",
        "==",
        "? 1 :",
        "args.x",
        "str(",
        "count()",
        "print(",
        "curtask",
        "(uint8)",
        "(struct file *)",
        "if (",
        "let $y",
        "for $i : 0..5 {",
        "@m[1]",
        "++",
        "getopt(\"o\")",
        "sizeof(",
        "kstack",
        "t:sched:*",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let setup = Setup::default();
    for path in super::golden::list("types") {
        let text = std::fs::read_to_string(&path).expect("a golden file can be read");
        let source = text
            .split(super::golden::SEPARATOR)
            .next()
            .unwrap_or_default();
        let tokens: Vec<&str> = source
            .split_inclusive([' ', '(', ')', ';', ',', '[', '.'])
            .collect();
        for _ in 0..150 {
            let mut mutated = tokens.clone();
            for _ in 0..=next(&mut state) % 3 {
                let at = next(&mut state) % mutated.len();
                let word = words[next(&mut state) % words.len()];
                match next(&mut state) % 3 {
                    0 => drop(mutated.remove(at)),
                    1 => mutated.insert(at, word),
                    _ => mutated[at] = word,
                }
            }
            checked(&mutated.concat(), &setup);
        }
    }
}

#[test]
fn effects_happen_once() {
    let source = "BEGIN { $i = 0; @a[$i++] += 1; print(@a[$i++]); }";
    let (program, _) = checked(source, &Setup::default());
    let text = dump::program(&program);
    assert_eq!(text.matches("then +1").count(), 2, "{text}");
}
