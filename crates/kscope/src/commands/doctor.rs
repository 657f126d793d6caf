//! `kscope doctor`

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use kscope_bpf::{Features, Support};
use kscope_runtime::Target;

use crate::console::say;
use crate::error::{self, Failure, NO_TYPES};
use crate::place::Place;

/// Tell what this kernel and these privileges allow, with the way out
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
}

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
    let lockdown = features.lockdown().unwrap_or_else(|| "none".to_owned());
    let mut lines = vec![
        line("kernel", release.trim().to_owned(), None),
        line("lockdown", lockdown, None),
        symbols(&place.target),
    ];
    let no_kprobes = matches!(features.kprobe(), Support::Missing { .. });
    let mut denied: Vec<&str> = Vec::new();
    for (name, support) in features.all() {
        let (state, way_out) = match &support {
            // They are made of kprobes.
            Support::Missing { .. } | Support::Refused { .. }
                if no_kprobes && ["kprobes in mass", "kprobe sessions"].contains(&name) =>
            {
                ("missing, as kprobes are".to_owned(), None)
            }
            Support::Missing { .. } if name == "tracefs" => {
                ("not mounted".to_owned(), way_out(name, &support))
            }
            _ => (support.to_string(), way_out(name, &support)),
        };
        // What one grant brings is said once.
        let way_out = way_out.filter(|way_out| {
            let new = !denied.contains(way_out);
            denied.push(way_out);
            new
        });
        lines.push(line(name, state, way_out));
    }
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

/// Gives what a person can do about a missing feature.
fn way_out(name: &str, support: &Support) -> Option<&'static str> {
    match support {
        Support::Available => None,
        Support::Missing { .. } => match name {
            "kernel types (BTF)" => Some(NO_TYPES),
            "tracefs" => Some("mount it: mount -t tracefs tracefs /sys/kernel/tracing"),
            "ring buffer" => Some("use --buffer perf"),
            "kprobes" => Some("use tracepoints: `kscope list 'tracepoint:*'`"),
            "kprobes in mass" | "kprobe sessions" => {
                Some("one kprobe for each function works instead")
            }
            _ => None,
        },
        Support::Refused { why } => error::way_out(why),
    }
}
