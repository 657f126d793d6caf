//! Prints the tasks of a dump with their stacks: `cargo run --example stacks -- VMCORE`.

use std::error::Error;

use kscope_dump::{Dump, Kernel, Stack};

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let kernel = Kernel::open(Dump::open(&files)?)?;
    println!("{}", kernel.banner().unwrap_or_default());
    let unwinder = kernel.unwinder()?;
    let tasks = match kernel.tasks() {
        Ok(tasks) => tasks,
        Err(error) => {
            // Stacks of CPUs need no types.
            println!("no tasks: {error}");
            for (number, registers) in kernel.registers().iter().enumerate() {
                println!("CPU {number}");
                print(&kernel, &unwinder.running(registers));
            }
            return Ok(());
        }
    };
    let on_cpu = kernel.on_cpu().unwrap_or_default();
    for task in &tasks.items {
        println!("{} {} {}", task.pid, task.state_letter(), task.comm);
        let running = on_cpu.items.iter().find(|c| c.task == Some(task.addr));
        let stack = match running.and_then(|c| c.registers) {
            Some(registers) => unwinder.running(&registers),
            None => unwinder.sleeping(task),
        };
        print(&kernel, &stack);
    }
    for fault in tasks.fault.iter().chain(&on_cpu.fault) {
        println!("there may be more: {fault}");
    }
    Ok(())
}

fn print(kernel: &Kernel, stack: &Stack) {
    for frame in &stack.frames {
        let name = kernel.symbolize(frame.code());
        let name = name.map_or("?", |found| found.symbol.name);
        println!("    {} {name} ({:?})", frame.pc, frame.from);
    }
    if !stack.end.is_whole() {
        println!("    the stack is not whole: {:?}", stack.end);
    }
}
