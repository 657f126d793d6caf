//! The command line.

use std::ffi::{OsStr, OsString};
use std::io::IsTerminal as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::bindgen::BindgenArgs;
use crate::commands::bpf::BpfArgs;
use crate::commands::btf::BtfArgs;
use crate::commands::build::BuildArgs;
use crate::commands::check::CheckArgs;
use crate::commands::completions::CompletionsArgs;
use crate::commands::doctor::DoctorArgs;
use crate::commands::kdump::KdumpArgs;
use crate::commands::link::LinkArgs;
use crate::commands::list::ListArgs;
use crate::commands::man::ManArgs;
use crate::commands::run::RunArgs;
use crate::commands::stacks::StacksArgs;
use crate::commands::tools::ToolsArgs;
use crate::commands::{
    bindgen, bpf, btf, build, check, completions, doctor, kdump, link, list, man, run, stacks,
    tool, tools,
};
use crate::console::tell;
use crate::crash::{self, CrashArgs};
use crate::error::{Failure, USAGE};
use crate::habits;
use crate::tool::Tool;

/// Asks a Linux kernel a question in one small language.
///
/// The language is bpftrace's: `kscope -e 'tracepoint:syscalls:sys_enter_openat { @[comm] =
/// count(); }'` counts who opens files until Ctrl-C.
#[derive(Debug, Parser)]
#[command(
    name = "kscope",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(RunArgs),
    Check(CheckArgs),
    Build(BuildArgs),
    Link(LinkArgs),
    List(ListArgs),
    Tools(ToolsArgs),
    Stacks(StacksArgs),
    Crash(CrashArgs),
    Kdump(KdumpArgs),
    Doctor(DoctorArgs),
    Bpf(BpfArgs),
    Btf(BtfArgs),
    Bindgen(BindgenArgs),
    Completions(CompletionsArgs),
    #[command(hide = true)]
    Man(ManArgs),
    /// A built-in tool; `kscope tools` lists them
    #[command(external_subcommand)]
    Tool(Vec<OsString>),
}

/// Gives the whole command line, with the names of the tools in its help.
pub(crate) fn command() -> clap::Command {
    let width = Tool::all().map(|tool| tool.name.len()).max().unwrap_or(0);
    let lines: Vec<String> = Tool::all()
        .map(|tool| format!("  {:width$}  {}", tool.name, tool.summary()))
        .collect();
    let tools = format!("Tools (kscope TOOL --help):\n{}", lines.join("\n"));
    Cli::command().after_help(tools)
}

/// Runs what the command line says and gives the exit code.
pub(crate) fn run(mut arguments: Vec<OsString>) -> Result<u8, Failure> {
    let tool = |word: Option<&OsString>| word.and_then(|name| Tool::find(name.to_str()?));
    if arguments.get(1).is_some_and(|word| is_for_run(word)) {
        arguments.insert(1, "run".into());
    } else if arguments.get(1).is_some_and(|word| word == "help")
        && tool(arguments.get(2)).is_some()
    {
        arguments.remove(1);
        arguments.truncate(2);
        arguments.push("--help".into());
    }
    let runs = arguments.get(1).is_some_and(|word| word == "run");
    let matches = match command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) if runs => {
            let failure = unknown(&error).and_then(|flag| habits::refuse(&flag, &arguments));
            return failure.map_or_else(|| usage(&without_chance(error)), Err);
        }
        Err(error) => return usage(&without_chance(error)),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Link(args) => link::run(&args),
        Command::List(args) => list::run(&args),
        Command::Tools(args) => tools::run(&args),
        Command::Stacks(args) => stacks::run(&args),
        Command::Crash(args) => crash::run(&args),
        Command::Kdump(args) => kdump::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Bpf(args) => bpf::run(&args),
        Command::Btf(args) => btf::run(&args),
        Command::Bindgen(args) => bindgen::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Tool(words) => tool::run(&words),
    }
}

/// Says whether the first word belongs to `run`, which may be left out: a flag of it as in
/// `kscope -e SCRIPT`, or a file of a script as its first line `#!/usr/bin/env kscope` gives it.
fn is_for_run(word: &OsStr) -> bool {
    let own = ["-h", "--help", "-V", "--version"];
    let bytes = word.as_encoded_bytes();
    let is_flag = bytes.len() > 1 && bytes.starts_with(b"-") && own.iter().all(|own| word != *own);
    is_flag || bytes.contains(&b'/') || bytes.ends_with(b".bt") || bytes.ends_with(b".bpf.o")
}

/// Gives the flag that no command knows.
fn unknown(error: &clap::Error) -> Option<String> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(flag))) => Some(flag.clone()),
        _ => None,
    }
}

/// Takes back the name of a flag that is near to one of a few letters by chance: those letters may be
/// an option of the script.
fn without_chance(mut error: clap::Error) -> clap::Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.trim_start_matches('-').to_owned()),
        _ => None,
    };
    let (given, near) = (
        text(ContextKind::InvalidArg),
        text(ContextKind::SuggestedArg),
    );
    if let Some((given, near)) = given.zip(near) {
        let given = given.split('=').next().unwrap_or_default();
        if kscope_btf::nearest(given, [&*near].into_iter(), 1).is_empty() {
            error.remove(ContextKind::SuggestedArg);
        }
    }
    error
}

/// Prints what clap has to say: help and version to standard output, errors to standard error.
pub(crate) fn usage(error: &clap::Error) -> Result<u8, Failure> {
    if !error.use_stderr() {
        // Where even that cannot be written there is nobody to tell.
        let _ = error.print();
        return Ok(0);
    }
    let text = error.render();
    let text = match std::io::stderr().is_terminal() {
        true => text.ansi().to_string(),
        false => text.to_string(),
    };
    // Errors of the command line look like all others.
    tell(text.replacen("error:", "ERROR:", 1).trim_end());
    Ok(USAGE)
}

#[cfg(test)]
mod tests {
    use super::{Tool, command, is_for_run};

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn commands_and_tools_share_one_namespace() {
        for tool in Tool::all() {
            assert!(
                command().find_subcommand(tool.name).is_none(),
                "{}",
                tool.name
            );
        }
    }

    #[test]
    fn run_may_be_left_out() {
        let check =
            |word: &str, expected| assert_eq!(is_for_run(word.as_ref()), expected, "{word}");
        check("-e", true);
        check("--format=json", true);
        check("open.bt", true);
        check("./script", true);
        check("-", false);
        check("-h", false);
        check("--version", false);
        check("opensnoop", false);
    }
}
