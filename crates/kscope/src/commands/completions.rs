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
    // What is hidden in the help is offered by no shell either.
    let all = crate::cli::command();
    let (name, shown): (_, Vec<_>) = (
        all.get_name().to_owned(),
        all.get_subcommands()
            .filter(|sub| !sub.is_hide_set())
            .cloned()
            .collect(),
    );
    let mut command = clap::Command::new(name)
        .version(env!("CARGO_PKG_VERSION"))
        .args(all.get_arguments().cloned())
        .subcommands(shown);
    for tool in Tool::all() {
        command = command.subcommand(tool.command());
    }
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "kscope", &mut text);
    std::io::Write::write_all(&mut std::io::stdout(), &text)?;
    Ok(0)
}
