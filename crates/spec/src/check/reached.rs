//! Which instructions a verifier comes to, where branches on constants are settled.
//!
//! Constants are those of the program itself (what CO-RE made of existence questions among them) and
//! of data that nobody can change any more. Ways are joined where they meet, so an instruction that is
//! not reached here is not reached by the verifier either; the verifier, which walks each way apart, may
//! leave out more. Of the stack is known what every verifier since Linux 5.10 keeps: whole registers that
//! were stored there, and parts of those that are zero. Those of Linux 5.16 keep parts of other registers too,
//! those of 6.3 the numbers, zero among them, that one instruction stores.

use std::collections::{BTreeMap, BTreeSet};

use super::constant::{arithmetic, holds, narrowed};
use super::shape::{far, target};
use crate::insn::{AluOp, Callee, Cond, Insn, Op, Operand, Pseudo, Reg, Size, Width};
use crate::object::{ByteOrder, MapId, MapKind, ProgramSpec, RelocKind, Spec};
use crate::table::Table;

/// Most places where ways meet; of a program with more everything counts as reached.
const MEETINGS: usize = 1 << 16;
/// Most instructions looked at, those that are looked at again counted again.
const STEPS: usize = 1 << 23;
/// Most places of a stack of which something is known at one point.
const PLACES: usize = 64;

/// Tells of each slot whether a verifier comes to it; second slots of `ld_imm64` are reached with the
/// first. `insns` are the program's instructions as they are loaded, CO-RE done
/// ([`crate::core::Relocated::insns`]).
///
/// Where that cannot be found out, as of instructions newer than this release, all are reached.
#[must_use]
pub fn reached(spec: &Spec, program: &ProgramSpec, insns: &[Insn]) -> Vec<bool> {
    let all = || vec![true; insns.len()];
    let Some(walk) = Walk::new(spec, program, insns) else {
        return all();
    };
    walk.run().unwrap_or_else(all)
}

/// What is known of a register, or of a place on the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// Something that does not point to the function's own stack.
    Any,
    /// This number.
    Const(u64),
    /// So many bytes from the top of the function's own stack.
    Frame(i64),
    /// Perhaps a pointer to the function's own stack.
    SomeFrame,
    /// The address of this byte of a map's value.
    Data(MapId, u64),
}

impl Value {
    fn is_frame(self) -> bool {
        matches!(self, Value::Frame(_) | Value::SomeFrame)
    }

    fn join(self, other: Value) -> Value {
        match (self, other) {
            _ if self == other => self,
            _ if self.is_frame() || other.is_frame() => Value::SomeFrame,
            _ => Value::Any,
        }
    }
}

/// What is known at one point.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    regs: [Value; 11],
    /// What stands on the stack, by offset and size in bytes, where that is known.
    stack: BTreeMap<(i64, u8), Value>,
    /// Whether a pointer to the stack was stored somewhere.
    leaked: bool,
}

impl State {
    /// The start of a function, of whose arguments nothing is known.
    fn entry() -> State {
        let mut regs = [Value::Any; 11];
        regs[10] = Value::Frame(0);
        State {
            regs,
            stack: BTreeMap::new(),
            leaked: false,
        }
    }

    /// Joins another way into this one; tells whether that changed it.
    fn join(&mut self, other: &State) -> bool {
        let before = (self.regs, self.stack.len(), self.leaked);
        let mut changed = false;
        for (mine, theirs) in self.regs.iter_mut().zip(other.regs) {
            *mine = mine.join(theirs);
        }
        self.stack
            .retain(|place, mine| match other.stack.get(place) {
                Some(theirs) => {
                    let joined = mine.join(*theirs);
                    changed |= joined != *mine;
                    *mine = joined;
                    true
                }
                None => false,
            });
        self.leaked |= other.leaked;
        changed || before != (self.regs, self.stack.len(), self.leaked)
    }

    fn get(&self, reg: Reg) -> Value {
        let value = self.regs.get(usize::from(reg.0));
        value.copied().unwrap_or(Value::Any)
    }

    fn set(&mut self, reg: Reg, value: Value) {
        if let Some(slot) = self.regs.get_mut(usize::from(reg.0)) {
            *slot = value;
        }
    }

    fn operand(&self, operand: Operand) -> Value {
        match operand {
            Operand::Reg(reg) => self.get(reg),
            Operand::Imm(imm) => Value::Const(i64::from(imm) as u64),
        }
    }

    /// Forgets what stands on the stack from an offset on, up to another.
    fn forget(&mut self, from: i64, to: i64) {
        self.stack
            .retain(|&(at, size), _| at + i64::from(size) <= from || at >= to);
    }

