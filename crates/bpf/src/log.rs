//! The verifier's log: kept whole, and its one telling line found.

#[cfg(feature = "explain")]
mod advice;

use std::fmt;

use crate::search::has;
use kscope_spec::{LineInfo, ProgramSpec};

/// What the verifier said of a program.
///
/// # Examples
///
/// ```
/// let text = "0: (61) r1 = *(u32 *)(r2 +0)\nR2 !read_ok\nprocessed 1 insns (limit 1000000)\n";
/// let log = kscope_bpf::VerifierLog::parse(text);
/// assert_eq!(log.telling_line, "R2 !read_ok");
/// assert_eq!((log.insn, log.verified_insns), (Some(0), Some(1)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifierLog {
    /// The whole text.
    pub text: String,
    /// The line that says what is wrong; empty if there is none.
    pub telling_line: String,
    /// Slot of the instruction that the line is about.
    pub insn: Option<u32>,
    /// Instructions that the verifier walked through.
    pub verified_insns: Option<u64>,
}

impl VerifierLog {
    /// Reads a log of any kernel; a text that is no such log gives just its last line.
    pub fn parse(text: &str) -> VerifierLog {
        let mut telling = "";
        let mut insn = None;
        let mut verified_insns = None;
        // Linux 7.3 follows the classic message by a block of explanation, which is not parsed.
        let mut explained = false;
        for line in text.lines() {
            let (line, count) = without_statistics(line.trim_end());
            verified_insns = count.or(verified_insns);
            if line.starts_with("Verification failed") {
                explained = true;
            } else if !explained && !line.trim().is_empty() {
                if let Some(number) = instruction(line) {
                    insn = Some(number);
                    telling = behind_jump(line);
                } else if !is_noise(line) {
                    telling = line;
                }
            }
        }
        let named = named_instruction(telling);
        VerifierLog {
            text: text.to_owned(),
            telling_line: telling.trim().to_owned(),
            insn: named.or(insn),
            verified_insns,
        }
    }

    /// Finds the place in the source of the instruction that is at fault.
    pub fn place(&self, program: &ProgramSpec) -> Option<LineInfo> {
        place_of(program, self.insn?)
    }
}

#[cfg(not(feature = "explain"))]
impl VerifierLog {
    /// Gives none: the feature `explain` knows the ways out.
    pub fn advice(&self) -> Option<&'static str> {
        None
    }
}

impl fmt::Display for VerifierLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Finds the place in the source of an instruction.
pub(crate) fn place_of(program: &ProgramSpec, insn: u32) -> Option<LineInfo> {
    let after = program.lines.partition_point(|line| line.insn <= insn);
    program.lines.get(after.checked_sub(1)?).copied()
}

/// Splits a line from the statistics, which some messages of the kernel end without a line's end before.
fn without_statistics(line: &str) -> (&str, Option<u64>) {
    const BEGIN: &str = "processed ";
    let Some(at) = line.rfind(BEGIN) else {
        return (line, None);
    };
    let (before, rest) = line.split_at(at);
    match processed(rest) {
        Some(count) => (before.trim_end(), Some(count)),
        None => (line, None),
    }
}

/// `processed 12 insns (limit 1000000) …`
fn processed(line: &str) -> Option<u64> {
    let (count, rest) = line.strip_prefix("processed ")?.split_once(' ')?;
    if rest.starts_with("insns") {
        count.parse().ok()
    } else {
        None
    }
}

/// `12: (bf) r1 = r6`
fn instruction(line: &str) -> Option<u32> {
    let (number, rest) = line.split_once(':')?;
    let code = rest.strip_prefix(" (")?.get(..3)?;
    let hex = code.ends_with(')') && code.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if hex { number.parse().ok() } else { None }
}

/// Gives the message on the line of a jump, or nothing: a state that has nothing to tell takes the line's end away
/// (`8: (5d) if r2 != r1 goto pc-5 infinite loop detected at insn 4`).
fn behind_jump(line: &str) -> &str {
    let Some((_, target)) = line.split_once(" goto pc") else {
        return "";
    };
    let rest = target.split_once(' ').map_or("", |(_, rest)| rest).trim();
    if rest.starts_with([';', 'R']) || is_noise(rest) {
        ""
    } else {
        rest
    }
}

/// Lines that tell a state, a source text or a statistic.
fn is_noise(line: &str) -> bool {
    let state = line.split_once(':').is_some_and(|(number, rest)| {
        let from = number
            .strip_prefix("from ")
            .is_some_and(|range| has(range, " to "));
        let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        let frame = rest.trim_start().strip_prefix("frame").is_some();
        from || (numbered && (rest.is_empty() || rest.starts_with(" R") || frame))
    });
    state
        || line.starts_with(';')
        || line.starts_with("old state:")
        || line.starts_with("cur state:")
        || line.starts_with("func#")
        || line.starts_with(" R0")
        || line.starts_with("last_idx ")
        || line.starts_with("regs=")
        || line.starts_with("mark_precise:")
        || line.starts_with("parent ")
        || line.starts_with("verification time ")
        || line.starts_with("stack depth ")
        || line.starts_with("returning from callee")
        || line.starts_with("to caller at ")
        || line.starts_with("caller:")
        || line.starts_with("callee:")
        || line.starts_with(" frame")
        || line.starts_with("propagating ")
        || line.ends_with(": safe")
        || has(line, " for reg r") && line.starts_with("Live regs")
}

/// `unreachable insn 7`, `jump out of range from insn 2 to 9`, `back-edge from insn 4 to 3`.
fn named_instruction(line: &str) -> Option<u32> {
    let plain = ["unreachable insn ", "from insn ", "at insn ", "last insn "]
        .iter()
        .find_map(|words| line.split_once(words))?
        .1;
    let end = plain
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(plain.len());
    plain.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests;
