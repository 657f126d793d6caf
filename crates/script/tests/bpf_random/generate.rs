//! Random functions that are well typed and end.

use kscope_script::ir::{
    AtomicOp, BinOp, Builder, Cond, Function, Pointer, SlotId, Value, Variable,
};
use kscope_spec::{LateId, MapId};

use super::{CTX_SIZE, ENTRIES, MAP, VALUE_SIZE};

/// Xorshift: the same numbers everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n.max(1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

const INTERESTING: [i64; 16] = [
    0,
    1,
    -1,
    2,
    3,
    7,
    8,
    10,
    63,
    64,
    255,
    0x7fff_ffff,
    0xffff_ffff,
    -0x8000_0000,
    i64::MIN,
    i64::MAX,
];

struct Generator {
    b: Builder,
    r: Random,
    /// Numbers that may be used here.
    values: Vec<Value>,
    variables: Vec<Variable>,
    slots: Vec<(SlotId, u32)>,
    depth: u32,
    budget: u32,
}

/// Makes the function of a seed.
pub(crate) fn function(seed: u64) -> Function {
    let mut r = Random::new(seed);
    let mut b = Builder::new("random");
    let variables = (0..1 + r.below(6)).map(|_| b.variable()).collect();
    let mut slots = Vec::new();
    for _ in 0..1 + r.below(5) {
        let big = r.below(6) == 0;
        let size = if big {
            65 + r.below(800)
        } else {
            8 + r.below(57)
        } as u32;
        let slot = b.slot(size, 8);
        let address = b.slot_addr(slot);
        b.zero(address, 0, size);
        slots.push((slot, size));
    }
    let budget = 5 + r.below(60) as u32;
    let mut g = Generator {
        b,
        r,
        values: Vec::new(),
        variables,
        slots,
        depth: 0,
        budget,
    };
    g.statements();
    let hash = g.hash();
    let (slot, _) = g.slots[0];
    let address = g.b.slot_addr(slot);
    g.b.store(8, address, 0, hash);
    let zero = g.b.constant(0);
    g.with_entry(zero, |g, value| g.b.store(8, value, 16, hash));
    g.finish(hash)
}

impl Generator {
    fn finish(mut self, hash: Value) -> Function {
        self.end(hash);
        self.b.finish()
    }

    /// Returns a value, or as often a constant, for which an end is as short as a jump to it.
    fn end(&mut self, value: Value) {
        match self.r.below(2) {
            0 => self.b.ret_value(value),
            _ => self.b.ret(0),
        }
    }

    fn statements(&mut self) {
        let count = 1 + self.r.below(8);
        for _ in 0..count {
            if self.budget == 0 || self.b.is_ended() {
                return;
            }
            self.budget -= 1;
            self.statement();
        }
    }

    fn number(&mut self) -> Value {
        match self.r.below(10) {
            0..=5 if !self.values.is_empty() => {
                let index = self.r.below(self.values.len() as u64) as usize;
                self.values[index]
            }
            6 | 7 => {
                let variable = self.r.pick(&self.variables);
                self.b.read(variable)
            }
            8 => {
                let value = self.r.next() as i64;
                self.b.constant(value)
            }
            _ => {
                let value = self.r.pick(&INTERESTING);
                self.b.constant(value)
            }
        }
    }

    fn keep(&mut self, value: Value) {
        self.values.push(value);
    }

