//! Instruction selection: the IR becomes instructions over virtual registers.

use std::collections::HashMap;

use kscope_spec::insn::{AluOp, Cond as Test, Width};

use super::facts::{self, Fact};
use super::frame::Home;
use super::lir::{B, Block, Code, End, Ins, Operand, Source, V};
use super::{Emit, EmitError};
use crate::diagnostic::Span;
use crate::ir::{Cond, Function, Inst, Op, Target, Terminator, Value, bounded, reverse_postorder};

/// The state of selection.
pub(super) struct Select<'a> {
    pub(super) function: &'a Function,
    pub(super) code: Code,
    pub(super) defs: Vec<Option<&'a Op>>,
    pub(super) facts: Vec<Fact>,
    pub(super) homes: Vec<Home>,
    uses: Vec<u32>,
    regs: Vec<Option<V>>,
    bounded: Vec<bool>,
    blocks: Vec<Option<B>>,
    pub(super) scratch: Option<V>,
    pub(super) ctx: Option<V>,
    pub(super) current: B,
    /// Registers that hold constants and addresses, since the last call or block start.
    cache: HashMap<Source, V>,
    span: Span,
}

/// Selects instructions; slots take at most `budget` bytes of the frame.
pub(super) fn select(function: &Function, request: &Emit, budget: u32) -> Result<Code, EmitError> {
    if function.blocks.is_empty() {
        return Err(EmitError::Malformed("no block"));
    }
    let order = reverse_postorder(function);
    let order: Vec<usize> = order.iter().map(|block| block.index()).collect();
    let mut select = Select::new(function, &order);
    select.place_slots(request, budget)?;
    select.prologue(request)?;
    for index in &order {
        select.block(*index)?;
    }
    let mut bounded = vec![false; select.code.registers as usize];
    for (value, reg) in select.regs.iter().enumerate() {
        if let Some(reg) = reg {
            bounded[reg.index()] |= select.bounded[value];
        }
    }
    select.code.bounded = bounded;
    Ok(select.code)
}

impl<'a> Select<'a> {
    fn new(function: &'a Function, order: &[usize]) -> Self {
        let count = function.values.len();
        let mut defs = vec![None; count];
        let mut uses = vec![0; count];
        for index in order {
            let block = &function.blocks[*index];
            for inst in &block.insts {
                if let Some(result) = inst.result {
                    defs[result.index()] = Some(&inst.op);
                }
                inst.op.uses(|v| uses[v.index()] += 1);
            }
            block.end.uses(|v| uses[v.index()] += 1);
        }
        Select {
            function,
            code: Code::default(),
            defs,
            facts: facts::find(function, order),
            homes: vec![Home::Unused; function.slots.len()],
            uses,
            regs: vec![None; count],
            bounded: bounded(function),
            blocks: vec![None; function.blocks.len()],
            scratch: None,
            ctx: None,
            current: B(0),
            cache: HashMap::new(),
            span: function.blocks[0]
                .insts
                .first()
                .map_or(function.blocks[0].span, |i| i.span),
        }
    }

    fn block(&mut self, index: usize) -> Result<(), EmitError> {
        let data = &self.function.blocks[index];
        let block = self.block_of(index);
        self.enter(block);
        for inst in &data.insts {
            self.span = inst.span;
            self.inst(inst)?;
        }
        self.span = data.span;
        self.terminator(&data.end)
    }

