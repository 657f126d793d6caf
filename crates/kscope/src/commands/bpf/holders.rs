//! Which processes hold eBPF objects, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kscope_rows::Value;

/// What a process may hold, by its name in `fdinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Held {
    Program,
    Map,
    Link,
    Types,
}

/// Processes by what they hold.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    all: BTreeMap<(Held, u32), BTreeMap<u32, String>>,
}

impl Holders {
    /// Looks through the processes that this one may look at.
    pub(crate) fn find() -> Holders {
        let mut holders = Holders::default();
        let Ok(folder) = fs::read_dir("/proc") else {
            return holders;
        };
        for entry in folder.flatten() {
            let pid = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            // This process opens each object to look at it.
            if let Some(pid) = pid.filter(|pid| *pid != std::process::id()) {
                holders.process(pid, &entry.path());
            }
        }
        holders
    }

    fn process(&mut self, pid: u32, folder: &Path) {
        let Ok(fds) = fs::read_dir(folder.join("fd")) else {
            return;
        };
        for fd in fds.flatten() {
            let Ok(target) = fs::read_link(fd.path()) else {
                continue;
            };
            let held = match target.to_str() {
                Some("anon_inode:bpf-prog") => Held::Program,
                Some("anon_inode:bpf-map") => Held::Map,
                Some("anon_inode:bpf_link" | "anon_inode:bpf-link") => Held::Link,
                Some("anon_inode:btf") => Held::Types,
                // A perf event says which program it runs.
                Some("anon_inode:[perf_event]") => Held::Program,
                _ => continue,
            };
            let info = folder.join("fdinfo").join(fd.file_name());
            let Ok(info) = fs::read_to_string(info) else {
                continue;
            };
            let number = |key: &str| {
                let line = info.lines().find_map(|line| line.strip_prefix(key))?;
                line.trim().parse::<u32>().ok()
            };
            let id = match held {
                Held::Program => number("prog_id:"),
                Held::Map => number("map_id:"),
                Held::Link => number("link_id:"),
                Held::Types => number("btf_id:"),
            };
            // Who holds a link holds its program.
            let program = (held == Held::Link).then(|| number("prog_id:")).flatten();
            let found = id.map(|id| (held, id));
            let found = found
                .into_iter()
                .chain(program.map(|id| (Held::Program, id)));
            for key in found {
                let command = fs::read_to_string(folder.join("comm")).unwrap_or_default();
                let processes = self.all.entry(key).or_default();
                processes.insert(pid, command.trim_end().to_owned());
            }
        }
    }

    /// Gives the processes that hold an object, as `123 (bash)`.
    pub(crate) fn of(&self, held: Held, id: u32) -> Value {
        let processes = self.all.get(&(held, id)).into_iter().flatten();
        let texts = processes.map(|(pid, command)| Value::Text(format!("{pid}({command})")));
        Value::Array(texts.collect())
    }
}
