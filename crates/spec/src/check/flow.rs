//! Follows values along every path to a fixed point, then reports.

use super::arithmetic::{allowed, arithmetic, compare_null, moved};
use super::calls::{self, Arg};
use super::depth;
use super::shape::{self, Shape};
use super::state::{FRAME, State, Value};
use super::{Problem, ProblemKind};
use crate::helper::{self, HelperId};
use crate::insn::{AluOp, Callee, Insn, Op, Operand, Pseudo, Reg, Size};
use crate::object::{MapId, ProgramSpec, ProgramType, RelocKind, Spec};
use std::collections::{BTreeMap, BTreeSet};

/// Reports the problems of values in every function of the program.
pub(super) fn follow(
    spec: &Spec,
    program: &ProgramSpec,
    shape: &Shape,
    problems: &mut Vec<Problem>,
) {
    let mut depths = BTreeMap::new();
    let mut across = Across::default();
    let walker = |start: usize, across: &Across| Walker {
        spec,
        program,
        shape,
        start,
        across: across.clone(),
        deepest: 0,
        problems: None,
    };
    // Each round that changes something adds a register of a function; there are six of each.
    for _ in 0..shape.starts.len().saturating_mul(6) {
        let before = across.clone();
        for start in &shape.starts {
            let mut walker = walker(*start, &across);
            let _ = walker.fix(*start);
            across = walker.across;
        }
        if across == before {
            break;
        }
    }
    for start in &shape.starts {
        let mut walker = walker(*start, &across);
        let states = walker.fix(*start);
        walker.problems = Some(Vec::new());
        for (leader, state) in states {
            let _ = walker.block(leader, state);
        }
        problems.extend(walker.problems.into_iter().flatten());
        depths.insert(*start, walker.deepest);
    }
    depth::report(program, shape, &depths, problems);
}

/// What functions know of each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Across {
    /// Starts of functions that may return without writing `r0`.
    voids: BTreeSet<usize>,
    /// Starts of functions with arguments that some call leaves unwritten.
    missing: BTreeSet<(usize, Reg)>,
}

struct Walker<'a> {
    spec: &'a Spec,
    program: &'a ProgramSpec,
    shape: &'a Shape,
    /// Where the function starts; 0 is the program itself.
    start: usize,
    across: Across,
    /// Bytes of stack used, rounded as the kernel does.
    deepest: u32,
    /// Where problems go; none while states are not final.
    problems: Option<Vec<Problem>>,
}

/// Where a block leads, with the state there.
type Exits = Vec<(usize, State)>;

