//! A perf ring laid out by hand in a file of memory.

use super::*;
use crate::mapping::memory_file;
use std::os::unix::fs::FileExt;

const SIZE: usize = 4096;

/// The kernel's side of a ring.
struct Writer {
    file: std::fs::File,
    head: u64,
}

impl Writer {
    fn new() -> (Writer, PerfRing) {
        let (file, memory) = memory_file(0, page_size() + SIZE, page_size() + SIZE);
        let event = file.try_clone().expect("a descriptor");
        let ring = PerfRing::from_parts(event.into(), memory, SIZE).expect("it fits");
        (Writer { file, head: 0 }, ring)
    }

    fn put(&mut self, kind: u32, size: u16, body: &[u8]) {
        let header = (u64::from(kind)) | (u64::from(size) << 48);
        let bytes = [&header.to_le_bytes(), body].concat();
        for (index, byte) in bytes.iter().enumerate() {
            let at = page_size() + (self.head as usize + index) % SIZE;
            self.file.write_all_at(&[*byte], at as u64).expect("memory");
        }
        self.head += u64::from(size);
        self.file
            .write_all_at(&self.head.to_ne_bytes(), DATA_HEAD as u64)
            .expect("memory");
    }

    /// A sample as perf pads it: size word and bytes together are a multiple of 8.
    fn sample(&mut self, bytes: &[u8]) {
        let padded = (bytes.len() + 4).next_multiple_of(8) - 4;
        let mut body = (padded as u32).to_ne_bytes().to_vec();
        body.extend_from_slice(bytes);
        body.resize(4 + padded, 0);
        self.put(RECORD_SAMPLE, (HEADER + body.len()) as u16, &body);
    }

    fn tail(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file
            .read_exact_at(&mut bytes, DATA_TAIL as u64)
            .expect("memory");
        u64::from_ne_bytes(bytes)
    }
}

fn drain(ring: &mut PerfRing) -> (Vec<Vec<u8>>, u64) {
    let (mut samples, mut lost) = (Vec::new(), 0);
    let met = ring.consume(|record| match record {
        PerfRecord::Sample(bytes) => samples.push(bytes.to_vec()),
        PerfRecord::Lost(count) => lost += count,
    });
    met.expect("sound");
    (samples, lost)
}

#[test]
fn samples_and_losses_come_in_order() {
    let (mut writer, mut ring) = Writer::new();
    writer.sample(b"four");
    writer.put(
        RECORD_LOST,
        24,
        &[7u64.to_ne_bytes(), 3u64.to_ne_bytes()].concat(),
    );
    writer.sample(b"123456789012");
    // PERF_RECORD_THROTTLE, which nobody asked for.
    writer.put(5, 32, &[0; 24]);
    writer.put(RECORD_LOST_SAMPLES, 16, &5u64.to_ne_bytes());
    let (samples, lost) = drain(&mut ring);
    assert_eq!(samples, [&b"four"[..], b"123456789012"]);
    assert_eq!(lost, 8);
    assert_eq!(writer.tail(), writer.head);
}

#[test]
fn padding_is_given_with_the_sample() {
    let (mut writer, mut ring) = Writer::new();
    writer.sample(b"12345");
    assert_eq!(drain(&mut ring).0, [b"12345\0\0\0\0\0\0\0"]);
}

#[test]
fn samples_across_the_end_are_joined() {
    let (mut writer, mut ring) = Writer::new();
    for round in 0..500u64 {
        let bytes = [(round % 251) as u8; 604];
        writer.sample(&bytes);
        assert_eq!(drain(&mut ring).0, [bytes]);
        assert_eq!(writer.tail(), (round + 1) * 616);
    }
}

#[test]
fn room_is_given_back_during_a_pass() {
    let (mut writer, mut ring) = Writer::new();
    for _ in 0..2 * PUBLISH_EVERY {
        writer.sample(b"four");
    }
    let mut unread = Vec::new();
    let met = ring.consume(|_| unread.push(writer.head - writer.tail()));
    assert_eq!(met, Ok(2 * PUBLISH_EVERY));
    unread.dedup();
    let size = 16;
    assert_eq!(unread, [2 * PUBLISH_EVERY * size, PUBLISH_EVERY * size]);
}

#[test]
fn nonsense_is_an_error_and_what_is_unread_is_dropped() {
    for (kind, size, body) in [
        (RECORD_SAMPLE, 0, vec![0; 8]),
        (RECORD_SAMPLE, 12, vec![0; 8]),
        (RECORD_SAMPLE, 8, vec![]),
        (RECORD_SAMPLE, 16, u32::MAX.to_ne_bytes().to_vec()),
        (RECORD_SAMPLE, 16, 5u32.to_ne_bytes().to_vec()),
        (RECORD_LOST, 16, vec![0; 8]),
        (RECORD_LOST_SAMPLES, 8, vec![]),
    ] {
        let (mut writer, mut ring) = Writer::new();
        writer.put(kind, size, &body);
        // A record of size 0 must not stop the ring for ever.
        writer.head = writer.head.max(8);
        writer
            .file
            .write_all_at(&writer.head.to_ne_bytes(), DATA_HEAD as u64)
            .expect("memory");
        let met = ring.consume(|record| panic!("{record:?} of {kind} {size}"));
        assert_eq!(met, Err(Errno::IO), "{kind} {size}");
        assert_eq!(writer.tail(), writer.head);
        writer.sample(b"next");
        // Heads that a test left unaligned are not the kernel's.
        if writer.tail() % 8 == 0 {
            assert_eq!(drain(&mut ring).0, [b"next"]);
        }
    }
}
