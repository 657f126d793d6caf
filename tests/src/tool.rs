//! Tools made for libbpf, at work: objects attached by their sections, and what they tell.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use kscope_bpf::{AttachOutcome, Error, EventReader, Link, Object, PerfBuffer, RingBuffer};

/// How long an event may take to come; guests are emulated.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A tool at work.
#[derive(Debug)]
pub struct Tool {
    /// The loaded object.
    pub object: Object,
    _links: Vec<Link>,
}

impl Tool {
    /// Attaches every program by its section.
    ///
    /// # Errors
    ///
    /// The reason to skip: what this kernel lacks, or refuses to this process.
    ///
    /// # Panics
    ///
    /// Where a program fails for another reason.
    pub fn attach(object: Object) -> Result<Tool, String> {
        if let Some(failed) = object.failures().next() {
            return match &failed.error {
                error @ (Error::Unsupported { .. } | Error::Permission { .. }) => {
                    Err(error.to_string())
                }
                error => panic!("{failed}\n{error:#?}"),
            };
        }
        let mut links = Vec::new();
        for one in object.attach() {
            match one.outcome {
                AttachOutcome::Attached(link) => links.push(link),
                AttachOutcome::Failed(error @ Error::Unsupported { .. }) => {
                    return Err(error.to_string());
                }
                other => panic!("{}: {other}", one.section),
            }
        }
        assert!(!links.is_empty());
        let _links = links;
        Ok(Tool { object, _links })
    }

    /// Opens the buffer of events.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn events(&self) -> Events {
        let map = self.object.map_named("events").expect("there");
        let reader = match PerfBuffer::new(map, 64 << 10, 0) {
            Ok(buffer) => EventReader::Perf(buffer),
            Err(_) => EventReader::Ring(RingBuffer::new(&[map]).expect("a ring")),
        };
        Events {
            reader,
            unread: VecDeque::new(),
        }
    }

    /// Gives the bytes of a global variable.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn global(&self, name: &str) -> Vec<u8> {
        let global = self.object.global(name).expect("there");
        global.bytes().expect("readable")
    }
}

/// A buffer of events, and those that were read and not asked for yet.
#[derive(Debug)]
pub struct Events {
    reader: EventReader,
    unread: VecDeque<Event>,
}

impl Events {
    /// Reads events until one is as wanted, and gives it.
    ///
    /// # Panics
    ///
    /// Where none comes.
    #[track_caller]
    pub fn wait(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let begin = Instant::now();
        let mut others = 0;
        loop {
            while let Some(event) = self.unread.pop_front() {
                if wanted(&event) {
                    return event;
                }
                others += 1;
            }
            let left = PATIENCE.saturating_sub(begin.elapsed());
            assert!(!left.is_zero(), "not among {others} events");
            let unread = &mut self.unread;
            let mut keep = |record: &[u8]| unread.push_back(Event(record.to_vec()));
            self.reader.poll(Some(left), &mut keep).expect("readable");
        }
    }
}

/// An event's bytes; every way of reading them panics where they are too few.
#[derive(Clone, Debug)]
pub struct Event(pub Vec<u8>);

impl Event {
    /// Gives a byte.
    ///
    /// # Panics
    ///
    /// Past the end.
    #[must_use]
    pub fn byte(&self, at: usize) -> u8 {
        self.0[at]
    }

    /// Gives two bytes as a number.
    ///
    /// # Panics
    ///
    /// Past the end.
    #[must_use]
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_ne_bytes(*self.0[at..].first_chunk().expect("long enough"))
    }

    /// Gives four bytes as a number.
    ///
    /// # Panics
    ///
    /// Past the end.
    #[must_use]
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(*self.0[at..].first_chunk().expect("long enough"))
    }

    /// Gives eight bytes as a number.
    ///
    /// # Panics
    ///
    /// Past the end.
    #[must_use]
    pub fn u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(*self.0[at..].first_chunk().expect("long enough"))
    }

    /// Gives a port as it is in a packet.
    ///
    /// # Panics
    ///
    /// Past the end.
    #[must_use]
    pub fn port(&self, at: usize) -> u16 {
        u16::from_be_bytes(*self.0[at..].first_chunk().expect("long enough"))
    }

    /// Gives the text that begins here and ends with a zero.
    ///
    /// # Panics
    ///
    /// Where there is no such text.
    #[must_use]
    pub fn text(&self, at: usize) -> &str {
        let bytes = &self.0[at..];
        let end = bytes.iter().position(|&byte| byte == 0);
        std::str::from_utf8(&bytes[..end.expect("ends")]).expect("text")
    }
}
