//! Built-in tools: listed, shown, documented.

use super::kscope;

#[test]
fn tools_are_listed_with_a_summary() {
    let list = kscope(&["tools"]).code(0).out;
    let line = list.lines().find(|line| line.starts_with("opensnoop "));
    let (_, summary) = line
        .expect("opensnoop")
        .split_once("  ")
        .expect("a summary");
    let help = kscope(&["opensnoop", "-h"]).code(0).out;
    assert!(help.starts_with(summary.trim()), "{help}");
}

#[test]
fn a_tool_is_a_script() {
    let script = kscope(&["tools", "--show", "opensnoop"]).code(0).out;
    let expected = include_str!("../../../../tools/opensnoop.bt");
    assert!(script == expected, "it is another one:\n{script}");
}

#[test]
fn help_comes_by_either_way() {
    let by_flag = kscope(&["opensnoop", "--help"]).code(0).out;
    let by_command = kscope(&["help", "opensnoop"]).code(0).out;
    assert_eq!(by_flag, by_command);
    assert!(by_flag.contains("Usage: kscope opensnoop"), "{by_flag}");
    for option in ["--pid <N>", "--failed", "--json", "--buffer <KIND>"] {
        assert!(by_flag.contains(option), "no {option} in:\n{by_flag}");
    }
}

#[test]
fn doctor_names_the_kernel() {
    let report = kscope(&["doctor"]).code(0).out;
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let first = report.lines().next().expect("a line");
    assert!(
        first.starts_with("kernel ") && first.ends_with(release.trim()),
        "{first}"
    );
    for line in [
        "lockdown ",
        "kernel types (BTF) ",
        "tracefs ",
        "ring buffer ",
    ] {
        assert!(report.contains(line), "no {line} in:\n{report}");
    }
}

#[test]
fn a_schema_describes_the_rows() {
    // What it is asked about matters to the rows alone.
    let schema = kscope(&["funclatency", "--json-schema"]).code(0).out;
    assert!(schema.contains("\"calls\""), "{schema}");
    kscope(&["funclatency"]).code(2).says(&["<FUNCTION>"]);
    let schema = kscope(&["opensnoop", "--json-schema"]).code(0).out;
    for member in [
        "$schema",
        "schema_version",
        "pid",
        "comm",
        "fd",
        "err",
        "path",
    ] {
        assert!(
            schema.contains(&format!("\"{member}\"")),
            "no {member} in:\n{schema}"
        );
    }
    assert_eq!(schema.matches("$schema").count(), 1, "{schema}");
    let script = "begin { print((a=1)); print((b=2)); print((a=1)); }";
    let schema = kscope(&["run", "--json-schema", "-e", script]).code(0).out;
    assert_eq!(schema.matches("\"properties\"").count(), 2, "{schema}");
    assert!(schema.contains("\"anyOf\": ["), "{schema}");
    kscope(&["run", "--json-schema", "-e", "begin { print(1); }"])
        .code(1)
        .says(&["script prints no rows"]);
}

#[test]
fn shells_complete_the_values_of_options() {
    let check = |shell, parts: &[&str]| {
        let script = kscope(&["completions", shell]).code(0).out;
        for part in parts {
            assert!(script.contains(part), "{shell}: no {part}");
        }
    };
    let words = ["tracepoint kprobe", "ring perf", "text json"];
    let words = words.map(|words| format!("compgen -W \"{words}\""));
    check("bash", &words.each_ref().map(String::as_str));
    check("zsh", &["WAY:(tracepoint kprobe)"]);
    check("fish", &["-l probe", "kprobe"]);
}

#[test]
fn a_value_that_is_none_is_told_with_those_that_are() {
    kscope(&["opensnoop", "--probe", "kprob"])
        .code(2)
        .says(&["tracepoint, kprobe", "'kprobe'"]);
    kscope(&["opensnoop", "--uidd", "0"])
        .code(2)
        .says(&["'--uid'"]);
}

