//! Probes of programs: functions, their returns, USDT probes; stacks and symbols of processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kscope_tests::program::{Folder, c_program};
use kscope_tests::{kscope_or_skip, skip};

/// What the program of the tests ends with.
const CODE: i32 = 7;

/// Runs kscope; gives code, output and messages.
fn run(words: &[&str]) -> (Option<i32>, String, String) {
    kscope_tests::program::run(&kscope_tests::program::kscope(), words)
}

/// A program in a folder of its own.
struct Victim {
    program: PathBuf,
    _folder: Folder,
}

impl Victim {
    fn new(name: &str) -> Option<Victim> {
        let folder = Folder::new(&format!("user-{name}-{:?}", std::thread::current().id()));
        let program = c_program(name, &folder)?;
        Some(Victim {
            program,
            _folder: folder,
        })
    }

    fn path(&self) -> String {
        self.program.display().to_string()
    }

    /// Runs a script, in which `P` stands for the program, with the program as its command; gives
    /// the lines that are not blank.
    #[track_caller]
    fn traced(&self, script: &str, words: &str, expected_code: i32) -> Vec<String> {
        let script = script.replace("$P", &self.path());
        let command = format!("{} {words}", self.path());
        let (code, out, err) = run(&["run", "-q", "-e", &script, "-c", &command]);
        assert_eq!(code, Some(expected_code), "{script}\n{out}\n{err}");
        let lines = out.lines().filter(|line| !line.is_empty());
        lines
            .map(|line| line.replace(&self.path(), "P").trim_end().to_owned())
            .collect()
    }
}

macro_rules! victim {
    ($name:literal) => {{
        let _ = kscope_or_skip!();
        match Victim::new($name) {
            Some(victim) => victim,
            None => skip!("cc", "there is no C compiler"),
        }
    }};
}

#[test]
fn functions_are_seen_with_arguments_and_results() {
    let victim = victim!("functions");
    let check = |script: &str, expected: &[&str]| {
        assert_eq!(victim.traced(script, "3 60000", CODE), expected, "{script}");
    };
    check(
        "uprobe:$P:kscope_inner { printf(\"%s %d %s\\n\", probe, arg0, str(arg1)); }",
        &[
            "uprobe:P:kscope_inner 0 hello",
            "uprobe:P:kscope_inner 1 hello",
            "uprobe:P:kscope_inner 2 hello",
        ],
    );
    // 'h' is 104.
    check(
        "uretprobe:$P:kscope_outer { @ = sum(retval); @n = count(); }",
        &["@: 630", "@n: 3"],
    );
    check(
        "uprobe:$P:kscope_inner { @at[tid] = arg0; } \
         uretprobe:$P:kscope_inner { @sum += retval - @at[tid]; delete(@at, tid); }",
        &["@sum: 312"],
    );
    // Several functions, one program; the command is all that is seen.
    check(
        "uprobe:$P:kscope_* { @[func, pid == cpid] = count(); }",
        &["@[kscope_inner, true]: 3", "@[kscope_outer, true]: 3"],
    );
    check(
        "uprobe:$P:kscope_inner,uprobe:$P:kscope_outer { @[probe] = count(); }",
        &["@[uprobe:P:kscope_inner]: 3", "@[uprobe:P:kscope_outer]: 3"],
    );
    check(
        "uprobe:$P:kscope_inner { print((*uaddr(\"answer\"), has_cpid)); exit(7); }",
        &["(4242, true)"],
    );
}

#[test]
fn places_may_be_offsets_and_addresses() {
    let victim = victim!("functions");
    let (code, out, err) = run(&["list", &format!("uprobe:{}:kscope_*", victim.path())]);
    assert_eq!(code, Some(0), "{err}");
    let expected = ["kscope_inner", "kscope_outer"];
    let expected = expected.map(|name| format!("uprobe:{}:{name}", victim.path()));
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    let lines = victim.traced(
        "uprobe:$P:kscope_inner+0 { @++; @a = func; } \
         end { printf(\"%d %s\\n\", @, @a); clear(@); clear(@a); }",
        "2 60000",
        CODE,
    );
    assert_eq!(lines, ["2 kscope_inner"]);
}

