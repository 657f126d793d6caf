//! The last step: the order of blocks, and the jumps between them.

use kscope_spec::Reloc;
use kscope_spec::insn::{Cond, Insn, Reg};

use super::assemble::Piece;
use super::lir::{self, B, End, Operand, V};
use super::live;
use super::spill::Allocation;
use super::{Code, EmitError};
use crate::diagnostic::Span;

/// Follows blocks that only jump on.
fn thread(code: &lir::Code, bodies: &[Vec<Piece>], from: B) -> B {
    let mut b = from;
    for _ in 0..bodies.len() {
        match code.blocks[b.index()].end {
            End::Jump(next) if bodies[b.index()].is_empty() => b = next,
            _ => break,
        }
    }
    b
}

/// Orders the blocks: what runs only after something that seldom holds stands last, so that
/// nothing jumps over it on the usual way.
fn placed(blocks: &[lir::Block]) -> Vec<B> {
    let mut usual = vec![false; blocks.len()];
    let mut work = vec![B(0)];
    while let Some(b) = work.pop() {
        if !std::mem::replace(&mut usual[b.index()], true) {
            work.extend(blocks[b.index()].end.likely());
        }
    }
    let mut order = live::order(blocks);
    // The sort is stable.
    order.sort_by_key(|b| !usual[b.index()]);
    order
}

/// Says whether a block ends the program and is as short as a jump to it, which takes it along instead.
fn is_short_end(block: &lir::Block, body: &[Piece]) -> bool {
    match (&block.end, body) {
        (End::Exit(_), [first, _]) => first.reloc.is_none() && first.layout.is_none(),
        _ => false,
    }
}

/// Leaves out the ends that every jump takes along: nothing would reach them, which the verifier refuses.
fn without_taken_along(order: Vec<B>, blocks: &[lir::Block], bodies: &[Vec<Piece>]) -> Vec<B> {
    let mut branched_to = vec![false; blocks.len()];
    for b in &order {
        if let End::Branch {
            then, otherwise, ..
        } = &blocks[b.index()].end
        {
            branched_to[then.index()] = true;
            branched_to[otherwise.index()] = true;
        }
    }
    let mut kept: Vec<B> = Vec::with_capacity(order.len());
    for b in order {
        let falls_in = match kept.last() {
            None => true,
            Some(before) => matches!(blocks[before.index()].end, End::Jump(next) if next == b),
        };
        let short = is_short_end(&blocks[b.index()], &bodies[b.index()]);
        if falls_in || branched_to[b.index()] || !short {
            kept.push(b);
        }
    }
    kept
}

/// Orders the blocks and resolves the jumps.
pub(super) fn link(
    code: &lir::Code,
    bodies: &[Vec<Piece>],
    allocation: &Allocation,
) -> Result<Code, EmitError> {
    let mut blocks = code.blocks.clone();
    for block in &mut blocks {
        let go = |b: &mut B| *b = thread(code, bodies, *b);
        match &mut block.end {
            End::Jump(target) => go(target),
            End::Branch {
                then, otherwise, ..
            } => {
                go(then);
                go(otherwise);
                if then == otherwise {
                    block.end = End::Jump(*then);
                }
            }
            End::Exit(_) => {}
        }
    }
    let order = without_taken_along(placed(&blocks), &blocks, bodies);
    let mut result = Code {
        scratch_size: code.scratch_size,
        ..Code::default()
    };
    let mut starts = vec![0_usize; blocks.len()];
    let mut jumps: Vec<(usize, B)> = Vec::new();
    for (position, b) in order.iter().enumerate() {
        let block = &blocks[b.index()];
        starts[b.index()] = result.insns.len();
        for piece in &bodies[b.index()] {
            line(&mut result, piece.span);
            if let Some(kind) = &piece.reloc {
                let insn = result.insns.len() as u32;
                result.relocs.push(Reloc {
                    insn,
                    kind: kind.clone(),
                });
            }
            if let Some(layout) = piece.layout {
                result.layouts.push((result.insns.len() as u32, layout));
            }
            result.insns.extend(piece.slots.iter().flatten());
        }
        let next = order.get(position + 1).copied();
        match &block.end {
            End::Exit(_) => {}
            End::Jump(target) if Some(*target) == next => {}
            End::Jump(target) => {
                line(&mut result, block.span);
                let body = bodies[target.index()].as_slice();
                if is_short_end(&blocks[target.index()], body) {
                    let insns = body.iter().flat_map(|piece| piece.slots.iter().flatten());
                    result.insns.extend(insns);
                } else {
                    jumps.push((result.insns.len(), *target));
                    result.insns.push(Insn::ja(0));
                }
            }
            End::Branch {
                cond,
                left,
                right,
                then,
                otherwise,
                ..
            } => {
                line(&mut result, block.span);
                let (cond, target, other) = match cond.negated() {
                    Some(negated) if Some(*then) == next => (negated, *otherwise, None),
                    _ if Some(*otherwise) == next => (*cond, *then, None),
                    _ => (*cond, *then, Some(*otherwise)),
                };
                jumps.push((result.insns.len(), target));
                result.insns.push(branch(allocation, cond, *left, *right)?);
                if let Some(other) = other {
                    jumps.push((result.insns.len(), other));
                    result.insns.push(Insn::ja(0));
                }
            }
        }
    }
    let insns = result.insns.len();
    for (at, target) in jumps {
        let distance = starts[target.index()] as i64 - at as i64 - 1;
        result.insns[at].off = i16::try_from(distance).map_err(|_| EmitError::TooLong { insns })?;
    }
    Ok(result)
}

fn branch(allocation: &Allocation, cond: Cond, left: V, right: Operand) -> Result<Insn, EmitError> {
    let reg = |v: V| {
        allocation.registers[v.index()]
            .map(Reg)
            .ok_or(EmitError::Registers)
    };
    Ok(match right {
        Operand::Reg(right) => Insn::jmp64(cond, reg(left)?, reg(right)?, 0),
        Operand::Imm(imm) => Insn::jmp64_imm(cond, reg(left)?, imm, 0),
        Operand::Layout(_) => return Err(EmitError::Malformed("comparison with a layout")),
    })
}

fn line(code: &mut Code, span: Span) {
    if code.lines.last().is_none_or(|(_, last)| *last != span) {
        code.lines.push((code.insns.len() as u32, span));
    }
}
