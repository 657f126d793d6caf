//! `cargo xtask bench`: kscope's figures, each beside its peer's, measured in the same run.
//!
//! Nothing is asserted: a time says as much about the machine as about the program.

mod debuginfo;
mod dump;
mod events;
mod figures;
mod library;
mod measure;
mod one_liners;
mod peer;
mod printing;
mod producer;
mod programs;
mod save;
mod stacks;
mod startup;
mod table;

use std::path::PathBuf;

use crate::arguments::Arguments;
use crate::cargo::{self, Profile};
use peer::{Peer, Tracer};
use table::Table;

/// What to measure, and how often.
pub(crate) struct Settings {
    /// Interleaved runs of which the median counts.
    pub(crate) runs: usize,
    /// Traced calls per measured run of a program.
    pub(crate) calls: u64,
    /// Seconds for which a rate of events must hold.
    pub(crate) seconds: u64,
}

/// The two that are compared.
pub(crate) struct Pair {
    pub(crate) kscope: Tracer,
    pub(crate) peer: Tracer,
}

/// Measures all figures, or those whose group `--only` names.
pub(crate) fn run(mut arguments: Arguments) -> Result<bool, String> {
    let peers = arguments.flag("--peers");
    let only = arguments.values("--only")?;
    let settings = Settings {
        runs: arguments.number("--runs", 9)?.clamp(1, 1000) as usize,
        calls: arguments.number("--calls", 300_000)?.max(1),
        seconds: arguments.number("--seconds", 5)?.max(1),
    };
    let binary = arguments.values("--kscope")?.pop().map(PathBuf::from);
    let (words, _) = arguments.finish()?;
    if let Some(word) = words.first() {
        return Err(format!("bench takes no {word}"));
    }
    let mut names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
    names.extend([LIBRARY, DUMP, SAVE, STACKS]);
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!(
            "no group of figures is called {unknown}; there are {}",
            names.join(", ")
        ));
    }
    if !crate::setup::is_root() {
        return Err("bench needs root: it traces".to_string());
    }
    let wants = |name: &str| only.is_empty() || only.iter().any(|wanted| wanted == name);
    if peers && names.iter().any(|name| *name != LIBRARY && wants(name)) {
        // For mounts of its own this process starts again: before it has measured anything. What fails is told later.
        let _ = peer::sid();
    }
    let mut done = true;
    if wants(LIBRARY) {
        println!("kscope-bpf beside other libraries\n");
        // What is missing for this table takes nothing from the other.
        if let Err(why) = library::measure(&settings) {
            println!("note: {LIBRARY}: {why}");
            done = only.is_empty();
        }
        println!();
    }
    if !only.is_empty() && only.iter().all(|name| name == LIBRARY) {
        return Ok(done);
    }
    let kscope = match binary {
        Some(file) => file
            .canonicalize()
            .map_err(|error| format!("{}: {error}", file.display()))?,
        None => cargo::kscope(Profile::Release)?,
    };
    if wants(DUMP) {
        println!("a crash dump, beside crash and drgn with debuginfo\n");
        if let Err(why) = dump::measure(&kscope, peers, &settings) {
            println!("note: {DUMP}: {why}");
            done &= only.is_empty();
        }
        println!();
    }
    if wants(SAVE) {
        println!("a dump that is saved, beside makedumpfile\n");
        if let Err(why) = save::measure(&kscope, peers, &settings) {
            println!("note: {SAVE}: {why}");
            done &= only.is_empty();
        }
        println!();
    }
    if wants(STACKS) {
        println!("what 2,000 tasks are at, beside /proc/*/task/*/stack\n");
        if let Err(why) = stacks::measure(&kscope, &settings) {
            println!("note: {STACKS}: {why}");
            done &= only.is_empty();
        }
        println!();
    }
    if GROUPS.iter().all(|(name, _)| !wants(name)) {
        return Ok(done);
    }
    let kscope = Tracer::kscope(&kscope);
    let peer = if peers {
        Peer::in_chroot()
    } else {
        Peer::installed()
    };
    let peer = peer?.tracer()?;
    println!("{} beside {}\n", kscope.version()?, peer.version()?);
    let pair = Pair { kscope, peer };
    let mut table = Table::new(&pair.peer.name);
    for (name, group) in GROUPS {
        if wants(name) {
            // A figure that cannot be had takes none of the others with it.
            if let Err(why) = group(&pair, &settings, &mut table) {
                table.note(format!("{name}: {why}"));
            }
        }
    }
    table.finish();
    Ok(done)
}

/// The group of figures of the library, which has a table of its own.
const LIBRARY: &str = "library";

/// The group of figures of reading a dump, which has one too.
const DUMP: &str = "dump";

/// The group of figures of saving one.
const SAVE: &str = "save";

/// The group of figures of all tasks' stacks, beside /proc.
const STACKS: &str = "stacks";

type Group = fn(&Pair, &Settings, &mut Table) -> Result<(), String>;

/// The groups of figures, in the order in which they are printed.
const GROUPS: [(&str, Group); 8] = [
    ("one-liners", one_liners::compare),
    ("startup", startup::nothing),
    ("size", figures::size),
    ("btf", figures::btf),
    ("tool", startup::tool),
    ("shipped", startup::shipped),
    ("events", events::measure),
    ("printf", printing::measure),
];

/// Runs one command for a measurement: what `cargo xtask bench-one` does in a process of its own.
pub(crate) fn one(arguments: Arguments) -> Result<bool, String> {
    let (_, command) = arguments.finish()?;
    measure::one(&command)
}

/// Gives a folder for what measurements write.
pub(crate) fn scratch() -> Result<PathBuf, String> {
    let folder = cargo::scratch_dir()?.join("bench");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(folder)
}
