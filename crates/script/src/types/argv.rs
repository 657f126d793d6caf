//! `argv`: the arguments of a program, shown as a command line.

use super::convert::convert;
use super::expr::number;
use super::function::Call;
use super::{Checker, make, poison};
use crate::hir::{Expr, ExprKind, Space, Type};

/// Most bytes that a script may name: as many as a string may have.
const LARGEST: u32 = 1 << 20;

impl Checker<'_> {
    /// Checks `argv(start, length[, most])`: `length` bytes that begin at `start`, of which at
    /// most `most` are read.
    pub(super) fn argv(&mut self, call: Call<'_>) -> Expr {
        let checked: Vec<Expr> = call.args.iter().map(|a| self.expr(a)).collect();
        if checked.iter().any(|e| e.ty == Type::Void) {
            return poison(call.span);
        }
        let mut checked = checked.into_iter();
        let (Some(start), Some(len)) = (checked.next(), checked.next()) else {
            return poison(call.span);
        };
        // Arguments lie in the process, unless the pointer is known to be another.
        let space = match &start.ty {
            Type::Pointer { space, .. } => *space,
            Type::Int(_) => Space::User,
            _ => return self.wrong_argument("argv", "an integer or pointer", &start),
        };
        if number(&len.ty).is_none() {
            return self.wrong_argument("argv", "a number as its length", &len);
        }
        let mut capacity = self.config.max_strlen;
        let most = match checked.next() {
            None => make(ExprKind::Int(i64::from(capacity)), Type::U64, call.span),
            Some(most) if number(&most.ty).is_none() => {
                return self.wrong_argument("argv", "a number as the most to read", &most);
            }
            Some(most) => {
                if let ExprKind::Int(n) = &most.kind {
                    match u32::try_from(*n) {
                        Ok(n) if (1..=LARGEST).contains(&n) => capacity = n,
                        _ => {
                            let message = format!("argv() reads 1 to {LARGEST} bytes, not {n}");
                            return self.error("invalid-argument", most.span, message);
                        }
                    }
                }
                convert(most, &Type::U64)
            }
        };
        let kind = ExprKind::ReadArguments {
            address: Box::new(convert(start, &Type::U64)),
            space,
            len: Box::new(convert(len, &Type::U64)),
            most: Box::new(most),
        };
        make(kind, Type::Arguments { capacity }, call.span)
    }
}
