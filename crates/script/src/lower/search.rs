//! Strings: looking for one that is known before it runs.

use super::function::{Lower, Place, Result, unsupported};
use crate::hir::{Expr, ExprKind, Type};
use crate::ir::{BinOp, Cond, Value, Variable};
use crate::plan::SEARCH_LIMIT;

/// Bytes that a search goes over between two branches, where the masks have as many bits from that of the last byte on.
const ROUND: u32 = 16;
/// As [`ROUND`], for strings of any length.
const SHORT_ROUND: u32 = bits_left(SEARCH_LIMIT);

/// Gives how many bits the masks of a string of `len` bytes have from that of its last byte on.
const fn bits_left(len: usize) -> u32 {
    64 - len as u32 + 1
}

/// Rounds that may as well be walked again.
const FEW: u32 = 4;

/// What `strstr` gives where nothing is found: `-ENOENT`.
const NOT_FOUND: i64 = -2;

/// What a search is to tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// One or zero.
    Whether,
    /// Where it is found first, or `-ENOENT`.
    Where,
}

/// A search by masks.
struct Sweep {
    masks: Value,
    /// Which bit stands for the last byte.
    last: Value,
    /// The bits of what the bytes up to here may be the beginning of.
    state: Variable,
    /// The bits of what ended in the round, the first of them being the highest.
    hits: Variable,
    /// The place of the last byte of the round.
    end: Variable,
}

