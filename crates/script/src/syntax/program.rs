//! What stands outside probes: configuration, definitions, macros, declarations of maps.

use crate::diagnostic::{Diagnostic, Span};
use crate::near::near;

use super::cursor::Parser;
use super::lexer::{Punct, TokenKind};
use super::statement::statement_block;
use super::tree::{ConfigEntry, Expr, ExprKind, Macro, MacroParam, MapDecl, Name, Probe, Script};

/// Words that begin something between probes.
const KEYWORDS: &[&str] = &[
    "config", "macro", "let", "import", "fn", "struct", "union", "enum",
];

impl Parser<'_> {
    /// Parses a whole script.
    pub(super) fn script(&mut self) -> Script {
        let mut script = Script::default();
        while !self.at_end() {
            let before = self.offset();
            self.in_predicate = false;
            self.found_way();
            self.item(&mut script);
            self.set_expand(false);
            if self.is_lost() {
                self.skip_to_item(before);
            } else if self.offset() == before {
                self.bump();
            }
        }
        script.walks = std::mem::take(&mut self.walks);
        script
    }

    /// Parses one item.
    fn item(&mut self, script: &mut Script) {
        if self.kind() == TokenKind::Ident {
            match self.text() {
                "config" if self.peek_is(Punct::Assign) => return self.config(script),
                "import" if matches!(self.peek().0, TokenKind::Str | TokenKind::OpenStr) => {
                    return self.import(script);
                }
                "macro" if self.peek().0 == TokenKind::Ident => return self.macro_item(script),
                "fn" if self.peek().0 == TokenKind::Ident => return self.function(script),
                "let" => return self.map_decl(script),
                "struct" | "union" | "enum" if self.is_definition() => {
                    return self.c_definition(&mut script.definitions);
                }
                "typedef" if self.peek().0 == TokenKind::Ident => {
                    let message = "`typedef` is not supported";
                    let found = Diagnostic::error("unsupported", self.span(), message)
                        .hint("define the `struct`, `union` or `enum` with a name of its own");
                    return self.fail(found);
                }
                _ => {}
            }
        }
        if self.eat(Punct::Semicolon) {
            return;
        }
        if let Some(probe) = self.probe() {
            script.probes.push(probe);
        }
    }

    /// After an error: skips to where the next item seems to begin, at the start of a line.
    fn skip_to_item(&mut self, before: usize) {
        if self.offset() == before {
            self.bump();
        }
        let mut depth = 0u32;
        while !self.at_end() {
            if self.starts_item_line() {
                return;
            }
            if self.is(Punct::LeftBrace) {
                depth += 1;
            } else if self.is(Punct::RightBrace) {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    self.bump();
                    while self.eat(Punct::Semicolon) {}
                    return;
                }
            }
            self.bump();
        }
    }

    /// Says whether the current token is the first of its line, unindented, and begins an item.
    pub(super) fn starts_item_line(&self) -> bool {
        if self.kind() != TokenKind::Ident {
            return false;
        }
        let at = self.offset();
        let newline = at
            .checked_sub(1)
            .is_none_or(|before| self.bytes().get(before) == Some(&b'\n'));
        if !newline {
            return false;
        }
        let text = self.text();
        let (next, _) = self.peek();
        match text {
            "config" => next == TokenKind::Punct(Punct::Assign),
            "import" => matches!(next, TokenKind::Str | TokenKind::OpenStr),
            "macro" | "fn" | "struct" | "union" | "enum" | "typedef" => next == TokenKind::Ident,
            "let" => next == TokenKind::Map,
            "begin" | "BEGIN" | "end" | "END" => {
                matches!(
                    next,
                    TokenKind::Punct(Punct::LeftBrace | Punct::Comma | Punct::Div)
                )
            }
            _ => next == TokenKind::Punct(Punct::Colon) && super::is_probe_type(text),
        }
    }

    fn config(&mut self, script: &mut Script) {
        let late =
            !script.probes.is_empty() || !script.macros.is_empty() || !script.map_decls.is_empty();
        if late || !script.config.is_empty() {
            let message = match late {
                true => "config must appear before probes and functions",
                false => "duplicate config block",
            };
            let hint = match late {
                true => "put the config block at the top of the script",
                false => "put all settings into the first",
            };
            let found = Diagnostic::error("config-place", self.span(), message).hint(hint);
            self.report(found);
        }
        self.bump();
        if !self.expect(Punct::Assign) || !self.expect(Punct::LeftBrace) {
            return;
        }
        while !self.at_end() && !self.is(Punct::RightBrace) {
            if self.eat(Punct::Semicolon) || self.eat(Punct::Comma) {
                continue;
            }
            let Some(key) = self.expect_name("a configuration key") else {
                break;
            };
            if !self.expect(Punct::Assign) {
                break;
            }
            let value = match self.kind() {
                TokenKind::Int | TokenKind::Str | TokenKind::OpenStr | TokenKind::Ident => {
                    self.primary()
                }
                _ => {
                    self.missing("an integer, a string, a bool or a name");
                    break;
                }
            };
            script.config.push(ConfigEntry { key, value });
            if !self.is(Punct::RightBrace) && !self.expect(Punct::Semicolon) {
                break;
            }
        }
        if self.expect(Punct::RightBrace) {
            self.eat(Punct::Semicolon);
        }
    }

    fn import(&mut self, script: &mut Script) {
        let start = self.bump().span;
        let path = self.primary();
        let span = self.since(start);
        self.eat(Punct::Semicolon);
        if let ExprKind::Str(text) = path.kind {
            let text = String::from_utf8_lossy(&text).into_owned();
            script.imports.push(Name { text, span });
        }
    }

    /// Reports an `import` in a block, which bpftrace keeps for its own library.
    pub(super) fn unsupported_import(&mut self, span: Span) {
        let message = "an `import` stands at the top of the script, not in a block";
        let found = Diagnostic::error("unsupported-import", span, message)
            .hint("write it before the first probe");
        self.report(found);
    }

    fn macro_item(&mut self, script: &mut Script) {
        let start = self.bump().span;
        self.set_expand(true);
        let Some(name) = self.expect_name("the name of the macro") else {
            return;
        };
        let mut params = Vec::new();
        // The documentation leaves out the parentheses where there are no parameters.
        if !self.is(Punct::LeftBrace) {
            if !self.expect(Punct::LeftParen) {
                return;
            }
            self.macro_params(&mut params);
            if !self.expect(Punct::RightParen) {
                return;
            }
        }
        if let Some(body) = self.block() {
            let span = self.since(start);
            script.macros.push(Macro {
                name,
                params,
                body,
                function: false,
                span,
            });
        }
    }

    fn macro_params(&mut self, params: &mut Vec<MacroParam>) {
        while !self.at_end() && !self.is(Punct::RightParen) {
            let text = self.text().to_owned();
            let span = self.span();
            let named = |from: usize| Name {
                text: text.get(from..).unwrap_or_default().to_owned(),
                span,
            };
            let param = match self.kind() {
                TokenKind::Var => MacroParam::Var(named(1)),
                TokenKind::Map => MacroParam::Map(named(1)),
                TokenKind::Ident => MacroParam::Expr(named(0)),
                _ => {
                    self.missing("a parameter: `name`, `$var` or `@map`");
                    break;
                }
            };
            self.bump();
            params.push(param);
            if !self.eat(Punct::Comma) {
                break;
            }
        }
    }

    fn map_decl(&mut self, script: &mut Script) {
        let start = self.bump().span;
        if self.kind() != TokenKind::Map {
            let found = self
                .missing_here("a map after `let`")
                .hint("outside probes `let` declares maps: `let @name = hash(1024);`");
            return self.fail(found);
        }
        let token = self.bump();
        let name = Name {
            text: self.text_of(&token)[1..].to_owned(),
            span: token.span,
        };
        if !self.expect(Punct::Assign) {
            return;
        }
        let Some(kind) = self.expect_name("a kind of map, for example `hash`") else {
            return;
        };
        self.set_expand(true);
        if !self.expect(Punct::LeftParen) {
            return;
        }
        let entries = (!self.is(Punct::RightParen)).then(|| self.expression());
        if !self.expect(Punct::RightParen) {
            return;
        }
        self.eat(Punct::Semicolon);
        let span = self.since(start);
        script.map_decls.push(MapDecl {
            name,
            kind,
            entries,
            span,
        });
    }

    fn probe(&mut self) -> Option<Probe> {
        let start = self.span();
        let label = self.label();
        let attach_points = self.attach_points()?;
        if self.is_lost() {
            return None;
        }
        self.set_expand(true);
        let predicate = self.predicate();
        if !self.is(Punct::LeftBrace) {
            let mut found = self.missing_here("`{`");
            let word = attach_points.first().map(|point| point.text.as_str());
            if let Some(word) = word {
                let keyword = near(word, KEYWORDS).filter(|_| self.kind() == TokenKind::Ident);
                found.hint = keyword.map(|keyword| format!("did you mean `{keyword}`?"));
            }
            self.fail(found);
            return None;
        }
        let mut body = self.block()?;
        statement_block(&mut body);
        let span = self.since(start);
        Some(Probe {
            label,
            attach_points,
            predicate,
            body,
            span,
        })
    }

    /// Parses `name =` before the attach points.
    fn label(&mut self) -> Option<Name> {
        if self.kind() != TokenKind::Ident || !self.peek_is(Punct::Assign) {
            return None;
        }
        let name = self.expect_name("a name");
        self.bump();
        name
    }

    /// Parses `/…/`.
    fn predicate(&mut self) -> Option<Expr> {
        if !self.is(Punct::Div) {
            return None;
        }
        let start = self.bump().span;
        self.in_predicate = true;
        let mut predicate = self.expression();
        self.in_predicate = false;
        if !self.is_lost() && !self.eat(Punct::Div) {
            self.missing("`/` at the end of the predicate");
        }
        if self.skip_to_body() {
            predicate.kind = ExprKind::Error;
            predicate.span = self.since(start);
        }
        Some(predicate)
    }
}