    fn inst(&mut self, inst: &Inst) -> Result<(), EmitError> {
        let unused = inst.result.is_none_or(|v| self.uses[v.index()] == 0);
        if unused && inst.op.is_pure() {
            return Ok(());
        }
        match (&inst.op, inst.result) {
            // These have no code of their own: their users take them as sources.
            (
                Op::Const(_)
                | Op::Late(_)
                | Op::Layout(_)
                | Op::Ctx
                | Op::Argument(_)
                | Op::Callback(_)
                | Op::SlotAddr(_)
                | Op::MapRef(_)
                | Op::MapValueAddr { .. }
                | Op::NonNull(_)
                | Op::PtrToInt(_),
                _,
            ) => Ok(()),
            (Op::PtrAdd { base, offset, .. }, Some(result)) => {
                if self.constant(*offset).is_none() {
                    let dst = self.reg(result)?;
                    let base = self.source(*base)?;
                    let offset = self.reg(*offset)?;
                    self.put(Ins::Move { dst, src: base });
                    self.alu(AluOp::Add, dst, Operand::Reg(offset));
                }
                Ok(())
            }
            (Op::Binary(op, left, right), Some(result)) => self.binary(*op, result, *left, *right),
            (Op::Compare(cond, left, right), Some(result)) => {
                self.compare(*cond, result, *left, *right)
            }
            (
                Op::Extend {
                    bytes,
                    signed,
                    value,
                },
                Some(result),
            ) => self.extend(*bytes, *signed, *value, result),
            (Op::ByteSwap { bytes, value }, Some(result)) => {
                let dst = self.reg(result)?;
                let src = self.source(*value)?;
                self.put(Ins::Move { dst, src });
                match bytes {
                    2 | 4 | 8 => self.put(Ins::Swap {
                        bits: bytes * 8,
                        dst,
                    }),
                    _ => return Err(EmitError::Malformed("bytes of a byte swap")),
                }
                Ok(())
            }
            (
                Op::Load {
                    bytes,
                    signed,
                    base,
                    offset,
                },
                Some(result),
            ) => {
                let dst = self.reg(result)?;
                self.load(*bytes, *signed, dst, *base, *offset)
            }
            (
                Op::LoadAt {
                    bytes,
                    signed,
                    base,
                    offset,
                },
                Some(result),
            ) => {
                let dst = self.reg(result)?;
                self.load_at(*bytes, *signed, dst, *base, *offset)
            }
            (
                Op::Store {
                    bytes,
                    base,
                    offset,
                    value,
                },
                None,
            ) => self.store(*bytes, *base, *offset, *value),
            (
                Op::Atomic {
                    op,
                    bytes,
                    base,
                    offset,
                    value,
                },
                None,
            ) => self.atomic(*op, *bytes, (*base, *offset), *value),
            (
                Op::AtomicFetchAdd {
                    base,
                    offset,
                    value,
                },
                Some(result),
            ) => {
                let place = self.place(*base, *offset)?;
                let src = self.source(*value)?;
                let dst = self.reg(result)?;
                self.put(Ins::Move { dst, src });
                self.put(Ins::FetchAdd {
                    base: place.base,
                    offset: place.offset,
                    dst,
                });
                Ok(())
            }
            (Op::Zero { base, offset, len }, None) => self.zero(*base, *offset, *len),
            (
                Op::Copy {
                    to,
                    to_offset,
                    from,
                    from_offset,
                    len,
                },
                None,
            ) => self.copy((*to, *to_offset), (*from, *from_offset), *len),
            (Op::Call { helper, args }, result) => self.call(*helper, args, result),
            _ => Err(EmitError::Malformed("result of an instruction")),
        }
    }

    fn call(
        &mut self,
        helper: u32,
        args: &[Value],
        result: Option<Value>,
    ) -> Result<(), EmitError> {
        if args.len() > 5 {
            return Err(EmitError::Malformed("more than five arguments"));
        }
        let args = args
            .iter()
            .map(|a| self.source(*a))
            .collect::<Result<Vec<_>, _>>()?;
        let result = match result {
            Some(v) if self.uses[v.index()] > 0 => Some(self.reg(v)?),
            _ => None,
        };
        self.put(Ins::Call {
            helper,
            args,
            result,
        });
        self.cache.clear();
        Ok(())
    }

    fn terminator(&mut self, end: &Terminator) -> Result<(), EmitError> {
        let end = match end {
            Terminator::Return(value) => End::Exit(self.source(*value)?),
            Terminator::Jump(target) => {
                self.moves(target)?;
                End::Jump(self.block_of(target.block.index()))
            }
            Terminator::BranchNull {
                pointer,
                null,
                present,
            } => {
                let left = self.reg(*pointer)?;
                let then = self.edge(null)?;
                let otherwise = self.edge(present)?;
                End::Branch {
                    cond: Test::Eq,
                    left,
                    right: Operand::Imm(0),
                    then,
                    otherwise,
                    seldom: true,
                }
            }
            Terminator::Branch {
                cond,
                left,
                right,
                then,
                otherwise,
            } => {
                let (mut cond, mut left, mut right) = self.fuse(*cond, *left, *right);
                if let (Some(a), Some(b)) = (self.constant(left), self.constant(right)) {
                    let target = if cond.holds(a, b) { then } else { otherwise };
                    self.moves(target)?;
                    let target = self.block_of(target.block.index());
                    self.end(End::Jump(target));
                    return Ok(());
                }
                if self.constant(left).is_some() {
                    (cond, left, right) = (cond.swapped(), right, left);
                }
                let left = self.reg(left)?;
                let right = self.operand(right)?;
                let then = self.edge(then)?;
                let otherwise = self.edge(otherwise)?;
                End::Branch {
                    cond: test(cond),
                    left,
                    right,
                    then,
                    otherwise,
                    seldom: false,
                }
            }
        };
        self.end(end);
        Ok(())
    }

