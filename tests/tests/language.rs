//! docs/language.md says what the compiler does.

#[path = "../../fuzz/src/kernel.rs"]
mod kernel;

use kscope_script::compile::{self, Options};
use kscope_script::types::Inputs;

const DOCUMENT: &str = include_str!("../../docs/language.md");

/// Compiles a script; gives the messages of what is wrong with it.
fn compile(source: &str) -> Result<(), Vec<String>> {
    let catalogue = kernel::catalogue();
    let types = kernel::types();
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = Some(&types);
    inputs.changes_allowed = true;
    let done = compile::compile("language.md", source, &inputs, Options::default());
    let messages = done.diagnostics.into_iter().map(|found| found.message);
    match done.compiled {
        Some(_) => Ok(()),
        None => Err(messages.collect()),
    }
}

fn section(title: &str) -> &'static str {
    let (_, rest) = DOCUMENT
        .split_once(&format!("\n## {title}\n"))
        .expect(title);
    rest.split("\n## ").next().expect("some")
}

/// Gives what stands between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn scripts_that_are_shown_compile() {
    let blocks: Vec<&str> = DOCUMENT.split("```bpftrace\n").skip(1).collect();
    assert!(blocks.len() > 1, "no scripts");
    for block in blocks {
        let (script, _) = block.split_once("```").expect("an end");
        assert_eq!(compile(script), Ok(()), "{script}");
    }
}

#[test]
fn probes_that_are_there_compile() {
    let rows = section("Probes")
        .lines()
        .filter(|line| line.starts_with("| `"));
    let mut count = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').collect();
        let names = quoted(cells[1]).into_iter().chain(quoted(cells[2]));
        for name in names {
            let probe = name.replace("category:event", "sched:sched_switch");
            let probe = probe.replace("module:event", "vmlinux:sched_switch");
            let probe = probe.replace("rawtracepoint:event", "rawtracepoint:sched_switch");
            let probe = probe
                .replace("module:", "vmlinux:")
                .replace("function", "vfs_read")
                .replace("+offset", "+4");
            let probe = match probe.as_str() {
                "t" => "t:sched:sched_switch",
                "rt" => "rt:sched_switch",
                "k" | "kr" | "f" | "fr" | "kfunc" | "kretfunc" => &format!("{probe}:vfs_read"),
                "s" => "s:cs",
                "h" => "h:cycles",
                "it" => "it:task",
                "w" => "w:0x1000:8:rw",
                "i" | "p" => &format!("{probe}:s:1"),
                other => other,
            };
            assert_eq!(compile(&format!("{probe} {{ }}")), Ok(()), "{name}");
            count += 1;
        }
    }
    assert!(count > 15, "only {count}");
}

#[test]
fn builtins_that_are_there_compile() {
    let mut paragraphs = section("Builtins").trim_start().split("\n\n");
    let names = quoted(paragraphs.next().expect("a list"));
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        let (probe, value) = match name {
            "args" | "args.field" => ("tracepoint:sched:sched_switch", "args.prev_pid"),
            "retval" => ("kretprobe:vfs_read", name),
            "ctx" => ("iter:task", "ctx.task"),
            _ => ("kprobe:vfs_read", name),
        };
        assert_eq!(
            compile(&format!("{probe} {{ print({value}); }}")),
            Ok(()),
            "{name}"
        );
    }
}

