//! The stack that chains of calls need together.

use super::shape::{self, Shape};
use super::state::FRAME;
use super::{Problem, ProblemKind};
use crate::insn::{Callee, Op};
use crate::object::ProgramSpec;
use std::collections::BTreeMap;

/// Adds up the stack of chains of calls.
pub(super) fn report(
    program: &ProgramSpec,
    shape: &Shape,
    depths: &BTreeMap<usize, u32>,
    problems: &mut Vec<Problem>,
) {
    // The kernel allows eight frames; a longer chain is cut here with a report.
    const FRAMES: usize = 8;
    let mut calls: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (slot, op) in shape.ops.iter().enumerate() {
        let Some(op) = op else { continue };
        let to = match op {
            Op::Call(Callee::Local(distance)) => shape::target(slot, *distance),
            _ => shape::func_reference(program, slot, *op).and_then(|to| usize::try_from(to).ok()),
        };
        if let Some(to) = to {
            let from = calls.entry(shape.start_of(slot)).or_default();
            from.push((slot, to));
        }
    }
    let mut open = vec![(vec![0_usize], depths.get(&0).copied().unwrap_or(0))];
    let mut steps = 0;
    while let Some((chain, bytes)) = open.pop() {
        steps += 1;
        if steps > 10_000 {
            return;
        }
        let Some(last) = chain.last() else { continue };
        for (slot, to) in calls.get(last).into_iter().flatten() {
            let insn = u32::try_from(*slot).unwrap_or(u32::MAX);
            let sum = bytes.saturating_add(depths.get(to).copied().unwrap_or(0));
            let kind = if chain.contains(to) || chain.len() >= FRAMES {
                ProblemKind::Recursion
            } else if sum > FRAME as u32 {
                ProblemKind::StackDepth(sum)
            } else {
                let mut longer = chain.clone();
                longer.push(*to);
                open.push((longer, sum));
                continue;
            };
            let problem = Problem { insn, kind };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}