    /// Looks through a comparison whose result is compared with 0 or 1.
    fn fuse(&self, cond: Cond, left: Value, right: Value) -> (Cond, Value, Value) {
        let (mut cond, mut left, mut right) = (cond, left, right);
        loop {
            if self.constant(left).is_some() && self.constant(right).is_none() {
                (cond, left, right) = (cond.swapped(), right, left);
            }
            let Some(Op::Compare(inner, a, b)) = self.defs[left.index()] else {
                return (cond, left, right);
            };
            let holds = match (cond, self.constant(right)) {
                (Cond::Ne | Cond::Ugt | Cond::Sgt, Some(0)) => true,
                (Cond::Eq | Cond::Ule | Cond::Sle, Some(0)) => false,
                (Cond::Eq | Cond::Uge | Cond::Sge, Some(1)) => true,
                (Cond::Ne | Cond::Ult | Cond::Slt, Some(1)) => false,
                _ => return (cond, left, right),
            };
            cond = if holds { *inner } else { inner.negated() };
            (left, right) = (*a, *b);
        }
    }

    /// Moves the arguments of a jump into the parameters of its target.
    fn moves(&mut self, target: &Target) -> Result<(), EmitError> {
        let function = self.function;
        let params = &function.blocks[target.block.index()].params;
        if params.len() != target.args.len() {
            return Err(EmitError::Malformed("number of arguments of a jump"));
        }
        let mut moves = Vec::new();
        for (param, arg) in params.iter().zip(&target.args) {
            if self.uses[param.index()] == 0 {
                continue;
            }
            let dst = self.reg(*param)?;
            let src = match self.source(*arg)? {
                Source::Sum(..) | Source::Frame(..) => Source::Reg(self.reg(*arg)?),
                src => src,
            };
            if src != Source::Reg(dst) {
                moves.push((dst, src));
            }
        }
        if !moves.is_empty() {
            self.put(Ins::Parallel(moves));
        }
        Ok(())
    }

    /// Gives the block that a branch goes to: one of its own where arguments are moved.
    fn edge(&mut self, target: &Target) -> Result<B, EmitError> {
        if target.args.is_empty() {
            return Ok(self.block_of(target.block.index()));
        }
        let back = self.current;
        let cache = std::mem::take(&mut self.cache);
        let edge = self.new_block();
        self.current = edge;
        self.moves(target)?;
        let block = self.block_of(target.block.index());
        self.end(End::Jump(block));
        self.current = back;
        self.cache = cache;
        Ok(edge)
    }

    /// Gives the constant that a value is.
    pub(super) fn constant(&self, value: Value) -> Option<i64> {
        match self.defs[value.index()] {
            Some(Op::Const(c)) => Some(*c),
            _ => None,
        }
    }

    /// Gives the constant that is added to a pointer. One above the bound stands in code that a
    /// check never lets run; the bound takes its place there.
    pub(super) fn distance(&self, offset: Value, bound: u32) -> Option<i64> {
        let constant = self.constant(offset)?;
        let inside = u32::try_from(constant).is_ok_and(|c| c <= bound);
        Some(if inside { constant } else { i64::from(bound) })
    }

    /// Gives what a user of the value moves or addresses.
    pub(super) fn source(&mut self, value: Value) -> Result<Source, EmitError> {
        // Constant parts of addresses are collected on the way to the root.
        let (mut value, mut sum) = (value, 0_i64);
        let root = loop {
            match self.defs[value.index()] {
                Some(Op::NonNull(of) | Op::PtrToInt(of)) => value = *of,
                Some(Op::PtrAdd {
                    base,
                    offset,
                    bound,
                }) => match self.distance(*offset, *bound) {
                    Some(c) => {
                        sum = sum.wrapping_add(c);
                        value = *base;
                    }
                    None => break Source::Reg(self.register(value)),
                },
                Some(Op::Const(c)) => break Source::Const(*c),
                Some(Op::Late(id)) => break Source::Late(*id),
                Some(Op::Layout(layout)) => break Source::Layout(*layout),
                Some(Op::MapRef(map)) => break Source::Map(*map),
                Some(Op::MapValueAddr { map, offset }) => break Source::MapValue(*map, *offset),
                Some(Op::Callback(index)) => break Source::Callback(*index),
                Some(Op::Ctx) => {
                    let ctx = self.ctx.ok_or(EmitError::Malformed("no context"))?;
                    break Source::Reg(ctx);
                }
                Some(Op::SlotAddr(slot)) => break self.slot(slot.index())?,
                _ => break Source::Reg(self.register(value)),
            }
        };
        if sum == 0 {
            return Ok(root);
        }
        let add = |to: i64| i32::try_from(to + sum).map_err(|_| EmitError::Offset(to + sum));
        if sum.unsigned_abs() > u64::from(u32::MAX) {
            return Err(EmitError::Offset(sum));
        }
        match root {
            Source::Reg(v) => Ok(Source::Sum(v, add(0)?)),
            Source::Sum(v, k) => Ok(Source::Sum(v, add(i64::from(k))?)),
            Source::Frame(slot, k) => Ok(Source::Frame(slot, add(i64::from(k))?)),
            Source::MapValue(map, k) => {
                let offset = i64::from(k) + sum;
                let offset = u32::try_from(offset).map_err(|_| EmitError::Offset(offset))?;
                Ok(Source::MapValue(map, offset))
            }
            Source::Const(_)
            | Source::Late(_)
            | Source::Layout(_)
            | Source::Map(_)
            | Source::Callback(_) => Err(EmitError::Malformed("addition to what is no pointer")),
        }
    }

