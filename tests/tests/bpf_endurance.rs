//! What a process that runs for months needs: nothing is left of objects that were closed, and no
//! event is lost while a program is replaced.
//@ modules: cls_bpf sch_ingress

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kscope_bpf::spec::{AttachKind, AttachType, MapKind, ProgramId, ProgramType};
use kscope_bpf::sys::{Sampling, SharedKernel};
use kscope_bpf::{
    Direction, Error, EventReader, Interface, Link, Loader, Object, Order, PerfBuffer, Program,
    RingBuffer, XdpMode,
};
use kscope_tests::assembly::{Assembly, kernel_types};
use kscope_tests::cgroup::Cgroup;
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

/// Tests here count what the whole process holds.
static ALONE: Mutex<()> = Mutex::new(());

/// What a process holds that it can leak.
#[derive(Debug)]
struct Held {
    /// How many descriptors of each kind.
    descriptors: BTreeMap<String, usize>,
    /// Mapped regions.
    regions: usize,
    /// Anonymous memory, KiB.
    memory: u64,
}

impl Held {
    fn now() -> Held {
        let mut descriptors = BTreeMap::new();
        for entry in std::fs::read_dir("/proc/self/fd").expect("proc") {
            // The descriptor of this walk is there and gone.
            let Ok(to) = std::fs::read_link(entry.expect("readable").path()) else {
                continue;
            };
            *descriptors.entry(to.display().to_string()).or_default() += 1;
        }
        let status = std::fs::read_to_string("/proc/self/status").expect("proc");
        let memory = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
        Held {
            descriptors,
            regions: maps.lines().count(),
            memory: memory.expect("every kernel tells"),
        }
    }
}

/// Ids of the programs and maps whose names are those of these tests, in the whole kernel.
fn loaded(kernel: &SharedKernel) -> usize {
    let (mut after, mut count) = (0, 0);
    while let Ok(id) = kernel.program_next_id(after) {
        after = id;
        let Ok(program) = kernel.program_by_id(id) else {
            continue;
        };
        let info = kernel.program_info(std::os::fd::AsFd::as_fd(&program));
        count += usize::from(info.is_ok_and(|info| info.name.starts_with(b"endure_")));
    }
    count
}

/// Loads an object, attaches it in every way that needs no special build of the kernel, reads an
/// event and closes all.
fn cycle(kernel: &SharedKernel, object: &kscope_bpf::spec::Spec) {
    let counting = Assembly::new()
        .map("events", MapKind::RingBuf, (0, 0), 4096)
        .map("samples", MapKind::PerfEventArray, (4, 4), 0)
        .raw(
            "endure_raw",
            "r1 = map(events) ll\nr2 = r10\nr2 += -8\n*(u64 *)(r10 - 8) = 1\nr3 = 8\nr4 = 0\n\
             call ringbuf_output\nr0 = 0\nexit",
        )
        .program(
            "endure_tp",
            ProgramType::Tracepoint,
            AttachKind::None,
            "r0 = 0\nexit",
        )
        .program(
            "endure_clock",
            ProgramType::PerfEvent,
            AttachKind::None,
            "r0 = 0\nexit",
        )
        .load_all(kernel);
    let program = |id| counting.program(ProgramId(id)).expect("loaded");
    let events = counting.map_named("events").expect("there");
    let mut reader = EventReader::Ring(RingBuffer::new(&[events]).expect("mapped"));
    let samples = counting.map_named("samples").expect("there");
    let _samples = PerfBuffer::new(samples, 4096, 0).expect("mapped");
    let links = [
        program(0).attach_raw_tracepoint("sys_enter", 0),
        program(1).attach_tracepoint("sched", "sched_process_exec", 0),
        program(2).attach_clock(Sampling::Frequency(99), None),
    ];
    let mut seen = 0;
    let patience = Some(std::time::Duration::from_secs(10));
    reader
        .poll(patience, &mut |record| {
            assert_eq!(record.len(), 8);
            seen += 1;
        })
        .expect("readable");
    assert!(seen > 0, "no event came");
    for link in links {
        drop(link.expect("attached"));
    }
    // An object of clang's: types, relocations, globals, maps in maps; one of the programs is refused.
    let whole = Loader::new(kernel.clone())
        .btf(kernel_types())
        .only(["globals", "relocated", "locked", "missing"])
        .load(object)
        .expect("maps");
    let attached = whole
        .attach()
        .into_iter()
        .filter_map(|one| one.outcome.link());
    drop(attached.collect::<Vec<_>>());
}

