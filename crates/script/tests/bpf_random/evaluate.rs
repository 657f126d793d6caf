//! The meaning of the IR, written a second time: what a function computes, step by step.

use std::collections::HashMap;

use kscope_script::ir::{BinOp, Block, Cond, Function, Op, Target, Terminator, Value};

use super::{CTX_SIZE, ENTRIES, LATE, VALUE_SIZE, helper_result};

/// Where a pointer points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Region {
    Ctx,
    Slot(u32),
    Entry(u32),
    Map,
    Null,
}

#[derive(Clone, Copy, Debug)]
enum Datum {
    Number(u64),
    Pointer(Region, i64),
}

/// What a run leaves.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) result: u64,
    pub(crate) entries: Vec<Vec<u8>>,
}

struct State<'a> {
    function: &'a Function,
    values: HashMap<Value, Datum>,
    memory: HashMap<Region, Vec<u8>>,
}

/// Runs a function; `None` if it takes more steps than it may.
pub(crate) fn run(function: &Function, ctx: &[u8], entries: &[Vec<u8>]) -> Option<Outcome> {
    assert_eq!(ctx.len(), CTX_SIZE as usize);
    let mut memory = HashMap::from([(Region::Ctx, ctx.to_vec())]);
    for (index, slot) in function.slots.iter().enumerate() {
        memory.insert(Region::Slot(index as u32), vec![0xa5; slot.size as usize]);
    }
    for (index, entry) in entries.iter().enumerate() {
        memory.insert(Region::Entry(index as u32), entry.clone());
    }
    let mut state = State {
        function,
        values: HashMap::new(),
        memory,
    };
    let mut block = Block(0);
    for _ in 0..100_000 {
        let data = &function.blocks[block.index()];
        for inst in &data.insts {
            let datum = state.op(&inst.op);
            if let Some(result) = inst.result {
                state.values.insert(result, datum);
            }
        }
        let target = match &data.end {
            Terminator::Return(value) => {
                let entries = (0..ENTRIES)
                    .map(|i| state.memory[&Region::Entry(i)].clone())
                    .collect();
                return Some(Outcome {
                    result: state.number(*value),
                    entries,
                });
            }
            Terminator::Jump(target) => target,
            Terminator::Branch {
                cond,
                left,
                right,
                then,
                otherwise,
            } => {
                let (a, b) = (state.number(*left), state.number(*right));
                if holds(*cond, a, b) { then } else { otherwise }
            }
            Terminator::BranchNull {
                pointer,
                null,
                present,
            } => match state.values[pointer] {
                Datum::Pointer(Region::Null, _) => null,
                _ => present,
            },
        };
        state.jump(target);
        block = target.block;
    }
    None
}

fn holds(cond: Cond, a: u64, b: u64) -> bool {
    match cond {
        Cond::Eq => a == b,
        Cond::Ne => a != b,
        Cond::Ult => a < b,
        Cond::Ule => a <= b,
        Cond::Ugt => a > b,
        Cond::Uge => a >= b,
        Cond::Slt => (a as i64) < (b as i64),
        Cond::Sle => (a as i64) <= (b as i64),
        Cond::Sgt => (a as i64) > (b as i64),
        Cond::Sge => (a as i64) >= (b as i64),
    }
}

fn binary(op: BinOp, a: u64, b: u64) -> u64 {
    // Division is done in 128 bits, where nothing overflows.
    let (sa, sb) = (i128::from(a as i64), i128::from(b as i64));
    match op {
        BinOp::Add => a.wrapping_add(b),
        BinOp::Sub => a.wrapping_sub(b),
        BinOp::Mul => a.wrapping_mul(b),
        BinOp::UDiv => a.checked_div(b).unwrap_or(0),
        BinOp::URem => a.checked_rem(b).unwrap_or(a),
        BinOp::SDiv => sa.checked_div(sb).unwrap_or(0) as u64,
        BinOp::SRem => sa.checked_rem(sb).unwrap_or(sa) as u64,
        BinOp::And => a & b,
        BinOp::Or => a | b,
        BinOp::Xor => a ^ b,
        BinOp::Shl => a << (b % 64),
        BinOp::LShr => a >> (b % 64),
        BinOp::AShr => ((a as i64) >> (b % 64)) as u64,
    }
}

fn extend(bytes: u8, signed: bool, value: u64) -> u64 {
    match (bytes, signed) {
        (1, false) => u64::from(value as u8),
        (1, true) => i64::from(value as i8) as u64,
        (2, false) => u64::from(value as u16),
        (2, true) => i64::from(value as i16) as u64,
        (4, false) => u64::from(value as u32),
        (4, true) => i64::from(value as i32) as u64,
        _ => value,
    }
}

