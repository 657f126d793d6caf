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
pub(crate) const PRIVILEGES: &str = "run as root, or grant CAP_BPF, CAP_PERFMON and read access to tracefs, for kernel addresses CAP_SYSLOG as well; `kscope doctor` shows what is missing";

/// What to do where only root may open perf events, whatever else is granted.
const PARANOID: &str = "run as root, or let root lower it: sysctl kernel.perf_event_paranoid=2";

/// What to do where the kernel's list of tracepoints is not to be seen.
pub(crate) const MOUNT: &str =
    "run as root, or let root mount it: mount -t tracefs tracefs /sys/kernel/tracing";

/// What to do about a file system that is closed.
pub(crate) const OPEN: &str = "run as root, or remount it with gid= and mode= for this user";

/// What to do where less than all of root's privileges is not enough.
const ADMIN: &str = "run as root: the kernel asks for CAP_SYS_ADMIN here, CAP_BPF does not do";

/// Where more is to be learnt.
pub(crate) const DOCTOR: &str = "`kscope doctor` shows what this kernel and these privileges allow";

/// What to do about a kernel without types.
pub(crate) const NO_TYPES: &str = "kernels built with CONFIG_DEBUG_INFO_BTF=y have them; a BTF file of the same kernel can be given with --btf FILE";

/// Gives what a person can do about a refusal.
pub(crate) fn way_out(denial: &Denial) -> Option<&'static str> {
    Some(match denial {
        Denial::Capability { missing } => {
            let is_paranoid = |missing: &&str| missing.contains("perf_event_paranoid");
            match missing.as_slice() {
                missing if missing.iter().any(is_paranoid) => PARANOID,
                ["CAP_SYS_ADMIN"] => ADMIN,
                _ => PRIVILEGES,
            }
        }
        Denial::Memlock { .. } => "raise it: ulimit -l unlimited",
        Denial::Confined => "run outside of the container, or allow bpf(2) there",
        Denial::Lockdown { .. } => "boot without lockdown (it follows Secure Boot)",
        Denial::File { .. } => OPEN,
        // What concerns everybody is for `kscope doctor` to look into.
        Denial::Kernel => return None,
        other => return other.way_out(),
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
            RuntimeError::Attach {
                probe,
                error: KernelError::Unsupported { .. },
            } if probe.starts_with("hardware:") => failure.hint(
                "`software:cpu-clock` and `profile:hz:99` sample by time, `kscope list 'software:*'` has what the kernel itself counts",
            ),
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
            RuntimeError::NothingAttached { .. } => failure.hint(DOCTOR),
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
            KernelError::Rejected { log, .. } => {
                let shown = match verbose {
                    true => self.detail(format!("the verifier's log:\n{}", log.text.trim_end())),
                    false => self.hint("-v shows the verifier's whole log"),
                };
                shown.hint(way_round(&log.telling_line))
            }
            KernelError::Permission { cause, .. } => match way_out(cause) {
                Some(way_out) => self.hint(way_out),
                None => self.hint(DOCTOR),
            },
            KernelError::Unsupported { .. } => self.hint(DOCTOR),
            KernelError::NotFound {
                what: "attach point",
                ..
            } => self.hint("`kscope list PATTERN` shows the probes of this kernel"),
            // A script cannot declare anything weak.
            KernelError::NotFound {
                what: "kernel symbol",
                near,
                ..
            } if !near.is_empty() => self,
            KernelError::NotFound {
                what: "kernel symbol",
                ..
            } => self.hint(
                "/proc/kallsyms has the kernel's symbols; without CONFIG_KALLSYMS_ALL those of \
                 variables are not among them",
            ),
            KernelError::NotFound { .. } | KernelError::Os { .. } => match error.way_out() {
                Some(way_out) => self.hint(way_out),
                None => self,
            },
            _ => self,
        }
    }

    /// Prints the failure and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        self.tell();
        ExitCode::from(self.code)
    }

    /// Prints the failure.
    pub(crate) fn tell(&self) {
        if !self.quiet {
            tell(self.text().trim_end());
        }
    }

    /// Gives the exit code.
    pub(crate) fn code(&self) -> u8 {
        self.code
    }

    fn text(&self) -> String {
        format!("ERROR: {}\n", self.said())
    }

    /// Gives what is said of it, without what marks it as a failure and without a line's end.
    pub(crate) fn said(&self) -> String {
        let mut text = self.message.clone();
        for detail in &self.detail {
            let _ = write!(text, "\n{detail}");
        }
        for hint in &self.hints {
            let _ = write!(text, "\nHINT: {hint}");
        }
        text
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::of_output(&error)
    }
}

