//! Events with types.

use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use kscope_spec::MapKind;

use crate::error::Error;
use crate::event::{EventReader, EventRound};
use crate::map::Map;
#[cfg(feature = "buffers")]
use crate::perf_buffer::PerfBuffer;
use crate::plain::Plain;
use crate::ring::RingBuffer;
use crate::waker::Waker;

/// Bytes of a perf buffer for each CPU, where nobody says.
#[cfg(feature = "buffers")]
const PERF_BYTES: usize = 64 << 10;

/// A map that programs send events through: a ring buffer or an array of perf events. It is a
/// [`Map`] for all else.
#[derive(Clone, Debug)]
pub struct EventMap {
    map: Map,
}

impl EventMap {
    /// Takes a map of events.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind.
    pub fn new(map: Map) -> Result<EventMap, Error> {
        match map.kind() {
            MapKind::RingBuf | MapKind::PerfEventArray => Ok(EventMap { map }),
            _ => Err(map.no_such("events")),
        }
    }

    /// Opens a reader of records as bytes. Perf buffers have 64 KiB for each CPU and wake the
    /// reader at each sample; `PerfBuffer::new` has the choice.
    ///
    /// # Errors
    ///
    /// As [`RingBuffer::new`] and `PerfBuffer::new`.
    pub fn reader(&self) -> Result<EventReader, Error> {
        match self.map.kind() {
            MapKind::RingBuf => RingBuffer::new(&[&self.map]).map(EventReader::Ring),
            #[cfg(not(feature = "buffers"))]
            _ => Err(Error::left_out("perf buffers", "buffers")),
            #[cfg(feature = "buffers")]
            _ => PerfBuffer::new(&self.map, PERF_BYTES, 0).map(EventReader::Perf),
        }
    }

    /// Opens a reader of events of one type.
    ///
    /// # Errors
    ///
    /// As [`EventMap::reader`].
    pub fn events<T: Plain>(&self) -> Result<Events<T>, Error> {
        self.reader().map(Events::new)
    }
}

impl Deref for EventMap {
    type Target = Map;

    fn deref(&self) -> &Map {
        &self.map
    }
}

/// A reader of events of one type.
#[derive(Debug)]
pub struct Events<T> {
    reader: EventReader,
    too_short: u64,
    ty: PhantomData<fn() -> T>,
}

impl<T: Plain> Events<T> {
    /// Reads events of this type.
    pub fn new(reader: EventReader) -> Events<T> {
        Events {
            reader,
            too_short: 0,
            ty: PhantomData,
        }
    }

    /// Waits until there are events, the time is over or a waker calls, and gives each event to
    /// `each`.
    ///
    /// # Errors
    ///
    /// As [`EventReader::poll`].
    pub fn poll(
        &mut self,
        timeout: Option<Duration>,
        each: &mut dyn FnMut(T),
    ) -> Result<EventRound, Error> {
        let too_short = &mut self.too_short;
        self.reader
            .poll(timeout, &mut |record| decode(record, too_short, each))
    }

    /// Gives each event that is there now to `each`, without waiting.
    ///
    /// # Errors
    ///
    /// As [`EventReader::drain`].
    pub fn drain(&mut self, each: &mut dyn FnMut(T)) -> Result<EventRound, Error> {
        let too_short = &mut self.too_short;
        self.reader
            .drain(&mut |record| decode(record, too_short, each))
    }

    /// Gives how many records were no events, having too few bytes.
    pub fn too_short(&self) -> u64 {
        self.too_short
    }

    /// Gives how many samples a perf buffer lost, see [`EventReader::lost`].
    pub fn lost(&self) -> u64 {
        self.reader.lost()
    }

    /// Gives a handle that ends a wait from another thread.
    pub fn waker(&self) -> Waker {
        self.reader.waker()
    }

    /// Gives the reader of bytes.
    pub fn into_reader(self) -> EventReader {
        self.reader
    }
}

fn decode<T: Plain>(record: &[u8], too_short: &mut u64, each: &mut dyn FnMut(T)) {
    match T::from_bytes(record) {
        Some(event) => each(event),
        None => *too_short += 1,
    }
}

impl<T> AsFd for Events<T> {
    /// Gives a descriptor for another epoll, see [`EventReader`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
