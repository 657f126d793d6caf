//! What the log says of the end.

use kscope_dump::LogLine;

/// How the line begins that every panic writes.
const PANIC: &str = "Kernel panic - not syncing";

/// Lines that tell of what went wrong before, and what they mean; the first of the last oops counts.
const CAUSES: [(&str, &str); 16] = [
    ("sysrq: Trigger a crash", "somebody asked for it (SysRq c)"),
    (
        "BUG: kernel NULL pointer dereference",
        "the kernel used a null pointer",
    ),
    (
        "BUG: unable to handle",
        "the kernel used memory that is not there",
    ),
    (
        "general protection fault",
        "the kernel used an address that cannot be",
    ),
    ("kernel BUG at", "a check in the kernel's code failed"),
    ("BUG: stack guard page", "a stack overflowed"),
    (
        "double fault",
        "an exception could not be handled, as of a stack that overflowed",
    ),
    ("divide error", "the kernel divided by zero"),
    (
        "invalid opcode",
        "the kernel ran into bytes that are no code",
    ),
    (
        "watchdog: BUG: soft lockup",
        "a CPU ran kernel code for too long",
    ),
    (
        "watchdog: Watchdog detected hard LOCKUP",
        "a CPU took no interrupts for too long",
    ),
    (
        "NMI watchdog: Watchdog detected hard LOCKUP",
        "a CPU took no interrupts for too long",
    ),
    ("rcu: INFO:", "a CPU or task held up RCU for too long"),
    ("INFO: task", "a task was blocked for too long"),
    ("Out of memory", "memory ran out"),
    ("mce: [Hardware Error]", "the hardware reported an error"),
];

/// What the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The line of the panic.
    pub(super) panic: Option<String>,
    /// The line that tells of the cause, and what that means.
    pub(super) cause: Option<(String, &'static str)>,
}

/// Looks for the panic and what led to it.
pub(super) fn told(lines: &[LogLine]) -> Told {
    let panic = lines.iter().rposition(|line| line.text.starts_with(PANIC));
    let before = &lines[..panic.unwrap_or(lines.len())];
    // From the end of the log: what went wrong last is what led to the end, unless a line of it
    // stands closer to its begin.
    let of = |line: &LogLine| {
        let found = CAUSES.iter().find(|(text, _)| line.text.contains(text));
        found.map(|(_, meaning)| (line.text.clone(), *meaning))
    };
    let last = before.iter().rev().find_map(of);
    Told {
        panic: panic.map(|at| lines[at].text.clone()),
        cause: last.filter(|_| panic.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cause_before_the_panic_counts() {
        let check = |lines: &[&str], panic: Option<&str>, cause: Option<&str>| {
            let lines: Vec<LogLine> = lines
                .iter()
                .map(|text| LogLine {
                    nanoseconds: 0,
                    level: 0,
                    facility: 0,
                    continues: false,
                    caller: None,
                    text: (*text).to_owned(),
                })
                .collect();
            let found = told(&lines);
            assert_eq!(found.panic.as_deref(), panic);
            assert_eq!(found.cause.as_ref().map(|(line, _)| line.as_str()), cause);
        };
        let panic = "Kernel panic - not syncing: Fatal exception";
        check(&["Linux version 6.1"], None, None);
        check(&["BUG: unable to handle page fault"], None, None);
        check(
            &[
                "INFO: task a blocked",
                "BUG: unable to handle page fault",
                panic,
                "Rebooting",
            ],
            Some(panic),
            Some("BUG: unable to handle page fault"),
        );
        check(&[panic, "sysrq: Trigger a crash"], Some(panic), None);
    }
}
