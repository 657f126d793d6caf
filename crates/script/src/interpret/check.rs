//! What a script asks for that memory has no answer to.

use kscope_spec::helper as h;

use super::helper::KNOWN;
use crate::diagnostic::{Diagnostic, Span};
use crate::ir::{Function, Op, kfunc};
use crate::syntax::tree::{AttachPoint, Script};

/// Kinds of objects that a walk over memory gives one by one.
pub(super) const ITERATORS: [&str; 4] = ["task", "task_file", "task_vma", "ksym"];

/// Finds what functions call that has no meaning over memory, each once.
#[must_use]
pub fn refusals<'a>(functions: impl IntoIterator<Item = &'a Function>) -> Vec<Diagnostic> {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut left: Vec<&Function> = functions.into_iter().collect();
    while let Some(function) = left.pop() {
        left.extend(&function.callbacks);
        for inst in function.blocks.iter().flat_map(|block| &block.insts) {
            let Op::Call { helper, .. } = &inst.op else {
                continue;
            };
            if KNOWN.contains(helper) {
                continue;
            }
            let finding = refusal(*helper, inst.span);
            if !found.iter().any(|known| known.span == finding.span) {
                found.push(finding);
            }
        }
    }
    found.sort_by_key(|finding| finding.span);
    found
}

fn refusal(number: u32, span: Span) -> Diagnostic {
    const THREAD: &str =
        "in iter:task, what a thread is: ctx.task.pid, ctx.task.comm, kstack(ctx.task)";
    let helper = kscope_spec::HelperId(number);
    let (what, hint) = match helper {
        h::GET_CURRENT_PID_TGID
        | h::GET_NS_CURRENT_PID_TGID
        | h::GET_CURRENT_UID_GID
        | h::GET_CURRENT_COMM
        | h::GET_CURRENT_TASK
        | h::GET_CURRENT_TASK_BTF
        | h::GET_CURRENT_CGROUP_ID => ("the thread that runs the script", THREAD),
        h::GET_STACKID | h::GET_STACK => ("the stack of the thread that runs the script", THREAD),
        h::GET_SMP_PROCESSOR_ID | h::GET_NUMA_NODE_ID => (
            "the CPU that runs the script",
            "the CPU of a thread: ctx.task.recent_used_cpu",
        ),
        h::PROBE_READ_USER | h::PROBE_READ_USER_STR | h::PROBE_WRITE_USER => (
            "memory of the process that runs the script",
            "memory of the kernel: kptr(address)",
        ),
        h::SEND_SIGNAL | h::SEND_SIGNAL_THREAD | h::OVERRIDE_RETURN | h::TRACE_PRINTK => (
            "a change of the kernel, which is only read",
            "leave it out, or run the script on the live kernel",
        ),
        _ if number == kfunc::TASK_FROM_PID => (
            "a search for a thread by its id",
            "iter:task, with a predicate: /ctx.task.pid == 1/",
        ),
        _ => (
            "what only a running kernel can tell",
            "run the script on the live kernel",
        ),
    };
    let message = format!("this asks for {what}, which memory that is only read does not have");
    Diagnostic::error("needs-running-kernel", span, message).hint(format!("instead: {hint}"))
}

/// Tells whether all that a script does can be done over memory that is only read: none of its
/// probes waits for an event.
#[must_use]
pub fn waits_for_nothing(script: &Script) -> bool {
    !script.probes.is_empty() && attach_points(script).is_empty()
}

/// Refuses the attach points where nothing ever happens in memory that is only read.
pub(super) fn attach_points(script: &Script) -> Vec<Diagnostic> {
    const RUN: [&str; 5] = ["begin", "end", "BEGIN", "END", "self"];
    let points = script.probes.iter().flat_map(|probe| &probe.attach_points);
    let refusal = |point: &AttachPoint| {
        let mut parts = point.parts.iter().map(String::as_str);
        let (provider, name) = (parts.next()?, parts.next());
        let why = match (provider, name) {
            ("iter" | "it", Some(name)) if ITERATORS.contains(&name) => return None,
            ("iter" | "it", _) => "is not walked over memory that is only read",
            _ if RUN.contains(&provider) => return None,
            _ => "waits for an event, and nothing happens in memory that is only read",
        };
        let message = format!("{} {why}", point.parts.join(":"));
        let all = ITERATORS.map(|name| format!("iter:{name}"));
        let hint = format!("what can be run: begin, end, {}", all.join(", "));
        let error = Diagnostic::error("needs-running-kernel", point.span, message);
        Some(error.hint(hint))
    };
    points.filter_map(refusal).collect()
}
