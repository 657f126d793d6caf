//! Readers of events for programs on tokio.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kscope_sys::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Handle;

use crate::error::Error;
use crate::event::{EventReader, EventRound};
use crate::plain::Plain;
use crate::waker::Waker;

/// A reader of a ring buffer or a perf buffer that waits in tokio.
///
/// All of it is safe to cancel: what was read is kept until it is given out, and nothing is awaited
/// in between.
///
/// # Examples
///
/// ```no_run
/// use kscope_bpf::{AsyncReader, Error, EventReader};
///
/// async fn print(reader: EventReader) -> Result<(), Error> {
///     let mut reader = AsyncReader::new(reader)?;
///     let closer = reader.closer();
///     std::thread::spawn(move || {
///         let _ = std::io::stdin().read_line(&mut String::new());
///         closer.close();
///     });
///     while let Some(record) = reader.next().await? {
///         println!("{} bytes", record.len());
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct AsyncReader {
    source: AsyncFd<Source>,
    closer: Closer,
    /// Records that were read, and not given out.
    records: VecDeque<Vec<u8>>,
    /// Whether the buffers were looked at, which may have been filled before.
    looked: bool,
    /// How often the buffers may be looked at once the reader is closed.
    last_looks: u32,
}

/// How often a closed reader looks for what is left: programs that go on sending do not keep it open.
const LAST_LOOKS: u32 = 8;

/// The reader, as tokio takes descriptors.
#[derive(Debug)]
struct Source(EventReader);

impl AsRawFd for Source {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Closes an [`AsyncReader`] from elsewhere. Clones close the same reader.
#[derive(Clone, Debug)]
pub struct Closer {
    closed: Arc<AtomicBool>,
    waker: Waker,
}

impl Closer {
    /// Closes the reader: it gives out what is there, and then ends, even where programs go on
    /// sending.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Tells whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

impl AsyncReader {
    /// Lets a reader wait in the runtime that this is called in.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] outside of a runtime of tokio.
    ///
    /// # Panics
    ///
    /// In a runtime that was built without `enable_io` or `enable_all`.
    pub fn new(reader: EventReader) -> Result<AsyncReader, Error> {
        if Handle::try_current().is_err() {
            return Err(Error::invalid(
                "an AsyncReader can be made in a runtime of tokio alone",
            ));
        }
        let closer = Closer {
            closed: Arc::new(AtomicBool::new(false)),
            waker: reader.waker(),
        };
        let source = register(Source(reader)).map_err(|error| {
            let errno = Errno::from_io(&error);
            Error::os("epoll_ctl", errno, "a reader of events")
        })?;
        Ok(AsyncReader {
            source,
            closer,
            records: VecDeque::new(),
            looked: false,
            last_looks: LAST_LOOKS,
        })
    }

