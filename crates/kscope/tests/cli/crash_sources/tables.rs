//! Tables over the kernel's objects.

use std::collections::BTreeSet;

use super::{Sources, same, text, words};

pub(super) fn modules(sources: &Sources) -> String {
    // MODULE NAME BASE SIZE …
    let said = sources.words("crash-9.0.2-mod.txt", 1);
    let expected = said
        .iter()
        .map(|w| [w[1].clone(), w[3].clone(), format!("0x{}", w[2])]);
    let found = sources.rows("modules");
    let names = ["name", "size", "base"];
    let found = found.iter().map(|row| names.map(|name| text(row, name)));
    let count = same(&found.collect(), &expected.collect(), 21);
    format!("{count} modules with two members")
}

pub(super) fn mounts(sources: &Sources) -> String {
    // MOUNT SUPERBLK TYPE DEVNAME DIRNAME
    let said = sources.words("crash-9.0.2-mount.txt", 1);
    let said = said.iter().filter(|words| words.len() == 5);
    let expected: Vec<Vec<String>> = said.map(|words| words[2..].to_vec()).collect();
    let found = sources.rows("mounts");
    let names = ["type", "source", "path"];
    let found: Vec<Vec<String>> = found
        .iter()
        .map(|row| names.map(|name| text(row, name)).to_vec())
        .collect();
    // In the same order.
    assert_eq!((found.len(), &found), (5, &expected));
    format!("{} mounts with three members", found.len())
}

pub(super) fn mounts_of_drgn(sources: &Sources) -> String {
    // ["proc", "b'/proc'", "b'proc'"]
    let said = sources.drgn("mounts");
    let said = said.iter().map(|mount| {
        [0, 1, 2].map(|at: usize| {
            let text = mount[at].as_str().expect("text");
            let text = text.strip_prefix("b'").unwrap_or(text);
            text.trim_end_matches('\'').to_owned()
        })
    });
    let found = sources.rows("mounts");
    let names = ["source", "path", "type"];
    let found = found.iter().map(|row| names.map(|name| text(row, name)));
    let count = same(&found.collect(), &said.collect(), 5);
    format!("{count} mounts with three members")
}

pub(super) fn irq(sources: &Sources) -> String {
    // IRQ DESC ACTION "NAME"
    let said = sources.lines("crash-9.0.2-irq.txt");
    let said = said.iter().filter_map(|line| {
        let (before, name) = line.split_once('"')?;
        let number = before.split_whitespace().next()?;
        Some((number.to_owned(), name.trim_end_matches('"').to_owned()))
    });
    let found = sources.rows("irq");
    let found = found
        .iter()
        .map(|row| (text(row, "irq"), text(row, "name")));
    let count = same(&found.collect(), &said.collect(), 6);
    format!("{count} interrupts")
}

pub(super) fn runq(sources: &Sources) -> String {
    // "CURRENT: PID: 1 …" and "[120] PID: 15 …" below "CPU 0".
    let mut cpu = String::new();
    let mut expected = Vec::new();
    for words in sources.words("crash-9.0.2-runq.txt", 0) {
        let after = |word: &str| {
            let at = words.iter().position(|other| other == word)?;
            words.get(at + 1).cloned()
        };
        if words.first().is_some_and(|word| word == "CPU") {
            cpu.clone_from(&words[1]);
        } else if let Some(pid) = after("PID:") {
            let state = if words[0] == "CURRENT:" {
                "runs"
            } else {
                "waits"
            };
            expected.push([cpu.clone(), pid, state.to_owned()]);
        }
    }
    let found = sources.rows("runq");
    let names = ["cpu", "tid", "state"];
    let found: Vec<[String; 3]> = found
        .iter()
        .map(|row| names.map(|name| text(row, name)))
        .collect();
    assert_eq!((found.len(), &found), (3, &expected));
    format!("{} tasks on 2 CPUs", found.len())
}

pub(super) fn timers(sources: &Sources) -> String {
    // EXPIRES TTE LIST FUNCTION <name>, of the wheel, in jiffies of 4 ms.
    let mut cpu = String::new();
    let mut expected = BTreeSet::new();
    for line in sources.lines("crash-9.0.2-timer.txt") {
        if let Some(rest) = line.strip_prefix("TIMER_BASES[") {
            cpu = rest.split(']').next().unwrap_or_default().to_owned();
        }
        let words = words(&line);
        if let [_, left, timer, _, name] = words.as_slice() {
            if let Ok(left) = left.parse::<i64>() {
                let us = (left * 4000).to_string();
                let name = name.trim_matches(['<', '>']).to_owned();
                expected.insert([cpu.clone(), us, name, format!("0x{timer}")]);
            }
        }
    }
    let found = sources.rows("timers");
    let wheel = found.iter().filter(|row| row["kind"] == "wheel");
    let names = ["cpu", "us", "func", "timer"];
    let wheel = wheel.map(|row| names.map(|name| text(row, name)));
    let count = same(&wheel.collect(), &expected, 26);
    format!("{count} timers with three members")
}

