//! `kscope kdump initrd`

use std::path::PathBuf;

use clap::Args;
use kscope_kdump::{Build, entries, read_initrd, sized};

use super::{Machine, failure};
use crate::console::say;
use crate::error::Failure;

/// Make the initial file system of the capture
///
/// It holds this program, the modules that the target needs in the order in which they are loaded,
/// and for ssh the machine's own client with its libraries and keys. No other program is needed.
#[derive(Args, Debug)]
pub(crate) struct InitrdArgs {
    #[command(flatten)]
    machine: Machine,
    /// For this kernel, which need not run
    #[arg(long, value_name = "RELEASE")]
    kernel: Option<String>,
    /// Say what is in the one that is there
    #[arg(long)]
    list: bool,
    /// This program, as a file of the machine's
    #[arg(long, value_name = "FILE", hide = true)]
    program: Option<PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &InitrdArgs) -> Result<u8, Failure> {
    let config = args.machine.config()?;
    let root = args.machine.root();
    let read = |file: &str| {
        let text = std::fs::read_to_string(root.path(file));
        text.map(|text| text.trim().to_owned())
    };
    let release = match &args.kernel {
        Some(release) => release.clone(),
        None => read("/proc/sys/kernel/osrelease")
            .map_err(|error| Failure::new(format!("which kernel runs is not known: {error}")))?,
    };
    if release.is_empty() || release.contains('/') {
        return Err(Failure::usage(format!(
            "`{release}` is no release of a kernel"
        )));
    }
    if args.list {
        return list(args, &config.initrd_of(&release));
    }
    let own = || std::env::current_exe().map_err(Failure::from);
    let program = args.program.clone().map_or_else(own, Ok)?;
    let host = read("/proc/sys/kernel/hostname").unwrap_or_default();
    let build = Build {
        root: &root,
        config: &config,
        config_file: &args.machine.config,
        release: &release,
        program: &program,
        host: &host,
    };
    let (path, initrd) = build.write().map_err(|error| failure(&error, None))?;
    let manifest = &initrd.manifest;
    say(format_args!(
        "{}: {}, {} unpacked, for {}\ntarget: {}\nmodules: {}\n",
        path.display(),
        sized(initrd.bytes.len() as u64),
        sized(manifest.unpacked),
        manifest.release,
        manifest.target,
        manifest.modules.join(" ")
    ))?;
    Ok(0)
}

fn list(args: &InitrdArgs, path: &std::path::Path) -> Result<u8, Failure> {
    let failed = |error| failure(&error, None);
    let bytes = read_initrd(&args.machine.root(), path).map_err(failed)?;
    let mut out = String::new();
    for entry in entries(&bytes).map_err(failed)? {
        let kind = match entry.mode & 0o170_000 {
            0o040_000 => 'd',
            0o120_000 => 'l',
            0o020_000 => 'c',
            _ => '-',
        };
        let (mode, size) = (entry.mode & 0o7777, entry.content.len());
        out.push_str(&format!(
            "{kind}{mode:04o} {size:>9} /{}\n",
            entry.path.escape_debug()
        ));
    }
    say(out)?;
    Ok(0)
}
