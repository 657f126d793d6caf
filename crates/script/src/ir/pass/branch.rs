//! Branches: known outcomes, jumps to jumps, straight lines of blocks, unreachable blocks.

use super::{Replacements, constants, uses};
use crate::ir::flow::Flow;
use crate::ir::{Block, Function, Op, Target, Terminator, Value};

/// Simplifies control flow.
pub(super) fn run(function: &mut Function) -> bool {
    let mut changed = decide(function);
    changed |= remove_unreachable(function);
    changed |= thread(function);
    changed |= remove_unreachable(function);
    changed |= merge(function);
    changed
}

/// Turns branches that can go one way only into jumps.
fn decide(function: &mut Function) -> bool {
    let constants = constants(function);
    let mut changed = false;
    for block in &mut function.blocks {
        let target = match &block.end {
            Terminator::Branch {
                cond,
                left,
                right,
                then,
                otherwise,
            } => {
                let known = match (constants[left.index()], constants[right.index()]) {
                    (Some(a), Some(b)) => Some(cond.holds(a, b)),
                    _ if left == right => Some(cond.holds(0, 0)),
                    _ if then == otherwise => Some(true),
                    _ => None,
                };
                known.map(|holds| if holds { then } else { otherwise })
            }
            Terminator::BranchNull { null, present, .. } if null == present => Some(null),
            _ => None,
        };
        if let Some(target) = target.cloned() {
            block.end = Terminator::Jump(target);
            changed = true;
        }
    }
    changed
}

/// Makes jumps to a block that only goes on go there at once, if what it does is known for them.
fn thread(function: &mut Function) -> bool {
    let constants = constants(function);
    let uses = uses(function);
    // What a jump to each block may be replaced by.
    let through: Vec<bool> = (0..function.blocks.len())
        .map(|index| index != 0 && is_transparent(function, index, &uses))
        .collect();
    let mut changed = false;
    for index in 0..function.blocks.len() {
        let mut end = function.blocks[index].end.clone();
        // The present way of a null check stays as it is: the check holds behind that edge.
        if matches!(end, Terminator::BranchNull { .. }) {
            continue;
        }
        for target in end.targets_mut() {
            // A chain of blocks is followed one step in each round.
            if !through[target.block.index()] || target.block.index() == index {
                continue;
            }
            if let Some(further) = further(function, target, &constants) {
                *target = further;
                changed = true;
            }
        }
        function.blocks[index].end = end;
    }
    changed
}

/// Says whether a block does nothing but choose a way, and nobody else uses what it defines.
fn is_transparent(function: &Function, index: usize, uses: &[u32]) -> bool {
    let block = &function.blocks[index];
    if !block.insts.iter().all(|i| matches!(i.op, Op::Const(_))) {
        return false;
    }
    let mut own = std::collections::HashMap::new();
    block.end.uses(|v| *own.entry(v).or_insert(0) += 1);
    let defined = block
        .params
        .iter()
        .copied()
        .chain(block.insts.iter().filter_map(|i| i.result));
    for value in defined {
        if uses[value.index()] != own.get(&value).copied().unwrap_or(0) {
            return false;
        }
    }
    // Constants of the block cannot be given further: they would not be defined there.
    let constants: Vec<Value> = block.insts.iter().filter_map(|i| i.result).collect();
    !block
        .end
        .targets()
        .flat_map(|t| &t.args)
        .any(|a| constants.contains(a))
}

/// Gives where a jump to a transparent block ends up.
fn further(function: &Function, target: &Target, constants: &[Option<i64>]) -> Option<Target> {
    let block = &function.blocks[target.block.index()];
    let given = |value: &Value| match block.params.iter().position(|p| p == value) {
        Some(position) => target.args.get(position).copied().unwrap_or(*value),
        None => *value,
    };
    let next = match &block.end {
        Terminator::Jump(next) => next,
        Terminator::Branch {
            cond,
            left,
            right,
            then,
            otherwise,
        } => {
            let a = constants[given(left).index()]?;
            let b = constants[given(right).index()]?;
            if cond.holds(a, b) { then } else { otherwise }
        }
        Terminator::BranchNull { .. } | Terminator::Return(_) => return None,
    };
    if next.block == target.block {
        return None;
    }
    Some(Target {
        block: next.block,
        args: next.args.iter().map(given).collect(),
    })
}

/// Appends a block to the only one that jumps to it.
fn merge(function: &mut Function) -> bool {
    let flow = Flow::new(function);
    let mut count: Vec<usize> = flow.predecessors.iter().map(Vec::len).collect();
    // The entry has one more way in.
    count[0] += 1;
    let mut replacements = Replacements::new(function);
    let mut changed = false;
    for block in &flow.order {
        while let Terminator::Jump(target) = &function.blocks[block.index()].end {
            let next = target.block;
            if next == *block || count[next.index()] != 1 {
                break;
            }
            let args = target.args.clone();
            let data = &mut function.blocks[next.index()];
            let params = std::mem::take(&mut data.params);
            for (param, arg) in params.iter().zip(args) {
                replacements.set(*param, arg);
            }
            let insts = std::mem::take(&mut data.insts);
            let (end, span) = (data.end.clone(), data.span);
            // Nothing reaches it any more; a jump to itself keeps it from counting elsewhere.
            data.end = Terminator::Jump(Target {
                block: next,
                args: Vec::new(),
            });
            count[next.index()] = 0;
            let data = &mut function.blocks[block.index()];
            data.insts.extend(insts);
            data.end = end;
            data.span = span;
            changed = true;
        }
    }
    replacements.apply(function);
    if changed {
        remove_unreachable(function);
    }
    changed
}

/// Removes blocks that nothing reaches and numbers the others anew, in their order.
fn remove_unreachable(function: &mut Function) -> bool {
    let flow = Flow::new(function);
    let mut renamed = Vec::with_capacity(function.blocks.len());
    let mut next = 0;
    for index in 0..function.blocks.len() {
        let reachable = flow.is_reachable(Block(index as u32));
        renamed.push(reachable.then_some(Block(next)));
        next += u32::from(reachable);
    }
    if renamed.iter().all(Option::is_some) {
        return false;
    }
    let mut index = 0;
    function.blocks.retain(|_| {
        index += 1;
        renamed[index - 1].is_some()
    });
    for block in &mut function.blocks {
        for target in block.end.targets_mut() {
            if let Some(Some(new)) = renamed.get(target.block.index()) {
                target.block = *new;
            }
        }
    }
    true
}
