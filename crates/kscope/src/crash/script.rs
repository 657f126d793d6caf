//! `kscope crash VMCORE run`

use clap::Args;

use super::Session;
use crate::commands::run::{read_source, script_options};
use crate::dump::{self, DumpRun};
use crate::error::Failure;
use crate::sink::{Buffering, Form, Sink};
use crate::tracing::{Setup, Source};

/// Run a script over the dump, as `kscope run --dump` does
#[derive(Args, Debug, Default)]
pub(super) struct ScriptArgs {
    /// The script itself
    #[arg(short = 'e', value_name = "SCRIPT")]
    script: Option<String>,
    /// A file with the script (`-` reads standard input), unless -e is given, and the values of $1, $2, …;
    /// after `--` options of the script (--name=value)
    #[arg(value_name = "FILE] [ARGS")]
    words: Vec<String>,
    /// Options of the script
    #[arg(value_name = "--NAME=VALUE", last = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

impl ScriptArgs {
    /// Makes what runs a script that stands alone.
    pub(super) fn of(script: &str) -> ScriptArgs {
        ScriptArgs {
            script: Some(script.to_owned()),
            ..ScriptArgs::default()
        }
    }
}

/// Runs the script and gives its exit code.
pub(super) fn run(session: &Session, args: &ScriptArgs, json: bool) -> Result<u8, Failure> {
    let (source, mut positional) = match (&args.script, args.words.split_first()) {
        (Some(script), _) => (Source::of_command_line(script)?, args.words.clone()),
        (None, Some((file, rest))) => (read_source(file)?, rest.to_vec()),
        (None, None) => {
            let failure = Failure::usage("there is no script: give a file, or -e SCRIPT");
            return Err(failure);
        }
    };
    let options = script_options(&args.options, &mut positional)?;
    let setup = Setup {
        positional,
        to_run: true,
        without_command: true,
        ..Setup::default()
    };
    let form = if json { Form::RowJson } else { Form::Text };
    let mut sink = Sink::new(form, None, &[], Buffering::Line)?;
    let run = DumpRun {
        name: "script",
        options: &options,
        quiet: true,
        columns: None,
    };
    dump::run(&session.kernel, &setup, &source, &run, &mut sink)
}