    fn statement(&mut self) {
        match self.r.below(26) {
            0..=6 => {
                let op = self.r.pick(&BinOp::ALL);
                let (left, right) = (self.number(), self.number());
                let value = self.b.binary(op, left, right);
                self.keep(value);
            }
            7 => {
                let cond = self.r.pick(&Cond::ALL);
                let (left, right) = (self.number(), self.number());
                let value = self.b.compare(cond, left, right);
                self.keep(value);
            }
            8 => {
                let of = self.number();
                let (bytes, signed) = (self.r.pick(&[1, 2, 4]), self.r.below(2) == 0);
                let value = self.b.extend(bytes, signed, of);
                self.keep(value);
            }
            9 => {
                let of = self.number();
                let bytes = self.r.pick(&[2, 4, 8]);
                let value = self.b.byte_swap(bytes, of);
                self.keep(value);
            }
            10..=12 => self.memory(),
            13 => self.bulk(),
            14 => {
                let ctx = self.b.ctx();
                let bytes = self.r.pick(&[1_u8, 2, 4, 8]);
                let offset = self.r.below(u64::from(CTX_SIZE) - u64::from(bytes) + 1);
                let signed = self.r.below(2) == 0;
                let value = self.b.load(bytes, signed, ctx, offset as i32);
                self.keep(value);
            }
            15 => {
                let helper = self.r.pick(&[5, 14, 15]);
                let value = self.b.call(kscope_spec::HelperId(helper), vec![]);
                self.keep(value);
            }
            16 => {
                let value = self.b.late(LateId(0));
                self.keep(value);
            }
            17 | 18 => {
                let variable = self.r.pick(&self.variables);
                let value = self.number();
                self.b.write(variable, value);
            }
            19 => self.entry(),
            20 | 21 if self.depth < 4 => self.branch(),
            24 | 25 if self.depth < 4 => self.checked_index(),
            22 if self.depth < 3 => self.repeat(),
            23 if self.depth > 0 && self.r.below(3) == 0 => {
                let value = self.number();
                self.end(value);
            }
            _ => {
                let base = self.b.map_value_addr(MAP, 8 * self.r.below(4) as u32);
                let value = self.number();
                let value = if self.r.below(2) == 0 {
                    self.b.atomic_fetch_add(base, 8, value)
                } else {
                    let op = AtomicOp::ALL[self.r.below(4) as usize];
                    self.b.atomic(op, base, 8, value);
                    self.b.load(8, false, base, 8)
                };
                self.keep(value);
            }
        }
    }

    /// Gives a pointer into a slot and how many bytes it may access.
    fn pointer(&mut self) -> (Value, u32) {
        let (slot, size) = self.r.pick(&self.slots);
        let address = self.b.slot_addr(slot);
        match self.r.below(3) {
            0 => (address, size),
            1 => {
                let offset = self.r.below(u64::from(size) - 7) as u32;
                (self.b.ptr_add(address, offset), size - offset)
            }
            _ => {
                // A mask that keeps 8 bytes within the slot.
                let mask = self.r.pick(&[0, 1, 3, 4, 7, 8, 12, 16, 24, 31, 56]) as u32;
                let mask = if mask > size - 8 { 0 } else { mask };
                let number = self.number();
                let limit = self.b.constant(i64::from(mask));
                let index = self.b.binary(BinOp::And, number, limit);
                (self.b.ptr_add_var(address, index, mask), size - mask)
            }
        }
    }

    fn memory(&mut self) {
        let (base, room) = self.pointer();
        let bytes = self.r.pick(&[1_u8, 2, 4, 8]);
        let offset = self.r.below(u64::from(room) - u64::from(bytes) + 1) as i32;
        if self.r.below(2) == 0 {
            let value = self.number();
            self.b.store(bytes, base, offset, value);
        } else {
            let signed = self.r.below(2) == 0;
            let value = self.b.load(bytes, signed, base, offset);
            self.keep(value);
        }
    }

    fn bulk(&mut self) {
        let (base, room) = self.pointer();
        let offset = self.r.below(u64::from(room)) as u32;
        let len = self.r.below(u64::from(room - offset) + 1) as u32;
        if self.r.below(2) == 0 || self.slots.len() < 2 {
            self.b.zero(base, offset as i32, len);
            return;
        }
        if self.r.below(4) == 0 {
            let ctx = self.b.ctx();
            let from = self.r.below(u64::from(CTX_SIZE)) as u32;
            let len = len.min(CTX_SIZE - from);
            self.b.copy((base, offset as i32), (ctx, from as i32), len);
            return;
        }
        // The places must not overlap: another slot.
        let (to, to_size) = self.slots[0];
        let index = 1 + self.r.below(self.slots.len() as u64 - 1) as usize;
        let (from, from_size) = self.slots[index];
        let most = to_size.min(from_size);
        let len = self.r.below(u64::from(most) + 1) as u32;
        let to_offset = self.r.below(u64::from(to_size - len) + 1) as i32;
        let from_offset = self.r.below(u64::from(from_size - len) + 1) as i32;
        let (to, from) = (self.b.slot_addr(to), self.b.slot_addr(from));
        self.b.copy((to, to_offset), (from, from_offset), len);
    }

    /// Runs a body with and without; what it defines is gone afterwards.
    fn scoped(&mut self, body: impl FnOnce(&mut Self)) {
        let values = self.values.len();
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.values.truncate(values);
    }

    fn branch(&mut self) {
        let cond = self.r.pick(&Cond::ALL);
        let (left, right) = (self.number(), self.number());
        let (then, otherwise, end) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch(cond, left, right, then, otherwise);
        for block in [then, otherwise] {
            self.b.seal(block);
            self.b.switch_to(block);
            self.scoped(|g| {
                g.statements();
                g.b.jump(end);
            });
        }
        self.b.seal(end);
        self.b.switch_to(end);
    }

