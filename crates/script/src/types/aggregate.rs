//! `@m = count()` and its like.

use super::expr::number;
use super::infer::MapContents;
use super::name::aggregate_name;
use super::{Checker, convert};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, MapRef, Stmt, StmtKind, Type};
use crate::syntax::tree;
use kscope_rows::MapValueType;

/// Most buckets of `lhist`, without the two at the ends.
const LINEAR_BUCKETS: i64 = 1000;

/// Names of the functions that make an aggregation.
pub(super) const FUNCTIONS: [&str; 9] = [
    "count", "sum", "min", "max", "avg", "stats", "hist", "lhist", "tseries",
];

/// Gives the number that an aggregation reads as in an expression.
pub(super) fn reads_as(value: &MapValueType) -> Option<Type> {
    match value {
        MapValueType::Count => Some(Type::I64),
        MapValueType::Sum { signed }
        | MapValueType::Min { signed }
        | MapValueType::Max { signed }
        | MapValueType::Avg { signed } => Some(if *signed { Type::I64 } else { Type::U64 }),
        MapValueType::Plain(_)
        | MapValueType::Stats { .. }
        | MapValueType::Hist { .. }
        | MapValueType::Lhist { .. }
        | MapValueType::Series { .. } => None,
    }
}

impl Checker<'_> {
    /// Checks `target = function(args)`; the call lies at `call`, the whole at `span`.
    pub(super) fn aggregate(
        &mut self,
        target: &tree::Expr,
        function: &tree::Name,
        args: &[tree::Expr],
        call: Span,
        span: Span,
    ) -> Option<Stmt> {
        let tree::ExprKind::Map { name, key } = &target.kind else {
            for arg in args {
                self.expr(arg);
            }
            self.error(
                "invalid-call",
                span,
                format!("{}() must be assigned directly to a map", function.text),
            );
            return None;
        };
        let (map, key) = self.map_access(name, key.as_deref(), target.span);
        let (value, argument) = self.aggregation(function, args, span)?;
        self.grow_aggregate(map, &value, span)?;
        let argument = argument.map(|a| {
            let signed = match self.aggregate_of(map) {
                Some(
                    MapValueType::Sum { signed }
                    | MapValueType::Min { signed }
                    | MapValueType::Max { signed }
                    | MapValueType::Avg { signed }
                    | MapValueType::Stats { signed }
                    | MapValueType::Series { signed, .. },
                ) => signed,
                Some(MapValueType::Lhist { .. }) => true,
                _ => number(&a.ty).is_some_and(|int| int.signed),
            };
            convert::convert(a, if signed { &Type::I64 } else { &Type::U64 })
        });
        let timed = matches!(value, MapValueType::Series { .. });
        let kind = StmtKind::Update {
            map,
            key,
            value: argument,
            now: timed.then(|| self.by_boot_clock(super::REALTIME_OFFSET, span)),
            call,
        };
        Some(Stmt { kind, span })
    }

    fn aggregation(
        &mut self,
        function: &tree::Name,
        args: &[tree::Expr],
        span: Span,
    ) -> Option<(MapValueType, Option<Expr>)> {
        let name = function.text.as_str();
        let counts = match name {
            "count" => 0..=0,
            "hist" => 1..=2,
            "lhist" => 4..=4,
            "tseries" => 3..=4,
            _ => 1..=1,
        };
        let checked: Vec<Expr> = args.iter().map(|a| self.expr(a)).collect();
        if !self.argument_count(name, args.len(), counts, span) {
            return None;
        }
        if name == "count" {
            return Some((MapValueType::Count, None));
        }
        let mut checked = checked.into_iter();
        let argument = checked.next()?;
        if argument.ty == Type::Void {
            return None;
        }
        let Some(int) = number(&argument.ty) else {
            let message = format!(
                "{name}() only supports integer arguments ({} provided)",
                argument.ty
            );
            self.error("invalid-argument", argument.span, message);
            return None;
        };
        let signed = int.signed;
        let rest: Vec<Expr> = checked.collect();
        if name == "tseries" {
            let value = self.time_series(&rest, signed, span)?;
            return Some((value, Some(argument)));
        }
        let mut literals = Vec::with_capacity(rest.len());
        for e in &rest {
            match e.kind {
                ExprKind::Int(n) if e.ty != Type::Void => literals.push(n),
                _ => {
                    if e.ty != Type::Void {
                        let message = format!("{name}() expects a literal here");
                        self.error("invalid-argument", e.span, message);
                    }
                    return None;
                }
            }
        }
        let value = match (name, literals.as_slice()) {
            ("sum", _) => MapValueType::Sum { signed },
            ("min", _) => MapValueType::Min { signed },
            ("max", _) => MapValueType::Max { signed },
            ("avg", _) => MapValueType::Avg { signed },
            ("stats", _) => MapValueType::Stats { signed },
            ("hist", []) => MapValueType::Hist { bits: 0 },
            ("hist", [bits @ 0..=5]) => MapValueType::Hist { bits: *bits as u8 },
            ("hist", [bits]) => {
                self.error(
                    "invalid-argument",
                    span,
                    format!("hist() takes a number of bits from 0 to 5, got {bits}"),
                );
                return None;
            }
            (_, &[min, max, step]) => self.linear(min, max, step, span)?,
            _ => return None,
        };
        Some((value, Some(argument)))
    }

    fn linear(&mut self, min: i64, max: i64, step: i64, span: Span) -> Option<MapValueType> {
        let problem = if step <= 0 {
            Some("lhist() step must be >= 1".to_owned())
        } else if min < 0 {
            Some(format!(
                "lhist() min must be non-negative (provided min {min})"
            ))
        } else if min > max {
            Some("lhist() min must be less than max".to_owned())
        } else if max.saturating_sub(min) < step {
            Some("lhist() step is too large for the given range".to_owned())
        } else {
            let buckets = max.saturating_sub(min) / step;
            (buckets > LINEAR_BUCKETS).then(|| {
                format!(
                    "lhist() too many buckets, must be <= {LINEAR_BUCKETS} (would need {buckets})"
                )
            })
        };
        if let Some(problem) = problem {
            self.error("invalid-argument", span, problem);
            return None;
        }
        Some(MapValueType::Lhist { min, max, step })
    }

    /// Lets a map take in an aggregation.
    fn grow_aggregate(&mut self, map: MapRef, value: &MapValueType, span: Span) -> Option<()> {
        let info = self.env.maps.get_mut(map.0 as usize)?;
        if !info.assigned {
            info.assigned = true;
            self.env.changed = true;
        }
        let known = match &info.contents {
            MapContents::Unknown => {
                info.contents = MapContents::Aggregate(value.clone());
                info.first = span;
                self.env.changed = true;
                return Some(());
            }
            MapContents::Aggregate(known) if known == value => return Some(()),
            MapContents::Aggregate(known) if aggregate_name(known) == aggregate_name(value) => {
                match signed(known) {
                    Some(before) => {
                        // Of different sign, the signed one holds.
                        let before = before.to_owned();
                        if !before {
                            info.contents = MapContents::Aggregate(value.clone());
                            self.env.changed = true;
                        }
                        return Some(());
                    }
                    None => {
                        let (name, first) = (info.name.clone(), info.first);
                        let function = aggregate_name(value);
                        self.report(
                            Diagnostic::error(
                                "type-mismatch",
                                span,
                                format!(
                                    "Different {function} bounds in a single map unsupported: @{name}"
                                ),
                            )
                            .note(first, "first used here"),
                        );
                        return None;
                    }
                }
            }
            MapContents::Aggregate(known) => aggregate_name(known).to_owned() + "_t",
            MapContents::Plain(shape) => shape.ty.to_string(),
        };
        let (name, first) = (info.name.clone(), info.first);
        let new = aggregate_name(value).to_owned() + "_t";
        self.map_mismatch(&name, &new, &known, first, span);
        None
    }
}

/// Gives the sign of an aggregation that has one.
fn signed(value: &MapValueType) -> Option<bool> {
    match value {
        MapValueType::Sum { signed }
        | MapValueType::Min { signed }
        | MapValueType::Max { signed }
        | MapValueType::Avg { signed }
        | MapValueType::Stats { signed } => Some(*signed),
        _ => None,
    }
}
