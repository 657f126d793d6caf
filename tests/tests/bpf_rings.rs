//! Ring buffers and perf buffers on a kernel, fed by programs run by themselves.

use std::ops::Range;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use kscope_bpf::spec::{MapId, MapKind, ProgramId};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{EventReader, Map, Object, PerfBuffer, Program, RingBuffer, TestInput};
use kscope_tests::assembly::Assembly;
use kscope_tests::kernel_or_skip;

/// Sends its first argument as a record of 16 bytes; discards odd numbers if the second is set.
const RING: &str = "r6 = r1\nr1 = map(ring) ll\nr2 = 16\nr3 = 0\ncall ringbuf_reserve\n\
    if r0 == 0 goto full\n\
    r2 = *(u64 *)(r6 + 0)\n*(u64 *)(r0 + 0) = r2\n*(u64 *)(r0 + 8) = 7\n\
    r3 = *(u64 *)(r6 + 8)\nr3 &= r2\nr1 = r0\nr2 = 0\nif r3 != 0 goto back\n\
    call ringbuf_submit\nr0 = 0\nexit\n\
    back: call ringbuf_discard\nr0 = 2\nexit\n\
    full: r0 = 1\nexit";

/// Sends its first argument and then zeros, as many bytes in all as `size` says.
fn perf_program(size: u32) -> String {
    let mut text = String::from("r6 = *(u64 *)(r1 + 0)\n");
    for at in (2..=size.div_ceil(8)).rev() {
        text += &format!("*(u64 *)(r10 - {}) = 0\n", (at - 1) * 8);
    }
    let top = size.div_ceil(8) * 8;
    text + &format!(
        "*(u64 *)(r10 - {top}) = r6\nr2 = map(perf) ll\nr3 = 4294967295 ll\nr4 = r10\n\
         r4 += -{top}\nr5 = {size}\ncall perf_event_output\nexit"
    )
}

fn ring(kernel: &SharedKernel, bytes: u32) -> Object {
    Assembly::new()
        .map("ring", MapKind::RingBuf, (0, 0), bytes)
        .raw("send", RING)
        .load_all(kernel)
}

fn perf(kernel: &SharedKernel, size: u32) -> Object {
    Assembly::new()
        .map("perf", MapKind::PerfEventArray, (4, 4), 0)
        .raw("send", &perf_program(size))
        .load_all(kernel)
}

/// Runs the program for each number; gives how many it could not send.
fn send(program: &Program, numbers: Range<u64>, discard_odd: u64) -> u64 {
    let mut failed = 0;
    for number in numbers {
        let context = [number, discard_odd].map(u64::to_ne_bytes).concat();
        let input = TestInput {
            context: &context,
            ..TestInput::default()
        };
        let result = program.test_run(&input).expect("runs").result;
        failed += u64::from(result != 0 && result != 2);
    }
    failed
}

fn number(record: &[u8]) -> u64 {
    u64::from_ne_bytes(record[..8].try_into().expect("8 bytes"))
}

#[test]
fn records_come_whole_and_in_order() {
    let kernel = kernel_or_skip!();
    let object = ring(&kernel, 4096);
    let program = object.program(ProgramId(0)).expect("loaded");
    let mut reader = RingBuffer::new(&[object.map(MapId(0)).expect("there")]).expect("mapped");
    let mut seen = Vec::new();
    // Many times the ring's 4096 bytes, so that records wrap around.
    for round in 0..50 {
        assert_eq!(send(program, round * 100..round * 100 + 100, 0), 0);
        let met = reader.for_each(&mut |record| {
            assert_eq!(record.len(), 16);
            assert_eq!(record[8..], 7u64.to_ne_bytes());
            seen.push(number(record));
        });
        assert_eq!(met.expect("readable").records, 100);
    }
    assert_eq!(seen, (0..5000).collect::<Vec<_>>());
    assert_eq!(reader.available(), 0);
}

