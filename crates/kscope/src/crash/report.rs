//! `kscope crash VMCORE report`

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Parser as _};
use kscope_rows::Value;

use super::line::{Line, without_words};
use super::{Session, plain, proceed};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::console::{divert, say};
use crate::error::Failure;

/// Write every analysis into a new folder, as text and as JSON
///
/// `index.txt` says what is there, what failed and why; `index.json` says the same for programs.
#[derive(Args, Debug)]
pub(super) struct ReportArgs {
    /// The folder, which is made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// What is written beside each sub-command that needs no words: the name of its files, and the words.
const MORE: &[(&str, &str)] = &[
    ("bt-cpus", "bt --cpus"),
    ("bt-all", "bt --all"),
    ("bt-groups", "bt --all --group"),
    ("bt-blocked", "bt --blocked"),
];

/// An analysis that was written.
struct Written {
    name: String,
    words: String,
    /// Why it failed.
    failure: Option<String>,
    /// What it told of what it could not read.
    notes: Vec<String>,
    milliseconds: u64,
}

pub(super) fn run(session: &Session, args: &ReportArgs) -> Result<(), Failure> {
    let folder = &args.folder;
    make(folder)?;
    let free = without_words().into_iter().map(|name| (name.clone(), name));
    let more = MORE.iter();
    let more = more.map(|(name, words)| ((*name).to_owned(), (*words).to_owned()));
    let mut all = Vec::new();
    for (name, words) in free.chain(more) {
        all.extend(one(session, folder, name, words)?);
        if proceed(&session.kernel).is_err() {
            break;
        }
    }
    write(folder, "index.txt", &index(session, &all))?;
    let (listed, _) = divert(create(folder, "index.json")?, false, || {
        listing(&all).print(true)
    });
    listed?;
    proceed(&session.kernel).map_err(|stopped| {
        stopped.hint(format!("{}/index.txt says what is there", folder.display()))
    })?;
    let failed = all.iter().filter(|one| one.failure.is_some()).count();
    let folder = folder.display();
    let done = all.len() - failed;
    if done == 0 {
        let failure = Failure::new("every analysis failed");
        return Err(failure.hint(format!("{folder}/index.txt says why")));
    }
    let mut told = format!("{done} analyses are in {folder}");
    if failed > 0 {
        let _ = write!(told, ", {failed} failed; index.txt says why");
    }
    Ok(say(told + "\n")?)
}

/// Makes the folder.
fn make(folder: &Path) -> Result<(), Failure> {
    fs::create_dir(folder).map_err(|error| {
        let failure = Failure::new(format!("cannot make {}: {error}", folder.display()));
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure
                .hint("a report is written to a folder of its own, over nothing that is there"),
            _ => failure,
        }
    })
}

fn create(folder: &Path, name: &str) -> Result<File, Failure> {
    let path = folder.join(name);
    File::create_new(&path)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

fn write(folder: &Path, name: &str, contents: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    fs::write(&path, contents)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

/// Writes an analysis in both forms; none where the words are of what is none. Words that cannot be
/// read are a failure of their own.
fn one(
    session: &Session,
    folder: &Path,
    name: String,
    words: String,
) -> Result<Option<Written>, Failure> {
    let begun = Instant::now();
    let line = match Line::try_parse_from(words.split(' ')) {
        Ok(line) => line,
        Err(error) => {
            return Ok(Some(Written {
                name,
                words,
                failure: Some(format!("its words cannot be read: {error}")),
                notes: Vec::new(),
                milliseconds: 0,
            }));
        }
    };
    let Some(analysis) = line.command.analysis() else {
        return Ok(None);
    };
    let mut failure = None;
    let mut notes: Vec<String> = Vec::new();
    for (json, suffix) in [(false, "txt"), (true, "json")] {
        let file = format!("{name}.{suffix}");
        let out = create(folder, &file)?;
        let (done, told) = divert(out, true, || session.look(analysis, json));
        for line in told.lines() {
            if !notes.iter().any(|note| note == line) {
                notes.push(line.to_owned());
            }
        }
        if let Err(error) = done {
            failure = failure.or(Some(error.said()));
            // What was written before it failed is kept.
            let path = folder.join(&file);
            if fs::metadata(&path).is_ok_and(|about| about.len() == 0) {
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok(Some(Written {
        name,
        words,
        failure,
        notes,
        milliseconds: begun.elapsed().as_millis() as u64,
    }))
}

/// Says what is there, what failed and why.
fn index(session: &Session, all: &[Written]) -> String {
    let mut out = String::new();
    let dump = session.file.display().to_string();
    let release = plain(session.kernel.release());
    let _ = writeln!(out, "dump    {}", plain(&dump));
    let _ = writeln!(out, "kernel  {release}");
    let _ = writeln!(out, "kscope  {}\n", env!("CARGO_PKG_VERSION"));
    let width = |of: fn(&Written) -> &str| all.iter().map(|one| of(one).len()).max().unwrap_or(0);
    let (names, words) = (width(|one| &one.name), width(|one| &one.words));
    for one in all {
        let state = match &one.failure {
            None => "done",
            Some(_) => "FAILED",
        };
        let line = format!(
            "{:names$}  {:words$}  {state:6}  {:5} ms",
            one.name, one.words, one.milliseconds
        );
        let _ = writeln!(out, "{line}");
        let why = one.failure.iter().flat_map(|why| why.lines());
        for said in why.chain(one.notes.iter().map(String::as_str)) {
            let _ = writeln!(out, "{:names$}    {}", "", plain(said));
        }
    }
    out
}

fn listing(all: &[Written]) -> Listing {
    let columns = [
        ("name", Holds::Text),
        ("command", Holds::Text),
        ("failure", Holds::Text),
        ("notes", Holds::List),
        ("time_ms", Holds::Number),
    ];
    let mut listing = Listing::new("report", &columns);
    for one in all {
        let notes = one.notes.iter().cloned().map(Value::Text);
        listing.push(vec![
            text(one.name.clone()),
            text(one.words.clone()),
            one.failure.clone().map_or(Value::None, Value::Text),
            Value::Array(notes.collect()),
            number(one.milliseconds),
        ]);
    }
    listing
}

#[cfg(test)]
mod changed;
