//! What looks at a dump by hand, the prompt and the report: golden files, what other programs said of
//! the same dump, and dumps that were cut or damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use kscope_testkit::dumps::{KDUMP, QEMU, folder};
use kscope_testkit::skipped;
use serde_json::Value;

use super::{kscope, kscope_with_input, scratch};

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("a name").to_owned()
}

/// Rows that were printed as JSON.
fn rows(out: &str) -> Vec<Value> {
    let row = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    out.lines().map(row).collect()
}

/// What is looked at, each with what is printed of it in the golden file.
const LOOKS: &[&str] = &[
    "struct list_head",
    "struct task_struct.mm.pgd,comm,se",
    "struct kernfs_node",
    "struct hrtimer_restart",
    "struct --json tcp_sock.inet_conn.icsk_ca_ops",
    "struct list_head modules",
    "struct --json list_head modules",
    "struct task_struct.comm,pid,mm.owner.comm,cred.uid.val,files.fdt.fd[1].f_path.dentry.d_iname pid:1",
    "struct task_struct.mm,mm.pgd pid:2",
    "struct rq.nr_running,curr.comm,cpu runqueues@1",
    "struct new_utsname.release init_uts_ns.name",
    "struct --depth 1 file_operations proc_reg_file_ops",
    "struct --hex --count 2 thread_info init_task",
    "struct net_device.name,ifindex *init_net.loopback_dev",
    "sym vfs_read 'vfs_rea*' ffffffffa376475a tls:tls_init",
    "sym --json schedule+0x12",
    "read linux_banner --text",
    "read linux_banner --count 3",
    "read linux_banner --count 5 --unit 1",
    "read --json linux_banner --count 2 --unit 4",
    "read sys_call_table --symbols --count 3",
    "read --json sys_call_table --symbols --count 2",
    "read --physical 0x0 --count 2",
    "dis sysrq_handle_crash",
    "dis __crash_kexec+0x11a --count 3",
    "dis schedule --count 6",
    "dis --json sysrq_handle_crash+0x11 --count 1",
    "list modules module list --print name,core_layout.size --most 3",
    "list file_systems file_system_type next --print name --most 3",
    "list --json init_task.tasks task_struct tasks --print pid,mm.pgd --most 2",
    "tree runqueues@0.cfs.tasks_timeline sched_entity run_node",
    "tree vmap_area_root vmap_area rb_node --print va_start,va_end --most 3",
    "tree irq_desc_tree irq_desc --print irq_data.irq,action.name --most 3",
];

#[test]
fn what_is_looked_at_by_hand() {
    let Some(folder) = folder() else {
        return;
    };
    let mut input = String::new();
    for look in LOOKS {
        let quoted = look.replace('"', "\\\"");
        input.push_str(&format!("begin {{ printf(\"$ {quoted}\\n\"); }}\n{look}\n"));
    }
    let kdump = path(&folder, KDUMP);
    let out = kscope_with_input(&["crash", &kdump, "shell"], &input)
        .code(0)
        .out;
    // Scripts print empty lines at their end.
    let lines = out.lines().filter(|line| !line.is_empty());
    let out: String = lines.map(|line| format!("{line}\n")).collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/crash/looks.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(golden, &out).expect("written");
    }
    let expected = std::fs::read_to_string(golden).unwrap_or_default();
    for (at, (now, then)) in out.lines().zip(expected.lines()).enumerate() {
        assert_eq!(now, then, "looks.txt:{} (BLESS=1 accepts it)", at + 1);
    }
    assert_eq!(out.len(), expected.len(), "looks.txt: BLESS=1 accepts it");
}

