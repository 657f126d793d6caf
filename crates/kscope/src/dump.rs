//! Dumps: opened, and scripts run over them.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kscope_dump::{Dump, DumpOptions, Error as DumpError, Kernel};
use kscope_memory::Gap;
use kscope_rows::Schema;
use kscope_runtime::{
    DumpRequest, DumpSummary, Error as RunError, Options, Stop, compile_for_dump, live_kernel,
    run_on_dump,
};
use kscope_script::hir::Program;
use kscope_script::plan::Plan;

use crate::console::tell;
use crate::crash::plain;
use crate::error::Failure;
use crate::losses::losses;
use crate::place::Place;
use crate::sink::Sink;
use crate::tracing::{Setup, Source};

/// Opens a dump, which may be in several files, and finds the kernel in it.
pub(crate) fn open(files: &[PathBuf]) -> Result<Kernel, Failure> {
    open_with(files, DumpOptions::default())
}

/// Opens a dump as [`open`] does, with options.
pub(crate) fn open_with(files: &[PathBuf], options: DumpOptions) -> Result<Kernel, Failure> {
    let name = |file: &PathBuf| file.display().to_string();
    let names: Vec<String> = files.iter().map(name).collect();
    let names = names.join(" ");
    let dump =
        Dump::open_with(files, options).map_err(|error| {
            let why = match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            };
            // An error may repeat what the file says.
            let failure = Failure::new(format!("cannot open the dump {names}: {}", plain(&why)));
            match error {
            DumpError::Read { .. } if names == "/proc/vmcore" => failure.hint(
                "/proc/vmcore is there in a kernel that was started by a crash (kexec -p); give \
                 another dump",
            ),
            DumpError::NotADump => failure.hint(match files.iter().find_map(|file| packer(file)) {
                Some(packer) => format!("the file is packed: `{packer} FILE` unpacks it"),
                None => "dumps are ELF files or files of makedumpfile; docs/dump.md has the formats"
                    .to_owned(),
            }),
            DumpError::Read { .. } if files.iter().any(|file| is_pipe(file)) => {
                failure.hint("a pipe has no places to go back to: write the dump into a file")
            }
            _ => failure,
        }
        })?;
    let lost = dump.coverage();
    let kernel = Kernel::open(dump).map_err(|error| {
        let why = plain(&error.to_string());
        let failure = Failure::new(format!("there is no kernel to be found in {names}: {why}"));
        match lost.lost {
            0 if matches!(error, DumpError::Missing("VMCOREINFO")) => failure.hint(
                "kernels built with CONFIG_VMCORE_INFO (CONFIG_CRASH_CORE before 6.9) keep it in their memory, \
                 which this dump does not have: dump all of it; QEMU's `-device vmcoreinfo` puts it into \
                 the dumps of a guest",
            ),
            0 => failure,
            lost => failure.hint(format!(
                "{lost} bytes of the dump are lost: it was cut, or a file of it is missing"
            )),
        }
    })?;
    tell_lost(&kernel);
    Ok(kernel)
}

/// Gives the program that unpacks a file, where its first bytes say that it is packed.
fn packer(file: &Path) -> Option<&'static str> {
    let mut start = [0; 4];
    File::open(file).ok()?.read_exact(&mut start).ok()?;
    match start {
        [0x1f, 0x8b, ..] => Some("gunzip"),
        [0xfd, b'7', b'z', b'X'] => Some("unxz"),
        [0x28, 0xb5, 0x2f, 0xfd] => Some("unzstd"),
        [b'B', b'Z', b'h', _] => Some("bunzip2"),
        _ => None,
    }
}

fn is_pipe(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|about| about.file_type().is_fifo())
}

/// Opens the running kernel, whose memory is then read.
pub(crate) fn running(place: &Place) -> Result<Kernel, Failure> {
    let btf = place.types()?.clone();
    live_kernel(&place.target, btf).map_err(|error| Failure::of_run(&error, "", false))
}

/// Tells how much of a dump is not there that should be.
fn tell_lost(kernel: &Kernel) {
    let Some(coverage) = kernel.dump().map(Dump::coverage) else {
        return;
    };
    if coverage.lost > 0 {
        let share = coverage.lost as f64 * 100.0 / coverage.dumped.max(1) as f64;
        let share = match share < 0.05 {
            true => "less than 0.1".to_owned(),
            false => format!("{share:.1}"),
        };
        tell(format_args!(
            "WARNING: the dump is not whole: {share} % of the memory in it is lost"
        ));
    }
    if kernel.dump().is_some_and(Dump::lacks_files) {
        tell("HINT: it was split: the other files are given with `--part`, or by more `--dump`");
    }
}

