//! Names of types: `struct foo *`, `uint8[16]`, `unsigned long`, `typeof(e)`.

use super::cursor::Parser;
use super::lexer::{Punct, TokenKind};
use super::tree::{Expr, ExprKind, TypeBase, TypeName, TypeSuffix};

/// Words that names of C's integer types consist of.
const C_WORDS: &[&str] = &["unsigned", "signed", "long", "short", "int", "char"];

/// Words that say nothing of a type's layout.
const QUALIFIERS: &[&str] = &["const", "volatile"];

/// Names that are types and nothing else.
const TYPES: &[&str] = &[
    "void",
    "bool",
    "_Bool",
    "float",
    "double",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "u8",
    "u16",
    "u32",
    "u64",
    "s8",
    "s16",
    "s32",
    "s64",
    "__u8",
    "__u16",
    "__u32",
    "__u64",
    "__s8",
    "__s16",
    "__s32",
    "__s64",
    "string",
    "buffer",
    "inet",
    "mac_address",
    "timestamp",
    "cgroup_path",
    "ksym",
    "usym",
    "username",
];

/// Most stars and brackets of one type.
const MAX_SUFFIXES: usize = 32;

/// Says whether a word is the name of a type whatever the script declares.
fn is_type_word(word: &str) -> bool {
    TYPES.contains(&word)
        || C_WORDS.contains(&word)
        || QUALIFIERS.contains(&word)
        || word.ends_with("_t")
        || word.starts_with("__")
}

impl Parser<'_> {
    /// Parses a type.
    pub(super) fn type_name(&mut self) -> Option<TypeName> {
        let start = self.span();
        let base = self.type_base()?;
        let mut suffixes = Vec::new();
        loop {
            if self.eat(Punct::Mul) {
                suffixes.push(TypeSuffix::Pointer);
                while QUALIFIERS.iter().any(|word| self.eat_word(word)) {}
            } else if self.eat(Punct::LeftBracket) {
                let size = match self.is(Punct::RightBracket) {
                    true => None,
                    false => Some(self.unsigned("the size of an array")?),
                };
                suffixes.push(TypeSuffix::Array(size));
                if !self.expect(Punct::RightBracket) {
                    return None;
                }
            } else {
                break;
            }
            if suffixes.len() > MAX_SUFFIXES {
                let span = self.since(start);
                self.stop("too-deep", span, "the type nests too deep here");
                return None;
            }
        }
        Some(TypeName {
            base,
            suffixes,
            span: self.since(start),
        })
    }

    /// Parses a type without stars and brackets.
    pub(super) fn type_base(&mut self) -> Option<TypeBase> {
        while QUALIFIERS.iter().any(|word| self.eat_word(word)) {}
        if let Some(keyword) = self.aggregate_keyword() {
            self.bump();
            let name = self.expect_name("the name of a type")?;
            return Some(TypeBase::Aggregate(keyword, name.text));
        }
        if self.is_word("typeof") {
            self.bump();
            let inner = self.parenthesized_type_or_expression();
            return Some(TypeBase::TypeOf(Box::new(inner)));
        }
        let mut name = self.expect_name("the name of a type")?.text;
        if C_WORDS.contains(&name.as_str()) {
            let mut more = 0;
            while self.kind() == TokenKind::Ident && more < 4 {
                let word = self.text();
                if C_WORDS.contains(&word) {
                    name.push(' ');
                    name.push_str(word);
                } else if !QUALIFIERS.contains(&word) {
                    break;
                }
                self.bump();
                more += 1;
            }
        }
        while QUALIFIERS.iter().any(|word| self.eat_word(word)) {}
        Some(TypeBase::Named(name))
    }

    /// Parses `(type)` or `(expression)` as after `sizeof`.
    pub(super) fn parenthesized_type_or_expression(&mut self) -> Expr {
        if !self.expect(Punct::LeftParen) {
            return self.error_expr();
        }
        let inner = self.type_or_expression();
        self.expect(Punct::RightParen);
        inner
    }

    /// Parses a type or an expression, up to a `)` or `,`. A bare name that may be either is
    /// given as a name.
    pub(super) fn type_or_expression(&mut self) -> Expr {
        self.type_as_expression()
            .unwrap_or_else(|| self.expression())
    }

    /// Parses a type where an expression may stand too, if it is one.
    fn type_as_expression(&mut self) -> Option<Expr> {
        if self.kind() != TokenKind::Ident {
            return None;
        }
        let start = self.span();
        let text = self.text();
        // These begin a type and nothing else, so that there is no way back to go.
        if text == "typeof" || self.aggregate_keyword().is_some() {
            let ty = self.deeper(Self::type_name).flatten();
            self.height += 1;
            return Some(ty.map_or_else(|| self.error_expr(), type_expr));
        }
        let known = is_type_word(text);
        let before = self.save();
        let ty = self.type_name();
        let ends = self.is(Punct::RightParen) || self.is(Punct::Comma);
        match ty {
            Some(ty) if ends && !self.is_lost() && (known || !ty.suffixes.is_empty()) => {
                self.height = 1;
                let span = self.since(start);
                Some(Expr {
                    kind: ExprKind::Type(ty),
                    span,
                })
            }
            _ => {
                self.restore(before);
                None
            }
        }
    }

    /// Parses the type and the `)` of a cast whose `(` has been taken, or takes nothing.
    pub(super) fn cast_type(&mut self) -> Option<TypeName> {
        if self.kind() != TokenKind::Ident {
            return None;
        }
        let text = self.text();
        if self.is_word("typeof") || self.aggregate_keyword().is_some() {
            let ty = self.deeper(Self::type_name).flatten()?;
            self.expect(Punct::RightParen);
            return Some(ty);
        }
        let known = is_type_word(text);
        let before = self.save();
        let ty = self.type_name().filter(|_| self.eat(Punct::RightParen));
        if let Some(ty) = ty {
            let pointer = ty.suffixes.contains(&TypeSuffix::Pointer);
            let operand = match self.kind() {
                TokenKind::Punct(Punct::Sub | Punct::Mul | Punct::And) => known || pointer,
                TokenKind::Punct(Punct::LeftParen | Punct::Not | Punct::BitNot) => true,
                TokenKind::Punct(Punct::Increment | Punct::Decrement) => known || pointer,
                TokenKind::Punct(_) | TokenKind::End => false,
                _ => true,
            };
            if operand && !self.is_lost() {
                return Some(ty);
            }
        }
        self.restore(before);
        None
    }
}

/// Makes an expression of a type.
fn type_expr(ty: TypeName) -> Expr {
    let span = ty.span;
    Expr {
        kind: ExprKind::Type(ty),
        span,
    }
}
