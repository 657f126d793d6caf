//! What one event costs in the kernel, by the kernel's own account.

use super::programs::{Running, Statistics};
use super::table::{Aim, Figure, Table, Unit, median};
use super::{Pair, Settings};

const PROBE: &str = "tracepoint:raw_syscalls:sys_enter";

/// What is done on each event. The first does nothing: it costs the clock, which is taken off the others.
const BODIES: [&str; 12] = [
    "{ }",
    "/pid == 0/ { @ = count(); }",
    "{ @ = count(); }",
    "{ @[pid] = count(); }",
    "{ @[comm] = count(); }",
    "{ @[pid, comm] = count(); }",
    "{ @[uid] = count(); }",
    "{ @++; }",
    "{ @[args.id]++; }",
    "{ @ = hist(args.id); }",
    "{ @[pid, comm, args.id] = count(); }",
    "{ @[kstack] = count(); }",
];

/// Batches of calls that one start of a tracer serves.
const BATCHES: usize = 3;

/// Measures each body, both tracers in turns.
pub(crate) fn measure(pair: &Pair, settings: &Settings, table: &mut Table) -> Result<(), String> {
    let _statistics = Statistics::enable()?;
    let mut empty = (0.0, 0.0);
    for body in BODIES {
        let costs = match costs(pair, settings, body) {
            Ok(costs) => costs,
            Err(why) => {
                table.note(format!("{body}: {why}"));
                continue;
            }
        };
        let name = if body == BODIES[0] {
            empty = costs;
            format!("ns/event {body} (the clock; taken off below)")
        } else {
            format!("ns/event {body}")
        };
        let is_clock = body == BODIES[0];
        let less = |cost: f64, empty: f64| if is_clock { cost } else { cost - empty };
        table.add(&Figure {
            name: &name,
            unit: Unit::Nanoseconds,
            kscope: less(costs.0, empty.0),
            peer: Some(less(costs.1, empty.1)),
            aim: if is_clock {
                Aim::None
            } else {
                Aim::AtMost(1.0)
            },
        });
    }
    Ok(())
}

/// Gives the medians of both in nanoseconds.
fn costs(pair: &Pair, settings: &Settings, body: &str) -> Result<(f64, f64), String> {
    let script = format!("{PROBE} {body}");
    let mut costs = (Vec::new(), Vec::new());
    for _ in 0..settings.runs.div_ceil(BATCHES) {
        for (tracer, costs) in [(&pair.kscope, &mut costs.0), (&pair.peer, &mut costs.1)] {
            let running = Running::start(tracer.script(&script))
                .map_err(|why| format!("{}: {why}", tracer.name))?;
            // The first batch makes the entries and warms the caches.
            running.cost(settings.calls / 10);
            costs.extend((0..BATCHES).filter_map(|_| running.cost(settings.calls)));
            running
                .stop()
                .map_err(|why| format!("{}: {why}", tracer.name))?;
        }
    }
    let kscope = median(costs.0).ok_or("kscope's programs did not run on every call")?;
    let peer = median(costs.1).ok_or("the peer's programs did not run on every call")?;
    Ok((kscope, peer))
}
