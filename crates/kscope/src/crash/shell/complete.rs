//! What a word of a line may go on to: commands, flags, types, members, symbols, names of tasks.

use std::collections::BTreeSet;

use clap::Arg;
use kscope_dump::Kernel;

use super::super::line;
use super::super::raw::types;

/// Words that the prompt itself knows.
pub(super) const OWN: [&str; 3] = ["exit", "help", "quit"];

/// Gives where the word before the cursor begins, and what it may go on to.
pub(super) fn complete(kernel: &Kernel, line: &str) -> (usize, Vec<String>) {
    let start = line.rfind([' ', '\t']).map_or(0, |at| at + 1);
    // Members of an expression stand behind a point or a comma of their own.
    let (before, word) = line.split_at(start);
    if before.contains(['|', '\'', '"']) {
        return (start, Vec::new());
    }
    let words: Vec<&str> = before.split_whitespace().collect();
    let all = line::all();
    let commands = || all.get_subcommands().map(clap::Command::get_name);
    let Some((name, rest)) = words.split_first() else {
        return (start, beginning(word, commands().chain(OWN)));
    };
    if *name == "help" {
        return (start, beginning(word, commands()));
    }
    let Some(command) = all.get_subcommands().find(|sub| sub.get_name() == *name) else {
        return (start, Vec::new());
    };
    if word.starts_with('-') {
        let flags = command.get_arguments().filter_map(|arg| arg.get_long());
        let flags: Vec<String> = flags.map(|flag| format!("--{flag}")).collect();
        let flags = flags.iter().map(String::as_str);
        return (start, beginning(word, flags.chain(["--json"])));
    }
    let Some(argument) = argument(command, rest) else {
        return (start, Vec::new());
    };
    let positional: Vec<&str> = rest
        .iter()
        .copied()
        .filter(|w| !w.starts_with('-'))
        .collect();
    match kind(argument) {
        "TASK" => (start, tasks(kernel, word)),
        "TYPE" => (start, type_names(kernel, word)),
        "TYPE[.MEMBER…]" => expression(kernel, start, word),
        "MEMBER" => match positional.get(1) {
            Some(of) => members(kernel, of, start, word),
            None => (start, Vec::new()),
        },
        "ADDRESS" | "HEAD" | "ROOT" | "FUNCTION|ADDRESS" | "NAME|ADDRESS" => {
            (start, symbols(kernel, word))
        }
        _ => (start, Vec::new()),
    }
}

/// Gives the argument that comes next: of the flag that stands last, or the next without one.
fn argument<'c>(command: &'c clap::Command, words: &[&str]) -> Option<&'c Arg> {
    let takes = |arg: &&Arg| arg.get_action().takes_values();
    let of_flag = |word: &str| {
        let long = word.strip_prefix("--");
        let short = word.strip_prefix('-').and_then(|rest| rest.chars().next());
        let mut flags = command.get_arguments().filter(takes);
        flags.find(|arg| {
            (long.is_some() && arg.get_long() == long)
                || (long.is_none() && short.is_some() && arg.get_short() == short)
        })
    };
    if let Some(flag) = words.last().and_then(|word| of_flag(word)) {
        return Some(flag);
    }
    let mut index = 0;
    let mut of_before = false;
    for word in words {
        let is_flag = word.starts_with('-');
        index += usize::from(!is_flag && !of_before);
        of_before = is_flag && of_flag(word).is_some();
    }
    let all: Vec<&Arg> = command.get_positionals().collect();
    // The last may be there many times.
    let last = all.last().filter(|arg| {
        let many = arg
            .get_num_args()
            .is_some_and(|range| range.max_values() > 1);
        many || matches!(arg.get_action(), clap::ArgAction::Append)
    });
    all.get(index).or(last).copied()
}

fn kind(argument: &Arg) -> &str {
    let names = argument.get_value_names().unwrap_or_default();
    names.first().map_or("", |name| name.as_str())
}

