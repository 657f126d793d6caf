//! Portable code: golden files (`portable/*.txt` hold a script, the code of its programs with what
//! is asked of the target's types, the sections, and the types that go along; `BLESS=1` writes
//! what the compiler gives now), and plans that are written and read.
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
use kscope_btf::write::Builder;
use kscope_btf::{Btf, Encoding, Linkage, TypeId};
use kscope_script::Compiled;
use kscope_script::compile::{Compilation, Options, compile};
use kscope_script::plan::PLAN_VERSION;
use kscope_script::portable::{SECTION, Saved, SavedError, unlike};
use kscope_script::types::Inputs;
use kscope_spec::elf::Elf;
use kscope_spec::write::{self, Note};
use kscope_spec::{RelocKind, disasm, read};

fn compilation(source: &str, portable: bool) -> Compilation {
    let setup = Setup::default();
    let mut inputs = Inputs::new(&setup.catalogue);
    inputs.btf = setup.btf.as_ref();
    inputs.portable = portable;
    compile("test.bt", source, &inputs, Options::default())
}

fn built(source: &str) -> Compiled {
    let compilation = compilation(source, true);
    let found = format!("{:?}", compilation.diagnostics);
    compilation.compiled.unwrap_or_else(|| panic!("{found}"))
}

fn object(compiled: &Compiled, source: &str) -> Vec<u8> {
    let plan = compiled.saved("test.bt", source).to_bytes();
    let note = Note {
        name: SECTION,
        bytes: &plan,
    };
    write::object(&compiled.spec, &[note]).unwrap()
}

/// Compiles a script and prints what it asks of the target.
fn text(source: &str) -> String {
    let compilation = compilation(source, true);
    let mut text = String::new();
    for finding in &compilation.diagnostics {
        let _ = writeln!(text, "{}: {}", finding.severity, finding.message);
    }
    let Some(compiled) = compilation.compiled else {
        return text;
    };
    let spec = &compiled.spec;
    let options = disasm::Options {
        numbers: true,
        helper_names: true,
        source: false,
    };
    for program in &spec.programs {
        let _ = writeln!(text, "SEC(\"{}\")", program.section);
        text.push_str(&disasm::program(spec, program, options));
        for core in &program.core {
            let path: Vec<String> = core.access.iter().map(u32::to_string).collect();
            let (insn, kind, path) = (core.insn, core.kind, path.join(":"));
            let _ = writeln!(text, "{insn}: {kind:?} of type {} {path}", core.type_id);
        }
    }
    text.push_str("----\n");
    for map in &spec.maps {
        let _ = writeln!(text, "{} in {}: {:?}", map.name, map.section, map.kind);
    }
    text.push_str("----\n");
    let types = Btf::parse(spec.types.clone()).unwrap();
    assert_eq!(types.validate(), Ok(()));
    for id in types.ids() {
        let _ = writeln!(text, "{}: {}", id.0, types.print_c(id).trim_end());
    }
    text
}

#[test]
fn golden_files_hold() {
    golden::scripts("portable", 7, |source| {
        let source = source.trim_end();
        let made = text(source);
        assert_eq!(made, text(source), "the same twice");
        format!("{source}{SEPARATOR}{made}")
    });
}

/// A script with something of everything that a plan has.
const WHOLE: &str = r#"
config = { missing_probes = "warn"; stack_mode = "perf" }
BEGIN { printf("%d %s\n", getopt("number", 7, "a number", "count"), getopt("word", "dflt", "")); }
tracepoint:syscalls:sys_enter_openat /getopt("flag", false, "")/ {
    @opens[str(args.filename), pid] = count();
    @last = nsecs;
    @sizes = hist(args.flags);
    @line = lhist(args.flags, 0, 100, 10);
    @stats[comm] = stats(args.flags);
    @stack[kstack] = sum(1);
    print((pid=pid, name=comm, user=username, ok=(args.flags == 1)));
    print(@opens, 3, 2);
}
interval:s:1 { time("%H\n"); print(@last); clear(@opens); zero(@sizes); exit(); }
profile:hz:99 { @cpu[cpu] = avg(1); @least = min(1); @most = max(2); }
END { printf("%s\n", strftime("%H", nsecs)); }
"#;

#[test]
fn a_plan_is_read_as_it_was_written() {
    let compiled = built(WHOLE);
    let saved = compiled.saved("test.bt", WHOLE);
    assert_eq!(Saved::parse(&saved.to_bytes()), Ok(saved));
}

