//! Tracepoints whose record nobody reads are attached as raw ones: the kernel does not make the
//! record then, which is a third to a half of what an event costs.

use crate::hir::{Context, Probe};
use crate::ir::{Function, Op, kfunc};
use crate::plan::Attach;

/// Category of the tracepoints that every system call passes.
const SYSTEM_CALLS: &str = "raw_syscalls";
/// Where a raw tracepoint of them has its second argument: the number at entry, the result at exit.
const SECOND_ARGUMENT: i32 = 8;

/// Makes the program of a tracepoint that of a raw tracepoint where that means the same: it reads
/// nothing of the record, or what the raw one's arguments have as well. Says whether it did.
pub(super) fn make_raw(probe: &Probe, function: &mut Function) -> bool {
    if probe.context != Context::Tracepoint || !probe.has_raw {
        return false;
    }
    let Some(reads) = reads(function) else {
        return false;
    };
    if reads.is_empty() {
        return true;
    }
    // The record's place of what stands in the second argument.
    let place = match probe.plan.attach.as_slice() {
        [Attach::Tracepoint { category, event }] if category == SYSTEM_CALLS => {
            match event.as_str() {
                "sys_enter" => 8,
                "sys_exit" => 16,
                _ => return false,
            }
        }
        _ => return false,
    };
    if !reads.iter().all(|read| *read == (place, 8)) {
        return false;
    }
    for inst in function.blocks.iter_mut().flat_map(|b| &mut b.insts) {
        if let Op::Load { base, offset, .. } = &mut inst.op {
            if function.values[base.index()] == CONTEXT {
                *offset = SECOND_ARGUMENT;
            }
        }
    }
    true
}

const CONTEXT: crate::ir::Ty = crate::ir::Ty::Ptr(crate::ir::Pointer::Ctx);

/// Gives the places and sizes of what a program reads of its context; none where the context goes
/// anywhere else: to a helper that takes a stack, into a sum.
fn reads(function: &Function) -> Option<Vec<(i32, u8)>> {
    let mut all = Vec::new();
    for block in &function.blocks {
        for inst in &block.insts {
            match &inst.op {
                Op::Load {
                    base,
                    offset,
                    bytes,
                    ..
                } if function.values[base.index()] == CONTEXT => all.push((*offset, *bytes)),
                // Programs of raw tracepoints may call no functions of the kernel.
                Op::Call { helper, .. } if kfunc::place(*helper).is_some() => return None,
                op => {
                    let mut elsewhere = false;
                    op.uses(|value| {
                        elsewhere |= function.values[value.index()] == CONTEXT;
                    });
                    if elsewhere {
                        return None;
                    }
                }
            }
        }
        let mut elsewhere = false;
        block.end.uses(|value| {
            elsewhere |= function.values[value.index()] == CONTEXT;
        });
        if elsewhere {
            return None;
        }
    }
    Some(all)
}