    /// Waits for the next record; none once the reader is closed and empty.
    ///
    /// # Errors
    ///
    /// As [`EventReader::poll`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Polls for the next record, to make a stream or a future of one's own of it.
    ///
    /// # Errors
    ///
    /// As [`AsyncReader::next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Vec<u8>>, Error>> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Poll::Ready(Ok(Some(record)));
            }
            let mut records = std::mem::take(&mut self.records);
            let round = self.poll_round(context, &mut |record| {
                records.push_back(record.to_vec());
            });
            self.records = records;
            if ready!(round)?.is_none() && self.records.is_empty() {
                return Poll::Ready(Ok(None));
            }
        }
    }

    /// Gives each record to `each`, in place, until the reader is closed; then tells what was read
    /// and what was lost.
    ///
    /// # Errors
    ///
    /// As [`AsyncReader::next`].
    pub async fn for_each(&mut self, mut each: impl FnMut(&[u8])) -> Result<EventRound, Error> {
        let mut all = EventRound::default();
        while let Some(record) = self.records.pop_front() {
            all.records += 1;
            each(&record);
        }
        while let Some(round) = self.round(&mut each).await? {
            all.records += round.records;
            all.discarded += round.discarded;
            all.lost += round.lost;
        }
        Ok(all)
    }

    /// Waits until there are records, and gives each that is there now to `each`, in place; none
    /// once the reader is closed and empty. Records that [`AsyncReader::next`] has read already are
    /// left to it.
    ///
    /// # Errors
    ///
    /// As [`AsyncReader::next`].
    pub async fn round(
        &mut self,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Option<EventRound>, Error> {
        poll_fn(|context| self.poll_round(context, &mut each)).await
    }

    fn poll_round(
        &mut self,
        context: &mut Context<'_>,
        each: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<Option<EventRound>, Error>> {
        // What came before the reader waits for the first time may not be told of.
        if !self.looked {
            self.looked = true;
            let round = look(self.source.get_mut(), each)?;
            if is_something(&round) {
                return Poll::Ready(Ok(Some(round)));
            }
        }
        loop {
            // Asked before the look: what comes after that is given out.
            let closed = self.closer.is_closed();
            if closed {
                let Some(left) = self.last_looks.checked_sub(1) else {
                    return Poll::Ready(Ok(None));
                };
                self.last_looks = left;
                let round = look(self.source.get_mut(), each)?;
                return Poll::Ready(Ok(is_something(&round).then_some(round)));
            }
            let ready = ready!(self.source.poll_read_ready_mut(context));
            let mut guard = ready.map_err(|error| {
                let errno = Errno::from_io(&error);
                Error::os("epoll_wait", errno, "a reader of events")
            })?;
            let round = look(guard.get_inner_mut(), each)?;
            if is_something(&round) {
                return Poll::Ready(Ok(Some(round)));
            }
            // Keeps what came since: tokio counts the times it was told.
            guard.clear_ready();
        }
    }

    /// Gives a handle that closes the reader.
    pub fn closer(&self) -> Closer {
        self.closer.clone()
    }

    /// Gives how many samples a perf buffer lost, see [`EventReader::lost`].
    pub fn lost(&self) -> u64 {
        self.source.get_ref().0.lost()
    }

    /// Decodes each record as an event of this type.
    #[must_use]
    pub fn typed<T: Plain>(self) -> AsyncEvents<T> {
        AsyncEvents {
            reader: self,
            too_short: 0,
            ty: std::marker::PhantomData,
        }
    }
}

#[allow(
    deprecated,
    reason = "the call is deprecated because it trusts `as_raw_fd`: here it gives one descriptor, \
              which the source owns and never exchanges"
)]
fn register(source: Source) -> std::io::Result<AsyncFd<Source>> {
    AsyncFd::with_interest(source, Interest::READABLE)
}

/// Takes what is there, and what woke the reader off its descriptor.
fn look(source: &mut Source, each: &mut dyn FnMut(&[u8])) -> Result<EventRound, Error> {
    source.0.poll(Some(Duration::ZERO), each)
}

/// Tells whether a round is worth telling of.
fn is_something(round: &EventRound) -> bool {
    round.records > 0 || round.discarded > 0 || round.lost > 0
}

/// A reader of events of one type that waits in tokio.
#[derive(Debug)]
pub struct AsyncEvents<T> {
    reader: AsyncReader,
    too_short: u64,
    ty: std::marker::PhantomData<fn() -> T>,
}

impl<T: Plain> AsyncEvents<T> {
    /// Waits for the next event; none once the reader is closed and empty.
    ///
    /// # Errors
    ///
    /// As [`AsyncReader::next`].
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        while let Some(record) = self.reader.next().await? {
            match T::from_bytes(&record) {
                Some(event) => return Ok(Some(event)),
                None => self.too_short += 1,
            }
        }
        Ok(None)
    }

    /// Gives how many records were no events, having too few bytes.
    pub fn too_short(&self) -> u64 {
        self.too_short
    }

    /// Gives a handle that closes the reader.
    pub fn closer(&self) -> Closer {
        self.reader.closer()
    }

    /// Gives the reader of bytes.
    pub fn into_reader(self) -> AsyncReader {
        self.reader
    }
}