#[test]
fn manual_pages_say_what_options_take() {
    let folder = std::env::temp_dir().join(format!("kscope-man-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    kscope(&["man", folder.to_str().expect("text")]).code(0);
    let check = |page: &str, parts: &[&str]| {
        let text = std::fs::read_to_string(folder.join(page)).expect("a page");
        let (_, rest) = text.split_once(".SH SYNOPSIS\n").expect("a synopsis");
        let synopsis = rest
            .split_once("\n.SH")
            .map_or(rest, |(synopsis, _)| synopsis);
        for part in parts {
            let part = part.replace('-', "\\-");
            assert!(synopsis.contains(&part), "no {part} in {synopsis}");
        }
    };
    check(
        "kscope-opensnoop.1",
        &[
            "\\fBkscope opensnoop\\fR [",
            "[\\fB--probe\\fR \\fIWAY\\fR]",
            "[\\fB--failed\\fR]",
            "[\\fB-o\\fR|\\fB--output\\fR \\fIFILE\\fR]",
        ],
    );
    check(
        "kscope-run.1",
        &[
            "[\\fB-e\\fR \\fISCRIPT\\fR]",
            "[\\fIFILE] [ARGS\\fR]...",
            "[\\fB--\\fR \\fI--NAME=VALUE\\fR...]",
        ],
    );
    std::fs::remove_dir_all(&folder).expect("ours");
}

const COLUMNS: &str = include_str!("../../../../tools/README.md");
const MANUAL: &str = include_str!("../../../../docs/tools.md");

/// Tools without an output in the manual: the machine that made the others has no kprobes.
const UNSHOWN: [&str; 1] = ["vfsstat"];

/// Gives the section of a text about a tool.
fn section<'a>(text: &'a str, tool: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("\n## {tool}\n"))
        .unwrap_or_else(|| panic!("no section of {tool}"));
    rest.split("\n## ").next().unwrap_or(rest)
}

/// Gives the names of sections, in their order.
fn sections(text: &str) -> Vec<&str> {
    let lines = text.lines();
    lines.filter_map(|line| line.strip_prefix("## ")).collect()
}

/// Gives the names and summaries of all tools.
fn tools() -> Vec<(String, String)> {
    let list = kscope(&["tools"]).code(0).out;
    let split = |line: &str| {
        let (name, summary) = line.split_once(' ').expect("a summary");
        (name.to_owned(), summary.trim().to_owned())
    };
    list.lines().map(split).collect()
}

/// Makes the table of a tool's options from its help.
fn options(tool: &str) -> String {
    let help = kscope(&[tool, "--help"]).code(0).out;
    let (_, rest) = help
        .split_once("Options of the tool:\n")
        .expect("options of its own");
    let (own, _) = rest
        .split_once("Options of every tool:")
        .expect("options of all");
    let mut table = String::from("| option | what |\n|---|---|\n");
    // Name, help, and what it is by itself are paragraphs.
    let mut texts: Vec<String> = Vec::new();
    for paragraph in own.split("\n\n") {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        match words.first() {
            Some(name) if name.starts_with("--") => {
                let names = if words.get(1).is_some_and(|word| word.starts_with('<')) {
                    2
                } else {
                    1
                };
                let (name, text) = words.split_at(names);
                texts.push(format!("| `{}` | {}", name.join(" "), text.join(" ")));
            }
            Some(_) => {
                let last = texts.last_mut().expect("an option before");
                last.push_str(&format!(" {}", words.join(" ")));
            }
            None => {}
        }
    }
    for text in texts {
        table.push_str(&format!(
            "{} |\n",
            text.replace('|', "\\|").replacen("\\|", "|", 2)
        ));
    }
    table
}

#[test]
fn the_manual_has_each_tool_with_its_options_and_an_output() {
    let tools = tools();
    let names: Vec<&str> = tools.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(sections(MANUAL), names);
    for (tool, summary) in &tools {
        let text = section(MANUAL, tool);
        assert!(text.contains(summary), "{tool}: {summary}");
        let table = options(tool);
        assert!(text.contains(&table), "{tool}: its options are\n{table}");
        let command = format!("```console\n# kscope {tool}");
        let has_output = text.contains(&command) || UNSHOWN.contains(&tool.as_str());
        assert!(has_output, "{tool} has no example");
        let link = format!("(../tools/README.md#{tool})");
        assert!(text.contains(&link), "{tool} has no link {link}");
    }
}

