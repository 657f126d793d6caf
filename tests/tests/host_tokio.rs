//! Events read in tokio: what programs send while nobody waits, and while somebody does.

use std::time::Duration;

use kscope_bpf::spec::{MapId, MapKind, ProgramId};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{
    AsyncReader, Error, EventReader, Map, Object, PerfBuffer, Program, RingBuffer, TestInput,
};
use kscope_tests::assembly::Assembly;
use kscope_tests::kernel_or_skip;
use tokio::time::timeout;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long nothing is waited for.
const SHORT: Duration = Duration::from_millis(20);

/// Send the first argument as a record of 8 bytes.
const RING: &str = "r2 = *(u64 *)(r1 + 0)\n*(u64 *)(r10 - 8) = r2\nr1 = map(events) ll\nr2 = r10\n\
    r2 += -8\nr3 = 8\nr4 = 0\ncall ringbuf_output\nexit";
const PERF: &str = "r6 = *(u64 *)(r1 + 0)\n*(u64 *)(r10 - 8) = r6\nr2 = map(events) ll\n\
    r3 = 4294967295 ll\nr4 = r10\nr4 += -8\nr5 = 8\ncall perf_event_output\nexit";

fn object(kernel: &SharedKernel, perf: bool) -> Object {
    let (kind, sizes, entries, text) = match perf {
        true => (MapKind::PerfEventArray, (4, 4), 0, PERF),
        false => (MapKind::RingBuf, (0, 0), 1 << 16, RING),
    };
    Assembly::new()
        .map("events", kind, sizes, entries)
        .raw("send", text)
        .load_all(kernel)
}

fn reader(map: &Map) -> EventReader {
    match map.kind() {
        MapKind::RingBuf => EventReader::Ring(RingBuffer::new(&[map]).expect("mapped")),
        _ => EventReader::Perf(PerfBuffer::new(map, 1 << 16, 0).expect("mapped")),
    }
}

fn send(program: &Program, number: u64) {
    let context = [number, 0].map(u64::to_ne_bytes).concat();
    let input = TestInput {
        context: &context,
        ..TestInput::default()
    };
    assert_eq!(program.test_run(&input).expect("runs").result, 0);
}

/// Runs a test for either kind of buffer, on one thread and on several.
fn check<F: Future<Output = ()>>(kernel: &SharedKernel, test: impl Fn(AsyncReader, Program) -> F) {
    for perf in [false, true] {
        for threads in [0, 2] {
            let object = object(kernel, perf);
            let runtime = match threads {
                0 => tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build(),
                _ => tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(threads)
                    .enable_all()
                    .build(),
            };
            runtime.expect("a runtime").block_on(async {
                let reader = reader(object.map(MapId(0)).expect("there"));
                let reader = AsyncReader::new(reader).expect("registered");
                let program = object.program(ProgramId(0)).expect("loaded").clone();
                let done = timeout(PATIENCE, test(reader, program)).await;
                assert!(done.is_ok(), "perf {perf}, {threads} threads: no end");
            });
        }
    }
}

fn number(record: &[u8]) -> u64 {
    u64::from_ne_bytes(record[..8].try_into().expect("8 bytes"))
}

#[test]
fn records_come_whether_somebody_waits_or_not() {
    let kernel = kernel_or_skip!();
    check(&kernel, |mut reader, program| async move {
        // Before the reader waits for the first time.
        (0..3).for_each(|number| send(&program, number));
        for expected in 0..3 {
            let record = reader.next().await.expect("readable").expect("open");
            assert_eq!(number(&record), expected);
        }
        // While it waits, from another thread; a burst, and one by one.
        let sender = std::thread::spawn(move || {
            (3..200).for_each(|number| send(&program, number));
            for number in 200..210 {
                std::thread::sleep(Duration::from_millis(1));
                send(&program, number);
            }
        });
        for expected in 3..210 {
            let record = reader.next().await.expect("readable").expect("open");
            assert_eq!(number(&record), expected);
        }
        sender.join().expect("it sends");
    });
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    let kernel = kernel_or_skip!();
    check(&kernel, |mut reader, program| async move {
        let mut expected = 0;
        for round in 0..10u64 {
            assert!(
                timeout(SHORT / 10, reader.next()).await.is_err(),
                "round {round}"
            );
            send(&program, 2 * round);
            send(&program, 2 * round + 1);
            for _ in 0..2 {
                let record = reader.next().await.expect("readable").expect("open");
                assert_eq!(number(&record), expected);
                expected += 1;
            }
        }
        // Records that one look read together stay for later, whoever waits.
        (20..23).for_each(|number| send(&program, number));
        let first = reader.next().await.expect("readable").expect("open");
        assert_eq!(number(&first), 20);
        drop(reader.next());
        for expected in 21..23 {
            let record = reader.next().await.expect("readable").expect("open");
            assert_eq!(number(&record), expected);
        }
        assert!(timeout(SHORT, reader.next()).await.is_err());
    });
}

#[test]
fn a_closed_reader_gives_out_the_rest_and_ends() {
    let kernel = kernel_or_skip!();
    check(&kernel, |mut reader, program| async move {
        let closer = reader.closer();
        assert!(timeout(SHORT, reader.next()).await.is_err());
        // Closed from another thread, while it waits.
        let other = closer.clone();
        let closing = std::thread::spawn(move || {
            std::thread::sleep(SHORT);
            send(&program, 7);
            other.close();
        });
        let record = reader.next().await.expect("readable").expect("the last");
        assert_eq!(number(&record), 7);
        assert_eq!(reader.next().await, Ok(None));
        assert_eq!(reader.next().await, Ok(None));
        assert!(closer.is_closed());
        closing.join().expect("it closes");
    });
}

#[test]
fn for_each_runs_until_it_is_closed() {
    let kernel = kernel_or_skip!();
    check(&kernel, |mut reader, program| async move {
        let closer = reader.closer();
        let sender = std::thread::spawn(move || {
            (0..500).for_each(|number| send(&program, number));
            closer.close();
        });
        let mut seen = Vec::new();
        let all = reader.for_each(|record| seen.push(number(record))).await;
        let all = all.expect("readable");
        assert_eq!((all.records, all.lost), (500, 0));
        assert_eq!(seen, (0..500).collect::<Vec<_>>());
        sender.join().expect("it sends");
    });
}

#[test]
fn a_closed_reader_ends_although_programs_go_on() {
    let kernel = kernel_or_skip!();
    check(&kernel, |mut reader, program| async move {
        send(&program, 1);
        reader.closer().close();
        // Each record that is read has another sent.
        let all = reader.for_each(|record| send(&program, number(record) + 1));
        let all = all.await.expect("readable");
        assert!(all.records > 0);
        assert_eq!(reader.next().await, Ok(None));
    });
}

#[test]
fn events_are_typed() {
    let kernel = kernel_or_skip!();
    check(&kernel, |reader, program| async move {
        let closer = reader.closer();
        let mut events = reader.typed::<[u16; 4]>();
        send(&program, 0x0004_0003_0002_0001);
        assert_eq!(events.next().await, Ok(Some([1, 2, 3, 4])));
        let mut long = events.into_reader().typed::<[u64; 9]>();
        send(&program, 1);
        closer.close();
        assert_eq!(long.next().await, Ok(None));
        assert_eq!(long.too_short(), 1);
    });
}

#[test]
fn a_reader_wants_a_runtime() {
    let kernel = kernel_or_skip!();
    let object = object(&kernel, false);
    let reader = reader(object.map(MapId(0)).expect("there"));
    let error = AsyncReader::new(reader).expect_err("no runtime");
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}
