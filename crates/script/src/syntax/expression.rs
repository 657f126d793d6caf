//! Expressions: operators by precedence, prefixes, postfixes.

use super::cursor::Parser;
use super::lexer::{Punct, TokenKind};
use super::tree::{BinaryOp, Expr, ExprKind, Name, UnaryOp};
use crate::diagnostic::{Diagnostic, Span};

/// Gives the operator of a token and how strongly it binds; as in C.
fn binary_op(punct: Punct) -> Option<(u8, BinaryOp)> {
    Some(match punct {
        Punct::OrOr => (1, BinaryOp::LogicalOr),
        Punct::AndAnd => (2, BinaryOp::LogicalAnd),
        Punct::Or => (3, BinaryOp::BitOr),
        Punct::Xor => (4, BinaryOp::BitXor),
        Punct::And => (5, BinaryOp::BitAnd),
        Punct::EqEq => (6, BinaryOp::Eq),
        Punct::NotEq => (6, BinaryOp::Ne),
        Punct::Less => (7, BinaryOp::Lt),
        Punct::LessEq => (7, BinaryOp::Le),
        Punct::Greater => (7, BinaryOp::Gt),
        Punct::GreaterEq => (7, BinaryOp::Ge),
        Punct::Shl => (8, BinaryOp::Shl),
        Punct::Shr => (8, BinaryOp::Shr),
        Punct::Add => (9, BinaryOp::Add),
        Punct::Sub => (9, BinaryOp::Sub),
        Punct::Mul => (10, BinaryOp::Mul),
        Punct::Div => (10, BinaryOp::Div),
        Punct::Mod => (10, BinaryOp::Mod),
        _ => return None,
    })
}

