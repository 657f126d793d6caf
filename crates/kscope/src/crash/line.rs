//! A sub-command with its words as they are written after `kscope crash VMCORE`.

use clap::{CommandFactory as _, Parser};

use super::Command;
use super::tool::with_tools;

/// A sub-command with its words.
#[derive(Debug, Parser)]
#[command(
    name = "kscope crash VMCORE",
    no_binary_name = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(super) struct Line {
    /// Print objects in place of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Gives all sub-commands with their words, to look at: those of tools are otherwise added when words are read.
pub(super) fn all() -> clap::Command {
    with_tools(Line::command()).defer(|command| command)
}

/// Gives the names of the sub-commands that can be asked for without words, in the order of the help.
pub(super) fn without_words() -> Vec<String> {
    let all = all();
    let free = all
        .get_subcommands()
        .filter(|sub| !sub.get_arguments().any(clap::Arg::is_required_set));
    free.map(|sub| sub.get_name().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Line, without_words};
    use clap::CommandFactory as _;

    #[test]
    fn lines_are_consistent() {
        Line::command().debug_assert();
        let names = without_words();
        for name in ["summary", "log", "bt", "ps"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        assert!(!names.iter().any(|found| found == "struct"), "{names:?}");
    }
}
