//! Why a program was refused.

#[cfg_attr(not(feature = "explain"), path = "refusal/unexplained.rs")]
mod why;

use std::os::fd::OwnedFd;
use std::time::Duration;

use kscope_spec::core::{POISON, Relocated};
use kscope_spec::{ExternId, MapId, ProgramSpec, Spec};
use kscope_sys::{Errno, Kernel};

#[cfg(feature = "explain")]
use super::kernel_types::KernelTypes;
use crate::error::Absent;
use crate::log::VerifierLog;
use crate::patch::{NO_FUNCTION, NO_MAP};
use crate::search::around;

/// Size of the buffer for a verifier's log. It costs no memory that the kernel does not write, and
/// a smaller one to begin with would cost the verifier another walk.
pub(crate) const LOG_BYTES: usize = 1 << 24;

/// One attempt to load a program, with or without a verifier's log.
pub(crate) type Attempt<'a> = dyn Fn(Log<'_>) -> Result<OwnedFd, Errno> + 'a;

/// What the verifier is to tell.
pub(crate) enum Log<'a> {
    Nothing,
    /// `BPF_LOG_LEVEL1`: each instruction on its way to the verdict.
    Walk(&'a mut [u8]),
    /// `BPF_LOG_STATS`: the verdict alone.
    Verdict(&'a mut [u8]),
    /// What the caller of the loader asked for.
    Level(u32, &'a mut [u8]),
}

impl<'a> Log<'a> {
    /// Gives the level as the kernel numbers it, and the room for the log.
    pub(crate) fn level_and_room(self) -> (u32, Option<&'a mut [u8]>) {
        match self {
            Log::Nothing => (0, None),
            Log::Walk(room) => (1, Some(room)),
            Log::Verdict(room) => (4, Some(room)),
            Log::Level(level, room) => (level, Some(room)),
        }
    }
}

/// What is known of a program that was refused.
pub(crate) struct Refused<'a> {
    pub(crate) kernel: &'a dyn Kernel,
    pub(crate) spec: &'a Spec,
    pub(crate) program: &'a ProgramSpec,
    #[cfg(feature = "explain")]
    pub(crate) types: &'a KernelTypes<'a>,
    pub(crate) relocated: Option<&'a Relocated>,
    pub(crate) errno: Errno,
    /// How long the verifier's log may be.
    pub(crate) log_bytes: usize,
    /// How long the verifier took.
    pub(crate) took: Duration,
}

/// How long the verifier may take for its walk to be asked for, which takes it several times longer.
const LONG: Duration = Duration::from_secs(1);

impl Refused<'_> {
    /// Finds what the verifier came to that is not there: a call of a helper that stands for it.
    fn absent(&self, log: &VerifierLog) -> Option<Absent> {
        let (_, number) = around(&log.telling_line, "unknown#")?;
        let end = number.find(|c: char| !c.is_ascii_digit());
        let number: i32 = number.get(..end.unwrap_or(number.len()))?.parse().ok()?;
        if number == POISON {
            let failures = self.relocated.map_or(&[][..], |done| &done.failures);
            let here = failures
                .iter()
                .find(|failure| Some(failure.insn) == log.insn);
            return here.or(failures.first()).cloned().map(Absent::Relocation);
        }
        let within = |base: i32| {
            let index = number.checked_sub(base)?;
            (0..1_000_000).contains(&index).then_some(index as u32)
        };
        if let Some(index) = within(NO_MAP) {
            let map = self.spec.maps.get(MapId(index).0 as usize)?;
            return Some(Absent::Map(map.name.clone()));
        }
        let external = ExternId(within(NO_FUNCTION)?);
        let external = self.spec.externs.get(external.0 as usize)?;
        Some(Absent::Function(external.name.clone()))
    }
}

/// What the verifier says of a program of which it has followed all that it follows.
const TOO_LARGE: &str = "BPF program is too large";

/// Gives the text that a buffer holds up to its first NUL.
pub(crate) fn text(buffer: &[u8]) -> String {
    let end = buffer.iter().position(|&byte| byte == 0);
    let bytes = buffer.get(..end.unwrap_or(buffer.len()));
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

/// Loads a refused program again and gives what the verifier says of it. Of a log that is too long
/// the kernel leaves the end, before Linux 6.4 the beginning: then the verdict is asked for apart.
/// Of a program that took the verifier long the verdict may be enough: that it is too large.
fn told(load: &Attempt<'_>, refused: &Refused<'_>) -> String {
    let log_bytes = refused.log_bytes;
    let mut buffer = vec![0; log_bytes];
    if refused.took >= LONG {
        let _ = load(Log::Verdict(&mut buffer));
        let verdict = text(&buffer);
        if verdict.contains(TOO_LARGE) {
            return verdict;
        }
        buffer.fill(0);
    }
    let outcome = load(Log::Walk(&mut buffer));
    let mut walk = text(&buffer);
    let is_cut = matches!(outcome, Err(Errno::NOSPC));
    if is_cut && VerifierLog::parse(&walk).verified_insns.is_none() {
        let mut buffer = vec![0; log_bytes];
        let _ = load(Log::Verdict(&mut buffer));
        let whole_lines = walk.rfind('\n').map_or(0, |end| end + 1);
        walk.truncate(whole_lines);
        if !walk.is_empty() {
            walk.push_str("[…]\n");
        }
        walk.push_str(&text(&buffer));
    }
    walk
}
