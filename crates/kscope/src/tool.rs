//! The tools that are built in: scripts of tools/, their options as flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint, value_parser};
use kscope_script::catalogue::TextCatalogue;
use kscope_script::interpret;
use kscope_script::plan::{OptionDecl, OptionKind, OptionMeaning};
use kscope_script::syntax::{self, Positional};
use kscope_script::types::{self, Inputs};

use crate::commands::run::BufferKind;
use crate::tracing::Source;

mod notes;

pub(crate) use notes::Notes;

/// Names and texts of the built-in tools, sorted by name.
pub(crate) const TOOLS: &[(&str, &str)] = &[
    (
        "bashreadline",
        include_str!("../../../tools/bashreadline.bt"),
    ),
    ("biolatency", include_str!("../../../tools/biolatency.bt")),
    ("biosnoop", include_str!("../../../tools/biosnoop.bt")),
    ("capable", include_str!("../../../tools/capable.bt")),
    ("cpudist", include_str!("../../../tools/cpudist.bt")),
    ("execsnoop", include_str!("../../../tools/execsnoop.bt")),
    ("exitsnoop", include_str!("../../../tools/exitsnoop.bt")),
    ("files", include_str!("../../../tools/files.bt")),
    ("funclatency", include_str!("../../../tools/funclatency.bt")),
    ("interfaces", include_str!("../../../tools/interfaces.bt")),
    ("irq", include_str!("../../../tools/irq.bt")),
    ("killsnoop", include_str!("../../../tools/killsnoop.bt")),
    ("modules", include_str!("../../../tools/modules.bt")),
    ("mounts", include_str!("../../../tools/mounts.bt")),
    ("oomkill", include_str!("../../../tools/oomkill.bt")),
    ("opensnoop", include_str!("../../../tools/opensnoop.bt")),
    ("ps", include_str!("../../../tools/ps.bt")),
    ("runq", include_str!("../../../tools/runq.bt")),
    ("runqlat", include_str!("../../../tools/runqlat.bt")),
    ("sockets", include_str!("../../../tools/sockets.bt")),
    ("sslsnoop", include_str!("../../../tools/sslsnoop.bt")),
    ("statsnoop", include_str!("../../../tools/statsnoop.bt")),
    ("syscount", include_str!("../../../tools/syscount.bt")),
    ("tcpaccept", include_str!("../../../tools/tcpaccept.bt")),
    ("tcpconnect", include_str!("../../../tools/tcpconnect.bt")),
    ("tcpdrop", include_str!("../../../tools/tcpdrop.bt")),
    ("tcplife", include_str!("../../../tools/tcplife.bt")),
    ("tcpretrans", include_str!("../../../tools/tcpretrans.bt")),
    ("timers", include_str!("../../../tools/timers.bt")),
    ("vfsstat", include_str!("../../../tools/vfsstat.bt")),
];

/// Flags that every tool has, `dump` those that wait for no events, which its script may therefore not declare.
pub(crate) const RESERVED: [&str; 11] = [
    "btf",
    "buffer",
    "count",
    "dump",
    "duration",
    "help",
    "json",
    "json-schema",
    "output",
    "verbose",
    "version",
];

/// A built-in tool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

impl Tool {
    /// Finds a tool by its name.
    pub(crate) fn find(name: &str) -> Option<Tool> {
        let (name, text) = TOOLS.iter().find(|(tool, _)| *tool == name)?;
        Some(Tool { name, text })
    }

    /// Gives all tools.
    pub(crate) fn all() -> impl Iterator<Item = Tool> {
        TOOLS.iter().map(|(name, text)| Tool { name, text })
    }

    /// Gives the script.
    pub(crate) fn source(self) -> Source {
        Source::new(format!("{}.bt", self.name), self.text)
    }

    /// Gives what the script says of itself.
    pub(crate) fn notes(self) -> Notes {
        Notes::read(self.text)
    }

    /// Gives the first line of the description.
    pub(crate) fn summary(self) -> String {
        let description = self.notes().description;
        description.lines().next().unwrap_or("").to_owned()
    }

    /// Gives the values of the script's `$1`, `$2`, … from a parsed command line.
    pub(crate) fn positional(
        self,
        matches: &ArgMatches,
        is_typed: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let Some(argument) = self.notes().argument else {
            return Vec::new();
        };
        match matches.get_one::<String>(&argument.name) {
            Some(word) => argument.kind.positional(word, is_typed),
            // Only the schema is asked for, which is the same for every word.
            None => argument.kind.anywhere(),
        }
    }

    /// Gives the options that the script declares, which no kernel is needed for.
    pub(crate) fn options(self) -> Vec<OptionDecl> {
        // Any word will do.
        let argument = self.notes().argument;
        let positional = argument.map(|argument| argument.kind.positional("f", |_| false));
        let positional = Positional::new(positional.unwrap_or_default());
        let (script, _) = syntax::parse(self.text, &positional);
        // Says of no probe whether it exists, so all are looked at.
        let catalogue = TextCatalogue::default();
        let (program, _) = types::check(&script, &Inputs::new(&catalogue));
        program.options
    }

