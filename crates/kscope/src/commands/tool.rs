//! `kscope TOOL`

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use kscope_rows::{DataType, Schema};
use kscope_script::plan::{Plan, SiteKind};

use crate::error::Failure;
use crate::sink::{Buffering, Form, Sink};
use crate::tool::{RESERVED, Tool, given};
use crate::tracing::{self, Run, Setup};

/// Runs a built-in tool with its words, the first of which is its name.
pub(crate) fn run(words: &[OsString]) -> Result<u8, Failure> {
    let name = words
        .first()
        .map(|word| word.to_string_lossy().into_owned())
        .unwrap_or_default();
    let Some(tool) = Tool::find(&name) else {
        return Err(unknown(&name));
    };
    let source = tool.source();
    let mut setup = Setup {
        config: early_value(words, "--buffer")
            .map(|kind| vec![("event_buffer".to_owned(), kind)])
            .unwrap_or_default(),
        btf: early_value(words, "--btf").map(PathBuf::from),
        reserved: RESERVED.map(str::to_owned).to_vec(),
        no_warnings: true,
        ..Setup::default()
    };
    // A wrong kind of buffer is refused below, with the other flags.
    setup
        .config
        .retain(|(_, kind)| kind == "ring" || kind == "perf");
    let place = setup.place();
    let compiled = setup.compile(&place, &source)?;
    let matches = match tool.command(&compiled.plan).try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return crate::cli::usage(&error),
    };
    if matches.get_flag("json-schema") {
        for schema in schemas(tool.name, &compiled.plan) {
            println!("{}", kscope_view::json_schema(&schema));
        }
        return Ok(0);
    }
    let form = if matches.get_flag("json") {
        Form::RowJson
    } else {
        Form::Table
    };
    let file = matches.get_one::<String>("output").map(PathBuf::from);
    let mut sink = Sink::new(form, file.as_deref(), Buffering::Line)?;
    let run = Run {
        name: tool.name.to_owned(),
        options: given(&compiled.plan, &matches),
        quiet: true,
        verbose: matches.get_flag("verbose"),
        ..Run::default()
    };
    tracing::run(&place, &source, compiled, &run, &mut sink)
}

/// Gives the value of a flag that must be known before the script is compiled.
fn early_value(words: &[OsString], flag: &str) -> Option<String> {
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word == flag {
            return words.next().map(|value| value.into_owned());
        }
        if let Some(value) = word
            .strip_prefix(flag)
            .and_then(|rest| rest.strip_prefix('='))
        {
            return Some(value.to_owned());
        }
    }
    None
}

/// Gives the schemas of the rows that a plan prints, each once.
fn schemas(name: &str, plan: &Plan) -> Vec<Arc<Schema>> {
    let mut schemas: Vec<Arc<Schema>> = Vec::new();
    for site in plan
        .sites
        .iter()
        .filter(|site| site.kind == SiteKind::Print)
    {
        let Some(field) = site.fields.first() else {
            continue;
        };
        let DataType::Record { name: tag, .. } = &field.ty else {
            continue;
        };
        let schema = Schema::of_record(name, 1, &field.ty).filter(|_| tag.is_empty());
        if let Some(schema) = schema.filter(|schema| schemas.iter().all(|known| **known != *schema))
        {
            schemas.push(Arc::new(schema));
        }
    }
    schemas
}

/// Makes the failure for a name that is neither command nor tool.
pub(crate) fn unknown(name: &str) -> Failure {
    const COMMANDS: [&str; 6] = ["run", "check", "list", "tools", "doctor", "completions"];
    let names = COMMANDS
        .into_iter()
        .chain(Tool::all().map(|tool| tool.name));
    let failure = Failure::usage(format!("there is no command or tool `{name}`"));
    if std::path::Path::new(name).exists() {
        return failure.hint(format!("to run the script in that file: kscope run {name}"));
    }
    match kscope_script::near::near(name, names) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`kscope tools` lists the tools, `kscope help` the commands"),
    }
}
