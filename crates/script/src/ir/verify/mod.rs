//! The rules of the IR, checked: one definition per value that dominates its uses, types, and
//! what pointers may do.

mod error;
mod memory;

pub use error::{IrError, IrErrorKind};

use kscope_spec::helper as h;

use super::flow::Flow;
use super::{Block, Function, Inst, Op, Pointer, Target, Terminator, Ty, Value};
use error::IrErrorKind as Kind;

/// Checks a function.
///
/// # Errors
/// Every rule that is broken, in order of blocks. Blocks that nothing reaches are not looked at.
pub fn verify(function: &Function) -> Result<(), Vec<IrError>> {
    let mut verifier = Verifier {
        function,
        flow: None,
        defs: vec![None; function.values.len()],
        ops: vec![None; function.values.len()],
        present: vec![Vec::new(); function.values.len()],
        errors: Vec::new(),
        block: Block(0),
        inst: None,
    };
    verifier.run();
    // Each is a function of its own; what is wrong in one is told like what is wrong here.
    for callback in &function.callbacks {
        verifier
            .errors
            .extend(verify(callback).err().unwrap_or_default());
    }
    if verifier.errors.is_empty() {
        Ok(())
    } else {
        Err(verifier.errors)
    }
}

struct Verifier<'a> {
    function: &'a Function,
    flow: Option<Flow>,
    /// Where each value is defined: the block, and the instruction unless it is a parameter.
    defs: Vec<Option<(Block, Option<usize>)>>,
    ops: Vec<Option<&'a Op>>,
    /// The blocks behind the one edge on which each pointer is not null.
    present: Vec<Vec<Block>>,
    errors: Vec<IrError>,
    block: Block,
    inst: Option<usize>,
}

impl<'a> Verifier<'a> {
    fn error(&mut self, kind: Kind) {
        self.errors.push(IrError {
            block: self.block,
            inst: self.inst,
            kind,
        });
    }

    fn require(&mut self, holds: bool, kind: Kind) {
        if !holds {
            self.error(kind);
        }
    }

    fn run(&mut self) {
        let function = self.function;
        let Some(entry) = function.blocks.first() else {
            return self.error(Kind::NoBlock);
        };
        self.require(entry.params.is_empty(), Kind::EntryParams);
        for slot in &function.slots {
            self.require(matches!(slot.align, 1 | 2 | 4 | 8), Kind::Bytes(slot.align));
        }
        for (index, block) in function.blocks.iter().enumerate() {
            self.block = Block(index as u32);
            for param in &block.params {
                self.define(*param, None);
            }
            for (position, inst) in block.insts.iter().enumerate() {
                self.inst = Some(position);
                if let Some(result) = inst.result {
                    self.define(result, Some(&inst.op));
                }
            }
            self.inst = None;
            for target in block.end.targets() {
                let exists = target.block.index() < function.blocks.len();
                self.require(exists, Kind::NoSuchBlock(target.block));
            }
        }
        if !self.errors.is_empty() {
            // Nothing below could trust an index.
            return;
        }
        let flow = Flow::new(function);
        let order = flow.order.clone();
        self.find_present(&flow);
        self.flow = Some(flow);
        for block in order {
            self.block = block;
            let data = &function.blocks[block.index()];
            for (position, inst) in data.insts.iter().enumerate() {
                self.inst = Some(position);
                inst.op.uses(|v| self.usable(v));
                if self.errors.is_empty() {
                    self.instruction(inst);
                }
            }
            self.inst = None;
            data.end.uses(|v| self.usable(v));
            if self.errors.is_empty() {
                self.terminator(&data.end);
            }
        }
    }

    fn find_present(&mut self, flow: &Flow) {
        for from in &flow.order {
            let Terminator::BranchNull {
                pointer, present, ..
            } = &self.function.blocks[from.index()].end
            else {
                continue;
            };
            // One edge leads there: what it dominates, the edge dominates.
            if flow.predecessors[present.block.index()].len() == 1 {
                if let Some(blocks) = self.present.get_mut(pointer.index()) {
                    blocks.push(present.block);
                }
            }
        }
    }

    fn define(&mut self, value: Value, op: Option<&'a Op>) {
        let at = (self.block, self.inst);
        let Some(def) = self.defs.get_mut(value.index()) else {
            return self.error(Kind::NoSuchValue(value));
        };
        if def.replace(at).is_some() {
            return self.error(Kind::DefinedTwice(value));
        }
        self.ops[value.index()] = op;
        if let Ty::Ptr(Pointer::Slot(slot)) = self.function.values[value.index()] {
            let exists = slot.index() < self.function.slots.len();
            self.require(exists, Kind::NoSuchSlot(slot));
        }
    }

