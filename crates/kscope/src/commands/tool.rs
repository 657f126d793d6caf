//! `kscope TOOL`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use kscope_rows::{DataType, Schema};
use kscope_script::plan::{Plan, SiteKind};

use super::run::BufferKind;
use crate::console::say;
use crate::error::Failure;
use crate::place::Place;
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
    let matches = match tool.command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return crate::cli::usage(&error),
    };
    let source = tool.source();
    let buffer = matches.get_one::<BufferKind>("buffer");
    let setup = Setup {
        config: buffer.map(|kind| kind.config()).into_iter().collect(),
        reserved: RESERVED.map(str::to_owned).to_vec(),
        no_warnings: true,
        ..Setup::default()
    };
    let place = Place::open(matches.get_one::<PathBuf>("btf").map(PathBuf::as_path))?;
    let compiled = setup.compile(&place, &source)?;
    if matches.get_flag("json-schema") {
        return print_schemas(tool.name, &compiled.plan);
    }
    let form = if matches.get_flag("json") {
        Form::RowJson
    } else {
        Form::Table
    };
    let file = matches.get_one::<PathBuf>("output");
    let mut sink = Sink::new(form, file.map(PathBuf::as_path), Buffering::Line)?;
    let run = Run {
        name: tool.name.to_owned(),
        options: given(&compiled.plan.options, &matches),
        quiet: true,
        verbose: matches.get_flag("verbose"),
        ..Run::default()
    };
    tracing::run(&place, &source, compiled, &run, &mut sink)
}

/// Prints the JSON schemas of the rows that a plan prints.
pub(super) fn print_schemas(name: &str, plan: &Plan) -> Result<u8, Failure> {
    let schemas = schemas(name, plan);
    if schemas.is_empty() {
        return Err(Failure::new(format!("{name} prints no rows")));
    }
    let mut text = String::new();
    for schema in schemas {
        let _ = writeln!(text, "{}", kscope_view::json_schema(&schema));
    }
    say(text)?;
    Ok(0)
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
    let commands = crate::cli::command();
    let commands = commands.get_subcommands().filter(|sub| !sub.is_hide_set());
    let mut names: Vec<&str> = commands.map(clap::Command::get_name).collect();
    names.extend(Tool::all().map(|tool| tool.name));
    let failure = Failure::usage(format!("there is no command or tool `{name}`"));
    if std::path::Path::new(name).is_file() {
        return failure.hint(format!("to run the script in that file: kscope run {name}"));
    }
    match kscope_script::near::near(name, names) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`kscope tools` lists the tools, `kscope help` the commands"),
    }
}
