//! `kscope completions`

use clap::Args;
use clap_complete::Shell;

use crate::error::Failure;
use crate::tool::Tool;

/// Print a completion script for a shell
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs) -> Result<u8, Failure> {
    let mut command = crate::cli::command();
    for tool in Tool::all() {
        command = command.subcommand(tool.command());
    }
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kscope", &mut text);
    std::io::Write::write_all(&mut std::io::stdout(), &text)?;
    Ok(0)
}