#[test]
fn an_object_gives_the_script_again() {
    let check = |source: &str| {
        let compiled = built(source);
        let bytes = object(&compiled, source);
        assert_eq!(
            bytes,
            object(&built(source), source),
            "the same bytes twice"
        );
        let elf = Elf::parse(&bytes).unwrap();
        let saved = Saved::parse(elf.named(SECTION).unwrap().1.data).unwrap();
        let spec = read::object(&bytes).unwrap();
        let refused: Vec<_> = spec
            .programs
            .iter()
            .filter_map(|p| p.refused.as_ref())
            .collect();
        assert_eq!(refused, Vec::<&String>::new());
        let again = saved.join(spec).unwrap();
        let names = |compiled: &Compiled| {
            let plan = &compiled.plan;
            let maps = plan.maps.iter().map(|m| {
                let spec = &compiled.spec.maps[m.map.0 as usize];
                (
                    m.name.clone(),
                    spec.kind,
                    spec.key_size,
                    spec.value_size,
                    spec.max_entries,
                )
            });
            let programs = plan.probes.iter().map(|p| {
                let spec = &compiled.spec.programs[p.program.0 as usize];
                (
                    p.name.clone(),
                    spec.name.clone(),
                    spec.kind,
                    spec.core.clone(),
                    spec.lines.clone(),
                )
            });
            (
                maps.collect::<Vec<_>>(),
                programs.collect::<Vec<_>>(),
                plan.sites.clone(),
            )
        };
        assert_eq!(names(&compiled), names(&again));
        assert_eq!(compiled.spec.late, again.spec.late);
        // As many late values as in a script that was just compiled.
        let late = |compiled: &Compiled| {
            let relocs = compiled.spec.programs.iter().flat_map(|p| &p.relocs);
            relocs
                .filter(|r| matches!(r.kind, RelocKind::Late(_)))
                .count()
        };
        let fresh = compilation(source, false).compiled.unwrap();
        assert_eq!(late(&again), late(&fresh), "{source}");
        assert!(
            again
                .spec
                .maps
                .iter()
                .all(|map| map.section != ".rodata.late")
        );
    };
    check(WHOLE);
    check("BEGIN { print(1); }");
    check("tracepoint:sched:sched_switch { @[args.prev_comm] = count(); }");
    check("BEGIN { @events = 1; @counters = 2; @zeros = 3; @options = 4; print(elapsed); }");
}

