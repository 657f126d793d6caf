//! Symbols, types, memory and code: raw access.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Sources, number, same, text, words};

/// PID, PPID, TASK and COMM of each task.
fn tasks(sources: &Sources) -> Vec<[String; 4]> {
    let lines = sources.lines("crash-9.0.2-ps.txt");
    let task = |line: &String| {
        let words = words(line.trim_start_matches('>'));
        let comm = words[8..].join(" ");
        let comm = comm.trim_matches(['[', ']']).to_owned();
        [words[0].clone(), words[1].clone(), words[3].clone(), comm]
    };
    lines.iter().skip(1).map(task).collect()
}

/// Members of all tasks by their addresses, one through a pointer.
pub(super) fn structures(sources: &Sources) -> String {
    // Some of them.
    let tasks: Vec<[String; 4]> = tasks(sources).into_iter().step_by(3).collect();
    let line = |[_, _, address, _]: &[String; 4]| {
        format!("struct task_struct.pid,comm,real_parent.tgid 0x{address}")
    };
    let lines: Vec<String> = tasks.iter().map(line).collect();
    let found = sources.each(&lines);
    assert_eq!(found.len(), tasks.len());
    let mut members = 0;
    for (row, [pid, ppid, address, comm]) in found.iter().zip(&tasks) {
        assert_eq!(text(row, "address"), format!("0x{address}"));
        let value = &row["value"];
        assert_eq!(text(value, "pid"), *pid, "{row}");
        assert_eq!(text(value, "comm"), *comm, "{row}");
        members += 2;
        // Idle tasks have a parent that nobody shows.
        if pid != "0" {
            assert_eq!(text(value, "real_parent.tgid"), *ppid, "{row}");
            members += 1;
        }
    }
    format!("{members} members of {} tasks", tasks.len())
}

/// The mappings of a process: `VMA START END FLAGS FILE`.
pub(super) fn mappings(sources: &Sources) -> String {
    let said = sources.words("crash-9.0.2-vm_1.txt", 0);
    let is_mapping = |words: &&Vec<String>| {
        let hex = |at: usize| words.get(at).and_then(|w| u64::from_str_radix(w, 16).ok());
        words.len() >= 4 && hex(0).is_some() && hex(1) < hex(2)
    };
    let said: Vec<&Vec<String>> = said.iter().filter(is_mapping).collect();
    let line = |words: &&Vec<String>| {
        let at = &words[0];
        format!("struct vm_area_struct.vm_start,vm_end,vm_flags 0x{at}")
    };
    let lines: Vec<String> = said.iter().map(line).collect();
    let found = sources.each(&lines);
    assert_eq!(found.len(), said.len());
    for (row, words) in found.iter().zip(&said) {
        let members = ["vm_start", "vm_end", "vm_flags"];
        let own = members.map(|name| format!("{:x}", number(&row["value"], name)));
        assert_eq!(own[..], words[1..4], "{row}");
    }
    assert!(said.len() >= 10, "{}", said.len());
    format!("{} members of {} mappings", 3 * said.len(), said.len())
}

/// Addresses that crash gives names to, and names that it gives addresses.
pub(super) fn symbols(sources: &Sources) -> String {
    // EXPIRES TTE TIMER_LIST FUNCTION <name>
    let timers = sources.words("crash-9.0.2-timer.txt", 0);
    let expected: BTreeSet<(String, String)> = timers
        .iter()
        .filter_map(|words| match words.as_slice() {
            [_, _, _, address, name] if name.starts_with('<') => {
                Some((name.trim_matches(['<', '>']).to_owned(), address.clone()))
            }
            _ => None,
        })
        .collect();
    let names: Vec<&str> = expected.iter().map(|(name, _)| &**name).collect();
    let found = sources.rows(&format!("sym {}", names.join(" ")));
    let found: BTreeSet<(String, String)> = found
        .iter()
        .map(|row| {
            let address = text(row, "address");
            let address = address.trim_start_matches("0x").to_owned();
            (text(row, "name"), address)
        })
        .collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Addresses in functions.
    let frames = sources.panicked();
    let places: Vec<String> = frames.iter().map(|f| format!("0x{}", f.address)).collect();
    let named = sources.rows(&format!("sym {}", places.join(" ")));
    let own = named.iter().map(|row| text(row, "name"));
    assert!(own.eq(frames.iter().map(|frame| frame.function.clone())));
    let (names, places) = (names.len(), frames.len());
    assert!(names >= 7, "{names}");
    format!("{names} names, {places} addresses in functions")
}

/// The slots of the stack in which crash found return addresses.
pub(super) fn memory(sources: &Sources) -> String {
    let frames = sources.panicked();
    let slots = &frames[1..];
    let line = |slot: &String| format!("read 0x{slot}");
    let lines: Vec<String> = slots.iter().map(|frame| line(&frame.slot)).collect();
    let found = sources.each(&lines);
    let is_slot = |row: &&Value, slot: &str| text(row, "address") == format!("0x{slot}");
    for frame in slots {
        let row = found.iter().find(|row| is_slot(row, &frame.slot));
        let row = row.unwrap_or_else(|| panic!("nothing at {}", frame.slot));
        assert_eq!(format!("{:x}", number(row, "value")), frame.address);
    }
    format!("{} words of a stack", slots.len())
}

