//! Tables over the kernel's objects, and scripts over memory, on two real dumps: what other programs
//! said of the same dumps, and golden files.

use std::collections::BTreeSet;
use std::path::Path;

use kscope_testkit::dumps::{KDUMP, QEMU, folder};
use serde_json::Value;

use super::crash::{golden, path};
use super::kscope;

/// Tables over the kernel's objects.
const TABLES: [&str; 6] = ["irq", "modules", "mounts", "runq", "sockets", "timers"];

/// Gives the lines of a file of what other programs said.
fn reference(folder: &Path, name: &str) -> Vec<String> {
    let file = folder.join("6.1.192-reference").join(name);
    let text = std::fs::read_to_string(file).expect("the reference");
    text.lines().map(str::to_owned).collect()
}

/// Gives the rows that a command prints.
fn rows(words: &[&str]) -> Vec<Value> {
    let out = kscope(words).code(0).out;
    let row = |line: &str| serde_json::from_str(line).expect("a row");
    out.lines().map(row).collect()
}

/// Gives a member of a row as text.
fn text(row: &Value, name: &str) -> String {
    match &row[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn tables_are_what_they_were() {
    let Some(folder) = folder() else {
        return;
    };
    // What others say of this dump is compared below.
    golden("mounts.txt", &["crash", &path(&folder, KDUMP), "mounts"]);
    for tool in TABLES {
        let file = format!("live-{tool}.json");
        golden(&file, &[tool, "--json", "--dump", &path(&folder, QEMU)]);
    }
}

#[test]
fn tables_are_what_crash_and_drgn_show() {
    let Some(folder) = folder() else {
        return;
    };
    let kdump = path(&folder, KDUMP);
    let rows = |tool: &str| rows(&["crash", &kdump, tool, "--json"]);
    let words = |line: &str| -> Vec<String> {
        let words = line.split_whitespace();
        words.map(str::to_owned).collect()
    };

    // MODULE NAME BASE SIZE …
    let expected: BTreeSet<[String; 3]> = reference(&folder, "crash-9.0.2-mod.txt")
        .iter()
        .skip(1)
        .map(|line| words(line))
        .map(|words| {
            [
                words[1].clone(),
                words[3].clone(),
                format!("0x{}", words[2]),
            ]
        })
        .collect();
    let modules = rows("modules");
    let found: BTreeSet<[String; 3]> = modules
        .iter()
        .map(|row| ["name", "size", "base"].map(|name| text(row, name)))
        .collect();
    assert_eq!((found.len(), &found), (21, &expected), "modules");

    // MOUNT SUPERBLK TYPE DEVNAME DIRNAME
    let expected: Vec<Vec<String>> = reference(&folder, "crash-9.0.2-mount.txt")
        .iter()
        .map(|line| words(line))
        .filter(|words| words.len() == 5 && words[0] != "MOUNT")
        .map(|words| words[2..].to_vec())
        .collect();
    let found: Vec<Vec<String>> = rows("mounts")
        .iter()
        .map(|row| {
            ["type", "source", "path"]
                .map(|name| text(row, name))
                .to_vec()
        })
        .collect();
    assert_eq!((found.len(), &found), (5, &expected), "mounts");

    // IRQ DESC ACTION "NAME"
    let expected: BTreeSet<(String, String)> = reference(&folder, "crash-9.0.2-irq.txt")
        .iter()
        .filter_map(|line| {
            let (before, name) = line.split_once('"')?;
            let number = before.split_whitespace().next()?;
            Some((number.to_owned(), name.trim_end_matches('"').to_owned()))
        })
        .collect();
    let found: BTreeSet<(String, String)> = rows("irq")
        .iter()
        .map(|row| (text(row, "irq"), text(row, "name")))
        .collect();
    assert!(expected.len() > 5);
    assert_eq!(found, expected, "irq");

    // "CURRENT: PID: 1 …" and "[120] PID: 15 …" below "CPU 0".
    let mut cpu = String::new();
    let mut expected = Vec::new();
    for line in reference(&folder, "crash-9.0.2-runq.txt") {
        let words = words(&line);
        let after = |word: &str| {
            let at = words.iter().position(|other| other == word)?;
            words.get(at + 1).cloned()
        };
        if words.first().is_some_and(|word| word == "CPU") {
            cpu.clone_from(&words[1]);
        } else if let Some(pid) = after("PID:") {
            expected.push((cpu.clone(), pid));
        }
    }
    let found: Vec<(String, String)> = rows("runq")
        .iter()
        .map(|row| (text(row, "cpu"), text(row, "tid")))
        .collect();
    assert_eq!((found.len(), &found), (3, &expected), "runq");

    // EXPIRES TTE LIST FUNCTION <name>, of the wheel, in jiffies of 4 ms.
    let mut cpu = String::new();
    let mut expected = BTreeSet::new();
    for line in reference(&folder, "crash-9.0.2-timer.txt") {
        if let Some(rest) = line.strip_prefix("TIMER_BASES[") {
            cpu = rest.split(']').next().unwrap_or_default().to_owned();
        }
        let words = words(&line);
        if let [_, left, timer, _, name] = words.as_slice() {
            let us = left.parse::<i64>().map(|left| left * 4000);
            if let Ok(us) = us {
                let name = name.trim_matches(['<', '>']);
                expected.insert(
                    [&cpu, &us.to_string(), name, &format!("0x{timer}")].map(str::to_owned),
                );
            }
        }
    }
    let found: BTreeSet<[String; 4]> = rows("timers")
        .iter()
        .filter(|row| row["kind"] == "wheel")
        .map(|row| ["cpu", "us", "func", "timer"].map(|name| text(row, name)))
        .collect();
    assert_eq!((found.len(), &found), (26, &expected), "timers");

    // FD FILE DENTRY INODE TYPE PATH, below "PID: 1 …".
    let mut pid = String::new();
    let mut expected = BTreeSet::new();
    for line in reference(&folder, "crash-9.0.2-foreach_files.txt") {
        let words = words(&line);
        if words.first().is_some_and(|word| word == "PID:") {
            pid.clone_from(&words[1]);
        } else if words.len() >= 6 && words[0].parse::<u32>().is_ok() {
            expected.insert([&pid, &words[0], &words[5]].map(String::clone));
        }
    }
    let found: BTreeSet<[String; 3]> = rows("files")
        .iter()
        .map(|row| ["pid", "fd", "path"].map(|name| text(row, name)))
        .collect();
    // crash ended before the last one.
    expected.insert(["174", "3", "/tmp/t0"].map(str::to_owned));
    assert!(expected.len() > 50);
    assert_eq!(found, expected, "files");

    // NET_DEVICE NAME IP ADDRESS(ES)
    let expected: BTreeSet<(String, String)> = reference(&folder, "crash-9.0.2-net.txt")
        .iter()
        .skip(1)
        .flat_map(|line| {
            let words = words(line);
            let addresses: Vec<String> = match &words[2..] {
                [] => vec![String::new()],
                some => some.iter().map(|word| word.replace(',', "")).collect(),
            };
            let name = words[1].clone();
            addresses
                .into_iter()
                .map(move |address| (name.clone(), address))
        })
        .collect();
    let found: BTreeSet<(String, String)> = rows("interfaces")
        .iter()
        .map(|row| (text(row, "name"), text(row, "addr")))
        .collect();
    assert_eq!((found.len(), &found), (5, &expected), "interfaces");
}

#[test]
fn a_table_without_rows_has_its_header() {
    let Some(folder) = folder() else {
        return;
    };
    let kdump = path(&folder, KDUMP);
    let check = |words: &[&str], expected: &str| {
        let words = [words, &["--dump", &kdump]].concat();
        let out = kscope(&words).code(0).out;
        let found: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(found.join(" "), expected, "{words:?}");
        assert_eq!(out.lines().count(), usize::from(!expected.is_empty()));
    };
    let none = ["mounts", "--type", "no such type"];
    check(&none, "ID PARENT MAJOR MINOR TYPE FLAGS SOURCE ROOT PATH");
    check(&[&none[..], &["--json"]].concat(), "");
    check(
        &["files", "--comm", "no such name"],
        "PID FD KIND POS INODE COMM PATH",
    );
    check(
        &["interfaces", "--pid", "4194304"],
        "INDEX NAME STATE MTU MAC ADDR PREFIX",
    );
    // What is no tool prints what it prints.
    let script = "begin { if (ncpus == 0) { print((a=1)); } }";
    let words = ["run", "-q", "--dump", &kdump, "-e", script];
    assert_eq!(kscope(&words).code(0).out.trim(), "");
}

#[test]
fn what_a_script_over_memory_can_walk() {
    let Some(folder) = folder() else {
        return;
    };
    let check = |dump: &str, script: &str, expected: &str| {
        let words = ["run", "-q", "--dump", &path(&folder, dump), "-e", script];
        assert_eq!(kscope(&words).code(0).out.trim_end(), expected, "{script}");
    };
    let files = "iter:task_file /ctx.task.pid == 1 && ctx.fd == 10/ {
            printf(\"%s\\n\", path(ctx.file.f_path));
        }";
    check(QEMU, files, "/init");
    let mappings = "iter:task_vma /ctx.task.pid == 1/ {
            @count++;
            @from = @from == 0 ? ctx.vma.vm_start : @from;
            @all = ctx.task.mm.map_count;
        }
        end {
            printf(\"%d %lx\\n\", @count == @all, @from);
            clear(@count); clear(@from); clear(@all);
        }";
    let others = "begin {
            for ($cpu : 0..ncpus) {
                $rq = (struct rq *)percpu_kaddr(\"runqueues\", $cpu);
                printf(\"%d %s\\n\", $rq.cpu, $rq.idle.comm);
            }
            printf(\"%d\\n\", kaddr(\"no_such_symbol\", 0));
        }
        iter:ksym /ctx.ksym.value == kaddr(\"vfs_read\")/ {
            printf(\"%s %c\\n\", str(ctx.ksym.name), ctx.ksym.type);
        }";
    let expected = "0 swapper/0\n1 swapper/1\n0\nvfs_read T\n/init\n1 400000";
    check(KDUMP, &format!("{others}\n{files}\n{mappings}"), expected);
    let script = "begin { print(kaddr(\"no_such_symbol\")); }";
    let missing = kscope(&["run", "--dump", &path(&folder, KDUMP), "-e", script]);
    missing.code(1).says(&["no symbol no_such_symbol"]);
}
