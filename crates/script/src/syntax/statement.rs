//! Blocks and statements.

use super::cursor::Parser;
use super::lexer::{Punct, TokenKind};
use super::list_loop::{self, WalkKind};
use super::tree::{BinaryOp, Block, Expr, ExprKind, IfExpr, Name, Statement, StatementKind};
use crate::diagnostic::{Diagnostic, Span};
use crate::near::near;

/// Words that begin statements.
const KEYWORDS: &[&str] = &[
    "if", "else", "for", "while", "unroll", "let", "return", "break", "continue",
];

/// Gives the operator of a compound assignment.
fn assign_op(punct: Punct) -> Option<Option<BinaryOp>> {
    Some(match punct {
        Punct::Assign => None,
        Punct::AddAssign => Some(BinaryOp::Add),
        Punct::SubAssign => Some(BinaryOp::Sub),
        Punct::MulAssign => Some(BinaryOp::Mul),
        Punct::DivAssign => Some(BinaryOp::Div),
        Punct::ModAssign => Some(BinaryOp::Mod),
        Punct::AndAssign => Some(BinaryOp::BitAnd),
        Punct::OrAssign => Some(BinaryOp::BitOr),
        Punct::XorAssign => Some(BinaryOp::BitXor),
        Punct::ShlAssign => Some(BinaryOp::Shl),
        Punct::ShrAssign => Some(BinaryOp::Shr),
        _ => return None,
    })
}

/// Makes the value of a block a statement, in a block whose value nobody takes.
pub(super) fn statement_block(block: &mut Block) {
    if let Some(value) = block.value.take() {
        block.statements.push(to_statement(*value));
    }
}

/// Makes a statement of an expression.
fn to_statement(expr: Expr) -> Statement {
    let span = expr.span;
    let kind = match expr.kind {
        ExprKind::If(mut found) => {
            statement_block(&mut found.then);
            if let Some(otherwise) = &mut found.otherwise {
                statement_block(otherwise);
            }
            StatementKind::If(*found)
        }
        ExprKind::Block(mut block) => {
            statement_block(&mut block);
            StatementKind::Block(*block)
        }
        ExprKind::Error => StatementKind::Error,
        kind => StatementKind::Expr(Expr { kind, span }),
    };
    Statement { kind, span }
}

/// Says whether an expression that looks like a statement gives a value on all its ways.
fn gives_value(expr: &Expr) -> bool {
    let block = |block: &Block| block.value.as_deref().is_some_and(gives_value);
    match &expr.kind {
        ExprKind::Block(inner) => block(inner),
        ExprKind::If(found) => {
            let IfExpr {
                then, otherwise, ..
            } = found.as_ref();
            block(then) && otherwise.as_ref().is_some_and(block)
        }
        _ => true,
    }
}

