//! Operators.

use super::convert::convert;
use super::expr::number;
use super::infer::{Flex, Shape, join, join_ints, smallest};
use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Arithmetic, Comparison, Expr, ExprKind, Int, Type};
use crate::syntax::tree::{self, BinaryOp, UnaryOp};

/// Gives an operator's text.
pub(super) fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Mod => "%",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "^",
        BinaryOp::Shl => "<<",
        BinaryOp::Shr => ">>",
        BinaryOp::LogicalAnd => "&&",
        BinaryOp::LogicalOr => "||",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
    }
}

/// What an operator is in the checked program.
enum Class {
    Arithmetic(Arithmetic),
    Comparison(Comparison),
    Logical { and: bool },
}

fn class(op: BinaryOp) -> Class {
    match op {
        BinaryOp::Add => Class::Arithmetic(Arithmetic::Add),
        BinaryOp::Sub => Class::Arithmetic(Arithmetic::Sub),
        BinaryOp::Mul => Class::Arithmetic(Arithmetic::Mul),
        BinaryOp::Div => Class::Arithmetic(Arithmetic::Div),
        BinaryOp::Mod => Class::Arithmetic(Arithmetic::Mod),
        BinaryOp::BitAnd => Class::Arithmetic(Arithmetic::And),
        BinaryOp::BitOr => Class::Arithmetic(Arithmetic::Or),
        BinaryOp::BitXor => Class::Arithmetic(Arithmetic::Xor),
        BinaryOp::Shl => Class::Arithmetic(Arithmetic::Shl),
        BinaryOp::Shr => Class::Arithmetic(Arithmetic::Shr),
        BinaryOp::LogicalAnd => Class::Logical { and: true },
        BinaryOp::LogicalOr => Class::Logical { and: false },
        BinaryOp::Eq => Class::Comparison(Comparison::Eq),
        BinaryOp::Ne => Class::Comparison(Comparison::Ne),
        BinaryOp::Lt => Class::Comparison(Comparison::Lt),
        BinaryOp::Le => Class::Comparison(Comparison::Le),
        BinaryOp::Gt => Class::Comparison(Comparison::Gt),
        BinaryOp::Ge => Class::Comparison(Comparison::Ge),
    }
}

