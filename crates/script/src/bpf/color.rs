//! Register allocation by colouring the interference graph (Chaitin and Briggs), with votes for
//! registers that save moves.

use std::collections::HashSet;

use super::lir::{Code, End, Ins, Source, V};
use super::live::{self, Set};

/// r0 to r9.
const REGISTERS: usize = 10;
/// r0 to r5 do not survive a call.
const CALLER: u16 = 0x3f;
/// What a move outside of loops weighs; votes are halved on their way.
const WEIGHT: u32 = 8;
/// The order in which registers are tried where no vote decides.
const ORDER: [usize; REGISTERS] = [5, 4, 3, 2, 1, 0, 6, 7, 8, 9];

/// What interferes with what, and what each register would like.
pub(super) struct Graph {
    edges: HashSet<(u32, u32)>,
    pub(super) neighbours: Vec<Vec<V>>,
    /// Registers that a virtual register cannot have, as bits.
    forbidden: Vec<u16>,
    /// Votes for registers, by what calls take and give.
    votes: Vec<[u32; REGISTERS]>,
    /// Those with which a move would vanish, with the weight of the move.
    partners: Vec<Vec<(V, u32)>>,
    /// How much a spill would cost.
    cost: Vec<u64>,
}

impl Graph {
    /// Builds the graph. Spilled registers interfere with each other only.
    pub(super) fn new(code: &Code, spilled: &[bool]) -> Graph {
        let count = code.registers as usize;
        let mut graph = Graph {
            edges: HashSet::new(),
            neighbours: vec![Vec::new(); count],
            forbidden: vec![0; count],
            votes: vec![[0; REGISTERS]; count],
            partners: vec![Vec::new(); count],
            cost: vec![0; count],
        };
        let order = live::order(&code.blocks);
        let depths = live::depths(&code.blocks, &order);
        let outs = live::live_out(code);
        for b in order {
            let block = &code.blocks[b.index()];
            let weight = WEIGHT * 10_u32.pow(depths[b.index()].min(4));
            let mut live = outs[b.index()].clone();
            block.end.uses(|v| {
                live.insert(v);
                graph.cost[v.index()] += u64::from(weight);
            });
            if let End::Exit(Source::Reg(v)) = block.end {
                graph.votes[v.index()][0] += weight;
            }
            for (ins, _) in block.ins.iter().rev() {
                graph.instruction(ins, &live, spilled, weight);
                live::step(ins, &mut live);
            }
        }
        graph
    }

    fn instruction(&mut self, ins: &Ins, live: &Set, spilled: &[bool], weight: u32) {
        let add = |cost: &mut Vec<u64>, v: V| cost[v.index()] += u64::from(weight);
        ins.uses(|v| add(&mut self.cost, v));
        ins.defs(|v| add(&mut self.cost, v));
        // After a move both have the same value and may share a register.
        let same = match ins {
            Ins::Move {
                src: Source::Reg(v),
                ..
            } => Some(*v),
            _ => None,
        };
        let mut defs = Vec::new();
        ins.defs(|v| defs.push(v));
        for def in &defs {
            for other in live.iter().chain(defs.iter().copied()) {
                if other != *def && Some(other) != same {
                    self.edge(*def, other, spilled);
                }
            }
        }
        match ins {
            Ins::Call { args, result, .. } => {
                for v in live.iter().filter(|v| Some(*v) != *result) {
                    self.forbidden[v.index()] |= CALLER;
                }
                for (index, arg) in args.iter().enumerate() {
                    if let Some(v) = arg.reg() {
                        self.votes[v.index()][index + 1] += weight;
                    }
                }
                if let Some(v) = result {
                    self.votes[v.index()][0] += weight;
                }
            }
            Ins::Given(given) => {
                for (dst, at) in given {
                    self.votes[dst.index()][usize::from(*at) + 1] += weight;
                }
            }
            Ins::Move {
                dst,
                src: Source::Reg(src) | Source::Sum(src, _),
            }
            | Ins::Mov32 { dst, src } => self.partner(*dst, *src, weight),
            Ins::Parallel(moves) => {
                for (dst, src) in moves {
                    if let Source::Reg(src) = src {
                        self.partner(*dst, *src, weight);
                    }
                }
            }
            _ => {}
        }
    }

