//! Liveness of virtual registers, the order of blocks, and the removal of dead instructions.

use super::lir::{B, Block, Code, End, Ins, Source, V};

/// A set of virtual registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Set(Vec<u64>);

impl Set {
    pub(super) fn new(count: u32) -> Set {
        Set(vec![0; (count as usize).div_ceil(64)])
    }

    pub(super) fn insert(&mut self, v: V) {
        self.0[v.index() / 64] |= 1 << (v.index() % 64);
    }

    pub(super) fn remove(&mut self, v: V) {
        self.0[v.index() / 64] &= !(1 << (v.index() % 64));
    }

    pub(super) fn contains(&self, v: V) -> bool {
        self.0[v.index() / 64] & (1 << (v.index() % 64)) != 0
    }

    fn add_all(&mut self, other: &Set) -> bool {
        let mut changed = false;
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            changed |= *b & !*a != 0;
            *a |= b;
        }
        changed
    }

    fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = V> {
        self.0.iter().enumerate().flat_map(|(word, bits)| {
            let mut bits = *bits;
            std::iter::from_fn(move || {
                (bits != 0).then(|| {
                    let bit = bits.trailing_zeros();
                    bits &= bits - 1;
                    V(word as u32 * 64 + bit)
                })
            })
        })
    }
}

/// Updates what is live from after the instruction to before it.
pub(super) fn step(ins: &Ins, live: &mut Set) {
    ins.defs(|v| live.remove(v));
    ins.uses(|v| live.insert(v));
}

/// Gives what is live at the end of each block, after the operands of the end itself.
pub(super) fn live_out(code: &Code) -> Vec<Set> {
    let empty = Set::new(code.registers);
    let mut uses = Vec::with_capacity(code.blocks.len());
    let mut keeps = Vec::with_capacity(code.blocks.len());
    for block in &code.blocks {
        let (mut used, mut defined) = (empty.clone(), empty.clone());
        block.end.uses(|v| used.insert(v));
        for (ins, _) in block.ins.iter().rev() {
            step(ins, &mut used);
            ins.defs(|v| defined.insert(v));
        }
        uses.push(used);
        keeps.push(defined);
    }
    let mut live_in = uses;
    let mut out = vec![empty; code.blocks.len()];
    let mut order = order(&code.blocks);
    order.reverse();
    loop {
        let mut changed = false;
        for b in &order {
            let index = b.index();
            for target in code.blocks[index].end.targets() {
                out[index].add_all(&live_in[target.index()]);
            }
            let mut through = out[index].clone();
            for (word, defined) in through.0.iter_mut().zip(&keeps[index].0) {
                *word &= !defined;
            }
            changed |= live_in[index].add_all(&through);
        }
        if !changed {
            return out;
        }
    }
}

/// Gives how many registers are live at once where most are.
pub(super) fn pressure(code: &Code) -> u32 {
    let mut most = 0;
    for (block, mut live) in code.blocks.iter().zip(live_out(code)) {
        block.end.uses(|v| live.insert(v));
        most = most.max(live.len());
        for (ins, _) in block.ins.iter().rev() {
            step(ins, &mut live);
            most = most.max(live.len());
        }
    }
    most
}

/// Removes instructions whose results nobody reads, and blocks' contents nothing reaches.
pub(super) fn sweep(code: &mut Code) {
    let mut reached = vec![false; code.blocks.len()];
    for b in order(&code.blocks) {
        reached[b.index()] = true;
    }
    for (block, reached) in code.blocks.iter_mut().zip(&reached) {
        if !reached {
            block.ins.clear();
            block.end = End::Exit(Source::Const(0));
        }
    }
    loop {
        let mut changed = false;
        let outs = live_out(code);
        for (block, mut live) in code.blocks.iter_mut().zip(outs) {
            block.end.uses(|v| live.insert(v));
            let mut kept = Vec::with_capacity(block.ins.len());
            for (mut ins, span) in block.ins.drain(..).rev() {
                let mut dead = ins.is_pure();
                ins.defs(|v| dead &= !live.contains(v));
                match &mut ins {
                    Ins::Parallel(moves) => {
                        let before = moves.len();
                        moves.retain(|(dst, _)| live.contains(*dst));
                        changed |= moves.len() != before;
                        dead = moves.is_empty();
                    }
                    Ins::Call { result, .. } if result.is_some_and(|v| !live.contains(v)) => {
                        *result = None;
                        changed = true;
                    }
                    Ins::Move {
                        dst,
                        src: Source::Reg(src),
                    } if dst == src => dead = true,
                    _ => {}
                }
                if dead {
                    changed = true;
                    continue;
                }
                step(&ins, &mut live);
                kept.push((ins, span));
            }
            kept.reverse();
            block.ins = kept;
        }
        if !changed {
            return;
        }
    }
}

/// Gives the reachable blocks in reverse postorder; bodies of loops come before what follows.
pub(super) fn order(blocks: &[Block]) -> Vec<B> {
    let plain = postorder(blocks, |_| 0);
    let depths = depths(blocks, &plain);
    postorder(blocks, |b| depths[b.index()])
}

/// Gives reverse postorder; of two successors the one with the smaller weight comes later.
fn postorder(blocks: &[Block], weight: impl Fn(B) -> u32) -> Vec<B> {
    let successors = |b: B| {
        let mut targets: Vec<B> = blocks[b.index()].end.targets().collect();
        // They are taken from the end, and what is visited last is placed first.
        targets.reverse();
        targets.sort_by_key(|t| std::cmp::Reverse(weight(*t)));
        targets
    };
    let mut order = Vec::new();
    if blocks.is_empty() {
        return order;
    }
    let mut seen = vec![false; blocks.len()];
    seen[0] = true;
    let mut stack = vec![(B(0), successors(B(0)))];
    while let Some((block, rest)) = stack.last_mut() {
        match rest.pop() {
            Some(next) if !seen[next.index()] => {
                seen[next.index()] = true;
                stack.push((next, successors(next)));
            }
            Some(_) => {}
            None => {
                order.push(*block);
                stack.pop();
            }
        }
    }
    order.reverse();
    order
}

/// Gives how many loops each block is in, at least: the blocks between the head and the end of a
/// loop in the order count as its body.
pub(super) fn depths(blocks: &[Block], order: &[B]) -> Vec<u32> {
    let mut position = vec![usize::MAX; blocks.len()];
    for (index, b) in order.iter().enumerate() {
        position[b.index()] = index;
    }
    let mut predecessors: Vec<Vec<B>> = vec![Vec::new(); blocks.len()];
    for b in order {
        for target in blocks[b.index()].end.targets() {
            predecessors[target.index()].push(*b);
        }
    }
    let mut depths = vec![0; blocks.len()];
    for head in order {
        // The body is what reaches the jump back without passing the head.
        let mut body = vec![false; blocks.len()];
        let mut work: Vec<B> = predecessors[head.index()]
            .iter()
            .copied()
            .filter(|p| position[p.index()] >= position[head.index()])
            .collect();
        if work.is_empty() {
            continue;
        }
        body[head.index()] = true;
        while let Some(b) = work.pop() {
            if position[b.index()] < position[head.index()]
                || std::mem::replace(&mut body[b.index()], true)
            {
                continue;
            }
            work.extend(&predecessors[b.index()]);
        }
        for (depth, inside) in depths.iter_mut().zip(body) {
            *depth += u32::from(inside);
        }
    }
    depths
}