impl Parser<'_> {
    /// Gives an expression that stands for what could not be parsed here.
    pub(super) fn error_expr(&mut self) -> Expr {
        self.height = 1;
        let at = self.span().start;
        Expr {
            kind: ExprKind::Error,
            span: Span::new(at, at),
        }
    }

    /// Makes an expression that began at `start` and has parts of at most `inner` height.
    pub(super) fn node(&mut self, kind: ExprKind, start: Span, inner: u32) -> Expr {
        self.rise(inner);
        let span = self.since(start);
        Expr { kind, span }
    }

    /// Parses an expression.
    pub(super) fn expression(&mut self) -> Expr {
        let found = self.deeper(|p| {
            let first = p.unary();
            let condition = p.binary(0, first);
            p.ternary(condition)
        });
        found.unwrap_or_else(|| self.error_expr())
    }

    /// Goes on after the condition of `c ? a : b` or `c ?: b`, if it is one.
    pub(super) fn ternary(&mut self, condition: Expr) -> Expr {
        if !self.is(Punct::Question) {
            return condition;
        }
        let start = condition.span;
        let mut height = self.height;
        self.bump();
        let then = if self.is(Punct::Colon) {
            None
        } else {
            let then = self.expression();
            height = height.max(self.height);
            Some(Box::new(then))
        };
        self.expect(Punct::Colon);
        let otherwise = Box::new(self.expression());
        height = height.max(self.height);
        let kind = ExprKind::Ternary {
            condition: Box::new(condition),
            then,
            otherwise,
        };
        self.node(kind, start, height)
    }

    /// Goes on after an operand, over operators that bind at least as strongly as `least`.
    pub(super) fn binary(&mut self, least: u8, mut left: Expr) -> Expr {
        while let TokenKind::Punct(punct) = self.kind() {
            let Some((strength, op)) = binary_op(punct) else {
                break;
            };
            let ends_predicate =
                punct == Punct::Div && self.in_predicate && self.peek_is(Punct::LeftBrace);
            if strength < least || ends_predicate || self.is_lost() {
                break;
            }
            let left_height = self.height;
            self.bump();
            let right = self.deeper(|p| {
                let first = p.unary();
                p.binary(strength + 1, first)
            });
            let right = right.unwrap_or_else(|| self.error_expr());
            let start = left.span;
            let kind = ExprKind::Binary {
                op,
                left: Box::new(left),
                right: Box::new(right),
            };
            left = self.node(kind, start, left_height.max(self.height));
        }
        left
    }

    /// Parses prefixes and what they stand before.
    pub(super) fn unary(&mut self) -> Expr {
        let op = match self.kind() {
            TokenKind::Punct(Punct::Sub) => UnaryOp::Neg,
            TokenKind::Punct(Punct::Not) => UnaryOp::Not,
            TokenKind::Punct(Punct::BitNot) => UnaryOp::BitNot,
            TokenKind::Punct(Punct::Mul) => UnaryOp::Deref,
            TokenKind::Punct(Punct::And) => UnaryOp::AddressOf,
            TokenKind::Punct(Punct::Increment | Punct::Decrement) => return self.step_before(),
            _ => {
                let first = self.primary();
                return self.postfix(first);
            }
        };
        let start = self.bump().span;
        let operand = self.operand();
        let whole = matches!(
            operand.kind,
            ExprKind::Var(_)
                | ExprKind::Map { key: None, .. }
                | ExprKind::Field { .. }
                | ExprKind::Index { .. }
        );
        if op == UnaryOp::AddressOf && !whole && !self.is_lost() {
            let message =
                "`&` takes the address of a variable, of a map, or of what is read of memory";
            let found = Diagnostic::error("bad-operand", operand.span, message);
            self.report(found);
        }
        let kind = ExprKind::Unary {
            op,
            operand: Box::new(operand),
        };
        let height = self.height;
        self.node(kind, start, height)
    }

    /// Parses the operand of a prefix, which may have prefixes itself.
    pub(super) fn operand(&mut self) -> Expr {
        let operand = self.deeper(Self::unary);
        operand.unwrap_or_else(|| self.error_expr())
    }

    /// Parses `++x`.
    fn step_before(&mut self) -> Expr {
        let increment = self.is(Punct::Increment);
        let start = self.bump().span;
        let operand = self.operand();
        let height = self.height;
        self.check_step(&operand, increment);
        let kind = ExprKind::Step {
            increment,
            postfix: false,
            operand: Box::new(operand),
        };
        self.node(kind, start, height)
    }

    fn check_step(&mut self, operand: &Expr, increment: bool) {
        let can = matches!(operand.kind, ExprKind::Var(_) | ExprKind::Map { .. });
        if !can && !self.is_lost() {
            let op = if increment { "++" } else { "--" };
            let message = format!("`{op}` needs a variable or a map");
            self.error("bad-operand", operand.span, message);
        }
    }

    /// Goes on after a primary expression: `.x`, `->x`, `[i]`, `++`, `--`.
    pub(super) fn postfix(&mut self, mut base: Expr) -> Expr {
        while !self.is_lost() {
            let start = base.span;
            let height = self.height;
            let kind = match self.kind() {
                TokenKind::Punct(punct @ (Punct::Dot | Punct::Arrow)) => {
                    self.bump_before_name();
                    let Some(name) = self.member_name() else {
                        break;
                    };
                    ExprKind::Field {
                        base: Box::new(base),
                        name,
                        arrow: punct == Punct::Arrow,
                    }
                }
                TokenKind::Punct(Punct::LeftBracket) => {
                    self.bump();
                    let index = self.expression();
                    self.height = self.height.max(height);
                    self.expect(Punct::RightBracket);
                    let kind = ExprKind::Index {
                        base: Box::new(base),
                        index: Box::new(index),
                    };
                    let inner = self.height;
                    base = self.node(kind, start, inner);
                    continue;
                }
                TokenKind::Punct(punct @ (Punct::Increment | Punct::Decrement)) => {
                    let increment = punct == Punct::Increment;
                    // `@a` and, on the next line, `++@b`: a `;` is missing.
                    let can = matches!(base.kind, ExprKind::Var(_) | ExprKind::Map { .. });
                    if !can && self.on_new_line() {
                        break;
                    }
                    self.check_step(&base, increment);
                    self.bump();
                    ExprKind::Step {
                        increment,
                        postfix: true,
                        operand: Box::new(base),
                    }
                }
                _ => break,
            };
            base = self.node(kind, start, height);
        }
        base
    }

    /// Takes the name of a member, or the number of a tuple's.
    fn member_name(&mut self) -> Option<Name> {
        if self.kind() == TokenKind::Int {
            let span = self.span();
            let text = self.text().to_owned();
            if text.bytes().all(|byte| byte.is_ascii_digit()) {
                self.bump();
                return Some(Name { text, span });
            }
        }
        self.expect_name("the name of a member")
    }
}
