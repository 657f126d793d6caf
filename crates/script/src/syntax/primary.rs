//! Expressions without operators: literals, names, calls, parentheses of all meanings, `if`.

use std::collections::HashMap;

use super::cursor::Parser;
use super::lexer::{Punct, TokenKind};
use super::literal::{self, Fault};
use super::tree::{Block, Expr, ExprKind, IfExpr, Name, task_of_stack};
use crate::diagnostic::{Diagnostic, Span};

/// Words that cannot be names where an expression stands.
const RESERVED: &[&str] = &[
    "else", "for", "while", "unroll", "let", "break", "continue", "return", "import", "macro",
    "struct", "union", "enum",
];

impl Parser<'_> {
    /// Parses an expression without operators.
    pub(super) fn primary(&mut self) -> Expr {
        let start = self.span();
        match self.kind() {
            TokenKind::Ident => self.word(),
            TokenKind::Int => {
                let value = self.int();
                self.node(ExprKind::Int(value), start, 0)
            }
            TokenKind::Str => {
                let bytes = self.str();
                self.node(ExprKind::Str(bytes), start, 0)
            }
            TokenKind::Var => {
                let token = self.bump();
                let name = self.text_of(&token)[1..].to_owned();
                self.node(ExprKind::Var(name), start, 0)
            }
            TokenKind::Map => self.map(),
            TokenKind::Positional => self.positional(),
            TokenKind::PositionalCount => {
                self.bump();
                self.node(ExprKind::PositionalCount, start, 0)
            }
            TokenKind::Punct(Punct::LeftParen) => {
                let found = self.deeper(Self::parens);
                found.unwrap_or_else(|| self.error_expr())
            }
            TokenKind::Punct(Punct::LeftBrace) => match self.block() {
                Some(block) => {
                    let height = self.height;
                    self.node(ExprKind::Block(Box::new(block)), start, height)
                }
                None => self.error_expr(),
            },
            _ => {
                self.missing("an expression");
                self.error_expr()
            }
        }
    }

    /// Parses what begins with a word.
    fn word(&mut self) -> Expr {
        let start = self.span();
        let text = self.text();
        match text {
            "if" => {
                let found = self.deeper(Self::if_expr);
                return match found {
                    Some(found) => {
                        let height = self.height;
                        self.node(ExprKind::If(Box::new(found)), start, height)
                    }
                    None => self.error_expr(),
                };
            }
            "sizeof" if self.peek_is(Punct::LeftParen) => {
                self.bump();
                let of = Box::new(self.parenthesized_type_or_expression());
                let height = self.height;
                return self.node(ExprKind::SizeOf(of), start, height);
            }
            "offsetof" | "field_exists" if self.peek_is(Punct::LeftParen) => {
                return self.question_of_member();
            }
            "comptime" => {
                self.bump();
                let operand = self.operand();
                let height = self.height;
                return self.node(ExprKind::Comptime(Box::new(operand)), start, height);
            }
            "true" | "false" => {
                self.bump();
                return self.node(ExprKind::Bool(text == "true"), start, 0);
            }
            _ if RESERVED.contains(&text) => {
                self.missing("an expression");
                return self.error_expr();
            }
            _ => {}
        }
        let name = Name {
            text: text.to_owned(),
            span: start,
        };
        self.bump();
        // Older scripts call macros as `name!(…)`.
        if self.is(Punct::Not) && self.peek_is(Punct::LeftParen) {
            self.bump();
        }
        if !self.is(Punct::LeftParen) {
            return self.node(ExprKind::Name(name.text), start, 0);
        }
        self.bump();
        let args = self.args();
        let height = self.height;
        let of_task = name.text == "kstack" && task_of_stack(&args).is_some();
        if of_task || name.text == "dentry_path" {
            self.walks.push(start);
        }
        self.node(ExprKind::Call { name, args }, start, height)
    }

    /// Parses arguments and the `)`; leaves the greatest height of them.
    fn args(&mut self) -> Vec<Expr> {
        let mut args = Vec::new();
        let mut height = 0;
        while !self.at_end() && !self.is(Punct::RightParen) {
            let is_type = self.is_word("typeof")
                || (self.aggregate_keyword().is_some() && self.peek().0 == TokenKind::Ident);
            let arg = if is_type {
                self.type_or_expression()
            } else {
                self.expression()
            };
            height = height.max(self.height);
            args.push(arg);
            if self.is_lost() || !self.eat(Punct::Comma) {
                break;
            }
            // bpftrace takes no comma behind the last argument, and neither does this.
            if self.is(Punct::RightParen) {
                self.missing("an argument");
            }
        }
        if !self.eat(Punct::RightParen) {
            self.missing("`,` or `)`");
        }
        self.height = height;
        args
    }

    /// Parses `offsetof(type, a.b)` and `field_exists(type, a.b)`.
    fn question_of_member(&mut self) -> Expr {
        let asks_offset = self.is_word("offsetof");
        let start = self.bump().span;
        self.bump();
        let of = Box::new(self.type_or_expression());
        let height = self.height;
        self.expect(Punct::Comma);
        let mut path = Vec::new();
        while let Some(name) = self.expect_name("the name of a member") {
            path.push(name);
            if !self.is(Punct::Dot) {
                break;
            }
            self.bump_before_name();
        }
        self.expect(Punct::RightParen);
        let kind = match asks_offset {
            true => ExprKind::OffsetOf { of, path },
            false => ExprKind::FieldExists { of, path },
        };
        self.node(kind, start, height)
    }

    fn map(&mut self) -> Expr {
        let token = self.bump();
        let start = token.span;
        let name = self.text_of(&token)[1..].to_owned();
        if !self.is(Punct::LeftBracket) {
            return self.node(ExprKind::Map { name, key: None }, start, 0);
        }
        let open = self.bump().span;
        let mut keys = vec![self.expression()];
        let mut height = self.height;
        while !self.is_lost() && self.eat(Punct::Comma) {
            if self.is(Punct::RightBracket) {
                break;
            }
            keys.push(self.expression());
            height = height.max(self.height);
        }
        if !self.eat(Punct::RightBracket) {
            self.missing("`,` or `]`");
        }
        let key = match keys.pop() {
            Some(key) if keys.is_empty() => key,
            Some(key) => {
                keys.push(key);
                self.node(ExprKind::Tuple(keys), open, height)
            }
            None => self.error_expr(),
        };
        let key = Some(Box::new(key));
        self.node(ExprKind::Map { name, key }, start, height + 1)
    }

    fn positional(&mut self) -> Expr {
        let token = self.bump();
        let text = self.text_of(&token);
        match text[1..].parse() {
            Ok(number) if number > 0 => self.node(ExprKind::Positional(number), token.span, 0),
            _ => {
                let message = format!("positional parameter `{text}` is out of range");
                let found = Diagnostic::error("bad-positional", token.span, message)
                    .hint("they count from `$1`");
                self.report(found);
                self.node(ExprKind::Error, token.span, 0)
            }
        }
    }

    /// Parses `(e)`, `(type)e`, a tuple or a record.
    fn parens(&mut self) -> Expr {
        let start = self.bump().span;
        if self.eat(Punct::RightParen) {
            return self.node(ExprKind::Tuple(Vec::new()), start, 0);
        }
        if self.kind() == TokenKind::Ident && self.peek_is(Punct::Assign) {
            return self.record(start);
        }
        if let Some(ty) = self.cast_type() {
            let operand = Box::new(self.operand());
            let height = self.height;
            return self.node(ExprKind::Cast { ty, operand }, start, height);
        }
        let mut first = self.expression();
        if !self.is(Punct::Comma) {
            if self.is(Punct::Assign) && !self.is_lost() {
                return self.compare_instead("`)`");
            }
            self.expect(Punct::RightParen);
            // The parentheses belong to the place, though the tree does not keep them.
            first.span = self.since(start);
            return first;
        }
        let mut height = self.height;
        let mut items = vec![first];
        while !self.is_lost() && self.eat(Punct::Comma) {
            if self.is(Punct::RightParen) {
                break;
            }
            items.push(self.expression());
            height = height.max(self.height);
        }
        if !self.eat(Punct::RightParen) {
            self.missing("`,` or `)`");
        }
        self.node(ExprKind::Tuple(items), start, height)
    }

    fn record(&mut self, start: Span) -> Expr {
        let mut fields: Vec<(Name, Expr)> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        let mut height = 0;
        while let Some(name) = self.expect_name("the name of a field") {
            if !self.expect(Punct::Assign) {
                break;
            }
            let value = self.expression();
            height = height.max(self.height);
            if let Some(other) = seen.insert(name.text.clone(), name.span) {
                let message = format!("the record has a field `{}` already", name.text);
                let found = Diagnostic::error("duplicate-field", name.span, message)
                    .note(other, "it is here");
                self.report(found);
            }
            fields.push((name, value));
            if self.is_lost() || !self.eat(Punct::Comma) || self.is(Punct::RightParen) {
                break;
            }
        }
        if !self.eat(Punct::RightParen) {
            self.missing("`,` or `)`");
        }
        self.node(ExprKind::Record(fields), start, height)
    }

    /// Parses `if c { … } else { … }`.
    pub(super) fn if_expr(&mut self) -> IfExpr {
        self.bump();
        let condition = self.condition();
        let mut height = self.height;
        let (comptime, condition) = match condition.kind {
            ExprKind::Comptime(inner) => (true, *inner),
            _ => (false, condition),
        };
        self.skip_to_body();
        let then = self.block().unwrap_or_default();
        height = height.max(self.height);
        let otherwise = if self.is_word("else") && !self.is_lost() {
            self.bump();
            let start = self.span();
            let otherwise = if self.is_word("if") {
                let inner = self.primary();
                Some(Block {
                    statements: Vec::new(),
                    value: Some(Box::new(inner)),
                    span: self.since(start),
                })
            } else if self.is(Punct::LeftBrace) {
                self.block()
            } else {
                self.missing("`{` or `if` after `else`");
                None
            };
            height = height.max(self.height);
            otherwise
        } else {
            None
        };
        self.height = height;
        IfExpr {
            condition,
            comptime,
            then,
            otherwise,
        }
    }

    /// Parses a condition, in parentheses or not.
    pub(super) fn condition(&mut self) -> Expr {
        if self.is(Punct::LeftParen) {
            let before = self.save();
            self.bump();
            if self.kind() == TokenKind::Ident && self.peek_is(Punct::Assign) {
                self.bump();
                return self.compare_instead("`)`");
            }
            self.restore(before);
        }
        let condition = self.expression();
        if self.is(Punct::Assign) && !self.is_lost() {
            return self.compare_instead("`{`");
        }
        condition
    }

    /// Reports `=` in a condition.
    fn compare_instead(&mut self, what: &str) -> Expr {
        let found = self.missing_here(what).hint("comparison is written `==`");
        self.fail(found);
        self.error_expr()
    }

    /// After an error in a head: goes on at its body, if that is near. Says whether there was an
    /// error.
    pub(super) fn skip_to_body(&mut self) -> bool {
        let lost = self.is_lost();
        while self.is_lost() && !self.at_end() && !self.starts_item_line() {
            if self.is(Punct::LeftBrace) {
                self.found_way();
            } else if self.is(Punct::Semicolon) || self.is(Punct::RightBrace) {
                break;
            } else {
                self.bump();
            }
        }
        lost
    }

    fn int(&mut self) -> u64 {
        let token = self.bump();
        match literal::integer(self.text_of(&token)) {
            Ok(value) => value,
            Err(fault) => {
                self.fault("bad-integer", &token, fault, 0);
                0
            }
        }
    }

    fn str(&mut self) -> Vec<u8> {
        let token = self.bump();
        let text = self.text_of(&token);
        let inner = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or_default();
        let (bytes, faults) = literal::string(inner.as_bytes());
        for fault in faults {
            self.fault("bad-escape", &token, fault, 1);
        }
        bytes
    }

    /// Reports a fault inside a literal, at its own place unless a macro brought the literal in.
    fn fault(&mut self, id: &'static str, token: &super::cursor::Token, fault: Fault, skip: usize) {
        let start = token.text.start + skip;
        let exact = super::cursor::to_span(&(start + fault.range.start..start + fault.range.end));
        let direct = token.span.range() == token.text;
        let span = if direct { exact } else { token.span };
        self.error(id, span, fault.message);
    }
}
