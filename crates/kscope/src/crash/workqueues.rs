//! `kscope crash VMCORE workqueues`

use std::fmt::Write as _;

use clap::Args;
use kscope_dump::{Kernel, PendingWhy, WorkPool, WorkState};
use kscope_memory::VirtAddr;
use kscope_rows::Value;

use super::analysis::{Analysis, Ask, Need};
use super::{duration, failed, function, milliseconds, table, tell_unread};
use crate::commands::bpf::listing::{Holds, number, text};
use crate::console::say;
use crate::error::Failure;

/// Nanoseconds after which the kernel's own watchdog says that a pool is stuck.
const STUCK: u64 = 30_000_000_000;

/// Print the works that run, that wait, and pools of workers that make no progress
#[derive(Args, Debug)]
pub(super) struct WorkqueuesArgs {
    /// Also print works whose time has not come
    #[arg(short, long)]
    delayed: bool,
    /// Also print pools without works
    #[arg(short, long)]
    all: bool,
}

impl Analysis for WorkqueuesArgs {
    fn needs(&self) -> &'static [Need] {
        &[
            Need::Symbol("worker_pool_idr"),
            Need::Symbol("workqueues"),
            Need::Member("worker_pool", "worklist"),
            Need::Member("worker", "current_work"),
        ]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let (kernel, json) = (ask.kernel, ask.json);
        let works = kernel.workqueues();
        let works = works.map_err(|error| failed("cannot read the workqueues", &error))?;
        if !json {
            say(told(&works))?;
        }
        pools(&works, self.all, json)?;
        running(kernel, &works, json)?;
        pending(kernel, &works, json)?;
        queues(kernel, &works, json)?;
        if self.delayed {
            delayed(kernel, &works, json)?;
        }
        tell_unread("pools, workers, works or workqueues", &works.unread);
        Ok(())
    }
}

/// Says in a line what there is, and which pools are stuck.
fn told(works: &WorkState) -> String {
    let mut out = format!(
        "works: {} running, {} pending, {} delayed\n",
        works.running.len(),
        works.pending.len(),
        works.delayed.len()
    );
    for pool in works.pools.iter().filter(|pool| is_stuck(pool)) {
        let since = duration(pool.stalled.unwrap_or(0));
        let _ = writeln!(
            out,
            "STUCK: pool {} has {} works that wait and took none for {since}",
            pool.id, pool.pending
        );
    }
    out.push('\n');
    out
}

fn is_stuck(pool: &WorkPool) -> bool {
    pool.stalled.is_some_and(|stalled| stalled >= STUCK)
}

fn pool_number(pool: Option<u32>) -> Value {
    pool.map_or(Value::None, number)
}

fn pools(works: &WorkState, all: bool, json: bool) -> Result<(), Failure> {
    let columns = [
        ("pool", Holds::Number),
        ("cpu", Holds::Number),
        ("nice", Holds::Text),
        ("workers", Holds::Number),
        ("idle", Holds::Number),
        ("busy", Holds::Number),
        ("pending", Holds::Number),
        ("stalled_ms", Holds::Number),
    ];
    let mut rows = Vec::new();
    for pool in &works.pools {
        if !all && pool.busy == 0 && pool.pending == 0 {
            continue;
        }
        rows.push(vec![
            number(pool.id),
            pool_number(pool.cpu),
            text(pool.nice.to_string()),
            number(pool.workers),
            number(pool.idle),
            number(pool.busy),
            number(pool.pending),
            milliseconds(pool.stalled),
        ]);
    }
    table::print("pools", &columns, rows, json)
}

fn running(kernel: &Kernel, works: &WorkState, json: bool) -> Result<(), Failure> {
    let columns = [
        ("pool", Holds::Number),
        ("worker", Holds::Number),
        ("runs_ms", Holds::Number),
        ("queue", Holds::Text),
        ("rescuer", Holds::Text),
        ("work", Holds::Text),
        ("function", Holds::Text),
    ];
    let mut rows = Vec::new();
    for work in &works.running {
        rows.push(vec![
            pool_number(work.pool),
            number(work.pid as u32),
            milliseconds(work.runs),
            text(work.queue.clone()),
            text(if work.rescuer { "yes" } else { "no" }),
            text(work.work.to_string()),
            text(function(kernel, work.function)),
        ]);
    }
    table::print("running", &columns, rows, json)
}

fn pending(kernel: &Kernel, works: &WorkState, json: bool) -> Result<(), Failure> {
    let columns = [
        ("pool", Holds::Number),
        ("waits_for", Holds::Text),
        ("queue", Holds::Text),
        ("work", Holds::Text),
        ("function", Holds::Text),
        ("flusher", Holds::Number),
    ];
    let mut rows = Vec::new();
    for work in &works.pending {
        rows.push(vec![
            pool_number(work.pool),
            text(match work.why {
                PendingWhy::Worker => "worker",
                PendingWhy::Behind => "work before",
                PendingWhy::Limit => "limit",
            }),
            text(work.queue.clone()),
            text(work.work.to_string()),
            text(function(kernel, work.function)),
            pid(kernel, work.waiter),
        ]);
    }
    table::print("pending", &columns, rows, json)
}

/// Gives the number of a thread by its address.
fn pid(kernel: &Kernel, task: Option<VirtAddr>) -> Value {
    let read = |task: VirtAddr| -> Result<u64, kscope_dump::Error> {
        Ok(kernel.object("task_struct", task)?.member("pid")?.value()?)
    };
    match task.map(read) {
        Some(Ok(pid)) => number(pid),
        _ => Value::None,
    }
}

fn queues(kernel: &Kernel, works: &WorkState, json: bool) -> Result<(), Failure> {
    let columns = [
        ("queue", Holds::Text),
        ("active", Holds::Number),
        ("limit", Holds::Number),
        ("waiting", Holds::Number),
        ("rescuer", Holds::Number),
        ("called", Holds::Text),
    ];
    let mut rows = Vec::new();
    for queue in &works.queues {
        rows.push(vec![
            text(queue.name.clone()),
            number(queue.active),
            number(queue.limit),
            number(queue.waiting),
            pid(kernel, queue.rescuer),
            text(if queue.called { "yes" } else { "no" }),
        ]);
    }
    table::print("queues", &columns, rows, json)
}

fn delayed(kernel: &Kernel, works: &WorkState, json: bool) -> Result<(), Failure> {
    let columns = [
        ("due_ms", Holds::Number),
        ("cpu", Holds::Number),
        ("queue", Holds::Text),
        ("work", Holds::Text),
        ("function", Holds::Text),
    ];
    let mut rows = Vec::new();
    for work in &works.delayed {
        rows.push(vec![
            milliseconds(work.due),
            number(work.cpu),
            text(work.queue.clone()),
            text(work.work.to_string()),
            text(function(kernel, work.function)),
        ]);
    }
    table::print("delayed", &columns, rows, json)
}
