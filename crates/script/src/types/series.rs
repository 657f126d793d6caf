//! `tseries(n, interval, intervals, function)`.

use kscope_rows::{MapValueType, SeriesFunction};

use super::Checker;
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Type};

/// Most intervals: what the kernel allocates for each CPU at once is 32 KiB.
const INTERVALS: i64 = 1000;
/// bpftrace's own limit.
const TOO_MANY: i64 = 1_000_000;

const FUNCTIONS: [(&str, SeriesFunction); 4] = [
    ("avg", SeriesFunction::Avg),
    ("max", SeriesFunction::Max),
    ("min", SeriesFunction::Min),
    ("sum", SeriesFunction::Sum),
];

impl Checker<'_> {
    /// Checks the arguments after the first.
    pub(super) fn time_series(
        &mut self,
        rest: &[Expr],
        signed: bool,
        span: Span,
    ) -> Option<MapValueType> {
        let [interval, buckets, function @ ..] = rest else {
            return None;
        };
        let interval = self.series_number(interval, "interval_ns", span)?;
        let buckets = self.series_number(buckets, "num_intervals", span)?;
        if buckets >= TOO_MANY {
            let message =
                format!("tseries() num_intervals must be < {TOO_MANY} ({buckets} provided)");
            self.error("invalid-argument", span, message);
            return None;
        }
        if buckets > INTERVALS {
            let message = format!("tseries() keeps at most {INTERVALS} intervals, not {buckets}");
            let refused = Diagnostic::error("too-large", span, message);
            self.report(refused.hint("make the intervals longer"));
            return None;
        }
        let function = match function {
            [] => SeriesFunction::Last,
            [function, ..] => self.series_function(function, span)?,
        };
        Some(MapValueType::Series {
            interval: interval as u64,
            buckets: buckets as u32,
            function,
            signed,
        })
    }

    /// Gives a literal that is at least 1.
    fn series_number(&mut self, value: &Expr, what: &str, span: Span) -> Option<i64> {
        let message = match value.kind {
            _ if value.ty == Type::Void => return None,
            ExprKind::Int(0) => format!("tseries() {what} must be >= 1 (0 provided)"),
            ExprKind::Int(n @ 1..) => return Some(n),
            _ => format!("tseries: invalid {what} value (must be non-negative literal)"),
        };
        self.error("invalid-argument", span, message);
        None
    }

    fn series_function(&mut self, function: &Expr, span: Span) -> Option<SeriesFunction> {
        let name = match &function.kind {
            _ if function.ty == Type::Void => return None,
            ExprKind::Str(name) => String::from_utf8_lossy(name).into_owned(),
            _ => "?".to_owned(),
        };
        let found = FUNCTIONS.iter().find(|(known, _)| *known == name);
        if found.is_none() {
            let message = format!(
                "tseries() expects one of the following aggregation functions: avg, max, min, \
                 sum (\"{name}\" provided)"
            );
            self.error("invalid-argument", span, message);
        }
        found.map(|(_, function)| *function)
    }
}
