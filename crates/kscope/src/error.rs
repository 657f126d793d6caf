//! What a person sees when something fails: prefix, causes, hints, exit code.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use kscope_bpf::spec::LineInfo;
use kscope_runtime::Error as RuntimeError;

/// Something failed.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;

/// A failure on its way to the person who called.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    detail: Vec<String>,
    hints: Vec<String>,
    code: u8,
    quiet: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure {
            message,
            detail: Vec::new(),
            hints: Vec::new(),
            code: FAILED,
            quiet: false,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure {
            code: USAGE,
            ..Failure::new(message)
        }
    }

    /// A failure that has been told already.
    pub(crate) fn told() -> Failure {
        Failure {
            quiet: true,
            ..Failure::new("")
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn detail(mut self, lines: impl Into<String>) -> Failure {
        self.detail.push(lines.into());
        self
    }

    /// Makes a failure of an error of the runtime; `source` is the script, `verbose` shows whole logs.
    pub(crate) fn of_run(error: &RuntimeError, source: &str, verbose: bool) -> Failure {
        let failure = Failure::new(error.to_string());
        match error {
            RuntimeError::Output(error) => Failure::of_output(error),
            RuntimeError::Kernel(inner) | RuntimeError::Attach { error: inner, .. } => {
                failure.with_kernel_hints(inner, verbose)
            }
            RuntimeError::Program { place, error: inner, .. } => {
                let failure = match place {
                    Some(place) => failure.detail(quote(source, *place)),
                    None => failure,
                };
                failure.with_kernel_hints(inner, verbose)
            }
            RuntimeError::Types { .. } => failure
                .hint("kernels built with CONFIG_DEBUG_INFO_BTF=y show their types there; a BTF file of the same kernel can be given with --btf"),
            RuntimeError::BadOption { .. } => Failure { code: USAGE, ..failure },
            _ => failure,
        }
    }

    /// A closed pipe ends quietly; other failures to write are told.
    pub(crate) fn of_output(error: &io::Error) -> Failure {
        let failure = Failure::new(format!("cannot write the output: {error}"));
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Failure {
                quiet: true,
                code: 0,
                ..failure
            };
        }
        failure
    }

    fn with_kernel_hints(self, error: &kscope_bpf::Error, verbose: bool) -> Failure {
        match error {
            kscope_bpf::Error::Rejected { log, .. } if verbose => {
                self.detail(format!("the verifier's log:\n{}", log.text.trim_end()))
            }
            kscope_bpf::Error::Rejected { .. } => {
                self.hint("-v shows the verifier's whole log; a rejected script that compiled is a bug of kscope: please report it")
            }
            kscope_bpf::Error::Unsupported { .. } | kscope_bpf::Error::Permission { .. } => {
                self.hint("`kscope doctor` shows what this kernel and these privileges allow")
            }
            kscope_bpf::Error::NotFound { what: "attach point", .. } => {
                self.hint("`kscope list PATTERN` shows the probes of this kernel")
            }
            _ => self,
        }
    }

    /// Prints the failure and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        if !self.quiet {
            let mut text = format!("ERROR: {}\n", self.message);
            for detail in &self.detail {
                let _ = writeln!(text, "{detail}");
            }
            for hint in &self.hints {
                let _ = writeln!(text, "HINT: {hint}");
            }
            eprint!("{text}");
        }
        ExitCode::from(self.code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::of_output(&error)
    }
}

/// Shows a line of the script with a caret below the column.
fn quote(source: &str, place: LineInfo) -> String {
    let line = place.line as usize;
    let text = source.lines().nth(line.saturating_sub(1)).unwrap_or("");
    let before: String = text
        .char_indices()
        .take_while(|(at, _)| *at + 1 < place.column as usize)
        .map(|(_, c)| if c == '\t' { '\t' } else { ' ' })
        .collect();
    format!(
        "at line {line}, column {}:\n{text}\n{before}^",
        place.column
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_column() {
        let place = LineInfo {
            insn: 0,
            file: 0,
            line: 2,
            column: 4,
        };
        let expected = "at line 2, column 4:\n\tab c\n\t  ^";
        assert_eq!(quote("x\n\tab c\n", place), expected);
    }
}
