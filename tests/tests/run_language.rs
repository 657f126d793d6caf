//! The language as data: what one-line scripts print, run by the program on this kernel.
//!
//! The cases stand in tests/scripts/language. Each is a line of statements, followed by the lines
//! that it prints, each behind `> `. A file is one script with a `begin` for each case, so that it
//! costs one start of the program. What is expected is what bpftrace 0.27 prints.

use std::path::Path;

use kscope_bpf::Features;
use kscope_bpf::spec::{HelperId, ProgramType};
use kscope_bpf::sys::SharedKernel;
use kscope_tests::assembly::kernel_types;
use kscope_tests::language::{cases, check, run};
use kscope_tests::program::{Tracer, kscope};
use kscope_tests::{kernel_or_skip, skip};

macro_rules! language {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            let _kernel = kernel_or_skip!();
            let program = kscope();
            let text = include_str!(concat!("../scripts/language/", stringify!($name), ".txt"));
            let told = check(&program, text);
            assert_eq!(told.lines().filter(|line| line.contains("ERROR")).count(), 0, "{told}");
        }
    )*};
}

language!(
    integers,
    arithmetic,
    bits,
    comparisons,
    steps,
    strings,
    tuples,
    records,
    maps,
    aggregations,
    histograms,
    printf,
    flow,
    kernel,
    builtins,
    functions,
);

/// Came with atomic operations that have a result; programs of tc may call it.
const CHECK_MTU: HelperId = HelperId(163);
/// Loops of any number of rounds need it.
const LOOP: HelperId = HelperId(181);
/// Reads the values of other CPUs.
const LOOKUP_PERCPU: HelperId = HelperId(195);

fn has(kernel: SharedKernel, helper: HelperId) -> bool {
    Features::new(kernel, kernel_types())
        .helper(ProgramType::RawTracepoint, helper)
        .is_available()
}

#[test]
fn merged() {
    let kernel = kernel_or_skip!();
    let program = kscope();
    if !has(kernel, LOOKUP_PERCPU) {
        let script = "begin { @a = count(); if (@a > 0) { exit(); } }";
        let ran = run(&program, &["run", "-e", script]);
        let said = "this kernel has no helper bpf_map_lookup_percpu_elem, which program";
        assert_eq!(ran.code, Some(1));
        assert!(ran.err.contains(said), "{}", ran.err);
        assert!(ran.err.contains("Linux 5.19"), "{}", ran.err);
        skip!("lookup_percpu_elem", "needs Linux 5.19");
    }
    check(&program, include_str!("../scripts/language/merged.txt"));
}

#[test]
fn differences() {
    let kernel = kernel_or_skip!();
    let program = kscope();
    let text = include_str!("../scripts/language/differences.txt");
    let mut cases: Vec<&str> = text.split("# case: ").collect();
    if !has(kernel, LOOKUP_PERCPU) {
        cases.retain(|case| !case.starts_with("printf-aggregations"));
    }
    let told = check(&program, &cases.join("# case: "));
    assert!(!told.contains("ERROR"), "{told}");
}