    fn partner(&mut self, a: V, b: V, weight: u32) {
        self.partners[a.index()].push((b, weight));
        self.partners[b.index()].push((a, weight));
    }

    fn edge(&mut self, a: V, b: V, spilled: &[bool]) {
        if spilled[a.index()] != spilled[b.index()] {
            return;
        }
        if self.edges.insert((a.0.min(b.0), a.0.max(b.0))) {
            self.neighbours[a.index()].push(b);
            self.neighbours[b.index()].push(a);
        }
    }

    fn allowed(&self, v: usize) -> usize {
        REGISTERS - self.forbidden[v].count_ones() as usize
    }

    /// Gives each register that is used and not spilled a machine register, or says which must
    /// be spilled as well. `keep` says how badly a register must stay one.
    pub(super) fn color(
        &self,
        spilled: &[bool],
        keep: impl Fn(V) -> Keep,
    ) -> Result<Vec<Option<u8>>, Vec<V>> {
        let count = self.cost.len();
        let mut left: Vec<bool> = (0..count)
            .map(|v| self.cost[v] > 0 && !spilled[v])
            .collect();
        let mut degree: Vec<usize> = self.neighbours.iter().map(Vec::len).collect();
        let mut easy: Vec<usize> = (0..count)
            .filter(|v| left[*v] && degree[*v] < self.allowed(*v))
            .collect();
        let mut stack = Vec::new();
        loop {
            let next = match easy.pop() {
                Some(v) if !left[v] => continue,
                Some(v) => v,
                None => match self.cheapest(&left, &degree, &keep) {
                    Some(v) => v,
                    None => break,
                },
            };
            left[next] = false;
            stack.push(next);
            for n in &self.neighbours[next] {
                let n = n.index();
                degree[n] -= 1;
                if left[n] && degree[n] < self.allowed(n) {
                    easy.push(n);
                }
            }
        }
        let mut colors = vec![None; count];
        let mut failed = Vec::new();
        while let Some(v) = stack.pop() {
            match self.choose(v, &colors) {
                Some(color) => colors[v] = Some(color),
                None => failed.push(V(v as u32)),
            }
        }
        if failed.is_empty() {
            return Ok(colors);
        }
        // What must not be spilled makes the cheapest of its neighbours give way.
        let mut spill: Vec<V> = failed
            .into_iter()
            .filter_map(|v| match keep(v) {
                Keep::Always => self.neighbours[v.index()]
                    .iter()
                    .copied()
                    .filter(|n| keep(*n) != Keep::Always)
                    .min_by_key(|n| (keep(*n), self.cost[n.index()])),
                _ => Some(v),
            })
            .collect();
        spill.sort_unstable();
        spill.dedup();
        Err(spill)
    }

    fn cheapest(
        &self,
        left: &[bool],
        degree: &[usize],
        keep: &impl Fn(V) -> Keep,
    ) -> Option<usize> {
        (0..left.len()).filter(|v| left[*v]).min_by_key(|v| {
            let per_neighbour = (self.cost[*v] * 1024) / (degree[*v] as u64 + 1);
            (keep(V(*v as u32)), per_neighbour)
        })
    }

    fn choose(&self, v: usize, colors: &[Option<u8>]) -> Option<u8> {
        let mut taken = self.forbidden[v];
        for n in &self.neighbours[v] {
            if let Some(color) = colors[n.index()] {
                taken |= 1 << color;
            }
        }
        let mut votes = self.votes[v];
        for (partner, weight) in &self.partners[v] {
            match colors[partner.index()] {
                Some(color) => votes[color as usize] += 2 * weight,
                None => {
                    for (vote, theirs) in votes.iter_mut().zip(self.votes[partner.index()]) {
                        *vote += theirs / 2;
                    }
                }
            }
        }
        ORDER
            .into_iter()
            .filter(|r| taken & (1 << r) == 0)
            .rev()
            .max_by_key(|r| votes[*r])
            .map(|r| r as u8)
    }
}

/// How badly a register must not be spilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keep {
    /// Not at all.
    No,
    /// The verifier needs its bounds.
    Bounded,
    /// It comes from a spill itself.
    Always,
}