#[test]
fn discarded_records_are_passed_over() {
    let kernel = kernel_or_skip!();
    let object = ring(&kernel, 4096);
    let program = object.program(ProgramId(0)).expect("loaded");
    let mut reader = RingBuffer::new(&[object.map(MapId(0)).expect("there")]).expect("mapped");
    assert_eq!(send(program, 0..100, 1), 0);
    let mut seen = Vec::new();
    let met = reader
        .for_each(&mut |record| seen.push(number(record)))
        .expect("readable");
    assert_eq!((met.records, met.discarded), (50, 50));
    assert_eq!(seen, (0..100).step_by(2).collect::<Vec<_>>());
}

#[test]
fn a_full_ring_refuses_and_works_again_once_read() {
    let kernel = kernel_or_skip!();
    let object = ring(&kernel, 4096);
    let program = object.program(ProgramId(0)).expect("loaded");
    let mut reader = RingBuffer::new(&[object.map(MapId(0)).expect("there")]).expect("mapped");
    // 24 bytes each: 170 find room in 4096 bytes.
    let lost = send(program, 0..200, 0);
    let met = reader.for_each(&mut |_| {}).expect("readable");
    assert_eq!(met.records + lost, 200);
    assert!((20..60).contains(&lost), "{lost}");
    assert_eq!(send(program, 0..100, 0), 0);
    assert_eq!(reader.for_each(&mut |_| {}).expect("readable").records, 100);
}

#[test]
fn several_rings_have_one_reader() {
    let kernel = kernel_or_skip!();
    let (one, two) = (ring(&kernel, 4096), ring(&kernel, 8192));
    let maps = [
        one.map(MapId(0)).expect("there"),
        two.map(MapId(0)).expect("there"),
    ];
    let mut reader = RingBuffer::new(&maps).expect("mapped");
    send(one.program(ProgramId(0)).expect("loaded"), 0..10, 0);
    send(two.program(ProgramId(0)).expect("loaded"), 10..30, 0);
    let mut sum = 0;
    let met = reader.poll(Some(Duration::from_secs(5)), &mut |record| {
        sum += number(record);
    });
    assert_eq!(met.expect("readable").records, 30);
    assert_eq!(sum, (0..30).sum::<u64>());
}

#[test]
fn a_ring_has_one_consumer_at_a_time_and_the_next_goes_on_where_it_ended() {
    let kernel = kernel_or_skip!();
    let object = ring(&kernel, 4096);
    let map = object.map(MapId(0)).expect("there");
    let program = object.program(ProgramId(0)).expect("loaded");
    let mut first = RingBuffer::new(&[map]).expect("the first");
    let error = RingBuffer::new(&[map]).expect_err("the second");
    assert_eq!(error.errno(), Some(kscope_bpf::sys::Errno::BUSY), "{error}");
    let id = map.details().expect("there").id;
    let again = Map::by_id(&kernel, id).expect("there");
    let error = RingBuffer::new(&[&again]).expect_err("the same ring");
    assert_eq!(error.errno(), Some(kscope_bpf::sys::Errno::BUSY), "{error}");
    send(program, 0..3, 0);
    let met = first.for_each(&mut |_| {}).expect("readable");
    assert_eq!(met.records, 3);
    drop(first);
    send(program, 3..5, 0);
    let mut seen = Vec::new();
    let mut second = RingBuffer::new(&[map]).expect("the first is gone");
    let met = second.for_each(&mut |record| seen.push(number(record)));
    assert_eq!(met.expect("readable").records, 2);
    assert_eq!(seen, [3, 4]);
}

