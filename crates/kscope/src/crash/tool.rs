//! Tables over the kernel's objects, which are built-in tools: `kscope crash VMCORE mounts`.

use clap::error::ErrorKind;
use clap::{ArgMatches, Command, Error, FromArgMatches, Subcommand};

use super::analysis::{Analysis, Ask, Need};
use crate::commands::tool::run_over_dump;
use crate::error::Failure;
use crate::tool::Tool;

/// A tool with its words.
#[derive(Debug)]
pub(super) struct ToolCommand {
    tool: Tool,
    matches: ArgMatches,
}

impl Analysis for ToolCommand {
    fn needs(&self) -> &'static [Need] {
        match self.tool.name {
            "ps" => &[
                Need::Symbol("init_task"),
                Need::OneOf("task_struct", &["__state", "state"]),
            ],
            "modules" => &[Need::Symbol("modules")],
            "runq" => &[Need::Symbol("runqueues")],
            "timers" => &[Need::Symbol("timer_bases"), Need::Symbol("hrtimer_bases")],
            "irq" => &[Need::Symbols, Need::Types],
            // They begin at the first process.
            _ => &[Need::Symbol("init_task")],
        }
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        run_over_dump(ask.kernel, self.tool, &self.matches, ask.json).map(|_| ())
    }
}

/// Gives the tools that wait for no events.
fn tools() -> impl Iterator<Item = Tool> {
    Tool::all().filter(|tool| tool.reads_dumps())
}

/// Adds their commands to one.
pub(super) fn with_tools(command: Command) -> Command {
    tools().fold(command, |command, tool| {
        command.subcommand(tool.command_over_dump())
    })
}

impl FromArgMatches for ToolCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ToolCommand, Error> {
        let given = matches.subcommand();
        let found = given.and_then(|(name, matches)| Some((Tool::find(name)?, matches.clone())));
        let (tool, matches) = found.ok_or_else(|| Error::new(ErrorKind::InvalidSubcommand))?;
        Ok(ToolCommand { tool, matches })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = ToolCommand::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Subcommand for ToolCommand {
    fn augment_subcommands(command: Command) -> Command {
        // Their options are read when a dump is looked at: every other start of the program does without.
        command.defer(with_tools)
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        ToolCommand::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        Tool::find(name).is_some_and(Tool::reads_dumps)
    }
}
