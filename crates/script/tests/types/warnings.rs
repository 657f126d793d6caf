//! What is told of scripts that compile all the same, in bpftrace's words where it tells it too.

use super::fixture::{Setup, checked, findings};

/// Checks the warnings of a script: each as the text at fault and a part of what is told.
#[track_caller]
fn script(source: &str, expected: &[(&str, &str)]) {
    let (_, found) = checked(source, &Setup::default());
    let told = findings(source, &found);
    assert!(!told.contains("ERROR"), "{source}: {told}");
    let warnings: Vec<&str> = told.lines().filter(|l| l.starts_with("WARNING")).collect();
    assert_eq!(warnings.len(), expected.len(), "{source}: {told}");
    for (warning, (at, part)) in warnings.iter().zip(expected) {
        assert!(
            warning.contains(&format!("at `{at}")),
            "{source}: {warning}"
        );
        assert!(warning.contains(part), "{source}: {warning}");
    }
}

/// Checks the warnings of a body of `begin`.
#[track_caller]
fn check(body: &str, expected: &[(&str, &str)]) {
    script(&format!("begin {{ {body} }}"), expected);
}

#[test]
fn values_that_nobody_uses() {
    let discarded = "Return value discarded";
    check("pid;", &[("pid", discarded)]);
    check("1 + 1;", &[("1 + 1", discarded)]);
    check("sizeof(uint64);", &[("sizeof(uint64)", discarded)]);
    check("_ = pid; @x++; $i = 0; $i++; ++@x;", &[]);
    // bpftrace warns of this as well.
    check("@a[1] = 1; delete(@a, 1);", &[]);
}

#[test]
fn statements_that_are_never_run() {
    let never = "Unreachable statement";
    check("exit(); print(1); print(2);", &[("print(1)", never)]);
    check("return; print(1)", &[("print(1)", never)]);
    check(
        "if (pid) { exit(); } else { return; } print(1);",
        &[("print(1)", never)],
    );
    check("if (pid) { exit(); } print(1);", &[]);
    check(
        "for $i : 0..3 { if ($i) { continue; } break; @ = $i; }",
        &[("@ = $i", never)],
    );
    check("{ exit(); } print(1);", &[("print(1)", never)]);
    script(
        "macro end() { exit(); exit(1); } begin { end(); } interval:s:1 { exit(); }",
        &[],
    );
}

#[test]
fn loops() {
    check(
        "$i = 0; while ($i < 3) { $i++; }",
        &[("while ($i < 3) { $i++; }", "While loops are deprecated")],
    );
    let later = "print() in a loop can lead to unexpected behavior";
    check(
        "@a[1] = 1; for $i : 0..3 { print(@a); }",
        &[("print(@a)", later)],
    );
    check("@a[1] = 1; unroll(3) { print(@a); } print(@a);", &[]);
    check("@a[1] = 1; for $i : 0..3 { print(@a[1]); print($i); }", &[]);
}

#[test]
fn arguments_that_mean_nothing() {
    let ignored = "top and div arguments are ignored";
    check(
        "@s[1] = stats(1); print(@s, 5, 2);",
        &[("print(@s, 5, 2)", ignored)],
    );
    check(
        "@s[1] = stats(1); print(@s); @c[1] = count(); print(@c, 5);",
        &[],
    );
}

#[test]
fn what_is_declared_and_not_used() {
    check(
        "let $x: uint64;",
        &[("let $x: uint64;", "Variable $x was never assigned to")],
    );
    check(
        "let $x: uint64; print($x);",
        &[("let $x: uint64;", "never assigned")],
    );
    check(
        "let $x: uint64; if (pid) { $x = 1; } let $y: uint64; $y++; let $z = 1;",
        &[],
    );
    script("let @a = hash(10); begin { }", &[("@a", "Unused map: @a")]);
}

#[test]
fn numbers_that_change() {
    let cast = "Expression of type: uint64 being cast to type: int64. This may cause unexpected \
                results. Use an explicit cast to suppress this warning";
    let two = "$a = (uint64)nsecs; $b = (int64)pid;";
    check(&format!("{two} print($a + $b);"), &[("$a", cast)]);
    check(&format!("{two} print($b < $a);"), &[("$a", cast)]);
    check(
        &format!("{two} print((int64)$a < $b); print($a - 1); print($a < 5);"),
        &[],
    );
    check("@ = (int64)1; @ = nsecs;", &[("nsecs", cast)]);
}

#[test]
fn configuration_without_effect() {
    let check = |entry: &str, expected: &[(&str, &str)]| {
        script(&format!("config = {{ {entry} }} begin {{ }}"), expected);
    };
    check(
        "log_size = 5000; max_map_keys = 5; use_blazesym = true",
        &[],
    );
    let gone = "is deprecated and has no effect";
    check("unstable_map_decl = true", &[("unstable_map_decl", gone)]);
    check("symbol_source = \"dwarf\"", &[("symbol_source", gone)]);
    check("max_cat_bytes = 100", &[]);
}

#[test]
fn variables_that_leave_their_block() {
    let told = "outside of the block that assigns it";
    check("if (pid) { $x = 1; } print($x)", &[("$x", told)]);
    check(
        "if (pid) { $x = 1; } else { $x = 300; } $x += 2; print($x)",
        &[("$x", told)],
    );
    check("if (pid) { $x = 1; } if (tid) { $x = 2; }", &[]);
    check("if (pid) { $x = 1; } $x = \"a\"; print($x)", &[]);
}

#[test]
fn there_may_be_no_command() {
    let check = |source: &str, without_command, expected: bool| {
        let setup = Setup {
            without_command,
            ..Setup::default()
        };
        let (_, found) = checked(source, &setup);
        let told = findings(source, &found);
        assert_eq!(told.contains("cpid is zero"), expected, "{source}: {told}");
    };
    check("begin { print(cpid); }", true, true);
    check("begin { print(cpid); }", false, false);
    check("begin { print(has_cpid); }", true, false);
}