/// Both kinds of reader wait, are woken by records, by another thread, and give up in time.
fn waiting(mut reader: EventReader, program: &Program) {
    let begin = Instant::now();
    let met = reader.poll(Some(Duration::from_millis(30)), &mut |_| {
        panic!("no record")
    });
    assert_eq!(met.expect("readable").records, 0);
    assert!(begin.elapsed() >= Duration::from_millis(30));

    let kernel = kscope_bpf::sys::real_kernel();
    let outer = kernel.epoll_create().expect("epoll");
    let added = kernel.epoll_add(outer.as_fd(), reader.as_fd(), 9);
    added.expect("watched");
    send(program, 1..2, 0);
    let ready = kernel.epoll_wait(outer.as_fd(), Some(Duration::from_secs(60)));
    assert_eq!(ready.expect("ready").tokens(), [9]);
    let met = reader.drain(&mut |_| {}).expect("readable");
    assert_eq!(met.records, 1);
    let ready = kernel.epoll_wait(outer.as_fd(), Some(Duration::ZERO));
    assert_eq!(ready.expect("ready").tokens(), [0u64; 0]);

    let waker = reader.waker();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            waker.wake();
        });
        let met = reader.poll(Some(Duration::from_secs(60)), &mut |_| panic!("no record"));
        assert!(met.expect("readable").woken);
    });
    assert!(begin.elapsed() < Duration::from_secs(30));

    let begin = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            send(program, 5..6, 0);
        });
        let mut seen = Vec::new();
        let met = reader.poll(Some(Duration::from_secs(60)), &mut |record| {
            seen.push(number(record));
        });
        let met = met.expect("readable");
        assert_eq!((seen.as_slice(), met.woken), (&[5][..], false));
    });
    assert!(begin.elapsed() < Duration::from_secs(30));
}

#[test]
fn readers_wait_and_are_woken() {
    let kernel = kernel_or_skip!();
    let object = ring(&kernel, 4096);
    let reader = RingBuffer::new(&[object.map(MapId(0)).expect("there")]).expect("mapped");
    waiting(
        EventReader::Ring(reader),
        object.program(ProgramId(0)).expect("loaded"),
    );
    let object = perf(&kernel, 16);
    let map = object.map(MapId(0)).expect("there");
    let reader = PerfBuffer::new(map, 4096, 0).expect("mapped");
    waiting(
        EventReader::Perf(reader),
        object.program(ProgramId(0)).expect("loaded"),
    );
}

/// A reader that waits only for wake-ups, beside a producer that never rests: a wake-up lost
/// between the last look and the wait would leave it waiting.
fn racing(mut reader: EventReader, program: &Program) {
    const COUNT: u64 = 20_000;
    let lost = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for value in 0..COUNT {
                let failed = send(program, value..value + 1, 0);
                lost.fetch_add(failed, std::sync::atomic::Ordering::Relaxed);
            }
        });
        let mut records = 0;
        loop {
            let begin = Instant::now();
            let met = reader.poll(Some(Duration::from_secs(20)), &mut |_| records += 1);
            met.expect("readable");
            if records + lost.load(std::sync::atomic::Ordering::Relaxed) >= COUNT {
                break;
            }
            assert!(
                begin.elapsed() < Duration::from_secs(15),
                "a wake-up was lost at {records}"
            );
        }
        assert_eq!(
            records + lost.load(std::sync::atomic::Ordering::Relaxed),
            COUNT
        );
    });
}

#[test]
fn no_wake_up_is_lost() {
    let kernel = kernel_or_skip!();
    let object = ring(&kernel, 65_536);
    let reader = RingBuffer::new(&[object.map(MapId(0)).expect("there")]).expect("mapped");
    racing(
        EventReader::Ring(reader),
        object.program(ProgramId(0)).expect("loaded"),
    );
    let object = perf(&kernel, 16);
    let map = object.map(MapId(0)).expect("there");
    let reader = PerfBuffer::new(map, 65_536, 0).expect("mapped");
    racing(
        EventReader::Perf(reader),
        object.program(ProgramId(0)).expect("loaded"),
    );
}

