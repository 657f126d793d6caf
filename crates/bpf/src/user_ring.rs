//! What a process tells programs: the producer of a user ring buffer.

use kscope_spec::MapKind;
use kscope_sys::{Errno, RingProducer};

use crate::error::Error;
use crate::map::Map;

/// The producer of a [`MapKind::UserRingBuf`] map; programs read it by `bpf_user_ringbuf_drain`.
#[derive(Debug)]
pub struct UserRing {
    ring: RingProducer,
    map: Map,
}

impl UserRing {
    /// Becomes the producer of a map; there is one at a time.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for another kind of map, [`Error::Os`] with `EBUSY` where there is a
    /// producer.
    ///
    /// # Minimum kernel version
    ///
    /// Linux 6.1.
    pub fn new(map: &Map) -> Result<UserRing, Error> {
        if map.kind() != MapKind::UserRingBuf {
            return Err(Error::invalid(format!(
                "map {} is no user ring buffer",
                map.name()
            )));
        }
        let ring = RingProducer::new(&**map.kernel(), map.fd());
        let ring = ring.map_err(|errno| Error::os("mmap", errno, format!("map {}", map.name())))?;
        Ok(UserRing {
            ring,
            map: map.clone(),
        })
    }

    /// Adds a record; `false` while there is no room for it.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a record that never fits.
    pub fn push(&mut self, record: &[u8]) -> Result<bool, Error> {
        match self.ring.push(record) {
            Ok(()) => Ok(true),
            Err(Errno::NOSPC) => Ok(false),
            Err(Errno::TOO_BIG) => Err(Error::invalid(format!(
                "a record of {} bytes never fits into map {}",
                record.len(),
                self.map.name()
            ))),
            Err(errno) => Err(Error::os("mmap", errno, format!("map {}", self.map.name()))),
        }
    }

    /// Gives the number of bytes that programs have not read yet, headers included.
    pub fn pending(&self) -> u64 {
        self.ring.pending()
    }
}
