//! `args`: the fields of a tracepoint's record.

use kscope_btf::CType;

use super::lvalue::Place;
use super::prototype::Prototype;
use super::{Checker, did_you_mean, make};
use crate::catalogue::{Format, FormatField, UsdtArgument};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Context, Expr, ExprKind, Int, Space, Type};
use crate::near::nearest;
use crate::syntax::tree::Name;

/// What is said of `args` in probes of programs.
pub(super) const NO_NAMES: &str =
    "arguments of programs have no names here, which are in DWARF: arg0 to arg5 are their values";

/// What `args` reads.
#[derive(Debug)]
pub(super) struct Record {
    /// Tracepoint, for messages.
    pub(super) name: String,
    /// Its fields, or none where they could not be looked up.
    pub(super) format: Option<Format>,
    /// Whether its pointers are those of a system call's caller.
    pub(super) user: bool,
    /// Its arguments, where the kernel's types and not a record tell them.
    pub(super) prototype: Option<Prototype>,
    /// The arguments of a USDT probe, or one that is not understood.
    pub(super) usdt: Option<Result<Vec<UsdtArgument>, String>>,
}

impl Checker<'_> {
    /// Checks `args.name`.
    pub(super) fn args_field(&mut self, name: &Name, span: Span) -> Expr {
        if let Err(refused) = self.outside_map_loops("args", span) {
            return refused;
        }
        if self.scope.dead && self.scope.context != Context::Tracepoint {
            return super::poison(span);
        }
        if self.has_typed_arguments() {
            let Some(record) = self.scope.record.clone() else {
                return super::poison(span);
            };
            return self.typed_argument(&record, name, span);
        }
        if self.scope.context != Context::Tracepoint {
            let provider = self.scope.provider;
            let mut error = Diagnostic::error(
                "invalid-builtin",
                span,
                format!("args can not be used with {provider} probes"),
            );
            if ["uprobe", "uretprobe"].contains(&provider) {
                error.message = NO_NAMES.to_owned();
            }
            if self.scope.context == Context::KprobeEntry {
                error.hint = Some("use arg0, arg1, …".to_owned());
            }
            return self.report(error);
        }
        let Some(record) = self.scope.record.clone() else {
            return super::poison(span);
        };
        let Some(format) = &record.format else {
            // That it could not be looked up has been said with the probe.
            self.scope.incomplete = true;
            return super::poison(span);
        };
        let Some(field) = format.fields.iter().find(|f| f.name == name.text) else {
            let names = format.fields.iter().map(|f| f.name.as_str());
            let near = nearest(&name.text, names.filter(|n| !n.starts_with("common_")), 3);
            let mut error = Diagnostic::error(
                "unknown-field",
                name.span,
                format!(
                    "{} does not contain a field named '{}'",
                    record.name, name.text
                ),
            );
            error.hint = did_you_mean(&near).or_else(|| {
                let names: Vec<&str> = format
                    .fields
                    .iter()
                    .map(|f| f.name.as_str())
                    .filter(|n| !n.starts_with("common_"))
                    .collect();
                (!names.is_empty() && names.len() <= 12)
                    .then(|| format!("its fields are {}", names.join(", ")))
            });
            return self.report(error);
        };
        if field.name.starts_with("common_") {
            return self.error(
                "invalid-field",
                name.span,
                "BPF does not support accessing common tracepoint fields",
            );
        }
        self.record_field(&record, field, span)
    }

    pub(super) fn record_field(
        &mut self,
        record: &Record,
        field: &FormatField,
        span: Span,
    ) -> Expr {
        let user = record.user;
        for (marker, relative) in [("__data_loc", 0), ("__rel_loc", 4)] {
            if field.ty.starts_with(marker) {
                return self.located(record, field, marker, relative_to(relative, field), span);
            }
        }
        let space = if user { Space::User } else { Space::Kernel };
        let ty = self.record_type(field, space, user);
        if ty.size() == 0 {
            return self.error(
                "unsupported-type",
                span,
                format!(
                    "field '{}' has type '{}', which has no size",
                    field.name, field.ty
                ),
            );
        }
        if let Some(read) = self.relocated_field(record, field, &ty, span) {
            return read;
        }
        let place = Place::Context {
            offset: field.offset,
        };
        place.load(&ty, None, span)
    }

    /// Gives the type of a field of a record.
    fn record_type(&self, field: &FormatField, space: Space, widened: bool) -> Type {
        let by_size = || match field.size {
            1 | 2 | 4 | 8 => Type::Int(Int::new(field.size as u8, field.signed)),
            size => Type::Array {
                element: std::sync::Arc::new(Type::Int(Int::new(1, false))),
                len: size,
            },
        };
        let text = field.ty.as_str();
        let ty = match CType::parse(text, self.inputs.btf) {
            Ok(c) => self.c_type(&c, space),
            Err(error) => {
                // A pointer to an unknown type is still a pointer.
                let pointer = super::ctype::is_unknown(&error) && text.ends_with('*');
                if pointer && field.size == 8 {
                    super::ctype::pointer(Type::Void, space)
                } else {
                    by_size()
                }
            }
        };
        match ty.size() {
            // System calls' arguments lie in eight bytes each, whatever their type.
            size if size == field.size || (widened && size != 0 && size <= 8) => ty,
            _ => by_size(),
        }
    }

    /// A field elsewhere in the record: what stands at its offset is a place and a length.
    fn located(
        &mut self,
        record: &Record,
        field: &FormatField,
        marker: &str,
        relative: u32,
        span: Span,
    ) -> Expr {
        let element = field.ty.trim_start_matches("__data_loc");
        let element = element.trim_start_matches("__rel_loc").trim();
        let char_array = element.replace("const", "");
        let address = |checker: &mut Self, to: Type| {
            let relocated = checker.relocated_location(record, field, marker, to.clone(), span);
            relocated.unwrap_or_else(|| {
                make(
                    ExprKind::CtxDataLoc {
                        offset: field.offset,
                        relative,
                    },
                    super::ctype::pointer(to, Space::Kernel),
                    span,
                )
            })
        };
        if char_array.replace(' ', "").starts_with("char[") {
            let kind = ExprKind::ReadStr {
                address: Box::new(address(self, Type::Int(Int::new(1, true)))),
                space: Space::Kernel,
                len: None,
            };
            let capacity = self.config.max_strlen;
            return make(kind, Type::Str { capacity }, span);
        }
        // Other arrays are given as a pointer to their first element.
        let name = element.split('[').next().unwrap_or_default().trim();
        let to = match CType::parse(name, self.inputs.btf) {
            Ok(c) => self.c_type(&c, Space::Kernel),
            Err(_) => Type::Void,
        };
        address(self, to)
    }
}

/// Gives what is added to a place: `__rel_loc` counts from the end of its own field.
fn relative_to(relative: u32, field: &FormatField) -> u32 {
    if relative == 0 {
        0
    } else {
        field.offset.saturating_add(4)
    }
}