#[test]
fn lists_and_trees_are_those_that_crash_and_drgn_saw() {
    let Some(folder) = folder() else {
        return;
    };
    let kdump = path(&folder, KDUMP);
    let reference = |name: &str| {
        let file = folder.join("6.1.192-reference").join(name);
        std::fs::read_to_string(file).expect("the reference")
    };
    let text = |row: &Value, name: &str| row[name].as_str().expect("a text").to_owned();
    let places = reference("crash-9.0.2-bt_a.txt");
    // `#1 [stack] function at address`
    let place = |line: &str| {
        let (name, at) = line.split_once("] ")?.1.split_once(" at ")?;
        Some((name.to_owned(), at.to_owned()))
    };
    let places: Vec<(String, String)> = places.lines().filter_map(place).collect();
    assert!(places.len() > 12, "{places:?}");
    let addresses: Vec<&str> = places.iter().map(|(_, at)| at.as_str()).collect();
    let tasks = "list init_task.tasks task_struct tasks --print";
    let members = "pid,real_parent.tgid,thread_info.cpu";
    let asked = [
        format!("{tasks} pid,comm"),
        format!("{tasks} {members}"),
        format!("sym {}", addresses.join(" ")),
        "list modules module list --print name".to_owned(),
        "tree irq_desc_tree irq_desc".to_owned(),
    ];
    // What stands between the answers.
    let input = asked.join("\nread --text linux_banner\n") + "\n";
    let out = kscope_with_input(&["crash", &kdump, "--json", "shell"], &input)
        .code(0)
        .out;
    let mut answers: Vec<Vec<Value>> = vec![Vec::new()];
    for row in rows(&out) {
        match row.get("text") {
            Some(_) => answers.push(Vec::new()),
            None => answers.last_mut().expect("one").push(row),
        }
    }
    let [leaders, parents, symbols, modules, descriptors]: [Vec<Value>; 5] =
        answers.try_into().expect("as many answers as questions");

    let columns =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };

    let drgn: Value = serde_json::from_str(&reference("drgn-0.3.0.json")).expect("JSON");
    let tasks = drgn["tasks"].as_array().expect("tasks").iter();
    let processes = tasks.filter(|task| task["pid"] == task["tgid"] && task["pid"] != 0);
    let expected: BTreeMap<i64, (String, String)> = processes
        .map(|task| {
            let pid = task["pid"].as_i64().expect("a number");
            (pid, (text(task, "address"), text(task, "comm")))
        })
        .collect();
    let found: BTreeMap<i64, (String, String)> = leaders
        .iter()
        .map(|row| {
            let pid = row["pid"].as_i64().expect("a number");
            (pid, (text(row, "address"), text(row, "comm")))
        })
        .collect();
    assert!(found.len() > 90, "{found:?}");
    assert_eq!(found, expected);

    // PID PPID CPU TASK: of the processes.
    let lines = reference("crash-9.0.2-ps.txt");
    let expected: BTreeSet<(String, [i64; 3])> = lines
        .lines()
        .skip(1)
        .map(|line| columns(line.trim_start_matches('>')))
        .map(|words| {
            let number = |at: usize| words[at].parse().expect("a number");
            (format!("0x{}", words[3]), [number(0), number(1), number(2)])
        })
        .filter(|(at, [pid, ..])| *pid > 0 && found.values().any(|(address, _)| address == at))
        .collect();
    let of_each: BTreeSet<(String, [i64; 3])> = parents
        .iter()
        .map(|row| {
            let number = |name: &str| row[name].as_i64().expect("a number");
            let names = members.split(',').map(number).collect::<Vec<_>>();
            (text(row, "address"), names.try_into().expect("three"))
        })
        .collect();
    assert_eq!(of_each, expected);

    let names: Vec<String> = symbols.iter().map(|row| text(row, "name")).collect();
    let expected: Vec<&str> = places.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected);

    // MODULE NAME BASE SIZE: the address of the structure is the first.
    let lines = reference("crash-9.0.2-mod.txt");
    let words = lines.lines().map(columns);
    let expected: BTreeSet<(String, String)> = words
        .filter(|words| words.len() > 3 && words[0].starts_with("ff"))
        .map(|words| (format!("0x{}", words[0]), words[1].clone()))
        .collect();
    let found: BTreeSet<(String, String)> = modules
        .iter()
        .map(|row| (text(row, "address"), text(row, "name")))
        .collect();
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(found, expected);

    // IRQ IRQ_DESC/_DATA IRQACTION NAME
    let lines = reference("crash-9.0.2-irq.txt");
    let expected: BTreeMap<u64, String> = lines
        .lines()
        .map(columns)
        .filter(|words| words.len() >= 3 && words[1].starts_with("ff"))
        .filter_map(|words| Some((words[0].parse().ok()?, format!("0x{}", words[1]))))
        .collect();
    let found: BTreeMap<u64, String> = descriptors
        .iter()
        .map(|row| {
            (
                row["index"].as_u64().expect("a number"),
                text(row, "address"),
            )
        })
        .collect();
    assert!(found.len() > 15, "{found:?}");
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let Some(folder) = folder() else {
        return;
    };
    let refused: &[(&str, &[&str])] = &[
        (
            "struct task_strct",
            &["no type `task_strct`", "`task_struct`"],
        ),
        ("struct task_struct.pdi pid:1", &["no member pdi", "`pid`"]),
        ("struct task_struct.mm.pgdd", &["no member pgdd", "`pgd`"]),
        (
            "struct rq runqueues",
            &["each CPU has its own", "`runqueues@0`"],
        ),
        ("struct rq runqueues@9", &["no CPU `9`", "0 to 1"]),
        (
            "struct rq init_task@0",
            &["CPUs have no init_task of their own"],
        ),
        ("struct task_struct pid:77777", &["no task `77777`"]),
        (
            "struct task_struct init_taks",
            &["no symbol `init_taks`", "`init_task`"],
        ),
        ("struct page jiffies+x", &["`x` in jiffies+x is no number"]),
        ("sym vfs_raed", &["no symbol `vfs_raed`", "`vfs_read`"]),
        ("sym 'no_such_*'", &["no symbol is like"]),
        ("dis vfs_raed", &["no symbol `vfs_raed`"]),
        ("read --physical init_task", &["no physical address"]),
        ("list modules module mkobj", &["links no list"]),
        ("tree modules module list", &["no struct rb_node"]),
        (
            "list init_task.tasks task_struct group_leader.tasks",
            &["leads through a pointer, out of struct task_struct"],
        ),
        (
            "tree runqueues@0.cfs.tasks_timeline task_struct parent.se.run_node",
            &["leads through a pointer"],
        ),
        (
            "list linux_banner module list",
            &["cannot go to the first element"],
        ),
        ("bt 'x", &["without its other"]),
        ("| wc", &["no command before"]),
        ("shell", &["the prompt already"]),
        ("nonsense", &["unrecognized subcommand 'nonsense'"]),
        ("log | exit 3", &[]),
        ("begin { nonsense }", &["nonsense"]),
    ];
    let input: String = refused
        .iter()
        .map(|(line, _)| format!("{line}\n"))
        .collect();
    let kdump = path(&folder, KDUMP);
    let done = kscope_with_input(&["crash", &kdump, "shell"], &input).code(1);
    let mut told = done.err.as_str();
    for (at, (line, parts)) in refused.iter().enumerate() {
        let end = format!("line {} failed: {line}\n", at + 1);
        let (own, rest) = told
            .split_once(&end)
            .unwrap_or_else(|| panic!("{line}: {told}"));
        for part in *parts {
            assert!(own.contains(part), "{line}: no `{part}` in {own}");
        }
        told = rest;
    }
    assert_eq!(told, "");
}

