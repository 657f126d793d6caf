//! What a running script could not keep: lost events, lost stacks, full maps.

use kscope_rows::Output;
use kscope_script::plan::Counter;
use kscope_spec::MapId;

use super::{Session, Sink, Summary};
use crate::error::Error;

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
        let looked = refusals.look(|counter| self.counter(counter), sink);
        self.refusals = refusals;
        looked
    }

    pub(super) fn summary(&self) -> Result<Summary, Error> {
        Ok(Summary {
            lost_events: self.counter(Counter::LostEvents)?,
            lost_stacks: self.counter(Counter::LostStacks)? + self.unread_stacks.get(),
            missed_runs: self.missed_runs(),
            full_maps: self.refusals.maps(&self.plan),
        })
    }

    /// Adds up what the kernel counts in programs; one that does not tell has missed nothing.
    fn missed_runs(&self) -> u64 {
        let programs = self.object.programs();
        let missed = programs.filter_map(|program| Some(program.info().ok()?.recursion_misses));
        missed.sum()
    }

    fn counter(&self, counter: Counter) -> Result<u64, Error> {
        let map: Option<MapId> = self.plan.service.counters;
        let Some(map) = map.and_then(|id| self.object.map(id)) else {
            return Ok(0);
        };
        let Some(bytes) = map.lookup(&counter.index().to_ne_bytes())? else {
            return Ok(0);
        };
        Ok(bytes
            .chunks_exact(8)
            .map(|word| {
                word.iter()
                    .rev()
                    .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
            })
            .sum())
    }
}
