//! What comes out of a running script: its buffer, event by event.

use std::time::Duration;

use kscope_bpf::Map;
use kscope_rows::Output;
use kscope_rows::time::{Dialect, format_time};
use kscope_script::plan::{ExitWord, MapPlan};

use super::{Session, Sink};
use crate::error::Error;
use crate::event::Event;
use crate::maps::{self, Moment};
use crate::outside;
use crate::resolve::Resolver;

impl Session {
    /// Handles what is in the buffers now; gives the number of events.
    pub(super) fn drain(&mut self, sink: &mut dyn Sink) -> Result<u64, Error> {
        self.read(None, sink)
    }

    /// Waits for events, at most this long, and handles them.
    pub(super) fn wait(&mut self, time: Duration, sink: &mut dyn Sink) -> Result<u64, Error> {
        if self.reader.is_none() {
            std::thread::sleep(time);
            return Ok(0);
        }
        self.read(Some(time), sink)
    }

    fn read(&mut self, time: Option<Duration>, sink: &mut dyn Sink) -> Result<u64, Error> {
        // What the script sent before it wished to end is in the buffer then.
        let wished = match &self.reader {
            Some(_) => self.exit_without_event()?,
            None => return Ok(0),
        };
        let Some(mut reader) = self.reader.take() else {
            return Ok(0);
        };
        let mut failed = None;
        let mut exit = self.exit;
        let ending = self.ending;
        let mut each = |bytes: &[u8]| {
            // What came after `exit` is not the script's any more, but for what `end` prints.
            if failed.is_some() || (exit.is_some() && !ending) {
                return;
            }
            match self.handle(bytes, sink) {
                Ok(Some(code)) => exit = exit.or(Some(code)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        };
        let round = match time {
            None => reader.drain(&mut each),
            Some(time) => reader.poll(Some(time), &mut each),
        };
        self.exit = exit.or(wished);
        self.reader = Some(reader);
        match failed {
            Some(error) => Err(error),
            None => Ok(round?.records),
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
    fn handle(&self, bytes: &[u8], sink: &mut dyn Sink) -> Result<Option<i32>, Error> {
        let resolver = self.resolver();
        let output = match self.sites.decode(bytes, &resolver) {
            Event::Output(output) => output,
            Event::Exit(code) => return Ok(Some(code)),
            Event::Time(format) => {
                let now = self.clock.now(&**self.target.kernel())?;
                Output::Time(format_time(&format, &now, Dialect::Time))
            }
            Event::Cat(format, values) => match self.render {
                Some(render) => {
                    let path = render(&format, &values);
                    outside::cat(&path, self.plan.config.max_cat_bytes)
                }
                None => return Ok(None),
            },
            Event::System(format, values) => match self.render {
                Some(render) => {
                    // What was printed before comes before what the command writes by itself.
                    sink.pause().map_err(Error::Output)?;
                    outside::system(&render(&format, &values))
                }
                None => return Ok(None),
            },
            Event::PrintMap { map, top, div } => {
                let (plan, map) = self.map(map)?;
                match maps::read(plan, map, (top, div), Moment::Asked, &resolver)? {
                    Some(output) => Output::Map(output),
                    None => return Ok(None),
                }
            }
            Event::PrintEntry { map, key } => {
                let (plan, map) = self.map(map)?;
                Output::Value(maps::read_entry(plan, map, &key, &resolver)?)
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

    fn map(&self, index: u32) -> Result<(&MapPlan, &Map), Error> {
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
        let resolver = self.resolver();
        let mut order: Vec<_> = self.plan.maps.iter().collect();
        order.sort_by(|left, right| left.name.cmp(&right.name));
        for plan in order {
            let Some(map) = self.object.map(plan.map) else {
                continue;
            };
            if let Some(output) = maps::read(plan, map, (0, 0), Moment::End, &resolver)? {
                sink.output(Output::Map(output)).map_err(Error::Output)?;
            }
        }
        Ok(())
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver {
            symbols: self.target.symbols(),
            users: &self.users,
            clock: &self.clock,
            kernel_stacks: self
                .plan
                .service
                .kernel_stacks
                .and_then(|id| self.object.map(id)),
            user_stacks: self
                .plan
                .service
                .user_stacks
                .and_then(|id| self.object.map(id)),
            processes: &self.processes,
            unread_stacks: &self.unread_stacks,
            trailer: &self.plan.config.str_trunc_trailer,
        }
    }
}
