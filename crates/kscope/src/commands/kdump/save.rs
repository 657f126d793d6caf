//! `kscope kdump save`

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use kscope_dump::{
    Compression, DumpFormat, DumpLevel, DumpOptions, Kernel, SaveError, SaveOptions, SaveOutput,
    SaveSummary, Unfinished, save,
};

use super::progress::Progress;
use crate::console::{self, tell};
use crate::crash::{log_text, plain};
use crate::dump::open_with;
use crate::error::Failure;
use crate::output::{is_stream, keep};

/// What follows the name of a dump in that of its log.
const LOG: &str = "-dmesg.txt";
/// Most threads that read and pack, unless more are asked for.
const THREADS: usize = 16;

/// Save the dump of a kernel, filtered and compressed, its log first
///
/// The log goes to a file beside the dump (FILE-dmesg.txt) before anything else. The dump is
/// FILE-incomplete until it is whole: however the writing ends, FILE is never a part of a dump.
/// Through a pipe (`-o -`) a compressed dump goes in makedumpfile's flattened form, which crash,
/// drgn and kscope read as it is.
#[derive(Args, Debug)]
pub(crate) struct SaveArgs {
    /// Leave out pages: the sum of 1 zeros, 2 cache, 4 cache with private data, 8 user, 16 free
    #[arg(short = 'd', long, value_name = "LEVEL", default_value_t = 31,
          value_parser = clap::value_parser!(u8).range(0..=31))]
    dump_level: u8,
    /// How pages are packed
    #[arg(short, long, value_name = "HOW", default_value = "zstd")]
    compress: Pack,
    /// The format of the file
    #[arg(long, value_name = "FORMAT", default_value = "kdump")]
    format: Format,
    /// Write records of places and bytes, as through a pipe
    #[arg(short = 'F', long)]
    flatten: bool,
    /// How many threads read and pack [default: one for each CPU, at most 16]
    #[arg(short, long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=32))]
    threads: Option<u16>,
    /// Save the log alone, as text
    #[arg(long, conflicts_with_all = ["no_log", "log"])]
    log_only: bool,
    /// Save the log to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Do not save the log
    #[arg(long, conflicts_with = "log")]
    no_log: bool,
    /// Write over files that are there
    #[arg(short, long)]
    force: bool,
    /// Say nothing but what goes wrong
    #[arg(short, long)]
    quiet: bool,
    /// Write to this file, `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What is saved: /proc/vmcore in a kernel that was started by a crash, or another dump; of a
    /// split one, all its files
    #[arg(value_name = "SOURCE", default_value = "/proc/vmcore")]
    source: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Pack {
    /// The least work for the gain
    Zstd,
    /// The least work
    Lzo,
    /// What every reader knows
    Zlib,
    /// As they are
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// kdump-compressed, makedumpfile's own
    Kdump,
    /// An ELF core file, not packed
    Elf,
}

impl SaveArgs {
    fn options(&self) -> SaveOptions {
        let available = || {
            let number = std::thread::available_parallelism();
            number.map_or(1, |number| number.get().min(THREADS))
        };
        SaveOptions {
            // The command line takes no other.
            level: DumpLevel::new(self.dump_level).unwrap_or(DumpLevel::MOST),
            compression: match self.compress {
                Pack::Zstd => Compression::Zstd,
                Pack::Lzo => Compression::Lzo,
                Pack::Zlib => Compression::Zlib,
                Pack::None => Compression::None,
            },
            format: match self.format {
                Format::Kdump => DumpFormat::KdumpCompressed,
                Format::Elf => DumpFormat::Elf,
            },
            threads: self.threads.map_or_else(available, usize::from),
        }
    }

    /// Gives where the log goes; none where it is not asked for, or has no place of its own.
    fn log_path(&self) -> Option<PathBuf> {
        if self.no_log || self.log.is_some() {
            return self.log.clone();
        }
        let beside = || {
            let mut name = self.output.clone().into_os_string();
            name.push(LOG);
            PathBuf::from(name)
        };
        (!is_stream(&self.output)).then(beside)
    }
}

/// Runs the command.
pub(crate) fn run(args: &SaveArgs) -> Result<u8, Failure> {
    if is_stream(&args.output) && args.log.as_deref().is_some_and(is_stream) {
        return Err(
            Failure::usage("the log and the dump cannot both go to standard output")
                .hint("give a file with --log, or --no-log"),
        );
    }
    let kernel = open_with(&args.source, DumpOptions::ONCE)?;
    if args.log_only {
        return save_log(args, &kernel, &args.output).map(|()| 0);
    }
    let mut code = 0;
    if let Some(path) = args.log_path() {
        match save_log(args, &kernel, &path) {
            Ok(()) if !args.quiet => tell(format_args!("{}: the kernel's log", path.display())),
            Ok(()) => {}
            // The dump may still be had; without a place for the log there is none for it either.
            Err(failure) => {
                failure.tell();
                code = 1;
            }
        }
    }
    match is_stream(&args.output) {
        true => to_pipe(args, &kernel)?,
        false => to_file(args, &kernel)?,
    }
    Ok(code)
}