/// Gives an example of a function that reaches outside of the script.
fn outside(name: &str) -> Option<String> {
    let code = match name {
        "join" => "join(arg1, \" \");",
        "cat" => "cat(\"/proc/%d/stat\", pid);",
        "system" => "system(\"ls %d\", pid);",
        // Whether they compile depends on the kernel's structures; tools that use them are tests.
        "sock_is_ipv6" => "if comptime (1 > 2) { print(sock_is_ipv6(arg0)); }",
        "request_disk" => "if comptime (1 > 2) { print(request_disk(arg0)); }",
        "unwatch" => "unwatch(0x1000);",
        "debugf" => "debugf(\"%d\", 1);",
        "signal" => "signal(\"KILL\");",
        "signal_thread" => "signal_thread(9);",
        "override" => "override(-1);",
        "cgroupid" => "print(cgroupid(\"/\"));",
        "cgroup_path" => "print(cgroup_path(cgroup, \"un*\"));",
        "percpu_kaddr" => "print(percpu_kaddr(\"runqueues\", 1));",
        "comm" => "if comptime (1 > 2) { print(comm(pid)); }",
        "path" => "if comptime (1 > 2) { print(path(args.file.f_path)); }",
        // It is for scripts over memory.
        "dentry_path" => "if comptime (1 > 2) { print(dentry_path(arg0)); }",
        "socket_cookie" => "if comptime (1 > 2) { print(socket_cookie(args.sk)); }",
        "write_user" => "if comptime (1 > 2) { print(write_user(arg1, \"a\", 1)); }",
        "find" => "$v = 0; if (find(@m, 1, $v)) { exit(); }",
        "assert" => "assert(pid > 0, \"no process\");",
        "static_assert" => "static_assert(1 < 2, \"less\");",
        "fail" => "if comptime (1 > 2) { fail(\"more\"); }",
        _ => return None,
    };
    Some(code.to_owned())
}

/// Gives an example of a function that computes a value.
fn computing(name: &str) -> String {
    let arguments = match name {
        "argv" => "arg1, 10",
        "buf" => "arg1, 10",
        "ntop" => "2, 0x0100007f",
        "pton" => "\"::1\"",
        "macaddr" => "kptr(arg1)",
        "strerror" | "signal_name" | "syscall_name" | "is_err" => "5",
        "strlen"
        | "strcap"
        | "is_str"
        | "is_ptr"
        | "is_array"
        | "is_integer"
        | "is_literal"
        | "is_unsigned_integer" => "comm",
        "strstr" | "str_concat" => "comm, \"ab\"",
        "memcmp" => "comm, \"ab\", 2",
        "pid" | "tid" => "init",
        "stack_len" => "kstack",
        "kfunc_allowed" => "\"bpf_task_from_pid\"",
        "reg" => "\"ip\"",
        "container_of" => "arg0, typeof(struct task_struct), pid",
        "kfunc_exist" => "\"bpf_task_from_pid\"",
        "field_exists" => "struct task_struct, pid",
        _ => panic!("no example of {name}"),
    };
    format!("print({name}({arguments}));")
}

#[test]
fn functions_that_are_there_compile() {
    let mut count = 0;
    for row in section("Functions")
        .lines()
        .filter(|line| line.starts_with("| `"))
    {
        for call in quoted(row.split('|').nth(1).expect("a cell")) {
            let (name, _) = call.split_once('(').expect("a call");
            let code = match name {
                "printf" | "errorf" | "warnf" => format!("{name}(\"%d\\n\", 1);"),
                "print" if call.contains("@map") => "print(@m, 5, 2);".to_owned(),
                "print" => "print(5);".to_owned(),
                "time" => "time(\"%T\");".to_owned(),
                "strftime" => "print(strftime(\"%T\", nsecs));".to_owned(),
                "exit" => "exit(1);".to_owned(),
                "clear" | "zero" => format!("{name}(@m);"),
                "delete" | "has_key" => format!("if ({name}(@m, 1)) {{ exit(); }}"),
                "str" => "print(str(arg1, 20));".to_owned(),
                "strncmp" => "print(strncmp(comm, \"ab\", 2));".to_owned(),
                "strcontains" | "strprefix" => format!("print({name}(comm, \"ab\"));"),
                "kptr" | "uptr" => format!("print(str({name}(arg0)));"),
                "ksym" => "print(ksym(arg0));".to_owned(),
                "kaddr" => "print(kaddr(\"vfs_read\"));".to_owned(),
                "kstack" => "print(kstack(perf, 3));".to_owned(),
                "ustack" => "print(ustack(build_id, 3));".to_owned(),
                "usym" => "print(usym(arg0));".to_owned(),
                "len" => "print(len(@m));".to_owned(),
                "nsecs" => "print(nsecs(boot)); print(nsecs(monotonic));".to_owned(),
                "bswap" => "print(bswap((uint16)5));".to_owned(),
                "sizeof" => "print(sizeof(struct task_struct));".to_owned(),
                "offsetof" => "print(offsetof(struct task_struct, pid));".to_owned(),
                "getopt" => "print(getopt(\"name\", 5, \"help\"));".to_owned(),
                "fullpath" => "print(fullpath(pid, -100, 0, 0, str(arg1)));".to_owned(),
                "count" => "@a = count();".to_owned(),
                "hist" => "@a = hist(5, 2);".to_owned(),
                "tseries" => "@a = tseries(5, 1s, 5);".to_owned(),
                "lhist" => "@a = lhist(5, 0, 10, 1);".to_owned(),
                "sum" | "avg" | "min" | "max" | "stats" => format!("@a = {name}(5);"),
                other => outside(other).unwrap_or_else(|| computing(other)),
            };
            let script = format!("kprobe:vfs_read {{ @m[1] = 1; {code} }}");
            assert_eq!(compile(&script), Ok(()), "{script}");
            count += 1;
        }
    }
    assert!(count > 30, "only {count}");
}

