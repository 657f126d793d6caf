//! `kscope TOOL`

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;
use kscope_dump::Kernel;
use kscope_rows::{DataType, Schema};
use kscope_script::hir::Program;
use kscope_script::interpret::Engine;
use kscope_script::plan::{Attach, OptionDecl, OptionKind, OptionMeaning, Plan, Site, SiteKind};

use super::run::BufferKind;
use crate::console::say;
use crate::dump::{self, DumpRun};
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
    let pid = process(tool, &matches);
    let btf = matches.get_one::<PathBuf>("btf").map(PathBuf::as_path);
    let place = Place::open(btf)?;
    // Its programs and libraries are those that it sees.
    let place = place.of_process(pid);
    let is_typed = |name: &str| {
        let types = place.btf.as_ref().ok();
        types.is_some_and(|types| types.find_once(name, kscope_btf::Kind::Func).is_some())
    };
    let setup = Setup {
        positional: tool.positional(&matches, is_typed),
        config: buffer.map(|kind| kind.config()).into_iter().collect(),
        reserved: RESERVED.map(str::to_owned).to_vec(),
        no_warnings: true,
        is_tool: true,
        to_run: !matches.get_flag("json-schema"),
        ..Setup::default()
    };
    let form = if matches.get_flag("json") {
        Form::RowJson
    } else {
        Form::Table
    };
    let file = matches.get_one::<PathBuf>("output").map(PathBuf::as_path);
    let is_schema = matches.get_flag("json-schema");
    let over_memory = setup.engine(&source).0 == Engine::Memory;
    if is_schema && over_memory {
        let plan = setup.compile_over_memory(&place, &source)?;
        return print_schema(tool.name, &plan);
    }
    let dumps = dumps(&matches).filter(|_| !is_schema);
    if dumps.is_some() || over_memory {
        let files = dumps.unwrap_or_default();
        let kernel = match files.as_slice() {
            [] => dump::running(&place)?,
            files => dump::open(files)?,
        };
        let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        let sink = Sink::new(form, file, &inputs, Buffering::Line)?;
        return run_over(&kernel, tool, &setup, &matches, sink);
    }
    let (compiled, program) = setup.compile_program(&place, &source)?;
    if is_schema {
        return print_schema(tool.name, &compiled.plan);
    }
    let inputs: Vec<&Path> = btf.into_iter().collect();
    let mut sink = Sink::new(form, file, &inputs, Buffering::Line)?;
    if let Some(count) = matches.get_one::<u64>("count") {
        sink.limit_rows(*count);
    }
    let run = Run {
        name: tool.name.to_owned(),
        options: given(&compiled.plan.options, &matches),
        quiet: true,
        is_tool: true,
        has_alternatives: tool.notes().has_alternatives,
        verbose: matches.get_flag("verbose"),
        columns: columns(tool.name, &compiled.plan, &program, &matches),
        pid: pid.filter(|_| probes_processes(&compiled.plan)),
        duration: matches.get_one::<Duration>("duration").copied(),
        ..Run::default()
    };
    tracing::run(&place, &source, compiled, &run, &mut sink)
}

/// Runs a tool over the memory of a kernel, with its options as given.
fn run_over(
    kernel: &Kernel,
    tool: Tool,
    setup: &Setup,
    matches: &ArgMatches,
    mut sink: Sink,
) -> Result<u8, Failure> {
    if let Some(count) = matches.get_one::<u64>("count") {
        sink.limit_rows(*count);
    }
    let run = DumpRun {
        name: tool.name,
        options: &given(&tool.options(), matches),
        quiet: true,
        columns: Some(&|plan, program| columns(tool.name, plan, program, matches)),
    };
    dump::run(kernel, setup, &tool.source(), &run, &mut sink)
}

/// Runs a tool over a dump that is open already.
pub(crate) fn run_over_dump(
    kernel: &Kernel,
    tool: Tool,
    matches: &ArgMatches,
    json: bool,
) -> Result<u8, Failure> {
    let setup = Setup {
        reserved: RESERVED.map(str::to_owned).to_vec(),
        no_warnings: true,
        is_tool: true,
        to_run: true,
        ..Setup::default()
    };
    let form = if json { Form::RowJson } else { Form::Table };
    let sink = Sink::new(form, None, &[], Buffering::Full)?;
    run_over(kernel, tool, &setup, matches, sink)
}

/// Gives the files of `--dump`, which only some tools have.
fn dumps(matches: &ArgMatches) -> Option<Vec<PathBuf>> {
    let files = matches.try_get_many::<PathBuf>("dump").ok()??;
    Some(files.cloned().collect())
}

