//! What the dump of a guest says of memory, caches, locks, works and requests is what the guest said, and made, right
//! before.

use std::collections::BTreeMap;

use kscope_tests::dumps::{GuestDump, compared, number, rows};
use serde_json::Value;

/// Gives the guest's dump, or ends the test as skipped.
macro_rules! dump_or_skip {
    () => {
        match GuestDump::given() {
            Some(dump) => dump,
            None => return,
        }
    };
}

const KILOBYTE: u64 = 1024;

/// Gives the rows of one of the tables that an analysis prints.
fn table(rows: &[Value], name: &str) -> Vec<Value> {
    let of_it = rows.iter().filter(|row| row["table"] == name);
    of_it.cloned().collect()
}

/// Gives what the guest made under a name, as numbers.
fn made(dump: &GuestDump, name: &str) -> Vec<u64> {
    let parse = |text: &String| text.parse().expect("a number");
    dump.made(name).iter().map(parse).collect()
}

/// Figures that nothing changes which goes on meanwhile.
const SAME: [&str; 14] = [
    "MemTotal",
    "Buffers",
    "SwapCached",
    "SwapTotal",
    "SwapFree",
    "Unevictable",
    "Mlocked",
    "CommitLimit",
    "HugePages_Total",
    "HugePages_Free",
    "Hugepagesize",
    "Hugetlb",
    "DirectMap2M",
    "Percpu",
];

#[test]
fn memory_is_that_of_proc() {
    let dump = dump_or_skip!();
    let found = rows(&dump.crash(&["memory", "--json"]));
    let figures = &found[0];
    assert_eq!(figures["missing"], Value::Array(Vec::new()), "{figures}");
    let said = dump.said("/proc/meminfo");
    let said: BTreeMap<&str, u64> = said
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            let mut words = rest.split_whitespace();
            let value: u64 = words.next()?.parse().ok()?;
            let unit = if words.next().is_some() { KILOBYTE } else { 1 };
            Some((name, value * unit))
        })
        .collect();
    let own = figures.as_object().expect("an object");
    let (mut exact, mut near) = (0, 0);
    for (name, value) in own {
        let (Some(said), Some(value)) = (said.get(&**name), value.as_u64()) else {
            continue;
        };
        if *said == value {
            exact += 1;
            continue;
        }
        assert!(!SAME.contains(&&**name), "{name}: {value}, not {said}");
        // Programs ended since.
        let may_differ = (8 << 20) + said / 16;
        assert!(
            value.abs_diff(*said) <= may_differ,
            "{name}: {value}, not {said}"
        );
        near += 1;
    }
    for name in SAME {
        assert!(own.contains_key(name) && said.contains_key(name), "{name}");
    }
    assert!(exact >= 24, "{exact} of {}", exact + near);
    let result = format!("{exact} figures are the same, {near} are near");
    compared("memory", "/proc/meminfo", &result);
}

#[test]
fn zones_are_those_of_proc() {
    let dump = dump_or_skip!();
    let found = table(&rows(&dump.crash(&["memory", "--json"])), "zones");
    let said = dump.said("/proc/zoneinfo");
    let mut zones: Vec<(String, BTreeMap<&str, u64>)> = Vec::new();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["Node", _, "zone", name] => zones.push((name.to_owned(), BTreeMap::new())),
            [
                what @ ("min" | "low" | "high" | "present" | "managed"),
                number,
            ] => {
                let (_, zone) = zones.last_mut().expect("a zone");
                let pages = number.parse().expect("a number");
                zone.entry(what).or_insert(pages);
            }
            _ => {}
        }
    }
    zones.retain(|(_, zone)| zone["present"] > 0);
    assert_eq!(found.len(), zones.len(), "{found:?}");
    for (row, (name, zone)) in found.iter().zip(&zones) {
        assert_eq!(row["zone"], **name, "{row}");
        for (what, pages) in zone {
            assert_eq!(
                number(row, &format!("{what}_kb")),
                4 * pages,
                "{what} of {row}"
            );
        }
    }
    let result = format!("{} zones are the same", zones.len());
    compared("memory", "/proc/zoneinfo", &result);
}