pub(super) fn banner(sources: &Sources) -> String {
    let row = &sources.rows("read --text linux_banner")[0];
    let said = sources.lines("crash-9.0.2-log.txt");
    let (_, said) = said[0].split_once("] ").expect("a time");
    assert_eq!(text(row, "text").trim_end(), said);
    format!("{} bytes of text", said.len())
}

/// Jumps to the function of a system call.
const DISPATCH: &str = "x64_sys_call";

/// Behind each address that crash returns to stands a call of the frame before.
pub(super) fn calls(sources: &Sources) -> String {
    let frames = sources.panicked();
    let lines: Vec<String> = frames[1..]
        .iter()
        .map(|frame| format!("dis 0x{}", frame.address))
        .collect();
    let found = sources.each(&lines);
    let ends: BTreeMap<u64, &Value> = found
        .iter()
        .map(|row| {
            let address = text(row, "address");
            let address = u64::from_str_radix(address.trim_start_matches("0x"), 16);
            let size = text(row, "bytes").len() as u64 / 2;
            (address.expect("an address") + size, row)
        })
        .collect();
    let mut direct = 0;
    for pair in frames.windows(2) {
        let [callee, frame] = pair else {
            unreachable!("two");
        };
        let address = u64::from_str_radix(&frame.address, 16).expect("an address");
        let row = ends.get(&address);
        let row = row.unwrap_or_else(|| panic!("no instruction ends at {address:x}"));
        assert_eq!(text(row, "function"), frame.function, "{row}");
        assert!(text(row, "code").starts_with("call"), "{row}");
        let leads = text(row, "leads_to");
        // It went on in its rare part, was called through a pointer, which is a thunk, or jumped to.
        let callee_name = callee.function.trim_end_matches(".cold");
        let is_direct = leads == callee_name;
        assert!(
            is_direct || leads == DISPATCH || leads.starts_with("__x86_indirect_thunk"),
            "{row}, not {callee_name}"
        );
        direct += usize::from(is_direct);
        // crash takes what the registers were saved in for a frame too.
        if callee_name != "machine_kexec" {
            assert_eq!((text(row, "at"), number(row, "cpu")), ("call".into(), 0));
        }
    }
    assert!(direct >= 5, "{direct}");
    let calls = frames.len() - 1;
    format!(
        "{calls} calls, {direct} by their names; {} instructions",
        found.len()
    )
}

pub(super) fn list_of_modules(sources: &Sources) -> String {
    let found = sources.rows("list modules module list --print name");
    let found = found
        .iter()
        .map(|row| (text(row, "address"), text(row, "name")));
    let said = sources.words("crash-9.0.2-mod.txt", 1);
    let said = said.iter().map(|w| (format!("0x{}", w[0]), w[1].clone()));
    let count = same(&found.collect(), &said.collect(), 21);
    format!("{count} elements with a member")
}

pub(super) fn list_of_processes(sources: &Sources) -> String {
    let found = sources.rows("list init_task.tasks task_struct tasks --print pid,comm");
    let names = ["address", "pid", "comm"];
    let found = found.iter().map(|row| names.map(|name| text(row, name)));
    let tasks = sources.drgn("tasks");
    let leaders = tasks.iter().filter(|task| task["pid"] == task["tgid"]);
    let leaders = leaders.map(|task| names.map(|name| text(task, name)));
    let count = same(&found.collect(), &leaders.collect(), 90);
    format!("{count} elements with two members")
}

pub(super) fn tree_of_interrupts(sources: &Sources) -> String {
    let found = sources.rows("tree irq_desc_tree irq_desc");
    let found = found
        .iter()
        .map(|row| (text(row, "index"), text(row, "address")));
    // IRQ IRQ_DESC IRQACTION NAME
    let said = sources.words("crash-9.0.2-irq.txt", 1);
    let said = said
        .iter()
        .filter(|words| words.len() >= 3 && words[1] != "(unused)");
    let said = said.filter(|words| words[0].parse::<u32>().is_ok());
    let said = said.map(|words| (words[0].clone(), format!("0x{}", words[1])));
    let count = same(&found.collect(), &said.collect(), 16);
    format!("{count} entries of a radix tree")
}

pub(super) fn tree_of_ids(sources: &Sources) -> String {
    let found = sources.rows("tree init_pid_ns.idr pid");
    let found: BTreeSet<String> = found.iter().map(|row| text(row, "index")).collect();
    // Ids of groups and sessions may be there without a task.
    let said = tasks(sources).into_iter().map(|[pid, ..]| pid);
    let said: BTreeSet<String> = said.filter(|pid| pid != "0").collect();
    let missing: Vec<&String> = said.difference(&found).collect();
    let more = found.len() - said.len() + missing.len();
    assert!(missing.is_empty() && more <= 2, "{missing:?} {more}");
    format!("{} entries of an idr, {more} more", said.len())
}
