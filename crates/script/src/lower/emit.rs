//! Events: a record of the site's number and its arguments, written straight into the buffer.

use kscope_spec::{HelperId, helper};

use super::function::{Lower, Place, Result};
use crate::diagnostic::Span;
use crate::hir::Expr;
use crate::ir::{BinOp, Cond, Pointer, Value};
use crate::plan::{Counter, EVENT_HEADER, EventMap, ExitWord, Site, SiteId, SiteKind};

/// `BPF_F_CURRENT_CPU`
const CURRENT_CPU: i64 = 0xffff_ffff;
/// `BPF_RB_NO_WAKEUP`: the reader looks by itself; waking it costs microseconds.
const NO_WAKEUP: i64 = 1;
/// `BPF_RB_FORCE_WAKEUP`
const FORCE_WAKEUP: i64 = 2;

/// An argument before it is written.
enum Argument<'a> {
    /// A number and its width.
    Number(Value, u8),
    /// A memory value, evaluated in place.
    Memory(&'a Expr),
    /// A memory value that had to be evaluated before.
    Copied(Place, u32),
}

impl Lower<'_> {
    /// Sends an event.
    pub(super) fn emit(&mut self, site: SiteId, args: &[Expr]) -> Result<()> {
        let exits = matches!(self.site(site).kind, SiteKind::Exit);
        let mut arguments = Vec::with_capacity(args.len());
        for arg in args {
            arguments.push(match arg.ty.scalar_int() {
                Some(int) => Argument::Number(self.scalar(arg)?, int.bytes),
                None if super::statement::fresh(arg) => Argument::Memory(arg),
                None => {
                    let place = self.memory(arg)?;
                    Argument::Copied(place, arg.ty.size())
                }
            });
        }
        self.send(site, &arguments, exits)?;
        if exits {
            let exit = self.exit;
            self.b.jump(exit);
        }
        Ok(())
    }

    /// Tells the user of something that went wrong at this place of the script.
    pub(super) fn warn(&mut self, text: &str, span: Span) {
        let site = self.tables.message(self.program, text, span);
        // Without arguments nothing can fail.
        let _ = self.send(site, &[], false);
    }

    /// Tells the user of a read of memory that failed, where the script is compiled so.
    pub(super) fn tell_failed(&mut self, helper: HelperId, returned: Value) {
        if !self.program.reads_checked {
            return;
        }
        let name = helper::name(helper).unwrap_or("helper");
        let site = self.tables.helper_failed(self.program, name, self.at);
        let zero = self.b.constant(0);
        let failed = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Slt, returned, zero, failed, end);
        self.enter(failed);
        // A number alone: nothing can fail.
        let _ = self.send(site, &[Argument::Number(returned, 8)], false);
        self.join(end);
    }

    fn send(&mut self, site: SiteId, arguments: &[Argument<'_>], exits: bool) -> Result<()> {
        // A loop sends much at once, whatever the probe's pace.
        self.tables.busy |= !exits && (!self.paced || !self.loops.is_empty());
        match self.tables.events(self.program) {
            EventMap::Ring(map) => {
                let size = self.site_size(site);
                let map_value = self.b.map(map);
                let length = self.b.constant(i64::from(size));
                let flags = self.b.constant(0);
                let record = self.b.call_pointer(
                    helper::RINGBUF_RESERVE,
                    vec![map_value, length, flags],
                    Pointer::RecordOrNull(size),
                );
                let lost = self.b.block();
                let room = self.b.block();
                let end = self.b.block();
                self.b.branch_null(record, lost, room);
                self.enter(room);
                let record = self.b.non_null(record);
                self.fill(
                    site,
                    Place {
                        base: record,
                        offset: 0,
                        align: 8,
                    },
                    arguments,
                )?;
                let flags = self
                    .b
                    .constant(if exits { FORCE_WAKEUP } else { NO_WAKEUP });
                self.b.call(helper::RINGBUF_SUBMIT, vec![record, flags]);
                self.b.jump(end);
                self.enter(lost);
                self.lost(arguments, exits);
                self.join(end);
            }
            EventMap::Perf(map) => {
                let size = self.site_size(site);
                let slot = self.slot(size);
                let place = self.slot_place(slot);
                self.zero(place, size);
                self.fill(site, place, arguments)?;
                let ctx = self.ctx();
                let map_value = self.b.map(map);
                let flags = self.b.constant(CURRENT_CPU);
                let length = self.b.constant(i64::from(size));
                let data = self.address(place);
                let result = self.b.call(
                    helper::PERF_EVENT_OUTPUT,
                    vec![ctx, map_value, flags, data, length],
                );
                let zero = self.b.constant(0);
                let lost = self.b.block();
                let end = self.b.block();
                self.b.branch(Cond::Eq, result, zero, end, lost);
                self.enter(lost);
                self.lost(arguments, exits);
                self.join(end);
            }
        }
        Ok(())
    }

    /// What is done where there is no room for an event: it is counted, but `exit` is never lost.
    fn lost(&mut self, arguments: &[Argument<'_>], exits: bool) {
        if !exits {
            self.count(Counter::LostEvents);
            return;
        }
        let asked = self.b.constant(ExitWord::ASKED as i64);
        let word = match arguments.first() {
            Some(Argument::Number(code, _)) => {
                let shift = self.b.constant(i64::from(ExitWord::CODE_SHIFT));
                let code = self.b.binary(BinOp::Shl, *code, shift);
                self.b.binary(BinOp::Or, code, asked)
            }
            _ => asked,
        };
        let map = self.tables.exit();
        let place = self.value_place(map, 0);
        self.store(place, 8, word);
    }

    fn site_size(&self, site: SiteId) -> u32 {
        self.site(site).size.max(EVENT_HEADER)
    }

    fn site(&self, site: SiteId) -> &Site {
        self.tables.site(self.program, site)
    }

    fn fill(&mut self, site: SiteId, record: Place, arguments: &[Argument<'_>]) -> Result<()> {
        let number = self.b.constant(i64::from(site.0));
        self.b.store(8, record.base, record.offset, number);
        let offsets: Vec<u32> = self.site(site).fields.iter().map(|f| f.offset).collect();
        for (offset, argument) in offsets.into_iter().zip(arguments) {
            let to = record.at(offset);
            match argument {
                Argument::Number(value, bytes) => self.store(to, *bytes, *value),
                Argument::Memory(expr) => self.memory_into(expr, to, false)?,
                Argument::Copied(place, size) => self.copy(to, *place, *size),
            }
        }
        Ok(())
    }
}
