//! `kscope bpf check`

mod elsewhere;

use std::path::PathBuf;

use clap::Args;
use kscope_bpf::btf::Btf;
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{Error, Loader};
use kscope_rows::Value;
use kscope_spec::core::Target;
use kscope_spec::{ProgramSpec, Spec};

use super::listing::{Holds, Listing, kind, text};
use super::object::{no_program, no_programs, read_file, read_spec};
use crate::commands::btf::{of_file, shown};
use crate::console::{say, tell};
use crate::error::Failure;
use crate::object::unreadable_plan;
use crate::place::Place;
use elsewhere::Elsewhere;

/// Tell whether the programs of an object file would load, and why not
///
/// Without --btf each program is loaded into the running kernel, without being attached, what it is to
/// be attached to is looked for, and the verifier's statistics are shown. `by hand` is said of
/// programs whose sections do not name what they attach to.
///
/// With --btf nothing is loaded and no verifier is asked: the column `fits` says whether what the
/// programs ask of the types of another kernel is there, and `-` stands for what types do not tell.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Look for types, members and functions in this BTF file, of another kernel; may be repeated
    #[arg(long, value_name = "FILE")]
    btf: Vec<PathBuf>,
    /// Look at this program alone; may be repeated
    #[arg(long, value_name = "NAME")]
    program: Vec<String>,
    /// Print an object a line
    #[arg(long)]
    json: bool,
    /// The object file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What the verifier tells of its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Statistics {
    insns: Option<u64>,
    states: Option<u64>,
    peak_states: Option<u64>,
    duration_us: Option<u64>,
    stack: Option<u64>,
}

/// What is known of attaching a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Attaches {
    #[default]
    Unknown,
    Yes,
    No,
    /// Its section does not name what it attaches to.
    ByHand,
}

/// What is known of a program on a target.
#[derive(Default)]
struct Verdict {
    /// Whether it loads, or, of types alone, whether what it asks for is there.
    loads: bool,
    /// Whether what its section names is there, where that is known.
    attaches: Attaches,
    reason: String,
    /// Source line and instruction that the verifier complains about.
    place: Option<String>,
    /// What can be done about it.
    hint: Option<&'static str>,
    statistics: Statistics,
}

/// Runs the command.
pub(super) fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let bytes = read_file(&args.file)?;
    let spec = read_spec(&args.file, &bytes)?;
    if let Some(name) = args
        .program
        .iter()
        .find(|name| spec.program_named(name).is_none())
    {
        return Err(no_program(&spec, &args.file, name));
    }
    if spec.programs.is_empty() {
        return Err(no_programs(&args.file));
    }
    let wanted =
        |program: &&ProgramSpec| args.program.is_empty() || args.program.contains(&program.name);
    // Types tell less than a kernel does.
    let answer = match args.btf.is_empty() {
        true => "loads",
        false => "fits",
    };
    let mut listing = Listing::new(
        "bpf check",
        &[
            ("kernel", Holds::Text),
            ("program", Holds::Text),
            ("type", Holds::Text),
            (answer, Holds::Text),
            ("attaches", Holds::Text),
            ("insns", Holds::Number),
            ("states", Holds::Number),
            ("peak_states", Holds::Number),
            ("stack_bytes", Holds::Number),
            ("duration_us", Holds::Number),
            ("reason", Holds::Text),
            ("place", Holds::Text),
            ("hint", Holds::Text),
        ],
    );
    let mut all = true;
    let mut details = String::new();
    let mut push = |kernel: &str, program: &ProgramSpec, verdict: Verdict| {
        all &= verdict.loads && verdict.attaches != Attaches::No;
        details.push_str(&detail(
            kernel,
            &program.name,
            &verdict,
            args.btf.is_empty(),
        ));
        let count = |number: Option<u64>| number.map_or(Value::None, Value::Uint);
        let Statistics {
            insns,
            states,
            peak_states,
            duration_us,
            stack,
        } = verdict.statistics;
        listing.push(vec![
            text(kernel),
            text(&program.name),
            text(kind(&format!("{:?}", program.kind))),
            text(yes(verdict.loads)),
            match verdict.attaches {
                Attaches::Unknown => Value::None,
                Attaches::Yes => text("yes"),
                Attaches::No => text("no"),
                Attaches::ByHand => text("by hand"),
            },
            count(insns),
            count(states),
            count(peak_states),
            count(stack),
            count(duration_us),
            text(verdict.reason),
            verdict.place.map_or(Value::None, text),
            verdict.hint.map_or(Value::None, text),
        ]);
    };
    if args.btf.is_empty() {
        let place = Place::open(None)?;
        for program in spec.programs.iter().filter(wanted) {
            let verdict = load(
                place.target.kernel(),
                place.btf.as_ref().ok(),
                &spec,
                program,
            );
            push("this one", program, verdict);
        }
    } else {
        tell(
            "NOTE: with --btf nothing is loaded: types, members and functions are looked up, the verifier is not asked",
        );
        let local = match spec.types.is_empty() {
            true => None,
            false => Btf::parse(spec.types.clone()).ok(),
        };
        for path in &args.btf {
            let btf = of_file(path, None)?;
            let name = path.display().to_string();
            let elsewhere = Elsewhere {
                spec: &spec,
                local: local.as_ref(),
                btf: &btf,
                target: Target::new(&btf).called(shown(path)),
            };
            for program in spec.programs.iter().filter(wanted) {
                push(&name, program, elsewhere.look_up(program));
            }
        }
    }
    if args.json {
        listing.print(true)?;
    } else {
        // What is wrong is whole sentences, which no terminal is wide enough for beside figures.
        let columns: &[&str] = match args.btf.is_empty() {
            true => &FIGURES,
            false => &["kernel", "program", "fits", "attaches"],
        };
        listing.of_columns(columns).print(false)?;
        say(details)?;
    }
    if let Some(error) = unreadable_plan(&bytes) {
        let failure = Failure::new(format!("`kscope run` refuses the object: {error}"));
        return Err(failure.hint(error.way_out()));
    }
    Ok(if all { 0 } else { crate::error::FAILED })
}

