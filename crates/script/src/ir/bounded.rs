//! Values whose bounds the kernel's verifier must see.

use std::collections::HashMap;

use kscope_spec::helper as h;

use super::{Function, Op, Ty, Value};

/// Finds the values that are variable offsets of addresses or numbers given to helpers, and what
/// these are computed from.
///
/// A check bounds the register that is compared and its copies, not what was computed from it
/// before; so a value like this must be computed where the IR computes it, and must go back to
/// its spill slot after a check.
pub(crate) fn bounded(function: &Function) -> Vec<bool> {
    let mut bounded = vec![false; function.values.len()];
    let mut operands: HashMap<Value, Vec<Value>> = HashMap::new();
    let mut work = Vec::new();
    for block in &function.blocks {
        for inst in &block.insts {
            match (&inst.op, inst.result) {
                (Op::PtrAdd { offset, .. }, _) => work.push(*offset),
                (Op::Call { helper, args }, _) => {
                    let args = args.iter().enumerate();
                    work.extend(
                        args.filter(|(at, _)| !is_address(*helper, *at))
                            .map(|(_, v)| v),
                    );
                }
                (Op::Binary(_, a, b), Some(result)) => {
                    operands.insert(result, vec![*a, *b]);
                }
                (Op::Extend { value, .. }, Some(result)) => {
                    operands.insert(result, vec![*value]);
                }
                _ => {}
            }
        }
        for target in block.end.targets() {
            let params = &function.blocks[target.block.index()].params;
            for (param, arg) in params.iter().zip(&target.args) {
                operands.entry(*param).or_default().push(*arg);
            }
        }
    }
    while let Some(value) = work.pop() {
        let number = function.values[value.index()] == Ty::I64;
        if number && !std::mem::replace(&mut bounded[value.index()], true) {
            work.extend(operands.get(&value).into_iter().flatten());
        }
    }
    bounded
}

/// Says whether the argument is an address that any number may be.
fn is_address(helper: u32, argument: usize) -> bool {
    let reads = [
        h::PROBE_READ,
        h::PROBE_READ_STR,
        h::PROBE_READ_USER,
        h::PROBE_READ_KERNEL,
        h::PROBE_READ_USER_STR,
        h::PROBE_READ_KERNEL_STR,
    ];
    argument == 2 && reads.iter().any(|read| read.0 == helper)
}
