//! Facts about control flow: order, predecessors, dominators.

use super::{Block, Function};

/// Control flow of a function, as it was when this was made.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// Reachable blocks in reverse postorder.
    pub(super) order: Vec<Block>,
    /// Reachable predecessors of each block, one for each edge.
    pub(super) predecessors: Vec<Vec<Block>>,
    /// Position of each block in `order`.
    position: Vec<Option<usize>>,
    /// Immediate dominator of each block but the entry.
    parents: Vec<Option<Block>>,
    /// Where each block's part of the tree of dominators begins, and where it ends.
    parts: Vec<(usize, usize)>,
}

impl Flow {
    /// Looks at a function whose targets exist.
    pub(super) fn new(function: &Function) -> Flow {
        let count = function.blocks.len();
        let order = reverse_postorder(function);
        let mut position = vec![None; count];
        for (index, block) in order.iter().enumerate() {
            position[block.index()] = Some(index);
        }
        let mut predecessors = vec![Vec::new(); count];
        for block in &order {
            for target in function.blocks[block.index()].end.targets() {
                predecessors[target.block.index()].push(*block);
            }
        }
        let mut flow = Flow {
            order,
            predecessors,
            position,
            parents: vec![None; count],
            parts: vec![(0, 0); count],
        };
        flow.find_parents();
        flow.find_parts();
        flow
    }

    /// Cooper, Harvey, Kennedy: "A Simple, Fast Dominance Algorithm" (2001).
    fn find_parents(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for block in self.order.iter().skip(1) {
                let mut parent: Option<Block> = None;
                for p in &self.predecessors[block.index()] {
                    // The entry has no parent but is known from the start.
                    if self.parents[p.index()].is_none() && *p != self.order[0] {
                        continue;
                    }
                    parent = Some(match parent {
                        None => *p,
                        Some(other) => self.meet(*p, other),
                    });
                }
                if self.parents[block.index()] != parent {
                    self.parents[block.index()] = parent;
                    changed = true;
                }
            }
        }
    }

    /// Numbers the tree of dominators so that what a block dominates lies within its part.
    fn find_parts(&mut self) {
        let mut sizes = vec![1; self.parts.len()];
        for block in self.order.iter().rev() {
            if let Some(parent) = self.parents[block.index()] {
                sizes[parent.index()] += sizes[block.index()];
            }
        }
        // Where the next child of each block begins; a parent comes before its children.
        let mut next = vec![1; self.parts.len()];
        for block in &self.order {
            let (at, size) = (block.index(), sizes[block.index()]);
            let start = self.parents[at].map_or(0, |parent| next[parent.index()]);
            if let Some(parent) = self.parents[at] {
                next[parent.index()] += size;
            }
            self.parts[at] = (start, start + size);
            next[at] = start + 1;
        }
    }

    fn meet(&self, a: Block, b: Block) -> Block {
        let (mut a, mut b) = (a, b);
        while a != b {
            let (pa, pb) = (self.position[a.index()], self.position[b.index()]);
            if pa > pb {
                a = self.parents[a.index()].unwrap_or(self.order[0]);
            } else {
                b = self.parents[b.index()].unwrap_or(self.order[0]);
            }
        }
        a
    }

    /// Says whether the entry reaches the block.
    pub(super) fn is_reachable(&self, block: Block) -> bool {
        self.position[block.index()].is_some()
    }

    /// Gives the immediate dominator.
    pub(super) fn parent(&self, block: Block) -> Option<Block> {
        self.parents[block.index()]
    }

    /// Says whether every way to `below` goes through `above`; a block dominates itself.
    pub(super) fn dominates(&self, above: Block, below: Block) -> bool {
        if !self.is_reachable(above) || !self.is_reachable(below) {
            return above == below;
        }
        let (start, end) = self.parts[above.index()];
        (start..end).contains(&self.parts[below.index()].0)
    }
}

/// Gives the reachable blocks in reverse postorder.
pub(crate) fn reverse_postorder(function: &Function) -> Vec<Block> {
    let successors = |block: Block| -> Vec<Block> {
        let end = &function.blocks[block.index()].end;
        end.targets().map(|t| t.block).collect()
    };
    let mut order = Vec::new();
    let mut seen = vec![false; function.blocks.len()];
    if seen.is_empty() {
        return order;
    }
    seen[0] = true;
    let mut stack = vec![(Block(0), successors(Block(0)))];
    while let Some((block, rest)) = stack.last_mut() {
        match rest.pop() {
            Some(next) if !std::mem::replace(&mut seen[next.index()], true) => {
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
