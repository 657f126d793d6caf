//! Common subexpressions: what a dominating instruction computed is not computed again.

use std::collections::HashMap;

use super::Replacements;
use crate::ir::flow::Flow;
use crate::ir::{Block, Function, Inst, Op, Pointer, Ty, Value, bounded, effect};

/// What is computed, and as what: a member of the context is an object to some, a number to others.
type Key = (Op, Ty);

/// Removes instructions whose result exists already.
pub(super) fn run(function: &mut Function) -> bool {
    let mut changed = hoist(function);
    let flow = Flow::new(function);
    let mut children: Vec<Vec<Block>> = vec![Vec::new(); function.blocks.len()];
    for block in &flow.order {
        if let Some(parent) = flow.parent(*block) {
            children[parent.index()].push(*block);
        }
    }
    let mut replacements = Replacements::new(function);
    let mut known: HashMap<Key, (Value, Block)> = HashMap::new();
    let bounded = bounded(function);
    // A step enters a block or forgets what one knew.
    enum Step {
        Enter(Block),
        Forget(Vec<Key>),
    }
    let mut work = Vec::new();
    work.extend(flow.order.first().map(|entry| Step::Enter(*entry)));
    while let Some(step) = work.pop() {
        let block = match step {
            Step::Enter(block) => block,
            Step::Forget(keys) => {
                for key in keys {
                    known.remove(&key);
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
            let key = (inst.op.clone(), types[result.index()]);
            if let Some((earlier, place)) = known.get(&key) {
                if here && *place != block {
                    return true;
                }
                replacements.set(result, *earlier);
                changed = true;
                return false;
            }
            known.insert(key.clone(), (result, block));
            learned.push(key);
            true
        });
        work.push(Step::Forget(learned));
        work.extend(children[block.index()].iter().map(|b| Step::Enter(*b)));
    }
    replacements.apply(function);
    changed
}

/// Moves what costs nothing to the start of the entry, one of each: code generation makes these
/// where they are used, and a block without them is easier to see through.
fn hoist(function: &mut Function) -> bool {
    let mut replacements = Replacements::new(function);
    let mut known: HashMap<Op, Value> = HashMap::new();
    let mut first: Vec<Inst> = Vec::new();
    let mut changed = false;
    for (index, block) in function.blocks.iter_mut().enumerate() {
        let mut computed = false;
        let old = std::mem::take(&mut block.insts);
        for inst in old {
            let (true, Some(result)) = (is_free(&inst.op), inst.result) else {
                computed = true;
                block.insts.push(inst);
                continue;
            };
            match known.get(&inst.op) {
                Some(earlier) => {
                    replacements.set(result, *earlier);
                    changed = true;
                }
                None => {
                    changed |= index > 0 || computed;
                    known.insert(inst.op.clone(), result);
                    first.push(inst);
                }
            }
        }
    }
    if let Some(entry) = function.blocks.first_mut() {
        first.append(&mut entry.insts);
        entry.insts = first;
    }
    replacements.apply(function);
    changed
}

/// Says whether code generation makes the value anew for each use.
fn is_free(op: &Op) -> bool {
    matches!(
        op,
        Op::Const(_)
            | Op::Late(_)
            | Op::Layout(_)
            | Op::Ctx
            | Op::Argument(_)
            | Op::Callback(_)
            | Op::SlotAddr(_)
            | Op::MapRef(_)
            | Op::MapValueAddr { .. }
    )
}

/// Says whether the same operation on the same operands gives the same result wherever it stands.
fn is_shared(op: &Op, types: &[Ty]) -> bool {
    match op {
        Op::Const(_)
        | Op::Late(_)
        | Op::Layout(_)
        | Op::LoadAt { .. }
        | Op::Ctx
        | Op::Argument(_)
        | Op::Callback(_)
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
        // No program writes these.
        Op::Load { base, .. } => matches!(
            types[base.index()],
            Ty::Ptr(Pointer::Ctx | Pointer::Task | Pointer::Cred)
        ),
        Op::Call { helper, args } => args.is_empty() && effect::is_same_during_run(*helper),
        Op::Store { .. }
        | Op::Atomic { .. }
        | Op::AtomicFetchAdd { .. }
        | Op::Zero { .. }
        | Op::Copy { .. } => false,
    }
}