impl Checker<'_> {
    pub(super) fn binary(
        &mut self,
        op: BinaryOp,
        left: &tree::Expr,
        right: &tree::Expr,
        span: Span,
    ) -> Expr {
        let left = self.expr(left);
        let right = self.expr(right);
        self.binary_of(op, left, right, span)
    }

    /// Applies an operator to checked operands.
    pub(super) fn binary_of(&mut self, op: BinaryOp, left: Expr, right: Expr, span: Span) -> Expr {
        if left.ty == Type::Void || right.ty == Type::Void {
            return poison(span);
        }
        match class(op) {
            Class::Logical { and } => {
                let left = self.scalar_condition(left);
                let right = self.scalar_condition(right);
                if left.ty == Type::Void || right.ty == Type::Void {
                    return poison(span);
                }
                let kind = ExprKind::Logical {
                    and,
                    left: Box::new(left),
                    right: Box::new(right),
                };
                make(kind, Type::Bool, span)
            }
            Class::Comparison(comparison) => self.compare(op, comparison, left, right, span),
            Class::Arithmetic(arithmetic) => self.arithmetic(op, arithmetic, left, right, span),
        }
    }

    fn operand_error(&mut self, op: BinaryOp, left: &Expr, right: &Expr, span: Span) -> Expr {
        let message = format!(
            "The {} operator can not be used on expressions of types {}, {}",
            symbol(op),
            left.ty,
            right.ty
        );
        self.report(
            Diagnostic::error("invalid-operand", span, message)
                .note(left.span, format!("left ({})", left.ty))
                .note(right.span, format!("right ({})", right.ty)),
        )
    }

    fn compare(
        &mut self,
        op: BinaryOp,
        comparison: Comparison,
        left: Expr,
        right: Expr,
        span: Span,
    ) -> Expr {
        let differ = left.ty != right.ty;
        let left = super::convert::name_as_text(
            left,
            differ && matches!(right.ty, Type::Str { .. } | Type::Named(_)),
        );
        let right =
            super::convert::name_as_text(right, differ && matches!(left.ty, Type::Str { .. }));
        if let (ExprKind::Str(left), ExprKind::Str(right)) = (&left.kind, &right.kind) {
            let holds = comparison.holds(left.cmp(right));
            return make(ExprKind::Int(i64::from(holds)), Type::Bool, span);
        }
        if !left.ty.is_scalar() || !right.ty.is_scalar() {
            return self.compare_bytes(op, comparison, left, right, span);
        }
        let pointers = (
            matches!(left.ty, Type::Pointer { .. }),
            matches!(right.ty, Type::Pointer { .. }),
        );
        let (left, right, signed) = match (number(&left.ty), number(&right.ty)) {
            (Some(x), Some(y)) => {
                let (int, signed) = self.common(op, &left, x, &right, y);
                let ty = Type::Int(int);
                let left = convert(left, &ty);
                (left, convert(right, &ty), signed)
            }
            _ => {
                let mixed = pointers == (true, true)
                    && join(&self.shape(&left), &self.shape(&right)).is_none();
                if mixed {
                    self.warn(
                        "distinct-pointers",
                        span,
                        format!(
                            "comparison of distinct pointer types: {}, {}",
                            left.ty, right.ty
                        ),
                    );
                }
                let comparable = pointers == (true, true)
                    || left.ty == right.ty
                    || number(&left.ty).is_some()
                    || number(&right.ty).is_some();
                if !comparable {
                    return self.comparison_error(op, &left, &right, span);
                }
                let left = convert(left, &Type::U64);
                (left, convert(right, &Type::U64), false)
            }
        };
        let kind = ExprKind::Compare {
            op: comparison,
            signed,
            left: Box::new(left),
            right: Box::new(right),
        };
        make(kind, Type::Bool, span)
    }

    fn comparison_error(&mut self, op: BinaryOp, left: &Expr, right: &Expr, span: Span) -> Expr {
        let message = format!(
            "Type mismatch for '{}': comparing {} with {}",
            symbol(op),
            left.ty,
            right.ty
        );
        self.report(
            Diagnostic::error("type-mismatch", span, message)
                .note(left.span, format!("left ({})", left.ty))
                .note(right.span, format!("right ({})", right.ty)),
        )
    }

    fn compare_bytes(
        &mut self,
        op: BinaryOp,
        comparison: Comparison,
        left: Expr,
        right: Expr,
        span: Span,
    ) -> Expr {
        let negated = match comparison {
            Comparison::Eq => false,
            Comparison::Ne => true,
            _ => return self.operand_error(op, &left, &right, span),
        };
        let Some(joined) = join(&self.shape(&left), &self.shape(&right)) else {
            return self.comparison_error(op, &left, &right, span);
        };
        let (left, right, len) = match (&left.ty, &right.ty) {
            (Type::Str { capacity: x }, Type::Str { capacity: y }) => {
                let len = *x.min(y);
                (left, right, len)
            }
            _ => {
                let left = convert(left, &joined.ty);
                let right = convert(right, &joined.ty);
                (left, right, joined.ty.size())
            }
        };
        let kind = ExprKind::CompareBytes {
            negated,
            len,
            left: Box::new(left),
            right: Box::new(right),
        };
        make(kind, Type::Bool, span)
    }

    /// Gives the 64-bit integer that two operands are taken as, and whether it has a sign.
    fn common(&mut self, op: BinaryOp, left: &Expr, x: Int, right: &Expr, y: Int) -> (Int, bool) {
        let flex = |c: &Self, e: &Expr| match e.ty {
            // A bool is 0 or 1 and takes any sign.
            Type::Bool => Flex::Free,
            _ => c.shape(e).flex,
        };
        let (xf, yf) = (flex(self, left), flex(self, right));
        if matches!(op, BinaryOp::Shl | BinaryOp::Shr) && xf == Flex::Fixed {
            return (Int::new(8, x.signed), x.signed);
        }
        let (joined, _) = join_ints(x, &xf, y, &yf);
        let mixed = xf == Flex::Fixed
            && yf == Flex::Fixed
            && x.signed != y.signed
            && (if x.signed { y } else { x }).bytes == 8;
        if mixed && op != BinaryOp::Sub {
            let unsigned = if x.signed { right } else { left };
            let (ty, at) = (unsigned.ty.clone(), unsigned.span);
            self.warn_of_cast(&ty, &Type::I64, at);
        }
        let both_free = xf == Flex::Free && yf == Flex::Free;
        let signed = joined.signed || both_free;
        (Int::new(8, signed), signed)
    }

    fn arithmetic(
        &mut self,
        op: BinaryOp,
        arithmetic: Arithmetic,
        left: Expr,
        right: Expr,
        span: Span,
    ) -> Expr {
        let moves = matches!(op, BinaryOp::Add | BinaryOp::Sub);
        if let (Type::Pointer { to, space }, Some(_), true) = (&left.ty, number(&right.ty), moves) {
            let (to, space) = (to.clone(), *space);
            return self.plus_elements(left, right, &to, space, op == BinaryOp::Sub);
        }
        let moves = op == BinaryOp::Add;
        if let (Some(_), Type::Pointer { to, space }, true) = (number(&left.ty), &right.ty, moves) {
            let (to, space) = (to.clone(), *space);
            return self.plus_elements(right, left, &to, space, false);
        }
        let (Some(x), Some(y)) = (number(&left.ty), number(&right.ty)) else {
            return self.operand_error(op, &left, &right, span);
        };
        if let (ExprKind::Int(a), ExprKind::Int(b), true) = (
            &left.kind,
            &right.kind,
            self.is_literal(&left) && self.is_literal(&right),
        ) {
            if let Some(value) = fold(arithmetic, *a, *b) {
                return make(ExprKind::Int(value), Type::Int(smallest(value)), span);
            }
        }
        if matches!(op, BinaryOp::Div | BinaryOp::Mod) && matches!(right.kind, ExprKind::Int(0)) {
            self.warn("division-by-zero", right.span, "division by zero gives 1");
        }
        let (int, signed) = self.common(op, &left, x, &right, y);
        // A difference has a sign, whatever its operands have.
        let ty = Type::Int(Int::new(int.bytes, signed || op == BinaryOp::Sub));
        let left = convert(left, &ty);
        let right = convert(right, &ty);
        let kind = ExprKind::Binary {
            op: arithmetic,
            left: Box::new(left),
            right: Box::new(right),
        };
        make(kind, ty, span)
    }

    /// Says whether an expression is a literal whose type nobody chose.
    fn is_literal(&self, e: &Expr) -> bool {
        match (&e.kind, &e.ty) {
            (ExprKind::Int(value), Type::Int(int)) => *int == smallest(*value),
            _ => false,
        }
    }

    pub(super) fn unary(&mut self, op: UnaryOp, operand: &tree::Expr, span: Span) -> Expr {
        if op == UnaryOp::AddressOf {
            return self.address_of(operand, span);
        }
        if op == UnaryOp::Deref && super::field::is_args(operand) {
            return self.expr(operand);
        }
        let most_negative = i64::MIN.unsigned_abs();
        if matches!(operand.kind, tree::ExprKind::Int(n) if op == UnaryOp::Neg && n > most_negative)
        {
            let message = format!("a negative number is at least -{most_negative}");
            return self.error("too-negative", span, message);
        }
        let operand = self.expr(operand);
        if operand.ty == Type::Void {
            return poison(span);
        }
        match op {
            UnaryOp::Deref => self.deref(operand, span),
            UnaryOp::Not => {
                let operand = self.scalar_condition(operand);
                if operand.ty == Type::Void {
                    return poison(span);
                }
                make(ExprKind::Not(Box::new(operand)), Type::Bool, span)
            }
            UnaryOp::Neg | UnaryOp::BitNot | UnaryOp::AddressOf => {
                let Some(int) = number(&operand.ty).filter(|_| operand.ty != Type::Bool) else {
                    let text = if op == UnaryOp::Neg { "-" } else { "~" };
                    let message = format!(
                        "The {text} operator can not be used on expressions of type '{}'",
                        operand.ty
                    );
                    return self.error("invalid-operand", span, message);
                };
                self.negate(op, operand, int, span)
            }
        }
    }

    /// Checks `&$x` and `&@m`.
    fn address_of(&mut self, operand: &tree::Expr, span: Span) -> Expr {
        let (kind, to) = match &operand.kind {
            tree::ExprKind::Var(name) => {
                let read = self.read_var(name, operand.span);
                let ExprKind::Var(id) = read.kind else {
                    return read;
                };
                // What is pointed to may be written by whoever has the address.
                self.scope.unassigned.retain(|(var, _)| *var != id);
                (ExprKind::VarAddress(id), read.ty)
            }
            tree::ExprKind::Map { key: None, .. } => {
                let Some(map) = self.map_argument("&", operand) else {
                    return poison(span);
                };
                (ExprKind::MapAddress(map), Type::Void)
            }
            tree::ExprKind::Map { key: Some(_), .. } => {
                let message = "`&` takes the address of a whole map, not of one of its values";
                return self.error("invalid-operand", span, message);
            }
            tree::ExprKind::Field { .. } | tree::ExprKind::Index { .. } => {
                let place = self.expr(operand);
                return self.address_in_memory(place, span);
            }
            // The parser has said so.
            _ => return poison(span),
        };
        let ty = Type::Pointer {
            to: to.into(),
            space: crate::hir::Space::Kernel,
        };
        make(kind, ty, span)
    }

    /// Gives the address that a value is read from: `&$task.children`, `&$table[2]`.
    fn address_in_memory(&mut self, place: Expr, span: Span) -> Expr {
        let place = match place.kind {
            ExprKind::StrOfBytes(raw) => *raw,
            _ => place,
        };
        let to = match &place.ty {
            Type::Void => return poison(span),
            Type::Str { .. } => Type::Int(Int::new(1, true)),
            ty => ty.clone(),
        };
        let found = match place.kind {
            ExprKind::ReadBytes { address, space } if address.kind != ExprKind::CtxAddress => {
                Some((address, space))
            }
            ExprKind::Load {
                address,
                space,
                bits: None,
                ..
            } => Some((address, space)),
            _ => None,
        };
        let Some((address, space)) = found else {
            let message =
                "`&` takes the address of a variable, of a map, or of what is read of memory";
            return self.error("invalid-operand", span, message);
        };
        let ty = Type::Pointer {
            to: to.into(),
            space,
        };
        convert(*address, &ty)
    }

    fn negate(&mut self, op: UnaryOp, operand: Expr, int: Int, span: Span) -> Expr {
        if let (ExprKind::Int(value), UnaryOp::Neg) = (&operand.kind, op) {
            if self.is_literal(&operand) {
                let value = value.wrapping_neg();
                return make(ExprKind::Int(value), Type::Int(smallest(value)), span);
            }
            if *value == i64::MIN && int == Int::U64 {
                // -9223372036854775808
                return make(ExprKind::Int(i64::MIN), Type::I64, span);
            }
        }
        let ty = Type::Int(match op {
            UnaryOp::Neg => Int::I64,
            // A literal's bits are those of all 64; a number with a sign keeps it.
            _ if int.signed && self.is_literal(&operand) => Int::U64,
            _ if int.signed => Int::I64,
            _ => int,
        });
        let operand = Box::new(convert(operand, &ty));
        let kind = match op {
            UnaryOp::Neg => ExprKind::Neg(operand),
            _ => ExprKind::BitNot(operand),
        };
        make(kind, ty, span)
    }

    /// Checks `++` and `--`.
    pub(super) fn step(
        &mut self,
        increment: bool,
        postfix: bool,
        operand: &tree::Expr,
        span: Span,
    ) -> Expr {
        let sign = if increment { 1i64 } else { -1 };
        let text = if increment { "++" } else { "--" };
        match &operand.kind {
            tree::ExprKind::Var(name) => {
                let Some(id) = self.find_var(name) else {
                    return self.read_var(name, operand.span);
                };
                let Some(shape) = self.var_shape(id).cloned() else {
                    if let Some(info) = self.var_info(id) {
                        info.wants_number = true;
                    }
                    return poison(span);
                };
                self.scope.unassigned.retain(|(var, _)| *var != id);
                let declared = self.var_info(id).is_some_and(|i| i.declared);
                let Some(delta) = self.step_shape(&shape, sign, text, span) else {
                    return poison(span);
                };
                if let (Type::Int(_), false) = (&shape.ty, declared) {
                    self.grow_var(id, &stepped(&shape, increment), span);
                }
                let ty = self.var_shape(id).map_or(Type::Void, |s| s.ty.clone());
                let kind = ExprKind::StepVar {
                    var: id,
                    delta,
                    postfix,
                };
                make(kind, ty, span)
            }
            tree::ExprKind::Map { name, key } => {
                let (map, key) = self.map_access(name, key.as_deref(), operand.span);
                let Some(shape) = self.plain_shape(map, span) else {
                    self.want_number(map);
                    return poison(span);
                };
                let Some(delta) = self.step_shape(&shape, sign, text, span) else {
                    return poison(span);
                };
                if let Type::Int(_) = &shape.ty {
                    self.grow_map(map, &stepped(&shape, increment), span);
                }
                let ty = self.plain_shape(map, span).map_or(Type::Void, |s| s.ty);
                self.used_steps += 1;
                let kind = ExprKind::StepMap {
                    map,
                    key: key.map(Box::new),
                    delta,
                    postfix,
                };
                make(kind, ty, span)
            }
            _ => {
                // The parser has said that this is neither a variable nor a map.
                self.expr(operand);
                poison(span)
            }
        }
    }

    fn step_shape(&mut self, shape: &Shape, sign: i64, text: &str, span: Span) -> Option<i64> {
        match &shape.ty {
            Type::Int(_) => Some(sign),
            Type::Pointer { to, .. } => Some(sign * i64::from(to.size().max(1))),
            ty => {
                let message =
                    format!("The {text} operator can not be used on expressions of type '{ty}'");
                self.error("invalid-operand", span, message);
                None
            }
        }
    }
}

/// Gives the type that a number has once it was stepped.
fn stepped(shape: &Shape, increment: bool) -> Shape {
    let signed = match &shape.ty {
        Type::Int(int) => int.signed,
        _ => false,
    };
    let free = shape.flex == Flex::Free && increment;
    Shape {
        ty: Type::Int(Int::new(8, signed || !increment)),
        flex: if free { Flex::Free } else { Flex::Fixed },
    }
}

/// Computes what the program would; none where that is not defined.
fn fold(op: Arithmetic, a: i64, b: i64) -> Option<i64> {
    match op {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Sub => a.checked_sub(b),
        Arithmetic::Mul => a.checked_mul(b),
        Arithmetic::Div => a.checked_div(b),
        Arithmetic::Mod => a.checked_rem(b),
        Arithmetic::And => Some(a & b),
        Arithmetic::Or => Some(a | b),
        Arithmetic::Xor => Some(a ^ b),
        Arithmetic::Shl => {
            let shift = u32::try_from(b).ok().filter(|s| *s < 63)?;
            a.checked_mul(1i64 << shift)
        }
        Arithmetic::Shr => {
            let shift = u32::try_from(b).ok().filter(|s| *s < 64)?;
            Some(a >> shift)
        }
    }
}
