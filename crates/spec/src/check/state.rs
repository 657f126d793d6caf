//! What is known of registers and stack at one point of a program.

use crate::insn::Reg;
use crate::object::MapId;
use std::collections::BTreeSet;

/// What a register or a spilled slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Some path leaves it unwritten.
    Unwritten,
    /// Something.
    Any,
    /// The context.
    Context,
    /// A number and no pointer: what is left of a record given back.
    Number,
    /// This number.
    Const(i64),
    /// The frame pointer plus so many bytes.
    Frame(i64),
    /// The frame pointer plus a number not known.
    SomeFrame,
    /// A map.
    Map(MapId),
    /// What the call at this slot gave, not yet compared with null: so many bytes, or null.
    MaybeNull {
        /// The call.
        call: usize,
        /// Size in bytes.
        size: i64,
    },
    /// A map's value or a ring buffer record.
    Object {
        /// The slot that gave it.
        call: usize,
        /// Size in bytes.
        size: i64,
        /// Offset into it.
        off: i64,
    },
}

impl Value {
    /// Tells whether it is known to be a pointer.
    pub(super) fn is_pointer(self) -> bool {
        match self {
            Value::Context
            | Value::Frame(_)
            | Value::SomeFrame
            | Value::Map(_)
            | Value::MaybeNull { .. }
            | Value::Object { .. } => true,
            Value::Unwritten | Value::Any | Value::Number | Value::Const(_) => false,
        }
    }

    fn join(self, other: Value) -> Value {
        match (self, other) {
            _ if self == other => self,
            (Value::Unwritten, _) | (_, Value::Unwritten) => Value::Unwritten,
            (Value::Frame(_) | Value::SomeFrame, Value::Frame(_) | Value::SomeFrame) => {
                Value::SomeFrame
            }
            _ => Value::Any,
        }
    }
}

/// Size of a frame in bytes.
pub(super) const FRAME: i64 = 512;
const SLOTS: usize = 64;

/// What is known at one point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    regs: [Value; 11],
    /// One bit a byte: whether every path wrote it; the lowest byte first.
    written: [u8; SLOTS],
    /// What each aligned slot of 8 bytes holds, where a register was stored there whole.
    spilled: [Value; SLOTS],
    /// Calls whose ring buffer records some path has neither submitted nor discarded.
    records: BTreeSet<usize>,
}

impl State {
    /// The state at the start of a function with so many arguments.
    pub(super) fn entry(arguments: u8) -> State {
        let mut state = State {
            regs: [Value::Unwritten; 11],
            written: [0; SLOTS],
            spilled: [Value::Any; SLOTS],
            records: BTreeSet::new(),
        };
        for number in 1..=arguments {
            state.set(Reg(number), Value::Any);
        }
        state.set(Reg::FP, Value::Frame(0));
        state
    }

    /// Joins the state of another path into this one; tells whether that changed it.
    pub(super) fn join(&mut self, other: &State) -> bool {
        let before = self.clone();
        for (mine, theirs) in self.regs.iter_mut().zip(other.regs) {
            *mine = mine.join(theirs);
        }
        for (mine, theirs) in self.written.iter_mut().zip(other.written) {
            *mine &= theirs;
        }
        for (mine, theirs) in self.spilled.iter_mut().zip(other.spilled) {
            *mine = mine.join(theirs);
        }
        self.records.extend(&other.records);
        *self != before
    }

    pub(super) fn get(&self, reg: Reg) -> Value {
        let value = self.regs.get(usize::from(reg.0));
        value.copied().unwrap_or(Value::Unwritten)
    }

    pub(super) fn set(&mut self, reg: Reg, value: Value) {
        if let Some(slot) = self.regs.get_mut(usize::from(reg.0)) {
            *slot = value;
        }
    }

    /// Settles that the result of a call is null, or is not.
    pub(super) fn settle(&mut self, of: usize, null: bool) {
        for slot in self.regs.iter_mut().chain(&mut self.spilled) {
            match *slot {
                Value::MaybeNull { call, size } if call == of => {
                    *slot = if null {
                        Value::Const(0)
                    } else {
                        Value::Object { call, size, off: 0 }
                    };
                }
                _ => {}
            }
        }
        if null {
            self.records.remove(&of);
        }
    }

    /// Notes that a call gave a ring buffer record, perhaps.
    pub(super) fn reserve(&mut self, call: usize) {
        self.records.insert(call);
    }

    /// Forgets every copy of a pointer to a record given back; tells whether it was out.
    pub(super) fn release(&mut self, record: usize) -> bool {
        for slot in self.regs.iter_mut().chain(&mut self.spilled) {
            match *slot {
                Value::Object { call, .. } if call == record => *slot = Value::Number,
                _ => {}
            }
        }
        self.records.remove(&record)
    }

    /// Forgets which records are out: one that nobody followed was given back.
    pub(super) fn release_any(&mut self) {
        self.records.clear();
    }

    pub(super) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    /// Gives the offset of the first unwritten byte of a range inside the frame.
    pub(super) fn first_unwritten(&self, off: i64, size: i64) -> Option<i64> {
        (off..off.saturating_add(size)).find(|off| {
            let (slot, bit) = place(*off);
            self.written.get(slot).is_none_or(|bits| bits & bit == 0)
        })
    }

    /// Marks bytes as written, with what nobody knows.
    pub(super) fn write(&mut self, off: i64, size: i64) {
        for off in off.max(-FRAME)..off.saturating_add(size).min(0) {
            let (slot, bit) = place(off);
            if let Some(bits) = self.written.get_mut(slot) {
                *bits |= bit;
            }
            if let Some(spilled) = self.spilled.get_mut(slot) {
                *spilled = Value::Any;
            }
        }
    }

    /// Forgets what slots hold: something wrote through a pointer into the frame.
    pub(super) fn forget_all(&mut self) {
        self.write(-FRAME, FRAME);
    }

    pub(super) fn spill(&mut self, off: i64, value: Value) {
        self.write(off, 8);
        if let Some(spilled) = self.spilled.get_mut(place(off).0) {
            *spilled = value;
        }
    }

    pub(super) fn fill(&self, off: i64) -> Value {
        let value = self.spilled.get(place(off).0);
        value.copied().unwrap_or(Value::Any)
    }
}

/// Gives the slot of 8 bytes and the bit in it; offsets are from -512 to -1.
fn place(off: i64) -> (usize, u8) {
    let at = usize::try_from(off.saturating_add(FRAME)).unwrap_or(usize::MAX);
    (at / 8, 1 << (at % 8))
}