#[test]
fn lines_are_run_one_after_the_other() {
    let Some(folder) = folder() else {
        return;
    };
    let kdump = path(&folder, KDUMP);
    let input = "# what panicked\n\nsym vfs_read | wc -l\nbogus\nread linux_banner -n 5 --text\n\
        iter:task /ctx.task.pid == 1/ { printf(\"%s|%d\\n\", ctx.task.comm, ctx.task.pid); }\n\
        run -e 'begin { printf(\"a|b\\n\"); }' | tr a c\nexit\nbogus\n";
    let done = kscope_with_input(&["crash", &kdump, "shell"], input).code(2);
    let lines: Vec<&str> = done.out.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        lines,
        ["2", "ffffffffa471ffe0:  \"Linux\"", "init|1", "c|b"]
    );
    assert_eq!(done.err.matches("failed: bogus").count(), 1, "{}", done.err);
    done.says(&["line 4 failed: bogus"]);
    // What is left of the input is the script.
    let input = "run -\nbegin {\n printf(\"%d\\n\", 6 * 7);\n}\n";
    let done = kscope_with_input(&["crash", &kdump, "shell"], input).code(0);
    assert_eq!(done.out.trim(), "42");
}

/// Names of the sub-commands in the help.
fn commands() -> BTreeSet<String> {
    let help = kscope(&["crash", "--help"]).code(0).out;
    let (_, rest) = help.split_once("Commands:\n").expect("a list");
    let lines = rest.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter(|line| !line.starts_with("   "));
    let names = names.filter_map(|line| line.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn a_report_has_every_analysis() {
    let Some(folder) = folder() else {
        return;
    };
    let to = scratch("report").join("6.1");
    let _ = std::fs::remove_dir_all(&to);
    let target = to.to_str().expect("a name");
    let kdump = path(&folder, KDUMP);
    kscope(&["crash", &kdump, "report", target]).code(0);
    let read = |name: &str| std::fs::read_to_string(to.join(name)).expect(name);
    let index = rows(&read("index.json"));
    let mut files = BTreeSet::from(["index.txt".to_owned(), "index.json".to_owned()]);
    let mut done = BTreeSet::new();
    for row in &index {
        let name = row["name"].as_str().expect("a name");
        assert_eq!(row["failure"], Value::Null, "{name}");
        rows(&read(&format!("{name}.json")));
        files.extend([format!("{name}.txt"), format!("{name}.json")]);
        done.insert(name.to_owned());
    }
    let there = std::fs::read_dir(&to).expect("the folder");
    let there = there.map(|file| file.expect("a file").file_name().into_string());
    let there: BTreeSet<String> = there.map(|name| name.expect("a name")).collect();
    assert_eq!(there, files);
    // All but those that are given something to look at, and those that are no analyses.
    let given = [
        "struct", "sym", "read", "dis", "list", "tree", "run", "report", "shell", "help",
    ];
    let mut expected = commands();
    expected.retain(|name| !given.contains(&&**name));
    assert!(
        done.is_superset(&expected),
        "{done:?} lacks of {expected:?}"
    );
    assert_eq!(
        read("log.txt"),
        kscope(&["crash", &kdump, "log"]).code(0).out
    );
    let text = read("index.txt");
    assert!(
        text.contains("6.1.0-56-cloud-amd64") && !text.contains("FAILED"),
        "{text}"
    );
    kscope(&["crash", &kdump, "report", target])
        .code(1)
        .says(&["cannot make", "over nothing that is there"]);
}

#[test]
fn ctrl_c_ends_what_a_line_does_and_not_the_prompt() {
    let Some(folder) = folder() else {
        return;
    };
    let scratch = scratch("stopped");
    let (to, history) = (scratch.join("report"), scratch.join("state"));
    let _ = std::fs::remove_dir_all(&to);
    // It gives the program a terminal, and to that what it reads itself. A shell that stayed would get
    // the signal as well.
    let shell = format!(
        "exec {} crash {} shell",
        env!("CARGO_BIN_EXE_kscope"),
        path(&folder, KDUMP)
    );
    let mut command = super::program(Path::new("script"));
    command.args(["-q", "-e", "-c", &shell, "/dev/null"]);
    let command = command.env("XDG_STATE_HOME", &history).env("TERM", "dumb");
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return skipped("script", &format!("it does not start: {error}")),
    };
    let mut stdin = child.stdin.take().expect("piped");
    writeln!(stdin, "report {}", to.display()).expect("it reads");
    // The first analysis has begun, some twenty are to come.
    let begun = Instant::now();
    while !to.join("summary.txt").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no report");
        std::thread::sleep(Duration::from_millis(1));
    }
    stdin.write_all(b"\x03").expect("it reads");
    while !to.join("index.json").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no end");
        std::thread::sleep(Duration::from_millis(1));
    }
    // What is asked next is not stopped.
    stdin
        .write_all(b"sym vfs_read | sed s/^/found:/\nbt --blocked\nexit\n")
        .expect("it reads");
    let done = child.wait_with_output().expect("it ends");
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{:?}\n{out}", done.status);
    assert_eq!(out.matches("stopped by Ctrl-C").count(), 1, "{out}");
    assert!(
        out.contains("found:") && out.contains("no task is blocked"),
        "{out}"
    );
    let index = std::fs::read_to_string(to.join("index.json")).expect("the index");
    let index = rows(&index);
    let why = |row: &Value| row["failure"].as_str().unwrap_or_default().to_owned();
    let stopped = index.last().map(why).expect("a row");
    assert!(stopped.contains("stopped by Ctrl-C"), "{index:?}");
    assert!(!to.join("bt-blocked.txt").exists(), "all of it was written");
}

