//! Whole compilations: golden files (`compile/*.txt` hold a script, the IR of its programs after
//! the passes, their code, and the maps, each after a line of dashes; `BLESS=1` writes what the
//! compiler gives now), and the same inputs give the same result.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

#[path = "types/fixture.rs"]
#[allow(dead_code, reason = "the checker's tests use all of it")]
mod fixture;
mod golden;

use std::fmt::Write as _;

use fixture::Setup;
use golden::SEPARATOR;
use kscope_script::compile::{Options, compile_stages};
use kscope_script::types::Inputs;
use kscope_spec::disasm;

/// How a script begins that is compiled for a kernel whose programs may read the running thread.
const TYPED_TASK: &str = "// with a typed task\n";

/// Compiles a script and prints what each stage made of it.
fn compiled(source: &str) -> String {
    let mut setup = Setup::default();
    if source.starts_with(TYPED_TASK) {
        let helper = ("BPF_FUNC_get_current_task_btf", 158);
        setup.btf = Some(fixture::btf_with(&[helper]));
    }
    let mut inputs = Inputs::new(&setup.catalogue);
    inputs.btf = setup.btf.as_ref();
    inputs.positional.clone_from(&setup.positional);
    let (stages, compilation) = compile_stages("test.bt", source, &inputs, Options::default());
    let mut text = String::new();
    for finding in &compilation.diagnostics {
        let _ = writeln!(text, "{}: {}", finding.severity, finding.message);
    }
    for function in &stages.functions {
        let _ = write!(text, "{function}");
    }
    let Some(compiled) = compilation.compiled else {
        return text;
    };
    text.push_str("----\n");
    let options = disasm::Options {
        numbers: false,
        helper_names: true,
        source: false,
    };
    for program in &compiled.spec.programs {
        text.push_str(&disasm::program(&compiled.spec, program, options));
    }
    text.push_str("----\n");
    for map in &compiled.spec.maps {
        let _ = writeln!(
            text,
            "{} {:?} key {} value {} entries {} flags {}",
            map.name, map.kind, map.key_size, map.value_size, map.max_entries, map.flags
        );
    }
    text
}

#[test]
fn golden_files_hold() {
    golden::scripts("compile", 6, |source| {
        let source = source.trim_end();
        let text = compiled(source);
        assert_eq!(text, compiled(source), "the same twice");
        format!("{source}{SEPARATOR}{text}")
    });
}

/// Compiles for the small kernel; gives the result, or the errors.
fn outcome(source: &str) -> Result<kscope_script::Compiled, String> {
    let setup = Setup::default();
    let mut inputs = Inputs::new(&setup.catalogue);
    inputs.btf = setup.btf.as_ref();
    let (_, compilation) = compile_stages("test.bt", source, &inputs, Options::default());
    let found = fixture::findings(source, &compilation.diagnostics);
    compilation.compiled.ok_or(found)
}

#[test]
fn arrays_end_where_the_value_ends() {
    const FLEXIBLE: &str = "struct packet { int len; char rest[0]; char more[0]; }; struct outer { struct packet p; int tail; };";
    let check = |body: &str, expected: Option<&str>| {
        let result = outcome(&format!("{FLEXIBLE} begin {{ {body} }}"));
        match (&result, expected) {
            (Ok(_), None) => {}
            (Err(text), Some(expected)) if text.contains(expected) => {}
            _ => panic!("{body}: {result:?}"),
        }
    };
    let out = Some("out of bounds of the value");
    check(
        "$p = (struct packet *)kaddr(\"x\"); print($p->rest[3]);",
        None,
    );
    check("$p = (struct packet *)pid; print($p->rest[tid]);", None);
    check("$p = *(struct packet *)pid; print($p.len);", None);
    check("$p = *(struct packet *)pid; print($p.rest[0]);", out);
    check(
        "$p = *(struct packet *)pid; print($p.rest[2147483647]);",
        out,
    );
    check(
        "$p = *(struct packet *)pid; print($p.rest[4294967295]);",
        out,
    );
    check("@p = *(struct packet *)pid; print(@p.rest[0]);", out);
    check("$p = *(struct outer *)pid; print($p.p.rest[3]);", None);
    check("$p = *(struct outer *)pid; print($p.p.rest[4]);", out);
    check(
        "$p = *(struct packet *)pid; print($p.rest[tid]);",
        Some("not part of a copy"),
    );
}