/// Gives what a writer of scripts can do about a verdict of the verifier.
fn way_round(verdict: &str) -> &'static str {
    let verdict = verdict.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| verdict.contains(part));
    if says(&["infinite loop", "back-edge"]) {
        "the kernel takes only loops that it sees to end: count to a constant, or `for ($i : 0..n)`"
    } else if says(&["too complex", "complexity"]) {
        "the kernel follows each round of a loop and each branch, and keeps at most 8192 that it has still to follow: fewer rounds, shorter strings, or a smaller probe"
    } else if says(&["stack depth", "combined stack", "stack size"]) {
        "a program and what it calls have 512 bytes of stack together: smaller variables and keys, or fewer calls of functions inside of each other"
    } else if says(&["cannot use helper", "unknown func", "invalid func"]) {
        "this kernel does not have that helper for probes of this kind: `kscope doctor` shows what it allows, and another kind of probe may do"
    } else if says(&["too large", "too many"]) {
        "the kernel follows at most 1,000,000 instructions, those of a loop once for each round: split the probe into smaller ones, or let its loops have fewer rounds"
    } else {
        "a script that compiles should be accepted: please report it"
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
    use kscope_bpf::VerifierLog;
    use kscope_bpf::sys::Errno;

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

    /// Gives all that is told of an error, and the exit code.
    fn told(error: &RuntimeError, verbose: bool) -> (String, u8) {
        let failure = Failure::of_run(error, "begin {\n  @ = 1;\n}\n", verbose);
        (failure.text(), failure.code)
    }

    #[test]
    fn loops_of_the_writer_are_no_bugs() {
        let check = |verdict, part: &str| assert!(way_round(verdict).contains(part), "{verdict}");
        check("infinite loop detected at insn 7", "count to a constant");
        check("back-edge from insn 9 to 3", "count to a constant");
        check("The sequence of 8193 jumps is too complex.", "fewer rounds");
        check(
            "BPF program is too large. Processed 1000001 insn",
            "fewer rounds",
        );
        check(
            "combined stack size of 3 calls is 544. Too large",
            "512 bytes",
        );
        check(
            "program of this type cannot use helper bpf_d_path#147",
            "does not have that helper",
        );
        check("unknown func bpf_d_path#147", "does not have that helper");
        check("R0 invalid mem access 'scalar'", "report");
    }

    fn rejected() -> RuntimeError {
        let log = "0: (b7) r0 = 0\n1: (79) r2 = *(u64 *)(r0 +0)\nR0 invalid mem access 'scalar'\n\
            processed 2 insns (limit 1000000) max_states_per_insn 0";
        RuntimeError::Program {
            probe: "begin".into(),
            place: Some(LineInfo {
                insn: 1,
                file: 0,
                line: 2,
                column: 3,
            }),
            error: KernelError::Rejected {
                program: "p0".to_owned(),
                errno: Errno::ACCES,
                log: Box::new(VerifierLog::parse(log)),
            },
        }
    }

    #[test]
    fn a_rejection_shows_the_scripts_line_and_the_telling_one_of_the_log() {
        let (text, code) = told(&rejected(), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(code, FAILED);
        assert!(
            lines[0].contains("R0 invalid mem access 'scalar'"),
            "{text}"
        );
        assert_eq!(lines[1..4], ["at line 2, column 3:", "  @ = 1;", "  ^"]);
        assert!(lines[4].starts_with("HINT: -v shows"), "{text}");
        assert!(!text.contains("(79) r2"), "{text}");
        let (text, _) = told(&rejected(), true);
        assert!(text.contains("1: (79) r2 = *(u64 *)(r0 +0)\n"), "{text}");
    }

    #[test]
    fn each_cause_has_its_own_line_and_way_out() {
        let check = |error: RuntimeError, parts: &[&str]| {
            let (text, code) = told(&error, false);
            assert_eq!(code, FAILED);
            for part in parts {
                assert!(text.contains(part), "no `{part}` in:\n{text}");
            }
        };
        let denied = |cause| {
            RuntimeError::Kernel(KernelError::Permission {
                call: "BPF_PROG_LOAD",
                cause,
                about: Box::default(),
            })
        };
        let missing = vec!["CAP_BPF"];
        check(
            denied(Denial::Capability { missing }),
            &["lacks CAP_BPF", "run as root", "kscope doctor"],
        );
        let missing = vec!["CAP_SYS_ADMIN"];
        check(
            denied(Denial::Capability { missing }),
            &["lacks CAP_SYS_ADMIN", "CAP_BPF does not do"],
        );
        let missing = vec!["CAP_SYS_ADMIN (kernel.perf_event_paranoid is above 2)"];
        check(
            denied(Denial::Capability { missing }),
            &["paranoid is above 2", "sysctl kernel.perf_event_paranoid=2"],
        );
        let mode = "integrity".to_owned();
        check(
            denied(Denial::Lockdown { mode }),
            &["locked down (integrity)", "boot without"],
        );
        check(denied(Denial::Confined), &["confine", "container"]);
        check(
            denied(Denial::Memlock { limit: 65536 }),
            &["65536", "ulimit -l"],
        );
        check(denied(Denial::Kernel), &["everyone", "kscope doctor"]);
        for kprobes in [true, false] {
            check(
                denied(Denial::Trampoline { kprobes }),
                &["functions", "tp_btf"],
            );
        }
        let about = "program p".to_owned();
        let (call, errno) = ("BPF_PROG_LOAD", Errno::MFILE);
        check(
            RuntimeError::Kernel(KernelError::Os { call, errno, about }),
            &["Too many open files", "ulimit -n"],
        );
        let path = "/sys/kernel/btf/vmlinux".to_owned();
        check(
            RuntimeError::NoTypes { path },
            &["BTF", "CONFIG_DEBUG_INFO_BTF", "--btf"],
        );
        let error = KernelError::Unsupported {
            feature: "kprobes".to_owned(),
            since: Some("CONFIG_KPROBE_EVENTS"),
        };
        let probe = "kprobe:vfs_read".to_owned();
        check(
            RuntimeError::Attach { probe, error },
            &[
                "cannot attach kprobe:vfs_read",
                "CONFIG_KPROBE_EVENTS",
                "kscope doctor",
            ],
        );
        let probe = "kprobe:vfs_read".to_owned();
        let error = KernelError::Unsupported {
            feature: "kprobes".to_owned(),
            since: Some("CONFIG_KPROBE_EVENTS"),
        };
        let first = Box::new(RuntimeError::Attach { probe, error });
        check(
            RuntimeError::NothingAttached { first },
            &[
                "none of the script's probes",
                "CONFIG_KPROBE_EVENTS",
                "kscope doctor",
            ],
        );
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::of_output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!((failure.quiet, failure.code), (true, 0));
        let failure = Failure::of_output(&io::ErrorKind::StorageFull.into());
        assert_eq!((failure.quiet, failure.code), (false, FAILED));
    }
}