#[test]
fn damaged_plans_are_refused() {
    let good = built(WHOLE).saved("test.bt", WHOLE).to_bytes();
    let mut newer = good.clone();
    newer[4..8].copy_from_slice(&(PLAN_VERSION + 1).to_le_bytes());
    let version = PLAN_VERSION + 1;
    assert_eq!(Saved::parse(&newer), Err(SavedError::Newer { version }));
    let text = SavedError::Newer { version }.to_string();
    assert!(text.contains(&format!("version {version}")), "{text}");
    for len in 0..good.len() {
        let cut = Saved::parse(&good[..len]);
        assert!(matches!(cut, Err(SavedError::Damaged { .. })), "{len}");
    }
    let mut long = good.clone();
    long.push(0);
    assert!(matches!(
        Saved::parse(&long),
        Err(SavedError::Damaged { .. })
    ));
    // Whatever a byte becomes, reading ends without a panic.
    let spec = built(WHOLE).spec;
    let mut refused = 0;
    for at in 8..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, good[at] ^ 1] {
            let mut bad = good.clone();
            bad[at] = value;
            match Saved::parse(&bad) {
                Ok(saved) => drop(saved.join(spec.clone())),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100, "{refused}");
    // Lengths far beyond the section are not believed.
    let mut deep = good[..8].to_vec();
    deep.extend([1, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(matches!(
        Saved::parse(&deep),
        Err(SavedError::Damaged { .. })
    ));
}

#[test]
fn what_is_not_the_same_everywhere_is_refused() {
    let check = |source: &str, expected: &str| {
        let found = compilation(source, true);
        let texts: Vec<String> = found
            .diagnostics
            .iter()
            .map(|d| d.message.clone())
            .collect();
        assert!(
            texts.iter().any(|text| text.contains(expected)),
            "{texts:?}"
        );
        assert!(found.compiled.is_none());
        assert!(compilation(source, false).compiled.is_some(), "{source}");
    };
    check(
        "BEGIN { print(*curtask); }",
        "a copy of 'struct task_struct'",
    );
    check(
        "BEGIN { $t = *curtask; print($t.pid); }",
        "a copy of 'struct task_struct'",
    );
    check(
        "BEGIN { @[1] = *curtask; }",
        "a copy of 'struct task_struct'",
    );
}

#[test]
fn arguments_are_compared_with_those_of_the_target() {
    // What the second argument is on the target; how many arguments of the tracepoint there are.
    let target = |second: &str, count: usize, result: &str| {
        let mut b = Builder::new();
        let mut ty = |text: &str| match text {
            "long" => b.add_int("long", 8, Encoding::Signed),
            "int" => b.add_int("int", 4, Encoding::Signed),
            "bool" => b.add_int("_Bool", 1, Encoding::Bool),
            "color" => b.add_enum("color", 4, &[]),
            "void" => TypeId::VOID,
            "any" => b.add_ptr(TypeId::VOID),
            name => {
                let of = b.add_struct(name, 8, &[]);
                b.add_ptr(of)
            }
        };
        let (any, inode, task) = (ty("any"), ty("inode"), ty("task_struct"));
        let (flag, number) = (ty("bool"), ty("long"));
        let (second, result) = (ty(second), ty(result));
        let all = [("", any), ("", flag), ("", second), ("", task)];
        let proto = b.add_func_proto(TypeId::VOID, &all[..=count]);
        let pointer = b.add_ptr(proto);
        b.add_typedef("btf_trace_sched_switch", pointer);
        let all = [
            ("inode", inode),
            ("b", number),
            ("flags", second),
            ("t", task),
        ];
        let proto = b.add_func_proto(result, &all[..=count]);
        b.add_func("vfs_read", proto, Linkage::Static);
        Btf::parse(b.finish()).unwrap()
    };
    let check = |script: &str, target: &Btf, expected: Option<&str>| {
        let compiled = built(script);
        let local = Btf::parse(compiled.spec.types.clone()).unwrap();
        let found = unlike(&compiled.spec, &local, &compiled.plan.probes[0], target);
        let found = found.map(|unlike| unlike.to_string());
        assert_eq!(found.as_deref(), expected, "{script}");
    };
    let prev = "rawtracepoint:sched_switch { @ = args.prev->pid; }";
    let next = "rawtracepoint:sched_switch { @ = args.next->pid; }";
    let flags = "fentry:vfs_read { @ = args.flags; }";
    let result = "fexit:vfs_read { @ = retval; }";
    check(prev, &target("task_struct", 2, "long"), None);
    check(prev, &target("any", 2, "long"), None);
    check(
        prev,
        &target("inode", 2, "long"),
        Some(
            "on this kernel a pointer to inode, not a pointer to task_struct, is argument 2 (prev) \
             of the tracepoint sched_switch",
        ),
    );
    check(
        next,
        &target("task_struct", 2, "long"),
        Some("on this kernel there is no argument 3 (next) of the tracepoint sched_switch"),
    );
    // Whether it is an enumeration, or has a sign, says nothing of where it is.
    check(flags, &target("color", 2, "void"), None);
    check(
        flags,
        &target("long", 2, "long"),
        Some(
            "on this kernel a number of 8 bytes, not a number of 4 bytes, is argument 3 (flags) of \
             the function vfs_read",
        ),
    );
    check(result, &target("int", 3, "long"), None);
    check(
        result,
        &target("int", 2, "long"),
        Some("on this kernel there is no argument 4 (task) of the function vfs_read"),
    );
    check(
        result,
        &target("int", 3, "task_struct"),
        Some(
            "on this kernel a pointer to task_struct, not a number of 8 bytes, is the result of \
             the function vfs_read",
        ),
    );
    // Words of the context have no types, and nothing is said of what the target does not tell.
    check(
        "rawtracepoint:sched_switch { @ = arg1; }",
        &target("inode", 1, "long"),
        None,
    );
    check(next, &fixture::btf_with(&[]), None);
}

#[test]
fn what_an_object_does_otherwise_is_told() {
    let told = |source: &str, portable| -> Vec<String> {
        let found = compilation(source, portable).diagnostics;
        found.into_iter().map(|finding| finding.message).collect()
    };
    let check = |body: &str, expected: &[&str]| {
        let source = format!("begin {{ {body} }}");
        assert_eq!(told(&source, true), expected, "{body}");
        assert!(told(&source, false).is_empty(), "{body}");
    };
    let open = "in an object a range whose bounds are not constant ends after 1024 rounds";
    check("for $i : 0..pid { @ = $i }", &[open]);
    check("for $i : 0..100 { @ = $i }", &[]);
    let kept = "the object keeps what kfunc_exist says of vfs_read on the kernel it is built on";
    check("print(kfunc_exist(\"vfs_read\"))", &[kept]);
    check("if comptime (kfunc_exist(\"vfs_read\")) { @ = 1 }", &[kept]);
}
