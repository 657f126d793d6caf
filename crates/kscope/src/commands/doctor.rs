//! `kscope doctor`

use std::path::PathBuf;

use clap::Args;
use kscope_bpf::{Denial, Features, Support};
use kscope_runtime::Target;

use crate::error::Failure;

/// Tell what this kernel and these privileges allow, with the way out
#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Take the kernel's types from this BTF file
    #[arg(long, value_name = "FILE")]
    btf: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> Result<u8, Failure> {
    let target = match &args.btf {
        Some(file) => Target::live().with_btf(file),
        None => Target::live(),
    };
    let btf = target.btf();
    let features = Features::new(target.kernel().clone(), btf.as_ref().ok());
    let mut lines: Vec<(String, String, Option<String>)> = Vec::new();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    lines.push(("kernel".to_owned(), release.trim().to_owned(), None));
    let lockdown = features.lockdown().unwrap_or_else(|| "none".to_owned());
    lines.push(("lockdown".to_owned(), lockdown, None));
    lines.push(symbols(&target));
    for (name, support) in features.all() {
        let way_out = way_out(name, &support);
        lines.push((name.to_owned(), support.to_string(), way_out));
    }
    let width = lines.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    for (name, state, way_out) in lines {
        match way_out {
            Some(way_out) => println!("{name:width$}  {state}: {way_out}"),
            None => println!("{name:width$}  {state}"),
        }
    }
    Ok(0)
}

fn symbols(target: &Target) -> (String, String, Option<String>) {
    let name = "kernel symbols".to_owned();
    match target.symbols().symbols() {
        Ok(symbols) if symbols.is_restricted() => {
            let way_out = "grant CAP_SYSLOG, or set kernel.kptr_restrict=0".to_owned();
            (name, "hidden".to_owned(), Some(way_out))
        }
        Ok(_) => (name, "available".to_owned(), None),
        Err(error) => (name, error.to_string(), None),
    }
}

/// Gives what a person can do about a missing feature.
fn way_out(name: &str, support: &Support) -> Option<String> {
    let text = match support {
        Support::Available => return None,
        Support::Missing { .. } => match name {
            "kernel types (BTF)" => "a BTF file of the same kernel can be given with --btf",
            "tracefs" => "mount it: mount -t tracefs tracefs /sys/kernel/tracing",
            "ring buffer" => "use --buffer perf",
            "kprobes in mass" | "kprobe sessions" => "one kprobe for each function works instead",
            _ => return None,
        },
        Support::Refused { why } => match why {
            Denial::Capability { .. } => {
                "run as root, or grant CAP_BPF, CAP_PERFMON and read access to tracefs"
            }
            Denial::Memlock { .. } => "raise it: ulimit -l unlimited",
            Denial::Confined => "run outside of the container, or allow bpf(2) there",
            Denial::Lockdown { .. } => "boot without lockdown (it follows Secure Boot)",
            Denial::File { .. } => "run as root, or remount it with gid= and mode= for this user",
            _ => return None,
        },
    };
    Some(text.to_owned())
}