pub(super) fn files(sources: &Sources) -> String {
    // FD FILE DENTRY INODE TYPE PATH, below "PID: 1 …".
    let mut pid = String::new();
    let mut expected = BTreeSet::new();
    for words in sources.words("crash-9.0.2-foreach_files.txt", 0) {
        if words.first().is_some_and(|word| word == "PID:") {
            pid.clone_from(&words[1]);
        } else if words.len() >= 6 && words[0].parse::<u32>().is_ok() {
            expected.insert([&pid, &words[0], &words[5]].map(String::clone));
        }
    }
    let found = sources.rows("files");
    let names = ["pid", "fd", "path"];
    let found = found.iter().map(|row| names.map(|name| text(row, name)));
    // crash ended before the last one.
    expected.insert(["174", "3", "/tmp/t0"].map(str::to_owned));
    let count = same(&found.collect(), &expected, 50);
    format!("{} open files, 1 more", count - 1)
}

pub(super) fn interfaces(sources: &Sources) -> String {
    // NET_DEVICE NAME IP ADDRESS(ES)
    let said = sources.words("crash-9.0.2-net.txt", 1);
    let expected = said.iter().flat_map(|words| {
        let addresses: Vec<String> = match &words[2..] {
            [] => vec![String::new()],
            some => some.iter().map(|word| word.replace(',', "")).collect(),
        };
        let name = words[1].clone();
        let pair = move |address| (name.clone(), address);
        addresses.into_iter().map(pair)
    });
    let found = sources.rows("interfaces");
    let found = found
        .iter()
        .map(|row| (text(row, "name"), text(row, "addr")));
    let count = same(&found.collect(), &expected.collect(), 5);
    format!("{count} addresses")
}

/// The kernel's own sockets, to which its network has pointers; of TCP and UDP as many as their caches have objects.
pub(super) fn sockets(sources: &Sources) -> String {
    let found = sources.rows("sockets");
    // Each with its family.
    let own = [
        ("rtnl", 0),
        ("diag_nlsk", 4),
        ("ipv4.fibnl", 10),
        ("uevent_sock.sk", 15),
        ("genl_sock", 16),
    ];
    let paths = own.map(|(path, _)| path).join(",");
    let net = &sources.rows(&format!("struct net.{paths} init_net"))[0]["value"];
    let follow = |of: &str, at: &str| {
        let (structure, path) = of.split_once('.').expect("a member");
        let row = &sources.rows(&format!("struct {structure}.{path} {at}"))[0];
        text(&row["value"], path)
    };
    let expected = own.map(|(path, family)| {
        let socket = follow("sock.sk_socket", &text(net, path));
        // The first member is the socket.
        let inode = follow("socket_alloc.vfs_inode.i_ino", &socket);
        (family.to_string(), inode)
    });
    let netlink = found.iter().filter(|row| text(row, "proto") == "netlink");
    let netlink: BTreeSet<(String, String)> = netlink
        .map(|row| (text(row, "rport"), text(row, "inode")))
        .collect();
    for one in &expected {
        assert!(netlink.contains(one), "no {one:?}: {netlink:?}");
    }
    // CACHE OBJSIZE ALLOCATED TOTAL SLABS SSIZE NAME
    let caches = sources.words("crash-9.0.2-kmem_s.txt", 1);
    let objects = |names: &[&str]| -> u64 {
        let of_them = caches.iter().filter(|words| names.contains(&&*words[6]));
        let objects: Vec<u64> = of_them
            .map(|words| words[2].parse().expect("a number"))
            .collect();
        // Some kernels keep objects of two kinds in one.
        assert!(!objects.is_empty(), "{names:?}");
        objects.iter().sum()
    };
    for (proto, names) in [("tcp", ["TCP", "TCPv6"]), ("udp", ["UDP", "UDPv6"])] {
        let of_it = found.iter().filter(|row| text(row, "proto") == proto);
        assert_eq!(of_it.count() as u64, objects(&names), "{proto}");
    }
    // The kernel keeps raw ones that are in no table.
    let (all, raw) = (objects(&["sock_inode_cache"]), objects(&["RAW", "RAWv6"]));
    assert!(found.len() as u64 + raw <= all, "{} of {all}", found.len());
    format!(
        "{} of {} sockets, none of tcp and udp",
        expected.len(),
        found.len()
    )
}
