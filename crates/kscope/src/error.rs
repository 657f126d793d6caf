//! What a person sees when something fails: prefix, causes, hints, exit code.

use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use kscope_bpf::spec::LineInfo;
use kscope_bpf::{Denial, Error as KernelError};
use kscope_runtime::Error as RuntimeError;

use crate::console::tell;

/// Something failed.
pub(crate) const FAILED: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;

/// What to do for want of privileges.
pub(crate) const PRIVILEGES: &str = "run as root, or grant CAP_BPF, CAP_PERFMON and read access to tracefs; kernel addresses also need CAP_SYSLOG";

/// Where more is to be learnt.
pub(crate) const DOCTOR: &str = "`kscope doctor` shows what this kernel and these privileges allow";

/// What to do about a kernel without types.
pub(crate) const NO_TYPES: &str = "kernels built with CONFIG_DEBUG_INFO_BTF=y have them; a BTF file of the same kernel can be given with --btf FILE";

/// Gives what a person can do about a refusal.
pub(crate) fn way_out(denial: &Denial) -> Option<&'static str> {
    Some(match denial {
        Denial::Capability { .. } => PRIVILEGES,
        Denial::Memlock { .. } => "raise it: ulimit -l unlimited",
        Denial::Confined => "run outside of the container, or allow bpf(2) there",
        Denial::Lockdown { .. } => "boot without lockdown (it follows Secure Boot)",
        Denial::File { .. } => "run as root, or remount it with gid= and mode= for this user",
        _ => return None,
    })
}

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
            RuntimeError::Program {
                place,
                error: inner,
                ..
            } => {
                let failure = match place {
                    Some(place) => failure.detail(quote(source, *place)),
                    None => failure,
                };
                failure.with_kernel_hints(inner, verbose)
            }
            RuntimeError::NoTypes { .. } => failure.hint(NO_TYPES),
            RuntimeError::NothingAttached => failure.hint(DOCTOR),
            RuntimeError::Types { .. } => failure
                .hint("a kernel's types are in its /sys/kernel/btf/vmlinux: copy that, or leave --btf out"),
            RuntimeError::BadOption { .. } => Failure {
                code: USAGE,
                ..failure
            },
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

    fn with_kernel_hints(self, error: &KernelError, verbose: bool) -> Failure {
        match error {
            KernelError::Rejected { log, .. } if verbose => {
                self.detail(format!("the verifier's log:\n{}", log.text.trim_end()))
            }
            KernelError::Rejected { .. } => self
                .hint("-v shows the verifier's whole log")
                .hint("the fault is kscope's unless the script is too large: please report it"),
            KernelError::Permission { cause, .. } => match way_out(cause) {
                Some(way_out) => self.hint(way_out).hint(DOCTOR),
                None => self.hint(DOCTOR),
            },
            KernelError::Unsupported { .. } => self.hint(DOCTOR),
            KernelError::NotFound {
                what: "attach point",
                ..
            } => self.hint("`kscope list PATTERN` shows the probes of this kernel"),
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
            tell(text.trim_end());
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
