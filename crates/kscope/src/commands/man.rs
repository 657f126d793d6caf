//! `kscope man`

use std::fmt::Write as _;
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

/// Examples by the page that shows them: what is asked, and the command. Those of tools are in their
/// scripts.
const EXAMPLES: &[(&str, &str, &str)] = &[
    (
        "kscope",
        "Which command opens files, and how often, until Ctrl-C:",
        "kscope -e 'tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }'",
    ),
    ("kscope", "Which opens fail:", "kscope opensnoop --failed"),
    (
        "kscope",
        "What this kernel and these privileges allow:",
        "kscope doctor",
    ),
    (
        "kscope-crash",
        "What happened to a kernel that died:",
        "kscope crash vmcore",
    ),
    (
        "kscope-crash",
        "Which tasks are blocked, and where:",
        "kscope crash vmcore bt --blocked",
    ),
    (
        "kscope-crash",
        "The name and the page tables of a task, and the code of a function:",
        "kscope crash vmcore struct task_struct.comm,mm.pgd pid:1; kscope crash vmcore dis schedule",
    ),
    (
        "kscope-crash",
        "Everything, for somebody else to read:",
        "kscope crash vmcore report findings",
    ),
    (
        "kscope-crash",
        "One question after the other:",
        "kscope crash vmcore shell",
    ),
    (
        "kscope-kdump",
        "What stands in the way of a dump, and the way out of it:",
        "kscope kdump check",
    ),
    (
        "kscope-kdump",
        "The initial file system of the capture, and the kernel that waits for a crash:",
        "kscope kdump initrd && kscope kdump load",
    ),
    (
        "kscope-kdump",
        "A dump of somebody else's, filtered and compressed:",
        "kscope kdump save -d 31 -c zstd -o small vmcore",
    ),
    (
        "kscope-run",
        "The tasks of a dead kernel that have programs:",
        "kscope run --dump vmcore -e 'iter:task /ctx.task.mm != 0/ { print(ctx.task.comm); }'",
    ),
    (
        "kscope-run",
        "A script of a file, whose $1 is 287:",
        "kscope run reads.bt 287",
    ),
    (
        "kscope-run",
        "A script with an option of its own, its records as JSON:",
        "kscope run --json reads.bt -- --pid=287",
    ),
    (
        "kscope-run",
        "A command, traced from its first instruction to its end:",
        "kscope run -c 'ls /tmp' reads.bt",
    ),
    (
        "kscope-check",
        "All that is wrong with a script:",
        "kscope check reads.bt",
    ),
    (
        "kscope-list",
        "Tracepoints of the scheduler with their arguments:",
        "kscope list -v 'tracepoint:sched:*'",
    ),
    (
        "kscope-list",
        "A type of the kernel:",
        "kscope list 'struct task_struct'",
    ),
    (
        "kscope-build",
        "A script made an object on this machine, and run on another:",
        "kscope build reads.bt -o reads.bpf.o; kscope run reads.bpf.o",
    ),
    (
        "kscope-link",
        "Two objects made one:",
        "kscope link -o tool.bpf.o main.bpf.o shared.bpf.o",
    ),
    (
        "kscope-bindgen",
        "A module of Rust with the types, maps and programs of an object:",
        "kscope bindgen tool.bpf.o > src/tool.rs",
    ),
    (
        "kscope-stacks",
        "What waits for more than ten seconds, for which lock, and who has it:",
        "kscope stacks --blocked=10s --full",
    ),
    (
        "kscope-stacks",
        "What a machine waited for, from the log that it left:",
        "journalctl -k -b -1 | kscope stacks --from - --blocked",
    ),
    (
        "kscope-stacks",
        "Each task of a SysRq t, with its whole stack:",
        "dmesg > tasks.txt; kscope stacks --from tasks.txt --all --full",
    ),
    (
        "kscope-doctor",
        "What a user without privileges may do:",
        "su -s /bin/sh nobody -c 'kscope doctor'",
    ),
    (
        "kscope-tools",
        "The script of a tool, to begin one's own with:",
        "kscope tools --show opensnoop > mine.bt",
    ),
    (
        "kscope-bpf",
        "Programs, who holds them, what they use:",
        "kscope bpf prog list",
    ),
    (
        "kscope-bpf",
        "A program as the kernel runs it, then as the processor does:",
        "kscope bpf prog dump 42; kscope bpf prog dump --jited 42",
    ),
    (
        "kscope-bpf",
        "What programs cost, every two seconds:",
        "kscope bpf top --interval 2",
    ),
    (
        "kscope-bpf",
        "Would an object load on another kernel:",
        "kscope bpf check --btf other.btf tool.bpf.o",
    ),
    (
        "kscope-btf",
        "All types of the kernel, to write eBPF programs in C with:",
        "kscope btf dump > vmlinux.h",
    ),
    (
        "kscope-btf",
        "A type of the kernel in Rust:",
        "kscope btf dump --as rust list_head",
    ),
    (
        "kscope-btf",
        "Types for a kernel that has none, as few as an object needs:",
        "kscope btf minimize --btf other.btf -o tool.btf tool.bpf.o",
    ),
    (
        "kscope-completions",
        "Completions for bash:",
        "kscope completions bash > /etc/bash_completion.d/kscope",
    ),
];

