//! Strings: looking for one that is known only when it runs, in one pass (Knuth, Morris, Pratt).
//!
//! A step compares one byte of the text with one of what is looked for. It has no branch, as the kernel's verifier keeps a
//! state for each; the steps of a round end with one.

use super::function::{Lower, Result, unsupported};
use super::search::Answer;
use crate::diagnostic::Diagnostic;
use crate::hir::{Expr, Type};
use crate::ir::{BinOp, Cond, Value, Variable};

/// Steps between two branches.
const STEPS: u32 = 8;

/// Most bytes of both strings together: the kernel goes through a million instructions of a program, and through some forty
/// in a step.
const MOST_BYTES: u32 = 8192;

/// Most bytes of the strings of all searches of a probe.
const MOST_SEARCHED: u32 = 10_240;

/// Most bytes of what is looked for where no verifier goes through the code: places in it have two bytes.
const MOST_WANTED: u32 = 1 << 15;

/// A copy of a string that ends with a NUL in any case, in memory of a power of two.
#[derive(Clone, Copy)]
struct Copied {
    start: Value,
    /// Bytes of the string.
    size: u32,
    /// The highest offset.
    mask: u32,
}

/// What both passes have.
struct Find {
    /// What is looked for.
    wanted: Copied,
    /// For each of its beginnings how many bytes of it are also its end, less than all of them; two bytes each.
    borders: Value,
    /// The place in the text, and how many bytes before it are the beginning of what is looked for.
    at: Variable,
    same: Variable,
}

/// What a step gives beside the new places.
struct Step {
    at: Value,
    same: Value,
    /// One where the place in the text has moved.
    moved: Value,
    /// One where there is nothing more to do.
    ended: Value,
}

