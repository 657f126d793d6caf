//! `fn name($a : type) : type { … }`: a macro whose parameters are variables with types.
//!
//! A function's code is put in the place of each call. Its body is a loop of one round, so that a
//! `return` in it is an assignment and a `break`; in a loop of its own a `return` also leaves a
//! mark, for which is looked behind that loop.

use crate::diagnostic::{Diagnostic, Span};

use super::cursor::Parser;
use super::lexer::{Punct, TokenKind};
use super::statement::statement_block;
use super::tree::{
    Block, Expr, ExprKind, IfExpr, Macro, MacroParam, Name, Script, Statement, StatementKind,
    TypeBase, TypeName,
};

/// The variable that holds what a function gives. No script can write such names.
const RESULT: &str = "fn result";
/// The variable that says that a loop of the function has returned.
const RETURNED: &str = "fn returned";

impl Parser<'_> {
    /// Parses `fn name($a : type) : type { … }`.
    pub(super) fn function(&mut self, script: &mut Script) {
        let start = self.bump().span;
        self.set_expand(true);
        let Some(name) = self.expect_name("the name of the function") else {
            return;
        };
        if !self.expect(Punct::LeftParen) {
            return;
        }
        let mut params = Vec::new();
        while self.kind() == TokenKind::Var {
            let token = self.bump();
            let param = Name {
                text: self.text_of(&token)[1..].to_owned(),
                span: token.span,
            };
            if !self.expect(Punct::Colon) {
                return;
            }
            let Some(ty) = self.type_name() else {
                return;
            };
            params.push((param, ty));
            if !self.eat(Punct::Comma) {
                break;
            }
        }
        if !self.expect(Punct::RightParen) {
            return;
        }
        let mut result = None;
        if self.eat(Punct::Colon) {
            result = self.type_name();
            if result.is_none() {
                return;
            }
        }
        let result = result.filter(|ty| !is_void(ty));
        self.returns.clear();
        let Some(mut body) = self.block() else {
            return;
        };
        statement_block(&mut body);
        let span = self.since(start);
        let mut returns = Returns {
            result: result.is_some(),
            ..Returns::default()
        };
        returns.block(&mut body, false);
        let unseen = |span: &&Span| !returns.found.contains(span);
        if let Some(&unseen) = self.returns.iter().find(unseen) {
            let message = "`return` inside of a larger expression of a function";
            let error = Diagnostic::error("invalid-return", unseen, message);
            self.report(error.hint("make a statement of it, before the expression"));
            return;
        }
        if self.refuse_returns(&name, &returns) {
            return;
        }
        script.macros.push(Macro {
            params: (params.iter())
                .map(|(param, _)| MacroParam::Expr(argument(param)))
                .collect(),
            body: as_macro(&params, result, body, !returns.found.is_empty()),
            name,
            function: true,
            span,
        });
    }

    /// Reports what no body of a function may have; says whether it has.
    fn refuse_returns(&mut self, name: &Name, returns: &Returns) -> bool {
        if let Some(wrong) = returns.wrong {
            let message = match returns.result {
                true => format!("{} gives a value: `return` needs one", name.text),
                false => format!("{} gives no value: `return` takes none", name.text),
            };
            let hint = match returns.result {
                true => "for example `return 0;`",
                false => {
                    "write its type behind the parameters: `fn name($a : int64) : int64 { … }`"
                }
            };
            self.report(Diagnostic::error("invalid-return", wrong, message).hint(hint));
            return true;
        }
        if let Some((stray, word)) = returns.stray {
            let message = format!("{word} statement outside of a loop");
            let error = Diagnostic::error("outside-loop", stray, message);
            self.report(error.hint("`return` leaves a function"));
            return true;
        }
        if returns.result && returns.found.is_empty() {
            let message = format!("{} gives a value, yet has no `return`", name.text);
            self.report(Diagnostic::error("invalid-return", name.span, message));
            return true;
        }
        false
    }
}

fn is_void(ty: &TypeName) -> bool {
    ty.suffixes.is_empty() && matches!(&ty.base, TypeBase::Named(name) if name == "void")
}

/// Gives the name that stands for an argument, which no script can write.
fn argument(param: &Name) -> Name {
    Name {
        text: format!("${}", param.text),
        span: param.span,
    }
}

fn expr(kind: ExprKind, span: Span) -> Expr {
    Expr { kind, span }
}

fn declare(var: &str, ty: Option<TypeName>, value: Option<Expr>, span: Span) -> Statement {
    let var = Name {
        text: var.to_owned(),
        span,
    };
    let kind = StatementKind::Let { var, ty, value };
    Statement { kind, span }
}

