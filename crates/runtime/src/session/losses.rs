//! What a running script could not keep: lost events, lost stacks, full maps.

use kscope_rows::Output;
use kscope_script::plan::{CODE_OFFSET, Counter};
use kscope_spec::MapId;

use super::{Session, Sink, Summary};
use crate::error::Error;
use crate::refusals::Count;

impl Session {
    pub(super) fn report_losses(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let lost = self.counter(Counter::LostEvents)?;
        let new = lost.saturating_sub(self.lost_reported);
        if new > 0 {
            self.lost_reported = lost;
            sink.output(Output::Lost(new)).map_err(Error::Output)?;
        }
        Ok(())
    }

    pub(super) fn report_refusals(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut refusals = std::mem::take(&mut self.refusals);
        let looked = refusals.look(|counter| self.counts(counter), sink);
        self.refusals = refusals;
        looked
    }

    pub(super) fn summary(&self, missed_calls: u64) -> Result<Summary, Error> {
        Ok(Summary {
            lost_events: self.counter(Counter::LostEvents)?,
            lost_stacks: self.counter(Counter::LostStacks)? + self.unread_stacks.get(),
            cut_strings: self.cuts.strings.get(),
            cut_arguments: self.cuts.arguments.get(),
            missed_runs: self.missed_runs(),
            missed_calls,
            full_maps: self.refusals.maps(&self.plan),
        })
    }

    /// Adds up what the kernel counts in programs; one that does not tell has missed nothing.
    fn missed_runs(&self) -> u64 {
        let programs = self.object.programs();
        let missed = programs.filter_map(|program| Some(program.info().ok()?.recursion_misses));
        missed.sum()
    }

    /// Adds up what the kernel counts in links; it does so as long as they are attached.
    pub(super) fn missed_calls(&self) -> u64 {
        let missed = self.links.iter().filter_map(|link| link.details().ok());
        missed.map(|details| details.missed).sum()
    }

    fn counter(&self, counter: Counter) -> Result<u64, Error> {
        Ok(self.counts(counter)?.iter().map(|cpu| cpu.seen).sum())
    }

    /// Gives what each CPU counted.
    fn counts(&self, counter: Counter) -> Result<Vec<Count>, Error> {
        let map: Option<MapId> = self.plan.service.counters;
        let Some(map) = map.and_then(|id| self.object.map(id)) else {
            return Ok(Vec::new());
        };
        let Some(bytes) = map.lookup(&counter.index().to_ne_bytes())? else {
            return Ok(Vec::new());
        };
        let word = |bytes: &[u8], offset: u32| {
            let bytes = bytes.get(offset as usize..)?.first_chunk()?;
            Some(u64::from_ne_bytes(*bytes))
        };
        let each = map.value_size().next_multiple_of(8).max(8);
        let cpus = bytes.chunks_exact(each).map(|cpu| Count {
            seen: word(cpu, 0).unwrap_or(0),
            code: word(cpu, CODE_OFFSET).map_or(0, |code| code as u32 as i32),
        });
        Ok(cpus.collect())
    }
}
