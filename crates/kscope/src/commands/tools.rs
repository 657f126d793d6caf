//! `kscope tools`

use clap::Args;

use crate::console::say;
use crate::error::Failure;
use crate::tool::Tool;

/// List the built-in tools
#[derive(Args, Debug)]
pub(crate) struct ToolsArgs {
    /// Print the script of this tool
    #[arg(long, value_name = "TOOL")]
    show: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: &ToolsArgs) -> Result<u8, Failure> {
    let text = match &args.show {
        None => list(),
        Some(name) => match Tool::find(name) {
            Some(tool) => tool.text.to_owned(),
            None => return Err(unknown(name)),
        },
    };
    say(text)?;
    Ok(0)
}

/// Gives a line for each tool.
pub(crate) fn list() -> String {
    let width = Tool::all().map(|tool| tool.name.len()).max().unwrap_or(0);
    Tool::all()
        .map(|tool| format!("{:width$}  {}\n", tool.name, tool.summary()))
        .collect()
}

fn unknown(name: &str) -> Failure {
    let failure = Failure::usage(format!("there is no tool `{name}`"));
    match kscope_script::near::near(name, Tool::all().map(|tool| tool.name)) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`kscope tools` lists the tools"),
    }
}
