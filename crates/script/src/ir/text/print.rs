//! Functions to text.

use std::fmt::{self, Write};

use crate::diagnostic::Span;
use crate::ir::{
    Block, Function, Inst, Layout, Op, Pointer, SlotId, Target, Terminator, Ty, Value,
};

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}", self.0)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b{}", self.0)
    }
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ty::I64 => f.write_str("i64"),
            Ty::Ptr(Pointer::Ctx) => f.write_str("ctx"),
            Ty::Ptr(Pointer::Slot(slot)) => write!(f, "{slot}"),
            Ty::Ptr(Pointer::Map(map)) => write!(f, "map{}", map.0),
            Ty::Ptr(Pointer::MapValue(map)) => write!(f, "value{}", map.0),
            Ty::Ptr(Pointer::MapValueOrNull(map)) => write!(f, "value{}?", map.0),
            Ty::Ptr(Pointer::Record(size)) => write!(f, "record{size}"),
            Ty::Ptr(Pointer::RecordOrNull(size)) => write!(f, "record{size}?"),
            Ty::Ptr(Pointer::Task) => f.write_str("task"),
            Ty::Ptr(Pointer::TaskOrNull) => f.write_str("task?"),
            Ty::Ptr(Pointer::Object) => f.write_str("object"),
            Ty::Ptr(Pointer::ObjectOrNull) => f.write_str("object?"),
            Ty::Ptr(Pointer::Cred) => f.write_str("cred"),
            Ty::Ptr(Pointer::MapKey(map)) => write!(f, "key{}", map.0),
            Ty::Ptr(Pointer::Captured(size)) => write!(f, "captured{size}"),
            Ty::Ptr(Pointer::Outer(size)) => write!(f, "outer{size}"),
            Ty::Ptr(Pointer::Callback(index)) => write!(f, "callback{index}"),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.block)?;
        if self.args.is_empty() {
            return Ok(());
        }
        f.write_char('(')?;
        list(f, &self.args)?;
        f.write_char(')')
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = |signed: bool| if signed { "s" } else { "u" };
        match self {
            Op::Const(c) => write!(f, "const {c}"),
            Op::Late(id) => write!(f, "late {}", id.0),
            Op::Layout(layout) => write!(f, "layout {} = {}", layout.id.0, layout.value),
            Op::LoadAt {
                bytes,
                signed,
                base,
                offset,
            } => {
                let Layout { id, value } = offset;
                write!(
                    f,
                    "loadat{bytes}{} {base} + {} = {value}",
                    sign(*signed),
                    id.0
                )
            }
            Op::Ctx => f.write_str("ctx"),
            Op::Argument(index) => write!(f, "argument {index}"),
            Op::Callback(index) => write!(f, "callback {index}"),
            Op::SlotAddr(slot) => write!(f, "slot {slot}"),
            Op::MapRef(map) => write!(f, "map {}", map.0),
            Op::MapValueAddr { map, offset } => write!(f, "mapvalue {} + {offset}", map.0),
            Op::PtrAdd {
                base,
                offset,
                bound,
            } => {
                write!(f, "ptradd {base}, {offset} max {bound}")
            }
            Op::NonNull(v) => write!(f, "nonnull {v}"),
            Op::PtrToInt(v) => write!(f, "ptrtoint {v}"),
            Op::Binary(op, a, b) => write!(f, "{} {a}, {b}", op.name()),
            Op::Compare(cond, a, b) => write!(f, "{} {a}, {b}", cond.name()),
            Op::Extend {
                bytes,
                signed,
                value,
            } => {
                write!(f, "extend{bytes}{} {value}", sign(*signed))
            }
            Op::ByteSwap { bytes, value } => write!(f, "swap{bytes} {value}"),
            Op::Load {
                bytes,
                signed,
                base,
                offset,
            } => {
                write!(f, "load{bytes}{} {base} + {offset}", sign(*signed))
            }
            Op::Store {
                bytes,
                base,
                offset,
                value,
            } => {
                write!(f, "store{bytes} {base} + {offset}, {value}")
            }
            Op::Atomic {
                op,
                bytes,
                base,
                offset,
                value,
            } => {
                write!(f, "atomic{}{bytes} {base} + {offset}, {value}", op.name())
            }
            Op::AtomicFetchAdd {
                base,
                offset,
                value,
            } => write!(f, "atomicfetchadd8 {base} + {offset}, {value}"),
            Op::Zero { base, offset, len } => write!(f, "zero {base} + {offset}, {len}"),
            Op::Copy {
                to,
                to_offset,
                from,
                from_offset,
                len,
            } => {
                write!(f, "copy {to} + {to_offset}, {from} + {from_offset}, {len}")
            }
            Op::Call { helper, args } => {
                write!(f, "call {helper}(")?;
                list(f, args)?;
                f.write_char(')')
            }
        }
    }
}

impl fmt::Display for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Terminator::Jump(target) => write!(f, "jump {target}"),
            Terminator::Branch {
                cond,
                left,
                right,
                then,
                otherwise,
            } => {
                let cond = cond.name();
                write!(f, "if {cond} {left}, {right} then {then} else {otherwise}")
            }
            Terminator::BranchNull {
                pointer,
                null,
                present,
            } => {
                write!(f, "ifnull {pointer} then {null} else {present}")
            }
            Terminator::Return(value) => write!(f, "return {value}"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, values: &[Value]) -> fmt::Result {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{value}")?;
    }
    Ok(())
}

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_function(self, false, f)
    }
}

/// Gives the text of a function with the source positions.
#[must_use]
pub fn print(function: &Function) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_function(function, true, &mut text);
    text
}

fn write_function(function: &Function, spans: bool, f: &mut dyn Write) -> fmt::Result {
    write!(f, "fn {}", function.name)?;
    for (index, ty) in function.arguments.iter().enumerate() {
        let before = if index == 0 { "(" } else { ", " };
        write!(f, "{before}{ty}")?;
    }
    if !function.arguments.is_empty() {
        f.write_char(')')?;
    }
    writeln!(f, " {{")?;
    for callback in &function.callbacks {
        write_function(callback, spans, f)?;
    }
    for (index, slot) in function.slots.iter().enumerate() {
        writeln!(f, "  slot s{index}: {} align {}", slot.size, slot.align)?;
    }
    let ty = |v: Value| function.values.get(v.index()).copied().unwrap_or(Ty::I64);
    for (index, block) in function.blocks.iter().enumerate() {
        write!(f, "b{index}")?;
        for (position, param) in block.params.iter().enumerate() {
            let before = if position == 0 { "(" } else { ", " };
            write!(f, "{before}{param}: {}", ty(*param))?;
        }
        if !block.params.is_empty() {
            f.write_char(')')?;
        }
        writeln!(f, ":")?;
        for Inst { result, op, span } in &block.insts {
            f.write_str("  ")?;
            if let Some(v) = result {
                write!(f, "{v}: {} = ", ty(*v))?;
            }
            write!(f, "{op}")?;
            line_end(f, *span, spans)?;
        }
        write!(f, "  {}", block.end)?;
        line_end(f, block.span, spans)?;
    }
    writeln!(f, "}}")
}

fn line_end(f: &mut dyn Write, span: Span, spans: bool) -> fmt::Result {
    if spans && span != Span::default() {
        write!(f, " @{}..{}", span.start, span.end)?;
    }
    writeln!(f)
}