/// Exit codes of every command.
const STATUS: [(&str, &str); 5] = [
    ("0", "It is done; a trace also when Ctrl-C ended it."),
    ("1", "It failed; standard error says why."),
    ("2", "The command line makes no sense."),
    ("101", "A bug of kscope."),
    (
        "other",
        "What the script gave to exit(), or the command of -c.",
    ),
];

/// Runs the command.
pub(crate) fn run(args: &ManArgs) -> Result<u8, Failure> {
    let pages = pages();
    for (name, command) in &pages {
        let page = page(name, command, &pages)?;
        let path = args.folder.join(format!("{name}.1"));
        write(&path, &page)?;
    }
    Ok(0)
}

/// Gives the commands that have a page, with its name.
fn pages() -> Vec<(String, clap::Command)> {
    let mut command = crate::cli::command();
    command.build();
    let shown = |sub: &&clap::Command| !sub.is_hide_set() && sub.get_name() != "help";
    let mut pages: Vec<(String, clap::Command)> = command
        .get_subcommands()
        .filter(shown)
        .map(|sub| (format!("kscope-{}", sub.get_name()), sub.clone()))
        .collect();
    pages.extend(Tool::all().map(|tool| (format!("kscope-{}", tool.name), tool.command())));
    pages.insert(0, ("kscope".to_owned(), command));
    pages
}

/// Makes one page; `all` are those that are written, with their commands.
fn page(
    name: &str,
    command: &clap::Command,
    all: &[(String, clap::Command)],
) -> Result<Vec<u8>, Failure> {
    let titled = command.clone().name(name.to_owned());
    let man = clap_mangen::Man::new(titled.display_name(name.to_owned()));
    let mut out = Vec::new();
    man.render_title(&mut out)?;
    man.render_name_section(&mut out)?;
    out.extend(synopsis(command).into_bytes());
    man.render_description_section(&mut out)?;
    man.render_options_section(&mut out)?;
    out.extend(own_sections(name, all).into_bytes());
    Ok(out)
}