#[test]
fn copies_of_a_body_are_limited() {
    let check = |body: &str, expected: Option<&str>| {
        let result = outcome(&format!("begin {{ {body} }}"));
        match (result.map(drop), expected) {
            (Ok(()), None) => {}
            (Err(text), Some(expected)) if text.contains(expected) => {}
            (result, _) => panic!("{body}: {result:?}"),
        }
    };
    check("unroll(10) { unroll(100) { @++; } }", None);
    check("unroll(100) { @++; } unroll(100) { @++; }", None);
    let limit = Some("makes 1100 copies of its body, the limit is 1000");
    check("unroll(11) { unroll(100) { @++; } }", limit);
    check("unroll(11) { if (pid) { unroll(100) { @++; } } }", limit);
    check(
        &"unroll(100) { "
            .repeat(20)
            .replace("unroll(100) { ", "unroll(100) { @++; "),
        Some("copies"),
    );
    let many = "@[comm, pid, kstack] = count(); ".repeat(1000);
    check(
        &format!("unroll(100) {{ {many} }}"),
        Some("computes more than 500000 values"),
    );
}

#[test]
fn searches_for_what_is_known_only_when_it_runs_are_limited() {
    let check = |searches: usize, expected: Option<&str>| {
        let body = "if (strcontains($s, $t)) { @++; } ".repeat(searches);
        let strings = "$s = str((uint8 *)pid); $t = str((uint8 *)tid);";
        let result = outcome(&format!("begin {{ {strings} {body} }}"));
        match (result.map(drop), expected) {
            (Ok(()), None) => {}
            (Err(text), Some(expected)) if text.contains(expected) => {}
            (result, _) => panic!("{searches} searches: {result:?}"),
        }
    };
    check(5, None);
    check(6, Some("searches strings of 12288 bytes"));
}

#[test]
fn small_temporary_memory_is_taken_again_by_later_statements() {
    let compiled = outcome(&format!("begin {{ {} }}", "@m[nsecs] = 1; ".repeat(1500)));
    let compiled = compiled.expect("each statement needs a few bytes");
    let scratch = compiled.spec.maps.iter().find(|map| map.name == "scratch");
    assert_eq!(scratch.map(|map| map.value_size), None);
}

#[test]
fn rings_are_small_where_little_comes() {
    const SMALL: u32 = 256 << 10;
    const LARGE: u32 = 8 << 20;
    let check = |source: &str, expected: u32| {
        let compiled = outcome(source).expect(source);
        let ring = compiled.spec.maps.iter().find(|map| map.name == "events");
        assert_eq!(ring.map(|map| map.max_entries), Some(expected), "{source}");
    };
    check("begin { print(1); }", SMALL);
    check("begin { print(1); } kprobe:vfs_read { exit(); }", SMALL);
    check(
        "interval:s:1 { print(1); } kprobe:vfs_read { @++; exit(); }",
        SMALL,
    );
    check("kprobe:vfs_read { print(1); }", LARGE);
    // Where the event is part of an expression, or comes of the compiler itself.
    check(
        "kprobe:vfs_read { $x = { print(1); pid }; @ = $x; } begin { print(2); }",
        LARGE,
    );
    check(
        "kprobe:vfs_read { @ = pid ? ({ print(1); 1 }) : 2; exit(); }",
        LARGE,
    );
    check(
        "kprobe:vfs_read { for $i : 0..pid { @++; } exit(); }",
        LARGE,
    );
}

