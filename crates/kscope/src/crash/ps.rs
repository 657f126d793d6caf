//! `kscope crash VMCORE ps`: a script over the dump.

use clap::Args;
use kscope_dump::Kernel;
use kscope_memory::FieldAt;

use super::analysis::{Analysis, Ask, Need};
use super::failed;
use crate::dump::{self, DumpRun};
use crate::error::Failure;
use crate::sink::{Buffering, Form, Sink};
use crate::tracing::{Setup, Source};

/// List the tasks, as ps does
#[derive(Args, Debug)]
pub(super) struct PsArgs {}

/// The script; words in capitals stand for members.
const SCRIPT: &str = include_str!("ps.bt");

impl Analysis for PsArgs {
    fn needs(&self) -> &'static [Need] {
        &[
            Need::Symbol("init_task"),
            Need::OneOf("task_struct", &["__state", "state"]),
        ]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        run(ask.kernel, ask.json)
    }
}

fn run(kernel: &Kernel, json: bool) -> Result<(), Failure> {
    let btf = kernel.btf();
    let btf = btf.map_err(|error| failed("there are no types to read tasks by", &error))?;
    let either = |new: &'static str, old: &'static str| {
        let has_new = FieldAt::of(btf, "task_struct", new).is_ok();
        if has_new { new } else { old }
    };
    let text = SCRIPT
        .replace("STATE", either("__state", "state"))
        .replace("CPU", either("thread_info.cpu", "cpu"));
    let form = if json { Form::RowJson } else { Form::Table };
    let mut sink = Sink::new(form, None, &[], Buffering::Full)?;
    let run = DumpRun {
        name: "ps",
        options: &[],
        quiet: true,
    };
    let source = Source::new("ps", text);
    dump::run(kernel, &Setup::default(), &source, &run, &mut sink).map(|_| ())
}