    /// Something is stored at an address: a register, a number, or what is not known.
    fn store(&mut self, at: Value, off: i16, size: Size, src: Option<Operand>) {
        let value = src.map(|src| match self.operand(src) {
            Value::Const(number) => Value::Const(low(number, size)),
            value if size == Size::DW => value,
            _ => Value::Any,
        });
        let bytes = size.bytes() as u8;
        self.leaked |= value.is_some_and(Value::is_frame);
        match at {
            Value::Frame(base) => {
                let at = base.saturating_add(off.into());
                self.forget(at, at.saturating_add(bytes.into()));
                let whole = size == Size::DW && at.rem_euclid(8) == 0;
                let keeps = match src {
                    Some(Operand::Reg(reg)) => whole || self.get(reg) == Value::Const(0),
                    _ => false,
                };
                match value {
                    Some(Value::Any) | None => {}
                    Some(value) if keeps && self.stack.len() < PLACES => {
                        self.stack.insert((at, bytes), value);
                    }
                    Some(_) => {}
                }
            }
            Value::SomeFrame => self.stack.clear(),
            _ if self.leaked => self.stack.clear(),
            _ => {}
        }
    }

    /// Something is called, which may write to where its arguments point, and from there on. A
    /// function of the program itself goes `back` from there as well.
    fn call(&mut self, back: bool) {
        for number in 1..=5 {
            match self.get(Reg(number)) {
                Value::Frame(from) if !back => self.forget(from, i64::MAX),
                Value::Frame(_) | Value::SomeFrame => self.stack.clear(),
                _ => {}
            }
        }
        if self.leaked {
            self.stack.clear();
        }
        for number in 0..=5 {
            self.set(Reg(number), Value::Any);
        }
    }
}

struct Walk<'a> {
    spec: &'a Spec,
    insns: &'a [Insn],
    /// The operation that starts at each slot; none on second slots.
    ops: Vec<Option<Op>>,
    relocs: Table<u32, &'a RelocKind>,
    /// Slots where ways may meet.
    leaders: BTreeSet<usize>,
    /// Functions whose address an instruction takes, by its slot.
    addresses: BTreeMap<usize, usize>,
    states: BTreeMap<usize, State>,
    open: BTreeSet<usize>,
    reached: Vec<bool>,
    steps: usize,
}

