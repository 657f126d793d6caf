//! Strings: looking for one in another.

use super::function::{Lower, Place, Result, unsupported};
use crate::hir::{Expr, ExprKind, Type};
use crate::ir::{BinOp, Block, Cond, Value, Variable};
use crate::plan::SEARCH_LIMIT;

/// Most steps of a search for a string that is not known before it runs.
pub(super) const SEARCH_STEPS: u32 = 64 * 128;

/// Bytes that a search goes over between two branches, where the masks have room for as many bits behind those of the
/// string, and else.
const ROUND: u32 = 16;
/// Bytes from which on a string's masks have no such room.
const LONG: usize = 64 - ROUND as usize + 2;
const SHORT_ROUND: u32 = 64 - SEARCH_LIMIT as u32 + 1;

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
    /// Branches on whether a string contains another, in one pass (the shift-and method).
    pub(super) fn contains(
        &mut self,
        haystack: &Expr,
        needle: &Expr,
        yes: Block,
        no: Block,
    ) -> Result<()> {
        let (masks, last, round) = match &needle.kind {
            ExprKind::Str(text) if text.is_empty() => {
                self.b.jump(yes);
                return Ok(());
            }
            ExprKind::Str(text) if text.len() <= SEARCH_LIMIT => self.literal_masks(text),
            ExprKind::OptionStr(option) => {
                let length = self.program.options[*option as usize].late;
                let length = self.b.late(length);
                let zero = self.b.constant(0);
                let some = self.b.block();
                self.b.branch(Cond::Eq, length, zero, yes, some);
                self.enter(some);
                let offset = self.tables.option_masks(*option);
                let map = self.tables.options();
                let one = self.b.constant(1);
                let last = self.b.binary(BinOp::Sub, length, one);
                (self.value_place(map, offset), last, SHORT_ROUND)
            }
            _ => return self.contains_any(haystack, needle, yes, no),
        };
        self.search(haystack, (masks, last, round), None, yes, no)
    }

    /// Looks for a literal, as [`Lower::look_for`] does; goes on nowhere.
    pub(super) fn look_for_literal(
        &mut self,
        haystack: &Expr,
        text: &[u8],
        position: Variable,
        found: Block,
        end: Block,
    ) -> Result<()> {
        let masks = self.literal_masks(text);
        self.search(haystack, masks, Some(position), found, end)
    }

    /// Gives the masks of a literal, the bit of its last byte, and how many bytes a round may have.
    fn literal_masks(&mut self, text: &[u8]) -> (Place, Value, u32) {
        let map = self.tables.needle(text);
        let last = self.b.constant(text.len() as i64 - 1);
        let round = match text.len() {
            0..LONG => ROUND,
            _ => SHORT_ROUND,
        };
        (self.value_place(map, 0), last, round)
    }

    /// Looks for a string by its masks, of which the bit `last` stands for its last byte.
    ///
    /// There is no branch for each byte: the bits behind `last` keep where a round had hits. What lies behind the NUL of a
    /// string is zero, and no byte of what is looked for.
    fn search(
        &mut self,
        haystack: &Expr,
        (masks, last, bytes): (Place, Value, u32),
        position: Option<Variable>,
        yes: Block,
        no: Block,
    ) -> Result<()> {
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
        let out = self.b.block();
        let bytes = bytes.min(capacity.max(1));
        let rounds = capacity / bytes;
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
            self.join(out);
        } else {
            self.b.jump(no);
            self.enter(out);
        }
        let hits = self.b.read(sweep.hits);
        let zero = self.b.constant(0);
        let hit = self.b.block();
        self.b.branch(Cond::Ne, hits, zero, hit, no);
        self.enter(hit);
        if let Some(position) = position {
            let behind = self.highest_bit(hits, bytes);
            let end = self.b.read(sweep.end);
            let end = self.b.binary(BinOp::Sub, end, behind);
            let begin = self.b.binary(BinOp::Sub, end, sweep.last);
            self.b.write(position, begin);
        }
        self.b.jump(yes);
        Ok(())
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
        let sign = self.b.constant(63);
        let ended = self.b.binary(BinOp::Sub, byte, one);
        let ended = self.b.binary(BinOp::LShr, ended, sign);
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

    /// As [`Lower::contains`] for a string that is known only when it runs: looks at each place.
    fn contains_any(
        &mut self,
        haystack: &Expr,
        needle: &Expr,
        yes: Block,
        no: Block,
    ) -> Result<()> {
        let (size, len) = (haystack.ty.size(), needle.ty.size());
        if size.saturating_mul(len) > SEARCH_STEPS {
            let what = format!(
                "a search in a string of {size} bytes for one of {len} that is neither a literal of at most {SEARCH_LIMIT} bytes nor an option"
            );
            return Err(unsupported(needle.span, &what));
        }
        self.look_for(haystack, needle, None, yes, no)?;
        self.b.jump(no);
        Ok(())
    }

    /// Looks for a string at each place of another: goes to `found`, the place then being in `position` where that is asked
    /// for, to `end` at the other's end, and on behind its last byte.
    pub(super) fn look_for(
        &mut self,
        haystack: &Expr,
        needle: &Expr,
        position: Option<Variable>,
        found: Block,
        end: Block,
    ) -> Result<()> {
        let (size, len) = (haystack.ty.size(), needle.ty.size());
        let place = self.memory(haystack)?;
        let other = self.memory(needle)?;
        let (start, other) = (self.address(place), self.address(other));
        self.rounds(size, |lower, at, _| {
            if let Some(position) = position {
                lower.b.write(position, at);
            }
            let elsewhere = lower.b.block();
            lower.rounds(len, |lower, round, _| {
                let wanted = lower.byte_before_nul(other, round, len, found);
                let offset = lower.b.binary(BinOp::Add, at, round);
                let limit = lower.b.constant(i64::from(size));
                let inside = lower.b.block();
                lower.b.branch(Cond::Ult, offset, limit, inside, elsewhere);
                lower.enter(inside);
                let have = lower.b.ptr_add_var(start, offset, size - 1);
                let have = lower.b.load(1, false, have, 0);
                lower.go_on_if_equal(have, wanted, elsewhere);
                Ok(())
            })?;
            lower.b.jump(found);
            lower.enter(elsewhere);
            lower.byte_before_nul(start, at, size, end);
            Ok(())
        })
    }
}
