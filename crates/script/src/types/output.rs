//! Functions without a value: what they send to user space.

use kscope_rows::{DataType, Field, Format, MapValueType};

use super::function::Call;
use super::infer::MapContents;
use super::{Checker, convert};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Expr, ExprKind, Int, Stmt, StmtKind, Type};
use crate::plan::{EVENT_HEADER, Site, SiteId, SiteKind};
use crate::syntax::tree;

/// Largest event in bytes that an event buffer takes.
const LARGEST: u32 = 1 << 16;

impl Checker<'_> {
    pub(super) fn printf(&mut self, call: Call<'_>) -> Option<Stmt> {
        let (function, span) = (call.name.text.as_str(), call.span);
        let (format, args) = call.args.split_first()?;
        let place = format.span;
        let text = self.format_text(function, format);
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            let value = self.expr(arg);
            values.push(self.storable(value));
        }
        let text = text?;
        let parsed = match Format::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.error("invalid-format", place, format!("{function}: {error}"));
                return None;
            }
        };
        if values.iter().any(|v| v.ty == Type::Void) {
            return None;
        }
        let types: Vec<DataType> = values.iter().map(|v| v.ty.data_type()).collect();
        let problems = parsed.check(&types);
        for problem in &problems {
            self.error("invalid-format", span, format!("{function}: {problem}"));
        }
        if !problems.is_empty() {
            return None;
        }
        let kind = Self::message_kind(function, text);
        let names = (0..values.len()).map(|i| i.to_string()).collect();
        self.emit(kind, names, values, span)
    }

    pub(super) fn print(&mut self, args: &[tree::Expr], span: Span) -> Option<Stmt> {
        let (first, rest) = args.split_first()?;
        if let tree::ExprKind::Map { name, key } = &first.kind {
            let whole = key.is_none();
            if whole {
                return self.print_map(name, first.span, rest, span);
            }
            if self.argument_count("print", args.len(), 1..=1, span) {
                return self.print_entry(name, key.as_deref(), first.span, span);
            }
            return None;
        }
        let value = self.expr(first);
        let value = self.storable(value);
        if !rest.is_empty() {
            self.check_all(rest);
            self.error(
                "argument-count",
                span,
                format!(
                    "Non-map print() only takes 1 argument, {} found",
                    args.len()
                ),
            );
            return None;
        }
        if value.ty == Type::Void {
            return None;
        }
        self.emit(SiteKind::Print, vec!["value".to_owned()], vec![value], span)
    }

    fn print_map(&mut self, name: &str, at: Span, rest: &[tree::Expr], span: Span) -> Option<Stmt> {
        let map = crate::hir::MapRef(self.env.map(name, at) as u32);
        if self.map_contents(map) == MapContents::Unknown {
            self.undefined_map(map, at);
        }
        // Copies of a statement are no rounds.
        if self.scope.loops > 0 && self.scope.unrolled == 1 {
            let message = "Due to its asynchronous nature using print() in a loop can lead to \
                unexpected behavior. The map will likely be updated before the runtime can print it";
            self.warn("print-in-loop", span, message);
        }
        let stats = MapContents::Aggregate(MapValueType::Stats { signed: true });
        let unsigned = MapContents::Aggregate(MapValueType::Stats { signed: false });
        let contents = self.map_contents(map);
        if !rest.is_empty() && (contents == stats || contents == unsigned) {
            let message = "print()'s top and div arguments are ignored when used on stats() maps";
            self.warn("ignored-argument", span, message);
        }
        let mut numbers = [0u64; 2];
        for (slot, arg) in numbers.iter_mut().zip(rest) {
            let value = self.expr(arg);
            match value.kind {
                _ if value.ty == Type::Void => return None,
                ExprKind::Int(n) if n >= 0 => *slot = n as u64,
                _ => {
                    self.error(
                        "invalid-argument",
                        arg.span,
                        "print() expects a literal that is not negative",
                    );
                    return None;
                }
            }
        }
        let kind = SiteKind::PrintMap {
            map: map.0,
            top: u32::try_from(numbers[0]).unwrap_or(u32::MAX),
            div: numbers[1],
        };
        self.emit(kind, Vec::new(), Vec::new(), span)
    }

    /// `print(@m[k])`: the key, and the value as it is now. What the program can not merge of all
    /// CPUs, user space reads later: histograms, statistics, and all aggregations on old kernels.
    fn print_entry(
        &mut self,
        name: &str,
        key: Option<&tree::Expr>,
        at: Span,
        span: Span,
    ) -> Option<Stmt> {
        let (map, key) = self.map_access(name, key, at);
        let key = self.once(key?);
        let kind = SiteKind::PrintEntry { map: map.0 };
        if let Some(MapValueType::Series { .. }) = self.aggregate_of(map) {
            let message = "Map type tseries_t cannot print the value of individual keys. You \
                           must print the whole map.";
            self.error("invalid-map-use", span, message);
            return None;
        }
        let merged_later = match self.aggregate_of(map) {
            Some(value) => super::aggregate::reads_as(&value).is_none() || !self.merges(),
            None => false,
        };
        if merged_later {
            if key.ty == Type::Void {
                return None;
            }
            return self.emit(kind, vec!["key".to_owned()], vec![key], span);
        }
        let value = self.read_map_at(map, Some(key.clone()), at);
        if key.ty == Type::Void || value.ty == Type::Void {
            return None;
        }
        let names = vec!["key".to_owned(), "value".to_owned()];
        self.emit(kind, names, vec![key, value], span)
    }

    /// `clear`, `zero`
    pub(super) fn clear(&mut self, call: Call<'_>) -> Option<Stmt> {
        let (function, span) = (call.name.text.as_str(), call.span);
        let map = call.args.first()?;
        let map = self.map_argument(function, map)?.0;
        let kind = if function == "clear" {
            SiteKind::Clear { map }
        } else {
            SiteKind::Zero { map }
        };
        self.emit(kind, Vec::new(), Vec::new(), span)
    }

    /// `unwatch(address)`
    pub(super) fn unwatch(&mut self, call: Call<'_>) -> Option<Stmt> {
        let address = self.expr(call.args.first()?);
        if address.ty == Type::Void {
            return None;
        }
        if !address.ty.is_scalar() {
            self.wrong_argument("unwatch", "an address", &address);
            return None;
        }
        let address = convert::convert(address, &Type::Int(Int::U64));
        let names = vec!["address".to_owned()];
        self.emit(SiteKind::Unwatch, names, vec![address], call.span)
    }

    pub(super) fn exit(&mut self, args: &[tree::Expr], span: Span) -> Option<Stmt> {
        let i32_type = Type::Int(Int::I32);
        let code = match args {
            [] => super::make(ExprKind::Int(0), i32_type, span),
            [code] => {
                let code = self.expr(code);
                if code.ty == Type::Void {
                    return None;
                }
                if super::expr::number(&code.ty).is_none() {
                    let message =
                        format!("exit() only supports int arguments ({} provided)", code.ty);
                    self.error("invalid-argument", code.span, message);
                    return None;
                }
                convert::convert(code, &i32_type)
            }
            _ => return None,
        };
        self.emit(SiteKind::Exit, vec!["code".to_owned()], vec![code], span)
    }

    pub(super) fn time(&mut self, args: &[tree::Expr], span: Span) -> Option<Stmt> {
        let format = match args {
            [] => "%H:%M:%S\n".into(),
            [format] => self.literal_text("time", format)?,
            _ => return None,
        };
        self.emit(SiteKind::Time { format }, Vec::new(), Vec::new(), span)
    }

    /// Lays an event out and adds its site.
    pub(super) fn emit(
        &mut self,
        kind: SiteKind,
        names: Vec<String>,
        args: Vec<Expr>,
        span: Span,
    ) -> Option<Stmt> {
        let mut offset = EVENT_HEADER;
        let mut fields = Vec::with_capacity(args.len());
        for (name, arg) in names.into_iter().zip(&args) {
            offset = offset.checked_next_multiple_of(arg.ty.align())?;
            fields.push(Field {
                name,
                offset,
                ty: arg.ty.data_type(),
                bits: None,
            });
            offset = offset.saturating_add(arg.ty.size());
        }
        let size = offset.checked_next_multiple_of(8).unwrap_or(u32::MAX);
        if size > LARGEST {
            self.report(
                Diagnostic::error(
                    "too-large",
                    span,
                    format!("the values take {size} bytes, more than one event has room for"),
                )
                .hint("lower max_strlen, or give str() a length"),
            );
            return None;
        }
        let site = SiteId(self.sites.len() as u32);
        self.sites.push(Site {
            kind,
            fields,
            size,
            span,
        });
        let kind = StmtKind::Emit { site, args };
        Some(Stmt { kind, span })
    }
}