/// Makes the synopsis: every option with what it takes.
fn synopsis(command: &clap::Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let mut text = format!(".SH SYNOPSIS\n\\fB{}\\fR", roff(name));
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let (positional, options): (Vec<_>, Vec<_>) = shown.partition(|arg| arg.is_positional());
    for arg in options {
        let short = arg.get_short().map(|short| format!("-{short}"));
        let long = arg.get_long().map(|long| format!("--{long}"));
        let names = [short, long].into_iter().flatten();
        let names: Vec<String> = names
            .map(|name| format!("\\fB{}\\fR", roff(&name)))
            .collect();
        let value = match arg.get_action().takes_values() {
            true => values(arg),
            false => String::new(),
        };
        let _ = write!(text, " [{}{value}]", names.join("|"));
    }
    if command.has_subcommands() {
        text.push_str(" \\fICOMMAND\\fR");
    }
    for arg in positional {
        let value = values(arg);
        let value = value.trim_start();
        let many = if is_repeated(arg) { "..." } else { "" };
        let _ = match (arg.is_last_set(), arg.is_required_set()) {
            (true, _) => write!(text, " [\\fB\\-\\-\\fR {value}{many}]"),
            (false, true) => write!(text, " {value}{many}"),
            (false, false) => write!(text, " [{value}]{many}"),
        };
    }
    text.push('\n');
    text
}

/// Gives the names of the values that an argument takes, each after a blank.
fn values(arg: &clap::Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default();
    let names = names.iter().map(|name| format!(" \\fI{}\\fR", roff(name)));
    names.collect()
}

/// Says whether an argument may be given more than once.
fn is_repeated(arg: &clap::Arg) -> bool {
    let append = matches!(arg.get_action(), clap::ArgAction::Append);
    append
        || arg
            .get_num_args()
            .is_some_and(|range| range.max_values() > 1)
}

/// Makes the sections that clap knows nothing of.
fn own_sections(name: &str, all: &[(String, clap::Command)]) -> String {
    let mut text = String::new();
    let others = || all.iter().filter(|(other, _)| other != name);
    if name == "kscope" {
        text.push_str(".SH COMMANDS AND TOOLS\n");
        for (other, command) in others() {
            let about = command.get_about().map(ToString::to_string);
            let about = roff(&about.unwrap_or_default());
            let _ = write!(text, ".TP\n\\fB{}\\fR(1)\n{about}\n", roff(other));
        }
    }
    let notes = name.strip_prefix("kscope-").and_then(Tool::find);
    let notes = notes.map(Tool::notes).unwrap_or_default();
    let of_tool = notes
        .examples
        .iter()
        .map(|(what, command)| (&**what, &**command));
    let of_page = EXAMPLES.iter().filter(|(page, ..)| *page == name);
    let examples = of_page.map(|(_, what, command)| (*what, *command));
    let mut examples = examples.chain(of_tool).peekable();
    if examples.peek().is_some() {
        text.push_str(".SH EXAMPLES\n");
        for (what, command) in examples {
            let (what, command) = (roff(what), roff(command));
            let _ = write!(text, ".PP\n{what}\n.PP\n.RS 4\n.nf\n{command}\n.fi\n.RE\n");
        }
    }
    for (title, note) in [("MINIMUM KERNEL", notes.kernel), ("COST", notes.cost)] {
        if !note.is_empty() {
            let _ = write!(text, ".SH \"{title}\"\n{}\n", roff(&note));
        }
    }
    text.push_str(".SH \"EXIT STATUS\"\n");
    for (code, meaning) in STATUS {
        let _ = write!(text, ".TP\n\\fB{code}\\fR\n{}\n", roff(meaning));
    }
    let see: Vec<String> = others()
        .map(|(other, _)| format!("\\fB{}\\fR(1)", roff(other)))
        .collect();
    let _ = write!(text, ".SH \"SEE ALSO\"\n{}\n", see.join(",\n"));
    text
}

/// Writes text so that roff takes none of it as a request.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let text = text.replace('\'', "\\(aq");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

fn write(path: &Path, page: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, page)
        .map_err(|error| Failure::new(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_has_examples_of_its_command() {
        let pages = pages();
        for (name, command) in &pages {
            let page = page(name, command, &pages).unwrap_or_default();
            let page = String::from_utf8_lossy(&page).into_owned();
            assert!(page.contains(".SH EXAMPLES\n"), "{name}");
        }
        for (page, _, command) in EXAMPLES {
            assert!(pages.iter().any(|(name, _)| name == page), "{page}");
            let called = page.replace('-', " ");
            assert!(command.contains(&called), "{page}: {command}");
        }
    }
}