/// Time over which memory of a running kernel was read that is told.
const TELL_AGE: Duration = Duration::from_secs(1);

/// How a script is run over a dump.
pub(crate) struct DumpRun<'a> {
    /// Name that rows carry.
    pub(crate) name: &'a str,
    /// Values of the script's options as given.
    pub(crate) options: &'a [(String, Option<String>)],
    /// Whether the number of probes is not told.
    pub(crate) quiet: bool,
    /// Finds the columns of a table, which has its header where there are no rows.
    pub(crate) columns: Option<&'a Columns<'a>>,
}

/// Gives the columns of the rows that a script prints; none where they have several shapes.
pub(crate) type Columns<'a> = dyn Fn(&Plan, &Program) -> Option<Arc<Schema>> + 'a;

/// Compiles a script for a kernel in a dump, runs it and gives the exit code.
pub(crate) fn run(
    kernel: &Kernel,
    setup: &Setup,
    source: &Source,
    run: &DumpRun<'_>,
    sink: &mut Sink,
) -> Result<u8, Failure> {
    let failed = |error| Failure::of_run(&error, &source.text, false);
    if source.text.trim().is_empty() {
        return Err(Failure::new(format!(
            "{} is empty: there is no script in it",
            source.name
        )));
    }
    let (code, findings) =
        compile_for_dump(kernel, &source.text, &|inputs| setup.fill(source, inputs))
            .map_err(failed)?;
    setup.tell(source, &findings);
    let code = code.ok_or_else(Failure::told)?;
    let options = Options::parse(&code.plan, run.options).map_err(failed)?;
    let columns = run.columns.map(|find| find(&code.plan, &code.program));
    let request = DumpRequest {
        code,
        options,
        name: run.name.to_owned(),
        file: source.name.clone(),
        source: source.text.clone(),
        imported: source.imported_files(),
        render: Some(kscope_view::render),
        quiet: run.quiet,
    };
    let interrupts = sink.interrupts();
    let full = sink.is_full();
    // At a prompt earlier runs may have been interrupted.
    let before = interrupts.count();
    let stop = move || full.get() || interrupts.count() > before;
    let summary = run_on_dump(kernel, request, sink, &stop).map_err(|error| {
        let no_symbol = matches!(error, RunError::Dump(DumpError::NoSymbol(_)));
        let failure = failed(error);
        match no_symbol && kernel.is_running() {
            true => failure.hint(
                "/proc/kallsyms has the names of variables only of kernels built with \
                 CONFIG_KALLSYMS_ALL",
            ),
            false => failure,
        }
    })?;
    // A tool that failed has no table; the rows of one that has some came with their header.
    let is_whole = !matches!(summary.stop, Stop::Exit(code) if code != 0);
    if let Some(columns) = columns.flatten().filter(|_| is_whole) {
        sink.begin(&columns)?;
    }
    sink.finish()?;
    losses(&summary.summary).iter().for_each(tell);
    tell_missing(&summary);
    Ok(match summary.stop {
        Stop::Exit(code) => code as u8,
        Stop::Asked | Stop::Child(_) => 0,
    })
}

/// Tells what of the memory that the script read was not there.
fn tell_missing(summary: &DumpSummary) {
    if let Some(age) = summary.age.filter(|age| *age >= TELL_AGE) {
        tell(format_args!(
            "NOTE: the running kernel's memory was read over {:.1} s; what changes may not fit together",
            age.as_secs_f64()
        ));
    }
    for fault in &summary.faults {
        tell(format_args!("WARNING: {fault}"));
    }
    let reads = &summary.reads;
    if reads.missing() > 0 {
        let kinds = [Gap::Excluded, Gap::Lost, Gap::Corrupt, Gap::Unmapped];
        let why = kinds.iter().filter(|gap| reads.of(**gap) > 0);
        let why: Vec<String> = why.map(|gap| format!("{} {gap}", reads.of(*gap))).collect();
        tell(format_args!(
            "WARNING: {} of {} reads failed, whose values are zero or empty: {}",
            reads.missing(),
            reads.all,
            why.join(", ")
        ));
    }
}