    /// Requires that the definition dominates this place.
    fn usable(&mut self, value: Value) {
        let dominates = match self.defs.get(value.index()) {
            None => return self.error(Kind::NoSuchValue(value)),
            Some(None) => false,
            Some(Some((block, inst))) if *block == self.block => match (inst, self.inst) {
                (Some(def), Some(here)) => *def < here,
                _ => true,
            },
            Some(Some((block, _))) => self
                .flow
                .as_ref()
                .is_some_and(|flow| flow.dominates(*block, self.block)),
        };
        self.require(dominates, Kind::NotDefined(value));
    }

    fn ty(&self, value: Value) -> Ty {
        self.function.values[value.index()]
    }

    fn number(&mut self, value: Value) {
        self.require(self.ty(value) == Ty::I64, Kind::NotANumber(value));
    }

    fn constant(&self, value: Value) -> Option<i64> {
        match self.ops[value.index()] {
            Some(Op::Const(c)) => Some(*c),
            _ => None,
        }
    }

    fn instruction(&mut self, inst: &Inst) {
        let given = inst.result.map(|v| self.ty(v));
        let expected = self.op(&inst.op);
        match (&inst.op, expected, given) {
            (Op::Call { helper, .. }, _, Some(Ty::Ptr(Pointer::Task))) => {
                let gives_task = *helper == h::GET_CURRENT_TASK_BTF.0;
                self.require(gives_task, Kind::ResultType);
            }
            (Op::Load { bytes: 8, base, .. }, _, Some(Ty::Ptr(Pointer::Cred))) => {
                let of_task = self.ty(*base) == Ty::Ptr(Pointer::Task);
                self.require(of_task, Kind::ResultType);
            }
            (
                Op::Load { bytes: 8, base, .. },
                _,
                Some(Ty::Ptr(Pointer::Object | Pointer::ObjectOrNull)),
            ) => {
                let of_context = self.ty(*base) == Ty::Ptr(Pointer::Ctx);
                self.require(of_context, Kind::ResultType);
            }
            (Op::Load { bytes: 8, base, .. }, _, Some(Ty::Ptr(pointer))) => {
                let kept = matches!(
                    pointer,
                    Pointer::Ctx | Pointer::Captured(_) | Pointer::Outer(_)
                );
                let captured = matches!(self.ty(*base), Ty::Ptr(Pointer::Captured(_)));
                self.require(kept && captured, Kind::ResultType);
            }
            // Other helpers may give a number, a maybe-null pointer, or nothing anyone wants.
            (Op::Call { .. }, _, given) => {
                let fine = matches!(
                    given,
                    None | Some(
                        Ty::I64
                            | Ty::Ptr(
                                Pointer::MapValueOrNull(_)
                                    | Pointer::RecordOrNull(_)
                                    | Pointer::TaskOrNull
                                    | Pointer::ObjectOrNull
                            )
                    )
                );
                self.require(fine, Kind::ResultType);
            }
            (_, expected, given) => self.require(expected == given, Kind::ResultType),
        }
    }

