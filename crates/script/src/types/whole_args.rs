//! `args` as a whole: a record of all that the probe is given.

use super::args::Record;
use super::{Checker, make, poison};
use crate::diagnostic::Span;
use crate::hir::{Context, Expr, ExprKind, FieldType, Type};

impl Checker<'_> {
    /// Checks `args` without a field behind it.
    ///
    /// A tracepoint's common fields are left out: the kernel does not give them to eBPF programs.
    pub(super) fn whole_args(&mut self, span: Span) -> Expr {
        let typed = self.has_typed_arguments();
        if !typed && self.scope.context != Context::Tracepoint {
            return self.misplaced("args", span);
        }
        let Some(record) = self.scope.record.clone().filter(|_| !self.scope.dead) else {
            return poison(span);
        };
        let parts = match typed {
            true => self.all_arguments(&record, span),
            false => self.all_fields(&record, span),
        };
        let parts = match parts {
            Ok(parts) => parts,
            Err(refused) => return refused,
        };
        let mut types = Vec::with_capacity(parts.len());
        let mut values = Vec::with_capacity(parts.len());
        for (name, value) in parts {
            let value = self.storable(value);
            if value.ty == Type::Void {
                return poison(span);
            }
            types.push((name, value.ty.clone()));
            values.push(value);
        }
        if types.is_empty() {
            let message = format!("{} has no arguments", record.name);
            return self.error("invalid-builtin", span, message);
        }
        let ty = Type::Record(FieldType::lay_out(types));
        make(ExprKind::Fields(values), ty, span)
    }

    /// Gives every field of a tracepoint's record that programs can read.
    fn all_fields(&mut self, record: &Record, span: Span) -> Result<Vec<(String, Expr)>, Expr> {
        let Some(format) = &record.format else {
            // That it could not be looked up has been said with the probe.
            self.scope.incomplete = true;
            return Err(poison(span));
        };
        let own = |name: &str| !name.starts_with("common_");
        let fields = format.fields.iter();
        Ok(fields
            .filter(|field| own(&field.name) && field.size > 0)
            .map(|field| (field.name.clone(), self.record_field(record, field, span)))
            .collect())
    }
}
