//! The loop of register allocation: colour, spill what finds no register, try again.

use kscope_spec::insn::Cond as Test;

use super::color::{Graph, Keep};
use super::lir::{B, Base, Block, Code, End, Ins, Operand, Source, V};
use super::live::{self, Set};
use super::{EmitError, FRAME_SIZE};
use crate::diagnostic::Span;

/// Rounds after which allocation gives up; each spills at least one register.
const ROUNDS: usize = 200;

/// Most that the machine's registers and the frame hold at once, each in eight bytes.
const PLACES: u32 = 10 + FRAME_SIZE / 8;

/// Where virtual registers live.
#[derive(Debug)]
pub(super) struct Allocation {
    /// The machine register of each, if it has one.
    pub(super) registers: Vec<Option<u8>>,
    /// The 8-byte spill slot of each, if it has one.
    pub(super) slots: Vec<Option<u32>>,
    /// Number of spill slots.
    pub(super) slot_count: u32,
    /// What is live at the end of each block.
    pub(super) live_out: Vec<Set>,
}

/// Refuses code of which no round could find places for all that is live at once.
///
/// Values that moves make equal may share a place: only what is far too much is told at once.
fn refuse_far_too_many(code: &Code) -> Result<(), EmitError> {
    const MOST: u32 = 2 * PLACES;
    // No more are live than there are, which is quickly known.
    if code.registers <= MOST {
        return Ok(());
    }
    match live::pressure(code) {
        0..=MOST => Ok(()),
        most => Err(EmitError::Frame {
            need: (most - 10) * 8,
            room: FRAME_SIZE,
        }),
    }
}

/// Allocates registers; the code is rewritten where registers are spilled.
pub(super) fn allocate(code: &mut Code) -> Result<Allocation, EmitError> {
    let mut spilled = vec![false; code.registers as usize];
    let mut temporary = vec![false; code.registers as usize];
    for round in 0..ROUNDS {
        live::sweep(code);
        if round == 0 {
            refuse_far_too_many(code)?;
        }
        let graph = Graph::new(code, &spilled);
        let keep = |v: V| {
            if temporary[v.index()] {
                Keep::Always
            } else if code.bounded.get(v.index()).copied().unwrap_or(false) {
                Keep::Bounded
            } else {
                Keep::No
            }
        };
        match graph.color(&spilled, keep) {
            Ok(registers) => {
                let (slots, slot_count) = slots(&graph, &spilled);
                let live_out = live::live_out(code);
                return Ok(Allocation {
                    registers,
                    slots,
                    slot_count,
                    live_out,
                });
            }
            Err(more) if more.is_empty() => return Err(EmitError::Registers),
            Err(more) => {
                for v in more {
                    spilled[v.index()] = true;
                }
                rewrite(code, &spilled);
                spilled.resize(code.registers as usize, false);
                temporary.resize(code.registers as usize, true);
            }
        }
    }
    Err(EmitError::Registers)
}

/// Gives spilled registers that are never live together the same slot.
fn slots(graph: &Graph, spilled: &[bool]) -> (Vec<Option<u32>>, u32) {
    let mut slots: Vec<Option<u32>> = vec![None; spilled.len()];
    let mut count = 0;
    for v in (0..spilled.len()).filter(|v| spilled[*v]) {
        let taken: Vec<u32> = graph.neighbours[v]
            .iter()
            .filter_map(|n| slots[n.index()])
            .collect();
        let slot = (0..).find(|s| !taken.contains(s)).unwrap_or(0);
        slots[v] = Some(slot);
        count = count.max(slot + 1);
    }
    (slots, count)
}

/// Loads spilled registers before each use and stores them after each definition. Moves, calls
/// and exits take spilled registers as they are.
fn rewrite(code: &mut Code, spilled: &[bool]) {
    let is_spilled = |v: V| spilled.get(v.index()).copied().unwrap_or(false);
    for index in 0..code.blocks.len() {
        let old = std::mem::take(&mut code.blocks[index].ins);
        let mut ins = Vec::with_capacity(old.len());
        for (one, span) in old {
            instruction(code, one, span, &is_spilled, &mut ins);
        }
        let mut end = code.blocks[index].end.clone();
        if let End::Branch {
            cond,
            left,
            right,
            then,
            otherwise,
            ..
        } = &mut end
        {
            let span = code.blocks[index].span;
            let mut checked = Vec::new();
            let mut reload = |code: &mut Code, v: &mut V| {
                if is_spilled(*v) {
                    let t = code.register();
                    ins.push((
                        Ins::Move {
                            dst: t,
                            src: Source::Reg(*v),
                        },
                        span,
                    ));
                    checked.push((*v, t));
                    *v = t;
                }
            };
            reload(code, left);
            if let Operand::Reg(right) = right {
                reload(code, right);
            }
            // The verifiers before 6.12 do not know that the slot holds what was checked: the
            // checked register goes back to the slot, on both ways.
            checked.retain(|(v, _)| code.bounded.get(v.index()).copied().unwrap_or(false));
            if !checked.is_empty() && !matches!(cond, Test::Eq | Test::Ne) {
                for target in [then, otherwise] {
                    *target = edge(code, *target, &checked, span);
                }
            }
        }
        let block = &mut code.blocks[index];
        block.ins = ins;
        block.end = end;
    }
}

