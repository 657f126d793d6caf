//! Maps that wait to be printed until it is known whether they are to be emptied then: both are done
//! in one, so that nothing is lost between `print(@m)` and `clear(@m)`.

use kscope_rows::Output;

use super::{Session, Sink};
use crate::error::Error;
use crate::event::Event;
use crate::maps::{self, Moment, Then};

/// Most things that wait in one row.
const MOST: usize = 64;

/// What waits, in the order in which it is to be printed.
#[derive(Debug, Default)]
pub(super) struct Waiting(Vec<Item>);

#[derive(Debug)]
enum Item {
    /// To be printed as it is; nothing, of a map that has nothing to show.
    Ready(Option<Output>),
    /// A map, with the number of entries and the divisor.
    Map { map: u32, arguments: (u32, u64) },
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, wanted: u32) -> Option<usize> {
        let is_it = |item: &Item| matches!(item, Item::Map { map, .. } if *map == wanted);
        self.0.iter().position(is_it)
    }
}

impl Session {
    /// Handles an event where it concerns what waits, or is to be printed after that; gives back what
    /// is to be handled now.
    pub(super) fn hold(
        &mut self,
        event: Event,
        sink: &mut dyn Sink,
    ) -> Result<Option<Event>, Error> {
        let room = self.waiting.0.len() < MOST;
        let (map, then) = match event {
            Event::PrintMap { map, top, div } if self.sites.empties(map) => {
                if self.waiting.place(map).is_some() || !room {
                    self.print_waiting(sink)?;
                }
                let arguments = (top, div);
                self.waiting.0.push(Item::Map { map, arguments });
                return Ok(None);
            }
            event if self.waiting.is_empty() => return Ok(Some(event)),
            Event::Output(output) if room => {
                self.waiting.0.push(Item::Ready(Some(output)));
                return Ok(None);
            }
            Event::Time(format) if room => {
                let output = self.time(&format)?;
                self.waiting.0.push(Item::Ready(Some(output)));
                return Ok(None);
            }
            Event::Clear { map } => (map, Then::Cleared),
            Event::Zero { map } => (map, Then::Zeroed),
            event => {
                self.print_waiting(sink)?;
                return Ok(Some(event));
            }
        };
        let Some(place) = self.waiting.place(map) else {
            // A map that nothing waits for.
            return Ok(Some(event));
        };
        self.read_waiting(place, then)?;
        // What nothing before it waits for is printed.
        let is_ready = |item: &Item| matches!(item, Item::Ready(_));
        let ready = self.waiting.0.iter().take_while(|item| is_ready(item));
        let ready = ready.count();
        let outputs = self.waiting.0.drain(..ready);
        print(outputs, sink)?;
        Ok(None)
    }

    /// Prints all that waits; the maps stay as they are.
    pub(super) fn print_waiting(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        for place in 0..self.waiting.0.len() {
            self.read_waiting(place, Then::Stays)?;
        }
        print(self.waiting.0.drain(..), sink)
    }

    /// Reads a map that waits.
    fn read_waiting(&mut self, place: usize, then: Then) -> Result<(), Error> {
        let Some(Item::Map { map, arguments }) = self.waiting.0.get(place) else {
            return Ok(());
        };
        let shown = self.map_now(*map, *arguments, then)?;
        self.waiting.0[place] = Item::Ready(shown);
        Ok(())
    }

    /// Gives what `print` of a map shows now: nothing, of a map that has nothing to show.
    pub(super) fn map_now(
        &self,
        map: u32,
        arguments: (u32, u64),
        then: Then,
    ) -> Result<Option<Output>, Error> {
        let (plan, map) = self.map(map)?;
        let content = maps::read(plan, map, then)?;
        let shown = maps::show(plan, &content, arguments, Moment::Asked, &self.resolver());
        Ok(shown.map(Output::Map))
    }
}

fn print(items: impl Iterator<Item = Item>, sink: &mut dyn Sink) -> Result<(), Error> {
    for item in items {
        if let Item::Ready(Some(output)) = item {
            sink.output(output).map_err(Error::Output)?;
        }
    }
    Ok(())
}
