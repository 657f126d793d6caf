//! `kscope man`

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::Failure;
use crate::tool::Tool;

/// Write the manual pages to a folder
#[derive(Args, Debug)]
pub(crate) struct ManArgs {
    /// The folder, which must exist
    folder: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &ManArgs) -> Result<u8, Failure> {
    let mut command = crate::cli::command();
    command.build();
    write(&command, "kscope", &args.folder)?;
    let shown = |sub: &&clap::Command| !sub.is_hide_set() && sub.get_name() != "help";
    for sub in command.get_subcommands().filter(shown) {
        write(sub, &format!("kscope-{}", sub.get_name()), &args.folder)?;
    }
    for tool in Tool::all() {
        let command = tool.command();
        write(&command, &format!("kscope-{}", tool.name), &args.folder)?;
    }
    Ok(0)
}

fn write(command: &clap::Command, name: &str, folder: &Path) -> Result<(), Failure> {
    let mut page = Vec::new();
    let titled = command
        .clone()
        .name(name.to_owned())
        .display_name(name.to_owned());
    clap_mangen::Man::new(titled).render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}