/// Makes a block before the target that stores checked registers to their slots again.
fn edge(code: &mut Code, target: B, checked: &[(V, V)], span: Span) -> B {
    let ins = checked
        .iter()
        .map(|(v, t)| {
            (
                Ins::Move {
                    dst: *v,
                    src: Source::Reg(*t),
                },
                span,
            )
        })
        .collect();
    code.blocks.push(Block {
        ins,
        end: End::Jump(target),
        span,
    });
    B(code.blocks.len() as u32 - 1)
}

fn instruction(
    code: &mut Code,
    mut one: Ins,
    span: Span,
    is_spilled: &impl Fn(V) -> bool,
    ins: &mut Vec<(Ins, Span)>,
) {
    match &mut one {
        Ins::Call { .. } | Ins::Parallel(_) | Ins::Given(_) => ins.push((one, span)),
        Ins::Move { dst, src } => {
            let direct = match src {
                Source::Reg(v) => !is_spilled(*v),
                Source::Const(c) => i32::try_from(*c).is_ok(),
                _ => false,
            };
            if is_spilled(*dst) && !direct {
                let t = code.register();
                ins.push((Ins::Move { dst: t, src: *src }, span));
                *src = Source::Reg(t);
            }
            ins.push((one, span));
        }
        _ => {
            let mut renamed: Vec<(V, V)> = Vec::new();
            let mut reads = Vec::new();
            one.uses(|v| reads.push(v));
            let mut writes = Vec::new();
            one.defs(|v| writes.push(v));
            let mut all = reads.clone();
            all.extend(&writes);
            for v in all {
                if is_spilled(v) && !renamed.iter().any(|(old, _)| *old == v) {
                    renamed.push((v, code.register()));
                }
            }
            for (v, t) in &renamed {
                if reads.contains(v) {
                    ins.push((
                        Ins::Move {
                            dst: *t,
                            src: Source::Reg(*v),
                        },
                        span,
                    ));
                }
            }
            rename(&mut one, &renamed);
            ins.push((one, span));
            for (v, t) in &renamed {
                if writes.contains(v) {
                    ins.push((
                        Ins::Move {
                            dst: *v,
                            src: Source::Reg(*t),
                        },
                        span,
                    ));
                }
            }
        }
    }
}

fn rename(one: &mut Ins, renamed: &[(V, V)]) {
    let change = |v: &mut V| {
        if let Some((_, new)) = renamed.iter().find(|(old, _)| old == v) {
            *v = *new;
        }
    };
    let change_base = |base: &mut Base| {
        if let Base::Reg(v) = base {
            change(v);
        }
    };
    let change_operand = |operand: &mut Operand| {
        if let Operand::Reg(v) = operand {
            change(v);
        }
    };
    match one {
        Ins::Mov32 { dst, src } => {
            change(dst);
            change(src);
        }
        Ins::Alu { dst, src, .. } => {
            change(dst);
            change_operand(src);
        }
        Ins::Neg { dst } | Ins::Swap { dst, .. } => change(dst),
        Ins::Load { dst, base, .. } => {
            change(dst);
            change_base(base);
        }
        Ins::LoadAt { dst, base, .. } => {
            change(dst);
            change(base);
        }
        Ins::Store { base, src, .. } => {
            change_base(base);
            change_operand(src);
        }
        Ins::Atomic { base, src, .. } => {
            change_base(base);
            change(src);
        }
        Ins::FetchAdd { base, dst, .. } => {
            change_base(base);
            change(dst);
        }
        Ins::Move { .. } | Ins::Call { .. } | Ins::Parallel(_) | Ins::Given(_) => {}
    }
}