impl Walker<'_> {
    fn is_main(&self) -> bool {
        self.start == 0
    }

    /// Gives the final state at the start of each block.
    fn fix(&mut self, start: usize) -> BTreeMap<usize, State> {
        let mut entry = State::entry(if self.is_main() { 1 } else { 5 });
        if self.is_main() {
            entry.set(Reg::R1, Value::Context);
        }
        for (_, reg) in self.across.missing.iter().filter(|(to, _)| *to == start) {
            entry.set(*reg, Value::Unwritten);
        }
        let mut states = BTreeMap::from([(start, entry)]);
        let mut open = vec![start];
        while let Some(leader) = open.pop() {
            let Some(state) = states.get(&leader).cloned() else {
                continue;
            };
            for (to, state) in self.block(leader, state) {
                let changed = match states.get_mut(&to) {
                    Some(known) => known.join(&state),
                    None => {
                        states.insert(to, state);
                        true
                    }
                };
                if changed && !open.contains(&to) {
                    open.push(to);
                }
            }
        }
        states
    }

    fn block(&mut self, leader: usize, mut state: State) -> Exits {
        let mut slot = leader;
        loop {
            let Some(op) = self.shape.ops.get(slot).copied().flatten() else {
                return Vec::new();
            };
            self.step(slot, op, &mut state);
            let next = self.shape.next(slot);
            match op {
                Op::Exit => return Vec::new(),
                Op::Jump { .. } => {
                    let to = self.shape.jump(slot);
                    return to.map(|to| (to, state)).into_iter().collect();
                }
                Op::Branch { .. } => {
                    let mut taken = state.clone();
                    compare_null(op, &mut taken, &mut state);
                    let to = self.shape.jump(slot).map(|to| (to, taken));
                    return to.into_iter().chain([(next, state)]).collect();
                }
                _ if self.shape.leaders.contains(&next) => return vec![(next, state)],
                _ => slot = next,
            }
        }
    }

    fn report(&mut self, slot: usize, kind: ProblemKind) {
        let insn = u32::try_from(slot).unwrap_or(u32::MAX);
        if let Some(problems) = &mut self.problems {
            let problem = Problem { insn, kind };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }

    /// Reads a register that must be written.
    fn read(&mut self, slot: usize, state: &State, reg: Reg) -> Value {
        match state.get(reg) {
            Value::Unwritten => {
                self.report(slot, ProblemKind::Unwritten(reg));
                Value::Any
            }
            value => value,
        }
    }

    fn read_operand(&mut self, slot: usize, state: &State, src: Operand) -> Value {
        match src {
            Operand::Reg(reg) => self.read(slot, state, reg),
            Operand::Imm(imm) => Value::Const(i64::from(imm)),
        }
    }

    fn step(&mut self, slot: usize, op: Op, state: &mut State) {
        for reg in op.reads() {
            self.read(slot, state, reg);
        }
        match op {
            Op::Alu {
                width,
                op,
                dst,
                src,
            } => {
                let right = self.read_operand(slot, state, src);
                let value = if op == AluOp::Mov {
                    moved(width, right)
                } else {
                    let left = self.read(slot, state, dst);
                    if let Value::MaybeNull { .. } = left {
                        self.report(slot, ProblemKind::MaybeNull(dst));
                    } else if !allowed(width, op, left, right) {
                        self.report(slot, ProblemKind::PointerMath(dst));
                    }
                    arithmetic(width, op, left, right)
                };
                state.set(dst, value);
            }
            Op::MovSx { dst, .. } | Op::Neg { dst, .. } | Op::Swap { dst, .. } => {
                state.set(dst, Value::Any);
            }
            Op::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let at = self.access(slot, state, base, off, size);
                let mut value = Value::Any;
                if let Some(at) = at {
                    self.demand_written(slot, state, at, size.bytes() as i64);
                    if size == Size::DW && !signed {
                        value = state.fill(at);
                    } else if state.fill(at).is_pointer() {
                        self.report(slot, ProblemKind::PartOfPointer);
                    }
                }
                state.set(dst, value);
            }
            Op::Store {
                size,
                base,
                off,
                src,
            } => {
                let value = self.read_operand(slot, state, src);
                match self.access(slot, state, base, off, size) {
                    Some(at) if size == Size::DW => state.spill(at, value),
                    Some(at) => {
                        if value.is_pointer() {
                            self.report(slot, ProblemKind::PartOfPointer);
                        }
                        state.write(at, size.bytes() as i64);
                    }
                    None if state.get(base) == Value::SomeFrame => state.forget_all(),
                    None => {}
                }
            }
            Op::Atomic {
                size, base, off, ..
            } => {
                if let Some(at) = self.access(slot, state, base, off, size) {
                    self.demand_written(slot, state, at, size.bytes() as i64);
                    state.write(at, size.bytes() as i64);
                }
                if let Some(reg) = op.writes() {
                    state.set(reg, Value::Any);
                }
            }
            Op::LoadImm64 { kind, dst, low } => {
                let value = self.wide(slot, kind, low);
                state.set(dst, value);
            }
            // The other registers are lost as by a call.
            Op::LoadPacket { .. } => clobber(state),
            Op::Jump { .. } | Op::Branch { .. } => {}
            Op::Call(Callee::Helper(id)) => self.call(slot, state, id),
            Op::Call(Callee::Local(distance)) => {
                let to = shape::target(slot, distance).unwrap_or(usize::MAX);
                for reg in (1..=5).map(Reg) {
                    if state.get(reg) == Value::Unwritten {
                        self.across.missing.insert((to, reg));
                    }
                }
                self.written_by_stranger(state);
                clobber(state);
                if self.across.voids.contains(&to) {
                    state.set(Reg::R0, Value::Unwritten);
                }
            }
            Op::Call(Callee::Kfunc { .. }) => {
                self.written_by_stranger(state);
                clobber(state);
            }
            Op::Exit => {
                if self.is_main() {
                    let _ = self.read(slot, state, Reg::R0);
                    if state.has_records() {
                        self.report(slot, ProblemKind::LeakedRecord);
                    }
                } else if state.get(Reg::R0) == Value::Unwritten {
                    self.across.voids.insert(self.start);
                }
            }
        }
    }

    /// Checks an access; gives its offset from the frame pointer if it is to the stack.
    fn access(
        &mut self,
        slot: usize,
        state: &State,
        base: Reg,
        off: i16,
        size: Size,
    ) -> Option<i64> {
        match self.read(slot, state, base) {
            Value::Frame(from) => {
                let at = from.saturating_add(i64::from(off));
                let size = size.bytes() as i64;
                if !self.in_frame(slot, at, size) {
                    return None;
                }
                if at % size != 0 {
                    self.report(slot, ProblemKind::StackAlign { off: at, size });
                }
                Some(at)
            }
            Value::Number | Value::Const(_) | Value::Map(_) => {
                self.report(slot, ProblemKind::NotAPointer(base));
                None
            }
            Value::MaybeNull { .. } => {
                self.report(slot, ProblemKind::MaybeNull(base));
                None
            }
            Value::Object {
                size: of, off: at, ..
            } => {
                let at = at.saturating_add(i64::from(off));
                self.in_object(slot, at, size.bytes() as i64, of);
                None
            }
            Value::Any | Value::Context | Value::SomeFrame | Value::Unwritten => None,
        }
    }

    fn in_object(&mut self, slot: usize, off: i64, size: i64, of: i64) {
        if off < 0 || off.saturating_add(size) > of {
            self.report(slot, ProblemKind::ObjectRange { off, size, of });
        }
    }

    fn in_frame(&mut self, slot: usize, off: i64, size: i64) -> bool {
        let inside = off >= -FRAME && size >= 0 && off.saturating_add(size) <= 0;
        if inside {
            let depth = u32::try_from(off.unsigned_abs()).unwrap_or(u32::MAX);
            self.deepest = self.deepest.max(depth.next_multiple_of(32));
        } else {
            self.report(slot, ProblemKind::StackRange { off, size });
        }
        inside
    }

    fn demand_written(&mut self, slot: usize, state: &State, off: i64, size: i64) {
        if let Some(off) = state.first_unwritten(off, size) {
            self.report(slot, ProblemKind::StackUnwritten { off });
        }
    }

    fn wide(&self, slot: usize, kind: Pseudo, low: i32) -> Value {
        let reloc = self
            .program
            .relocs
            .iter()
            .find(|reloc| usize::try_from(reloc.insn) == Ok(slot));
        match (reloc.map(|reloc| &reloc.kind), kind) {
            (Some(RelocKind::Map(id)), _) => Value::Map(*id),
            (Some(RelocKind::MapValue { map, offset }), _) => Value::Object {
                call: slot,
                size: self
                    .size_of(Some(*map), |map| map.value_size)
                    .unwrap_or(i64::MAX),
                off: i64::from(*offset),
            },
            (Some(_), _) => Value::Any,
            (None, Pseudo::Value) => {
                let high = self.program.insns.get(slot.saturating_add(1));
                let first = Insn {
                    imm: low,
                    ..Insn::default()
                };
                let slots = [first, high.copied().unwrap_or_default()];
                Value::Const(Insn::wide_value(slots) as i64)
            }
            (None, _) => Value::Any,
        }
    }

    /// A function not known may have written through each pointer into the frame it was given.
    fn written_by_stranger(&mut self, state: &mut State) {
        for number in 1..=5 {
            match state.get(Reg(number)) {
                Value::Frame(off) => state.write(off, off.saturating_neg()),
                Value::SomeFrame => state.forget_all(),
                _ => {}
            }
        }
    }

    fn call(&mut self, slot: usize, state: &mut State, id: HelperId) {
        match calls::arguments(id) {
            None => self.written_by_stranger(state),
            Some(arguments) => {
                let mut map = None;
                let registers = (1..).map(Reg);
                for (reg, arg) in registers.zip(arguments) {
                    let value = self.read(slot, state, reg);
                    let size = match arg {
                        Arg::Any => continue,
                        Arg::Map => {
                            match value {
                                Value::Map(id) => map = Some(id),
                                Value::Any | Value::Unwritten => {}
                                Value::MaybeNull { .. }
                                | Value::Object { .. }
                                | Value::Number
                                | Value::Const(_)
                                | Value::Context
                                | Value::Frame(_)
                                | Value::SomeFrame => self.argument(slot, id, reg, "a map"),
                            }
                            continue;
                        }
                        Arg::Key => self.size_of(map, |map| map.key_size),
                        Arg::Value => self.size_of(map, |map| map.value_size),
                        Arg::In | Arg::Out => match state.get(Reg(reg.0.saturating_add(1))) {
                            Value::Const(size) => Some(size),
                            _ => None,
                        },
                    };
                    self.memory(slot, state, id, reg, value, *arg, size);
                }
                if calls::writes_more(id) {
                    self.written_by_stranger(state);
                }
            }
        }
        let size = self.size_of_result(state, id);
        if matches!(id, helper::RINGBUF_SUBMIT | helper::RINGBUF_DISCARD) {
            match state.get(Reg::R1) {
                Value::Object { call, off: 0, .. } if state.release(call) => {}
                Value::MaybeNull { .. } => self.report(slot, ProblemKind::MaybeNull(Reg::R1)),
                Value::Any | Value::Unwritten => state.release_any(),
                _ => self.argument(slot, id, Reg::R1, "a reserved record"),
            }
        }
        clobber(state);
        if calls::may_be_null(id) {
            state.set(Reg::R0, Value::MaybeNull { call: slot, size });
        }
        if id == helper::RINGBUF_RESERVE {
            state.reserve(slot);
        }
    }

    /// Gives the size of what a call gives a pointer to; the largest number if nobody knows.
    fn size_of_result(&self, state: &State, id: HelperId) -> i64 {
        let known = match (id, state.get(Reg::R1), state.get(Reg::R2)) {
            (helper::RINGBUF_RESERVE, _, Value::Const(size)) => Some(size),
            (helper::MAP_LOOKUP_ELEM | helper::MAP_LOOKUP_PERCPU_ELEM, Value::Map(id), _) => {
                self.size_of(Some(id), |map| map.value_size)
            }
            _ => None,
        };
        known.unwrap_or(i64::MAX)
    }

    fn size_of(&self, map: Option<MapId>, size: fn(&crate::MapSpec) -> u32) -> Option<i64> {
        let index = usize::try_from(map?.0).ok()?;
        self.spec.maps.get(index).map(|map| i64::from(size(map)))
    }

    fn argument(&mut self, slot: usize, helper: HelperId, reg: Reg, what: &'static str) {
        self.report(slot, ProblemKind::Argument { helper, reg, what });
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one argument of one call: all of it is needed"
    )]
    fn memory(
        &mut self,
        slot: usize,
        state: &mut State,
        helper: HelperId,
        reg: Reg,
        value: Value,
        arg: Arg,
        size: Option<i64>,
    ) {
        match value {
            Value::Frame(off) => {
                let Some(size) = size else { return };
                if !self.in_frame(slot, off, size) {
                    return;
                }
                if arg == Arg::Out {
                    state.write(off, size);
                } else {
                    self.demand_written(slot, state, off, size);
                }
            }
            Value::SomeFrame if arg == Arg::Out => state.forget_all(),
            Value::Object { size: of, off, .. } => {
                if let Some(size) = size {
                    self.in_object(slot, off, size, of);
                }
            }
            Value::MaybeNull { .. } => self.report(slot, ProblemKind::MaybeNull(reg)),
            // Null with size 0 is allowed for some.
            Value::Const(0) => {}
            Value::Context if self.program.kind == ProgramType::Syscall => {}
            Value::Number | Value::Const(_) | Value::Map(_) | Value::Context => {
                self.argument(slot, helper, reg, "memory");
            }
            Value::Any | Value::SomeFrame | Value::Unwritten => {}
        }
    }
}

/// A call leaves its arguments unwritten.
fn clobber(state: &mut State) {
    state.set(Reg::R0, Value::Any);
    for number in 1..=5 {
        state.set(Reg(number), Value::Unwritten);
    }
}
