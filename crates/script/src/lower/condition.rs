//! Which probes a set of options leaves: the part of a predicate that only looks at options.

use crate::hir::{Expr, ExprKind, Probe, Program, Stmt, StmtKind};
use crate::plan::{OptionCondition, OptionKind};

/// Gives the conditions on options that must hold for the probe to do anything.
pub(super) fn conditions(program: &Program, probe: &Probe) -> Vec<OptionCondition> {
    let mut found = Vec::new();
    let whole = match probe.body.as_slice() {
        [
            Stmt {
                kind:
                    StmtKind::If {
                        condition,
                        otherwise,
                        ..
                    },
                ..
            },
        ] if otherwise.is_empty() => Some(condition),
        _ => None,
    };
    if let Some(condition) = whole {
        collect(program, condition, false, &mut found);
    }
    found
}

/// Collects from the terms of a conjunction.
fn collect(program: &Program, expr: &Expr, negated: bool, found: &mut Vec<OptionCondition>) {
    match &expr.kind {
        ExprKind::Logical {
            and: true,
            left,
            right,
        } if !negated => {
            collect(program, left, false, found);
            collect(program, right, false, found);
        }
        ExprKind::Not(inner) => collect(program, inner, !negated, found),
        ExprKind::Cast(inner) => collect(program, inner, negated, found),
        ExprKind::CompareBytes {
            negated: differs,
            left,
            right,
            ..
        } => {
            let sides = (&inner(left).kind, &inner(right).kind);
            let ((ExprKind::OptionStr(option), ExprKind::Str(text))
            | (ExprKind::Str(text), ExprKind::OptionStr(option))) = sides
            else {
                return;
            };
            if let Ok(value) = std::str::from_utf8(text) {
                let value = value.to_owned();
                found.push(OptionCondition {
                    option: *option,
                    value,
                    negated: negated != *differs,
                });
            }
        }
        ExprKind::Late(late) => {
            let is_bool = |option: &crate::plan::OptionDecl| {
                option.late == *late && matches!(option.kind, OptionKind::Bool(_))
            };
            if let Some(option) = program.options.iter().position(is_bool) {
                let option = option as u32;
                found.push(OptionCondition {
                    option,
                    value: "true".to_owned(),
                    negated,
                });
            }
        }
        _ => {}
    }
}

/// Looks through a change of capacity.
fn inner(expr: &Expr) -> &Expr {
    match &expr.kind {
        ExprKind::Resize(inner) => inner,
        _ => expr,
    }
}
