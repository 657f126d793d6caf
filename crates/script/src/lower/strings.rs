//! Strings: reading and comparing.

use kscope_spec::{HelperId, helper};

use super::function::{Lower, Place, Result, unsupported};
use crate::hir::{Expr, ExprKind, Int, Space, Type};
use crate::ir::{BinOp, Block, Cond, Value};

/// Bytes compared in a straight line; more are compared in a loop.
const STRAIGHT: u32 = 128;

impl Lower<'_> {
    /// Writes a literal and zeros up to `size`, or (without `pad`) up to the end of its last word.
    pub(super) fn literal(&mut self, text: &[u8], to: Place, size: u32, pad: bool) {
        let limit = size.saturating_sub(1) as usize;
        let text = &text[..text.len().min(limit)];
        let used = if pad {
            size
        } else {
            size.min(text.len() as u32 + 1)
        };
        let mut at = 0;
        while at < used {
            if at as usize >= text.len() {
                self.zero(to.at(at), used - at);
                break;
            }
            let place = to.at(at);
            let width = place.width(used - at);
            let word = self.b.constant(word(text, at as usize, width));
            self.b.store(width, place.base, place.offset, word);
            at += u32::from(width);
        }
    }

    /// Reads a string of at most `size` bytes with its NUL; one that is cut has no NUL, unless it is
    /// the script that asked for no more.
    pub(super) fn read_str(
        &mut self,
        to: Place,
        size: u32,
        from: Value,
        space: Space,
        len: Option<Value>,
    ) {
        let most = self.b.constant(i64::from(size));
        let asked = len;
        let len = match len {
            None => most,
            Some(len) => {
                let clamped = self.b.variable();
                self.b.write(clamped, len);
                let too_long = self.b.block();
                let end = self.b.block();
                self.b.branch(Cond::Ugt, len, most, too_long, end);
                self.enter(too_long);
                self.b.write(clamped, most);
                self.join(end);
                self.b.read(clamped)
            }
        };
        let start = self.address(to);
        let read = self.b.call(read_str_helper(space), vec![start, len, from]);
        self.tell_failed(read_str_helper(space), read);
        if size != self.program.config.max_strlen {
            return;
        }
        // One that fills its field lies there without a NUL: so it is seen to be cut.
        let filled = self.b.block();
        let end = self.b.block();
        if let Some(asked) = asked {
            let more = self.b.block();
            self.b.branch(Cond::Ugt, asked, most, more, end);
            self.enter(more);
        }
        self.b.branch(Cond::Eq, read, most, filled, end);
        self.enter(filled);
        let before = self.b.constant(i64::from(size) - 1);
        let last = self.b.binary(BinOp::Add, from, before);
        self.read_memory(to.at(size - 1), 1, last, space);
        self.join(end);
    }

    /// Reads the strings of a list of pointers up to the first null, one into each element.
    pub(super) fn read_strings(
        &mut self,
        expr: &Expr,
        list: &Expr,
        space: Space,
        to: Place,
    ) -> Result<()> {
        let Type::Array { element, len } = &expr.ty else {
            return Err(unsupported(expr.span, "this as a list of strings"));
        };
        let (room, len) = (element.size(), *len);
        let list = self.scalar(list)?;
        let start = self.address(to);
        let most = self.b.constant(i64::from(room));
        let zero = self.b.constant(0);
        let end = self.b.block();
        self.rounds(len, |lower, round, _| {
            let pointer_size = lower.b.constant(8);
            let offset = lower.b.binary(BinOp::Mul, round, pointer_size);
            let at = lower.b.binary(BinOp::Add, list, offset);
            let pointer = lower.read_scalar(at, Int::U64, space);
            let offset = lower.b.binary(BinOp::Mul, round, most);
            let element = lower
                .b
                .ptr_add_var(start, offset, room * len.saturating_sub(1));
            let last = lower.b.block();
            let some = lower.b.block();
            lower.b.branch(Cond::Eq, pointer, zero, last, some);
            lower.enter(last);
            lower.b.store(1, element, 0, zero);
            lower.b.jump(end);
            lower.enter(some);
            let args = vec![element, most, pointer];
            lower.b.call(read_str_helper(space), args);
            Ok(())
        })?;
        self.join(end);
        Ok(())
    }

    /// Makes a string of the bytes of an array, which need not end with a NUL.
    pub(super) fn string_of_bytes(
        &mut self,
        bytes: &Expr,
        to: Place,
        size: u32,
        pad: bool,
    ) -> Result<()> {
        let room = size.min(bytes.ty.size().saturating_add(1));
        let (address, space) = match &bytes.kind {
            ExprKind::ReadBytes { address, space } => (self.scalar(address)?, *space),
            ExprKind::CtxBytes { offset } => {
                let ctx = self.ctx_address();
                let offset = self.b.constant(i64::from(*offset));
                (self.b.binary(BinOp::Add, ctx, offset), Space::Kernel)
            }
            _ => {
                let place = self.memory(bytes)?;
                let address = self.address(place);
                (self.b.ptr_to_int(address), Space::Kernel)
            }
        };
        if pad {
            self.zero(to, size);
        }
        self.read_str(to, room, address, space, None);
        Ok(())
    }

    /// Copies a string into one of another capacity; it always ends with a NUL.
    pub(super) fn resize(&mut self, inner: &Expr, to: Place, size: u32, pad: bool) -> Result<()> {
        if let ExprKind::Str(text) = &inner.kind {
            self.literal(text, to, size, pad);
            return Ok(());
        }
        let from = self.memory(inner)?;
        let have = inner.ty.size();
        if size >= have {
            self.copy(to, from, have);
            self.zero(to.at(have), size - have);
        } else if size > 0 {
            self.copy(to, from, size - 1);
            self.zero(to.at(size - 1), 1);
        }
        Ok(())
    }

    /// Branches on the equality of two memory values.
    pub(super) fn compare_bytes(
        &mut self,
        len: u32,
        left: &Expr,
        right: &Expr,
        equal: Block,
        different: Block,
    ) -> Result<()> {
        let (left, right) = match left.kind {
            ExprKind::Str(_) => (right, left),
            _ => (left, right),
        };
        let len = len.min(left.ty.size()).min(right.ty.size());
        let place = self.memory(left)?;
        if let ExprKind::Str(text) = &right.kind {
            // Bytes after a NUL are zero, so that whole words may be compared.
            let len = len.min(text.len() as u32 + 1);
            self.compare_literal(place, text, len, different);
            self.b.jump(equal);
            return Ok(());
        }
        let other = self.memory(right)?;
        let straight = len.min(STRAIGHT);
        self.compare_straight(place, other, straight, different);
        if len > straight {
            let rest = len - straight;
            self.compare_loop(place.at(straight), other.at(straight), rest, different)?;
        }
        self.b.jump(equal);
        Ok(())
    }

    fn compare_literal(&mut self, place: Place, text: &[u8], len: u32, different: Block) {
        let mut at = 0;
        while at < len {
            let here = place.at(at);
            let width = here.width(len - at);
            let value = self.b.load(width, false, here.base, here.offset);
            let expected = self.b.constant(word(text, at as usize, width));
            self.go_on_if_equal(value, expected, different);
            at += u32::from(width);
        }
    }

    fn compare_straight(&mut self, left: Place, right: Place, len: u32, different: Block) {
        let mut at = 0;
        while at < len {
            let (l, r) = (left.at(at), right.at(at));
            let width = l.width(len - at).min(r.width(len - at));
            let a = self.b.load(width, false, l.base, l.offset);
            let b = self.b.load(width, false, r.base, r.offset);
            self.go_on_if_equal(a, b, different);
            at += u32::from(width);
        }
    }

    pub(super) fn go_on_if_equal(&mut self, left: Value, right: Value, different: Block) {
        let next = self.b.block();
        self.b.branch(Cond::Eq, left, right, next, different);
        self.enter(next);
    }

    fn compare_loop(
        &mut self,
        left: Place,
        right: Place,
        len: u32,
        different: Block,
    ) -> Result<()> {
        let width = left.width(8).min(right.width(8));
        let rounds = len / u32::from(width);
        let (a, b) = (self.address(left), self.address(right));
        self.rounds(rounds, |lower, round, _| {
            let scale = lower.b.constant(i64::from(width));
            let offset = lower.b.binary(BinOp::Mul, round, scale);
            let bound = rounds.saturating_sub(1) * u32::from(width);
            let a = lower.b.ptr_add_var(a, offset, bound);
            let b = lower.b.ptr_add_var(b, offset, bound);
            let a = lower.b.load(width, false, a, 0);
            let b = lower.b.load(width, false, b, 0);
            lower.go_on_if_equal(a, b, different);
            Ok(())
        })?;
        let done = rounds * u32::from(width);
        self.compare_straight(left.at(done), right.at(done), len - done, different);
        Ok(())
    }

    /// Gives the byte at an offset into `size` bytes, or goes to `end` where it is the NUL.
    pub(super) fn byte_before_nul(
        &mut self,
        start: Value,
        offset: Value,
        size: u32,
        end: Block,
    ) -> Value {
        let at = self.b.ptr_add_var(start, offset, size.saturating_sub(1));
        let byte = self.b.load(1, false, at, 0);
        let zero = self.b.constant(0);
        let more = self.b.block();
        self.b.branch(Cond::Eq, byte, zero, end, more);
        self.enter(more);
        byte
    }

    /// Branches on whether a string starts with another.
    pub(super) fn starts_with(
        &mut self,
        string: &Expr,
        prefix: &Expr,
        yes: Block,
        no: Block,
    ) -> Result<()> {
        let place = self.memory(string)?;
        if let ExprKind::Str(text) = &prefix.kind {
            let len = text.len() as u32;
            if len >= string.ty.size() {
                self.b.jump(no);
            } else {
                self.compare_literal(place, text, len, no);
                self.b.jump(yes);
            }
            return Ok(());
        }
        let other = self.memory(prefix)?;
        let capacity = string.ty.size().min(prefix.ty.size());
        let (start, other) = (self.address(place), self.address(other));
        self.rounds(capacity, |lower, round, _| {
            let wanted = lower.byte_before_nul(other, round, capacity, yes);
            let have = lower.b.ptr_add_var(start, round, capacity - 1);
            let have = lower.b.load(1, false, have, 0);
            lower.go_on_if_equal(have, wanted, no);
            Ok(())
        })?;
        self.b.jump(yes);
        Ok(())
    }
}

/// Gives `width` bytes of `text` from `at` on, zeros after its end, as a number.
fn word(text: &[u8], at: usize, width: u8) -> i64 {
    let mut bytes = [0u8; 8];
    for (i, byte) in bytes.iter_mut().take(usize::from(width)).enumerate() {
        *byte = text.get(at + i).copied().unwrap_or(0);
    }
    i64::from_ne_bytes(bytes)
}

/// Gives the helper that reads a string.
fn read_str_helper(space: Space) -> HelperId {
    match space {
        Space::Kernel => helper::PROBE_READ_KERNEL_STR,
        Space::User => helper::PROBE_READ_USER_STR,
    }
}
