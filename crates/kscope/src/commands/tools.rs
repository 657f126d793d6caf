//! `kscope tools`

use clap::Args;

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
    if let Some(name) = &args.show {
        let Some(tool) = Tool::find(name) else {
            return Err(super::tool::unknown(name));
        };
        print!("{}", tool.text);
        return Ok(0);
    }
    let width = Tool::all().map(|tool| tool.name.len()).max().unwrap_or(0);
    for tool in Tool::all() {
        println!("{:width$}  {}", tool.name, tool.summary());
    }
    Ok(0)
}
