//! Names of what a script over a dump gives out, by the dump alone.

use std::sync::Arc;

use kscope_dump::Kernel;
use kscope_memory::VirtAddr;
use kscope_rows::time::{Dialect, format_time};
use kscope_rows::{Cut, Frame, Resolve, Stack, StackMode};
use kscope_script::interpret::Interpreter;

use crate::clock::WallClock;
use crate::resolve::Cuts;

/// `ENOENT` on every Linux.
const NOT_THERE: i32 = 2;

/// Resolves with what the dead kernel says of itself. Users and cgroups of its machine have no names
/// here.
pub(super) struct DumpResolver<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) interpreter: &'a Interpreter<'a>,
    pub(super) clock: &'a WallClock,
    pub(super) cuts: &'a Cuts,
    pub(super) trailer: &'a str,
}

impl DumpResolver<'_> {
    fn frame(&self, address: u64) -> Frame {
        let found = self.kernel.symbolize(VirtAddr(address));
        Frame {
            address,
            symbol: found.map(|found| found.symbol.name.into()),
            offset: found.map_or(0, |found| found.offset),
            module: found.and_then(|found| found.symbol.module.map(Into::into)),
        }
    }
}

impl Resolve for DumpResolver<'_> {
    fn kernel_stack(&self, id: i64) -> Stack {
        let Some(addresses) = self.interpreter.stack(id) else {
            let lost = i32::try_from(id.saturating_neg()).ok();
            return Stack {
                lost: lost.filter(|lost| *lost > 0).or(Some(NOT_THERE)),
                ..Stack::default()
            };
        };
        Stack {
            frames: addresses.iter().map(|at| self.frame(*at)).collect(),
            ..Stack::default()
        }
    }

    fn user_stack(&self, _id: i64, _pid: u32, _mode: StackMode) -> Stack {
        Stack {
            lost: Some(NOT_THERE),
            ..Stack::default()
        }
    }

    fn kernel_symbol(&self, address: u64) -> Option<Arc<str>> {
        let found = self.kernel.symbolize(VirtAddr(address))?;
        Some(found.symbol.name.into())
    }

    fn user_symbol(&self, _address: u64, _pid: u32) -> Option<Arc<str>> {
        None
    }

    fn timestamp(&self, nanoseconds: u64, format: &str) -> String {
        let time = self.clock.of_reading(nanoseconds);
        format_time(format, &time, Dialect::Strftime)
    }

    fn wall_clock(&self, nanoseconds: u64, format: &str) -> String {
        format_time(format, &self.clock.local(nanoseconds), Dialect::Strftime)
    }

    fn user_name(&self, _uid: u32) -> Option<String> {
        None
    }

    fn note_cut(&self, cut: Cut) {
        self.cuts.note(cut);
    }

    fn truncation_trailer(&self) -> &str {
        self.trailer
    }
}