#[test]
fn keys_of_the_configuration_are_taken() {
    let mut count = 0;
    for row in section("Configuration")
        .lines()
        .filter(|line| line.starts_with("| `"))
    {
        let cells: Vec<&str> = row.split('|').collect();
        let default = match cells[2].trim() {
            "chosen" => "64",
            number if number.bytes().all(|byte| byte.is_ascii_digit()) => number,
            "true" => "true",
            text => &format!("\"{}\"", text.trim_matches('`')),
        };
        for key in quoted(cells[1]) {
            let script = format!("config = {{ {key} = {default}; }} begin {{ }}");
            assert_eq!(compile(&script), Ok(()), "{script}");
            count += 1;
        }
    }
    assert!(count > 10, "only {count}");
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let mut count = 0;
    for row in section("What is refused").lines() {
        let Some(name) = row.strip_prefix("| `").and_then(|r| r.split('`').next()) else {
            continue;
        };
        let script = match name.strip_suffix("()") {
            Some(function) => format!("begin {{ @x = {function}(1, 2); }}"),
            None => name.to_owned(),
        };
        let said = compile(&script).expect_err(&script);
        let what = match name.strip_suffix("()") {
            Some(function) => format!("{function}() is not in kscope"),
            None => row.split('|').nth(2).expect("a cell").trim().to_owned(),
        };
        assert!(
            said.iter().any(|message| message.contains(&what)),
            "{script}: {said:?}"
        );
        count += 1;
    }
    assert!(count > 5, "{count}");
}

#[test]
fn what_has_no_name_is_refused_too() {
    let check = |script: &str, expected: &str| {
        let said = compile(script).expect_err(script);
        assert!(
            said.iter().any(|message| message.contains(expected)),
            "{script}: {said:?}"
        );
    };
    check("begin { print((uint8[9])1); }", "Cannot cast");
    check("import \"x\"; begin { }", "nothing is known of the import");
    check("typedef int t; begin { }", "not supported");
    check("#define F(x) x\nbegin { print(F(1)); }", "not supported");
}

#[test]
fn differences_are_cases() {
    const CASES: &str = include_str!("../scripts/language/differences.txt");
    let rows = section("Differences from bpftrace 0.27").lines();
    let told: Vec<&str> = rows
        .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
        .collect();
    let cases: Vec<&str> = CASES
        .lines()
        .filter_map(|line| line.strip_prefix("# case: "))
        .collect();
    assert!(told.len() >= 10, "{told:?}");
    assert_eq!(told, cases);
}
