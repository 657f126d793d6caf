//! What the commands of `kscope crash` say of the dump of a guest, against a second source: files of /proc that the guest
//! read right before, and things that it made. Each prints a line of the table.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use kscope_tests::dumps::{GuestDump, commands, compared, number, rows, text};
use serde_json::Value;

/// Gives the guest's dump, of which a command is asked, or ends the test as skipped.
macro_rules! dump_or_skip {
    ($command:expr) => {
        match GuestDump::given() {
            Some(dump) => {
                assert!(commands().iter().any(|known| known == $command), $command);
                dump
            }
            None => return,
        }
    };
}

/// Gives some members of a row as words.
fn words(row: &Value, names: &[&str]) -> String {
    let word = |name: &&str| match &row[*name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    names.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// Demands that both are the same but for a few; what looked may come and go.
#[track_caller]
fn check(command: &str, source: &str, own: &BTreeSet<String>, said: &BTreeSet<String>, few: usize) {
    let same = own.intersection(said).count();
    let other: Vec<_> = own.symmetric_difference(said).collect();
    assert!(
        same > 0 && other.len() <= few,
        "{command}: {same}, {other:?}"
    );
    let result = format!("{same} rows are the same, {} differ", other.len());
    compared(command, source, &result);
}

#[test]
fn modules() {
    let dump = dump_or_skip!("modules");
    let own = rows(&dump.crash(&["modules", "--json"]));
    let names = ["name", "size", "refs", "by", "base"];
    let own = own.iter().map(|row| words(row, &names)).collect();
    let said = dump.said("/proc/modules");
    let said = said.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let by = words[3].trim_end_matches(',').trim_start_matches('-');
        [words[0], words[1], words[2], by, words[5]].join(" ")
    });
    check("modules", "/proc/modules", &own, &said.collect(), 0);
}

#[test]
fn mounts() {
    let dump = dump_or_skip!("mounts");
    let own = rows(&dump.crash(&["mounts", "--json"]));
    let names = [
        "id", "parent", "major", "minor", "root", "path", "flags", "type", "source",
    ];
    let own = own.iter().map(|row| words(row, &names)).collect();
    let said = dump.said("/proc/1/mountinfo");
    let said = said.lines().map(|line| {
        let (mount, system) = line.split_once(" - ").expect("two parts");
        let mount: Vec<&str> = mount.split(' ').collect();
        let system: Vec<&str> = system.split(' ').collect();
        let device = mount[2].replace(':', " ");
        [
            mount[0], mount[1], &*device, mount[3], mount[4], mount[5], system[0], system[1],
        ]
        .join(" ")
    });
    // Since 7.1 the first of all is under the root, where nobody sees it.
    check("mounts", "/proc/1/mountinfo", &own, &said.collect(), 1);
}

#[test]
fn irq() {
    let dump = dump_or_skip!("irq");
    let mut own: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for row in rows(&dump.crash(&["irq", "--json"])) {
        own.insert(
            (number(&row, "irq"), number(&row, "cpu")),
            number(&row, "count"),
        );
    }
    let said = dump.said("/proc/interrupts");
    let (mut same, mut later) = (0, 0);
    for line in said.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(Ok(irq)) = words[0].strip_suffix(':').map(str::parse::<u64>) else {
            continue;
        };
        for cpu in 0..2 {
            let before: u64 = words[1 + cpu].parse().expect("a count");
            let now = own.get(&(irq, cpu as u64)).copied().unwrap_or_default();
            assert!(now >= before && now < before + 500, "{now} {line}");
            same += usize::from(now == before);
            later += usize::from(now != before);
        }
    }
    assert!(same > 4 && later <= 4, "{same} {later}");
    let result = format!("{same} counts are the same, {later} grew");
    compared("irq", "/proc/interrupts", &result);
}

/// Reads an address of /proc/net/tcp or tcp6: words of the host's byte order, in hexadecimal.
fn address(text: &str) -> String {
    let (ip, port) = text.split_once(':').expect("a port");
    let word = |at: usize| u32::from_str_radix(&ip[at..at + 8], 16).expect("an address");
    let bytes: Vec<u8> = (0..ip.len())
        .step_by(8)
        .flat_map(|at| word(at).to_le_bytes())
        .collect();
    let ip = match <[u8; 4]>::try_from(&*bytes) {
        Ok(four) => Ipv4Addr::from(four).to_string(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&*bytes).expect("sixteen")).to_string(),
    };
    let port = u16::from_str_radix(port, 16).expect("a port");
    format!("{ip} {port}")
}

