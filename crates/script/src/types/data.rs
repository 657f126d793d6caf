//! Functions over addresses, names, buffers and registers.

use std::net::IpAddr;
use std::sync::Arc;

use kscope_rows::NameTable;
use kscope_spec::{HelperId, LateKind};

use super::convert::convert;
use super::expr::number;
use super::function::Call;
use super::{Checker, did_you_mean, make, poison};
use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Arithmetic, Builtin, Comparison, Context, Expr, ExprKind, FieldType, Int, Type};
use crate::lower::x86_64;
use crate::near::nearest;
use crate::syntax::tree;

/// Begins the names of late values that are ids of cgroups; the path follows.
pub const CGROUP_LATE: &str = "cgroup:";

/// Name of the late value that is added to the boot clock for international atomic time.
pub const TAI_OFFSET: &str = "kscope.tai";
/// Name of the late value of what is added to the boot clock to have nanoseconds since 1970.
pub const REALTIME_OFFSET: &str = "kscope.realtime";

/// The privilege level of processes on x86.
const USER_RING: i64 = 3;

/// Bytes of an Ethernet address.
const ETHERNET: u32 = 6;
/// `AF_INET`
const INTERNET_4: i64 = 2;
/// `AF_INET6`
const INTERNET_6: i64 = 10;

/// Bytes of the verifier's log as bpftrace has them.
const LOG_SIZE: u32 = 1_000_000;
/// Bytes of the largest value on the stack as bpftrace has them.
const STACK_LIMIT: u32 = 32;

