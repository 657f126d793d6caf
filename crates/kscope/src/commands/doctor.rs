//! `kscope doctor`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kscope_bpf::{Denial, Features, Lockdown, Support};
use kscope_runtime::Target;

use crate::console::say;
use crate::error::{self, Failure, MOUNT, NO_TYPES};
use crate::place::Place;

/// Tell what this kernel and these privileges allow, with the way out
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
}

/// What to do without kprobes.
const TRACEPOINTS: &str = "use tracepoints: `kscope list 'tracepoint:*'`";
/// How to see whether the kernel is locked down.
const SECURITYFS: &str = "mount -t securityfs securityfs /sys/kernel/security shows it";
/// `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

/// A line of the report: what, in which state, and what to do about that.
struct Line {
    name: String,
    state: String,
    way_out: Option<&'static str>,
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> Result<u8, Failure> {
    let place = Place::open(args.btf.as_deref())?;
    let features = Features::new(place.target.kernel().clone(), place.btf.as_ref().ok());
    let line = |name: &str, state: String, way_out| Line {
        name: name.to_owned(),
        state,
        way_out,
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (lockdown, unlock) = match features.lockdown() {
        Lockdown::Off => ("none".to_owned(), None),
        Lockdown::Mode(mode) => (mode, None),
        Lockdown::Unknown => ("not known".to_owned(), Some(SECURITYFS)),
    };
    let mut lines = vec![
        line("kernel", release.trim().to_owned(), None),
        line("lockdown", lockdown, unlock),
        symbols(&place.target),
    ];
    // What kscope does by itself where it is root.
    let may_mount = place
        .target
        .kernel()
        .capabilities()
        .is_ok_and(|have| have & SYS_ADMIN != 0);
    lines.extend(report(&features.all(), may_mount));
    let width = lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Line {
        name,
        state,
        way_out,
    } in lines
    {
        let _ = match way_out {
            Some(way_out) => writeln!(text, "{name:width$}  {state}: {way_out}"),
            None => writeln!(text, "{name:width$}  {state}"),
        };
    }
    say(text)?;
    Ok(0)
}

fn symbols(target: &Target) -> Line {
    let (state, way_out) = match target.symbols().symbols() {
        Ok(symbols) if symbols.is_restricted() => {
            let way_out = "grant CAP_SYSLOG, or set kernel.kptr_restrict=0";
            ("hidden".to_owned(), Some(way_out))
        }
        Ok(_) => ("available".to_owned(), None),
        Err(error) => (error.to_string(), None),
    };
    Line {
        name: "kernel symbols".to_owned(),
        state,
        way_out,
    }
}

/// Makes the lines of features; each way out is said once, and none needs what is missing.
fn report(all: &[(&str, Support)], may_mount: bool) -> Vec<Line> {
    let is_there = |wanted: &str| {
        let found = all.iter().find(|(name, _)| *name == wanted);
        found.is_some_and(|(_, support)| support.is_available())
    };
    let is_missing = |wanted: &str| {
        let found = all.iter().find(|(name, _)| *name == wanted);
        found.is_some_and(|(_, support)| matches!(support, Support::Missing { .. }))
    };
    let no_tracefs = all
        .iter()
        .any(|(name, support)| *name == "tracefs" && matches!(support, Support::Refused { .. }));
    let (no_kprobes, has_kprobes) = (is_missing("kprobes"), is_there("kprobes"));
    let mut said: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    for (name, support) in all {
        let of_kprobes = ["kprobes in mass", "kprobe sessions"].contains(name);
        let (state, way_out) = match support {
            // Their numbers are read there.
            Support::Available if *name == "tracepoint programs" && no_tracefs => {
                ("refused, as tracefs is".to_owned(), None)
            }
            Support::Available => (support.to_string(), None),
            // They are made of kprobes.
            _ if no_kprobes && of_kprobes => ("missing, as kprobes are".to_owned(), None),
            Support::Missing { .. } if *name == "tracefs" => {
                let way_out = match may_mount {
                    true => "kscope mounts it when a probe needs it",
                    false => MOUNT,
                };
                ("not mounted".to_owned(), Some(way_out))
            }
            Support::Missing { .. } => (support.to_string(), instead_of(name, has_kprobes)),
            Support::Refused {
                why: Denial::Trampoline { .. },
            } if !has_kprobes => (support.to_string(), Some(TRACEPOINTS)),
            Support::Refused { why } => (support.to_string(), error::way_out(why)),
        };
        // This is the command that shows what is missing.
        let way_out = way_out.map(|text| text.split("; `kscope doctor`").next().unwrap_or(text));
        // What one grant brings is said once.
        let new = way_out.filter(|way_out| !said.contains(way_out));
        said.extend(new);
        lines.push(Line {
            name: (*name).to_owned(),
            state,
            way_out: new,
        });
    }
    lines
}

/// Gives what a person can do where the kernel lacks a feature.
fn instead_of(name: &str, has_kprobes: bool) -> Option<&'static str> {
    match name {
        "kernel types (BTF)" => Some(NO_TYPES),
        "ring buffer" => Some("use --buffer perf"),
        "kprobes" => Some(TRACEPOINTS),
        "kprobes in mass" | "kprobe sessions" if has_kprobes => {
            Some("one kprobe for each function works instead")
        }
        "uprobes in mass" => Some("one uprobe for each function works instead"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives the report of some features as text; the others are not asked.
    fn told(all: &[(&str, Support)], may_mount: bool) -> String {
        let lines = report(all, may_mount);
        let lines = lines.iter().map(|line| {
            let way_out = line.way_out.unwrap_or("-");
            format!("{} | {} | {way_out}\n", line.name, line.state)
        });
        lines.collect()
    }

    fn missing(feature: &str) -> Support {
        Support::Missing {
            feature: feature.to_owned(),
            since: None,
        }
    }

    #[test]
    fn ways_out_are_said_once_and_can_be_gone() {
        let check = |all: &[(&str, Support)], may_mount, expected: &str| {
            assert_eq!(told(all, may_mount), expected);
        };
        let tracefs = [("tracefs", missing("tracefs"))];
        check(
            &tracefs,
            true,
            "tracefs | not mounted | kscope mounts it when a probe needs it\n",
        );
        assert!(told(&tracefs, false).contains("mount -t tracefs"));
        let path = "/sys/kernel/tracing".to_owned();
        let closed = Support::Refused {
            why: Denial::File { path },
        };
        let text = told(
            &[
                ("tracefs", closed),
                ("tracepoint programs", Support::Available),
            ],
            true,
        );
        assert!(
            text.ends_with("tracepoint programs | refused, as tracefs is | -\n"),
            "{text}"
        );
        let trampoline = || Support::Refused {
            why: Denial::Trampoline { kprobes: true },
        };
        let without = [
            ("kprobes", missing("kprobes")),
            ("kprobes in mass", missing("kprobe_multi")),
            ("fentry and fexit", trampoline()),
        ];
        let state = trampoline();
        check(
            &without,
            true,
            &format!(
                "kprobes | missing | {TRACEPOINTS}\nkprobes in mass | missing, as kprobes are | -\n\
                 fentry and fexit | {state} | -\n"
            ),
        );
        let with = [
            ("kprobes", Support::Available),
            ("fentry and fexit", trampoline()),
        ];
        assert!(told(&with, true).contains("| a kprobe, a tracepoint"));
        let lacks = || Support::Refused {
            why: Denial::Capability {
                missing: vec!["CAP_BPF"],
            },
        };
        let text = told(&[("ring buffer", lacks()), ("perf buffer", lacks())], true);
        assert_eq!(text.matches("run as root").count(), 1, "{text}");
        assert!(!text.contains("kscope doctor"), "{text}");
    }
}