#[test]
fn the_plan_says_whether_the_script_sizes_a_map() {
    let check = |source: &str, sized: bool, entries: u32, flags: u32| {
        let compiled = outcome(source).expect(source);
        let plan = &compiled.plan.maps[0];
        assert_eq!(plan.sized, sized, "{source}");
        let spec = &compiled.spec.maps[plan.map.0 as usize];
        assert_eq!((spec.max_entries, spec.flags), (entries, flags), "{source}");
    };
    // What is large is allocated at once, unless the script says how many there are.
    let on_demand = 1;
    check("begin { @[1] = hist(1, 5); }", false, 4096, 0);
    check(
        "config = { max_map_keys = 4096 } begin { @[1] = hist(1, 5); }",
        true,
        4096,
        on_demand,
    );
    check(
        "config = { max_map_keys = 7 } begin { @[1] = hist(1, 5); }",
        true,
        7,
        0,
    );
    check(
        "let @ = hash(4096); begin { @[1] = (pid, comm); }",
        true,
        4096,
        0,
    );
}

#[test]
fn steps_are_atomic() {
    let old = Setup::default();
    let new = Setup {
        btf: Some(fixture::btf_with(&[("BPF_FUNC_check_mtu", 163)])),
        ..Setup::default()
    };
    let check = |setup: &Setup, body: &str, expected: &[&str]| {
        let source = format!("begin {{ {body} }}");
        let mut inputs = Inputs::new(&setup.catalogue);
        inputs.btf = setup.btf.as_ref();
        let (stages, _) = compile_stages("test.bt", &source, &inputs, Options::default());
        let text = stages.functions.first().map(ToString::to_string);
        let text = text.unwrap_or_else(|| panic!("{source} has errors"));
        let mut atomics = text.lines().filter(|line| line.contains("atomic"));
        for one in expected {
            let line = atomics.next().unwrap_or_default();
            assert!(line.contains(one), "{source}: no {one} in\n{text}");
        }
        assert_eq!(atomics.next(), None, "{source}:\n{text}");
    };
    let (add, fetch) = ("atomicadd8", "atomicfetchadd8");
    for setup in [&old, &new] {
        check(setup, "@++;", &[add]);
        check(setup, "@[pid]--;", &[add]);
        check(setup, "@ += 2; @a[pid] -= nsecs;", &[add, add]);
        check(setup, "@ = (uint8)1; @++;", &[add]);
        check(setup, "@[1] = (int16)1; ++@[1];", &[add]);
        check(setup, "@ = (uint32)1; @--; @++;", &[add, add]);
    }
    check(&old, "$a = @++; print($a);", &[add]);
    check(&new, "$a = @++; print($a);", &[fetch]);
    check(&new, "print(++@[pid]);", &[fetch]);
    check(&new, "@ = (int8)1; print(@++);", &[fetch]);
    // What nobody looks at is not fetched.
    check(&new, "$a = @++; print(@x++);", &[add, fetch]);
    let bits = "@ |= pid; @a[1] &= 3; @b = (uint8)1; @b ^= 2; @ <<= 1;";
    check(&new, bits, &["atomicor8", "atomicand8", "atomicxor8"]);
    check(&old, bits, &[]);
}

#[test]
fn statements_share_temporary_memory() {
    let check = |script: &str| {
        let text = compiled(script);
        assert!(text.contains("----"), "{script}: {text}");
    };
    check("begin { join(curtask); join(curtask); join(curtask); }");
    check(
        "config = { event_buffer = \"perf\" } begin { join(curtask); join(curtask); join(curtask); }",
    );
    check("begin { unroll(100) { @[str(curtask)] = 1; } }");
    check("begin { unroll(50) { if (str_concat(str(curtask), \"a\") == \"b\") { @++; } } }");
}