impl Lower<'_> {
    /// Looks for a string that is known only when it runs.
    pub(super) fn look_for(
        &mut self,
        haystack: &Expr,
        needle: &Expr,
        answer: Answer,
    ) -> Result<Value> {
        let (size, len) = (haystack.ty.size(), needle.ty.size());
        match self.program.interpreted {
            true if len > MOST_WANTED => {
                let what = format!("a search for a string of up to {len} bytes");
                let hint = format!(
                    "it has {MOST_WANTED} bytes at most; `str(…, LENGTH)` and `max_strlen` make it shorter"
                );
                return Err(unsupported(needle.span, &what).hint(hint));
            }
            true => {}
            false => self.count_searched(size, len, needle)?,
        }
        let text = self.copied(haystack, size)?;
        // The beginning of one that is longer than the text is not in it either.
        let wanted = self.copied(needle, size.saturating_add(1))?;
        self.find(text, wanted, answer)
    }

    /// Refuses what the kernel's verifier has no room for.
    fn count_searched(&mut self, size: u32, len: u32, needle: &Expr) -> Result<()> {
        if size.saturating_add(len) > MOST_BYTES {
            let what = format!("a search in a string of {size} bytes for one of up to {len}");
            let hint = format!(
                "both have {MOST_BYTES} bytes at most; `str(…, LENGTH)` and `max_strlen` make them shorter"
            );
            return Err(unsupported(needle.span, &what).hint(hint));
        }
        self.searched = self.searched.saturating_add(size.saturating_add(len));
        if self.searched > MOST_SEARCHED {
            let message = format!(
                "the probe searches strings of {} bytes for others that are known only when it runs; the \
                 kernel's verifier, which takes a million instructions, has room for {MOST_SEARCHED}",
                self.searched
            );
            let hint = "`str(…, LENGTH)` and `max_strlen` make them shorter; what the script itself has in \
                        quotes is searched for at a small part of that";
            return Err(Diagnostic::error("too-large", needle.span, message).hint(hint));
        }
        Ok(())
    }

    fn find(&mut self, text: Copied, wanted: Copied, answer: Answer) -> Result<Value> {
        let slot = self.slot(2 * (wanted.mask + 1));
        let borders = self.slot_place(slot);
        let find = Find {
            wanted,
            borders: self.address(borders),
            at: self.b.variable(),
            same: self.b.variable(),
        };
        self.find_borders(&find)?;
        let zero = self.b.constant(0);
        self.b.write(find.at, zero);
        self.b.write(find.same, zero);
        self.passes(&find, text, |_, step| step.ended)?;
        let same = self.b.read(find.same);
        let byte = self.byte_of(wanted, same);
        let found = self.is_zero(byte);
        let at = self.b.read(find.at);
        let begin = self.b.binary(BinOp::Sub, at, same);
        Ok(self.answer(answer, found, begin))
    }

    /// Copies a string, so that any offset below a power of two may be read.
    fn copied(&mut self, string: &Expr, most: u32) -> Result<Copied> {
        let Type::Str { capacity } = string.ty else {
            return Err(unsupported(string.span, "a search in this type"));
        };
        let size = capacity.min(most);
        let room = size.max(2).next_power_of_two();
        let from = self.memory(string)?;
        let slot = self.slot(room);
        let to = self.slot_place(slot);
        self.copy_str(to, size, from);
        Ok(Copied {
            start: self.address(to),
            size,
            mask: room - 1,
        })
    }

    /// Finds the borders by looking for the string in itself, from its second byte on.
    fn find_borders(&mut self, find: &Find) -> Result<()> {
        let zero = self.b.constant(0);
        let one = self.b.constant(1);
        self.b.store(4, find.borders, 0, zero);
        // An empty one ends there.
        let first = self.b.load(1, false, find.wanted.start, 0);
        let empty = self.is_zero(first);
        let second = self.b.binary(BinOp::Xor, empty, one);
        self.b.write(find.at, second);
        self.b.write(find.same, zero);
        let border = self.b.variable();
        self.b.write(border, zero);
        self.passes(find, find.wanted, |lower, step| {
            let old = lower.b.read(border);
            let by = lower.b.binary(BinOp::Sub, step.same, old);
            let by = lower.b.binary(BinOp::Mul, by, step.moved);
            let new = lower.b.binary(BinOp::Add, old, by);
            lower.b.write(border, new);
            let entry = lower.border(find, step.at);
            lower.b.store(2, entry, 0, new);
            step.ended
        })?;
        // One that is found stays so.
        let at = self.b.read(find.at);
        let entry = self.border(find, at);
        self.b.store(2, entry, 0, at);
        Ok(())
    }

    /// Goes over a text until `each` gives one after the last step of a round, or all steps are done.
    fn passes(
        &mut self,
        find: &Find,
        text: Copied,
        mut each: impl FnMut(&mut Self, &Step) -> Value,
    ) -> Result<()> {
        let out = self.b.block();
        // Each step goes on in the text, or back in what is looked for, and no further back than it went on.
        let steps = 2 * text.size.saturating_sub(1);
        self.keep_state()?;
        self.rounds(steps.div_ceil(STEPS), |lower, _, _| {
            let mut ended = lower.b.constant(0);
            for _ in 0..STEPS {
                let step = lower.step_of(find, text);
                lower.b.write(find.at, step.at);
                lower.b.write(find.same, step.same);
                ended = each(lower, &step);
            }
            let zero = lower.b.constant(0);
            let on = lower.b.block();
            lower.b.branch(Cond::Ne, ended, zero, out, on);
            lower.enter(on);
            Ok(())
        })?;
        self.join(out);
        Ok(())
    }

    fn step_of(&mut self, find: &Find, text: Copied) -> Step {
        let one = self.b.constant(1);
        let at = self.b.read(find.at);
        let same = self.b.read(find.same);
        let have = self.byte_of(text, at);
        let wanted = self.byte_of(find.wanted, same);
        let border = self.border(find, same);
        let border = self.b.load(2, false, border, 0);
        let both = self.b.binary(BinOp::Mul, have, wanted);
        let ended = self.is_zero(both);
        let going = self.b.binary(BinOp::Xor, ended, one);
        let differ = self.b.binary(BinOp::Xor, have, wanted);
        let equal = self.is_zero(differ);
        let equal = self.b.binary(BinOp::And, equal, going);
        let at_first = self.is_zero(same);
        let at_first = self.b.binary(BinOp::And, at_first, going);
        let moved = self.b.binary(BinOp::Or, equal, at_first);
        let at = self.b.binary(BinOp::Add, at, moved);
        // One more where the bytes are equal, else what of it is left.
        let more = self.b.binary(BinOp::Add, same, one);
        let by = self.b.binary(BinOp::Sub, more, border);
        let by = self.b.binary(BinOp::Mul, by, equal);
        let same = self.b.binary(BinOp::Add, border, by);
        Step {
            at,
            same,
            moved,
            ended,
        }
    }

    /// Gives one for zero, and zero for other numbers below 2^63.
    pub(super) fn is_zero(&mut self, number: Value) -> Value {
        let one = self.b.constant(1);
        let sign = self.b.constant(63);
        let less = self.b.binary(BinOp::Sub, number, one);
        self.b.binary(BinOp::LShr, less, sign)
    }

    fn byte_of(&mut self, string: Copied, at: Value) -> Value {
        let mask = self.b.constant(i64::from(string.mask));
        let at = self.b.binary(BinOp::And, at, mask);
        let at = self.b.ptr_add_var(string.start, at, string.mask);
        self.b.load(1, false, at, 0)
    }

    fn border(&mut self, find: &Find, of: Value) -> Value {
        let mask = self.b.constant(i64::from(find.wanted.mask));
        let one = self.b.constant(1);
        let of = self.b.binary(BinOp::And, of, mask);
        let offset = self.b.binary(BinOp::Shl, of, one);
        self.b
            .ptr_add_var(find.borders, offset, 2 * find.wanted.mask)
    }
}
