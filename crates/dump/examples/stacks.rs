//! Prints the tasks of a dump with their stacks: `cargo run --example stacks -- VMCORE`.

use std::error::Error;

use kscope_dump::{Dump, Kernel};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let kernel = Kernel::open(Dump::open(&files)?)?;
    println!("{}", kernel.banner()?);
    let unwinder = kernel.unwinder()?;
    let on_cpu = kernel.on_cpu()?;
    let tasks = kernel.tasks()?;
    for task in &tasks.items {
        println!("{} {} {}", task.pid, task.state_letter(), task.comm);
        let running = on_cpu.iter().find(|c| c.task == task.addr);
        let stack = match running.and_then(|c| c.registers) {
            Some(registers) => unwinder.running(&registers),
            None => unwinder.sleeping(task),
        };
        for frame in &stack.frames {
            let name = kernel.symbolize(frame.code());
            let name = name.map_or("?", |found| found.symbol.name);
            println!("    {} {name} ({:?})", frame.pc, frame.from);
        }
        println!("    {:?}", stack.end.is_whole());
    }
    if let Some(fault) = tasks.fault {
        println!("there may be more tasks: {fault}");
    }
    Ok(())
}
