//! What the comment at the head of a tool's script says: the description, then notes.
//!
//! ```text
//! // Trace …                              the description, up to the first note
//! // Example: What fails, for a minute:
//! //   kscope opensnoop --failed --duration 1m
//! // Kernel: Linux 5.10
//! // Cost: …
//! // Argument: FUNCTION, a function: A function of the kernel …
//! // Probes: one kind is enough
//! ```
//!
//! A note goes on in lines that begin with two more blanks.

/// What a script says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notes {
    /// What the tool is for, its first line alone by itself.
    pub(crate) description: String,
    /// What is asked, and the command.
    pub(crate) examples: Vec<(String, String)>,
    /// The oldest kernel that it runs on, and what else that must have.
    pub(crate) kernel: String,
    /// What it costs while it runs.
    pub(crate) cost: String,
    /// What it has to be told beside its options.
    pub(crate) argument: Option<Argument>,
    /// Whether it has probes of several kinds for the same events, of which one is enough.
    pub(crate) has_alternatives: bool,
}

/// A word of the command line that is no option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Its name in the command line and its help.
    pub(crate) name: String,
    /// What the word stands for.
    pub(crate) kind: ArgumentKind,
    /// The help.
    pub(crate) help: String,
}

/// What a word is to the script, which has it as `$1`, `$2`, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArgumentKind {
    /// A function: `$1` becomes the attach point of its entry, `$2` that of its return.
    Function,
}

impl ArgumentKind {
    /// Gives the values of `$1`, `$2`, …; `is_typed` says whether the kernel's types have a function.
    pub(crate) fn positional(self, word: &str, is_typed: impl Fn(&str) -> bool) -> Vec<String> {
        match self {
            ArgumentKind::Function => {
                let (entry, exit) = match word {
                    _ if word.contains(':') => ("uprobe", "uretprobe"),
                    // Cheaper, where there is just the one function to hook.
                    _ if is_typed(word) => ("fentry", "fexit"),
                    _ => ("kprobe", "kretprobe"),
                };
                vec![format!("{entry}:{word}"), format!("{exit}:{word}")]
            }
        }
    }

    /// Gives values for the positional parameters that a script compiles with on every kernel.
    pub(crate) fn anywhere(self) -> Vec<String> {
        match self {
            ArgumentKind::Function => vec![
                "kprobe:vfs_read".to_owned(),
                "kretprobe:vfs_read".to_owned(),
            ],
        }
    }
}

impl Notes {
    /// Reads the comment that a script begins with.
    pub(crate) fn read(script: &str) -> Notes {
        let lines = script.lines().skip_while(|line| line.starts_with("#!"));
        let lines = lines.map_while(|line| line.strip_prefix("//"));
        let mut description: Vec<&str> = Vec::new();
        let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
        for line in lines {
            let line = line.strip_prefix(' ').unwrap_or(line);
            match (note(line), notes.last_mut()) {
                (Some((name, text)), _) => notes.push((name, vec![text])),
                (None, Some((_, more))) => more.push(line.trim()),
                (None, None) => description.push(line),
            }
        }
        // Where lines end depends on who is shown them, and where paragraphs do on the script.
        let paragraphs = description.split(|line| line.is_empty());
        let paragraphs: Vec<String> = paragraphs.map(|lines| lines.join(" ")).collect();
        let mut found = Notes {
            description: paragraphs.join("\n\n").trim_end().to_owned(),
            ..Notes::default()
        };
        for (name, lines) in notes {
            found.take(name, &lines);
        }
        found
    }

    fn take(&mut self, name: &str, lines: &[&str]) {
        let text = lines.join(" ");
        match name {
            "Example" => {
                let (command, what) = lines.split_last().unwrap_or((&"", &[]));
                self.examples.push((what.join(" "), (*command).to_owned()));
            }
            "Kernel" => self.kernel = text,
            "Cost" => self.cost = text,
            "Argument" => self.argument = argument(&text),
            "Probes" => self.has_alternatives = text == "one kind is enough",
            _ => {}
        }
    }

    /// Gives what stands below the options in the long help.
    pub(crate) fn after_help(&self) -> String {
        let mut parts = Vec::new();
        if !self.examples.is_empty() {
            let examples = self.examples.iter();
            let lines = examples.map(|(what, command)| format!("  {what}\n      {command}\n"));
            parts.push(format!("Examples:\n{}", lines.collect::<String>()));
        }
        for (title, note) in [("Minimum kernel", &self.kernel), ("Cost", &self.cost)] {
            if !note.is_empty() {
                parts.push(format!("{title}: {note}\n"));
            }
        }
        parts.join("\n").trim_end().to_owned()
    }
}

/// Gives name and text of a line that begins a note.
fn note(line: &str) -> Option<(&str, &str)> {
    const NAMES: [&str; 5] = ["Argument", "Cost", "Example", "Kernel", "Probes"];
    let (name, text) = line.split_once(": ")?;
    NAMES.contains(&name).then_some((name, text))
}

/// Reads `NAME, a function: help`.
fn argument(text: &str) -> Option<Argument> {
    let (head, help) = text.split_once(": ")?;
    let (name, kind) = head.split_once(", ")?;
    let kind = match kind {
        "a function" => ArgumentKind::Function,
        _ => return None,
    };
    Some(Argument {
        name: name.to_owned(),
        kind,
        help: help.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::{Argument, ArgumentKind, Notes};

    #[test]
    fn functions_become_attach_points() {
        let check = |word: &str, expected: [&str; 2]| {
            let found = ArgumentKind::Function.positional(word, |name| name == "vfs_read");
            assert_eq!(found, expected);
        };
        check("vfs_read", ["fentry:vfs_read", "fexit:vfs_read"]);
        check("vfs_*", ["kprobe:vfs_*", "kretprobe:vfs_*"]);
        check(
            "libc:malloc",
            ["uprobe:libc:malloc", "uretprobe:libc:malloc"],
        );
    }

    #[test]
    fn notes_follow_the_description() {
        let text = "#!/usr/bin/env kscope\n// Trace it\n//\n// Shows: much,\n// and more.\n//\n// Example: What\n//   is it:\n\
                    //   kscope it\n// Kernel: Linux 5.10\n// Cost: some\n//   more\n// Probes: one kind is enough\n\
                    // Argument: F, a function: One of the kernel\n\n// Kernel: not here\nbegin { }\n";
        let expected = Notes {
            description: "Trace it\n\nShows: much, and more.".to_owned(),
            examples: vec![("What is it:".to_owned(), "kscope it".to_owned())],
            kernel: "Linux 5.10".to_owned(),
            cost: "some more".to_owned(),
            argument: Some(Argument {
                name: "F".to_owned(),
                kind: ArgumentKind::Function,
                help: "One of the kernel".to_owned(),
            }),
            has_alternatives: true,
        };
        assert_eq!(Notes::read(text), expected);
    }
}
