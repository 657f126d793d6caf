//! Copy propagation: parameters that always get the same value become that value.

use std::collections::HashMap;

use super::{Replacements, constants};
use crate::ir::flow::Flow;
use crate::ir::{Block, Function, Inst, Op, Value};

/// What the jumps to a block give one of its parameters.
#[derive(Clone, Copy, PartialEq)]
enum Given {
    Nothing,
    Value(Value),
    /// Different values that are the same constant.
    Constant(i64),
    Different,
}

/// Removes trivial parameters.
pub(super) fn run(function: &mut Function) -> bool {
    let constants = constants(function);
    let flow = Flow::new(function);
    let mut given: HashMap<Value, Given> = HashMap::new();
    for block in &flow.order {
        for target in function.blocks[block.index()].end.targets() {
            let params = &function.blocks[target.block.index()].params;
            for (param, arg) in params.iter().zip(&target.args) {
                if param == arg {
                    continue;
                }
                let now = given.entry(*param).or_insert(Given::Nothing);
                let constant = constants[arg.index()];
                *now = match (*now, constant) {
                    (Given::Nothing, _) => Given::Value(*arg),
                    (Given::Value(v), _) if v == *arg => Given::Value(v),
                    (Given::Value(v), Some(c)) if constants[v.index()] == Some(c) => {
                        Given::Constant(c)
                    }
                    (Given::Constant(c), Some(d)) if c == d => Given::Constant(c),
                    _ => Given::Different,
                };
            }
        }
    }
    let mut replacements = Replacements::new(function);
    let mut changed = false;
    let mut all_removed = vec![Vec::new(); function.blocks.len()];
    for (index, removed) in all_removed.iter_mut().enumerate() {
        let block = Block(index as u32);
        if !flow.is_reachable(block) {
            continue;
        }
        let params = function.blocks[index].params.clone();
        *removed = vec![false; params.len()];
        for (position, param) in params.iter().enumerate() {
            match given.get(param) {
                Some(Given::Value(value)) => {
                    // A ring of parameters that give each other has no value of its own.
                    if replacements.get(*value) == *param {
                        continue;
                    }
                    replacements.set(*param, *value);
                }
                Some(Given::Constant(c)) => {
                    let span = function.blocks[index].span;
                    let inst = Inst {
                        result: Some(*param),
                        op: Op::Const(*c),
                        span,
                    };
                    function.blocks[index].insts.insert(0, inst);
                }
                _ => continue,
            }
            removed[position] = true;
            changed = true;
        }
    }
    remove_params(function, &all_removed);
    replacements.apply(function);
    changed
}

/// Removes parameters, for each block those that are marked, and what jumps give them.
pub(super) fn remove_params(function: &mut Function, removed: &[Vec<bool>]) {
    if !removed.iter().any(|block| block.contains(&true)) {
        return;
    }
    let keep = |values: &mut Vec<Value>, block: usize| {
        let removed = removed.get(block).map_or(&[][..], Vec::as_slice);
        let mut position = 0;
        values.retain(|_| {
            position += 1;
            !removed.get(position - 1).copied().unwrap_or(false)
        });
    };
    for (index, block) in function.blocks.iter_mut().enumerate() {
        keep(&mut block.params, index);
        for target in block.end.targets_mut() {
            keep(&mut target.args, target.block.index());
        }
    }
}
