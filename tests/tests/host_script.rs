//! A script inside of this program, on the running kernel.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kscope_runtime::Script;
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
