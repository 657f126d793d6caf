//! A ring laid out by hand in a file of memory.

use super::*;
use crate::mapping::memory_file;
use std::os::unix::fs::FileExt;

const SIZE: usize = 4096;

/// The kernel's side of a ring.
struct Producer {
    file: std::fs::File,
    size: usize,
    position: u64,
}

impl Producer {
    fn new() -> (Producer, RingConsumer) {
        Producer::of(SIZE, (SIZE, SIZE))
    }

    /// A ring of a size, of which a part is mapped at once, and so much behind it.
    fn of(size: usize, parts: (usize, usize)) -> (Producer, RingConsumer) {
        let page = page_size();
        let (file, _) = memory_file(0, page, 2 * page + 2 * size);
        let fd = file.try_clone().expect("a descriptor").into();
        let ring = RingConsumer::of_file(crate::real_kernel(), fd, size, parts).expect("it fits");
        let position = 0;
        (
            Producer {
                file,
                size,
                position,
            },
            ring,
        )
    }

    /// Writes at an offset into the data, which is mapped twice.
    fn write(&self, at: usize, bytes: &[u8]) {
        let data = 2 * page_size();
        let at = at % self.size;
        let (head, tail) = bytes.split_at(bytes.len().min(self.size - at));
        for copy in [data, data + self.size] {
            for (place, bytes) in [(copy + at, head), (copy, tail)] {
                self.file.write_all_at(bytes, place as u64).expect("memory");
            }
        }
    }

    fn put(&mut self, flags: u32, record: &[u8]) {
        self.put_header(record.len() as u32 | flags, record.len(), record);
    }

    fn put_header(&mut self, header: u32, reserve: usize, record: &[u8]) {
        let at = self.position as usize % self.size;
        self.write(at, &[header.to_ne_bytes(), [0; 4]].concat());
        self.write(at + HEADER, record);
        self.position += (reserve + HEADER).next_multiple_of(8) as u64;
        let place = page_size() as u64;
        self.file
            .write_all_at(&self.position.to_ne_bytes(), place)
            .expect("memory");
    }

    fn consumed(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).expect("memory");
        u64::from_ne_bytes(bytes)
    }
}

fn drain(ring: &mut RingConsumer) -> (Vec<Vec<u8>>, RingRound) {
    let mut records = Vec::new();
    let round = ring.consume(|record| {
        records.push(record.to_vec());
        ControlFlow::Continue(())
    });
    (records, round.expect("sound"))
}

#[test]
fn records_are_lent_in_order_and_the_position_follows() {
    let (mut producer, mut ring) = Producer::new();
    producer.put(0, b"one");
    producer.put(DISCARDED, b"gone");
    producer.put(0, b"");
    producer.put(0, b"12345678");
    assert_eq!(ring.available(), producer.position);
    let (records, round) = drain(&mut ring);
    assert_eq!(records, [&b"one"[..], b"", b"12345678"]);
    assert_eq!(
        round,
        RingRound {
            records: 3,
            discarded: 1,
            busy: false,
            more: false
        }
    );
    assert_eq!(producer.consumed(), producer.position);
    assert_eq!(ring.available(), 0);
}

#[test]
fn a_busy_record_holds_back_those_behind_it() {
    let (mut producer, mut ring) = Producer::new();
    producer.put(0, b"before");
    let at = producer.position as usize;
    producer.put(BUSY, b"slow");
    producer.put(0, b"after");
    let (records, round) = drain(&mut ring);
    assert_eq!(records, [b"before"]);
    assert!(round.busy);
    assert_eq!(producer.consumed(), at as u64);
    producer.write(at, &4u32.to_ne_bytes());
    let (records, round) = drain(&mut ring);
    assert_eq!(records, [&b"slow"[..], b"after"]);
    assert!(!round.busy);
}

#[test]
fn records_lie_whole_across_the_end() {
    let (mut producer, mut ring) = Producer::new();
    let mut expected = 0u64;
    for round in 0..500u64 {
        producer.put(0, &[(round % 251) as u8; 600]);
        let (records, _) = drain(&mut ring);
        assert_eq!(records, [[(round % 251) as u8; 600]]);
        expected += 608;
        assert_eq!(producer.consumed(), expected);
    }
}

