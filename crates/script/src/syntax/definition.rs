//! The C part: definitions of structures, unions and enumerations.

use super::cursor::Parser;
use super::lexer::{Punct, TokenKind};
use super::literal;
use super::tree::{
    AggregateKeyword, Definition, DefinitionBody, Expr, MemberDecl, Name, TypeBase, TypeName,
    TypeSuffix,
};
use crate::diagnostic::Diagnostic;

/// What `__attribute__((…))` may say that matters.
#[derive(Clone, Copy, Default)]
struct Attributes {
    packed: bool,
    align: Option<u64>,
}

impl Parser<'_> {
    /// Gives the keyword the current token is, if it is one.
    pub(super) fn aggregate_keyword(&self) -> Option<AggregateKeyword> {
        if self.kind() != TokenKind::Ident {
            return None;
        }
        match self.text() {
            "struct" => Some(AggregateKeyword::Struct),
            "union" => Some(AggregateKeyword::Union),
            "enum" => Some(AggregateKeyword::Enum),
            _ => None,
        }
    }

    /// Says whether `struct` and the like begin a definition here, and not a probe.
    pub(super) fn is_definition(&self) -> bool {
        matches!(
            self.peek().0,
            TokenKind::Ident | TokenKind::Punct(Punct::LeftBrace)
        )
    }

    /// Parses a definition, and before it those of structures inside it.
    pub(super) fn c_definition(&mut self, all: &mut Vec<Definition>) {
        let start = self.span();
        self.set_expand(true);
        let Some(keyword) = self.aggregate_keyword() else {
            return self.missing("`struct`, `union` or `enum`");
        };
        self.bump();
        let mut attributes = Attributes::default();
        self.attributes(&mut attributes);
        let name = match self.kind() {
            TokenKind::Ident => {
                let span = self.span();
                let text = self.text().to_owned();
                self.bump();
                Name { text, span }
            }
            _ => Name {
                text: String::new(),
                span: start,
            },
        };
        self.attributes(&mut attributes);
        // A declaration without a body says nothing that is needed.
        if self.eat(Punct::Semicolon) {
            return;
        }
        self.definition_body(all, keyword, name, attributes);
        self.eat(Punct::Semicolon);
    }

    /// Parses `{ … }` with what may follow it, and adds the definition.
    fn definition_body(
        &mut self,
        all: &mut Vec<Definition>,
        keyword: AggregateKeyword,
        name: Name,
        mut attributes: Attributes,
    ) {
        let start = name.span;
        if !self.expect(Punct::LeftBrace) {
            return;
        }
        let body = if keyword == AggregateKeyword::Enum {
            DefinitionBody::Enumerators(self.enumerators())
        } else {
            let mut members = Vec::new();
            self.deeper(|p| p.members(all, &name, &mut members));
            DefinitionBody::Members(members)
        };
        self.expect(Punct::RightBrace);
        self.attributes(&mut attributes);
        all.push(Definition {
            keyword,
            name,
            body,
            packed: attributes.packed,
            align: attributes.align,
            span: self.since(start),
        });
    }

    fn enumerators(&mut self) -> Vec<(Name, Option<Expr>)> {
        let mut found = Vec::new();
        while self.kind() == TokenKind::Ident {
            let Some(name) = self.expect_name("an enumerator") else {
                break;
            };
            let value = self.eat(Punct::Assign).then(|| self.expression());
            found.push((name, value));
            if !self.eat(Punct::Comma) {
                break;
            }
        }
        found
    }

    fn members(&mut self, all: &mut Vec<Definition>, outer: &Name, members: &mut Vec<MemberDecl>) {
        while !self.at_end() && !self.is(Punct::RightBrace) {
            if self.eat(Punct::Semicolon) {
                continue;
            }
            self.member(all, outer, members);
            // C compilers accept the last member without a `;`.
            if !self.is_lost() && !self.is(Punct::RightBrace) {
                self.expect(Punct::Semicolon);
            }
            if self.is_lost() {
                self.found_way();
                while !self.at_end() && !self.is(Punct::RightBrace) && !self.eat(Punct::Semicolon) {
                    self.bump();
                }
            }
        }
    }

    /// Parses one declaration of members; a structure inside gets a name made of the outer one's.
    fn member(&mut self, all: &mut Vec<Definition>, outer: &Name, members: &mut Vec<MemberDecl>) {
        self.attributes(&mut Attributes::default());
        if self.is_word("typeof") {
            return self.missing("the type of a member");
        }
        let start = self.span();
        let base = match self.inner_definition(all, outer) {
            Some(base) => base,
            None => match self.type_base() {
                Some(base) => base,
                None => return,
            },
        };
        self.attributes(&mut Attributes::default());
        if self.is(Punct::Semicolon) {
            let anonymous = matches!(base, TypeBase::Aggregate(..));
            if !anonymous {
                return self.missing("the name of a member");
            }
            let ty = TypeName {
                base,
                suffixes: Vec::new(),
                span: self.since(start),
            };
            let name = Name {
                text: String::new(),
                span: start,
            };
            return members.push(MemberDecl {
                ty,
                name,
                bits: None,
            });
        }
        loop {
            let Some(member) = self.declarator(&base) else {
                return;
            };
            members.push(member);
            if !self.eat(Punct::Comma) {
                return;
            }
        }
    }

    /// Parses `struct [name] { … }` inside a structure.
    fn inner_definition(&mut self, all: &mut Vec<Definition>, outer: &Name) -> Option<TypeBase> {
        let keyword = self.aggregate_keyword()?;
        let before = self.save();
        let start = self.bump().span;
        let mut attributes = Attributes::default();
        self.attributes(&mut attributes);
        let mut name = Name {
            text: format!("{}::{}", outer.text, all.len()),
            span: start,
        };
        if self.kind() == TokenKind::Ident {
            self.text().clone_into(&mut name.text);
            self.bump();
        }
        self.attributes(&mut attributes);
        if !self.is(Punct::LeftBrace) {
            self.restore(before);
            return None;
        }
        let text = name.text.clone();
        self.definition_body(all, keyword, name, attributes);
        Some(TypeBase::Aggregate(keyword, text))
    }

    /// Parses `*name[2] : 3` and pointers to functions.
    fn declarator(&mut self, base: &TypeBase) -> Option<MemberDecl> {
        let start = self.span();
        let mut suffixes = Vec::new();
        while self.eat(Punct::Mul) {
            suffixes.push(TypeSuffix::Pointer);
            while self.eat_word("const") || self.eat_word("volatile") || self.eat_word("restrict") {
            }
        }
        let mut base = base.clone();
        let function = self.is(Punct::LeftParen) && self.peek_is(Punct::Mul);
        if function {
            self.bump();
            self.bump();
        }
        let bits_alone = self.is(Punct::Colon);
        let name = if bits_alone {
            Name {
                text: String::new(),
                span: start,
            }
        } else {
            self.expect_name("the name of a member")?
        };
        let dimensions = self.dimensions()?;
        if function {
            // What it takes and gives does not matter to anybody here.
            if !self.expect(Punct::RightParen) || !self.is(Punct::LeftParen) {
                return None;
            }
            self.skip_parens();
            base = TypeBase::Named("void".to_owned());
            suffixes = vec![TypeSuffix::Pointer];
        }
        // `a[2][3]` is an array of two arrays of three.
        suffixes.extend(dimensions.into_iter().rev());
        let bits = if self.eat(Punct::Colon) {
            let value = self.unsigned("the width of a bit-field")?;
            match u32::try_from(value) {
                Ok(bits) if bits <= 64 => Some(bits),
                _ => {
                    self.error(
                        "bad-integer",
                        self.since(start),
                        "a bit-field has at most 64 bits",
                    );
                    None
                }
            }
        } else {
            None
        };
        self.attributes(&mut Attributes::default());
        let span = self.since(start);
        let ty = TypeName {
            base,
            suffixes,
            span,
        };
        Some(MemberDecl { ty, name, bits })
    }

    /// Parses `[n]` any number of times.
    fn dimensions(&mut self) -> Option<Vec<TypeSuffix>> {
        let mut found = Vec::new();
        while self.eat(Punct::LeftBracket) {
            let size = match self.is(Punct::RightBracket) {
                true => None,
                false => Some(self.unsigned("the size of an array")?),
            };
            found.push(TypeSuffix::Array(size));
            if !self.expect(Punct::RightBracket) {
                return None;
            }
        }
        Some(found)
    }

    /// Takes an integer literal.
    pub(super) fn unsigned(&mut self, what: &str) -> Option<u64> {
        if self.kind() != TokenKind::Int {
            self.missing(what);
            return None;
        }
        let token = self.bump();
        match literal::integer(self.text_of(&token)) {
            Ok(value) => Some(value),
            Err(fault) => {
                self.error("bad-integer", token.span, fault.message);
                None
            }
        }
    }

    /// Parses `__attribute__((…))` any number of times; takes `packed` and `aligned(n)` out of it.
    fn attributes(&mut self, into: &mut Attributes) {
        while self.eat_word("__attribute__") {
            if !self.is(Punct::LeftParen) {
                return self.missing("`((` after `__attribute__`");
            }
            let mut depth = 0u32;
            while !self.at_end() {
                if self.is(Punct::LeftParen) {
                    depth += 1;
                } else if self.is(Punct::RightParen) {
                    depth -= 1;
                } else if self.is_word("packed") || self.is_word("__packed__") {
                    into.packed = true;
                } else if (self.is_word("aligned") || self.is_word("__aligned__"))
                    && self.peek_is(Punct::LeftParen)
                {
                    self.bump();
                    self.bump();
                    depth += 1;
                    into.align = self.unsigned("an alignment");
                    continue;
                } else if self.is(Punct::LeftBrace) || self.is(Punct::Semicolon) {
                    let message = "`__attribute__` has no end";
                    let found = Diagnostic::error("expected", self.span(), message);
                    return self.fail(found);
                }
                self.bump();
                if depth == 0 {
                    break;
                }
            }
        }
    }

    /// Skips from `(` to the `)` that belongs to it.
    fn skip_parens(&mut self) {
        let mut depth = 0u32;
        while !self.at_end() {
            if self.is(Punct::LeftParen) {
                depth += 1;
            } else if self.is(Punct::RightParen) {
                depth = depth.saturating_sub(1);
            }
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }
}