impl Checker<'_> {
    /// `strerror`, `signal_name`, `syscall_name`
    pub(super) fn named(&mut self, call: Call<'_>, table: NameTable) -> Expr {
        let Some(value) = self.one(call.args) else {
            return poison(call.span);
        };
        if number(&value.ty).is_none() {
            return self.wrong_argument(&call.name.text, "an integer", &value);
        }
        let value = convert(value, &Type::Int(Int::I32));
        let kind = ExprKind::Cast(Box::new(value));
        make(kind, Type::Named(table), call.span)
    }

    /// `ntop([family,] address)`
    pub(super) fn ntop(&mut self, call: Call<'_>) -> Expr {
        let checked: Vec<Expr> = call.args.iter().map(|a| self.expr(a)).collect();
        if checked.iter().any(|e| e.ty == Type::Void) {
            return poison(call.span);
        }
        let (family, address) = match <[Expr; 2]>::try_from(checked) {
            Ok([family, address]) => (Some(family), address),
            Err(one) => match one.into_iter().next() {
                Some(address) => (None, address),
                None => return poison(call.span),
            },
        };
        let (address, own) = match &address.ty {
            Type::Int(_) | Type::Enum(_) => (convert(address, &Type::U32), INTERNET_4),
            _ if address.ty.size() == 4 && is_bytes(&address.ty) => (address, INTERNET_4),
            _ if address.ty.size() == 16 && is_bytes(&address.ty) => (address, INTERNET_6),
            _ => {
                return self.wrong_argument(
                    "ntop",
                    "an integer or an array of 4 or 16 bytes",
                    &address,
                );
            }
        };
        let family = match family {
            None => make(ExprKind::Int(own), Type::U32, call.span),
            Some(family) if number(&family.ty).is_some() => convert(family, &Type::U32),
            Some(family) => {
                return self.wrong_argument("ntop", "an integer as its family", &family);
            }
        };
        let kind = ExprKind::Fields(vec![family, address]);
        make(kind, Type::InternetAddress, call.span)
    }

    /// `pton("127.0.0.1")`: the address's bytes in network order.
    pub(super) fn pton(&mut self, call: Call<'_>) -> Expr {
        let text = call.args.first();
        let Some(text) = text.and_then(|a| self.literal_text("pton", a)) else {
            return poison(call.span);
        };
        let bytes = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.octets().to_vec(),
            Ok(IpAddr::V6(address)) => address.octets().to_vec(),
            Err(_) => {
                return self.error(
                    "invalid-argument",
                    call.span,
                    format!("pton() expects a valid IPv4/IPv6 address, got {text}"),
                );
            }
        };
        let element = Type::Int(Int::new(1, false));
        let len = bytes.len() as u32;
        let byte = |b: u8| make(ExprKind::Int(i64::from(b)), element.clone(), call.span);
        let parts = bytes.into_iter().map(byte).collect();
        let ty = Type::Array {
            element: Arc::new(element.clone()),
            len,
        };
        make(ExprKind::Fields(parts), ty, call.span)
    }

    /// `macaddr(address)`
    pub(super) fn macaddr(&mut self, call: Call<'_>) -> Expr {
        let Some(value) = self.one(call.args) else {
            return poison(call.span);
        };
        let bytes = Type::Array {
            element: Arc::new(Type::Int(Int::new(1, false))),
            len: ETHERNET,
        };
        let value = match &value.ty {
            Type::Pointer { space, .. } => {
                let space = *space;
                let kind = ExprKind::ReadBytes {
                    address: Box::new(convert(value, &Type::U64)),
                    space,
                };
                make(kind, bytes, call.span)
            }
            ty if is_bytes(ty) && ty.size() == ETHERNET => value,
            ty if is_bytes(ty) => {
                let message = format!("macaddr() argument must be 6 bytes in size ({ty} provided)");
                return self.error("invalid-argument", value.span, message);
            }
            _ => return self.wrong_argument("macaddr", "an array or pointer", &value),
        };
        make(
            ExprKind::Fields(vec![value]),
            Type::EthernetAddress,
            call.span,
        )
    }

    /// `cgroup_path(id[, filter])`
    pub(super) fn cgroup_path(&mut self, call: Call<'_>) -> Expr {
        let Some(value) = self.one(call.args) else {
            return poison(call.span);
        };
        let filter = match call.args.get(1) {
            None => "".into(),
            Some(filter) => match self.literal_text("cgroup_path", filter) {
                Some(filter) => filter,
                None => return poison(call.span),
            },
        };
        if number(&value.ty).is_none() {
            return self.wrong_argument("cgroup_path", "an integer", &value);
        }
        let kind = ExprKind::Cast(Box::new(convert(value, &Type::U64)));
        make(kind, Type::CgroupPath { filter }, call.span)
    }

    /// `cgroupid("path")`: known when it is loaded.
    pub(super) fn cgroupid(&mut self, call: Call<'_>) -> Expr {
        let path = call.args.first();
        let Some(path) = path.and_then(|a| self.literal_text("cgroupid", a)) else {
            return poison(call.span);
        };
        let late = self.late_value(&format!("{CGROUP_LATE}{path}"), LateKind::Number);
        make(ExprKind::Late(late), Type::U64, call.span)
    }

    /// `buf(data[, length])`
    pub(super) fn buf(&mut self, call: Call<'_>) -> Expr {
        let Some(value) = self.one(call.args) else {
            return poison(call.span);
        };
        let most = self.config.max_strlen;
        let whole = match &value.ty {
            Type::Array { .. } | Type::Struct(_) => Some(value.ty.size()),
            Type::Str { capacity } => Some(*capacity),
            Type::Pointer { .. } | Type::Int(_) => None,
            _ => return self.wrong_argument("buf", "an integer, string, pointer or array", &value),
        };
        let mut capacity = whole.unwrap_or(most).min(most);
        let len = match call.args.get(1) {
            None if whole.is_none() => {
                let message = "buf() expects a length argument for a pointer or an integer";
                return self.error("invalid-argument", call.span, message);
            }
            None => make(ExprKind::Int(i64::from(capacity)), Type::U32, call.span),
            Some(len) => {
                let len = self.expr(len);
                match (&len.kind, number(&len.ty)) {
                    _ if len.ty == Type::Void => return poison(call.span),
                    (_, None) => return self.wrong_argument("buf", "a number as its length", &len),
                    (ExprKind::Int(n), _) if *n < 0 => {
                        let message = format!("buf cannot use negative length ({n})");
                        return self.error("invalid-argument", len.span, message);
                    }
                    (ExprKind::Int(n), _) => {
                        if *n > i64::from(most) {
                            let message = format!(
                                "length param ({n}) is too long and will be shortened to {most} \
                                 bytes (see BPFTRACE_MAX_STRLEN)"
                            );
                            self.warn("too-long", call.span, message);
                        }
                        let given = u32::try_from(*n).unwrap_or(u32::MAX);
                        capacity = given.min(most).max(1);
                    }
                    _ => {}
                }
                convert(len, &Type::U64)
            }
        };
        let ty = Type::Buffer { capacity };
        let len = Box::new(len);
        let kind = match (whole, value.kind) {
            (Some(_), ExprKind::ReadBytes { address, space }) => ExprKind::ReadBuffer {
                address,
                space,
                len,
            },
            (Some(_), kind) => ExprKind::BufferOf {
                value: Box::new(make(kind, value.ty, value.span)),
                len,
            },
            (None, kind) => {
                let value = make(kind, value.ty, value.span);
                let space = self.space_of_number(&value);
                ExprKind::ReadBuffer {
                    address: Box::new(convert(value, &Type::U64)),
                    space,
                    len,
                }
            }
        };
        make(kind, ty, call.span)
    }

    /// `reg("ip")`
    pub(super) fn reg(&mut self, call: Call<'_>) -> Expr {
        let name = call.args.first();
        let Some(name) = name.and_then(|a| self.literal_text("reg", a)) else {
            return poison(call.span);
        };
        let has_registers = matches!(
            self.scope.context,
            Context::KprobeEntry
                | Context::KprobeReturn
                | Context::PerfEvent
                | Context::UprobeEntry
                | Context::UprobeReturn
                | Context::Usdt
        );
        if !has_registers && !self.scope.dead {
            return self.misplaced("reg", call.span);
        }
        let Some(offset) = x86_64::register(&name) else {
            let mut error = Diagnostic::error(
                "invalid-argument",
                call.span,
                format!("'{name}' is not a valid register on this architecture (x86_64)"),
            );
            error.hint = did_you_mean(&nearest(&name, x86_64::register_names(), 3));
            return self.report(error);
        };
        make(ExprKind::Register { offset }, Type::U64, call.span)
    }

    /// A helper that takes nothing and gives a number.
    pub(super) fn helper_value(&mut self, helper: HelperId, ty: Type, span: Span) -> Expr {
        let args = Vec::new();
        make(ExprKind::Helper { helper, args }, ty, span)
    }

    /// `nsecs(sw_tai)`: the boot clock and what it lay behind when the script was loaded.
    pub(super) fn tai_by_boot_clock(&mut self, span: Span) -> Expr {
        self.by_boot_clock(TAI_OFFSET, span)
    }

    /// The boot clock and what it lay behind another when the script was loaded.
    pub(super) fn by_boot_clock(&mut self, offset: &str, span: Span) -> Expr {
        let late = self.late_value(offset, LateKind::Number);
        let kind = ExprKind::Binary {
            op: Arithmetic::Add,
            left: Box::new(make(ExprKind::Builtin(Builtin::NsecsBoot), Type::U64, span)),
            right: Box::new(make(ExprKind::Late(late), Type::U64, span)),
        };
        make(kind, Type::U64, span)
    }

    /// `usermode`: 1 where the processor was running a process's own code.
    pub(super) fn user_mode(&mut self, span: Span) -> Expr {
        let known = match self.scope.context {
            Context::KprobeEntry | Context::KprobeReturn | Context::PerfEvent => None,
            // Code of the kernel runs there.
            Context::Function
            | Context::Tracepoint
            | Context::RawTracepoint
            | Context::Iterator => Some(0),
            Context::Test | Context::UprobeEntry | Context::UprobeReturn | Context::Usdt => Some(1),
        };
        if let Some(known) = known {
            return make(ExprKind::Int(known), Type::Int(Int::new(1, false)), span);
        }
        let Some(offset) = x86_64::register("cs") else {
            return self.misplaced("usermode", span);
        };
        let word = |kind| Box::new(make(kind, Type::U64, span));
        let ring = ExprKind::Binary {
            op: Arithmetic::And,
            left: word(ExprKind::Register { offset }),
            right: word(ExprKind::Int(USER_RING)),
        };
        let kind = ExprKind::Compare {
            op: Comparison::Eq,
            signed: false,
            left: word(ring),
            right: word(ExprKind::Int(USER_RING)),
        };
        let is_user = make(kind, Type::Bool, span);
        convert(is_user, &Type::Int(Int::new(1, false)))
    }

    /// `config`: what the script is configured with, as a record.
    pub(super) fn configuration(&mut self, span: Span) -> Expr {
        let config = self.config.clone();
        let missing = format!("{:?}", config.missing_probes).to_lowercase();
        let mode = format!("{:?}", config.stack_mode).to_lowercase();
        let truth = |name, b| (name, make(ExprKind::Int(i64::from(b)), Type::Bool, span));
        let number = |name, n: u32| {
            let n = make(ExprKind::Int(i64::from(n)), Type::U64, span);
            (name, n)
        };
        let text = |name, text: &str| (name, super::expr::string(text.as_bytes(), span));
        let log_size = match config.log_size {
            0 => LOG_SIZE,
            given => given,
        };
        // In bpftrace's order; what is fixed here is as it is there by default.
        let parts = vec![
            truth("cpp_demangle", true),
            truth("lazy_symbolication", true),
            truth("print_maps_on_exit", config.print_maps_on_exit),
            truth("use_blazesym", false),
            truth("show_debug_info", false),
            number("log_size", log_size),
            number("max_bpf_progs", config.max_bpf_progs),
            number("max_cat_bytes", config.max_cat_bytes),
            number("max_map_keys", config.max_map_keys),
            number("max_probes", config.max_probes),
            number("max_strlen", config.max_strlen),
            number("on_stack_limit", STACK_LIMIT),
            number("perf_rb_pages", config.perf_rb_pages),
            text("str_trunc_trailer", &config.str_trunc_trailer),
            text("unstable_import_statement", "error"),
            text("unstable_tseries", "warn"),
            text("unstable_typeinfo", "error"),
            text("unstable_dw_ustack", "warn"),
            text("missing_probes", &missing),
            text("stack_mode", &mode),
            text("license", "GPL"),
        ];
        let types = parts
            .iter()
            .map(|(name, e)| ((*name).to_owned(), e.ty.clone()));
        let ty = Type::Record(FieldType::lay_out(types.collect()));
        let parts = parts.into_iter().map(|(_, e)| e).collect();
        make(ExprKind::Fields(parts), ty, span)
    }

    /// `strlen(string)`
    pub(super) fn strlen(&mut self, call: Call<'_>) -> Expr {
        let Some(value) = self.string_argument(call, 0) else {
            return poison(call.span);
        };
        make(ExprKind::StrLen(Box::new(value)), Type::U64, call.span)
    }

    /// `strcap(string)`: the room it has.
    pub(super) fn strcap(&mut self, call: Call<'_>) -> Expr {
        let Some(value) = self.one(call.args) else {
            return poison(call.span);
        };
        match &value.ty {
            Type::Str { capacity } => {
                make(ExprKind::Int(i64::from(*capacity)), Type::U64, call.span)
            }
            Type::Array { len, .. } => make(ExprKind::Int(i64::from(*len)), Type::U64, call.span),
            _ => self.strlen(call),
        }
    }

    /// `strstr(haystack, needle)`
    pub(super) fn strstr(&mut self, call: Call<'_>) -> Expr {
        let haystack = self.string_argument(call, 0);
        let needle = self.string_argument(call, 1);
        let (Some(haystack), Some(needle)) = (haystack, needle) else {
            return poison(call.span);
        };
        let kind = ExprKind::StrFind {
            haystack: Box::new(haystack),
            needle: Box::new(needle),
        };
        make(kind, Type::I64, call.span)
    }

    /// `str_concat(first, second)`
    pub(super) fn str_concat(&mut self, call: Call<'_>) -> Expr {
        let first = self.string_argument(call, 0);
        let second = self.string_argument(call, 1);
        let place = self.concats;
        self.concats += 1;
        let (Some(first), Some(second)) = (first, second) else {
            return poison(call.span);
        };
        let most = self.config.max_strlen.max(1024);
        let capacity = first.ty.size().saturating_add(second.ty.size());
        let capacity = capacity.saturating_sub(1).min(most);
        // One that goes into what it is made of grows with each walk: it gets all the room there is.
        let capacity = match self.env.concat_grows(place, capacity) {
            true => most,
            false => capacity,
        };
        let kind = ExprKind::Concat(Box::new(first), Box::new(second));
        make(kind, Type::Str { capacity }, call.span)
    }

    /// `memcmp(left, right, count)`
    pub(super) fn memcmp(&mut self, call: Call<'_>) -> Expr {
        let [left, right, count] = call.args else {
            return poison(call.span);
        };
        let left = self.expr(left);
        let right = self.expr(right);
        let count = self.expr(count);
        if [&left, &right, &count].iter().any(|e| e.ty == Type::Void) {
            return poison(call.span);
        }
        for side in [&left, &right] {
            if side.ty.is_scalar() {
                return self.wrong_argument("memcmp", "strings, arrays or structures", side);
            }
        }
        let ExprKind::Int(n) = count.kind else {
            if number(&count.ty).is_none() {
                return self.wrong_argument("memcmp", "a number of bytes", &count);
            }
            // It is known as the script runs: a loop.
            let expanded = self.expand_macro("__memcmp", call.args, call.span);
            return expanded.unwrap_or_else(|| poison(call.span));
        };
        let Ok(n) = u32::try_from(n) else {
            let message = "memcmp() expects a number of bytes that is not negative";
            return self.error("invalid-argument", call.span, message);
        };
        let kind = ExprKind::MemoryDifference {
            len: n.min(left.ty.size()).min(right.ty.size()),
            left: Box::new(left),
            right: Box::new(right),
        };
        make(kind, Type::Int(Int::I32), call.span)
    }

    /// Checks an argument that is a string, or can be read as one.
    fn string_argument(&mut self, call: Call<'_>, place: usize) -> Option<Expr> {
        let value = self.expr(call.args.get(place)?);
        let value = super::convert::name_as_text(value, true);
        match &value.ty {
            Type::Void => None,
            Type::Str { .. } => Some(value),
            Type::Array { element, .. } if element.size() == 1 => {
                let capacity = value.ty.size();
                let span = value.span;
                let kind = ExprKind::StrOfBytes(Box::new(value));
                Some(make(kind, Type::Str { capacity }, span))
            }
            Type::Pointer { to, space } if to.size() == 1 => {
                let (space, span) = (*space, value.span);
                let capacity = self.config.max_strlen;
                let kind = ExprKind::ReadStr {
                    address: Box::new(convert(value, &Type::U64)),
                    space,
                    len: None,
                };
                Some(make(kind, Type::Str { capacity }, span))
            }
            _ => {
                self.wrong_argument(&call.name.text, "strings", &value);
                None
            }
        }
    }

    /// Says whether the script says of a value's type what is asked.
    pub(super) fn predicate(&mut self, call: Call<'_>, holds: fn(&Type) -> bool) -> Expr {
        let Some(value) = self.one(call.args) else {
            return poison(call.span);
        };
        let kind = ExprKind::Int(i64::from(holds(&value.ty)));
        make(kind, Type::Bool, call.span)
    }

    /// `is_literal(e)`
    pub(super) fn literal_given(&mut self, call: Call<'_>) -> Expr {
        let literal = call.args.first().is_some_and(|e| {
            matches!(
                e.kind,
                tree::ExprKind::Int(_) | tree::ExprKind::Str(_) | tree::ExprKind::Bool(_)
            )
        });
        make(ExprKind::Int(i64::from(literal)), Type::Bool, call.span)
    }

    /// `kfunc_exist(name)`, `kfunc_allowed(name)`
    pub(super) fn kfunc_exist(&mut self, call: Call<'_>) -> Expr {
        let name = call.args.first();
        let Some(name) = name.and_then(|a| self.literal_text(&call.name.text, a)) else {
            return poison(call.span);
        };
        let found = self
            .inputs
            .btf
            .and_then(|b| b.find_once(&name, kscope_btf::Kind::Func));
        let callable = match call.name.text.as_str() {
            "kfunc_allowed" => self.may_call_kernel(),
            _ => true,
        };
        self.warn_answered_here(&call.name.text, &name, call.span);
        make(
            ExprKind::Int(i64::from(found.is_some() && callable)),
            Type::Bool,
            call.span,
        )
    }
}

/// Says whether a value is an array of bytes, or something as plain.
fn is_bytes(ty: &Type) -> bool {
    match ty {
        Type::Array { .. } | Type::Struct(_) => true,
        Type::Str { .. } => false,
        _ => false,
    }
}