    fn repeat(&mut self) {
        let counter = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(counter, zero);
        let rounds = 1 + self.r.below(4) as i64;
        let (head, body, end) = (self.b.block(), self.b.block(), self.b.block());
        self.b.jump(head);
        self.b.switch_to(head);
        let now = self.b.read(counter);
        let limit = self.b.constant(rounds);
        self.b.branch(Cond::Ult, now, limit, body, end);
        self.b.seal(body);
        self.b.switch_to(body);
        self.scoped(|g| {
            g.statements();
            let now = g.b.read(counter);
            let one = g.b.constant(1);
            let next = g.b.binary(BinOp::Add, now, one);
            g.b.write(counter, next);
            g.b.jump(head);
        });
        self.b.seal(head);
        self.b.seal(end);
        self.b.switch_to(end);
    }

    /// Checks a number and indexes with it, some statements later.
    fn checked_index(&mut self) {
        let (slot, size) = self.r.pick(&self.slots);
        let number = self.number();
        // Small numbers are rare: half of the time it is one.
        let number = match self.r.below(2) {
            0 => number,
            _ => {
                let mask = self.b.constant(127);
                let small = self.b.binary(BinOp::And, number, mask);
                self.keep(small);
                small
            }
        };
        let limit = self.b.constant(i64::from(size - 1));
        let (good, end) = (self.b.block(), self.b.block());
        self.b.branch(Cond::Ugt, number, limit, end, good);
        self.b.seal(good);
        self.b.switch_to(good);
        self.scoped(|g| {
            g.statements();
            let address = g.b.slot_addr(slot);
            let at = g.b.ptr_add_var(address, number, size - 1);
            let value = g.number();
            g.b.store(1, at, 0, value);
            let loaded = g.b.load(1, true, at, 0);
            let variable = g.r.pick(&g.variables);
            g.b.write(variable, loaded);
            g.b.jump(end);
        });
        self.b.seal(end);
        self.b.switch_to(end);
    }

    /// Looks an entry of the map up and works on it.
    fn entry(&mut self) {
        let number = self.number();
        let mask = self.b.constant(2 * i64::from(ENTRIES) - 1);
        let key = self.b.binary(BinOp::And, number, mask);
        self.with_entry(key, |g, value| {
            let bytes = g.r.pick(&[1_u8, 2, 4, 8]);
            let offset = g.r.below(u64::from(VALUE_SIZE) - u64::from(bytes) + 1) as i32;
            let number = g.number();
            g.b.store(bytes, value, offset, number);
            let loaded = g.b.load(8, false, value, 8);
            let variable = g.r.pick(&g.variables);
            g.b.write(variable, loaded);
        });
        if self.depth > 0 && self.r.below(4) == 0 {
            let value = self.number();
            self.end(value);
        }
    }

    fn with_entry(&mut self, key: Value, body: impl FnOnce(&mut Self, Value)) {
        let slot = self.b.slot(4, 4);
        let address = self.b.slot_addr(slot);
        self.b.store(4, address, 0, key);
        let map = self.b.map(MAP);
        let found = self.b.call_pointer(
            kscope_spec::HelperId(1),
            vec![map, address],
            Pointer::MapValueOrNull(MapId(0)),
        );
        let (absent, present, end) = (self.b.block(), self.b.block(), self.b.block());
        self.b.branch_null(found, absent, present);
        self.b.seal(absent);
        self.b.switch_to(absent);
        self.scoped(|g| {
            if g.depth < 4 && g.r.below(2) == 0 {
                g.statements();
            }
            g.b.jump(end);
        });
        self.b.seal(present);
        self.b.switch_to(present);
        self.scoped(|g| {
            let value = g.b.non_null(found);
            body(g, value);
            if g.depth < 4 && g.r.below(2) == 0 {
                g.statements();
            }
            g.b.jump(end);
        });
        self.b.seal(end);
        self.b.switch_to(end);
    }

    /// Mixes everything that is at hand into one number.
    fn hash(&mut self) -> Value {
        let mut hash = self.b.constant(17);
        let all: Vec<Value> = self.values.clone();
        let variables = self.variables.clone();
        let factor = self.b.constant(31);
        for value in all {
            hash = self.b.binary(BinOp::Mul, hash, factor);
            hash = self.b.binary(BinOp::Add, hash, value);
        }
        for variable in variables {
            let value = self.b.read(variable);
            hash = self.b.binary(BinOp::Mul, hash, factor);
            hash = self.b.binary(BinOp::Xor, hash, value);
        }
        hash
    }
}
