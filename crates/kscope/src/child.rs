//! The command of `-c`: started, held back until all probes are attached, ended with the run.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use kscope_sys::{Child, StoppedChild};

use crate::console::tell;
use crate::error::Failure;

/// `SIGTERM` on every Linux.
const SIGTERM: i32 = 15;

/// A command that has been started. Dropping it ends what still runs of it.
pub(crate) struct Command {
    text: String,
    state: State,
}

enum State {
    Held(StoppedChild),
    Running(Child),
    Failed,
}

impl Command {
    /// Makes the process; it waits to run the command.
    pub(crate) fn hold(text: &str) -> Result<Command, Failure> {
        let words: Vec<OsString> = split_words(text)?.into_iter().map(Into::into).collect();
        let Some((program, arguments)) = words.split_first() else {
            return Err(Failure::usage("the command of -c is empty"));
        };
        if !is_there(program) {
            let message = format!("cannot run `{text}`: there is no program {program:?}");
            return Err(Failure::new(message));
        }
        let child = StoppedChild::spawn(program, arguments)
            .map_err(|errno| Failure::new(format!("cannot start `{text}`: {errno}")))?;
        Ok(Command {
            text: text.to_owned(),
            state: State::Held(child),
        })
    }

    /// Lets the process run the command.
    pub(crate) fn release(&mut self) -> Result<(), Failure> {
        if let State::Held(child) = std::mem::replace(&mut self.state, State::Failed) {
            let child = child
                .release()
                .map_err(|errno| Failure::new(format!("cannot run `{}`: {errno}", self.text)))?;
            self.state = State::Running(child);
        }
        Ok(())
    }

    /// Gives the process's id, which it has before and after it runs the command.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.state {
            State::Held(child) => Some(child.pid()),
            State::Running(child) => Some(child.pid()),
            State::Failed => None,
        }
    }

    /// Gives the process once it runs the command.
    pub(crate) fn running(&mut self) -> Option<&mut Child> {
        match &mut self.state {
            State::Running(child) => Some(child),
            State::Held(_) | State::Failed => None,
        }
    }
}

impl Drop for Command {
    fn drop(&mut self) {
        let Some(child) = self.running() else { return };
        if matches!(child.poll(), Ok(None)) {
            if let Err(errno) = child.signal(SIGTERM) {
                tell(format_args!("WARNING: cannot end `{}`: {errno}", self.text));
            }
        }
    }
}

/// Says whether there is a file of a program's name, which is looked for as `execvp` does.
fn is_there(program: &OsStr) -> bool {
    let path = Path::new(program);
    if program.as_encoded_bytes().contains(&b'/') {
        return path.is_file();
    }
    // Without a PATH the C library has one of its own.
    std::env::var_os("PATH").is_none_or(|folders| {
        std::env::split_paths(&folders).any(|folder| folder.join(path).is_file())
    })
}

/// Splits a command at blanks outside of quotes; a backslash takes the next character as it is.
fn split_words(command: &str) -> Result<Vec<String>, Failure> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (_, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if let Some(quote) = quote {
        return Err(Failure::usage(format!(
            "the command of -c has a {quote} without its end"
        )));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{is_there, split_words};

    #[test]
    fn commands_are_split_as_a_shell_would() {
        let check = |text, expected: &[&str]| {
            let words = split_words(text).unwrap_or_else(|failure| panic!("{text}: {failure:?}"));
            assert_eq!(words, expected, "{text}");
        };
        check("", &[]);
        check("  ls  -l ", &["ls", "-l"]);
        check("sh -c 'sleep 1; ls'", &["sh", "-c", "sleep 1; ls"]);
        check(r#"a "b c"d '' e"#, &["a", "b cd", "", "e"]);
        check(r#"a\ b "\"" '\'"#, &["a b", "\"", "\\"]);
    }

    #[test]
    fn programs_are_looked_for() {
        let check = |name: &str, expected| assert_eq!(is_there(name.as_ref()), expected, "{name}");
        check("sh", true);
        check("/bin/sh", true);
        check("no such program", false);
        check("./no-such-program", false);
        check("/", false);
    }

    #[test]
    fn an_open_quote_is_refused() {
        assert!(split_words("sh -c 'sleep 1").is_err());
        assert!(split_words("\"").is_err());
    }
}
