//! `kscope crash VMCORE block`

use clap::Args;
use kscope_dump::RequestState;
use kscope_rows::Value;

use super::analysis::{Analysis, Ask, Need};
use super::{failed, function, milliseconds, table, tell_unread};
use crate::commands::bpf::listing::{Holds, number, text};
use crate::error::Failure;

/// Print disks, and requests to them that have not ended, the oldest first
#[derive(Args, Debug)]
pub(super) struct BlockArgs {
    /// Also print disks of no size
    #[arg(short, long)]
    all: bool,
}

impl Analysis for BlockArgs {
    fn needs(&self) -> &'static [Need] {
        &[
            Need::Symbol("block_class"),
            Need::Member("gendisk", "queue"),
            Need::Member("request_queue", "tag_set"),
        ]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let (kernel, json) = (ask.kernel, ask.json);
        let state = kernel.block_requests();
        let state = state.map_err(|error| failed("cannot read the disks", &error))?;
        let columns = [
            ("disk", Holds::Text),
            ("major", Holds::Number),
            ("minor", Holds::Number),
            ("size_kb", Holds::Number),
            ("reads", Holds::Number),
            ("writes", Holds::Number),
            ("requests", Holds::Number),
            ("driver", Holds::Text),
        ];
        let mut rows = Vec::new();
        for disk in &state.disks {
            let own = state.requests.iter().filter(|one| one.disk == disk.name);
            let own = own.count() as u64;
            if !self.all && disk.size == 0 && own == 0 {
                continue;
            }
            // Kernels such as 6.1 count none of what goes to a disk as requests.
            let is_counted = own == 0 || disk.in_flight != (0, 0);
            let counted = |count| {
                if is_counted {
                    number(count)
                } else {
                    Value::None
                }
            };
            rows.push(vec![
                text(disk.name.clone()),
                number(disk.numbers.0),
                number(disk.numbers.1),
                number(disk.size >> 10),
                counted(disk.in_flight.0),
                counted(disk.in_flight.1),
                match disk.has_requests {
                    true => number(own),
                    false => Value::None,
                },
                disk.submit
                    .map_or(Value::None, |at| text(function(kernel, at))),
            ]);
        }
        table::print("disks", &columns, rows, json)?;
        let columns = [
            ("disk", Holds::Text),
            ("operation", Holds::Text),
            ("state", Holds::Text),
            ("sector", Holds::Number),
            ("bytes", Holds::Number),
            ("age_ms", Holds::Number),
            ("device_ms", Holds::Number),
            ("overdue", Holds::Text),
            ("queue", Holds::Number),
            ("tag", Holds::Number),
            ("scheduler_tag", Holds::Number),
            ("request", Holds::Text),
            ("flags", Holds::List),
        ];
        let mut rows = Vec::new();
        for request in &state.requests {
            let tag = |tag: Option<u32>| tag.map_or(Value::None, number);
            let flags = request.flags.iter().cloned().map(Value::Text);
            rows.push(vec![
                text(request.disk.clone()),
                text(request.operation.clone()),
                text(match request.state {
                    RequestState::Waits => "waits",
                    RequestState::InFlight => "in flight",
                    RequestState::Complete => "complete",
                }),
                number(request.sector),
                number(request.bytes),
                milliseconds(request.age),
                milliseconds(request.dispatched),
                text(if request.overdue { "yes" } else { "no" }),
                number(request.hardware_queue),
                tag(request.tag),
                tag(request.scheduler_tag),
                text(request.addr.to_string()),
                Value::Array(flags.collect()),
            ]);
        }
        table::print("requests", &columns, rows, json)?;
        tell_unread("disks, queues or requests", &state.unread);
        Ok(())
    }
}