    /// Tells whether it runs over a crash dump as well: it waits for no events.
    pub(crate) fn reads_dumps(self) -> bool {
        let (script, _) = syntax::parse(self.text, &Positional::default());
        interpret::waits_for_nothing(&script)
    }

    /// Makes the command line of the tool as a command over a dump: its options, and how many rows.
    pub(crate) fn command_over_dump(self) -> Command {
        let command = Command::new(self.name)
            .about(self.summary())
            .long_about(self.notes().description);
        let options = self.options();
        let command = options
            .iter()
            .fold(command, |command, option| command.arg(argument(option)));
        command.arg(count())
    }

    /// Makes the command line of the tool: its options, and those of every tool.
    pub(crate) fn command(self) -> Command {
        let notes = self.notes();
        let command = Command::new(self.name)
            .bin_name(format!("kscope {}", self.name))
            .display_name(format!("kscope-{}", self.name))
            .version(env!("CARGO_PKG_VERSION"))
            .max_term_width(100)
            .about(self.summary())
            .long_about(notes.description.clone())
            .after_long_help(notes.after_help())
            .next_help_heading("Options of the tool");
        let command = match notes.argument {
            // Who asks for rows has to name one.
            Some(argument) => command
                .override_usage(format!(
                    "kscope {} [OPTIONS] <{}>",
                    self.name, argument.name
                ))
                .arg(
                    Arg::new(argument.name)
                        .help(argument.help)
                        .required_unless_present("json-schema")
                        .help_heading("Arguments"),
                ),
            None => command,
        };
        let options = self.options();
        let command = options
            .iter()
            .fold(command, |command, option| command.arg(argument(option)));
        let command = match self.reads_dumps() {
            true => command.arg(dump()),
            false => command,
        };
        command
            .next_help_heading("Options of every tool")
            .arg(count())
            .arg(
                Arg::new("duration")
                    .long("duration")
                    .value_name("TIME")
                    .help("Stop after this time: 10 (seconds), 2.5, 500ms, 5m, 1h")
                    .value_parser(duration),
            )
            .arg(flag("json", "Print one JSON object per row"))
            .arg(flag(
                "json-schema",
                "Print the JSON schema of the rows and exit",
            ))
            .arg(flag("verbose", "Show programs and whole verifier logs").short('v'))
            .arg(
                Arg::new("output")
                    .long("output")
                    .short('o')
                    .value_name("FILE")
                    .help("Write to a file instead of standard output")
                    .value_parser(value_parser!(PathBuf)),
            )
            .arg(
                Arg::new("buffer")
                    .long("buffer")
                    .value_name("KIND")
                    .help("Send events through one ring buffer or a perf buffer for each CPU")
                    .value_parser(value_parser!(BufferKind))
                    .hide_possible_values(true),
            )
            .arg(
                Arg::new("btf")
                    .long("btf")
                    .value_name("FILE")
                    .help("Take the kernel's types from a BTF file")
                    .value_parser(value_parser!(PathBuf)),
            )
    }
}

/// Writes what `-- --help` tells of a script that is run from this file.
pub(crate) fn help(file: &str, script: &str, options: &[OptionDecl]) -> String {
    let notes = Notes::read(script);
    let text = notes.description.clone();
    let about = text.lines().next().unwrap_or_default().to_owned();
    // A handful has names of their own.
    let parameters = match syntax::parameters(script) {
        most @ 0..=9 => (1..=most).map(|n| format!(" [${n}]")).collect(),
        most => format!(" [$1]...[${most}]"),
    };
    let behind = if options.is_empty() {
        ""
    } else {
        " [-- OPTIONS]"
    };
    let command = Command::new("script")
        .override_usage(format!("kscope run {file}{parameters}{behind}"))
        .max_term_width(100)
        .disable_help_flag(true)
        .about(about)
        .long_about(text)
        .next_help_heading("Options of the script");
    let command = options
        .iter()
        .fold(command, |command, option| command.arg(argument(option)));
    let mut command = match options {
        [] => command.after_help("It takes no options."),
        _ => command.after_long_help(notes.after_help()),
    };
    command.render_long_help().to_string()
}

/// Reads a time that is not zero.
fn duration(text: &str) -> Result<Duration, String> {
    let nanoseconds = kscope_runtime::duration(text)?;
    match u64::try_from(nanoseconds) {
        Ok(some) if some > 0 => Ok(Duration::from_nanos(some)),
        _ => Err("it is over before it begins".to_owned()),
    }
}

/// Gives the values of a script's options from a parsed command line.
pub(crate) fn given(options: &[OptionDecl], matches: &ArgMatches) -> Vec<(String, Option<String>)> {
    let set = |option: &&OptionDecl| {
        matches.value_source(&option.name) == Some(clap::parser::ValueSource::CommandLine)
    };
    options
        .iter()
        .filter(set)
        .map(|option| {
            let value = match option.kind {
                OptionKind::Bool(_) => Some(matches.get_flag(&option.name).to_string()),
                _ => matches.get_one::<String>(&option.name).cloned(),
            };
            (option.name.clone(), value)
        })
        .collect()
}