/// A probe inside of an instruction would change what the process does.
#[cfg(target_arch = "x86_64")]
#[test]
fn places_are_where_instructions_begin() {
    let victim = victim!("functions");
    let tried = |offset: u32| {
        let script = format!(
            "uprobe:{}:kscope_inner+{offset} {{ }} interval:ms:1 {{ exit(); }}",
            victim.path()
        );
        let (code, _, err) = run(&["-e", &script]);
        (code == Some(0), err)
    };
    let tried: Vec<(bool, String)> = (1..8).map(tried).collect();
    let refused = tried.iter().filter(|(done, _)| !done);
    let errors: Vec<&str> = refused.map(|(_, err)| err.as_str()).collect();
    // The first eight bytes are not as many instructions.
    assert!(!errors.is_empty(), "{tried:?}");
    for error in errors {
        let parts = ["is inside of an instruction", "did you mean kscope_inner"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    // What is offered as the next place is one.
    for (done, error) in &tried {
        let next = error.rsplit_once("kscope_inner+");
        let next = next.and_then(|(_, rest)| rest.split('?').next()?.parse::<usize>().ok());
        if let (false, Some(next)) = (done, next) {
            assert!(
                tried.get(next - 1).is_none_or(|(done, _)| *done),
                "{tried:?}"
            );
        }
    }
}

#[test]
fn stacks_and_symbols_have_names() {
    let victim = victim!("functions");
    let lines = victim.traced(
        "uprobe:$P:kscope_inner { print(ustack(3)); }",
        "1 200000",
        CODE,
    );
    let names: Vec<&str> = lines
        .iter()
        .map(|line| line.trim().split('+').next().unwrap_or(""))
        .collect();
    // Older kernels miss the caller of a function that has not set up its frame.
    match names.contains(&"kscope_outer") {
        true => assert_eq!(names, ["kscope_inner", "kscope_outer", "main"]),
        false => assert_eq!(names[..2], ["kscope_inner", "main"]),
    }
    assert_eq!(lines[0], "        kscope_inner+0");
    // What the process was is known when the map is printed after its end.
    let lines = victim.traced(
        "uprobe:$P:kscope_inner { @[ustack(1)] = count(); }",
        "99 2000",
        CODE,
    );
    assert_eq!(lines, ["@[", "        kscope_inner+0", "]: 99"]);
    let lines = victim.traced(
        "uprobe:$P:kscope_inner { print(ustack(perf, 1)); }",
        "1 200000",
        CODE,
    );
    let (address, rest) = lines[0].trim().split_once(' ').expect("an address");
    assert!(u64::from_str_radix(address, 16).is_ok(), "{lines:?}");
    assert_eq!(rest, "kscope_inner+0 (P)");
    let lines = victim.traced(
        "uprobe:$P:kscope_inner { print(ustack(raw, 2)); }",
        "1",
        CODE,
    );
    assert!(lines.len() == 2, "{lines:?}");
    for line in &lines {
        assert!(u64::from_str_radix(line, 16).is_ok(), "{lines:?}");
    }
    let lines = victim.traced(
        "uprobe:$P:kscope_outer { @f[tid] = func; } \
         uprobe:$P:kscope_inner { printf(\"%s %s\\n\", @f[tid], usym(1)); clear(@f); }",
        "1 200000",
        CODE,
    );
    assert_eq!(lines, ["kscope_outer 0x1"]);
}

#[test]
fn usdt_probes_have_arguments_and_semaphores() {
    let victim = victim!("probed");
    // It ends with the number of places that somebody listens at.
    let lines = victim.traced(
        "usdt:$P:app:work { printf(\"%s %d %d\\n\", probe, arg0, arg1); }",
        "",
        2,
    );
    assert_eq!(lines, ["usdt:P:app:work 4711 -7", "usdt:P:app:work 4712 8"]);
    let lines = victim.traced("usdt:$P:wo* { @ = count(); }", "", 2);
    assert_eq!(lines, ["@: 2"]);
    let (code, out, err) = run(&["list", "-v", &format!("usdt:{}:*", victim.path())]);
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains(":app:work\n    uint64 arg0\n    int32 arg1\n"),
        "{out}"
    );
}

#[test]
fn one_process_is_seen_alone() {
    let victim = victim!("functions");
    let start = || {
        let mut command = Command::new(&victim.program);
        command.args(["100000", "1000"]).spawn().expect("it starts")
    };
    let (mut one, mut other) = (start(), start());
    let script = format!(
        "uprobe:{}:kscope_inner {{ @[pid] = 1; @s[ustack(1)] = 1; }} interval:ms:300 {{ exit(); }}",
        victim.path()
    );
    let pid = one.id().to_string();
    let seen = run(&["run", "-q", "-e", &script, "-p", &pid]);
    let all = run(&["run", "-q", "-e", &script]);
    for child in [&mut one, &mut other] {
        child.kill().expect("ours");
        child.wait().expect("reaped");
    }
    assert_eq!(seen.0, Some(0), "{}", seen.2);
    assert!(seen.1.contains(&format!("@[{pid}]: 1")), "{}", seen.1);
    assert!(
        !seen.1.contains(&format!("@[{}]", other.id())),
        "{}",
        seen.1
    );
    assert!(seen.1.contains("kscope_inner+0"), "{}", seen.1);
    for pid in [one.id(), other.id()] {
        assert!(all.1.contains(&format!("@[{pid}]: 1")), "{}", all.1);
    }
}

#[test]
fn a_process_whose_first_thread_has_ended_is_traced_to_its_end() {
    let victim = victim!("last_thread");
    let mut child = Command::new(&victim.program)
        .args(["5000000", "6"])
        .spawn()
        .expect("it starts");
    let stat = format!("/proc/{}/stat", child.id());
    let has_ended = || std::fs::read_to_string(&stat).is_ok_and(|text| text.contains(") Z"));
    while !has_ended() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let script = format!(
        "uprobe:{}:kscope_ending {{ @[pid, arg0] = count(); @s[ustack(1)] = count(); }}",
        victim.path()
    );
    let pid = child.id().to_string();
    let (code, out, err) = run(&["run", "-q", "-e", &script, "-p", &pid]);
    let ended = child.wait().expect("ours");
    assert_eq!((code, ended.code()), (Some(0), Some(6)), "{err}");
    assert!(out.contains(&format!("@[{pid}, 6]: 1\n")), "{out}{err}");
    assert!(out.contains("kscope_ending+0"), "{out}{err}");
}

#[test]
fn what_is_not_there_is_said_with_what_is_near() {
    let victim = victim!("functions");
    let path = victim.path();
    let check = |probe: &str, words: &[&str]| {
        let script = format!("{} {{ exit(); }}", probe.replace("$P", &path));
        let (code, out, err) = run(&["run", "-q", "-e", &script]);
        assert_eq!(code, Some(1), "{probe}\n{out}\n{err}");
        for word in words {
            assert!(err.contains(word), "{probe}: no `{word}` in\n{err}");
        }
    };
    check(
        "uprobe:$P:kscope_iner",
        &["no function kscope_iner", "`kscope_inner`"],
    );
    check("uprobe:$P:nothing*", &["no function that matches"]);
    check(
        "uprobe:/no/such/file:f",
        &["there is no file /no/such/file"],
    );
    check(
        "uprobe:no-such-program:f",
        &["no program or library no-such-program"],
    );
    check("usdt:$P:app:work", &["no USDT probes"]);
    check("uprobe:/etc/passwd:f", &["/etc/passwd", "ELF"]);
    check("uprobe:$P:kscope_inner+5000", &["outside of the function"]);
    let script = format!("uprobe:{path}:kscope_inner {{ print(uaddr(\"anser\")); }}");
    let (code, _, err) = run(&["check", "-e", &script]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.contains("no symbol anser") && err.contains("`answer`"),
        "{err}"
    );
}

#[test]
fn libraries_have_short_names() {
    let kscope = kscope_or_skip!();
    if !Path::new("/etc/ld.so.cache").exists() {
        skip!("libraries", "there are none of the dynamic linker");
    }
    let script = "uprobe:libc:getenv { @[probe] = 1; } interval:ms:500 { exit(); }";
    let mut command = Command::new(kscope);
    let output = command
        .args(["run", "-q", "-e", script, "-c", "sh -c 'env > /dev/null'"])
        .output()
        .expect("kscope starts");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{err}");
}
