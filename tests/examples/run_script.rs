//! Runs a script for a second and takes its output as typed values.

use std::error::Error;
use std::io;
use std::time::{Duration, Instant};

use kscope_rows::{MapContent, Output};
use kscope_runtime::{LiveCatalogue, Options, Request, Session, Sink, Target};
use kscope_script::compile::{self, compile};
use kscope_script::types::Inputs;

const SCRIPT: &str = "tracepoint:raw_syscalls:sys_enter { @calls[comm] = count(); }";

/// Prints maps as they come.
struct Printer;

impl Sink for Printer {
    fn output(&mut self, output: Output) -> io::Result<()> {
        if let Output::Map(map) = output {
            if let MapContent::Keyed(entries) = map.content {
                println!("{} has {} entries", map.name, entries.len());
            }
        }
        Ok(())
    }

    fn pause(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let target = Target::live();
    let btf = target.btf().ok();
    let catalogue = LiveCatalogue::new(&target, btf.as_ref());
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = btf.as_ref();
    let done = compile("example", SCRIPT, &inputs, compile::Options::default());
    for finding in &done.diagnostics {
        eprintln!("{}: {}", finding.severity, finding.message);
    }
    let compiled = done.compiled.ok_or("the script is wrong")?;

    let options = Options::parse(&compiled.plan, &[])?;
    let request = Request::new(compiled, options, SCRIPT);
    let end = Instant::now() + Duration::from_secs(1);
    let stop = || Instant::now() >= end;
    let mut session = Session::load(&target, btf.as_ref(), request, &stop)?;
    session.start(&mut Printer, true, &stop)?;
    session.run(&mut Printer, &stop, None)?;
    let summary = session.finish(&mut Printer, &|| false)?;
    println!("{} events lost", summary.lost_events);
    Ok(())
}
