//! `kscope crash VMCORE shell`: one thing after the other is asked of a kernel that is opened once.

mod complete;
mod history;
mod prompt;
mod words;

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use clap::{Args, Parser as _};
use kscope_sys::Interrupts;

use self::words::Words;
use super::line::{self, Line};
use super::script::ScriptArgs;
use super::{Command, Session, plain};
use crate::console::{divert, say, tell};
use crate::error::{FAILED, Failure};

/// Longest line in bytes.
const LINE: u64 = 1 << 20;
/// How many characters are shown of a longer one.
const SHOWN: usize = 60;

/// Ask one thing after the other, at a prompt
///
/// The sub-commands are those of `kscope crash VMCORE`, without that. `COMMAND | less` gives output to
/// a command of the shell, `COMMAND > FILE` to a file. A line that begins with `begin` or `iter:` is a script. Tab completes
/// commands, types, members, symbols and names of tasks. Where standard input is no terminal its lines
/// are run, and the exit code is that of the first that failed.
#[derive(Args, Debug)]
pub(super) struct ShellArgs {}

/// Reads lines and runs them, and gives the exit code.
pub(super) fn run(session: &Session, json: bool) -> Result<u8, Failure> {
    match io::stdin().is_terminal() {
        true => interactive(session, json),
        false => batch(session, json),
    }
}

fn interactive(session: &Session, json: bool) -> Result<u8, Failure> {
    say(format_args!(
        "Linux {}; `help` lists the commands, Ctrl-D ends\n",
        plain(session.kernel.release())
    ))?;
    // How many signals came before the line.
    let before = Arc::new(AtomicU32::new(0));
    let is_caught = Arc::clone(&before);
    prompt::read(&session.kernel, |line| {
        // Ctrl-C ends what a line does, not the prompt.
        match Interrupts::install() {
            Ok(interrupts) => {
                before.store(interrupts.count(), Ordering::Relaxed);
                let before = Arc::clone(&is_caught);
                let stop = move || interrupts.count() > before.load(Ordering::Relaxed);
                session.kernel.stop_when(stop);
            }
            Err(errno) => tell(format_args!("NOTE: cannot catch signals: {errno}")),
        }
        let answer = answer(session, line, json);
        Interrupts::release();
        match answer {
            Answer::End => return ControlFlow::Break(()),
            Answer::Ran(Ok(_)) => {}
            Answer::Ran(Err(failure)) => failure.tell(),
        }
        ControlFlow::Continue(())
    })?;
    Ok(0)
}

/// Runs the lines of standard input.
fn batch(session: &Session, json: bool) -> Result<u8, Failure> {
    let mut code = 0;
    for number in 1.. {
        // A script of `run -` is what is left of the input, so that it is not held on to.
        let read = one_line(&mut io::stdin().lock());
        let read = read.map_err(|error| {
            let what = format!("cannot read standard input: {error}");
            Failure::new(what)
        })?;
        let Some(read) = read else {
            break;
        };
        let line = String::from_utf8_lossy(&read.bytes).into_owned();
        let answer = match read.is_whole {
            true => answer(session, line.trim_end_matches(['\n', '\r']), json),
            false => Answer::Ran(Err(Failure::usage(format!(
                "the line is longer than {LINE} bytes; a script of that length is a file for `run FILE`"
            )))),
        };
        let Answer::Ran(done) = answer else {
            break;
        };
        let own = match done {
            Ok(own) => own,
            Err(failure) => {
                failure.tell();
                failure.code()
            }
        };
        if own != 0 {
            let shown = match read.is_whole {
                true => plain(line.trim()),
                false => plain(&line.chars().take(SHOWN).collect::<String>()) + "…",
            };
            tell(format_args!("line {number} failed: {shown}"));
            code = if code == 0 { own } else { code };
        }
    }
    Ok(code)
}

/// A line of the input.
struct Read {
    bytes: Vec<u8>,
    /// Whether that is all of it; what is behind the first [`LINE`] bytes is not kept.
    is_whole: bool,
}

