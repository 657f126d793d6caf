//! The prompt at a terminal, with history and completion.

use kscope_dump::Kernel;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::complete::complete;
use super::history::{History, LINES};
use crate::console::tell;
use crate::error::Failure;

/// What stands before a line.
const PROMPT: &str = "kscope> ";

/// What the editor asks.
struct Completion<'k> {
    kernel: &'k Kernel,
}

impl Completer for Completion<'_> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(self.kernel, line.get(..at).unwrap_or_default()))
    }
}

impl Hinter for Completion<'_> {
    type Hint = String;
}

impl Highlighter for Completion<'_> {}
impl Validator for Completion<'_> {}
impl Helper for Completion<'_> {}

/// Reads lines until there are no more, or one of them ends it.
///
/// # Errors
///
/// Where the terminal cannot be read.
pub(super) fn read(
    kernel: &Kernel,
    mut each: impl FnMut(&str) -> std::ops::ControlFlow<()>,
) -> Result<(), Failure> {
    let failed = |error: ReadlineError| Failure::new(format!("cannot read the terminal: {error}"));
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(LINES)
        .map_err(failed)?
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, history).map_err(failed)?;
    editor.set_helper(Some(Completion { kernel }));
    let kept = History::of_user();
    for line in kept.load() {
        // One like the last is left out.
        let _ = editor.add_history_entry(line);
    }
    let mut is_kept = true;
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            // Ctrl-C takes back the line.
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        if editor.add_history_entry(line.as_str()).unwrap_or(false) && is_kept {
            if let Err(error) = kept.add(&line) {
                tell(format_args!("NOTE: the history cannot be kept: {error}"));
                is_kept = false;
            }
        }
        if each(&line).is_break() {
            return Ok(());
        }
    }
}