#[test]
fn caches_are_those_of_slabinfo() {
    let dump = dump_or_skip!();
    let found = rows(&dump.crash(&["slabs", "--all", "--json"]));
    let said = dump.said("/proc/slabinfo");
    // name active objects size per_slab pages : tunables … : slabdata active slabs shared
    let said: BTreeMap<&str, [u64; 3]> = said
        .lines()
        .skip(2)
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let numbers = [3, 2, 14].map(|at: usize| words[at].parse().expect("a number"));
            (words[0], numbers)
        })
        .collect();
    assert_eq!(found.len(), said.len());
    let mut same = 0;
    for row in &found {
        let name = row["name"].as_str().expect("a name");
        let [size, objects, slabs] = said.get(name).unwrap_or_else(|| panic!("{row}"));
        assert_eq!(number(row, "size"), *size, "{row}");
        let own = (number(row, "objects"), number(row, "slabs"));
        same += usize::from(own == (*objects, *slabs));
        assert!(number(row, "active") <= own.0, "{row}");
    }
    assert!(same * 3 > said.len() * 2, "{same} of {}", said.len());
    let result = format!("{same} of {} caches are the same", said.len());
    compared("slabs", "/proc/slabinfo", &result);
}

#[test]
fn the_mutex_has_its_owner_and_its_waiters() {
    let dump = dump_or_skip!();
    let found = rows(&dump.crash(&["locks", "--json"]));
    let (owner, waiters) = (made(&dump, "mutex_owner"), made(&dump, "mutex_waiter"));
    assert_eq!(
        (owner.len(), waiters.len()),
        (1, 2),
        "{}",
        dump.said("stuck")
    );
    let mut locks = Vec::new();
    for waiter in waiters {
        let row = found.iter().find(|row| row["pid"] == waiter);
        let row = row.unwrap_or_else(|| panic!("{waiter} waits for nothing: {found:?}"));
        assert_eq!(
            (&row["kind"], &row["mode"]),
            (&Value::from("mutex"), &Value::Null),
            "{row}"
        );
        assert_eq!(number(row, "owner_pid"), owner[0], "{row}");
        assert_eq!(row["deadlock"], Value::Array(Vec::new()), "{row}");
        assert!(number(row, "waits_ns") > 0, "{row}");
        locks.push(row["lock"].as_str().expect("a lock"));
    }
    assert_eq!(locks[0], locks[1]);
    let result = format!("its owner and two waiters; {} threads wait", found.len());
    compared("locks", "a mutex that was held", &result);
}

#[test]
fn a_chain_of_locks_is_told() {
    let dump = dump_or_skip!();
    let found = rows(&dump.crash(&["locks", "--json"]));
    let one = |name: &str| match *made(&dump, name) {
        [tid] => tid,
        ref other => panic!("{name}: {other:?} {}", dump.said("stuck")),
    };
    let check = |waiter: u64, owner: u64, kind: &str, mode: Value| {
        let row = found.iter().find(|row| row["pid"] == waiter);
        let row = row.unwrap_or_else(|| panic!("{waiter} waits for nothing: {found:?}"));
        assert_eq!((&row["kind"], &row["mode"]), (&kind.into(), &mode), "{row}");
        assert_eq!(number(row, "owner_pid"), owner, "{row}");
        assert_eq!(row["deadlock"], Value::Array(Vec::new()), "{row}");
    };
    // Who is waited for waits too.
    let splicer = one("rwsem_waiter");
    check(splicer, one("rwsem_owner"), "rwsem", "write".into());
    check(one("chain_waiter"), splicer, "mutex", Value::Null);
    compared(
        "locks",
        "an rwsem behind a mutex",
        "both owners and waiters",
    );
}