    fn slot(&self, slot: usize) -> Result<Source, EmitError> {
        match self.homes[slot] {
            Home::Frame(slot) => Ok(Source::Frame(slot, 0)),
            Home::Scratch(offset) => {
                let scratch = self.scratch.ok_or(EmitError::Malformed("no scratch"))?;
                let offset =
                    i32::try_from(offset).map_err(|_| EmitError::Offset(i64::from(offset)))?;
                Ok(if offset == 0 {
                    Source::Reg(scratch)
                } else {
                    Source::Sum(scratch, offset)
                })
            }
            Home::Unused => Err(EmitError::Malformed("slot without a home")),
        }
    }

    /// Gives the register that belongs to a value.
    pub(super) fn register(&mut self, value: Value) -> V {
        if let Some(v) = self.regs[value.index()] {
            return v;
        }
        let v = self.code.register();
        self.regs[value.index()] = Some(v);
        v
    }

    /// Gives a register that holds the value.
    pub(super) fn reg(&mut self, value: Value) -> Result<V, EmitError> {
        let source = self.source(value)?;
        Ok(self.hold(source))
    }

    /// Gives a register that holds the source.
    pub(super) fn hold(&mut self, source: Source) -> V {
        if let Source::Reg(v) = source {
            return v;
        }
        if let Some(v) = self.cache.get(&source) {
            return *v;
        }
        let v = self.code.register();
        self.put(Ins::Move {
            dst: v,
            src: source,
        });
        self.cache.insert(source, v);
        v
    }

    /// Gives the value as a second operand: small constants as immediates.
    pub(super) fn operand(&mut self, value: Value) -> Result<Operand, EmitError> {
        match self.constant(value).map(i32::try_from) {
            Some(Ok(imm)) => Ok(Operand::Imm(imm)),
            _ => Ok(Operand::Reg(self.reg(value)?)),
        }
    }

    pub(super) fn put(&mut self, ins: Ins) {
        self.code.blocks[self.current.index()]
            .ins
            .push((ins, self.span));
    }

    pub(super) fn alu(&mut self, op: AluOp, dst: V, src: Operand) {
        self.put(Ins::Alu {
            width: Width::W64,
            op,
            dst,
            src,
        });
    }

    pub(super) fn copy_of(&mut self, source: Source) -> V {
        let v = self.code.register();
        self.put(Ins::Move {
            dst: v,
            src: source,
        });
        v
    }

    pub(super) fn end(&mut self, end: End) {
        let block = &mut self.code.blocks[self.current.index()];
        block.end = end;
        block.span = self.span;
    }

    pub(super) fn enter(&mut self, block: B) {
        self.current = block;
        self.cache.clear();
    }

    pub(super) fn new_block(&mut self) -> B {
        self.code.blocks.push(Block {
            ins: Vec::new(),
            end: End::Exit(Source::Const(0)),
            span: self.span,
        });
        B(self.code.blocks.len() as u32 - 1)
    }

    pub(super) fn block_of(&mut self, index: usize) -> B {
        if let Some(block) = self.blocks[index] {
            return block;
        }
        let block = self.new_block();
        self.blocks[index] = Some(block);
        block
    }
}

fn test(cond: Cond) -> Test {
    match cond {
        Cond::Eq => Test::Eq,
        Cond::Ne => Test::Ne,
        Cond::Ult => Test::Lt,
        Cond::Ule => Test::Le,
        Cond::Ugt => Test::Gt,
        Cond::Uge => Test::Ge,
        Cond::Slt => Test::Slt,
        Cond::Sle => Test::Sle,
        Cond::Sgt => Test::Sgt,
        Cond::Sge => Test::Sge,
    }
}