/// Runs cycles and expects what is held to be what it was after the first few.
fn stays(cycles: usize) {
    let kernel = kernel_or_skip!();
    let object = object_or_skip!("whole");
    let _alone = ALONE.lock();
    for _ in 0..3 {
        cycle(&kernel, &object);
    }
    let before = Held::now();
    let mut memory = Vec::new();
    for _ in 0..cycles {
        cycle(&kernel, &object);
        memory.push(Held::now().memory);
    }
    let after = Held::now();
    assert_eq!(before.descriptors, after.descriptors);
    assert!(
        after.regions <= before.regions + 4,
        "{} mapped regions became {}",
        before.regions,
        after.regions
    );
    // What is allocated comes and goes; what leaks is there from one third of the cycles to the last.
    let (first, last) = (&memory[..cycles / 3], &memory[cycles - cycles / 3..]);
    let (most, least) = (first.iter().max(), last.iter().min());
    assert!(
        least.expect("some") <= &(most.expect("some") + 64),
        "KiB of memory: {memory:?}"
    );
    // The kernel frees programs a little later.
    let begin = std::time::Instant::now();
    while loaded(&kernel) > 0 {
        assert!(begin.elapsed().as_secs() < 20, "programs are left");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn nothing_is_left_of_a_few_cycles() {
    stays(9);
}

#[test]
#[ignore = "a thousand cycles take minutes"]
fn nothing_is_left_of_a_thousand_cycles() {
    // Guests are emulated.
    let is_guest = std::env::var_os("KSCOPE_GUEST").is_some();
    stays(if is_guest { 100 } else { 1000 });
}

/// Counts datagrams to the port that entry 0 of `port` holds, in an entry of its own.
fn counting(entry: usize, packet: &str, end: &str, at: usize, result: i32) -> String {
    format!(
        "r2 = *(u32 *)(r1 + {packet})\nr3 = *(u32 *)(r1 + {end})\nr4 = r2\nr4 += {at}\nr4 += 4\n\
         if r4 > r3 goto out\nr4 = *(u16 *)(r2 + {at})\nr5 = map_value(hits) + 16 ll\n\
         r5 = *(u64 *)(r5 + 0)\nif r4 != r5 goto out\nr1 = map_value(hits) + {} ll\nr2 = 1\n\
         lock *(u64 *)(r1 + 0) += r2\nout: r0 = {result}\nexit",
        entry * 8
    )
}

/// How packets are seen at a hook: type of program, offsets of the context's pointers to the packet and
/// its end, offset of the destination port in the packet, result that lets it pass.
struct Hook {
    kind: ProgramType,
    attach: AttachKind,
    packet: (&'static str, &'static str),
    port: usize,
    result: i32,
}

/// Replaces a program while datagrams come, and expects that each was seen by exactly one of the two.
fn replaced_under_load(
    kernel: &SharedKernel,
    hook: &Hook,
    attach: impl Fn(&Program) -> Result<Link, Error>,
) -> Result<(), Error> {
    const DATAGRAMS: u64 = 2000;
    const UPDATES: usize = 50;
    let (packet, end) = hook.packet;
    let text = |entry| counting(entry, packet, end, hook.port, hook.result);
    let object: Object = Assembly::new()
        .map("hits", MapKind::Array, (4, 24), 1)
        .program("first", hook.kind, hook.attach.clone(), &text(0))
        .program("second", hook.kind, hook.attach.clone(), &text(1))
        .load_all(kernel);
    let to = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = to.local_addr().expect("bound");
    let hits = object.map_named("hits").expect("there");
    // The port as it is in the packet.
    let port = u16::from_ne_bytes(address.port().to_be_bytes());
    let value = [0, 0, u64::from(port)].map(u64::to_ne_bytes).concat();
    hits.update(&[0; 4], &value, kscope_bpf::UpdateMode::Any)
        .expect("writable");
    let programs = [0, 1].map(|id| object.program(ProgramId(id)).expect("loaded"));
    let link = attach(programs[0])?;
    let (sent, updates) = (AtomicU64::new(0), AtomicUsize::new(0));
    let is_done =
        || sent.load(Ordering::Acquire) >= DATAGRAMS && updates.load(Ordering::Relaxed) >= UPDATES;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let from = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            while !is_done() {
                from.send_to(b"ping", address).expect("sent");
                to.recv(&mut [0; 16]).expect("received");
                sent.fetch_add(1, Ordering::Release);
            }
        });
        while !is_done() {
            let next = updates.fetch_add(1, Ordering::Relaxed) + 1;
            link.update(programs[next % 2]).expect("the same type");
            // Both see some, however the threads are scheduled.
            let before = sent.load(Ordering::Acquire);
            while sent.load(Ordering::Acquire) < before + 3 && !is_done() {
                std::thread::yield_now();
            }
        }
    });
    let sent = sent.into_inner();
    let value = hits.lookup(&[0; 4]).expect("readable").expect("there");
    let seen = [0, 8].map(|at| u64::from_ne_bytes(*value[at..].first_chunk().expect("24 bytes")));
    assert!(seen.iter().all(|&seen| seen > 0), "{seen:?}");
    assert_eq!(seen[0] + seen[1], sent, "{seen:?} in {updates:?} updates");
    Ok(())
}