#[test]
fn sockets() {
    let dump = dump_or_skip!("sockets");
    let own = rows(&dump.crash(&["sockets", "--json"]));
    let names = ["laddr", "lport", "raddr", "rport", "state", "uid", "inode"];
    let of = |proto: &str| -> BTreeSet<String> {
        let rows = own.iter().filter(|row| text(row, "proto") == proto);
        rows.map(|row| words(row, &names)).collect()
    };
    let said = |file: &str| -> BTreeSet<String> {
        let said = dump.said(file);
        let lines = said.lines().skip(1).map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let state = match words[3] {
                "01" => "ESTABLISHED",
                "07" => "CLOSE",
                "0A" => "LISTEN",
                other => other,
            };
            let (local, remote) = (address(words[1]), address(words[2]));
            [&*local, &*remote, state, words[7], words[9]].join(" ")
        });
        lines.collect()
    };
    let both = &said("/proc/net/tcp") | &said("/proc/net/tcp6");
    check("sockets", "/proc/net/tcp, tcp6", &of("tcp"), &both, 0);
    check(
        "sockets",
        "/proc/net/udp",
        &of("udp"),
        &said("/proc/net/udp"),
        0,
    );
    // Num RefCount Protocol Flags Type St Inode Path
    let own = own
        .iter()
        .filter(|row| text(row, "proto").starts_with("unix"));
    let own = own.map(|row| words(row, &["inode", "laddr"]).trim_end().to_owned());
    let said = dump.said("/proc/net/unix");
    let said = said.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[6..].join(" ")
    });
    check(
        "sockets",
        "/proc/net/unix",
        &own.collect(),
        &said.collect(),
        0,
    );
}

#[test]
fn files() {
    let dump = dump_or_skip!("files");
    let own = rows(&dump.crash(&["files", "--json"]));
    let own = own
        .iter()
        .map(|row| words(row, &["pid", "fd", "path"]))
        .collect();
    let said = dump.said("files").lines().map(str::to_owned).collect();
    // Programs that looked at the kernel before have some.
    check("files", "/proc/PID/fd", &own, &said, 24);
}

#[test]
fn interfaces() {
    let dump = dump_or_skip!("interfaces");
    let own = rows(&dump.crash(&["interfaces", "--json"]));
    let found = own.iter().map(|row| words(row, &["name"])).collect();
    let said = dump.said("/proc/net/dev");
    let said = said.lines().skip(2).filter_map(|line| line.split_once(':'));
    let said = said.map(|(name, _)| name.trim().to_owned()).collect();
    check("interfaces", "/proc/net/dev", &found, &said, 0);
    // Address index prefix scope flags name, in hexadecimal.
    let names = ["name", "index", "addr", "prefix"];
    let found = own.iter().filter(|row| text(row, "addr").contains(':'));
    let found = found.map(|row| words(row, &names)).collect();
    let said = dump.said("/proc/net/if_inet6");
    let said = said.lines().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let hex = |text| u128::from_str_radix(text, 16).expect("a number");
        let address = Ipv6Addr::from(hex(words[0]));
        format!("{} {} {address} {}", words[5], hex(words[1]), hex(words[2]))
    });
    check(
        "interfaces",
        "/proc/net/if_inet6",
        &found,
        &said.collect(),
        0,
    );
}