#[test]
fn a_dump_that_says_nothing_of_its_kernel_is_refused_with_the_way_out() {
    // A page of memory in an ELF file of x86_64, without notes.
    let mut file = vec![0; 0x2000];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    let numbers: [(usize, u16); 5] = [(16, 4), (18, 62), (52, 64), (54, 56), (56, 1)];
    for (at, number) in numbers {
        put(at, &number.to_le_bytes());
    }
    put(32, &64u64.to_le_bytes());
    put(64, &1u32.to_le_bytes());
    for (at, number) in [(72, 0x1000u64), (96, 0x1000), (104, 0x1000)] {
        put(at, &number.to_le_bytes());
    }
    let bare = scratch("bare").join("vmcore");
    std::fs::write(&bare, &file).expect("written");
    kscope(&["crash", bare.to_str().expect("a name")])
        .code(1)
        .says(&["the dump has no VMCOREINFO", "HINT: ", "-device vmcoreinfo"]);
}

/// Asks everything of a file, and demands an answer or a reason.
fn ask_everything(file: &Path, what: &str) {
    let to = scratch("damaged").join(format!("report-{what}"));
    let _ = std::fs::remove_dir_all(&to);
    let mut lines = vec![format!("report {}", to.display())];
    lines.extend(LOOKS.iter().map(|look| (*look).to_owned()));
    let file = file.to_str().expect("a name");
    let done = kscope_with_input(&["crash", file, "shell"], &(lines.join("\n") + "\n"));
    let said = format!("{what}: {:?}\n{}", done.code, done.err);
    assert!(matches!(done.code, Some(0 | 1)), "{said}");
    assert!(!done.err.contains("bug"), "{said}");
    assert!(
        done.code == Some(0) || done.err.contains("ERROR: "),
        "{said}"
    );
    // Each line that failed says so, and of what is damaged something is told.
    let lines = done.err.lines();
    let failed = lines.filter(|line| line.starts_with("line ")).count();
    assert!(failed <= done.err.matches("ERROR: ").count(), "{said}");
    assert!(!done.err.is_empty(), "nothing is told of {what}");
    if let Ok(index) = std::fs::read_to_string(to.join("index.json")) {
        for row in rows(&index) {
            let name = row["name"].as_str().expect("a name");
            let is_there = to.join(format!("{name}.txt")).exists();
            let why = row["failure"].as_str();
            assert!(
                is_there || why.is_some_and(|why| !why.is_empty()),
                "{what}: {row}"
            );
        }
        std::fs::remove_dir_all(&to).expect("removed");
    }
}