#[test]
fn columns_and_maps_are_those_of_the_scripts() {
    let tools = tools();
    let names: Vec<&str> = tools.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(sections(COLUMNS), names);
    for (tool, _) in &tools {
        let script = kscope(&["tools", "--show", tool]).code(0).out;
        let rows = section(COLUMNS, tool).lines();
        let told = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        let told: Vec<&str> = told.collect();
        // A row is a record that is printed, and a map is printed by its name.
        let mut printed: Vec<&str> = Vec::new();
        let script: Vec<&str> = script.split_whitespace().collect();
        let script = script.join(" ");
        for what in script.split("print(").skip(1) {
            let what = what.split(';').next().unwrap_or(what);
            if let Some(map) = what.strip_prefix('@') {
                let end = map.find(|c: char| !c.is_alphanumeric() && c != '_');
                printed.push(&what[..=end.unwrap_or(map.len())]);
            } else if let Some(record) = what.strip_prefix('(') {
                let record = record.trim_start();
                let parts = record.split(", ").filter_map(|part| part.split_once('='));
                let names = parts.map(|(name, _)| name);
                printed.extend(
                    names.filter(|name| name.chars().all(|c| c.is_alphanumeric() || c == '_')),
                );
            }
        }
        for name in &printed {
            assert!(told.contains(name), "{tool} prints {name}");
        }
        for name in told {
            assert!(printed.contains(&name), "{tool} does not print {name}");
        }
    }
}

/// Gives the flags that a text speaks of.
fn flags(text: &str) -> Vec<&str> {
    let starts = text.match_indices("--").map(|(at, _)| at);
    let is_first = |at: &usize| !text[..*at].ends_with(|c: char| c == '-' || c.is_alphanumeric());
    let flag = |at: usize| {
        let rest = &text[at + 2..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '-');
        &text[at..at + 2 + end.unwrap_or(rest.len())]
    };
    let flags = starts.filter(is_first).map(flag);
    flags
        .filter(|flag| flag.contains(char::is_alphanumeric))
        .collect()
}

#[test]
fn what_is_told_of_a_tool_is_what_it_has() {
    for (tool, summary) in tools() {
        let help = kscope(&[&tool, "--help"]).code(0).out;
        assert!(help.starts_with(&format!("{summary}\n")), "{help}");
        for part in ["\nExamples:\n", "\nMinimum kernel: Linux ", "\nCost: "] {
            assert!(help.contains(part), "{tool} lacks {part:?}");
        }
        let script = kscope(&["tools", "--show", &tool]).code(0).out;
        let comment: String = script
            .lines()
            .map_while(|line| line.strip_prefix('#').or_else(|| line.strip_prefix("//")))
            .flat_map(|line| [line, "\n"])
            .collect();
        let examples = comment
            .lines()
            .filter(|line| line.starts_with("   kscope "));
        for example in examples.clone() {
            let command = format!("   kscope {tool} ");
            let own = format!("{example} ").starts_with(&command);
            assert!(own, "{tool} has the example {example}");
        }
        assert!(examples.count() > 0, "{tool} has no example");
        let told = section(COLUMNS, &tool);
        let has = |flag: &&str| {
            let at = help.find(&format!("{flag} "));
            at.or_else(|| help.find(&format!("{flag}\n"))).is_some()
        };
        for flag in flags(&comment).iter().chain(&flags(told)) {
            assert!(has(flag), "{tool} has no {flag}");
        }
        let columns: Vec<&str> = told
            .lines()
            .filter_map(|row| row.strip_prefix("| `")?.split('`').next())
            .filter(|name| !name.starts_with('@'))
            .collect();
        if columns.is_empty() {
            kscope(&[&tool, "--json-schema"])
                .code(1)
                .says(&["prints no rows"]);
            continue;
        }
        let schema = kscope(&[&tool, "--json-schema"]).code(0).out;
        let mut seen: Vec<&str> = Vec::new();
        for kind in schema.split("\"schema_version\": {\"const\":").skip(1) {
            let fields = kind.split("\"required\"").next().unwrap_or(kind);
            let fields = fields.lines().skip(1);
            let names = fields.filter_map(|line| line.trim().strip_prefix('"')?.split('"').next());
            let mut last = 0;
            for name in names {
                let place = columns.iter().position(|column| *column == name);
                let place =
                    place.unwrap_or_else(|| panic!("{tool} has no column {name} in README"));
                assert!(last <= place, "{tool}: {name} is elsewhere in README");
                last = place;
                seen.push(name);
            }
        }
        for column in columns {
            assert!(seen.contains(&column), "{tool}: the schema has no {column}");
        }
    }
}