#[test]
fn a_pass_may_be_ended_early_without_losing_records() {
    let (mut producer, mut ring) = Producer::new();
    for number in 0..5u8 {
        producer.put(0, &[number]);
    }
    let round = ring.consume(|record| match record {
        [2] => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert_eq!(round.expect("sound").records, 3);
    assert_eq!(drain(&mut ring).0, [[3], [4]]);
}

#[test]
fn what_comes_during_a_pass_belongs_to_it() {
    let (mut producer, mut ring) = Producer::new();
    producer.put(0, b"first");
    let mut seen = Vec::new();
    let round = ring.consume(|record| {
        if seen.len() < 3 {
            // The position is not visible yet, so a program that commits now wakes nobody.
            producer.put(0, b"late");
        }
        seen.push(record.to_vec());
        ControlFlow::Continue(())
    });
    let round = round.expect("sound");
    assert_eq!(seen, [&b"first"[..], b"late", b"late", b"late"]);
    assert_eq!((round.records, round.more), (4, false));
    assert_eq!(producer.consumed(), producer.position);
}

#[test]
fn a_record_committed_during_a_pass_belongs_to_it() {
    let (mut producer, mut ring) = Producer::new();
    producer.put(0, b"first");
    let at = producer.position as usize;
    producer.put(BUSY, b"slow");
    let mut seen = Vec::new();
    let round = ring.consume(|record| {
        producer.write(at, &4u32.to_ne_bytes());
        seen.push(record.to_vec());
        ControlFlow::Continue(())
    });
    assert!(!round.expect("sound").busy);
    assert_eq!(seen, [&b"first"[..], b"slow"]);
}

#[test]
fn a_producer_that_never_rests_cannot_keep_the_reader() {
    let (mut producer, mut ring) = Producer::new();
    producer.put(0, &[0; 56]);
    let round = ring.consume(|_| {
        producer.put(0, &[0; 56]);
        ControlFlow::Continue(())
    });
    assert_eq!(
        round,
        Ok(RingRound {
            records: 64,
            discarded: 0,
            busy: false,
            more: true
        })
    );
}

#[test]
fn nonsense_is_an_error_and_no_read_past_the_ring() {
    // Longer than the ring, and longer than what was produced.
    for length in [0x3fff_ffff, SIZE as u32 + 1, 100] {
        let (mut producer, mut ring) = Producer::new();
        producer.put_header(length, 16, b"");
        let met = ring.consume(|_| panic!("a record of {length} bytes"));
        assert_eq!(met, Err(Errno::IO));
    }
}

#[test]
fn sizes_that_are_no_ring_are_refused() {
    let page = page_size();
    let fits = |size: usize| {
        let (file, _) = memory_file(0, page, 2 * page + 2 * SIZE);
        let kernel = crate::real_kernel();
        RingConsumer::of_file(kernel, file.into(), size, (SIZE, 0)).is_ok()
    };
    assert!(fits(SIZE));
    assert!(!fits(SIZE / 2));
    assert!(!fits(3 * SIZE));
    assert!(!fits(3000));
    assert!(!fits(0));
    assert!(!fits(usize::MAX / 2 + 1));
}

#[test]
fn what_is_mapped_follows_the_records() {
    for (size, window, overlap) in [(SIZE, SIZE, 0), (4 * SIZE, SIZE, 0), (4 * SIZE, SIZE, SIZE)] {
        let (mut producer, mut ring) = Producer::of(size, (window, overlap));
        let long: Vec<u8> = (0..3 * size / 4).map(|n| n as u8).collect();
        // The headers come to stand at every place near an end, the last one included.
        for length in (1480..1500).chain([SIZE - 8, long.len() - 8, long.len()]) {
            for _ in 0..9 {
                producer.put(0, &long[..length.min(long.len())]);
                producer.put(0, &long[..8]);
                let (records, _) = drain(&mut ring);
                let expected = [&long[..length.min(long.len())], &long[..8]];
                assert!(records == expected, "{size} {window} {overlap}: {length}");
            }
        }
        assert_eq!(producer.consumed(), producer.position);
    }
}

#[test]
fn what_cannot_be_mapped_is_an_error() {
    // The second record ends with what is mapped, or goes on behind it.
    for (second, given) in [(2080, 2), (3000, 1)] {
        let all = [vec![1; 2000], vec![2; second], vec![3; 8]];
        let (mut producer, mut ring) = Producer::of(4 * SIZE, (SIZE, 0));
        // What is not there cannot be mapped by a descriptor that cannot be read.
        let write_only = std::fs::OpenOptions::new().write(true).open("/dev/null");
        let fd: OwnedFd = write_only.expect("it is there").into();
        let good = std::mem::replace(&mut ring.data.fd, fd);
        for record in &all {
            producer.put(0, record);
        }
        let mut records = Vec::new();
        let read = ring.consume(|record| {
            records.push(record.to_vec());
            ControlFlow::Continue(())
        });
        assert!(read.is_err());
        assert_eq!(records, all[..given]);
        // They are not given twice.
        assert!(ring.consume(|_| panic!("no record")).is_err());
        ring.data.fd = good;
        assert_eq!(drain(&mut ring).0, all[given..]);
    }
}