#[test]
fn perf_samples_come_whole_and_in_order_around_the_end() {
    let kernel = kernel_or_skip!();
    // Sizes whose records (8 + 4 + size, rounded up to 8) do not divide the ring.
    for size in [16, 44, 100] {
        let object = perf(&kernel, size);
        let program = object.program(ProgramId(0)).expect("loaded");
        let map = object.map(MapId(0)).expect("there");
        let mut reader = PerfBuffer::new(map, 4096, 0).expect("mapped");
        let cpu = kernel.affinity().expect("ours")[0];
        let mut seen = Vec::new();
        for round in 0u64..100 {
            for value in round * 20..round * 20 + 20 {
                let context = value.to_ne_bytes();
                let input = TestInput {
                    context: &context,
                    cpu: Some(cpu),
                    ..TestInput::default()
                };
                assert_eq!(program.test_run(&input).expect("runs").result, 0);
            }
            let met = reader.for_each(&mut |record| {
                assert!(record.len() >= size as usize && record.len() < size as usize + 8);
                assert!(record[8..size as usize].iter().all(|&byte| byte == 0));
                seen.push(number(record));
            });
            assert_eq!(met.expect("readable").lost, 0);
        }
        assert_eq!(seen, (0..2000).collect::<Vec<u64>>());
    }
}

#[test]
fn lost_samples_are_counted() {
    let kernel = kernel_or_skip!();
    let object = perf(&kernel, 16);
    let program = object.program(ProgramId(0)).expect("loaded");
    let mut reader =
        PerfBuffer::new(object.map(MapId(0)).expect("there"), 4096, 0).expect("mapped");
    let cpu = kernel.affinity().expect("ours")[0];
    let run = |value: u64| {
        let context = value.to_ne_bytes();
        let input = TestInput {
            context: &context,
            cpu: Some(cpu),
            ..TestInput::default()
        };
        program.test_run(&input).expect("runs").result
    };
    let refused = (0..1000).filter(|&value| run(value) != 0).count() as u64;
    assert!(refused > 0);
    let mut met = reader.for_each(&mut |_| {}).expect("readable");
    // Known at once on Linux 6.0 and later; before, not at all yet.
    assert!([0, refused].contains(&reader.lost()), "{}", reader.lost());
    // The kernel reports a loss with the next sample that finds room.
    run(1000);
    let last = reader.for_each(&mut |_| {}).expect("readable");
    met.records += last.records;
    met.lost += last.lost;
    assert_eq!((met.records + met.lost, met.lost), (1001, refused));
    assert_eq!(reader.lost(), refused);
}

#[test]
fn a_watermark_holds_wake_ups_back() {
    let kernel = kernel_or_skip!();
    let object = perf(&kernel, 16);
    let program = object.program(ProgramId(0)).expect("loaded");
    let map = object.map(MapId(0)).expect("there");
    let mut reader = PerfBuffer::new(map, 8192, 4096).expect("mapped");
    send(program, 0..1, 0);
    let begin = Instant::now();
    let met = reader
        .poll(Some(Duration::from_millis(100)), &mut |_| {})
        .expect("readable");
    // Not woken, but what is there is read when the time is over.
    assert!(begin.elapsed() >= Duration::from_millis(100));
    assert_eq!(met.records, 1);
}

#[test]
fn readers_of_other_maps_are_refused_by_name() {
    let kernel = kernel_or_skip!();
    let object = ring(&kernel, 4096);
    let map = object.map(MapId(0)).expect("made");
    let error = PerfBuffer::new(map, 4096, 0).expect_err("a ring buffer");
    assert_eq!(
        error.to_string(),
        "map ring is no perf buffer: it is of type RingBuf, not PerfEventArray"
    );
    let object = perf(&kernel, 8);
    let map = object.map(MapId(0)).expect("made");
    let error = RingBuffer::new(&[map]).expect_err("a perf buffer");
    assert_eq!(
        error.to_string(),
        "map perf is no ring buffer: it is of type PerfEventArray, not RingBuf"
    );
}
