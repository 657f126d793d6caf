//! Common subexpressions: what a dominating instruction computed is not computed again.

use std::collections::HashMap;

use super::Replacements;
use crate::ir::flow::Flow;
use crate::ir::{Block, Function, Op, Pointer, Ty, Value, bounded, effect};

/// Removes instructions whose result exists already.
pub(super) fn run(function: &mut Function) -> bool {
    let flow = Flow::new(function);
    let mut children: Vec<Vec<Block>> = vec![Vec::new(); function.blocks.len()];
    for block in &flow.order {
        if let Some(parent) = flow.parent(*block) {
            children[parent.index()].push(*block);
        }
    }
    let mut replacements = Replacements::new(function);
    let mut known: HashMap<Op, (Value, Block)> = HashMap::new();
    let bounded = bounded(function);
    let mut changed = false;
    // A step enters a block or forgets what one knew.
    enum Step {
        Enter(Block),
        Forget(Vec<Op>),
    }
    let mut work = Vec::new();
    work.extend(flow.order.first().map(|entry| Step::Enter(*entry)));
    while let Some(step) = work.pop() {
        let block = match step {
            Step::Enter(block) => block,
            Step::Forget(ops) => {
                for op in ops {
                    known.remove(&op);
                }
                continue;
            }
        };
        let mut learned = Vec::new();
        let types = &function.values;
        function.blocks[block.index()].insts.retain_mut(|inst| {
            inst.op.uses_mut(|v| *v = replacements.get(*v));
            let Some(result) = inst.result else {
                return true;
            };
            if !is_shared(&inst.op, types) {
                return true;
            }
            let computed = matches!(inst.op, Op::Binary(..) | Op::Extend { .. });
            // A check between two blocks may bound the second result only.
            let here = computed && bounded[result.index()];
            if let Some((earlier, place)) = known.get(&inst.op) {
                if here && *place != block {
                    return true;
                }
                replacements.set(result, *earlier);
                changed = true;
                return false;
            }
            known.insert(inst.op.clone(), (result, block));
            learned.push(inst.op.clone());
            true
        });
        work.push(Step::Forget(learned));
        work.extend(children[block.index()].iter().map(|b| Step::Enter(*b)));
    }
    replacements.apply(function);
    changed
}

/// Says whether the same operation on the same operands gives the same result wherever it stands.
fn is_shared(op: &Op, types: &[Ty]) -> bool {
    match op {
        Op::Const(_)
        | Op::Late(_)
        | Op::Ctx
        | Op::SlotAddr(_)
        | Op::MapRef(_)
        | Op::MapValueAddr { .. }
        | Op::PtrAdd { .. }
        | Op::NonNull(_)
        | Op::PtrToInt(_)
        | Op::Binary(..)
        | Op::Compare(..)
        | Op::Extend { .. }
        | Op::ByteSwap { .. } => true,
        // Nothing writes the context.
        Op::Load { base, .. } => types[base.index()] == Ty::Ptr(Pointer::Ctx),
        Op::Call { helper, args } => args.is_empty() && effect::is_same_during_run(*helper),
        Op::Store { .. } | Op::AtomicAdd { .. } | Op::Zero { .. } | Op::Copy { .. } => false,
    }
}