    /// Checks the operands and gives the type of the result.
    fn op(&mut self, op: &Op) -> Option<Ty> {
        match op {
            Op::Const(_) | Op::Late(_) | Op::Layout(_) => Some(Ty::I64),
            Op::Ctx => Some(Ty::Ptr(Pointer::Ctx)),
            Op::Argument(index) => {
                let ty = self.function.arguments.get(usize::from(*index)).copied();
                self.require(ty.is_some(), Kind::Arguments);
                ty
            }
            Op::Callback(index) => {
                let exists = (*index as usize) < self.function.callbacks.len();
                self.require(exists, Kind::NoSuchCallback(*index));
                Some(Ty::Ptr(Pointer::Callback(*index)))
            }
            Op::SlotAddr(slot) => {
                let exists = slot.index() < self.function.slots.len();
                self.require(exists, Kind::NoSuchSlot(*slot));
                Some(Ty::Ptr(Pointer::Slot(*slot)))
            }
            Op::MapRef(map) => Some(Ty::Ptr(Pointer::Map(*map))),
            Op::MapValueAddr { map, .. } => Some(Ty::Ptr(Pointer::MapValue(*map))),
            Op::PtrAdd { base, offset, .. } => Some(self.ptr_add(*base, *offset)),
            Op::NonNull(value) => Some(self.non_null(*value)),
            Op::PtrToInt(value) => {
                let fine = matches!(
                    self.ty(*value),
                    Ty::Ptr(
                        Pointer::Slot(_)
                            | Pointer::MapValue(_)
                            | Pointer::MapKey(_)
                            | Pointer::Outer(_)
                            | Pointer::Record(_)
                            | Pointer::Ctx
                    )
                );
                self.require(fine, Kind::Pointer(*value));
                Some(Ty::I64)
            }
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => {
                self.number(*a);
                self.number(*b);
                Some(Ty::I64)
            }
            Op::Extend { bytes, value, .. } => {
                self.require(matches!(bytes, 1 | 2 | 4), Kind::Bytes(u32::from(*bytes)));
                self.number(*value);
                Some(Ty::I64)
            }
            Op::ByteSwap { bytes, value } => {
                self.require(matches!(bytes, 2 | 4 | 8), Kind::Bytes(u32::from(*bytes)));
                self.number(*value);
                Some(Ty::I64)
            }
            Op::Load { .. }
            | Op::LoadAt { .. }
            | Op::Store { .. }
            | Op::Atomic { .. }
            | Op::AtomicFetchAdd { .. }
            | Op::Zero { .. }
            | Op::Copy { .. } => self.memory(op),
            Op::Call { args, .. } => {
                self.require(args.len() <= 5, Kind::Arguments);
                self.callback_call(args);
                for arg in args {
                    let maybe = matches!(
                        self.ty(*arg),
                        Ty::Ptr(
                            Pointer::MapValueOrNull(_)
                                | Pointer::RecordOrNull(_)
                                | Pointer::TaskOrNull
                                | Pointer::ObjectOrNull
                        )
                    );
                    self.require(!maybe, Kind::MaybeNull(*arg));
                }
                None
            }
        }
    }

    /// Checks that a callback's last argument is what the helper is given behind it.
    fn callback_call(&mut self, args: &[Value]) {
        for pair in args.windows(2) {
            let Ty::Ptr(Pointer::Callback(index)) = self.ty(pair[0]) else {
                continue;
            };
            let callback = self.function.callbacks.get(index as usize);
            let wanted = callback.and_then(|f| f.arguments.last()).copied();
            let fits = match (self.ty(pair[1]), wanted) {
                (Ty::Ptr(Pointer::Slot(slot)), Some(Ty::Ptr(Pointer::Captured(size)))) => {
                    self.function.slots[slot.index()].size >= size
                }
                _ => false,
            };
            self.require(fits, Kind::ArgumentType(pair[1]));
        }
    }

    fn terminator(&mut self, end: &Terminator) {
        match end {
            Terminator::Jump(_) => {}
            Terminator::Branch { left, right, .. } => {
                self.number(*left);
                self.number(*right);
            }
            Terminator::BranchNull { pointer, .. } => {
                let maybe = matches!(
                    self.ty(*pointer),
                    Ty::Ptr(
                        Pointer::MapValueOrNull(_)
                            | Pointer::RecordOrNull(_)
                            | Pointer::TaskOrNull
                            | Pointer::ObjectOrNull
                    )
                );
                self.require(maybe, Kind::Pointer(*pointer));
            }
            Terminator::Return(value) => self.number(*value),
        }
        for target in end.targets() {
            self.target(target);
        }
    }

    fn target(&mut self, target: &Target) {
        let params = &self.function.blocks[target.block.index()].params;
        if params.len() != target.args.len() {
            return self.error(Kind::Arguments);
        }
        for (param, arg) in params.iter().zip(&target.args) {
            self.require(self.ty(*param) == self.ty(*arg), Kind::ArgumentType(*arg));
        }
    }

    /// Checks that this place lies behind the way on which the pointer is not null.
    fn non_null(&mut self, value: Value) -> Ty {
        let ty = match self.ty(value) {
            Ty::Ptr(Pointer::MapValueOrNull(map)) => Ty::Ptr(Pointer::MapValue(map)),
            Ty::Ptr(Pointer::RecordOrNull(size)) => Ty::Ptr(Pointer::Record(size)),
            Ty::Ptr(Pointer::TaskOrNull) => Ty::Ptr(Pointer::Task),
            Ty::Ptr(Pointer::ObjectOrNull) => Ty::Ptr(Pointer::Object),
            other => {
                self.error(Kind::Pointer(value));
                return other;
            }
        };
        let checked = self.flow.as_ref().is_some_and(|flow| {
            let mut present = self.present[value.index()].iter();
            present.any(|block| flow.dominates(*block, self.block))
        });
        self.require(checked, Kind::Unchecked(value));
        ty
    }
}

#[cfg(test)]
mod tests;
