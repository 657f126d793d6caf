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
