//! Loops. Those over maps, and those over ranges that are long or not known before, are run by
//! helpers of the kernel; their bodies are callbacks, functions of their own.
//!
//! A callback is given the address of a slot on its caller's stack. Its first word leads to the
//! like slot of the caller's caller, or in the program itself to the context; the second says
//! that the whole program is to end; the others are the variables that are shared: numbers
//! themselves, all else by its address.

use std::rc::Rc;

use kscope_spec::helper;

use super::capture::BodyId;
use super::function::{Loop, Lower, Place, Result, VarPlace, unsupported};
use crate::diagnostic::Span;
use crate::hir::{Expr, ExprKind, MapRef, OPEN_RANGE_LIMIT, Stmt, StmtKind, Type, VarId};
use crate::ir::{BinOp, Builder, Cond, Function, Pointer, SlotId, Ty, Value};

/// Most rounds of a `for` over a range of constants that the verifier walks through.
const RANGE_LIMIT: i64 = 10_000;
/// Rounds up to which a range of constants is a loop of the program's own.
const SHORT_RANGE: i64 = 64;
/// Most rounds that the kernel's helper runs (`BPF_MAX_LOOPS`).
const HELPER_ROUNDS: i64 = 1 << 23;

/// Words of the slot that callbacks are given before those of variables.
const LINK: u32 = 0;
const LEAVE: u32 = 8;
const FIRST: u32 = 16;

/// The part of the state that is of one function.
#[derive(Debug)]
pub(super) struct Scope {
    /// Which function it is.
    pub(super) body: BodyId,
    /// The slot that its callbacks are given, where it has any.
    captured: Option<SlotId>,
    /// The slots of the functions around, the program's first.
    links: Vec<Value>,
    /// The program's context, where this is a callback.
    context: Option<Value>,
}

impl Scope {
    /// The scope of the program itself.
    pub(super) fn program() -> Scope {
        Scope {
            body: BodyId::PROGRAM,
            captured: None,
            links: Vec::new(),
            context: None,
        }
    }
}

/// Where the functions inside of a variable's owner find it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Number of the variable.
    index: usize,
    /// How many functions are around the owner.
    level: usize,
    /// Offset in the owner's slot for callbacks.
    word: u32,
}

/// Says whether the loop's body is a function of its own.
pub(super) fn is_function(has_loop: bool, statement: &Stmt) -> bool {
    match &statement.kind {
        StmtKind::ForMap { .. } => true,
        StmtKind::ForRange { start, end, .. } => {
            has_loop && rounds_of(start, end).is_none_or(|rounds| rounds > SHORT_RANGE)
        }
        _ => false,
    }
}

/// Gives how often a range of constants is gone through.
fn rounds_of(start: &Expr, end: &Expr) -> Option<i64> {
    match (&start.kind, &end.kind) {
        (ExprKind::Int(first), ExprKind::Int(last)) => Some(last.saturating_sub(*first).max(0)),
        _ => None,
    }
}

