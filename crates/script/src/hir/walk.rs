//! Walks over statements and expressions.

use super::{Expr, ExprKind, Stmt, StmtKind};

impl Stmt {
    /// Calls `f` with each expression that stands directly in the statement, in the order of
    /// evaluation.
    pub(crate) fn expressions<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        match &self.kind {
            StmtKind::Expr(e) | StmtKind::SetVar(_, e) => f(e),
            StmtKind::SetMap { key, value, .. } | StmtKind::ChangeMap { key, value, .. } => {
                key.iter().for_each(&mut *f);
                f(value);
            }
            StmtKind::Update {
                key, value, now, ..
            } => {
                key.iter().chain(value).chain(now).for_each(f);
            }
            StmtKind::Emit { args, .. } => args.iter().for_each(f),
            StmtKind::If { condition, .. } | StmtKind::While { condition, .. } => f(condition),
            StmtKind::ForRange { start, end, .. } => {
                f(start);
                f(end);
            }
            StmtKind::ForMap { .. }
            | StmtKind::Repeat { .. }
            | StmtKind::Break
            | StmtKind::Continue
            | StmtKind::Return => {}
        }
    }

    /// Gives the statements inside.
    pub(crate) fn bodies(&self) -> [&[Stmt]; 2] {
        match &self.kind {
            StmtKind::If {
                then, otherwise, ..
            } => [then, otherwise],
            StmtKind::ForRange { body, .. }
            | StmtKind::ForMap { body, .. }
            | StmtKind::Repeat { body, .. }
            | StmtKind::While { body, .. } => [body, &[]],
            _ => [&[], &[]],
        }
    }
}

impl Expr {
    /// Calls `f` with each operand, in the order of evaluation; statements in a block are not
    /// among them.
    pub(crate) fn operands<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        match &self.kind {
            ExprKind::Int(_)
            | ExprKind::Str(_)
            | ExprKind::Builtin(_)
            | ExprKind::Arg(_)
            | ExprKind::Retval
            | ExprKind::Late(_)
            | ExprKind::Layout(_)
            | ExprKind::OptionStr(_)
            | ExprKind::Var(_)
            | ExprKind::CtxLoad { .. }
            | ExprKind::CtxLoadAt { .. }
            | ExprKind::CtxBytes { .. }
            | ExprKind::CtxDataLoc { .. }
            | ExprKind::CtxAddress
            | ExprKind::StepVar { .. }
            | ExprKind::Register { .. }
            | ExprKind::KernelStack
            | ExprKind::UserStackId
            | ExprKind::VarAddress(_)
            | ExprKind::MapAddress(_)
            | ExprKind::MapLen(_)
            | ExprKind::ContextObject { .. } => {}
            ExprKind::MapGet { key, .. }
            | ExprKind::Delete { key, .. }
            | ExprKind::StepMap { key, .. } => key.iter().for_each(|key| f(key)),
            ExprKind::HasKey { key, .. } => f(key),
            ExprKind::Load { address, .. }
            | ExprKind::LoadBits { address, .. }
            | ExprKind::ReadBytes { address, .. }
            | ExprKind::ReadStrings { list: address, .. } => f(address),
            ExprKind::ReadStr { address, len, .. } => {
                f(address);
                len.iter().for_each(|len| f(len));
            }
            ExprKind::NameOf { number: e, .. }
            | ExprKind::StrOfBytes(e)
            | ExprKind::Neg(e)
            | ExprKind::BitNot(e)
            | ExprKind::Not(e)
            | ExprKind::Cast(e)
            | ExprKind::Resize(e)
            | ExprKind::ByteSwap(e)
            | ExprKind::StrLen(e)
            | ExprKind::Bytes(e)
            | ExprKind::PathOf(e)
            | ExprKind::CommOf { pid: e, .. }
            | ExprKind::Block(_, e) => f(e),
            ExprKind::Field { base, .. } => f(base),
            ExprKind::Binary { left, right, .. }
            | ExprKind::Compare { left, right, .. }
            | ExprKind::CompareBytes { left, right, .. }
            | ExprKind::MemoryDifference { left, right, .. }
            | ExprKind::Concat(left, right)
            | ExprKind::Logical { left, right, .. } => {
                f(left);
                f(right);
            }
            ExprKind::ReadBuffer { address, len, .. } => {
                f(address);
                f(len);
            }
            ExprKind::ReadArguments {
                address, len, most, ..
            } => {
                f(address);
                f(len);
                f(most);
            }
            ExprKind::BufferOf { value, len } => {
                f(value);
                f(len);
            }
            ExprKind::StrContains { haystack, needle } | ExprKind::StrFind { haystack, needle } => {
                f(haystack);
                f(needle);
            }
            ExprKind::StrPrefix { string, prefix } => {
                f(string);
                f(prefix);
            }
            ExprKind::Index { base, index } => {
                f(base);
                f(index);
            }
            ExprKind::Ternary {
                condition,
                then,
                otherwise,
            } => {
                f(condition);
                f(then);
                f(otherwise);
            }
            ExprKind::Fields(parts) | ExprKind::Helper { args: parts, .. } => {
                parts.iter().for_each(f);
            }
        }
    }
}