/// Reads a line up to its end; none at the end of the input.
fn one_line(input: &mut dyn io::BufRead) -> io::Result<Option<Read>> {
    let mut bytes = Vec::new();
    io::Read::take(&mut *input, LINE).read_until(b'\n', &mut bytes)?;
    let is_ended = bytes.ends_with(b"\n");
    if is_ended || (bytes.len() as u64) < LINE {
        let is_whole = true;
        return Ok((!bytes.is_empty()).then_some(Read { bytes, is_whole }));
    }
    let mut is_whole = true;
    loop {
        let rest = match input.fill_buf() {
            Ok(rest) => rest,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = rest.iter().position(|byte| *byte == b'\n');
        let len = end.map_or(rest.len(), |end| end + 1);
        let is_last = end.is_some() || rest.is_empty();
        // Its end alone makes it no longer.
        is_whole &= rest.is_empty() || end == Some(0);
        input.consume(len);
        if is_last {
            return Ok(Some(Read { bytes, is_whole }));
        }
    }
}

/// What became of a line.
enum Answer {
    /// It was run, with this exit code.
    Ran(Result<u8, Failure>),
    /// It ends the prompt.
    End,
}

/// Runs a line.
fn answer(session: &Session, line: &str, json: bool) -> Answer {
    let line = line.trim();
    if is_script(line) {
        let script = ScriptArgs::of(line);
        return Answer::Ran(session.run(&Command::Run(script), json));
    }
    let words = match words::split(line) {
        Ok(words) => words,
        Err(why) => {
            return Answer::Ran(Err(Failure::usage(format!("cannot read the line: {why}"))));
        }
    };
    match words.words.first().map(String::as_str) {
        None if words.pipe.is_some() => {
            let failure = Failure::usage("there is no command before the `|` or `>`");
            Answer::Ran(Err(failure))
        }
        None => Answer::Ran(Ok(0)),
        Some("exit" | "quit") => Answer::End,
        Some(_) => Answer::Ran(piped(session, &words, json)),
    }
}

/// Tells whether a line is a script: it begins with a probe that needs no event.
fn is_script(line: &str) -> bool {
    let rest = ["begin", "BEGIN", "end", "END"]
        .iter()
        .find_map(|probe| line.strip_prefix(probe));
    let is_probe = |rest: &str| rest.trim_start().starts_with(['{', '/', ',']);
    line.starts_with("iter:") || rest.is_some_and(is_probe)
}

/// Runs words, whose output may go to a command of the shell.
fn piped(session: &Session, words: &Words, json: bool) -> Result<u8, Failure> {
    let Some(command) = &words.pipe else {
        return one(session, &words.words, json);
    };
    let failed = |error: io::Error| Failure::new(format!("cannot run `{command}`: {error}"));
    let mut process = Process::new("/bin/sh");
    process.arg("-c").arg(command).stdin(Stdio::piped());
    let mut child = process.spawn().map_err(failed)?;
    let done = match child.stdin.take() {
        Some(stdin) => {
            let out = File::from(OwnedFd::from(stdin));
            divert(out, false, || one(session, &words.words, json)).0
        }
        None => Ok(0),
    };
    let status = loop {
        match child.wait() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            waited => break waited.map_err(failed)?,
        }
    };
    // One that had enough of the output closed its end, which is no failure.
    let is_done = match &done {
        Ok(code) => *code == 0,
        Err(failure) => failure.code() == 0,
    };
    match (is_done, status.success()) {
        (true, true) => Ok(0),
        (true, false) => Ok(FAILED),
        (false, _) => done,
    }
}

/// Runs a sub-command.
fn one(session: &Session, words: &[String], json: bool) -> Result<u8, Failure> {
    if let Some(("help", rest)) = words.split_first().map(|(first, rest)| (&**first, rest)) {
        return help(rest);
    }
    match Line::try_parse_from(words) {
        Ok(line) => match line.command {
            Command::Shell(_) => Err(Failure::usage("this is the prompt already")),
            command => session.run(&command, json || line.json),
        },
        Err(error) if error.use_stderr() => crate::cli::usage(&error),
        // What is asked for of help goes where output goes.
        Err(error) => {
            say(error.render())?;
            Ok(0)
        }
    }
}

/// Prints the commands, or what one of them does.
fn help(words: &[String]) -> Result<u8, Failure> {
    let mut all = line::all();
    let Some(name) = words.first() else {
        let shown = all
            .get_subcommands()
            .filter(|sub| sub.get_name() != "shell");
        let lines: Vec<(String, String)> = shown
            .map(|sub| {
                let about = sub.get_about().map(ToString::to_string);
                (sub.get_name().to_owned(), about.unwrap_or_default())
            })
            .collect();
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, about) in lines {
            text.push_str(&format!("  {name:width$}  {about}\n"));
        }
        text.push_str(
            "\n`help COMMAND` says more. `COMMAND | less` gives the output to a command of the shell,\n\
             `COMMAND > FILE` to a file.\n\
             A line that begins with `begin` or `iter:` is a script. `exit` or Ctrl-D ends.\n",
        );
        say(text)?;
        return Ok(0);
    };
    match all.find_subcommand_mut(name) {
        Some(sub) => {
            let help = sub.render_long_help();
            say(help)?;
            Ok(0)
        }
        None => {
            let failure = Failure::new(format!("there is no command `{}`", plain(name)));
            Err(failure.hint("`help` lists them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE, is_script, one_line};

    #[test]
    fn lines_that_are_too_long_are_passed_over() {
        let check = |text: &str, expected: &[(usize, bool)]| {
            let mut input = text.as_bytes();
            let mut found = Vec::new();
            while let Some(read) = one_line(&mut input).expect("memory") {
                found.push((read.bytes.len(), read.is_whole));
            }
            assert_eq!(found, expected);
        };
        let most = LINE as usize;
        let line = |len: usize| "x".repeat(len);
        check("", &[]);
        check("a\n\nb", &[(2, true), (1, true), (1, true)]);
        check(&line(most), &[(most, true)]);
        check(&(line(most) + "\nlog\n"), &[(most, true), (4, true)]);
        check(&(line(most - 1) + "\nlog"), &[(most, true), (3, true)]);
        check(&(line(most + 1) + "\nlog\n"), &[(most, false), (4, true)]);
        check(&line(3 * most), &[(most, false)]);
    }

    #[test]
    fn lines_that_are_scripts() {
        let check = |line, expected| assert_eq!(is_script(line), expected, "{line}");
        check("iter:task { print(1); }", true);
        check("begin { print(1); }", true);
        check("BEGIN{ print(1); }", true);
        check("end /1/ { }", true);
        check("begin", false);
        check("bt --all", false);
        check("end_something", false);
    }
}
