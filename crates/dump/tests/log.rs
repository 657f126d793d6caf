//! Logs of kernels built by code: the ring of records, and the records before it.

mod recipe;

use std::sync::Arc;

use kscope_dump::{Bytes, Dump, DumpOptions, Error, Kernel, LogCaller, LogLine};
use recipe::kernel::{SHAPE, Tiny};
use recipe::log::{Record, ring};
use recipe::{Kdump, Machine, Pack};

fn kernel(machine: &Machine) -> Kernel {
    let file = Kdump::new(Pack::Zlib).write(machine);
    let files: Vec<Arc<dyn Bytes>> = vec![Arc::new(file)];
    let dump = Dump::from_bytes(files, DumpOptions::default()).expect("a dump");
    Kernel::open(dump).expect("a kernel")
}

#[test]
fn the_ring_of_the_log() {
    const LOST: u64 = 1;
    const EMPTY: u64 = 3;
    let record = |id, state, begin, next, text| Record {
        id,
        state,
        begin,
        next,
        text,
    };
    let machine = ring(
        15,
        8,
        &[
            record(8, 2, 0x310, 0x330, "first"),
            record(9, 2, 0x330, 0x350, "second\nof two lines"),
            // Being written, and free to be used again.
            record(10, 0, 0x350, 0x360, "reserved"),
            record(11, 3, 0x360, 0x370, "reusable"),
            record(12, 2, EMPTY, EMPTY, ""),
            record(15, 2, LOST, LOST, ""),
            // Does not fit the end of the ring.
            record(13, 1, 0x3f0, 0x420, "at the begin"),
            // Of another round.
            record(6, 2, 0x370, 0x380, "old"),
        ],
    );
    let log = kernel(&machine).log().expect("a log");
    assert!(log.fault.is_none(), "{:?}", log.fault);
    let texts: Vec<&str> = log.items.iter().map(|l| &*l.text).collect();
    assert_eq!(texts, ["first", "second\nof two lines", "", "at the begin"]);
    assert_eq!(
        log.items[0],
        LogLine {
            nanoseconds: 8_000_000_000,
            level: 6,
            facility: 3,
            continues: true,
            caller: Some(LogCaller::Cpu(2)),
            text: "first".to_owned(),
        }
    );
}

#[test]
fn a_ring_whose_numbers_are_wrong() {
    let record = |id, begin, next| Record {
        id,
        state: 2,
        begin,
        next,
        text: "text",
    };
    // Positions outside, backwards, or of the last bytes; an end that is never met.
    let records = [
        record(0, u64::MAX - 1, 0),
        record(1, 0x1f8, 0x100),
        record(2, 0xf8, 0x100),
        record(3, 0xfe, 0xff00),
    ];
    let log = kernel(&ring(5000, 0, &records)).log().expect("a log");
    assert!(log.items.len() <= 8);
}

#[test]
fn the_log_of_older_kernels() {
    const DATA: u64 = 0xffff_8880_0100_0000;
    let build = |first: u32, next: u32, len: u32, there: u32, records: &[(u32, &str)]| {
        let mut tiny = Tiny::new(SHAPE);
        let (buf, text) = (DATA, DATA + 0x1000);
        tiny.write(buf, &text.to_le_bytes());
        for (i, number) in [len, first, next].into_iter().enumerate() {
            tiny.write(buf + 8 + 4 * i as u64, &number.to_le_bytes());
        }
        tiny.write(text, &vec![0; there as usize]);
        for &(at, line) in records {
            let at = text + u64::from(at);
            let whole = (16 + line.len()).next_multiple_of(4) as u16;
            tiny.write(at, &(u64::from(at as u32) * 1000).to_le_bytes());
            tiny.write(at + 8, &whole.to_le_bytes());
            tiny.write(at + 10, &(line.len() as u16).to_le_bytes());
            tiny.write(at + 14, &[0, 4 << 5]);
            tiny.write(at + 16, line.as_bytes());
        }
        for (name, offset) in [
            ("log_buf", 0),
            ("log_buf_len", 8),
            ("log_first_idx", 12),
            ("log_next_idx", 16),
        ] {
            tiny.line(format!("SYMBOL({name})={:x}", buf + offset));
        }
        for (member, offset) in [("ts_nsec", 0), ("len", 8), ("text_len", 10)] {
            tiny.line(format!("OFFSET(printk_log.{member})={offset}"));
        }
        tiny.line("SIZE(printk_log)=16".to_owned());
        kernel(&tiny.finish()).log().expect("a log")
    };
    let texts = |log: &kscope_dump::Walked<LogLine>| -> Vec<String> {
        log.items.iter().map(|l| l.text.clone()).collect()
    };
    // From the middle to the end, then from the begin.
    let log = build(64, 24, 128, 128, &[(64, "one"), (84, "two"), (0, "three")]);
    assert_eq!(texts(&log), ["one", "two", "three"]);
    assert!(log.fault.is_none());
    assert_eq!(log.items[0].level, 4);
    // An end that is never met.
    let log = build(0, 99, 128, 128, &[(0, "one")]);
    assert_eq!(texts(&log), ["one"]);
    assert!(log.fault.is_some());
    let log = build(0, 0, 128, 128, &[]);
    assert!(log.items.is_empty() && log.fault.is_none());
    // What is before memory that is missing is there.
    let log = build(4072, 8000, 8192, 4096, &[(4072, "one")]);
    assert_eq!(texts(&log), ["one"]);
    assert!(matches!(log.fault, Some(Error::Gap(_))));
}
