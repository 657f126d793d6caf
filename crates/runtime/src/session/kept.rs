//! What programs send while others are still being attached.

use kscope_bpf::EventReader;

/// How many bytes of events are kept. What comes after them stays in the kernel's buffer, and is
/// counted as lost where that has no room.
const ROOM: usize = 64 << 20;

/// Events in the order in which they were read, as the kernel sent them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// Where in the bytes each event ends.
    ends: Vec<usize>,
}

impl Kept {
    fn push(&mut self, event: &[u8]) {
        self.bytes.extend_from_slice(event);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Gives the number of events.
    pub(super) fn count(&self) -> u64 {
        self.ends.len() as u64
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }
}

/// Empties a buffer, and keeps what was in it.
#[derive(Debug)]
pub(super) struct Keeper {
    reader: Option<EventReader>,
    kept: Kept,
    failed: Option<kscope_bpf::Error>,
}

impl Keeper {
    pub(super) fn new(reader: Option<EventReader>) -> Keeper {
        Keeper {
            reader,
            kept: Kept::default(),
            failed: None,
        }
    }

    /// Takes what is in the buffer now, unless that much is kept that the rest has to wait.
    pub(super) fn take(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        if self.failed.is_some() || self.kept.bytes.len() >= ROOM {
            return;
        }
        let kept = &mut self.kept;
        self.failed = reader.drain(&mut |event| kept.push(event)).err();
    }

    /// Gives the buffer back, and what was kept or why the buffer cannot be read.
    pub(super) fn finish(self) -> (Option<EventReader>, Result<Kept, kscope_bpf::Error>) {
        let kept = match self.failed {
            Some(error) => Err(error),
            None => Ok(self.kept),
        };
        (self.reader, kept)
    }
}

#[cfg(test)]
mod tests {
    use super::Kept;

    #[test]
    fn events_are_given_in_the_order_they_came_in_and_whole() {
        let mut kept = Kept::default();
        assert!(kept.is_empty());
        let sent: [&[u8]; 4] = [b"one", b"", b"three", b"4"];
        sent.iter().for_each(|event| kept.push(event));
        assert_eq!(kept.events().collect::<Vec<_>>(), sent);
        assert_eq!(kept.count(), 4);
        assert!(!kept.is_empty());
    }
}