/// Gives the process that `--pid` names, where there is one.
fn process(tool: Tool, matches: &ArgMatches) -> Option<u32> {
    let is_it =
        |option: &OptionDecl| option.name == "pid" && option.meaning == OptionMeaning::Process;
    let declared = tool.options();
    let option = declared.iter().find(|option| is_it(option))?;
    let number = matches.get_one::<String>(&option.name)?;
    number.parse().ok().filter(|pid| *pid != 0)
}

/// Says whether a plan has probes in processes, which can be those of one alone.
fn probes_processes(plan: &Plan) -> bool {
    let mut points = plan.probes.iter().flat_map(|probe| &probe.attach);
    points.any(|point| {
        matches!(
            point,
            Attach::Uprobe { .. } | Attach::Uretprobe { .. } | Attach::Usdt { .. }
        )
    })
}

/// Gives the names of columns.
fn names(schema: &Schema) -> Vec<&str> {
    let columns = schema.columns.iter();
    columns.map(|column| column.name.as_str()).collect()
}

/// Gives the columns of the rows that a tool prints with the options given; none where they have
/// several shapes.
fn columns(
    name: &str,
    plan: &Plan,
    program: &Program,
    matches: &ArgMatches,
) -> Option<Arc<Schema>> {
    let given = |index: usize| {
        let option = plan.options.get(index)?;
        match option.kind {
            OptionKind::Bool(_) => Some(i64::from(matches.get_flag(&option.name))),
            _ => None,
        }
    };
    let mut found: Option<Schema> = None;
    for id in program.reachable_sites(&given) {
        let site = plan.sites.get(id.0 as usize)?;
        let Some(shape) = schema(name, site) else {
            continue;
        };
        match &found {
            Some(first) if names(first) != names(&shape) => return None,
            Some(_) => {}
            None => found = Some(shape),
        }
    }
    found.map(Arc::new)
}

/// Prints the JSON schema of the rows that a plan prints; where they have several shapes, one that
/// allows each of them.
pub(super) fn print_schema(name: &str, plan: &Plan) -> Result<u8, Failure> {
    let mut schemas: Vec<String> = Vec::new();
    for schema in plan.sites.iter().filter_map(|site| schema(name, site)) {
        let text = kscope_view::json_schema(&schema);
        if !schemas.contains(&text) {
            schemas.push(text);
        }
    }
    match schemas.as_slice() {
        [] => return Err(Failure::new(format!("{name} prints no rows"))),
        [one] => say(format_args!("{}\n", one.trim_end()))?,
        several => say(any_of(name, several))?,
    }
    Ok(0)
}

/// Makes one schema of several; each has its members on lines of their own.
fn any_of(name: &str, schemas: &[String]) -> String {
    let is_dialect = |line: &&str| line.trim_start().starts_with("\"$schema\"");
    let dialect = schemas
        .iter()
        .flat_map(|text| text.lines())
        .find(is_dialect);
    let parts = schemas.iter().map(|text| {
        let lines = text.trim_end().lines().filter(|line| !is_dialect(line));
        let lines: Vec<String> = lines.map(|line| format!("    {line}")).collect();
        lines.join("\n")
    });
    let parts: Vec<String> = parts.collect();
    format!(
        "{{\n{}\n  \"title\": \"{name}\",\n  \"anyOf\": [\n{}\n  ]\n}}\n",
        dialect.unwrap_or_default(),
        parts.join(",\n")
    )
}

/// Gives the schema of the rows of a site that prints some.
fn schema(name: &str, site: &Site) -> Option<Schema> {
    let field = site
        .fields
        .first()
        .filter(|_| site.kind == SiteKind::Print)?;
    match &field.ty {
        // A record of the script has no name; a C structure is a value like others.
        DataType::Record { name: tag, .. } if tag.is_empty() => {
            Schema::of_record(name, 1, &field.ty)
        }
        _ => None,
    }
}

/// Makes the failure for a name that is neither command nor tool.
pub(crate) fn unknown(name: &str) -> Failure {
    let commands = crate::cli::command();
    let commands = commands.get_subcommands().filter(|sub| !sub.is_hide_set());
    let mut names: Vec<&str> = commands.map(clap::Command::get_name).collect();
    names.extend(Tool::all().map(|tool| tool.name));
    let failure = Failure::usage(format!("there is no command or tool `{name}`"));
    if Path::new(name).is_file() {
        return failure.hint(format!("to run the script in that file: kscope run {name}"));
    }
    match kscope_script::near::near(name, names) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint("`kscope tools` lists the tools, `kscope help` the commands"),
    }
}