fn save_log(args: &SaveArgs, kernel: &Kernel, path: &Path) -> Result<(), Failure> {
    let text = log_text(kernel)?;
    if is_stream(path) {
        return Ok(console::say(text)?);
    }
    let file = create(path, args)?;
    let written = file.file().write_all(text.as_bytes());
    let saved = written.and_then(|()| file.finish());
    saved.map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

fn create(path: &Path, args: &SaveArgs) -> Result<Unfinished, Failure> {
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        let message = format!(
            "{} is no file, and would be replaced by one",
            path.display()
        );
        return Err(Failure::new(message).hint("give a file with -o, or `-o -` for a pipe"));
    }
    let sources: Vec<&Path> = args.source.iter().map(PathBuf::as_path).collect();
    keep(path, &sources)?;
    // What a crash left unfinished is read to save the rest of it: never to be emptied.
    keep(&Unfinished::path_of(path), &sources)?;
    Unfinished::create(path, args.force).map_err(|error| {
        let name = path.display();
        match error.kind() {
            io::ErrorKind::AlreadyExists => {
                Failure::new(format!("{name} or {name}-incomplete is there already"))
                    .hint("give another name, or -f to write over them")
            }
            _ => Failure::new(format!("cannot write {name}: {error}")),
        }
    })
}

fn to_file(args: &SaveArgs, kernel: &Kernel) -> Result<(), Failure> {
    let file = create(&args.output, args)?;
    let progress = Progress::new(args.quiet)?;
    let options = args.options();
    let saved = match args.flatten {
        true => {
            let mut out = io::BufWriter::new(file.file());
            let output = SaveOutput::Flattened(&mut out);
            save(kernel, output, &options, &progress)
        }
        false => save(kernel, SaveOutput::File(file.file()), &options, &progress),
    };
    progress.end();
    let unfinished = file.path().display().to_string();
    let stays = |why: String| {
        let rest = format!("what is written stays in {unfinished}");
        Failure::new(why).detail(rest)
    };
    let summary = saved.map_err(|error| failed(&error, stays))?;
    let name = args.output.display();
    file.finish()
        .map_err(|error| stays(format!("cannot finish {name}: {error}")))?;
    told(args, &name.to_string(), &summary);
    Ok(())
}

fn to_pipe(args: &SaveArgs, kernel: &Kernel) -> Result<(), Failure> {
    let out = console::output()?;
    if out.is_terminal() {
        return Err(
            Failure::usage("a dump is nothing to read: standard output is a terminal")
                .hint("give a file with -o, or a pipe"),
        );
    }
    let progress = Progress::new(args.quiet)?;
    let mut out: io::BufWriter<File> = io::BufWriter::with_capacity(1 << 16, out);
    let output = match args.flatten || args.format == Format::Kdump {
        true => SaveOutput::Flattened(&mut out),
        false => SaveOutput::Stream(&mut out),
    };
    let saved = save(kernel, output, &args.options(), &progress);
    progress.end();
    let summary = saved.map_err(|error| match &error {
        SaveError::Write { why, .. } if why.kind() == io::ErrorKind::BrokenPipe => {
            Failure::new(format!("{error}: who was to read them is gone"))
        }
        _ => failed(&error, Failure::new),
    })?;
    told(args, "standard output", &summary);
    Ok(())
}

fn failed(error: &SaveError, failure: impl Fn(String) -> Failure) -> Failure {
    match error {
        SaveError::Write { why, .. } => {
            let failure = failure(format!("{error}: {why}"));
            match why.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    failure.hint("make room, or leave out more (-d 31)")
                }
                _ => failure,
            }
        }
        _ => failure(error.to_string()),
    }
}

/// Tells what was written, and what of it matters.
fn told(args: &SaveArgs, name: &str, summary: &SaveSummary) {
    if let Some(why) = &summary.why_less {
        tell(format_args!(
            "WARNING: pages could not be told apart ({}): level {} in place of {}",
            plain(&why.to_string()),
            summary.level,
            args.dump_level
        ));
    }
    if summary.unknown > 0 {
        tell(format_args!(
            "WARNING: of {} pages it could not be told what they are for: they are written",
            summary.unknown
        ));
    }
    if summary.lost > 0 {
        let first: Vec<String> = summary
            .first_lost
            .iter()
            .map(|at| format!("{at:#x}"))
            .collect();
        let more = if summary.lost > first.len() as u64 {
            " …"
        } else {
            ""
        };
        tell(format_args!(
            "WARNING: {} pages could not be read and are lost, at {}{more}",
            summary.lost,
            first.join(" ")
        ));
    }
    if args.quiet {
        return;
    }
    let mut parts = vec![format!("{} pages", summary.chosen - summary.lost)];
    if summary.zero > 0 {
        parts.push(format!("{} of them zeros", summary.zero));
    }
    let left_out: Vec<String> = summary
        .left_out
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {}", kind.name()))
        .collect();
    if !left_out.is_empty() {
        parts.push(format!("left out {}", left_out.join(", ")));
    }
    if summary.absent > 0 {
        parts.push(format!("{} were not in the source", summary.absent));
    }
    tell(format_args!(
        "{name}: {:.1} MB in {:.1} s: {}",
        summary.written as f64 / 1e6,
        summary.elapsed.as_secs_f64(),
        parts.join("; ")
    ));
}