impl State<'_> {
    fn number(&self, value: Value) -> u64 {
        match self.values.get(&value) {
            Some(Datum::Number(n)) => *n,
            other => panic!("{value:?} is {other:?}\n{}", self.function),
        }
    }

    fn place(&self, base: Value, offset: i32) -> (Region, usize) {
        match self.values[&base] {
            Datum::Pointer(region, at) => {
                (region, usize::try_from(at + i64::from(offset)).unwrap())
            }
            Datum::Number(_) => panic!("{base:?} is no pointer"),
        }
    }

    fn load(&self, base: Value, offset: i32, len: usize) -> Vec<u8> {
        let (region, at) = self.place(base, offset);
        self.memory[&region][at..at + len].to_vec()
    }

    fn store(&mut self, base: Value, offset: i32, bytes: &[u8]) {
        let (region, at) = self.place(base, offset);
        self.memory.get_mut(&region).unwrap()[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn load_number(&self, base: Value, offset: i32, bytes: u8) -> u64 {
        let mut wide = [0; 8];
        wide[..bytes as usize].copy_from_slice(&self.load(base, offset, bytes as usize));
        u64::from_le_bytes(wide)
    }

    fn jump(&mut self, target: &Target) {
        let given: Vec<Datum> = target.args.iter().map(|a| self.values[a]).collect();
        let params = &self.function.blocks[target.block.index()].params;
        assert_eq!(params.len(), given.len());
        for (param, datum) in params.iter().zip(given) {
            self.values.insert(*param, datum);
        }
    }

    fn op(&mut self, op: &Op) -> Datum {
        Datum::Number(match op {
            Op::Const(c) => *c as u64,
            Op::Late(_) => LATE,
            Op::Layout(layout) => layout.value as u64,
            Op::Ctx => return Datum::Pointer(Region::Ctx, 0),
            Op::SlotAddr(slot) => return Datum::Pointer(Region::Slot(slot.0), 0),
            Op::MapRef(_) => return Datum::Pointer(Region::Map, 0),
            Op::MapValueAddr { offset, .. } => {
                return Datum::Pointer(Region::Entry(0), i64::from(*offset));
            }
            Op::PtrAdd {
                base,
                offset,
                bound,
            } => {
                let add = self.number(*offset);
                assert!(add <= u64::from(*bound));
                match self.values[base] {
                    Datum::Pointer(region, at) => {
                        return Datum::Pointer(region, at + add as i64);
                    }
                    Datum::Number(_) => panic!("{base:?} is no pointer"),
                }
            }
            Op::NonNull(v) => return self.values[v],
            Op::PtrToInt(_) | Op::Argument(_) | Op::Callback(_) => unreachable!("not generated"),
            Op::Binary(op, a, b) => binary(*op, self.number(*a), self.number(*b)),
            Op::Compare(cond, a, b) => u64::from(holds(*cond, self.number(*a), self.number(*b))),
            Op::Extend {
                bytes,
                signed,
                value,
            } => extend(*bytes, *signed, self.number(*value)),
            Op::ByteSwap { bytes, value } => {
                let value = self.number(*value);
                match bytes {
                    2 => u64::from((value as u16).swap_bytes()),
                    4 => u64::from((value as u32).swap_bytes()),
                    _ => value.swap_bytes(),
                }
            }
            Op::Load {
                bytes,
                signed,
                base,
                offset,
            } => extend(*bytes, *signed, self.load_number(*base, *offset, *bytes)),
            Op::LoadAt {
                bytes,
                signed,
                base,
                offset,
            } => extend(
                *bytes,
                *signed,
                self.load_number(*base, offset.value as i32, *bytes),
            ),
            Op::Store {
                bytes,
                base,
                offset,
                value,
            } => {
                let value = self.number(*value).to_le_bytes();
                self.store(*base, *offset, &value[..*bytes as usize]);
                0
            }
            Op::Atomic {
                op,
                bytes,
                base,
                offset,
                value,
            } => {
                let old = self.load_number(*base, *offset, *bytes);
                let new = op.apply(old, self.number(*value)).to_le_bytes();
                self.store(*base, *offset, &new[..*bytes as usize]);
                0
            }
            Op::AtomicFetchAdd {
                base,
                offset,
                value,
            } => {
                let old = self.load_number(*base, *offset, 8);
                let new = old.wrapping_add(self.number(*value)).to_le_bytes();
                self.store(*base, *offset, &new);
                old
            }
            Op::Zero { base, offset, len } => {
                self.store(*base, *offset, &vec![0; *len as usize]);
                0
            }
            Op::Copy {
                to,
                to_offset,
                from,
                from_offset,
                len,
            } => {
                let bytes = self.load(*from, *from_offset, *len as usize);
                self.store(*to, *to_offset, &bytes);
                0
            }
            Op::Call { helper: 1, args } => {
                let key = self.load_number(args[1], 0, 4) as u32;
                let region = if key < ENTRIES {
                    Region::Entry(key)
                } else {
                    Region::Null
                };
                return Datum::Pointer(region, 0);
            }
            Op::Call { helper, .. } => helper_result(*helper),
        })
    }
}

/// The entries of the map before a run.
pub(crate) fn fresh_entries() -> Vec<Vec<u8>> {
    vec![vec![0; VALUE_SIZE as usize]; ENTRIES as usize]
}
