//! A script inside of this program, on the running kernel.

use std::cell::Cell;
use std::io;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kscope_rows::Output;
use kscope_runtime::{LiveCatalogue, Options, Request, Script, Session, Sink, Target};
use kscope_script::compile::{self, compile};
use kscope_script::types::Inputs;
use kscope_tests::kernel_or_skip;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// More events than a buffer of a page has room for.
const FLOOD: &str = "config = { perf_rb_pages = 1 } \
    tracepoint:raw_syscalls:sys_enter /pid == $1/ { print((id=args.id)); }";

#[test]
fn losses_are_told_while_events_come() {
    let _kernel = kernel_or_skip!();
    let script = Script::compile(FLOOD, &[&std::process::id().to_string()]);
    let mut running = script.and_then(Script::start).expect("it starts");
    let done = Arc::new(AtomicBool::new(false));
    let seen = done.clone();
    let flood = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
    });
    let begin = Instant::now();
    let mut outputs = 0u64;
    while running.lost() == 0 && begin.elapsed() < PATIENCE {
        // Each wait ends with the first output.
        let output = running.next_output(PATIENCE).expect("readable");
        outputs += u64::from(output.is_some());
    }
    done.store(true, Ordering::Relaxed);
    flood.join().expect("it ends");
    assert!(
        running.lost() > 0,
        "{outputs} outputs, and no word of a loss"
    );
}

/// Counts rows and losses.
#[derive(Default)]
struct Tally {
    rows: u64,
    lost: u64,
}

impl Sink for Tally {
    fn output(&mut self, output: Output) -> io::Result<()> {
        match output {
            Output::Row { .. } => self.rows += 1,
            Output::Lost(count) => self.lost += count,
            _ => {}
        }
        Ok(())
    }

    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the number of this thread.
fn own_thread() -> u32 {
    let place = std::fs::read_link("/proc/thread-self").expect("a link");
    let number = place.file_name().and_then(|name| name.to_str());
    number.and_then(|n| n.parse().ok()).expect("a number")
}

#[test]
fn events_are_read_while_other_probes_are_attached() {
    /// Half of what a buffer of a page has room for.
    const CALLS: u64 = 40;
    let _kernel = kernel_or_skip!();
    let target = Target::live();
    let btf = target.btf().expect("its types");
    let catalogue = LiveCatalogue::new(&target, Some(&btf));
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = Some(&btf);
    let source = format!(
        "config = {{ perf_rb_pages = 1 }} \
         tracepoint:raw_syscalls:sys_enter /tid == {}/ {{ print((id=args.id)); }} \
         tracepoint:sched:sched_process_* {{ @ = count(); }} \
         tracepoint:sched:sched_wak* {{ @ = count(); }} end {{ clear(@); }}",
        // Threads that detach have calls of their own.
        own_thread()
    );
    let done = compile("script", &source, &inputs, compile::Options::default());
    let compiled = done.compiled.expect("it compiles");
    let options = Options::parse(&compiled.plan, &[]).expect("no options");
    let request = Request::new(compiled, options, source.as_str());
    let mut session = Session::load(&target, Some(&btf), request, &|| false).expect("it loads");
    // Each look at whether to go on stands for a workload between two attachments.
    let asked = Cell::new(0u64);
    let busy = || {
        asked.set(asked.get() + 1);
        for _ in 0..CALLS {
            let _ = parent_id();
        }
        false
    };
    let mut tally = Tally::default();
    session.start(&mut tally, true, &busy).expect("it attaches");
    let looks = asked.get();
    assert!(looks > 10, "{looks} looks are too few to fill the buffer");
    session.finish(&mut tally, &|| false).expect("it ends");
    // Before the first was attached there were at most four.
    assert!(
        tally.rows >= (looks - 4) * CALLS,
        "{} rows of {looks} looks",
        tally.rows
    );
    assert_eq!(tally.lost, 0, "{} rows", tally.rows);
}