fn assign(var: &str, value: Expr, span: Span) -> Statement {
    let target = expr(ExprKind::Var(var.to_owned()), span);
    let kind = StatementKind::Assign {
        target,
        op: None,
        value,
    };
    Statement { kind, span }
}

/// Makes the body of the macro: parameters, the loop of one round, the result.
fn as_macro(
    params: &[(Name, TypeName)],
    result: Option<TypeName>,
    body: Block,
    returns: bool,
) -> Block {
    let span = body.span;
    let mut statements = Vec::new();
    for (param, ty) in params {
        let value = expr(ExprKind::Name(argument(param).text), param.span);
        statements.push(declare(
            &param.text,
            Some(ty.clone()),
            Some(value),
            param.span,
        ));
    }
    let value = result.map(|ty| {
        let span = ty.span;
        statements.push(declare(RESULT, Some(ty), None, span));
        Box::new(expr(ExprKind::Var(RESULT.to_owned()), span))
    });
    let kind = match returns {
        true => StatementKind::Unroll {
            count: expr(ExprKind::Int(1), span),
            body,
        },
        false => StatementKind::Block(body),
    };
    statements.push(Statement { kind, span });
    Block {
        statements,
        value,
        span,
    }
}

/// Makes assignments and breaks of `return`.
#[derive(Default)]
struct Returns {
    /// Whether the function gives a value.
    result: bool,
    /// Where they stand.
    found: Vec<Span>,
    /// One that has a value where it should have none, or the other way round.
    wrong: Option<Span>,
    /// A jump out of no loop of the function, which would be one of the loop around a call.
    stray: Option<(Span, &'static str)>,
}

impl Returns {
    /// Goes through a block; `inside` of a loop of the function's own.
    fn block(&mut self, block: &mut Block, inside: bool) {
        for statement in std::mem::take(&mut block.statements) {
            self.statement(statement, inside, &mut block.statements);
        }
    }

    fn statement(&mut self, mut s: Statement, inside: bool, out: &mut Vec<Statement>) {
        let span = s.span;
        match &mut s.kind {
            StatementKind::Return(value) => {
                self.found.push(span);
                if value.is_some() != self.result {
                    self.wrong.get_or_insert(span);
                }
                if let Some(value) = value.take() {
                    out.push(assign(RESULT, value, span));
                }
                if inside {
                    out.push(assign(RETURNED, expr(ExprKind::Bool(true), span), span));
                }
                s.kind = StatementKind::Break;
            }
            StatementKind::Break if !inside => {
                self.stray.get_or_insert((span, "break"));
            }
            StatementKind::Continue if !inside => {
                self.stray.get_or_insert((span, "continue"));
            }
            StatementKind::If(found) => {
                self.block(&mut found.then, inside);
                if let Some(otherwise) = &mut found.otherwise {
                    self.block(otherwise, inside);
                }
            }
            StatementKind::Block(block) => self.block(block, inside),
            StatementKind::Expr(value)
            | StatementKind::Discard(value)
            | StatementKind::Assign { value, .. }
            | StatementKind::Let {
                value: Some(value), ..
            } => self.value(value, inside),
            StatementKind::ForMap { body, .. }
            | StatementKind::ForRange { body, .. }
            | StatementKind::While { body, .. }
            | StatementKind::Unroll { body, .. } => {
                let before = self.found.len();
                self.block(body, true);
                if self.found.len() > before {
                    self.after_loop(s, inside, out);
                    return;
                }
            }
            _ => {}
        }
        out.push(s);
    }

    /// Goes through the blocks that a value is made of.
    fn value(&mut self, value: &mut Expr, inside: bool) {
        match &mut value.kind {
            ExprKind::Block(block) => self.block(block, inside),
            ExprKind::If(found) => {
                self.block(&mut found.then, inside);
                if let Some(otherwise) = &mut found.otherwise {
                    self.block(otherwise, inside);
                }
            }
            _ => {}
        }
    }

    /// Puts a loop that may return between the making of its mark and the look at it.
    fn after_loop(&mut self, of: Statement, inside: bool, out: &mut Vec<Statement>) {
        let span = of.span;
        let no = expr(ExprKind::Bool(false), span);
        // The mark of the outermost loop serves those in it.
        if !inside {
            out.push(declare(RETURNED, None, Some(no), span));
        }
        out.push(of);
        let kind = StatementKind::Break;
        let then = Block {
            statements: vec![Statement { kind, span }],
            value: None,
            span,
        };
        let condition = expr(ExprKind::Var(RETURNED.to_owned()), span);
        let kind = StatementKind::If(IfExpr {
            condition,
            comptime: false,
            then,
            otherwise: None,
        });
        out.push(Statement { kind, span });
    }
}