impl Parser<'_> {
    /// Parses `{ … }`; leaves the greatest height of the expressions in it.
    pub(super) fn block(&mut self) -> Option<Block> {
        if !self.is(Punct::LeftBrace) {
            let found = self.missing_here("`{`");
            self.fail(found.hint("a body stands in braces, even if it is one statement"));
            return None;
        }
        self.deeper(Self::block_inside)
    }

    /// Parses a block whose value nobody takes.
    fn body(&mut self) -> Block {
        self.skip_to_body();
        let mut block = self.block().unwrap_or_default();
        statement_block(&mut block);
        block
    }

    fn block_inside(&mut self) -> Block {
        let predicate = std::mem::replace(&mut self.in_predicate, false);
        let open = self.bump().span;
        let mut block = Block::default();
        let mut height = 0;
        while !self.at_end() && !self.is(Punct::RightBrace) && !self.starts_item_line() {
            let before = self.offset();
            self.found_way();
            self.height = 0;
            self.item_of_block(&mut block);
            height = height.max(self.height);
            if self.is_lost() {
                let start = Span::new(self.offset() as u32, self.offset() as u32);
                self.skip_statement(before);
                block.statements.push(Statement {
                    kind: StatementKind::Error,
                    span: self.since(start),
                });
            }
        }
        self.found_way();
        // A string without an end has taken the rest of its line, with what closes the block.
        let unterminated = ["unterminated-string", "unterminated-comment"].map(Some);
        let excused =
            (self.starts_item_line() || self.at_end()) && unterminated.contains(&self.last_id());
        if !excused && !self.eat(Punct::RightBrace) {
            let found = self.missing_here("`}`").note(open, "the block begins here");
            self.fail(found);
        }
        block.span = self.since(open);
        self.in_predicate = predicate;
        self.height = height;
        block
    }

    /// After an error: skips to where the next statement seems to begin.
    fn skip_statement(&mut self, before: usize) {
        let mut depth = 0u32;
        let mut moved = self.offset() > before;
        while !self.at_end() && !self.starts_item_line() {
            if self.is(Punct::LeftBrace) {
                depth += 1;
            } else if self.is(Punct::RightBrace) {
                if depth == 0 {
                    return;
                }
                depth -= 1;
                if depth == 0 && self.peek().1 != "else" {
                    self.bump();
                    self.eat(Punct::Semicolon);
                    return;
                }
            } else if self.is(Punct::Semicolon) && depth == 0 {
                self.bump();
                return;
            } else if depth == 0 && moved && self.on_new_line() && self.starts_statement() {
                return;
            }
            self.bump();
            moved = true;
        }
    }

    /// Says whether the current token is a word that begins a statement and nothing else.
    fn starts_statement(&self) -> bool {
        self.kind() == TokenKind::Ident && KEYWORDS.contains(&self.text()) && !self.is_word("else")
    }

    /// Parses one statement, or the value of the block.
    fn item_of_block(&mut self, block: &mut Block) {
        if self.eat(Punct::Semicolon) {
            return;
        }
        let start = self.span();
        let kind = match self.kind() {
            TokenKind::Ident => self.keyword_statement(),
            _ => None,
        };
        if let Some(kind) = kind {
            let span = self.since(start);
            if let StatementKind::Return(_) = kind {
                self.returns.push(span);
            }
            block.statements.push(Statement { kind, span });
            return;
        }
        if self.is_word("if") || self.is(Punct::LeftBrace) {
            let expr = self.primary();
            let ended = self.eat(Punct::Semicolon);
            if !ended && self.is(Punct::RightBrace) && gives_value(&expr) {
                block.value = Some(Box::new(expr));
            } else {
                block.statements.push(to_statement(expr));
            }
            return;
        }
        let expr = self.expression();
        if let TokenKind::Punct(punct) = self.kind() {
            if let Some(op) = assign_op(punct) {
                if !self.is_lost() {
                    let statement = self.assignment(expr, op, start);
                    block.statements.push(statement);
                    return;
                }
            }
        }
        if self.is_lost() {
            return;
        }
        if self.is(Punct::RightBrace) {
            block.value = Some(Box::new(expr));
            return;
        }
        let word = match &expr.kind {
            ExprKind::Name(name)
            | ExprKind::Call {
                name: Name { text: name, .. },
                ..
            } => Some(name.clone()),
            _ => None,
        };
        let step = matches!(expr.kind, ExprKind::Step { .. });
        block.statements.push(to_statement(expr));
        // bpftrace asks for no `;` behind `$x++`.
        if !(step && self.on_new_line()) {
            self.end_of_statement(word.as_deref());
        }
    }

    /// Takes the `;` of a statement; none is needed before `}`.
    fn end_of_statement(&mut self, word: Option<&str>) {
        if self.is_lost() || self.eat(Punct::Semicolon) || self.is(Punct::RightBrace) {
            return;
        }
        let fresh = self.on_new_line() || self.at_end();
        let mut found = self.missing_here("`;`");
        if fresh && found.id == "expected" {
            found.span = self.previous_character();
            found.message = "expected `;` after this".to_owned();
        }
        let keyword = word.and_then(|word| near(word, KEYWORDS));
        found.hint = keyword.map(|keyword| format!("did you mean `{keyword}`?"));
        let mistaken = found.hint.is_some();
        self.fail(found);
        if fresh && !mistaken {
            // Only the `;` is missing: the next line is as good as any.
            self.found_way();
        }
    }

    fn assignment(&mut self, target: Expr, op: Option<BinaryOp>, start: Span) -> Statement {
        let height = self.height;
        self.bump();
        let value = self.expression();
        self.height = self.height.max(height);
        let can = matches!(
            target.kind,
            ExprKind::Var(_)
                | ExprKind::Map { .. }
                | ExprKind::Field { .. }
                | ExprKind::Index { .. }
                | ExprKind::Error
        );
        let kind = if can {
            StatementKind::Assign { target, op, value }
        } else {
            let message = "this cannot be assigned to";
            let found = Diagnostic::error("bad-target", target.span, message)
                .hint("assign to a variable `$x`, a map `@x` or an element `@x[key]`");
            self.report(found);
            StatementKind::Error
        };
        let span = self.since(start);
        self.end_of_statement(None);
        Statement { kind, span }
    }

    /// Parses a statement that begins with a keyword, if one does.
    fn keyword_statement(&mut self) -> Option<StatementKind> {
        let start = self.span();
        let kind = match self.text() {
            "let" => self.let_statement(),
            "for" => self.for_statement(),
            "while" => {
                self.bump();
                let condition = self.condition();
                let body = self.body();
                StatementKind::While { condition, body }
            }
            "unroll" => {
                self.bump();
                let count = self.condition();
                let body = self.body();
                StatementKind::Unroll { count, body }
            }
            "break" => {
                self.bump();
                self.end_of_statement(None);
                StatementKind::Break
            }
            "continue" => {
                self.bump();
                self.end_of_statement(None);
                StatementKind::Continue
            }
            "return" => {
                self.bump();
                let none = self.is(Punct::Semicolon) || self.is(Punct::RightBrace);
                let value = (!none).then(|| self.expression());
                self.end_of_statement(None);
                StatementKind::Return(value)
            }
            "import" if matches!(self.peek().0, TokenKind::Str | TokenKind::OpenStr) => {
                self.bump();
                self.primary();
                let span = self.since(start);
                self.end_of_statement(None);
                self.unsupported_import(span);
                StatementKind::Error
            }
            "_" if self.peek_is(Punct::Assign) => {
                self.bump();
                self.bump();
                let value = self.expression();
                self.end_of_statement(None);
                StatementKind::Discard(value)
            }
            _ => return None,
        };
        Some(kind)
    }

    fn let_statement(&mut self) -> StatementKind {
        self.bump();
        let Some(var) = self.variable("a variable after `let`") else {
            return StatementKind::Error;
        };
        let ty = if self.eat(Punct::Colon) {
            self.type_name()
        } else {
            None
        };
        let value = (!self.is_lost() && self.eat(Punct::Assign)).then(|| self.expression());
        self.end_of_statement(None);
        StatementKind::Let { var, ty, value }
    }

    /// Takes a variable.
    fn variable(&mut self, what: &str) -> Option<Name> {
        if self.kind() != TokenKind::Var {
            let mut found = self.missing_here(what);
            if self.kind() == TokenKind::Ident {
                found.hint = Some(format!("variables begin with `$`: `${}`", self.text()));
            } else if self.kind() == TokenKind::Map {
                found.hint = Some("maps need no declaration inside a probe".to_owned());
            }
            self.fail(found);
            return None;
        }
        let token = self.bump();
        Some(Name {
            text: self.text_of(&token)[1..].to_owned(),
            span: token.span,
        })
    }

    fn for_statement(&mut self) -> StatementKind {
        let start = self.span();
        self.bump();
        let parens = self.eat(Punct::LeftParen);
        let head = self.for_head(parens);
        let span = self.since(start);
        let body = self.body();
        match head {
            Some((var, ForHead::Map(map))) => StatementKind::ForMap { var, map, body },
            Some((var, ForHead::Range(start, end))) => StatementKind::ForRange {
                var,
                start,
                end,
                body,
            },
            Some((var, ForHead::List(args))) => {
                self.walks.push(span);
                list_loop::walk(var, *args, body, span)
            }
            Some((var, ForHead::Walk(kind, args))) => {
                self.walks.push(span);
                list_loop::interpreted(var, kind, args, body, span)
            }
            None => StatementKind::Error,
        }
    }

    fn for_head(&mut self, parens: bool) -> Option<(Name, ForHead)> {
        let var = self.variable("a variable after `for`")?;
        if !self.expect(Punct::Colon) {
            return None;
        }
        let first = self.expression();
        let head = if self.eat(Punct::DotDot) {
            let height = self.height;
            let end = self.expression();
            self.height = self.height.max(height);
            ForHead::Range(first, end)
        } else {
            match first.kind {
                ExprKind::Map { name, key: None } => ForHead::Map(Name {
                    text: name,
                    span: first.span,
                }),
                ExprKind::Call { name, args } if list_loop::is_walk(&name.text) => {
                    self.walk_head(&name.text, args, first.span)?
                }
                kind => {
                    let message = "expected a map or a range `a..b` to go through";
                    let mut found = Diagnostic::error("expected", first.span, message);
                    if matches!(kind, ExprKind::Call { .. }) {
                        found = found.hint(list_loop::names_walks());
                    }
                    self.fail(found);
                    return None;
                }
            }
        };
        if parens && !self.is_lost() {
            self.expect(Punct::RightParen);
        }
        Some((var, head))
    }

    /// Takes what stands in the parentheses of `list` and other walks.
    fn walk_head(&mut self, name: &str, args: Vec<Expr>, span: Span) -> Option<ForHead> {
        let (_, kind, takes) = list_loop::WALKS.iter().find(|(walk, ..)| *walk == name)?;
        let count = args.len();
        let wanted = match kind {
            Some(WalkKind::Xarray | WalkKind::Maple) => 2,
            _ => 3,
        };
        let head = match kind {
            None => <[Expr; 3]>::try_from(args)
                .ok()
                .map(|args| ForHead::List(Box::new(args))),
            Some(kind) => (count == wanted).then_some(ForHead::Walk(*kind, args)),
        };
        if head.is_none() {
            let message = format!("{name} takes {wanted} arguments ({count} provided)");
            let found = Diagnostic::error("argument-count", span, message);
            self.fail(found.hint(*takes));
        }
        head
    }
}

/// What a `for` goes through.
enum ForHead {
    Map(Name),
    Range(Expr, Expr),
    List(Box<[Expr; 3]>),
    Walk(WalkKind, Vec<Expr>),
}