impl Lower<'_> {
    /// Gives the program's context.
    pub(super) fn ctx(&mut self) -> Value {
        match self.scope.context {
            Some(context) => context,
            None => self.b.ctx(),
        }
    }

    /// Declares the variables that the current function owns, and makes the slot that its
    /// callbacks are given.
    pub(super) fn declare_vars(&mut self) {
        let body = self.scope.body;
        let captures = Rc::clone(&self.captures);
        let children = captures.children(body);
        let level = self.scope.links.len();
        let mut shared = Vec::new();
        for index in 0..self.vars.len() {
            match captures.owned(VarId(index as u32), body) {
                None => {}
                Some(true) if children > 0 => shared.push(index),
                Some(_) => {
                    let ty = self.var_types[index].clone();
                    let in_memory = captures.has_address(VarId(index as u32)) && ty.is_scalar();
                    self.vars[index] = if in_memory {
                        let slot = self.slot(8);
                        let place = self.slot_place(slot);
                        self.zero(place, 8);
                        VarPlace::Cell(place)
                    } else {
                        self.declare(&ty)
                    };
                }
            }
        }
        if children == 0 {
            return;
        }
        let words = children + shared.len() as u32;
        let slot = self.slot_of_callback(FIRST + 8 * words);
        self.scope.captured = Some(slot);
        let base = self.b.slot_addr(slot);
        let link = match self.scope.links.last() {
            Some(outer) => *outer,
            None => self.b.ctx(),
        };
        self.b.store(8, base, LINK as i32, link);
        self.b.zero(base, LEAVE as i32, 8 + 8 * words);
        for (at, index) in shared.into_iter().enumerate() {
            let word = FIRST + 8 * (children + at as u32);
            self.cells.push(Cell { index, level, word });
            let ty = self.var_types[index].clone();
            self.vars[index] = if ty.is_scalar() {
                VarPlace::Cell(self.slot_place(slot).at(word))
            } else {
                let place = self.declare(&ty);
                if let VarPlace::Slot(memory) = place {
                    let address = self.b.slot_addr(memory);
                    self.b.store(8, base, word as i32, address);
                }
                place
            };
        }
    }

    /// Makes the variables of the functions around known in a callback.
    fn take_vars(&mut self) {
        self.vars = vec![VarPlace::Absent; self.var_types.len()];
        for cell in self.cells.clone() {
            let Some(base) = self.scope.links.get(cell.level).copied() else {
                continue;
            };
            let place = Place {
                base,
                offset: 0,
                align: 8,
            };
            let ty = &self.var_types[cell.index];
            self.vars[cell.index] = if ty.is_scalar() {
                VarPlace::Cell(place.at(cell.word))
            } else {
                let size = ty.size().max(1).next_multiple_of(8);
                let pointer = Pointer::Outer(size);
                let base = self.b.load_pointer(base, cell.word as i32, pointer);
                VarPlace::Outer(Place { base, ..place })
            };
        }
    }

    /// Makes the body of a loop a callback and calls the helper that runs it.
    fn run(
        &mut self,
        statement: &Stmt,
        arguments: Vec<Ty>,
        work: impl FnOnce(&mut Self, Value, Loop) -> Result<()>,
        call: impl FnOnce(&mut Self, Value, Value),
    ) -> Result<()> {
        let body = self.captures.body(statement);
        let (Some(body), Some(given)) = (body, self.scope.captured) else {
            return Err(unsupported(statement.span, "this loop"));
        };
        let (callback, leaves) = self.callback(body, given, arguments, work)?;
        let callback = self.b.call_back(callback);
        let given = self.b.slot_addr(given);
        self.forget();
        call(self, callback, given);
        self.forget();
        if leaves {
            let leave = self.b.load(8, false, given, LEAVE as i32);
            let zero = self.b.constant(0);
            let on = self.b.block();
            let exit = self.exit;
            self.b.branch(Cond::Ne, leave, zero, exit, on);
            self.enter(on);
        }
        Ok(())
    }

    /// Takes from the verifier what it knows of the numbers that callbacks share: before Linux 6.7
    /// it goes through a callback once, as if it ran once, and drops branches by what it thinks
    /// then. What a helper has written is unknown to it.
    fn forget(&mut self) {
        let mut slots = self.scope.links.clone();
        if let Some(slot) = self.scope.captured {
            slots.push(self.b.slot_addr(slot));
        }
        let mut words: Vec<(Value, u32)> = slots.iter().map(|slot| (*slot, LEAVE)).collect();
        for cell in &self.cells {
            if let (Some(slot), true) = (
                slots.get(cell.level),
                self.var_types[cell.index].is_scalar(),
            ) {
                words.push((*slot, cell.word));
            }
        }
        for (slot, word) in words {
            let at = self.b.ptr_add(slot, word);
            let len = self.b.constant(8);
            self.b.call(helper::PROBE_READ_KERNEL, vec![at, len, at]);
        }
    }

    /// Lowers a callback, and says whether it may end the whole program.
    fn callback(
        &mut self,
        body: BodyId,
        given: SlotId,
        mut arguments: Vec<Ty>,
        work: impl FnOnce(&mut Self, Value, Loop) -> Result<()>,
    ) -> Result<(Function, bool)> {
        let size = self.b.slot_size(given);
        let last = arguments.len() as u8;
        arguments.push(Ty::Ptr(Pointer::Captured(size)));
        let span = self.b.span();
        let name = format!("{}_loop{}", self.name, body.0);
        let outer_b = std::mem::replace(&mut self.b, Builder::callback(&name, arguments));
        self.b.at(span);
        let exit = self.b.block();
        let outer_exit = std::mem::replace(&mut self.exit, exit);
        let outer_ids = self.ids.take();
        let outer_loops = std::mem::take(&mut self.loops);
        let outer_scratch = std::mem::take(&mut self.scratch);
        let outer_vars = self.vars.clone();
        let known = self.cells.len();

        let argument = self.b.argument(last);
        let mut links = vec![argument];
        for size in self.sizes.iter().rev() {
            let inner = links.last().copied().unwrap_or(argument);
            let pointer = Pointer::Captured(*size);
            links.push(self.b.load_pointer(inner, LINK as i32, pointer));
        }
        links.reverse();
        let root = links.first().copied().unwrap_or(argument);
        let context = self.b.load_pointer(root, LINK as i32, Pointer::Ctx);
        let scope = Scope {
            body,
            captured: None,
            links,
            context: Some(context),
        };
        let outer_scope = std::mem::replace(&mut self.scope, scope);
        self.sizes.push(size);
        self.take_vars();
        self.declare_vars();

        let around = Loop {
            next: self.b.block(),
            end: self.b.block(),
        };
        let result = work(self, argument, around);
        self.join(around.next);
        self.b.ret(0);
        self.enter(around.end);
        self.b.ret(1);
        // The whole program ends: the function around looks at the word.
        let leaves = self.b.is_reached(exit);
        self.enter(exit);
        let one = self.b.constant(1);
        self.b.store(8, argument, LEAVE as i32, one);
        self.b.ret(1);

        self.cells.truncate(known);
        self.sizes.pop();
        self.scope = outer_scope;
        self.vars = outer_vars;
        self.loops = outer_loops;
        self.scratch = outer_scratch;
        self.ids = outer_ids;
        self.exit = outer_exit;
        let inner = std::mem::replace(&mut self.b, outer_b);
        result?;
        Ok((inner.finish(), leaves))
    }

    /// `len(@m)`: the helper tells how often it called back.
    pub(super) fn map_len(&mut self, map: MapRef) -> Value {
        let id = self.tables.script_map(map);
        let slot = self.slot_of_callback(8);
        let given = self.slot_place(slot);
        self.zero(given, 8);
        let mut arguments: Vec<Ty> = [Pointer::Map(id), Pointer::MapKey(id), Pointer::MapValue(id)]
            .map(Ty::Ptr)
            .into();
        arguments.push(Ty::Ptr(Pointer::Captured(8)));
        let mut round = Builder::callback(&format!("{}_len", self.name), arguments);
        round.at(self.b.span());
        round.ret(0);
        let callback = self.b.call_back(round.finish());
        let map = self.b.map(id);
        let flags = self.b.constant(0);
        let args = vec![map, callback, given.base, flags];
        self.b.call(helper::FOR_EACH_MAP_ELEM, args)
    }

    /// A loop over the entries of a map.
    pub(super) fn for_map(
        &mut self,
        statement: &Stmt,
        var: VarId,
        map: MapRef,
        body: &[Stmt],
    ) -> Result<()> {
        let id = self.tables.script_map(map);
        let pointers = [Pointer::Map(id), Pointer::MapKey(id), Pointer::MapValue(id)];
        let arguments = pointers.map(Ty::Ptr).into();
        let work = |lower: &mut Self, _, around| {
            lower.entry(var, map, statement.span)?;
            lower.loop_body(body, around)
        };
        self.run(statement, arguments, work, |lower, callback, given| {
            let map = lower.b.map(id);
            let flags = lower.b.constant(0);
            let args = vec![map, callback, given, flags];
            lower.b.call(helper::FOR_EACH_MAP_ELEM, args);
        })
    }

    /// Puts the entry that a round is for into the loop's variable.
    fn entry(&mut self, var: VarId, map: MapRef, span: Span) -> Result<()> {
        let (Type::Tuple(fields), VarPlace::Slot(slot)) =
            (&self.var_types[var.0 as usize].clone(), self.var(var))
        else {
            return Err(unsupported(span, "this loop variable"));
        };
        let [key, value] = &**fields else {
            return Err(unsupported(span, "this loop variable"));
        };
        let from = |base| Place {
            base,
            offset: 0,
            align: 8,
        };
        let pointer = self.b.argument(1);
        let to = self.slot_place(slot);
        self.copy(to.at(key.offset), from(pointer), key.ty.size());
        if super::is_aggregation(&self.program.maps[map.0 as usize].value) {
            let size = super::maps::key_size(key.ty.size());
            let key = self.slot(size);
            let key = self.slot_place(key);
            self.copy(key, from(pointer), size);
            let number = self.aggregate_at(map, key, &value.ty, span)?;
            let bytes = value.ty.scalar_int().map_or(8, |int| int.bytes);
            let to = self.slot_place(slot).at(value.offset);
            self.store(to, bytes, number);
        } else {
            let pointer = self.b.argument(2);
            self.copy(to.at(value.offset), from(pointer), value.ty.size());
        }
        Ok(())
    }

    /// A loop over a range.
    pub(super) fn for_range(
        &mut self,
        statement: &Stmt,
        var: VarId,
        start: &Expr,
        end: &Expr,
        body: &[Stmt],
    ) -> Result<()> {
        if self.captures.body(statement).is_some() {
            return self.helped_range(statement, var, start, end, body);
        }
        let span = statement.span;
        let (ExprKind::Int(first), Some(rounds)) = (&start.kind, rounds_of(start, end)) else {
            return self.open_range(var, start, end, body, span);
        };
        if rounds > RANGE_LIMIT {
            return Err(unsupported(
                span,
                &format!("a range of more than {RANGE_LIMIT} rounds"),
            ));
        }
        let first = *first;
        self.rounds(rounds as u32, |lower, round, around| {
            let first = lower.b.constant(first);
            let value = lower.b.binary(BinOp::Add, round, first);
            lower.write_var(var, value, span)?;
            lower.loop_body(body, around)
        })
    }

    /// A range whose bounds are known when it runs: the verifier wants a limit all the same.
    fn open_range(
        &mut self,
        var: VarId,
        start: &Expr,
        end: &Expr,
        body: &[Stmt],
        span: Span,
    ) -> Result<()> {
        let first = self.scalar(start)?;
        let last = self.scalar(end)?;
        let done = self.b.block();
        self.rounds(OPEN_RANGE_LIMIT, |lower, round, around| {
            let value = lower.b.binary(BinOp::Add, first, round);
            let inside = lower.b.block();
            lower.b.branch(Cond::Slt, value, last, inside, done);
            lower.enter(inside);
            lower.write_var(var, value, span)?;
            let around = Loop {
                end: done,
                ..around
            };
            lower.loop_body(body, around)
        })?;
        // All rounds are used up; tell it where the range goes on.
        let limit = self.b.constant(i64::from(OPEN_RANGE_LIMIT));
        let next = self.b.binary(BinOp::Add, first, limit);
        let cut = self.b.block();
        self.b.branch(Cond::Slt, next, last, cut, done);
        self.enter(cut);
        self.warn(
            &format!("for over a range ended after {OPEN_RANGE_LIMIT} rounds: more only with constant bounds"),
            span,
        );
        self.join(done);
        Ok(())
    }

    /// A range that the kernel's helper goes through.
    fn helped_range(
        &mut self,
        statement: &Stmt,
        var: VarId,
        start: &Expr,
        end: &Expr,
        body: &[Stmt],
    ) -> Result<()> {
        let span = statement.span;
        let first = self.scalar(start)?;
        let last = self.scalar(end)?;
        let some = self.b.block();
        let done = self.b.block();
        self.b.branch(Cond::Slt, first, last, some, done);
        self.enter(some);
        // The first value is a word of its own beside the variables.
        let body_id = self.captures.body(statement);
        let word = body_id.map_or(0, |id| self.captures.place_among_children(id));
        let at = (FIRST + 8 * word) as i32;
        if let Some(slot) = self.scope.captured {
            let base = self.b.slot_addr(slot);
            self.b.store(8, base, at, first);
        }
        let count = self.b.binary(BinOp::Sub, last, first);
        let limit = self.b.constant(HELPER_ROUNDS);
        let long = self.b.block();
        let go = self.b.block();
        let rounds = self.b.variable();
        self.b.write(rounds, count);
        self.b.branch(Cond::Ugt, count, limit, long, go);
        self.enter(long);
        self.warn(
            &format!(
                "for over a range ended after {HELPER_ROUNDS} rounds, the most that the kernel runs"
            ),
            span,
        );
        self.b.write(rounds, limit);
        self.join(go);
        let rounds = self.b.read(rounds);
        let work = |lower: &mut Self, given, around| {
            let round = lower.b.argument(0);
            let first = lower.b.load(8, false, given, at);
            let value = lower.b.binary(BinOp::Add, first, round);
            lower.write_var(var, value, span)?;
            lower.loop_body(body, around)
        };
        self.run(statement, vec![Ty::I64], work, |lower, callback, given| {
            let flags = lower.b.constant(0);
            let args = vec![rounds, callback, given, flags];
            lower.b.call(helper::LOOP, args);
        })?;
        self.join(done);
        Ok(())
    }

    pub(super) fn repeat(&mut self, count: u32, body: &[Stmt]) -> Result<()> {
        for _ in 0..count {
            let next = self.b.block();
            let end = self.b.block();
            self.loop_body(body, Loop { next, end })?;
            self.join(next);
            self.join(end);
        }
        Ok(())
    }

    pub(super) fn while_loop(&mut self, condition: &Expr, body: &[Stmt]) -> Result<()> {
        let head = self.b.block();
        let inside = self.b.block();
        let end = self.b.block();
        self.b.jump(head);
        self.b.switch_to(head);
        self.condition(condition, inside, end)?;
        self.enter(inside);
        self.loop_body(body, Loop { next: head, end })?;
        self.b.jump(head);
        self.b.seal(head);
        self.enter(end);
        Ok(())
    }

    fn loop_body(&mut self, body: &[Stmt], around: Loop) -> Result<()> {
        self.loops.push(around);
        let result = self.statements(body);
        self.loops.pop();
        result
    }

    pub(super) fn leave_loop(
        &mut self,
        span: Span,
        to: impl Fn(&Loop) -> crate::ir::Block,
    ) -> Result<()> {
        let Some(block) = self.loops.last().map(to) else {
            return Err(unsupported(span, "a jump outside of a loop"));
        };
        self.b.jump(block);
        Ok(())
    }
}
