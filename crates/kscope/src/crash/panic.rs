//! Who panicked, and on which CPU.

use kscope_dump::{Kernel, OnCpu, Task};
use kscope_memory::Memory as _;

/// What a CPU's number is while there is none.
const NO_CPU: u32 = u32::MAX;

/// The CPU on which a kernel panicked; none of one that did not, or where that is not known.
pub(super) fn cpu(kernel: &Kernel) -> Option<u32> {
    let number = |symbol: &str| {
        let at = kernel.global(symbol)?;
        let cpu = kernel.read_u32(at).ok()?;
        (cpu != NO_CPU).then_some(cpu)
    };
    number("panic_cpu").or_else(|| number("crashing_cpu"))
}

/// What ran on a CPU, with its task.
pub(super) fn running<'t>(
    on_cpu: &'t [OnCpu],
    tasks: &'t [Task],
    cpu: u32,
) -> Option<(&'t OnCpu, Option<&'t Task>)> {
    let found = on_cpu.iter().find(|found| found.cpu == cpu)?;
    let task = tasks.iter().find(|task| found.task == Some(task.addr));
    Some((found, task))
}
