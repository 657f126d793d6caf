//! `kscope`: asks a Linux kernel a question in one small language.
//!
//! One file per subcommand in `commands/`; what a person sees of an error is decided in
//! `error.rs`, of a finding in a script in `diagnostics.rs`.

mod bpftrace;
mod child;
mod cli;
mod commands;
mod console;
mod crash;
mod diagnostics;
mod dump;
mod error;
mod habits;
mod import;
mod losses;
mod object;
mod output;
mod pattern;
mod place;
mod process;
mod sink;
mod tool;
mod tracing;
mod trial;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    console::tell_of_bugs();
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if commands::kdump::is_first(arguments.first()) {
        commands::kdump::supervise();
    }
    let result = if bpftrace::is_called(arguments.first()) {
        bpftrace::run(arguments)
    } else if arguments.get(1).is_some_and(|word| word == "bpftrace") {
        bpftrace::run(arguments.split_off(1))
    } else {
        cli::run(arguments)
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}