impl<'a> Walk<'a> {
    /// Prepares the walk; none where an instruction is none that is known.
    fn new(spec: &'a Spec, program: &'a ProgramSpec, insns: &'a [Insn]) -> Option<Walk<'a>> {
        let mut walk = Walk {
            spec,
            insns,
            ops: vec![None; insns.len()],
            relocs: program.relocs.iter().map(|r| (r.insn, &r.kind)).collect(),
            leaders: BTreeSet::new(),
            addresses: BTreeMap::new(),
            states: BTreeMap::new(),
            open: BTreeSet::new(),
            reached: vec![false; insns.len()],
            steps: 0,
        };
        // Functions that are called, or whose address is taken.
        let mut used = BTreeSet::new();
        let mut slot = 0;
        while let Some(insn) = insns.get(slot) {
            let op = insn.op().ok()?;
            *walk.ops.get_mut(slot)? = Some(op);
            let next = slot + insn.slots();
            match op {
                Op::Jump { off, .. } => drop(walk.leaders.insert(target(slot, off)?)),
                Op::Branch { off, .. } => {
                    walk.leaders.insert(target(slot, i32::from(off))?);
                    walk.leaders.insert(next);
                }
                Op::Call(_) => used.extend(walk.called(slot, op)?),
                Op::LoadImm64 { .. } => {
                    if let Some(to) = walk.address(slot, op) {
                        let to = usize::try_from(to).ok()?;
                        walk.addresses.insert(slot, to);
                        used.insert(to);
                    }
                }
                _ => {}
            }
            slot = next;
        }
        // What nothing refers to is called by the kernel: the program itself, and its exceptions' callback.
        let starts = program.funcs.iter().map(|func| func.insn as usize);
        let roots: BTreeSet<usize> = starts.filter(|at| !used.contains(at)).collect();
        walk.leaders.extend(&used);
        walk.leaders.extend(&roots);
        walk.leaders.insert(0);
        if walk.leaders.len() > MEETINGS {
            return None;
        }
        for root in roots.into_iter().chain([0]) {
            walk.go(root, &State::entry());
        }
        Some(walk)
    }

    /// Gives the function of the program that an instruction calls, if it does; fails where that is no
    /// place in a program.
    fn called(&self, slot: usize, op: Op) -> Option<Option<usize>> {
        let reloc = u32::try_from(slot).ok().and_then(|at| self.relocs.get(&at));
        match (op, reloc) {
            // Until it is loaded, the call of a kernel's function looks like one of the program's own.
            (_, Some(RelocKind::Extern(_))) => Some(None),
            (Op::Call(Callee::Local(off)), _) => target(slot, off).map(Some),
            _ => Some(None),
        }
    }

    /// Gives the function whose address an instruction takes.
    fn address(&self, slot: usize, op: Op) -> Option<i64> {
        let reloc = u32::try_from(slot).ok().and_then(|at| self.relocs.get(&at));
        match (reloc, op) {
            (Some(&&RelocKind::Func(to)), _) => Some(to.into()),
            (
                _,
                Op::LoadImm64 {
                    kind: Pseudo::Func,
                    low,
                    ..
                },
            ) => Some(far(slot, low)),
            _ => None,
        }
    }

    /// Follows all ways; none where that takes too long.
    fn run(mut self) -> Option<Vec<bool>> {
        while let Some(leader) = self.open.pop_first() {
            let state = self.states.get(&leader)?.clone();
            self.block(leader, state)?;
        }
        Some(self.reached)
    }

    /// Goes on at a slot later, with what is known there.
    fn go(&mut self, to: usize, state: &State) {
        let changed = match self.states.get_mut(&to) {
            Some(known) => known.join(state),
            None => {
                self.states.insert(to, state.clone());
                true
            }
        };
        if changed {
            self.open.insert(to);
        }
    }

    /// Follows a way up to where it may meet others.
    fn block(&mut self, leader: usize, mut state: State) -> Option<()> {
        let mut slot = leader;
        loop {
            self.steps += 1;
            if self.steps > STEPS {
                return None;
            }
            // A way that leads out of the program is the verifier's matter.
            let Some(Some(op)) = self.ops.get(slot).copied() else {
                return Some(());
            };
            let next = slot + self.insns.get(slot)?.slots();
            self.reached.get_mut(slot..next)?.fill(true);
            match op {
                Op::Exit => return Some(()),
                Op::Jump { off, .. } => {
                    self.go(target(slot, off)?, &state);
                    return Some(());
                }
                Op::Branch { off, .. } => {
                    let (taken, not) = branch(op, &state);
                    if let Some(state) = taken {
                        self.go(target(slot, i32::from(off))?, &state);
                    }
                    if let Some(state) = not {
                        self.go(next, &state);
                    }
                    return Some(());
                }
                Op::Call(_) => {
                    let called = self.called(slot, op)?;
                    if let Some(to) = called {
                        self.go(to, &State::entry());
                    }
                    // Helpers may give what they get to a function whose address they have.
                    state.call(called.is_some() || !self.addresses.is_empty());
                }
                op => self.step(slot, op, &mut state),
            }
            if self.leaders.contains(&next) {
                self.go(next, &state);
                return Some(());
            }
            slot = next;
        }
    }

    fn step(&mut self, slot: usize, op: Op, state: &mut State) {
        match op {
            Op::Alu {
                width,
                op,
                dst,
                src,
            } => {
                let value = computed(width, op, state.get(dst), state.operand(src));
                state.set(dst, value);
            }
            Op::MovSx {
                width,
                bits,
                dst,
                src,
            } => {
                let value = match state.get(src) {
                    Value::Const(number) => Value::Const(narrowed(width, signed(number, bits))),
                    _ => Value::Any,
                };
                state.set(dst, value);
            }
            Op::Load {
                size,
                signed: is_signed,
                dst,
                base,
                off,
            } => {
                let value = match (self.loaded(state, base, off, size), is_signed) {
                    (Value::Const(number), true) => {
                        Value::Const(signed(number, 8 * size.bytes() as u8))
                    }
                    (value, _) => value,
                };
                state.set(dst, value);
            }
            Op::Store {
                size,
                base,
                off,
                src,
            } => state.store(state.get(base), off, size, Some(src)),
            Op::LoadImm64 { kind, dst, low } => {
                if let Some(&to) = self.addresses.get(&slot) {
                    self.go(to, &State::entry());
                }
                let high = self.insns.get(slot + 1).map_or(0, |second| second.imm);
                let number = u64::from(high as u32) << 32 | u64::from(low as u32);
                let reloc = u32::try_from(slot).ok().and_then(|at| self.relocs.get(&at));
                let value = match (reloc, kind) {
                    (Some(&&RelocKind::MapValue { map, offset }), _) => {
                        Value::Data(map, offset.into())
                    }
                    (None, Pseudo::Value) => Value::Const(number),
                    _ => Value::Any,
                };
                state.set(dst, value);
            }
            op => {
                if let Op::Atomic {
                    size, base, off, ..
                } = op
                {
                    state.store(state.get(base), off, size, None);
                }
                if let Some(reg) = op.writes() {
                    state.set(reg, Value::Any);
                }
            }
        }
    }

    fn loaded(&self, state: &State, base: Reg, off: i16, size: Size) -> Value {
        match state.get(base) {
            Value::Frame(at) => {
                let place = (at.saturating_add(off.into()), size.bytes() as u8);
                match state.stack.get(&place) {
                    Some(value) => *value,
                    None if state.leaked => Value::SomeFrame,
                    None => Value::Any,
                }
            }
            Value::SomeFrame if state.leaked => Value::SomeFrame,
            Value::Data(map, at) => {
                let at = at.wrapping_add(i64::from(off) as u64);
                self.constant(map, at, size).unwrap_or(Value::Any)
            }
            _ => Value::Any,
        }
    }

    /// Reads a constant out of a map that nobody writes once the program is loaded.
    fn constant(&self, map: MapId, at: u64, size: Size) -> Option<Value> {
        let map = self.spec.maps.get(map.0 as usize)?;
        // What build options come to, only the target knows.
        if !map.frozen || map.kind != MapKind::Array || map.section == ".kconfig" {
            return None;
        }
        let at = usize::try_from(at).ok()?;
        let bytes = map.initial.as_ref()?.get(at..)?.get(..size.bytes())?;
        let push = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
        Some(Value::Const(match self.spec.byte_order {
            ByteOrder::Little => bytes.iter().rev().fold(0, push),
            ByteOrder::Big => bytes.iter().fold(0, push),
        }))
    }
}

/// Gives what is known where a branch is taken, and where it is not; none for a way that is not gone.
fn branch(op: Op, state: &State) -> (Option<State>, Option<State>) {
    let Op::Branch {
        width,
        cond,
        dst,
        src,
        ..
    } = op
    else {
        return (None, None);
    };
    let (left, right) = (state.get(dst), state.operand(src));
    if let (Value::Const(left), Value::Const(right)) = (left, right) {
        return match holds(width, cond, left, right) {
            true => (Some(state.clone()), None),
            false => (None, Some(state.clone())),
        };
    }
    let (mut taken, mut not) = (state.clone(), state.clone());
    if let (Value::Any, Value::Const(_), Width::W64) = (left, right, width) {
        match cond {
            Cond::Eq => taken.set(dst, right),
            Cond::Ne => not.set(dst, right),
            _ => {}
        }
    }
    (Some(taken), Some(not))
}

/// Gives what arithmetic makes of two values.
fn computed(width: Width, op: AluOp, left: Value, right: Value) -> Value {
    let moved = |value: Value| match (value, width) {
        (value, Width::W64) => value,
        (Value::Const(number), Width::W32) => Value::Const(narrowed(width, number)),
        _ => Value::Any,
    };
    let by = |from: i64, number: u64| match op {
        AluOp::Add => Some(from.wrapping_add(number as i64)),
        AluOp::Sub => Some(from.wrapping_sub(number as i64)),
        _ => None,
    };
    match (left, right) {
        (_, right) if op == AluOp::Mov => moved(right),
        (Value::Const(left), Value::Const(right)) => {
            arithmetic(width, op, left, right).map_or(Value::Any, Value::Const)
        }
        (_, Value::Const(0)) if matches!(op, AluOp::And | AluOp::Mul) => Value::Const(0),
        (Value::Const(0), _) if matches!(op, AluOp::And | AluOp::Mul) => Value::Const(0),
        (Value::Frame(from), Value::Const(number)) if width == Width::W64 => {
            by(from, number).map_or(Value::SomeFrame, Value::Frame)
        }
        (Value::Data(map, from), Value::Const(number)) if width == Width::W64 => {
            let to = by(from as i64, number);
            to.map_or(Value::Any, |to| Value::Data(map, to as u64))
        }
        _ if left.is_frame() || right.is_frame() => Value::SomeFrame,
        _ => Value::Any,
    }
}

/// Extends the sign of the low bits.
fn signed(number: u64, bits: u8) -> u64 {
    let unused = 64_u32.saturating_sub(bits.into()).min(63);
    (((number << unused) as i64) >> unused) as u64
}

/// Gives the low bytes.
fn low(number: u64, size: Size) -> u64 {
    match size {
        Size::B => number & 0xff,
        Size::H => number & 0xffff,
        Size::W => number & 0xffff_ffff,
        Size::DW => number,
    }
}

#[cfg(test)]
mod tests;
