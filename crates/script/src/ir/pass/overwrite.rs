//! Writes that are overwritten: zeros and numbers put into a slot that nobody reads before the
//! same bytes are written again in the same block.

use crate::ir::{Function, Op, Pointer, SlotId, Ty, Value};

/// Bytes of a slot.
#[derive(Clone, Copy)]
struct Range {
    slot: SlotId,
    start: i64,
    end: i64,
}

/// Removes overwritten writes.
pub(super) fn run(function: &mut Function) -> bool {
    let mut ops: Vec<Option<Op>> = vec![None; function.values.len()];
    for inst in function.blocks.iter().flat_map(|b| &b.insts) {
        if let Some(result) = inst.result {
            ops[result.index()] = Some(inst.op.clone());
        }
    }
    let mut changed = false;
    for block in &mut function.blocks {
        let mut dead = vec![false; block.insts.len()];
        let mut pending: Vec<(usize, Range)> = Vec::new();
        for (index, inst) in block.insts.iter().enumerate() {
            let mut read = |value: Value| {
                if let Ty::Ptr(Pointer::Slot(slot)) = function.values[value.index()] {
                    pending.retain(|(_, r)| r.slot != slot);
                }
            };
            match &inst.op {
                Op::Load { base, .. }
                | Op::Atomic { base, .. }
                | Op::AtomicFetchAdd { base, .. } => read(*base),
                Op::Copy { from, .. } => read(*from),
                // A helper may read by an address it was given as a number.
                Op::Call { .. } | Op::PtrToInt(_) => pending.clear(),
                _ => {}
            }
            let Some(range) = written(&inst.op, &ops) else {
                continue;
            };
            pending.retain(|(at, r)| {
                let covered = r.slot == range.slot && range.start <= r.start && r.end <= range.end;
                dead[*at] |= covered;
                !covered
            });
            pending.push((index, range));
        }
        let mut index = 0;
        block.insts.retain(|_| {
            index += 1;
            !dead[index - 1]
        });
        changed |= dead.contains(&true);
    }
    changed
}

/// Gives the bytes of a slot that an instruction writes, where they are known.
fn written(op: &Op, ops: &[Option<Op>]) -> Option<Range> {
    let (base, offset, len) = match op {
        Op::Store {
            bytes,
            base,
            offset,
            ..
        } => (*base, *offset, u32::from(*bytes)),
        Op::Zero { base, offset, len } => (*base, *offset, *len),
        Op::Copy {
            to, to_offset, len, ..
        } => (*to, *to_offset, *len),
        _ => return None,
    };
    let mut start = i64::from(offset);
    let mut value = base;
    loop {
        match ops[value.index()].as_ref()? {
            Op::SlotAddr(slot) => {
                let end = start + i64::from(len);
                return Some(Range {
                    slot: *slot,
                    start,
                    end,
                });
            }
            Op::PtrAdd {
                base,
                offset,
                bound,
            } => match ops[offset.index()].as_ref()? {
                Op::Const(c) if (0..=i64::from(*bound)).contains(c) => {
                    start = start.checked_add(*c)?;
                    value = *base;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
}