impl Lower<'_> {
    /// Looks for a string in another, in one pass; gives what is asked for.
    ///
    /// There is no branch on whether it is found: the kernel's verifier would walk all that follows once more.
    pub(super) fn search(
        &mut self,
        haystack: &Expr,
        needle: &Expr,
        answer: Answer,
    ) -> Result<Value> {
        match &needle.kind {
            ExprKind::Str(text) if text.is_empty() => Ok(self.at_once(answer)),
            ExprKind::Str(text) if text.len() <= SEARCH_LIMIT => {
                let masks = self.literal_masks(text);
                self.search_masks(haystack, masks, answer)
            }
            ExprKind::OptionStr(option) => self.search_option(haystack, *option, answer),
            _ => self.look_for(haystack, needle, answer),
        }
    }

    /// Looks for the string of an option, which may be empty.
    fn search_option(&mut self, haystack: &Expr, option: u32, answer: Answer) -> Result<Value> {
        let result = self.b.variable();
        let empty = self.at_once(answer);
        self.b.write(result, empty);
        let length = self.program.options[option as usize].late;
        let length = self.b.late(length);
        let zero = self.b.constant(0);
        let (some, end) = (self.b.block(), self.b.block());
        self.b.branch(Cond::Eq, length, zero, end, some);
        self.enter(some);
        let offset = self.tables.option_masks(option);
        let map = self.tables.options();
        let one = self.b.constant(1);
        let last = self.b.binary(BinOp::Sub, length, one);
        let masks = self.value_place(map, offset);
        let found = self.search_masks(haystack, (masks, last, SHORT_ROUND), answer)?;
        self.b.write(result, found);
        self.join(end);
        Ok(self.b.read(result))
    }

    /// Gives the answer for the empty string, which is in each.
    fn at_once(&mut self, answer: Answer) -> Value {
        self.b.constant(match answer {
            Answer::Whether => 1,
            Answer::Where => 0,
        })
    }

    /// Gives the answer for what was found at a place, which may be none: `found` is one or zero.
    pub(super) fn answer(&mut self, answer: Answer, found: Value, place: Value) -> Value {
        match answer {
            Answer::Whether => found,
            Answer::Where => {
                let none = self.b.constant(NOT_FOUND);
                let by = self.b.binary(BinOp::Sub, place, none);
                let by = self.b.binary(BinOp::Mul, by, found);
                self.b.binary(BinOp::Add, by, none)
            }
        }
    }

    /// Gives the masks of a literal, the bit of its last byte, and how many bytes a round may have.
    fn literal_masks(&mut self, text: &[u8]) -> (Place, Value, u32) {
        let map = self.tables.needle(text);
        let last = self.b.constant(text.len() as i64 - 1);
        let round = match bits_left(text.len()) {
            ROUND.. => ROUND,
            _ => SHORT_ROUND,
        };
        (self.value_place(map, 0), last, round)
    }

    /// Looks for a string by its masks, of which the bit `last` stands for its last byte.
    ///
    /// There is no branch for each byte: the bits behind `last` keep where a round had hits. What lies behind the NUL of a
    /// string is zero, and no byte of what is looked for.
    fn search_masks(
        &mut self,
        haystack: &Expr,
        (masks, last, bytes): (Place, Value, u32),
        answer: Answer,
    ) -> Result<Value> {
        let Type::Str { capacity } = haystack.ty else {
            return Err(unsupported(haystack.span, "a search in this type"));
        };
        let place = self.memory(haystack)?;
        let start = self.address(place);
        let sweep = Sweep {
            masks: self.address(masks),
            last,
            state: self.b.variable(),
            hits: self.b.variable(),
            end: self.b.variable(),
        };
        let zero = self.b.constant(0);
        self.b.write(sweep.state, zero);
        self.b.write(sweep.hits, zero);
        self.b.write(sweep.end, zero);
        let out = self.b.block();
        let bytes = bytes.min(capacity.max(1));
        let rounds = capacity / bytes;
        if rounds > FEW {
            self.keep_state()?;
        }
        self.rounds(rounds, |lower, round, _| {
            let width = lower.b.constant(i64::from(bytes));
            let from = lower.b.binary(BinOp::Mul, round, width);
            let bound = rounds.saturating_sub(1) * bytes;
            let at = lower.b.ptr_add_var(start, from, bound);
            let stop = lower.sweep(&sweep, at, from, bytes);
            let zero = lower.b.constant(0);
            let on = lower.b.block();
            lower.b.branch(Cond::Ne, stop, zero, out, on);
            lower.enter(on);
            Ok(())
        })?;
        let done = rounds * bytes;
        if done < capacity {
            let from = self.b.constant(i64::from(done));
            let at = self.b.ptr_add(start, done);
            self.sweep(&sweep, at, from, capacity - done);
        }
        self.join(out);
        let one = self.b.constant(1);
        let hits = self.b.read(sweep.hits);
        let none = self.is_zero(hits);
        let found = self.b.binary(BinOp::Xor, none, one);
        let behind = self.highest_bit(hits, bytes);
        let end = self.b.read(sweep.end);
        let end = self.b.binary(BinOp::Sub, end, behind);
        let begin = self.b.binary(BinOp::Sub, end, sweep.last);
        Ok(self.answer(answer, found, begin))
    }

    /// Goes over the bytes of a round; gives zero where neither a hit nor the end of the string is among them.
    fn sweep(&mut self, sweep: &Sweep, at: Value, from: Value, bytes: u32) -> Value {
        let one = self.b.constant(1);
        let three = self.b.constant(3);
        let mut byte = one;
        let mut state = self.b.read(sweep.state);
        for k in 0..bytes {
            byte = self.b.load(1, false, at, k as i32);
            let offset = self.b.binary(BinOp::Shl, byte, three);
            let entry = self.b.ptr_add_var(sweep.masks, offset, 255 * 8);
            let mask = self.b.load(8, false, entry, 0);
            let moved = self.b.binary(BinOp::Shl, state, one);
            let moved = self.b.binary(BinOp::Or, moved, one);
            state = self.b.binary(BinOp::And, moved, mask);
        }
        self.b.write(sweep.state, state);
        let hits = self.b.binary(BinOp::LShr, state, sweep.last);
        self.b.write(sweep.hits, hits);
        let last = self.b.constant(i64::from(bytes) - 1);
        let end = self.b.binary(BinOp::Add, from, last);
        self.b.write(sweep.end, end);
        let ended = self.is_zero(byte);
        self.b.binary(BinOp::Or, hits, ended)
    }

    /// Gives which is the highest bit of a number of at most `bits`, of which one is set.
    fn highest_bit(&mut self, number: Value, bits: u32) -> Value {
        let mut number = number;
        let mut highest = self.b.constant(0);
        let sign = self.b.constant(63);
        let mut step = bits.next_power_of_two() / 2;
        while step > 0 {
            let most = self.b.constant((1 << step) - 1);
            let larger = self.b.binary(BinOp::Sub, most, number);
            let larger = self.b.binary(BinOp::LShr, larger, sign);
            let width = self.b.constant(i64::from(step));
            let by = self.b.binary(BinOp::Mul, larger, width);
            number = self.b.binary(BinOp::LShr, number, by);
            highest = self.b.binary(BinOp::Add, highest, by);
            step /= 2;
        }
        highest
    }
}
