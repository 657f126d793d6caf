//! Dead code: results nobody uses, parameters nobody reads, memory nobody looks at.

use super::copy::remove_params;
use crate::ir::{AtomicOp, Function, Inst, Op, Pointer, Ty, Value};

/// Removes what has no effect.
pub(super) fn run(function: &mut Function) -> bool {
    let slots = dead_slots(function);
    let writes_dead = |function: &Function, op: &Op| {
        let base = match op {
            Op::Store { base, .. } | Op::Atomic { base, .. } | Op::Zero { base, .. } => *base,
            Op::Copy { to, .. } => *to,
            _ => return false,
        };
        match function.values[base.index()] {
            Ty::Ptr(Pointer::Slot(slot)) => slots[slot.index()],
            _ => false,
        }
    };
    let live = live(function, &writes_dead);
    let mut changed = false;
    let mut all_removed = Vec::with_capacity(function.blocks.len());
    for index in 0..function.blocks.len() {
        let mut insts = std::mem::take(&mut function.blocks[index].insts);
        insts.retain(|inst| {
            let used = inst.result.is_some_and(|v| live[v.index()]);
            let keep = !writes_dead(function, &inst.op) && (used || !inst.op.is_pure());
            changed |= !keep;
            keep
        });
        for inst in &mut insts {
            changed |= forget_sum(inst, &live);
        }
        function.blocks[index].insts = insts;
        let removed: Vec<bool> = function.blocks[index]
            .params
            .iter()
            .map(|p| !live[p.index()])
            .collect();
        changed |= removed.contains(&true);
        all_removed.push(removed);
    }
    remove_params(function, &all_removed);
    changed
}

/// Makes an addition whose former value nobody uses one that gives none: it is cheaper.
fn forget_sum(inst: &mut Inst, live: &[bool]) -> bool {
    let Op::AtomicFetchAdd {
        base,
        offset,
        value,
    } = inst.op
    else {
        return false;
    };
    if inst.result.is_some_and(|v| live[v.index()]) {
        return false;
    }
    inst.result = None;
    inst.op = Op::Atomic {
        op: AtomicOp::Add,
        bytes: 8,
        base,
        offset,
        value,
    };
    true
}

/// Finds the values that something with an effect needs.
fn live(function: &Function, writes_dead: &impl Fn(&Function, &Op) -> bool) -> Vec<bool> {
    // What defines each value: the operands of an instruction, or all that jumps give.
    let mut needs: Vec<Vec<Value>> = vec![Vec::new(); function.values.len()];
    let mut work: Vec<Value> = Vec::new();
    for block in &function.blocks {
        for inst in &block.insts {
            if let Some(result) = inst.result {
                inst.op.uses(|v| needs[result.index()].push(v));
            }
            if !inst.op.is_pure() && !writes_dead(function, &inst.op) {
                inst.op.uses(|v| work.push(v));
            }
        }
        let mut end = block.end.clone();
        for target in end.targets_mut() {
            let params = &function.blocks[target.block.index()].params;
            for (param, arg) in params.iter().zip(target.args.drain(..)) {
                needs[param.index()].push(arg);
            }
        }
        end.uses(|v| work.push(v));
    }
    let mut live = vec![false; function.values.len()];
    while let Some(value) = work.pop() {
        if !std::mem::replace(&mut live[value.index()], true) {
            work.append(&mut needs[value.index()]);
        }
    }
    live
}

/// Finds the slots that are only written: no load, copy, helper or jump sees their address.
fn dead_slots(function: &Function) -> Vec<bool> {
    let mut dead = vec![true; function.slots.len()];
    let mut seen = |v: Value| {
        if let Ty::Ptr(Pointer::Slot(slot)) = function.values[v.index()] {
            dead[slot.index()] = false;
        }
    };
    for block in &function.blocks {
        for inst in &block.insts {
            match &inst.op {
                Op::Store { value, .. } | Op::Atomic { value, .. } => seen(*value),
                Op::PtrAdd { offset, .. } => seen(*offset),
                Op::Copy { from, .. } => seen(*from),
                Op::Zero { .. } => {}
                op => op.uses(&mut seen),
            }
        }
        block.end.uses(&mut seen);
    }
    dead
}