/// Columns of the table: together they fit into a terminal.
const FIGURES: [&str; 6] = [
    "program",
    "loads",
    "attaches",
    "insns",
    "stack_bytes",
    "duration_us",
];

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// Says what is wrong with a program; nothing where all is well.
fn detail(kernel: &str, program: &str, verdict: &Verdict, is_this_kernel: bool) -> String {
    if verdict.reason.is_empty() {
        return String::new();
    }
    let mut text = match is_this_kernel {
        true => format!("\n{program}: {}\n", verdict.reason),
        false => format!("\n{program} on {kernel}: {}\n", verdict.reason),
    };
    if let Some(place) = &verdict.place {
        text.push_str(&format!("  at {place}\n"));
    }
    if let Some(hint) = verdict.hint {
        text.push_str(&format!("  HINT: {hint}\n"));
    }
    text
}

/// Loads a program by itself, with the maps of its object.
fn load(kernel: &SharedKernel, btf: Option<&Btf>, spec: &Spec, program: &ProgramSpec) -> Verdict {
    let loader = Loader::new(kernel.clone())
        .btf(btf)
        .only([program.name.as_str()])
        .log_level(4);
    let of_error = |error: &Error| Verdict {
        reason: error.to_string(),
        hint: error.way_out(),
        statistics: match error {
            Error::Rejected { log, .. } | Error::Unresolved { log, .. } => statistics(&log.text),
            _ => Statistics::default(),
        },
        ..Verdict::default()
    };
    let object = match loader.load(spec) {
        Ok(object) => object,
        Err(error) => return of_error(&error),
    };
    if let Some(failure) = object.failures().next() {
        return Verdict {
            place: failure.position(),
            ..of_error(&failure.error)
        };
    }
    match object.program_named(&program.name) {
        Some(loaded) => {
            let target = loaded.look_for_target();
            let error = target.as_ref().err();
            Verdict {
                loads: true,
                attaches: match (error, loaded.needs_target()) {
                    (Some(_), _) => Attaches::No,
                    (None, Some(_)) => Attaches::ByHand,
                    (None, None) => Attaches::Yes,
                },
                reason: error.map_or_else(String::new, |error| {
                    format!("it loads, and cannot be attached: {error}")
                }),
                hint: error.and_then(Error::way_out),
                statistics: loaded
                    .log()
                    .map(|log| statistics(&log.text))
                    .unwrap_or_default(),
                ..Verdict::default()
            }
        }
        None => Verdict {
            reason: "it was not loaded".to_owned(),
            ..Verdict::default()
        },
    }
}

/// Reads what the verifier writes at its end.
fn statistics(log: &str) -> Statistics {
    let mut found = Statistics::default();
    for line in log.lines() {
        if let Some(rest) = line.strip_prefix("verification time ") {
            found.duration_us = first_number(rest);
        } else if let Some(rest) = line.strip_prefix("stack depth ") {
            // One number for each function, `0+16`.
            let depths = rest.split('+').filter_map(first_number);
            found.stack = depths.max();
        } else if let Some(rest) = line.strip_prefix("processed ") {
            found.insns = first_number(rest);
            let words: Vec<&str> = rest.split_whitespace().collect();
            for pair in words.windows(2) {
                match pair {
                    ["total_states", count] => found.states = first_number(count),
                    ["peak_states", count] => found.peak_states = first_number(count),
                    _ => {}
                }
            }
        }
    }
    found
}

fn first_number(text: &str) -> Option<u64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_of_the_verifier() {
        let log = "verification time 113 usec\nstack depth 16+0\nprocessed 23 insns (limit 1000000) \
            max_states_per_insn 0 total_states 2 peak_states 1 mark_read 1\n";
        let expected = Statistics {
            insns: Some(23),
            states: Some(2),
            peak_states: Some(1),
            duration_us: Some(113),
            stack: Some(16),
        };
        assert_eq!(statistics(log), expected);
        assert_eq!(
            statistics("processed\nverification time x"),
            Statistics::default()
        );
    }

    #[test]
    fn what_is_wrong_stands_below_the_table() {
        let check = |verdict: Verdict, is_this: bool, expected: &str| {
            assert_eq!(detail("k.btf", "p", &verdict, is_this), expected);
        };
        check(Verdict::default(), true, "");
        let verdict = || Verdict {
            reason: "there is no tracepoint a:b".to_owned(),
            place: Some("x.c:7".to_owned()),
            hint: Some("look"),
            ..Verdict::default()
        };
        check(
            verdict(),
            true,
            "\np: there is no tracepoint a:b\n  at x.c:7\n  HINT: look\n",
        );
        assert!(detail("k.btf", "p", &verdict(), false).starts_with("\np on k.btf: there"));
    }
}
