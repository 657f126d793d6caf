//! Text to functions.

use std::fmt;

use kscope_spec::{LateId, MapId};

use crate::diagnostic::Span;
use crate::ir::{
    AtomicOp, BinOp, Block, BlockData, Cond, Function, Inst, Layout, LayoutId, Op, Pointer, Slot,
    SlotId, Target, Terminator, Ty, Value,
};

/// Values, blocks and slots above this number are refused, so that a typing error costs no memory.
const LIMIT: u32 = 1 << 20;

/// Why a text is no function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Line, from 1.
    pub line: u32,
    /// What was expected there.
    pub expected: &'static str,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: expected {}", self.line, self.expected)
    }
}

impl std::error::Error for ReadError {}

/// Reads one function. Lines that are empty or begin with `#` do not count.
///
/// # Errors
/// [`ReadError`] names the first line that is wrong.
pub fn read(text: &str) -> Result<Function, ReadError> {
    let mut around: Vec<Function> = Vec::new();
    let mut done: Option<Function> = None;
    let mut open: Option<BlockData> = None;
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        last = index as u32 + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut none = Vec::new();
        let inside = around
            .last_mut()
            .filter(|_| open.is_some() || !line.starts_with("fn "));
        let Some(function) = inside else {
            let mut reader = Reader {
                rest: line,
                line: last,
                values: &mut none,
            };
            if done.is_some() {
                return Err(reader.error("nothing after the function"));
            }
            around.push(reader.head()?);
            reader.done()?;
            continue;
        };
        let mut reader = Reader {
            rest: line,
            line: last,
            values: &mut function.values,
        };
        if reader.take("}") {
            if open.is_some() {
                return Err(reader.error("the end of the block"));
            }
            reader.done()?;
            let function = around.pop();
            match around.last_mut() {
                Some(outer) => outer.callbacks.extend(function),
                None => done = function,
            }
            continue;
        }
        match &mut open {
            None if reader.take("slot ") => {
                let slot = reader.slot(function.slots.len() as u32)?;
                function.slots.push(slot);
            }
            None => open = Some(reader.block(function.blocks.len() as u32)?),
            Some(block) => match reader.end()? {
                Some(end) => {
                    block.end = end;
                    block.span = reader.span()?;
                    reader.done()?;
                    function.blocks.extend(open.take());
                    continue;
                }
                None => {
                    let inst = reader.inst()?;
                    block.insts.push(inst);
                }
            },
        }
        reader.done()?;
    }
    done.ok_or(ReadError {
        line: last,
        expected: "}",
    })
}

struct Reader<'a> {
    rest: &'a str,
    line: u32,
    values: &'a mut Vec<Ty>,
}

impl<'a> Reader<'a> {
    fn error(&self, expected: &'static str) -> ReadError {
        ReadError {
            line: self.line,
            expected,
        }
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &'static str) -> Result<(), ReadError> {
        if self.take(token) {
            Ok(())
        } else {
            Err(self.error(token))
        }
    }

    fn split(
        &mut self,
        expected: &'static str,
        good: impl Fn(char) -> bool,
    ) -> Result<&'a str, ReadError> {
        let end = self.rest.find(|c| !good(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.error(expected));
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(word)
    }

