//! Builds a [`Function`] in SSA form while variables are read and written by name.
//!
//! The construction is that of Braun et al., "Simple and Efficient Construction of Static
//! Single Assignment Form" (CC 2013): a read looks for the definition in its own block, then in
//! the predecessors; blocks whose predecessors are not all known yet get parameters that are
//! filled in when the block is sealed.

mod operations;

use std::collections::HashMap;

use super::{
    Block, BlockData, Cond, Function, Inst, Op, Slot, SlotId, Target, Terminator, Ty, Value,
};
use crate::diagnostic::Span;

/// A source-level variable of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Variable(pub u32);

/// Builds one function, block by block.
#[derive(Debug)]
pub struct Builder {
    function: Function,
    current: Block,
    span: Span,
    ended: Vec<bool>,
    sealed: Vec<bool>,
    predecessors: Vec<Vec<Block>>,
    variables: u32,
    definitions: HashMap<(Block, Variable), Value>,
    incomplete: HashMap<Block, Vec<(Variable, Value)>>,
    /// What each predecessor gives a parameter that stands for a variable.
    incoming: HashMap<(Block, Value), Value>,
}

impl Builder {
    /// Starts a function; the entry block is current and sealed.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let function = Function {
            name: name.to_owned(),
            blocks: Vec::new(),
            values: Vec::new(),
            slots: Vec::new(),
            arguments: Vec::new(),
            callbacks: Vec::new(),
        };
        let mut builder = Builder {
            function,
            current: Block(0),
            span: Span::default(),
            ended: Vec::new(),
            sealed: Vec::new(),
            predecessors: Vec::new(),
            variables: 0,
            definitions: HashMap::new(),
            incomplete: HashMap::new(),
            incoming: HashMap::new(),
        };
        let entry = builder.block();
        builder.seal(entry);
        builder
    }

    /// Starts a callback that is given arguments of these types.
    #[must_use]
    pub fn callback(name: &str, arguments: Vec<Ty>) -> Self {
        let mut builder = Builder::new(name);
        builder.function.arguments = arguments;
        builder
    }

    /// Sets the source position of what follows.
    pub fn at(&mut self, span: Span) {
        self.span = span;
    }

    /// Gives the source position of what follows.
    #[must_use]
    pub fn span(&self) -> Span {
        self.span
    }

    /// Makes a block; it must be sealed once all jumps to it exist.
    pub fn block(&mut self) -> Block {
        let block = Block(self.function.blocks.len() as u32);
        // A block that never gets an end of its own is unreachable and removed by `finish`.
        self.function.blocks.push(BlockData {
            params: Vec::new(),
            insts: Vec::new(),
            end: Terminator::Return(Value(u32::MAX)),
            span: self.span,
        });
        self.ended.push(false);
        self.sealed.push(false);
        self.predecessors.push(Vec::new());
        block
    }

    /// Goes on at the end of this block.
    pub fn switch_to(&mut self, block: Block) {
        self.current = block;
    }

    /// Gives the current block.
    #[must_use]
    pub fn current(&self) -> Block {
        self.current
    }

    /// Says whether a jump goes to the block.
    #[must_use]
    pub fn is_reached(&self, block: Block) -> bool {
        !self.predecessors[block.index()].is_empty()
    }

    /// Says whether the current block already has its end; code after it is unreachable.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended[self.current.index()]
    }

    /// Adds a parameter of the type to a block and gives its value.
    pub fn param(&mut self, block: Block, ty: Ty) -> Value {
        let value = self.value(ty);
        self.function.blocks[block.index()].params.push(value);
        value
    }

    /// Says that all jumps to the block exist now.
    pub fn seal(&mut self, block: Block) {
        self.sealed[block.index()] = true;
        for (variable, param) in self.incomplete.remove(&block).unwrap_or_default() {
            self.fill_param(block, variable, param);
        }
    }

    /// Makes a variable; reading it before any write gives 0.
    pub fn variable(&mut self) -> Variable {
        self.variables += 1;
        Variable(self.variables - 1)
    }

    /// Writes a variable.
    pub fn write(&mut self, variable: Variable, value: Value) {
        self.definitions.insert((self.current, variable), value);
    }

    /// Reads a variable.
    pub fn read(&mut self, variable: Variable) -> Value {
        self.read_in(self.current, variable)
    }

    fn read_in(&mut self, block: Block, variable: Variable) -> Value {
        if let Some(value) = self.definitions.get(&(block, variable)) {
            return *value;
        }
        let value = if !self.sealed[block.index()] {
            let param = self.param(block, Ty::I64);
            self.incomplete
                .entry(block)
                .or_default()
                .push((variable, param));
            param
        } else {
            match self.predecessors[block.index()].as_slice() {
                [] => self.zero_at_start(block),
                [only] => {
                    let only = *only;
                    self.read_in(only, variable)
                }
                _ => {
                    let param = self.param(block, Ty::I64);
                    self.definitions.insert((block, variable), param);
                    self.fill_param(block, variable, param);
                    param
                }
            }
        };
        self.definitions.insert((block, variable), value);
        value
    }

    fn zero_at_start(&mut self, block: Block) -> Value {
        let value = self.value(Ty::I64);
        let inst = Inst {
            result: Some(value),
            op: Op::Const(0),
            span: self.span,
        };
        self.function.blocks[block.index()].insts.insert(0, inst);
        value
    }

    /// Notes what each predecessor of `block` gives for `param`; `finish` puts it into the jumps.
    fn fill_param(&mut self, block: Block, variable: Variable, param: Value) {
        let mut predecessors = self.predecessors[block.index()].clone();
        predecessors.sort_unstable();
        predecessors.dedup();
        for predecessor in predecessors {
            let value = self.read_in(predecessor, variable);
            self.incoming.insert((predecessor, param), value);
        }
    }

    /// Makes a slot.
    pub fn slot(&mut self, size: u32, align: u32) -> SlotId {
        self.function.slots.push(Slot { size, align });
        SlotId(self.function.slots.len() as u32 - 1)
    }

    /// Gives the size of a slot.
    #[must_use]
    pub fn slot_size(&self, slot: SlotId) -> u32 {
        self.function.slots[slot.index()].size
    }

    /// Gives the type of a value.
    #[must_use]
    pub fn ty(&self, value: Value) -> Ty {
        self.function.values[value.index()]
    }

    fn value(&mut self, ty: Ty) -> Value {
        self.function.values.push(ty);
        Value(self.function.values.len() as u32 - 1)
    }

    /// Gives the number of values so far, a measure of how large the function is.
    #[must_use]
    pub fn size(&self) -> usize {
        self.function.values.len()
    }

    fn push(&mut self, op: Op, ty: Option<Ty>) -> Option<Value> {
        let result = ty.map(|ty| self.value(ty));
        if !self.is_ended() {
            let inst = Inst {
                result,
                op,
                span: self.span,
            };
            self.function.blocks[self.current.index()].insts.push(inst);
        }
        result
    }

    fn define(&mut self, op: Op, ty: Ty) -> Value {
        let value = self.value(ty);
        if !self.is_ended() {
            let inst = Inst {
                result: Some(value),
                op,
                span: self.span,
            };
            self.function.blocks[self.current.index()].insts.push(inst);
        }
        value
    }

    fn end(&mut self, end: Terminator) {
        if self.is_ended() {
            return;
        }
        let current = self.current;
        for target in end.targets() {
            self.predecessors[target.block.index()].push(current);
        }
        let data = &mut self.function.blocks[current.index()];
        data.end = end;
        data.span = self.span;
        self.ended[current.index()] = true;
    }

    /// Ends the block with a jump.
    pub fn jump(&mut self, block: Block) {
        self.jump_with(block, Vec::new());
    }

    /// Ends the block with a jump that gives values to explicit parameters of the target.
    pub fn jump_with(&mut self, block: Block, args: Vec<Value>) {
        self.end(Terminator::Jump(Target { block, args }));
    }

    /// Ends the block with a comparison.
    pub fn branch(&mut self, cond: Cond, left: Value, right: Value, then: Block, otherwise: Block) {
        let then = Target {
            block: then,
            args: Vec::new(),
        };
        let otherwise = Target {
            block: otherwise,
            args: Vec::new(),
        };
        self.end(Terminator::Branch {
            cond,
            left,
            right,
            then,
            otherwise,
        });
    }

    /// Ends the block with a test for null.
    pub fn branch_null(&mut self, pointer: Value, null: Block, present: Block) {
        let null = Target {
            block: null,
            args: Vec::new(),
        };
        let present = Target {
            block: present,
            args: Vec::new(),
        };
        self.end(Terminator::BranchNull {
            pointer,
            null,
            present,
        });
    }

    /// Ends the program.
    pub fn ret(&mut self, value: i64) {
        let value = self.constant(value);
        self.end(Terminator::Return(value));
    }

    /// Ends the program with a number that is not constant.
    pub fn ret_value(&mut self, value: Value) {
        self.end(Terminator::Return(value));
    }

    /// Gives the function with blocks that nothing reaches removed.
    #[must_use]
    pub fn finish(mut self) -> Function {
        self.fill_jumps();
        let mut reached = vec![false; self.function.blocks.len()];
        let mut work = vec![Block(0)];
        while let Some(block) = work.pop() {
            if std::mem::replace(&mut reached[block.index()], true) {
                continue;
            }
            debug_assert!(self.ended[block.index()], "{block:?} has no end");
            work.extend(
                self.function.blocks[block.index()]
                    .end
                    .targets()
                    .map(|t| t.block),
            );
        }
        let mut renamed = vec![Block(0); reached.len()];
        let mut next = 0;
        for (index, reached) in reached.iter().enumerate() {
            if *reached {
                renamed[index] = Block(next);
                next += 1;
            }
        }
        let mut index = 0;
        self.function.blocks.retain(|_| {
            index += 1;
            reached[index - 1]
        });
        for block in &mut self.function.blocks {
            for target in block.end.targets_mut() {
                target.block = renamed[target.block.index()];
            }
        }
        self.function
    }

    /// Completes the arguments of jumps: explicit ones in order, those of variables by name.
    fn fill_jumps(&mut self) {
        let params: Vec<Vec<Value>> = self
            .function
            .blocks
            .iter()
            .map(|block| block.params.clone())
            .collect();
        for (index, block) in self.function.blocks.iter_mut().enumerate() {
            let from = Block(index as u32);
            for target in block.end.targets_mut() {
                let mut explicit = std::mem::take(&mut target.args).into_iter();
                target.args = params[target.block.index()]
                    .iter()
                    .filter_map(|param| match self.incoming.get(&(from, *param)) {
                        Some(value) => Some(*value),
                        None => explicit.next(),
                    })
                    .collect();
            }
        }
    }
}
