//! The lines of a stack.

use super::no_stack;
use crate::Frame;
use crate::snapshot::line::Line;
use crate::snapshot::{StackState, SyscallSeen, TaskSeen};

/// Most frames of a stack: a log may have any text.
const FRAMES: usize = 512;

/// A stack whose lines are being read.
#[derive(Default)]
pub(super) struct Trace {
    begun: bool,
    /// Whether `<TASK>` stood there, so that `</TASK>` has to come.
    marked: bool,
    ended: bool,
    stopped: bool,
    user: bool,
    frames: Vec<(Option<u64>, Frame)>,
    /// Registers of the program: those of a system call's arguments, in their order.
    registers: [Option<u64>; 6],
    syscall: Option<u64>,
}

/// Registers with the arguments of a system call on x86_64, in their order.
const ARGUMENTS: [&str; 6] = ["RDI", "RSI", "RDX", "R10", "R08", "R09"];

impl Trace {
    /// Tells whether lines of a stack were there.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Tells whether its end was there.
    pub(super) fn has_ended(&self) -> bool {
        self.ended || (self.begun && !self.marked)
    }

    /// Says that the log ends here.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// Reads a line; says whether it is one of a stack.
    pub(super) fn line(&mut self, line: Line<'_>, task: &mut TaskSeen) -> bool {
        let text = line.text;
        match text {
            "Call Trace:" | "Call trace:" => {
                self.begun = true;
                return true;
            }
            "<TASK>" => {
                self.begun = true;
                self.marked = true;
                return true;
            }
            "</TASK>" => {
                self.ended = true;
                return self.begun;
            }
            _ => {}
        }
        if is_mark(text) {
            return self.begun;
        }
        if let Some(rest) = text.strip_prefix("RIP: ") {
            return self.instruction(rest, line.at, task);
        }
        if self.begun || self.user {
            if self.registers(text) {
                return true;
            }
            if text.starts_with("Code: ") || text.starts_with("FS: ") {
                return true;
            }
        }
        // A wrapped log begins in the middle of a stack.
        let Some((frame, is_sure)) = frame(text) else {
            return false;
        };
        if self.ended {
            return false;
        }
        self.begun = true;
        if is_sure && self.frames.len() < FRAMES {
            self.frames.push((line.at, frame));
        }
        true
    }

    /// `0033:0x42fd48` is in a program, `0010:default_idle+0xb/0x10` in the kernel.
    fn instruction(&mut self, rest: &str, at: Option<u64>, task: &TaskSeen) -> bool {
        if rest.starts_with("0033:") || rest.starts_with("0023:") {
            self.user = true;
            return self.begun || task.cpu.is_some();
        }
        let found = rest.split_once(':').and_then(|(_, place)| frame(place));
        if let Some((frame, _)) = found {
            // It was interrupted there: what is above is the interrupt's.
            if task.cpu.is_some() && self.frames.len() < FRAMES {
                self.frames.push((at, frame));
            }
            return true;
        }
        self.begun
    }

    /// Reads `RSP: 002b:00007ffc EFLAGS: 00000202 ORIG_RAX: 000000000000003a` and its like.
    fn registers(&mut self, text: &str) -> bool {
        let names = ["RSP: ", "RAX: ", "RDX: ", "RBP: ", "R10: ", "R13: "];
        if !names.iter().any(|name| text.starts_with(name)) {
            return false;
        }
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            let Some(name) = word.strip_suffix(':') else {
                continue;
            };
            let value = words
                .next()
                .and_then(|hex| u64::from_str_radix(hex, 16).ok());
            if !self.user {
                continue;
            }
            if name == "ORIG_RAX" {
                /// What interrupts and exceptions leave there.
                const NONE: u64 = u64::MAX;
                self.syscall = value.filter(|number| *number != NONE);
            }
            if let Some(at) = ARGUMENTS.iter().position(|argument| *argument == name) {
                self.registers[at] = value;
            }
        }
        true
    }

    /// Gives a task what was read.
    pub(super) fn give(mut self, task: &mut TaskSeen) {
        self.undouble();
        task.frames = self.frames.into_iter().map(|(_, frame)| frame).collect();
        let all: Vec<u64> = self.registers.iter().copied().flatten().collect();
        task.syscall = self.syscall.map(|number| SyscallSeen {
            number,
            args: all.try_into().ok(),
        });
        let cut = || StackState::Cut("the log ends before it does".to_owned());
        task.stack = match (task.frames.is_empty(), self.begun) {
            (true, _) if self.user => StackState::User,
            (true, false) => no_stack(),
            (true, true) if !self.stopped => StackState::None("the kernel gave none".to_owned()),
            (true, true) => cut(),
            _ if self.marked && !self.ended => cut(),
            _ if self.stopped && !self.ended && !self.user => cut(),
            _ => StackState::Whole,
        };
    }

    /// Takes one of each two frames where each stands there twice with one and the same time, as in
    /// the text of a console.
    fn undouble(&mut self) {
        let pairs = self.frames.chunks(2);
        let doubled = self.frames.len() > 3
            && pairs
                .into_iter()
                .all(|pair| pair.len() == 2 && pair[0] == pair[1] && pair[0].0.is_some());
        if doubled {
            self.frames = self.frames.iter().step_by(2).cloned().collect();
        }
    }
}

/// `<IRQ>`, `</NMI>` and their like.
fn is_mark(text: &str) -> bool {
    const MARKS: [&str; 7] = [
        "IRQ",
        "NMI",
        "SOFTIRQ",
        "#DB",
        "#DF",
        "#VC",
        "ENTRY_TRAMPOLINE",
    ];
    let inside = text
        .strip_prefix('<')
        .and_then(|text| text.strip_suffix('>'));
    inside.is_some_and(|mark| MARKS.contains(&mark.strip_prefix('/').unwrap_or(mark)))
}

/// Reads a frame, and whether the kernel itself trusts it: `? schedule+0x27/0xc0 [module]`.
fn frame(text: &str) -> Option<(Frame, bool)> {
    let (text, is_sure) = match text.strip_prefix("? ") {
        Some(text) => (text, false),
        None => (text, true),
    };
    // Kernels before 4.9 print the address as well.
    let text = match text.strip_prefix("[<") {
        Some(rest) => rest.split_once(">] ")?.1,
        None => text,
    };
    let (text, is_sure) = match text.strip_prefix("? ") {
        Some(text) => (text, false),
        None => (text, is_sure),
    };
    let (place, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (name, offsets) = place.split_once("+0x")?;
    let (offset, size) = offsets.split_once("/0x")?;
    let offset = u64::from_str_radix(offset, 16).ok()?;
    u64::from_str_radix(size, 16).ok()?;
    if name.is_empty() {
        return None;
    }
    // With a build id behind the name on some kernels; `(P)` on others is no module.
    let module = rest.trim_start().strip_prefix('[').and_then(|rest| {
        let end = rest.find([' ', ']'])?;
        Some(rest[..end].into())
    });
    let frame = Frame {
        address: 0,
        symbol: Some(name.into()),
        offset,
        module,
    };
    Some((frame, is_sure))
}