    fn word(&mut self, expected: &'static str) -> Result<&'a str, ReadError> {
        self.split(expected, |c| !c.is_whitespace() && !"(),:".contains(c))
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, ReadError> {
        let error = self.error("a number");
        let word = self.split("a number", |c| c.is_ascii_digit() || c == '-')?;
        word.parse().map_err(|_| error)
    }

    fn small(&mut self) -> Result<u32, ReadError> {
        let number = self.number()?;
        if number < LIMIT {
            Ok(number)
        } else {
            Err(self.error("a smaller number"))
        }
    }

    fn value(&mut self) -> Result<Value, ReadError> {
        self.expect("v")?;
        Ok(Value(self.small()?))
    }

    /// Reads `v1: i64` and notes the type.
    fn typed_value(&mut self) -> Result<Value, ReadError> {
        let value = self.value()?;
        self.expect(":")?;
        let ty = self.ty()?;
        if self.values.len() <= value.index() {
            self.values.resize(value.index() + 1, Ty::I64);
        }
        self.values[value.index()] = ty;
        Ok(value)
    }

    fn ty(&mut self) -> Result<Ty, ReadError> {
        let pointer = if self.take("i64") {
            return Ok(Ty::I64);
        } else if self.take("ctx") {
            Pointer::Ctx
        } else if self.take("task") {
            if self.take("?") {
                Pointer::TaskOrNull
            } else {
                Pointer::Task
            }
        } else if self.take("object") {
            if self.take("?") {
                Pointer::ObjectOrNull
            } else {
                Pointer::Object
            }
        } else if self.take("cred") {
            Pointer::Cred
        } else if self.take("map") {
            Pointer::Map(MapId(self.small()?))
        } else if self.take("value") {
            let map = MapId(self.small()?);
            if self.take("?") {
                Pointer::MapValueOrNull(map)
            } else {
                Pointer::MapValue(map)
            }
        } else if self.take("record") {
            let size = self.small()?;
            if self.take("?") {
                Pointer::RecordOrNull(size)
            } else {
                Pointer::Record(size)
            }
        } else if self.take("key") {
            Pointer::MapKey(MapId(self.small()?))
        } else if self.take("captured") {
            Pointer::Captured(self.small()?)
        } else if self.take("outer") {
            Pointer::Outer(self.small()?)
        } else if self.take("callback") {
            Pointer::Callback(self.small()?)
        } else if self.take("s") {
            Pointer::Slot(SlotId(self.small()?))
        } else {
            return Err(self.error("a type"));
        };
        Ok(Ty::Ptr(pointer))
    }

    /// Reads `fn name {` or `fn name(i64, captured8) {`.
    fn head(&mut self) -> Result<Function, ReadError> {
        self.expect("fn")?;
        let mut function = Function {
            name: self.word("a name")?.to_owned(),
            blocks: Vec::new(),
            values: Vec::new(),
            slots: Vec::new(),
            arguments: Vec::new(),
            callbacks: Vec::new(),
        };
        if self.take("(") {
            loop {
                function.arguments.push(self.ty()?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        self.expect("{")?;
        Ok(function)
    }

    fn slot(&mut self, index: u32) -> Result<Slot, ReadError> {
        self.expect("s")?;
        if self.small()? != index {
            return Err(self.error("slots in order"));
        }
        self.expect(":")?;
        let size = self.number()?;
        self.expect("align")?;
        Ok(Slot {
            size,
            align: self.number()?,
        })
    }

    fn block(&mut self, index: u32) -> Result<BlockData, ReadError> {
        self.expect("b")?;
        if self.small()? != index {
            return Err(self.error("blocks in order"));
        }
        let mut params = Vec::new();
        if self.take("(") {
            loop {
                params.push(self.typed_value()?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")")?;
        }
        self.expect(":")?;
        let end = Terminator::Jump(Target {
            block: Block(0),
            args: Vec::new(),
        });
        Ok(BlockData {
            params,
            insts: Vec::new(),
            end,
            span: Span::default(),
        })
    }

    fn target(&mut self) -> Result<Target, ReadError> {
        self.expect("b")?;
        let block = Block(self.small()?);
        let args = if self.take("(") {
            self.values_until_close()?
        } else {
            Vec::new()
        };
        Ok(Target { block, args })
    }

    fn values_until_close(&mut self) -> Result<Vec<Value>, ReadError> {
        let mut values = Vec::new();
        while !self.take(")") {
            if !values.is_empty() {
                self.expect(",")?;
            }
            values.push(self.value()?);
        }
        Ok(values)
    }

    fn end(&mut self) -> Result<Option<Terminator>, ReadError> {
        Ok(Some(if self.take("jump ") {
            Terminator::Jump(self.target()?)
        } else if self.take("return ") {
            Terminator::Return(self.value()?)
        } else if self.take("ifnull ") {
            let pointer = self.value()?;
            let (null, present) = self.ways()?;
            Terminator::BranchNull {
                pointer,
                null,
                present,
            }
        } else if self.take("if ") {
            let word = self.word("a condition")?;
            let Some(cond) = Cond::ALL.into_iter().find(|c| c.name() == word) else {
                return Err(self.error("a condition"));
            };
            let (left, right) = self.pair()?;
            let (then, otherwise) = self.ways()?;
            Terminator::Branch {
                cond,
                left,
                right,
                then,
                otherwise,
            }
        } else {
            return Ok(None);
        }))
    }

    fn ways(&mut self) -> Result<(Target, Target), ReadError> {
        self.expect("then")?;
        let then = self.target()?;
        self.expect("else")?;
        Ok((then, self.target()?))
    }

    fn pair(&mut self) -> Result<(Value, Value), ReadError> {
        let left = self.value()?;
        self.expect(",")?;
        Ok((left, self.value()?))
    }

    fn place(&mut self) -> Result<(Value, i32), ReadError> {
        let base = self.value()?;
        self.expect("+")?;
        Ok((base, self.number()?))
    }

    fn layout(&mut self) -> Result<Layout, ReadError> {
        let id = LayoutId(self.number()?);
        self.expect("=")?;
        let value = self.number()?;
        Ok(Layout { id, value })
    }

    fn inst(&mut self) -> Result<Inst, ReadError> {
        let result = if self.rest.starts_with('v') {
            let value = self.typed_value()?;
            self.expect("=")?;
            Some(value)
        } else {
            None
        };
        let op = self.op()?;
        let span = self.span()?;
        Ok(Inst { result, op, span })
    }

    fn op(&mut self) -> Result<Op, ReadError> {
        let word = self.word("an operation")?;
        if let Some(op) = BinOp::ALL.into_iter().find(|op| op.name() == word) {
            let (left, right) = self.pair()?;
            return Ok(Op::Binary(op, left, right));
        }
        if let Some(cond) = Cond::ALL.into_iter().find(|c| c.name() == word) {
            let (left, right) = self.pair()?;
            return Ok(Op::Compare(cond, left, right));
        }
        let (name, bytes, signed) = parts(word);
        let is_it = |op: &AtomicOp| name.strip_prefix("atomic") == Some(op.name());
        if let (Some(op), 4 | 8) = (AtomicOp::ALL.into_iter().find(is_it), bytes) {
            let (base, offset) = self.place()?;
            self.expect(",")?;
            return Ok(Op::Atomic {
                op,
                bytes,
                base,
                offset,
                value: self.value()?,
            });
        }
        Ok(match (name, bytes) {
            ("const", 0) => Op::Const(self.number()?),
            ("late", 0) => Op::Late(LateId(self.number()?)),
            ("layout", 0) => Op::Layout(self.layout()?),
            ("loadat", 1 | 2 | 4 | 8) => {
                let base = self.value()?;
                self.expect("+")?;
                Op::LoadAt {
                    bytes,
                    signed,
                    base,
                    offset: self.layout()?,
                }
            }
            ("ctx", 0) => Op::Ctx,
            ("argument", 0) => Op::Argument(self.number()?),
            ("callback", 0) => Op::Callback(self.small()?),
            ("slot", 0) => {
                self.expect("s")?;
                Op::SlotAddr(SlotId(self.small()?))
            }
            ("map", 0) => Op::MapRef(MapId(self.small()?)),
            ("mapvalue", 0) => {
                let map = MapId(self.small()?);
                self.expect("+")?;
                Op::MapValueAddr {
                    map,
                    offset: self.number()?,
                }
            }
            ("ptradd", 0) => {
                let (base, offset) = self.pair()?;
                self.expect("max")?;
                Op::PtrAdd {
                    base,
                    offset,
                    bound: self.number()?,
                }
            }
            ("nonnull", 0) => Op::NonNull(self.value()?),
            ("ptrtoint", 0) => Op::PtrToInt(self.value()?),
            ("extend", 1 | 2 | 4) => Op::Extend {
                bytes,
                signed,
                value: self.value()?,
            },
            ("swap", 2 | 4 | 8) => Op::ByteSwap {
                bytes,
                value: self.value()?,
            },
            ("load", 1 | 2 | 4 | 8) => {
                let (base, offset) = self.place()?;
                Op::Load {
                    bytes,
                    signed,
                    base,
                    offset,
                }
            }
            ("store", 1 | 2 | 4 | 8) => {
                let (base, offset) = self.place()?;
                self.expect(",")?;
                Op::Store {
                    bytes,
                    base,
                    offset,
                    value: self.value()?,
                }
            }
            ("atomicfetchadd", 8) => {
                let (base, offset) = self.place()?;
                self.expect(",")?;
                Op::AtomicFetchAdd {
                    base,
                    offset,
                    value: self.value()?,
                }
            }
            ("zero", 0) => {
                let (base, offset) = self.place()?;
                self.expect(",")?;
                Op::Zero {
                    base,
                    offset,
                    len: self.number()?,
                }
            }
            ("copy", 0) => {
                let (to, to_offset) = self.place()?;
                self.expect(",")?;
                let (from, from_offset) = self.place()?;
                self.expect(",")?;
                Op::Copy {
                    to,
                    to_offset,
                    from,
                    from_offset,
                    len: self.number()?,
                }
            }
            ("call", 0) => {
                let helper = self.number()?;
                self.expect("(")?;
                Op::Call {
                    helper,
                    args: self.values_until_close()?,
                }
            }
            _ => return Err(self.error("an operation")),
        })
    }

    fn span(&mut self) -> Result<Span, ReadError> {
        if !self.take("@") {
            return Ok(Span::default());
        }
        let start = self.number()?;
        self.expect("..")?;
        Ok(Span::new(start, self.number()?))
    }

    fn done(&self) -> Result<(), ReadError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error("the end of the line"))
        }
    }
}

/// Splits `load4s` into `load`, 4 and signed.
fn parts(word: &str) -> (&str, u8, bool) {
    let (rest, signed) = match word.strip_suffix(['s', 'u']) {
        Some(rest) if rest.ends_with(|c: char| c.is_ascii_digit()) => (rest, word.ends_with('s')),
        _ => (word, false),
    };
    match rest.strip_suffix(|c: char| c.is_ascii_digit()) {
        Some(name) => (name, rest.as_bytes()[rest.len() - 1] - b'0', signed),
        None => (rest, 0, false),
    }
}