/// Copies a dump up to a length and changes bytes of it.
fn damaged(from: &Path, len: u64, seed: u64, places: u64) -> PathBuf {
    let to = scratch("damaged").join(format!("{len}-{seed}"));
    std::fs::copy(from, &to).expect("copied");
    let mut permissions = std::fs::metadata(&to).expect("a file").permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o600);
    std::fs::set_permissions(&to, permissions).expect("writable");
    let file = File::options().write(true).open(&to).expect("a file");
    file.set_len(len).expect("cut");
    let mut state = seed | 1;
    for _ in 0..places {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // The first page must be good for the rest to be looked at.
        let at = 4096 + state % (len - 4096);
        file.write_all_at(&[(state >> 32) as u8], at)
            .expect("changed");
    }
    to
}

/// Asks everything of a dump of which a share is kept and so many places are changed.
fn check_damage(name: &str, percent: u64, places: u64) {
    let Some(folder) = folder() else {
        return;
    };
    let whole = folder.join(name);
    let len = std::fs::metadata(&whole).expect("a file").len();
    let seed = 0x9e37_79b9_7f4a_7c15 ^ percent;
    let file = damaged(&whole, len * percent / 100, seed, places);
    ask_everything(&file, &format!("{name}-{percent}-{places}"));
    std::fs::remove_file(&file).expect("removed");
}

#[test]
fn of_damaged_dumps_everything_is_asked() {
    check_damage(KDUMP, 60, 0);
    check_damage(KDUMP, 100, 30_000);
}

#[test]
#[ignore = "takes a minute"]
fn of_dumps_damaged_often_everything_is_asked() {
    check_damage(KDUMP, 94, 0);
    check_damage(KDUMP, 100, 300);
    check_damage(QEMU, 70, 0);
    check_damage(QEMU, 100, 3_000);
}

#[test]
fn lines_of_noise_are_refused() {
    let Some(folder) = folder() else {
        return;
    };
    // Nothing with which a line could reach a shell.
    const LETTERS: &[u8] = b"a0_.,*[]@+-:'\"\\ xf/{}\t\x7f~";
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % most
    };
    let mut input = String::new();
    let mut lines = 0;
    for look in LOOKS.iter().cycle().take(2 * LOOKS.len()) {
        let mut line = look.as_bytes().to_vec();
        for _ in 0..=next(3) {
            let at = next(line.len());
            let letter = LETTERS[next(LETTERS.len())];
            match next(3) {
                0 => line[at] = letter,
                1 => line.insert(at, letter),
                _ => drop(line.remove(at)),
            }
        }
        input.push_str(&String::from_utf8_lossy(&line));
        input.push('\n');
        lines += 1;
    }
    let kdump = path(&folder, KDUMP);
    let done = kscope_with_input(&["crash", &kdump, "shell"], &input);
    assert!(
        matches!(done.code, Some(1 | 2)),
        "{:?}\n{}",
        done.code,
        done.err
    );
    assert!(!done.err.contains("bug"), "{}", done.err);
    let said = done.err.lines();
    let failed = said.filter(|line| line.starts_with("line ")).count();
    assert!(failed > lines / 3 && failed < lines, "{failed} of {lines}");
}