#[test]
fn sockets_without_ports() {
    let dump = dump_or_skip!("sockets");
    let own = rows(&dump.crash(&["sockets", "--json"]));
    let of = |proto: &str| -> BTreeSet<String> {
        let rows = own.iter().filter(|row| row["proto"] == proto);
        rows.map(|row| words(row, &["rport", "lport", "inode"]))
            .collect()
    };
    // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
    let said = dump.said("/proc/net/netlink");
    let said = said.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        [words[1], words[2], words[9]].join(" ")
    });
    // Whoever asked for addresses had one.
    check(
        "sockets",
        "/proc/net/netlink",
        &of("netlink"),
        &said.collect(),
        2,
    );
    // sk RefCnt Type Proto Iface R Rmem User Inode
    let said = dump.said("/proc/net/packet");
    let said = said.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let protocol = u16::from_str_radix(words[3], 16).expect("a protocol");
        format!("{} {protocol} {}", words[4], words[8])
    });
    let packet = of("packet");
    check("sockets", "/proc/net/packet", &packet, &said.collect(), 0);
    // As those of UDP; the local port is the protocol.
    let said = dump.said("/proc/net/raw");
    let said = said.lines().skip(1).map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = |at: usize| {
            let (_, port) = words[at].split_once(':').expect("a port");
            u16::from_str_radix(port, 16).expect("a number")
        };
        format!("{} {} {}", port(2), port(1), words[9])
    });
    let raw = of("raw");
    check("sockets", "/proc/net/raw", &raw, &said.collect(), 0);
}

#[test]
fn counters_of_interfaces() {
    let dump = dump_or_skip!("interfaces");
    // Of what the kernel counts, no less than right before, and little more.
    let said = dump.said("/proc/net/dev");
    let mut same = 0;
    for row in rows(&dump.crash(&["interfaces", "--counters", "--json"])) {
        let numbers = said.lines().skip(2).find_map(|line| {
            let (name, numbers) = line.split_once(':')?;
            (name.trim() == text(&row, "name")).then_some(numbers)
        });
        let numbers = numbers.expect("a line").split_whitespace();
        let numbers: Vec<u64> = numbers
            .map(|word| word.parse().expect("a number"))
            .collect();
        let columns = [
            "rxbytes", "rxpkts", "rxerrs", "rxdrop", "txbytes", "txpkts", "txerrs", "txdrop",
        ];
        let places = [0, 1, 2, 3, 8, 9, 10, 11];
        for (column, place) in columns.into_iter().zip(places) {
            match text(&row, "counts") {
                "kernel" => {
                    let (own, said) = (number(&row, column), numbers[place]);
                    assert!(
                        own >= said && own < said + 10_000,
                        "{column}: {said}, {row}"
                    );
                    same += 1;
                }
                other => assert_eq!((other, row[column].as_i64()), ("driver", Some(-1))),
            }
        }
    }
    assert!(same >= 8, "{same}");
    compared("interfaces", "/proc/net/dev", &format!("{same} counts fit"));
}

#[test]
fn runq() {
    let dump = dump_or_skip!("runq");
    let own = rows(&dump.crash(&["runq", "--json"]));
    let own = own.iter().filter(|row| row["state"] == "runs");
    let own = own.map(|row| format!("cpu{}", row["cpu"])).collect();
    let said = dump.said("/proc/stat");
    let names = said.lines().filter_map(|line| line.split(' ').next());
    let cpus = names.filter(|name| name.starts_with("cpu") && *name != "cpu");
    let cpus = cpus.map(str::to_owned).collect();
    check("runq", "/proc/stat", &own, &cpus, 0);
}

#[test]
fn timers() {
    let dump = dump_or_skip!("timers");
    let mut counts: BTreeMap<(u64, String), i64> = BTreeMap::new();
    for row in rows(&dump.crash(&["timers", "--json"])) {
        if row["kind"] != "wheel" {
            let func = text(&row, "func")
                .split(['+', ' '])
                .next()
                .unwrap_or_default();
            *counts
                .entry((number(&row, "cpu"), func.to_owned()))
                .or_default() += 1;
        }
    }
    let (mut cpu, mut said) = (0, 0);
    for line in dump.said("/proc/timer_list").lines() {
        if let Some(number) = line.strip_prefix("cpu: ") {
            cpu = number.parse().expect("a number");
        } else if let Some(timer) = line.strip_prefix(" #").filter(|_| line.contains(", S:")) {
            // #0: <000000006eeec058>, tick_sched_timer, S:01
            let func = timer.split(", ").nth(1).expect("a function").to_owned();
            *counts.entry((cpu, func)).or_default() -= 1;
            said += 1;
        }
    }
    let differ: i64 = counts.values().map(|count| count.abs()).sum();
    assert!(said > 4 && differ <= 6, "{said} {counts:?}");
    let result = format!("{said} timers of high resolution, {differ} came or went");
    compared("timers", "/proc/timer_list", &result);
}