#[test]
fn the_stacks_of_who_waits_and_who_has_it_are_those_of_bt() {
    let dump = dump_or_skip!();
    let said = dump.crash(&["locks", "--stacks"]);
    let mut threads = dump.made("mutex_owner");
    threads.extend(dump.made("mutex_waiter"));
    assert_eq!(threads.len(), 3, "{}", dump.said("stuck"));
    for thread in &threads {
        let stack = dump.crash(&["bt", thread]);
        // "comm (pid), D": the state is among the locks.
        let (head, frames) = stack.split_once('\n').expect("a head");
        let name = head.split(", ").next().expect("a name");
        assert!(frames.lines().count() > 3, "{stack}");
        let expected = format!("\n{name}\n{}\n", frames.trim_end());
        assert_eq!(said.matches(&expected).count(), 1, "{stack}\n{said}");
    }
    let result = format!("the stacks of {} threads", threads.len());
    compared("locks --stacks", "bt", &result);
}

#[test]
fn the_work_that_waits_runs() {
    let dump = dump_or_skip!();
    let found = rows(&dump.crash(&["workqueues", "--json"]));
    let running = table(&found, "running");
    let functions = dump.made("work_function");
    assert_eq!(functions.len(), 1, "{}", dump.said("stuck"));
    let is_it = |row: &&Value| {
        let function = row["function"].as_str().expect("a function");
        function.split(' ').next() == Some(&*functions[0])
    };
    let row = running.iter().find(is_it);
    let row = row.unwrap_or_else(|| panic!("{functions:?}: {running:?}"));
    assert!(number(row, "runs_ms") > 0, "{row}");
    // The worker is a thread of the kernel that waits in this function.
    let worker = number(row, "worker").to_string();
    let stack = rows(&dump.crash(&["bt", &worker, "--json"]));
    assert!(
        stack[0]["stack"].to_string().contains(&functions[0]),
        "{stack:?}"
    );
    let pools = table(&found, "pools");
    let pool = pools.iter().find(|pool| pool["pool"] == row["pool"]);
    assert!(number(pool.expect("a pool"), "busy") > 0, "{pools:?}");
    let result = format!("one of {} that run", running.len());
    compared("workqueues", "a work that waits", &result);
}

#[test]
fn the_request_that_is_not_answered_is_in_flight() {
    let dump = dump_or_skip!();
    let found = rows(&dump.crash(&["block", "--json"]));
    let requests = table(&found, "requests");
    let (devices, sectors) = (dump.made("block_device"), made(&dump, "block_sector"));
    assert_eq!(
        (devices.len(), sectors.len()),
        (1, 1),
        "{}",
        dump.said("stuck")
    );
    assert_eq!(requests.len(), 1, "{requests:?}");
    let row = &requests[0];
    assert_eq!(row["disk"], *devices[0], "{row}");
    assert_eq!(row["operation"], "read", "{row}");
    assert_eq!(row["state"], "in flight", "{row}");
    assert_eq!(number(row, "sector"), sectors[0], "{row}");
    assert_eq!(number(row, "bytes"), 4096, "{row}");
    assert_eq!(row["overdue"], "no", "{row}");
    for age in ["age_ms", "device_ms"] {
        assert!(number(row, age) > 0, "{age}: {row}");
    }
    // The disks are those of /proc, but for those of no size.
    let said = dump.said("/proc/diskstats");
    let disks = table(&found, "disks");
    for disk in &disks {
        let name = disk["disk"].as_str().expect("a name");
        let is_it = |line: &str| line.split_whitespace().nth(2) == Some(name);
        assert!(said.lines().any(is_it), "{disk}");
    }
    assert!(
        disks.iter().any(|disk| disk["disk"] == *devices[0]),
        "{disks:?}"
    );
    let result = format!("one request; {} disks", disks.len());
    compared("block", "a request that is not answered", &result);
}