/// Tells whether what has such a letter in it is no word of a line.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// Gives those that begin with a word and are one, each once and in order.
fn beginning<'a>(word: &str, all: impl Iterator<Item = &'a str>) -> Vec<String> {
    let found: BTreeSet<&str> = all
        .filter(|name| name.starts_with(word) && !name.contains(is_separator))
        .collect();
    found.into_iter().map(str::to_owned).collect()
}

fn tasks(kernel: &Kernel, word: &str) -> Vec<String> {
    let tasks = kernel.tasks().unwrap_or_default().items;
    beginning(word, tasks.iter().map(|task| &*task.comm))
}

fn type_names(kernel: &Kernel, word: &str) -> Vec<String> {
    match kernel.btf() {
        Ok(btf) if !word.is_empty() => beginning(word, types::all_names(btf)),
        _ => Vec::new(),
    }
}

fn symbols(kernel: &Kernel, word: &str) -> Vec<String> {
    let name = word.trim_start_matches('*');
    let stars = &word[..word.len() - name.len()];
    match kernel.symbols() {
        Ok(image) if !name.is_empty() => {
            let all = image.iter().chain(kernel.module_symbols().iter());
            let found = beginning(name, all.map(|symbol| symbol.name)).into_iter();
            found.map(|name| format!("{stars}{name}")).collect()
        }
        _ => Vec::new(),
    }
}

/// Completes a type, or behind a point a member.
fn expression(kernel: &Kernel, start: usize, word: &str) -> (usize, Vec<String>) {
    match word.split_once('.') {
        None => (start, type_names(kernel, word)),
        Some((of, rest)) => members(kernel, of, start + of.len() + 1, rest),
    }
}

/// Completes the last part of a way from a type to a member.
fn members(kernel: &Kernel, of: &str, start: usize, word: &str) -> (usize, Vec<String>) {
    // Of several ways the last.
    let begin = word.rfind(',').map_or(0, |at| at + 1);
    let way = &word[begin..];
    let (path, last) = match way.rfind('.') {
        Some(at) => (Some(&way[..at]), &way[at + 1..]),
        None => (None, way),
    };
    let start = start + word.len() - last.len();
    let names = types::members(kernel, of, path);
    (start, beginning(last, names.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::complete;
    use kscope_dump::{Dump, Kernel};
    use kscope_testkit::dumps::{KDUMP, folder};

    #[test]
    fn words_that_a_line_may_go_on_to() {
        let Some(folder) = folder() else {
            return;
        };
        let dump = Dump::open(&[folder.join(KDUMP)]).expect("a dump");
        let kernel = Kernel::open(dump).expect("a kernel");
        let check = |line: &str, begin: &str, expected: &[&str]| {
            let (start, found) = complete(&kernel, line);
            assert_eq!(&line[start..], begin, "{line}");
            assert_eq!(found, expected, "{line}");
        };
        check("su", "su", &["summary"]);
        check("ex", "ex", &["exit"]);
        check("help rep", "rep", &["report"]);
        check("struct task_struc", "task_struc", &["task_struct"]);
        check("struct task_struct.thread_n", "thread_n", &["thread_node"]);
        check(
            "struct task_struct.pid,mm.pg",
            "pg",
            &["pgd", "pgtables_bytes"],
        );
        check(
            "struct list_head *mod_tree_remove_",
            "*mod_tree_remove_",
            &["*mod_tree_remove_init"],
        );
        check("struct --hex list_he", "list_he", &["list_head"]);
        check("struct --depth 2 list_he", "list_he", &["list_head"]);
        check("struct --de", "--de", &["--depth"]);
        check("sym vfs_readl", "vfs_readl", &["vfs_readlink"]);
        check("sym jiffies vfs_readl", "vfs_readl", &["vfs_readlink"]);
        check("bt kthre", "kthre", &["kthreadd"]);
        check("bt init kthre", "kthre", &["kthreadd"]);
        check("list modules module sourc", "sourc", &["source_list"]);
        check(
            "list modules module list --print srcv",
            "srcv",
            &["srcversion"],
        );
        check("tree irq_desc_tr", "irq_desc_tr", &["irq_desc_tree"]);
        check("log | gre", "gre", &[]);
        check("nothing x", "x", &[]);
        check("sym ", "", &[]);
    }
}
