//! What comes out of a running script: its buffer, event by event.

use std::time::{Duration, Instant};

use kscope_bpf::Map;
use kscope_rows::Output;
use kscope_rows::time::{Dialect, format_time};
use kscope_script::plan::{ExitWord, MapPlan};
use kscope_spec::MapId;

use super::{Session, Sink};
use crate::error::Error;
use crate::event::Event;
use crate::files_and_commands::{self, GRACE};
use crate::maps::{self, Moment, Then};
use crate::resolve::Resolver;

/// How long a script may take from `print(@m)` to `clear(@m)`.
const HELD_WAIT: Duration = Duration::from_millis(1);
/// Most looks into the buffers after all is detached, each at no more than they have room for.
const LAST_LOOKS: u32 = 32;
/// How long programs that were still running then may take to write a record, for each look.
const LAST_WAIT: Duration = Duration::from_millis(1);

impl Session {
    /// Handles what is in the buffers now; gives the number of events.
    pub(super) fn drain(
        &mut self,
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, Error> {
        let seen = self.read(None, sink, stop)?;
        if seen == 0 {
            // Whatever the script did after it, it would have come by now.
            self.print_waiting(sink)?;
        }
        Ok(seen)
    }

    /// Handles all that is in the buffers and all that is held.
    pub(super) fn drain_all(
        &mut self,
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        self.drain(sink, stop)?;
        self.print_waiting(sink)
    }

    /// Handles what came until all was detached, and what programs that were running then are still writing: until nothing is
    /// there any more, or for so long that something is wrong.
    pub(super) fn drain_last(
        &mut self,
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        for _ in 0..LAST_LOOKS {
            let seen = self.drain(sink, stop)?;
            let reader = self.reader.as_ref();
            match (seen, reader.is_some_and(|reader| reader.available() > 0)) {
                (0, false) => break,
                (0, true) => std::thread::sleep(LAST_WAIT),
                _ => {}
            }
        }
        self.print_waiting(sink)
    }

    /// Waits for events, at most this long, and handles them.
    pub(super) fn wait(
        &mut self,
        time: Duration,
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, Error> {
        if self.reader.is_none() {
            std::thread::sleep(time);
            return Ok(0);
        }
        let time = match self.waiting.is_empty() {
            false => HELD_WAIT,
            true => time,
        };
        self.read(Some(time), sink, stop)
    }

    fn read(
        &mut self,
        time: Option<Duration>,
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<u64, Error> {
        // What the script sent before it wished to end is in the buffer then.
        let wished = match &self.reader {
            Some(_) => self.exit_without_event()?,
            None => return Ok(0),
        };
        let Some(mut reader) = self.reader.take() else {
            return Ok(0);
        };
        let kept = std::mem::take(&mut self.kept);
        let mut failed = None;
        let ending = self.ending;
        let mut each = |bytes: &[u8]| {
            // What came after `exit` is not the script's any more, but for what `end` prints.
            if failed.is_some() || (self.exit.is_some() && !ending) {
                return;
            }
            match self.handle(bytes, sink, stop) {
                Ok(Some(code)) => self.exit = self.exit.or(Some(code)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        };
        kept.events().for_each(&mut each);
        let round = match time {
            Some(time) if kept.is_empty() => reader.poll(Some(time), &mut each),
            _ => reader.drain(&mut each),
        };
        self.exit = self.exit.or(wished);
        self.reader = Some(reader);
        match failed {
            Some(error) => Err(error),
            None => Ok(kept.count() + round?.records),
        }
    }

    /// Gives the code of an `exit` whose event found no room.
    fn exit_without_event(&self) -> Result<Option<i32>, Error> {
        let map = self.plan.service.exit.filter(|_| self.exit.is_none());
        let Some(map) = map.and_then(|id| self.object.map(id)) else {
            return Ok(None);
        };
        let word = map.lookup(&0u32.to_ne_bytes())?;
        let word = word.as_deref().and_then(<[u8]>::first_chunk::<8>);
        Ok(word.and_then(|word| ExitWord(u64::from_ne_bytes(*word)).code()))
    }

    /// Handles one event; gives the code of an `exit`.
    fn handle(
        &mut self,
        bytes: &[u8],
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<i32>, Error> {
        let event = self.sites.decode(bytes, &self.resolver());
        if let Some(later) = &mut self.after_start {
            let waits = !later.is_empty() || matches!(event, Event::System(..));
            if waits && !matches!(event, Event::Exit(_)) {
                later.push(event);
                return Ok(None);
            }
        }
        self.act(event, sink, stop)
    }

    /// Does what waited until all probes are attached.
    pub(super) fn do_after_start(
        &mut self,
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        for event in self.after_start.take().unwrap_or_default() {
            self.act(event, sink, stop)?;
        }
        Ok(())
    }

    /// Does what an event asks for; gives the code of an `exit`.
    fn act(
        &mut self,
        event: Event,
        sink: &mut dyn Sink,
        stop: &dyn Fn() -> bool,
    ) -> Result<Option<i32>, Error> {
        let Some(event) = self.hold(event, sink)? else {
            return Ok(None);
        };
        let output = match event {
            Event::Output(output) => output,
            Event::Exit(code) => return Ok(Some(code)),
            Event::Time(format) => self.time(&format)?,
            Event::Cat(format, values) => {
                if let Some(render) = self.render {
                    let path = render(&format, &values);
                    let most = self.plan.config.max_cat_bytes;
                    for output in files_and_commands::cat(&path, most) {
                        sink.output(output).map_err(Error::Output)?;
                    }
                }
                return Ok(None);
            }
            Event::System(format, values) => {
                if let Some(render) = self.render {
                    // What was printed before comes before what the command writes by itself.
                    sink.pause().map_err(Error::Output)?;
                    let command = render(&format, &values);
                    let is_late = || stop() && self.note_wish().elapsed() >= GRACE;
                    files_and_commands::system(
                        &**self.target.kernel(),
                        &command,
                        &is_late,
                        &mut |output| sink.output(output),
                    )
                    .map_err(Error::Output)?;
                }
                return Ok(None);
            }
            Event::PrintMap { map, top, div } => {
                match self.map_now(map, (top, div), Then::Stays)? {
                    Some(shown) => shown,
                    None => return Ok(None),
                }
            }
            Event::PrintEntry { map, key } => {
                let (plan, map) = self.map(map)?;
                Output::Value(maps::read_entry(plan, map, &key, &self.resolver())?)
            }
            Event::Unwatch(address) => {
                self.unwatched.push(address);
                return Ok(None);
            }
            Event::Clear { map } => {
                maps::clear(self.map(map)?.1)?;
                return Ok(None);
            }
            Event::Zero { map } => {
                let (plan, map) = self.map(map)?;
                maps::zero(plan, map)?;
                return Ok(None);
            }
            // A torn or foreign record cannot be counted as an event of the script.
            Event::Unknown => return Ok(None),
        };
        sink.output(output).map_err(Error::Output)?;
        Ok(None)
    }

    /// Gives since when the run is to end, which is now where nobody asked before.
    pub(super) fn note_wish(&self) -> Instant {
        let since = self.asked_to_end.get().unwrap_or_else(Instant::now);
        self.asked_to_end.set(Some(since));
        since
    }

    /// Gives what `time` prints now.
    pub(super) fn time(&self, format: &str) -> Result<Output, Error> {
        let now = self.clock.now(&**self.target.kernel())?;
        Ok(Output::Time(format_time(format, &now, Dialect::Time)))
    }

    pub(super) fn map(&self, index: u32) -> Result<(&MapPlan, &Map), Error> {
        let missing = || {
            Error::Kernel(kscope_bpf::Error::NotFound {
                what: "map number",
                name: index.to_string(),
                near: Vec::new(),
            })
        };
        let plan = self.plan.maps.get(index as usize).ok_or_else(missing)?;
        let map = self.object.map(plan.map).ok_or_else(missing)?;
        Ok((plan, map))
    }

    pub(super) fn print_maps(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        for plan in maps::by_name(&self.plan) {
            let Some(map) = self.object.map(plan.map) else {
                continue;
            };
            let content = maps::read(plan, map, Then::Stays)?;
            let resolver = self.resolver();
            if let Some(output) = maps::show(plan, &content, (0, 0), Moment::End, &resolver) {
                sink.output(Output::Map(output)).map_err(Error::Output)?;
            }
        }
        Ok(())
    }

    /// Gives what names one event, or what has been read of one map.
    pub(super) fn resolver(&self) -> Resolver<'_> {
        self.cgroups.begin();
        let map = |id: Option<MapId>| id.and_then(|id| self.object.map(id));
        Resolver {
            symbols: self.target.symbols(),
            users: &self.users,
            clock: &self.clock,
            kernel_stacks: self.stacks[0].map(map),
            user_stacks: self.stacks[1].map(map),
            processes: &self.processes,
            cgroups: &self.cgroups,
            unread_stacks: &self.unread_stacks,
            cuts: &self.cuts,
            trailer: &self.plan.config.str_trunc_trailer,
        }
    }
}