fn dump() -> Arg {
    Arg::new("dump")
        .long("dump")
        .value_name("FILE")
        .help("Look into a crash dump, not the running kernel (each file of a split one)")
        .action(ArgAction::Append)
        .conflicts_with_all(["btf", "buffer", "duration"])
        .value_parser(value_parser!(PathBuf))
}

fn count() -> Arg {
    Arg::new("count")
        .long("count")
        .value_name("N")
        .help("Stop after so many rows")
        .value_parser(value_parser!(u64).range(1..))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn argument(option: &OptionDecl) -> Arg {
    let argument = Arg::new(option.name.clone())
        .long(option.name.clone())
        .help(option.help.clone());
    let name = match &option.meaning {
        OptionMeaning::Plain if matches!(option.kind, OptionKind::Str { .. }) => "TEXT",
        OptionMeaning::Command => "TEXT",
        OptionMeaning::Plain
        | OptionMeaning::Count
        | OptionMeaning::Process
        | OptionMeaning::Range { .. } => "N",
        OptionMeaning::Signal => "SIGNAL",
        OptionMeaning::Capability => "CAP",
        OptionMeaning::Errno => "ERRNO",
        OptionMeaning::OpenFlags => "FLAGS",
        OptionMeaning::User => "USER",
        OptionMeaning::Cgroup => "CGROUP",
        OptionMeaning::Duration => "TIME",
        OptionMeaning::Disk => "DISK",
        OptionMeaning::Choice(_) => "WAY",
    };
    let argument = match &option.meaning {
        // For shells to complete; the help names them.
        OptionMeaning::Choice(choices) => argument
            .value_parser(PossibleValuesParser::new(choices))
            .hide_possible_values(true),
        OptionMeaning::User => argument.value_hint(ValueHint::Username),
        OptionMeaning::Cgroup => argument.value_hint(ValueHint::DirPath),
        _ if matches!(option.kind, OptionKind::Bool(_)) => argument,
        _ => argument.value_hint(ValueHint::Other),
    };
    match &option.kind {
        OptionKind::Bool(_) => argument.action(ArgAction::SetTrue),
        OptionKind::Int(default) => {
            let argument = argument.value_name(name).allow_negative_numbers(true);
            // What has a meaning of its own is not asked for by 0 or -1.
            match option.meaning {
                OptionMeaning::Plain => argument.default_value(default.to_string()),
                _ => argument,
            }
        }
        OptionKind::Str { default, .. } if default.is_empty() => argument.value_name(name),
        OptionKind::Str { default, .. } => argument.value_name(name).default_value(default.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::{OptionKind, OptionMeaning, RESERVED, Tool};

    #[test]
    fn reserved_are_the_flags_of_every_tool() {
        for tool in Tool::all() {
            let declared = tool.options();
            let mut command = tool.command();
            command.build();
            let mut flags: Vec<&str> = command
                .get_arguments()
                .filter_map(|a| a.get_long())
                .collect();
            flags.retain(|flag| declared.iter().all(|option| option.name != *flag));
            flags.sort_unstable();
            let mut expected = RESERVED.to_vec();
            expected.retain(|flag| tool.reads_dumps() || *flag != "dump");
            assert_eq!(flags, expected, "{}", tool.name);
            command.debug_assert();
        }
    }

    #[test]
    fn tools_are_sorted_and_say_what_they_do() {
        assert!(super::TOOLS.is_sorted());
        for tool in Tool::all() {
            assert!(!tool.summary().is_empty(), "{}", tool.name);
            let notes = tool.notes();
            assert!(notes.kernel.contains("Linux "), "{}", tool.name);
            assert!(!notes.cost.is_empty(), "{}", tool.name);
            assert!(!notes.examples.is_empty(), "{}", tool.name);
            for (what, command) in &notes.examples {
                assert!(what.ends_with(':'), "{}: {what}", tool.name);
                let words: Vec<&str> = command.split_whitespace().collect();
                assert_eq!(words.first(), Some(&"kscope"), "{command}");
                assert_eq!(words.get(1), Some(&tool.name), "{command}");
                let parsed = tool.command().try_get_matches_from(&words[1..]);
                parsed.unwrap_or_else(|error| panic!("{command}: {error}"));
            }
            assert!(
                tool.options().iter().all(|option| !option.help.is_empty()),
                "{}",
                tool.name
            );
            for option in tool.options() {
                let OptionMeaning::Choice(choices) = &option.meaning else {
                    continue;
                };
                // What is not named is the default, which the help shows.
                let is_default = |choice: &str| match &option.kind {
                    OptionKind::Str { default, .. } => default == choice,
                    _ => false,
                };
                for choice in choices.iter().filter(|choice| !is_default(choice)) {
                    let (name, help) = (&option.name, &option.help);
                    assert!(help.contains(choice), "{} --{name}: {choice}", tool.name);
                }
            }
        }
    }
}
