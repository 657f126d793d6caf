//! `getopt`: options that the script declares.

use kscope_spec::LateKind;

use super::{Checker, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Type};
use crate::near::near;
use crate::plan::{OptionDecl, OptionKind, OptionMeaning};
use crate::syntax::tree;

/// Room in bytes of a string option, the NUL included.
const CAPACITY: u32 = 128;

impl Checker<'_> {
    /// `getopt(name[, default[, help[, meaning]]])`.
    pub(super) fn getopt(&mut self, args: &[tree::Expr], span: Span) -> Expr {
        let name = args.first().and_then(|a| self.literal_text("getopt", a));
        let default = match args.get(1) {
            None => Some(OptionKind::Bool(false)),
            Some(e) => self.option_default(e),
        };
        let help = match args.get(2) {
            None => Some("".into()),
            Some(e) => self.literal_text("getopt", e),
        };
        let (Some(name), Some(kind), Some(help)) = (name, default, help) else {
            return poison(span);
        };
        let meaning = match args.get(3) {
            None => Some(OptionMeaning::Plain),
            Some(e) => self.option_meaning(e, &kind),
        };
        let Some(meaning) = meaning else {
            return poison(span);
        };
        let usable = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !usable {
            return self.error(
                "invalid-option",
                span,
                format!("'{name}' can not be an option: letters, digits, - and _ only"),
            );
        }
        if self.inputs.reserved_options.iter().any(|r| **r == *name) {
            return self.report(
                Diagnostic::error(
                    "reserved-option",
                    span,
                    format!("the option --{name} is one of kscope's own"),
                )
                .hint("choose another name"),
            );
        }
        let index = match self.declare_option(&name, kind, meaning, &help, span) {
            Ok(index) => index,
            Err(poison) => return poison,
        };
        self.option_value(index, span)
    }

    fn option_default(&mut self, e: &tree::Expr) -> Option<OptionKind> {
        let value = self.expr(e);
        match (&value.kind, &value.ty) {
            (_, Type::Void) => None,
            (ExprKind::Int(n), Type::Bool) => Some(OptionKind::Bool(*n != 0)),
            (ExprKind::Int(n), Type::Int(_) | Type::Enum(_)) => Some(OptionKind::Int(*n)),
            (ExprKind::Str(text), _) => {
                let default = String::from_utf8_lossy(text).into_owned();
                let room = u32::try_from(default.len() + 1).unwrap_or(u32::MAX);
                if room > 4096 {
                    self.error("invalid-option", e.span, "the default is too long");
                    return None;
                }
                Some(OptionKind::Str {
                    capacity: room.max(CAPACITY).next_multiple_of(8),
                    default,
                })
            }
            _ => {
                self.error(
                    "invalid-argument",
                    e.span,
                    "getopt() takes a literal as the default: a bool, an integer or a string",
                );
                None
            }
        }
    }

    /// Reads what an option means: a name for numbers, choices for texts.
    fn option_meaning(&mut self, e: &tree::Expr, kind: &OptionKind) -> Option<OptionMeaning> {
        let text = self.literal_text("getopt", e)?;
        let wrong = |message: String, hint: Option<String>| {
            let found = Diagnostic::error("invalid-option", e.span, message);
            match hint {
                Some(hint) => found.hint(hint),
                None => found,
            }
        };
        let found = match kind {
            OptionKind::Bool(_) => wrong("a bool has no other meaning".to_owned(), None),
            OptionKind::Int(_) => {
                let mut names = OptionMeaning::NUMBERS.into_iter();
                if let Some((_, meaning)) = names.find(|(name, _)| **name == *text) {
                    return Some(meaning);
                }
                let bounds = text.split_once("..");
                let bounds = bounds
                    .and_then(|(least, most)| Some((least.parse().ok()?, most.parse().ok()?)));
                if let Some((least, most)) = bounds {
                    return Some(OptionMeaning::Range { least, most });
                }
                let names = OptionMeaning::NUMBERS.map(|(name, _)| name);
                let hint = match near(&text, names) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there are {}, and ranges (1..65535)", names.join(", ")),
                };
                wrong(format!("no number means '{text}'"), Some(hint))
            }
            OptionKind::Str { .. } if *text == *"command" => return Some(OptionMeaning::Command),
            OptionKind::Str { default, .. } => {
                let choices: Vec<String> = text.split('|').map(str::to_owned).collect();
                if choices.contains(default) {
                    return Some(OptionMeaning::Choice(choices));
                }
                wrong(
                    format!("the default '{default}' is none of the choices"),
                    Some("they are written as a|b|c".to_owned()),
                )
            }
        };
        self.report(found);
        None
    }

    fn declare_option(
        &mut self,
        name: &str,
        kind: OptionKind,
        meaning: OptionMeaning,
        help: &str,
        span: Span,
    ) -> Result<usize, Expr> {
        if let Some(index) = self.options.iter().position(|o| o.name == name) {
            let known = &mut self.options[index];
            let agree = meaning == OptionMeaning::Plain
                || known.meaning == OptionMeaning::Plain
                || known.meaning == meaning;
            if known.kind == kind && agree {
                if known.meaning == OptionMeaning::Plain {
                    known.meaning = meaning;
                }
                if known.help.is_empty() {
                    help.clone_into(&mut known.help);
                }
                return Ok(index);
            }
            let first = known.span;
            return Err(self.report(
                Diagnostic::error(
                    "option-mismatch",
                    span,
                    format!(
                        "the option --{name} is declared with another type, default or meaning"
                    ),
                )
                .note(first, "first declared here"),
            ));
        }
        let (late, offset) = match &kind {
            OptionKind::Str { capacity, .. } => {
                let late = self.late_value(&format!("opt.{name}.len"), LateKind::Number);
                let offset = self.options_size;
                self.options_size = offset.saturating_add(*capacity);
                (late, offset)
            }
            _ => (self.late_value(&format!("opt.{name}"), LateKind::Number), 0),
        };
        self.options.push(OptionDecl {
            name: name.to_owned(),
            kind,
            meaning,
            help: help.to_owned(),
            late,
            offset,
            masks: None,
            span,
        });
        Ok(self.options.len() - 1)
    }

    fn option_value(&mut self, index: usize, span: Span) -> Expr {
        let Some(option) = self.options.get(index) else {
            return poison(span);
        };
        match &option.kind {
            OptionKind::Bool(_) => make(ExprKind::Late(option.late), Type::Bool, span),
            OptionKind::Int(_) => make(ExprKind::Late(option.late), Type::I64, span),
            OptionKind::Str { capacity, .. } => {
                let ty = Type::Str {
                    capacity: *capacity,
                };
                make(ExprKind::OptionStr(index as u32), ty, span)
            }
        }
    }
}