#[test]
fn no_packet_is_lost_while_xdp_is_replaced() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    let lo = Interface::named(&*kernel, "lo").expect("every machine");
    let hook = Hook {
        kind: ProgramType::Xdp,
        attach: AttachKind::None,
        packet: ("0", "4"),
        port: 36,
        result: 2,
    };
    replaced_under_load(&kernel, &hook, |program| {
        program.attach_xdp(lo, XdpMode::Generic)
    })
    .expect("attached");
}

#[test]
fn no_packet_is_lost_while_tcx_is_replaced() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    let lo = Interface::named(&*kernel, "lo").expect("every machine");
    let hook = Hook {
        kind: ProgramType::SchedCls,
        attach: AttachKind::None,
        packet: ("76", "80"),
        port: 36,
        result: -1,
    };
    let done = replaced_under_load(&kernel, &hook, |program| {
        program.attach_tcx(lo, Direction::Ingress, Order::Unsaid)
    });
    match done {
        Err(error @ Error::Unsupported { .. }) => skip!("tcx", "{error}"),
        other => other.expect("attached"),
    }
}

#[test]
fn no_packet_is_lost_while_a_cgroups_program_is_replaced() {
    let kernel = kernel_or_skip!();
    let _alone = ALONE.lock();
    let cgroup = match Cgroup::join("kscope-test-replaced") {
        Ok(cgroup) => cgroup,
        Err(reason) => skip!("cgroup2", "{reason}"),
    };
    let directory = cgroup.open();
    let hook = Hook {
        kind: ProgramType::CgroupSkb,
        attach: AttachKind::Expected(AttachType::CgroupInetEgress),
        packet: ("76", "80"),
        port: 22,
        result: 1,
    };
    replaced_under_load(&kernel, &hook, |program| {
        program.attach_cgroup(std::os::fd::AsFd::as_fd(&directory), Order::Unsaid)
    })
    .expect("attached");
}