/// Runs a file whose lines are probes of one script that is refused; each expects the place and
/// the message of the first finding in its line.
fn refused(text: &str) {
    let program = kscope();
    let cases = cases(text);
    let script: Vec<&str> = cases.iter().map(|case| case.line).collect();
    let ran = run(&program, &["run", "-e", &script.join("\n")]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{}", ran.err);
    let mut wrong = String::new();
    for (number, case) in cases.iter().enumerate() {
        let place = format!("stdin:{}:", number + 1);
        let found = ran.err.lines().find_map(|line| {
            let (columns, message) = line.strip_prefix(&place)?.split_once(": ERROR: ")?;
            Some(format!("{columns}: {message}"))
        });
        let found: Vec<&str> = found.as_deref().into_iter().collect();
        if found != case.expected {
            wrong += &format!(
                "{}\n  expected {:?}\n  found    {found:?}\n",
                case.line, case.expected
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn mistakes_of_meaning() {
    let _kernel = kernel_or_skip!();
    refused(include_str!("../scripts/language/refused.txt"));
}

#[test]
fn mistakes_of_syntax() {
    let _kernel = kernel_or_skip!();
    refused(include_str!("../scripts/language/syntax.txt"));
}

/// Runs the program with arguments and compares its whole output; the number of probes goes to
/// standard error and is left out.
fn check_run(arguments: &[&str], code: i32, out: &str, err: &str) {
    let program = kscope();
    let ran = run(&program, arguments);
    let told: Vec<&str> = ran
        .err
        .lines()
        .filter(|line| !line.starts_with("Attached ") && !line.is_empty())
        .collect();
    let got = (ran.code, ran.out.as_str(), told.join("\n"));
    assert_eq!(got, (Some(code), out, err.to_owned()), "{arguments:?}");
}

/// Checks runs that end well and say nothing beside their output.
fn prints(arguments: &[&str], out: &str) {
    check_run(arguments, 0, out, "");
}

#[test]
fn maps_are_printed_at_the_end() {
    let _kernel = kernel_or_skip!();
    let script =
        r#"begin { @b[1] = 2; @a = 1; @c[2] = hist(3); @n["x", 1] = (1, "y"); printf("hi\n"); }"#;
    let out = "hi\n\n\n@a: 1\n@b[1]: 2\n@c[2]:\n\
        [2, 4)                 1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n\n\
        @n[x, 1]: (1, y)\n";
    prints(&["run", "-e", script], out);
    let script = "begin { @ = 5; clear(@kept); @kept[1] = 1; @zero[1] = 5; zero(@zero); }";
    prints(&["run", "-e", script], "\n\n@: 5\n@zero[1]: 0\n");
}

#[test]
fn a_nul_ends_strings_and_no_format() {
    let _kernel = kernel_or_skip!();
    let script = r#"begin { $s = "u\0v"; printf("a\0%d|%s|%s\n", 5, $s, "x\0y"); exit(); }"#;
    prints(&["run", "-e", script], "a\x005|u|x\n\n\n");
    let json = "{\"type\": \"printf\", \"data\": \"a\\u00005|u|x\\n\"}\n";
    let ran = run(&kscope(), &["run", "-f", "json", "-e", script]);
    assert!(ran.out.ends_with(json), "{}", ran.out);
}

#[test]
fn what_an_iterator_has_begun_comes_before_the_end() {
    let kernel = kernel_or_skip!();
    if !has(kernel, LOOP) {
        skip!("bpf_loop", "needs Linux 5.17");
    }
    // Slow enough for the signal to come while it walks; each task is told once it has been counted.
    let script = "iter:task { for ($i : 0..10) { for ($j : 0..30000) { @steps = @steps + 1; } } @tasks++; printf(\"task\\n\"); } \
                  end { printf(\"the end\\n\"); }";
    let words = ["--engine", "bpf", "-e", script];
    let mut tracer = Tracer::start(&kscope(), &words).unwrap_or_else(|left| panic!("{left:?}"));
    assert_eq!(tracer.line().as_deref(), Some("task"));
    let left = tracer.interrupt();
    let tasks = 1 + left.lines.iter().filter(|line| *line == "task").count();
    let after: Vec<&str> = left.lines.iter().map(String::as_str).collect();
    let after = after.iter().skip_while(|line| **line != "the end");
    let after: Vec<&&str> = after.filter(|line| !line.is_empty()).collect();
    let counted = format!("@tasks: {tasks}");
    let steps = format!("@steps: {}", tasks * 10 * 30000);
    assert_eq!(after, [&"the end", &&*steps, &&*counted], "{left:?}");
}

#[test]
fn what_a_loop_sends_at_once_has_room() {
    let kernel = kernel_or_skip!();
    if !has(kernel, LOOP) {
        skip!("bpf_loop", "needs Linux 5.17");
    }
    let script = r#"begin { for ($i : 0..60000) {
        printf("%d %d %d %d %d\n", $i, nsecs > 0, nsecs > 1, nsecs > 2, nsecs > 3); } }"#;
    let rows: String = (0..60_000).map(|i| format!("{i} 1 1 1 1\n")).collect();
    prints(&["run", "-e", script], &format!("{rows}\n\n"));
}

#[test]
fn maps_without_a_key_are_printed_once_they_are_set() {
    let _kernel = kernel_or_skip!();
    let never = "begin { exit(); } interval:s:100 { @a = 1; @b = count(); @c = sum(1); @d = min(1);
        @e = max(1); @f = avg(1); @g = stats(1); @h = hist(1); @i = lhist(1, 0, 10, 1);
        @j = \"a\"; @k = (1, \"a\"); @l++; @m = (int8)1; @m++; @n = kstack; @o--; @p += 0; }";
    prints(&["run", "-e", never], "\n\n");
    let zero = "begin { @a = 0; @b = sum(0); @c = min(0); @d = max(0); @e = avg(0); @f = stats(0);
        @g = \"\"; @h = (0, \"\"); @i++; @i--; @j += 0; @k = false; @l = (int8)-1; @l++; @m = -2; @m++; @m++; }";
    let out = "\n\n@a: 0\n@b: 0\n@c: 0\n@d: 0\n@e: 0\n@f: { .count = 1, .average = 0, .total = 0 }\n\
        @g: \n@h: (0, )\n@i: 0\n@j: 0\n@k: false\n@l: 0\n@m: 0\n";
    prints(&["run", "-e", zero], out);
    let all = "begin { @a = 1; @c = sum(1); @d = min(1); @e = max(1); @f = avg(1); @g = stats(1);
        @b = count(); @h = hist(1); @i = lhist(1, 0, 10, 1); @j = \"a\"; @k = (1, \"a\"); @l++; ";
    let each = |function: &str| -> String {
        let calls = ('a'..='l').map(|name| format!("{function}(@{name}); "));
        calls.collect()
    };
    let cleared = format!("{all} {} }}", each("clear"));
    prints(&["run", "-e", &cleared], "\n\n");
    let zeroed = format!("{all} {} }}", each("zero"));
    let out = "\n\n@a: 0\n@b: 0\n@c: 0\n@d: 0\n@e: 0\n@f: 0\n\
        @g: { .count = 0, .average = 0, .total = 0 }\n@h:\n\n@i:\n\n@j: \n@k: (0, )\n@l: 0\n";
    prints(&["run", "-e", &zeroed], out);
    let both = format!("{all} {} {} }}", each("clear"), each("zero"));
    prints(&["run", "-e", &both], "\n\n");
    let deleted = "begin { @a = 0; print(delete(@a)); print(delete(@a)); @b++; @b--;
        print(delete(@b)); print(delete(@b)); @c = \"\"; print(delete(@c)); print(delete(@c)); @c = \"x\";
        @d++; print(delete(@d)); }";
    let out = "true\nfalse\ntrue\nfalse\ntrue\nfalse\ntrue\n\n\n@c: x\n";
    prints(&["run", "-e", deleted], out);
    let read = "begin { print(@a); print(@b); print(@c); print(@d); printf(\"%d\\n\", @a); @z = @a;
        exit(); } interval:s:100 { @a = 1; @b = stats(1); @c = hist(1); @d = (1, \"a\"); }";
    let out = "@a: 0\n@b: { .count = 0, .average = 0, .total = 0 }\n@d: (0, )\n0\n\n\n@z: 0\n";
    prints(&["run", "-e", read], out);
}

#[test]
fn large_values_come_in_bursts() {
    let _kernel = kernel_or_skip!();
    let script = "begin { for $i : 0..300 { @[$i] = hist($i, 5); } }
        end { $n = 0; for $i : 0..300 { $n += (int64)has_key(@, $i); } print($n); clear(@); }";
    prints(&["run", "-e", script], "300\n\n\n");
}

#[test]
fn aggregations_are_deleted() {
    let kernel = kernel_or_skip!();
    if !has(kernel, LOOKUP_PERCPU) {
        skip!("lookup_percpu_elem", "needs Linux 5.19");
    }
    let script = "begin { @b = count(); @c = sum(0); @d = min(0); @h = hist(1); @s = stats(0);
        print(delete(@b)); print(delete(@b)); print(delete(@c)); print(delete(@c));
        print(delete(@d)); print(delete(@d)); print(delete(@h)); print(delete(@h));
        print(delete(@s)); print(delete(@s)); @b = count(); }";
    let out = "true\nfalse\n".repeat(5) + "\n\n@b: 1\n";
    prints(&["run", "-e", script], &out);
}

#[test]
fn a_run_ends() {
    let _kernel = kernel_or_skip!();
    check_run(&["run", "-e", "begin { exit(3); }"], 3, "\n\n", "");
    prints(
        &[
            "run",
            "--no-warnings",
            "-e",
            r#"begin { print("a"); exit(); print("b"); } end { print("end"); }"#,
        ],
        "a\nend\n\n\n",
    );
    prints(
        &[
            "run",
            "-e",
            "interval:ms:10 { @n++; if (@n == 3) { exit(); } }",
        ],
        "\n\n@n: 3\n",
    );
}

#[test]
fn exit_needs_no_room_in_the_buffer() {
    let _kernel = kernel_or_skip!();
    let program = kscope();
    for buffer in ["ring", "perf"] {
        let config = format!(
            "config = {{ perf_rb_pages = 1; event_buffer = {buffer}; print_maps_on_exit = false }}"
        );
        let check = |body: &str, code: i32| {
            let script = format!("{config} {body}");
            let kscope = program.to_str().expect("a path of text");
            // What never ends is ended.
            let ran = run(
                Path::new("timeout"),
                &["30", kscope, "run", "-q", "-e", &script],
            );
            assert_eq!(ran.code, Some(code), "{script}: {}", ran.err);
            let lines = ran.out.lines().filter(|line| *line == "full").count();
            // As many as there is room for come, and nothing that follows the end.
            assert!((50..1000).contains(&lines), "{script}: {lines} lines");
            assert!(!ran.out.contains("after"), "{script}");
        };
        const FILL: &str = r#"for $i : 0..2000 { print("full"); }"#;
        check(&format!("begin {{ {FILL} exit(3); print(\"after\"); }}"), 3);
        check(&format!("begin {{ {FILL} exit(-1); }}"), 255);
        check(
            &format!("begin {{ {FILL} exit(); }} interval:s:100 {{ }}"),
            0,
        );
        check(&format!("interval:ms:10 {{ {FILL} exit(4); }}"), 4);
    }
}

#[test]
fn parameters() {
    let _kernel = kernel_or_skip!();
    let script = "begin { print($1); print(str($2)); print($#); print($3); print(str($3)); }";
    prints(&["run", "-e", script, "5", "word"], "5\nword\n2\n0\n\n\n\n");
    let script =
        r#"begin { $s = str($1, 5); print($s); print($s == "posit"); print(str($1 + 5)); }"#;
    prints(
        &["run", "-e", script, "positional"],
        "posit\ntrue\nional\n\n\n",
    );
    let script = r#"begin { print(getopt("n", 7)); print(getopt("s", "d")); print(getopt("b")); print(getopt("u", 1)); }"#;
    prints(
        &["run", "-e", script, "--", "--n=-9", "--s=text", "--b"],
        "-9\ntext\ntrue\n1\n\n\n",
    );
    prints(&["run", "-e", script], "7\nd\nfalse\n1\n\n\n");
}

#[test]
fn strings_are_cut() {
    let _kernel = kernel_or_skip!();
    let body = r#"begin {
        $p = (char *)((uint64)curtask + offsetof(struct task_struct, comm));
        print(str($p)); print(str($p, 3)); $n = 4; print(str($p, $n)); @[str($p)] = str($p);
        print(str($p, 6)); $n = 6; print(str($p, $n));
    }"#;
    // Who asks for no more than `max_strlen` bytes, with the NUL, gets a string that is not cut.
    for (most, name, six, cut) in [
        (5, "kscop..", "kscop..", "5 strings were"),
        (6, "kscope..", "kscop", "3 strings were"),
        (7, "kscope", "kscop", ""),
        (64, "kscope", "kscop", ""),
    ] {
        let script = format!("config = {{ max_strlen = {most} }} {body}");
        let out = format!("{name}\nks\nksc\n{six}\n{six}\n\n\n@[{name}]: {name}\n");
        let told = match cut {
            "" => String::new(),
            cut => format!("WARNING: {cut} cut: raise max_strlen (BPFTRACE_MAX_STRLEN)"),
        };
        check_run(&["run", "--no-warnings", "-e", &script], 0, &out, &told);
    }
}

#[test]
fn macros_and_definitions() {
    let _kernel = kernel_or_skip!();
    let script =
        "macro add(a, b) { a + b } macro inc($x) { $x += 1; } macro put(@m, v) { @m[v] = 1; }
        begin { print(add(1, 2)); $y = 1; inc($y); print($y); put(@z, 5); print(add(add(1, 2), 3)); }";
    prints(&["run", "-e", script], "3\n2\n6\n\n\n@z[5]: 1\n");
    let script = "#define N 5
        struct foo { int a; char b[4]; uint64_t c; }
        enum e { A, B = 5, C }
        begin { print(N); print(sizeof(struct foo)); print(offsetof(struct foo, c)); print(C); }";
    prints(&["run", "-e", script], "5\n16\n8\nC\n\n\n");
}

#[test]
fn what_is_told_beside_the_output() {
    let _kernel = kernel_or_skip!();
    check_run(
        &[
            "run",
            "-e",
            r#"begin { errorf("bad %d", 1); warnf("hm %s", "x"); }"#,
        ],
        0,
        "\n\n",
        "stdin:1:9-28: ERROR: bad 1\nstdin:1:30-49: WARNING: hm x",
    );
    check_run(
        &["run", "-e", "begin { $z = 0; print(1 / $z); }"],
        0,
        "1\n\n\n",
        "stdin:1:23-29: WARNING: Divide or modulo by 0 detected. \
         This can lead to unexpected results. 1 is being used as the result.\n\
         begin { $z = 0; print(1 / $z); }\n                      ~~~~~~",
    );
    check_run(
        &[
            "run",
            "-f",
            "json",
            "-e",
            "begin { $z = 0; print(1 / $z); }",
        ],
        0,
        "{\"type\": \"attached_probes\", \"count\": 1, \"data\": {\"probes\": 1}}\n\
         {\"type\": \"runtime_error\", \"msg\": \"Divide or modulo by 0 detected. \
         This can lead to unexpected results. 1 is being used as the result.\", \
         \"filename\": \"stdin\", \"line\": 1, \"col\": 23}\n\
         {\"type\": \"value\", \"data\": 1}\n",
        "",
    );
    check_run(
        &[
            "run",
            "-e",
            "config = { max_map_keys = 2 } begin { @a[1] = 1; @a[2] = 2; @a[3] = 3; }",
        ],
        0,
        "\n\n@a[1]: 1\n@a[2]: 2\n",
        "stdin:1:61-70: WARNING: Map full; can't update element. Try increasing max_map_keys config or \
         manually setting the max entries in a map declaration e.g. `let @a = hash(5000)`\n\
         Additional Info - helper: map_update_elem, retcode: -7\n\
         config = { max_map_keys = 2 } begin { @a[1] = 1; @a[2] = 2; @a[3] = 3; }\n                                                            ~~~~~~~~~",
    );
    // Places and texts are those that bpftrace 0.27.1 prints.
    let full = "config = { max_map_keys = 1 } begin { @a[1] = count(); @a[2] = count(); @c[1]++; \
                @c[2]++; @e[1] += 3; @e[2] += 7; clear(@a); clear(@c); clear(@e); }";
    let failed = |column: u32| {
        format!(
            "{{\"type\": \"helper_error\", \"msg\": \"Argument list too long\", \
             \"helper\": \"map_update_elem\", \"retcode\": -7, \"filename\": \"stdin\", \
             \"line\": 1, \"col\": {column}}}\n"
        )
    };
    let attached = "{\"type\": \"attached_probes\", \"count\": 1, \"data\": {\"probes\": 1}}\n";
    let expected = [attached, &failed(64), &failed(82), &failed(103)].concat();
    check_run(&["run", "-f", "json", "-e", full], 0, &expected, "");
    check_run(
        &["run", "-e", "begin { @ = 1;\n  print(kaddr(\"nosuch\")); }"],
        1,
        "",
        "ERROR: cannot load begin: there is no kernel symbol nosuch\nat line 2, column 3:\n  \
         print(kaddr(\"nosuch\")); }\n  ^\nHINT: /proc/kallsyms has the kernel's symbols; without \
         CONFIG_KALLSYMS_ALL those of variables are not among them",
    );
    check_run(
        &["run", "-e", "config = { nosuch = 1 } begin { }"],
        1,
        "",
        "stdin:1:12-18: ERROR: nosuch: not a known configuration option\n\
         config = { nosuch = 1 } begin { }\n           ~~~~~~",
    );
}

/// Two processes that do nothing but call the kernel, each on a CPU of its own.
const BUSY: &str = "for cpu in 0 1; do taskset -c $cpu dd if=/dev/zero of=/dev/null bs=1 count=3000 2>/dev/null & done; wait";

#[test]
fn steps_on_two_cpus_are_all_counted() {
    let kernel = kernel_or_skip!();
    let program = kscope();
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        skip!("CPUs", "needs two CPUs");
    }
    // Each CPU has a bit of its own, which no other may lose.
    let script = r#"begin { @byte = (uint8)0; @wrong = 0; @bits = 0; @own[0] = 0; }
        rawtracepoint:sys_enter / comm == "dd" / {
            @byte++; @long++; @[0]--; @all = count(); @by += 3; @at[0] -= 2;
            $bit = 1 << (cpu & 63);
            @bits ^= $bit; @own[cpu] = @own[cpu] ? 0 : 1;
            if (((@bits & $bit) != 0) != (@own[cpu] != 0)) { @wrong += 1; }
            if (@values < 4000) { @seen[@values++] = count(); }
        }"#;
    let ran = run(
        &program,
        &["run", "-e", script, "-c", &format!("sh -c '{BUSY}'")],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let value = |name: &str| -> i64 {
        let line = ran
            .out
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{name} in {}", ran.out))
    };
    let all = value("@all");
    assert!(all > 10_000, "{all}");
    assert_eq!(value("@long"), all);
    assert_eq!(value("@byte"), all);
    assert_eq!(value("@[0]"), -all);
    assert_eq!(value("@by"), 3 * all);
    assert_eq!(value("@at[0]"), -2 * all);
    if !Features::new(kernel, kernel_types())
        .helper(ProgramType::SchedCls, CHECK_MTU)
        .is_available()
    {
        skip!("atomic operations with a result", "needs Linux 5.12");
    }
    assert_eq!(value("@wrong"), 0);
    // No two steps give the same value.
    let seen = ran.out.lines().filter(|line| line.starts_with("@seen["));
    let twice: Vec<_> = seen.filter(|line| !line.ends_with(": 1")).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn json() {
    let _kernel = kernel_or_skip!();
    let script = r#"begin {
        @a = 1; @b[1] = 2; @k[1, "a"] = 5; @t = (1, "x"); @r = (a=1, b="x");
        @h = hist(5); @hk[1] = hist(3); @l = lhist(3, 0, 10, 5); @s = stats(4); @av[1] = avg(3);
        @sk["k"] = stats(2); @big = (uint64)-1; @m["q\"", -1] = count();
        printf("hi %d\n", 1); print(5); print((1, "a")); print("s\t"); print(@b); print(-1);
        print((a=1, b=true)); print((uint64)-1); print(PIDTYPE_PID); print(@b[1]);
        time("%%\n"); errorf("bad %d", 1);
    }"#;
    let out = include_str!("../scripts/language/json.ndjson");
    prints(&["run", "-f", "json", "-e", script], out);
}
