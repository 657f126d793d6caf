//! Functions over strings and buffers, and helpers that the script calls by name.

use kscope_spec::{HelperId, helper};

use super::function::{Lower, Place, Result, unsupported};
use crate::hir::{Expr, ExprKind, Space, Type};
use crate::ir::{BinOp, Cond, Pointer, Value, kfunc};

impl Lower<'_> {
    /// Calls a helper with what the script gives it.
    pub(super) fn helper(&mut self, helper: HelperId, args: &[Expr]) -> Result<Value> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(match &arg.kind {
                ExprKind::CtxAddress => self.ctx(),
                ExprKind::ContextObject { offset, inside } => self.object(*offset, *inside),
                _ if arg.ty.is_scalar() => self.scalar(arg)?,
                _ => {
                    let place = self.memory(arg)?;
                    self.address(place)
                }
            });
        }
        Ok(self.b.call(helper, values))
    }

    /// Gives a pointer of the context as the verifier knows it.
    fn object(&mut self, offset: u32, inside: u32) -> Value {
        let ctx = self.ctx();
        let object = self.b.load_pointer(ctx, offset as i32, Pointer::Object);
        self.inside(object, inside)
    }

    fn inside(&mut self, object: Value, inside: u32) -> Value {
        match inside {
            0 => object,
            inside => self.b.ptr_add(object, inside),
        }
    }

    /// Writes the name of an open file; an empty one where the kernel cannot tell it.
    pub(super) fn path_of(&mut self, path: &Expr, to: Place, size: u32) -> Result<()> {
        let ExprKind::ContextObject { offset, inside } = path.kind else {
            return self.path_over_memory(path, to, size);
        };
        self.zero(to, size);
        // The objects of iterators may be missing.
        let ctx = self.ctx();
        let given = (self.b).load_pointer(ctx, offset as i32, Pointer::ObjectOrNull);
        let (absent, present) = (self.b.block(), self.b.block());
        self.b.branch_null(given, absent, present);
        self.enter(present);
        let object = self.b.non_null(given);
        let object = self.inside(object, inside);
        let address = self.address(to);
        let room = self.b.constant(i64::from(size));
        let args = vec![object, address, room];
        self.b.call(helper::D_PATH, args);
        self.join(absent);
        Ok(())
    }

    /// Writes a path that the interpreter finds: of a `struct path`, or of a directory entry.
    fn path_over_memory(&mut self, path: &Expr, to: Place, size: u32) -> Result<()> {
        let (helper, mut args) = match &path.kind {
            ExprKind::Helper { helper, args } if helper.0 == kfunc::DENTRY_PATH => {
                let args: Result<Vec<Value>> = args.iter().map(|arg| self.scalar(arg)).collect();
                (*helper, args?)
            }
            _ => (helper::D_PATH, vec![self.scalar(path)?]),
        };
        self.zero(to, size);
        args.push(self.address(to));
        args.push(self.b.constant(i64::from(size)));
        self.b.call(helper, args);
        Ok(())
    }

    /// Gives a number, or a limit where it is larger.
    fn at_most(&mut self, number: Value, limit: u32) -> Value {
        let most = self.b.constant(i64::from(limit));
        self.lesser(number, most)
    }

    fn lesser(&mut self, number: Value, most: Value) -> Value {
        let clamped = self.b.variable();
        self.b.write(clamped, number);
        let too_long = self.b.block();
        let end = self.b.block();
        self.b.branch(Cond::Ugt, number, most, too_long, end);
        self.enter(too_long);
        self.b.write(clamped, most);
        self.join(end);
        self.b.read(clamped)
    }

    /// Writes a buffer's length and reads its bytes.
    pub(super) fn read_buffer(
        &mut self,
        (address, space): (&Expr, Space),
        len: &Expr,
        to: Place,
        size: u32,
        pad: bool,
    ) -> Result<()> {
        let capacity = size.saturating_sub(4);
        let address = self.scalar(address)?;
        let len = self.scalar(len)?;
        let len = self.at_most(len, capacity);
        if pad {
            self.zero(to, size);
        }
        self.store(to, 4, len);
        let data = self.address(to.at(4));
        let helper = super::scalar::read_helper(space);
        self.b.call(helper, vec![data, len, address]);
        Ok(())
    }

    /// Writes how many bytes arguments have and how many of them are here, and reads these.
    pub(super) fn read_arguments(
        &mut self,
        (address, space): (&Expr, Space),
        (len, most): (&Expr, &Expr),
        to: Place,
        size: u32,
        pad: bool,
    ) -> Result<()> {
        let capacity = size.saturating_sub(8);
        let address = self.scalar(address)?;
        let len = self.scalar(len)?;
        let most = self.scalar(most)?;
        if pad {
            self.zero(to, size);
        }
        let all = self.at_most(len, u32::MAX);
        self.store(to, 4, all);
        let here = self.lesser(len, most);
        let here = self.at_most(here, capacity);
        self.store(to.at(4), 4, here);
        let data = self.address(to.at(8));
        let helper = super::scalar::read_helper(space);
        let failed = self.b.call(helper, vec![data, here, address]);
        let zero = self.b.constant(0);
        let (unread, end) = (self.b.block(), self.b.block());
        self.b.branch(Cond::Ne, failed, zero, unread, end);
        self.enter(unread);
        self.store(to.at(4), 4, zero);
        self.join(end);
        Ok(())
    }

    /// Makes a buffer of a value at hand.
    pub(super) fn buffer_of(
        &mut self,
        value: &Expr,
        len: &Expr,
        to: Place,
        size: u32,
    ) -> Result<()> {
        let capacity = size.saturating_sub(4);
        let len = self.scalar(len)?;
        let len = self.at_most(len, capacity);
        let from = self.memory(value)?;
        self.zero(to, size);
        self.store(to, 4, len);
        self.copy(to.at(4), from, value.ty.size().min(capacity));
        Ok(())
    }

    /// Gives the number of bytes before the NUL.
    pub(super) fn str_len(&mut self, string: &Expr) -> Result<Value> {
        if let ExprKind::Str(text) = &string.kind {
            return Ok(self.b.constant(text.len() as i64));
        }
        let size = string.ty.size();
        let place = self.memory(string)?;
        Ok(self.length(place, size))
    }

    /// Gives the length of a string, which has no NUL where it fills all its bytes.
    ///
    /// A helper looks for the NUL: a loop of the program would leave as many states of the verifier behind as the string
    /// has bytes, each with another length.
    fn length(&mut self, place: Place, size: u32) -> Value {
        let spare = self.slot(size);
        let spare = self.slot_place(spare);
        let read = self.copy_str(spare, size, place);
        let read = self.at_most(read, size);
        let length = self.b.variable();
        let one = self.b.constant(1);
        let before = self.b.binary(BinOp::Sub, read, one);
        self.b.write(length, before);
        let (filled, full, end) = (self.b.block(), self.b.block(), self.b.block());
        let most = self.b.constant(i64::from(size));
        self.b.branch(Cond::Eq, read, most, filled, end);
        self.enter(filled);
        let last = self.address(place.at(size.saturating_sub(1)));
        let last = self.b.load(1, false, last, 0);
        let zero = self.b.constant(0);
        self.b.branch(Cond::Ne, last, zero, full, end);
        self.enter(full);
        self.b.write(length, most);
        self.join(end);
        self.b.read(length)
    }

    /// Copies a string with its NUL, the last of the bytes being one in any case; gives how many bytes these are.
    pub(super) fn copy_str(&mut self, to: Place, size: u32, from: Place) -> Value {
        let to = self.address(to);
        self.copy_str_to(to, size, from)
    }

    fn copy_str_to(&mut self, to: Value, size: u32, from: Place) -> Value {
        let from = self.address(from);
        let from = self.b.ptr_to_int(from);
        let size = self.b.constant(i64::from(size));
        self.b
            .call(helper::PROBE_READ_KERNEL_STR, vec![to, size, from])
    }

    /// Writes two strings one behind the other.
    pub(super) fn concat(
        &mut self,
        first: &Expr,
        second: &Expr,
        to: Place,
        size: u32,
    ) -> Result<()> {
        let (Type::Str { capacity: one }, Type::Str { capacity: two }) = (&first.ty, &second.ty)
        else {
            return Err(unsupported(first.span, "this as a string"));
        };
        let (one, two) = (*one, *two);
        let spare = self.slot(one.saturating_add(two));
        let spare = self.slot_place(spare);
        self.zero(spare, one.saturating_add(two));
        let last = one.saturating_sub(1);
        let length = if let ExprKind::Str(text) = &first.kind {
            self.literal(text, spare, one, false);
            self.b.constant(text.len() as i64)
        } else {
            let first = self.memory(first)?;
            let read = self.copy_str(spare, one, first);
            let nul = self.b.constant(1);
            let length = self.b.binary(BinOp::Sub, read, nul);
            self.at_most(length, last)
        };
        let other = self.memory(second)?;
        let start = self.address(spare);
        let behind = self.b.ptr_add_var(start, length, last);
        self.copy_str_to(behind, two, other);
        self.zero(to, size);
        self.copy_str(to, size, spare);
        Ok(())
    }

    /// Gives the difference of the first bytes that differ.
    pub(super) fn difference(&mut self, len: u32, left: &Expr, right: &Expr) -> Result<Value> {
        let left = self.memory(left)?;
        let right = self.memory(right)?;
        let (a, b) = (self.address(left), self.address(right));
        let result = self.b.variable();
        let zero = self.b.constant(0);
        self.b.write(result, zero);
        let end = self.b.block();
        self.rounds(len, |lower, at, _| {
            let a = lower.b.ptr_add_var(a, at, len.saturating_sub(1));
            let b = lower.b.ptr_add_var(b, at, len.saturating_sub(1));
            let a = lower.b.load(1, false, a, 0);
            let b = lower.b.load(1, false, b, 0);
            let by = lower.b.binary(BinOp::Sub, a, b);
            lower.b.write(result, by);
            let zero = lower.b.constant(0);
            let on = lower.b.block();
            lower.b.branch(Cond::Eq, by, zero, on, end);
            lower.enter(on);
            Ok(())
        })?;
        self.join(end);
        Ok(self.b.read(result))
    }
}
