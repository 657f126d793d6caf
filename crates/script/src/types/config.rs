//! `config = { … }` and its keys in the environment.

use super::{Checker, did_you_mean};
use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::hir::{Expr, ExprKind, Type};
use crate::near::nearest;
use crate::plan::MissingProbes;
use crate::syntax::tree;

/// Keys this version acts on.
const KEYS: [&str; 13] = [
    "max_map_keys",
    "max_strlen",
    "max_probes",
    "max_bpf_progs",
    "max_cat_bytes",
    "perf_rb_pages",
    "log_size",
    "missing_probes",
    "print_maps_on_exit",
    "str_trunc_trailer",
    "stack_mode",
    "event_buffer",
    "license",
];

/// Keys of bpftrace that change nothing here.
const IGNORED: [&str; 11] = [
    "cache_user_symbols",
    "cpp_demangle",
    "lazy_symbolication",
    "on_stack_limit",
    "use_blazesym",
    "show_debug_info",
    "unstable_import_statement",
    "unstable_tseries",
    "unstable_typeinfo",
    "unstable_dw_ustack",
    "unstable_map_decl",
];

/// Keys that once were, and mean nothing to bpftrace either.
const DEPRECATED: [&str; 4] = [
    "symbol_source",
    "unstable_import",
    "unstable_macro",
    "unstable_map_decl",
];

const RENAMED: [(&str, &str); 4] = [
    ("strlen", "max_strlen"),
    ("no_cpp_demangle", "cpp_demangle"),
    ("cat_bytes_max", "max_cat_bytes"),
    ("map_keys_max", "max_map_keys"),
];

const ENVIRONMENT_ONLY: [&str; 4] = ["btf", "kernel_build", "kernel_source", "vmlinux"];

/// Keys of the environment that are no configuration of scripts.
const NOT_FOR_SCRIPTS: [&str; 4] = ["color", "objcopy", "kconfig_test", "dummy_ts_map"];

/// A value as given.
enum Value {
    Number(i64),
    Bool(bool),
    Text(String),
}

impl Checker<'_> {
    /// Merges the script's configuration and the environment's, which wins.
    pub(super) fn configure(&mut self) {
        let script = self.script;
        let mut seen: Vec<(String, Span)> = Vec::new();
        for entry in &script.config {
            let key = restore(&entry.key.text);
            if let Some((_, first)) = seen.iter().find(|(k, _)| *k == key) {
                let first = *first;
                self.report(
                    Diagnostic::error(
                        "duplicate-config",
                        entry.key.span,
                        format!("{key} is set twice"),
                    )
                    .note(first, "first set here"),
                );
                continue;
            }
            seen.push((key.clone(), entry.key.span));
            let Some(value) = self.config_value(&entry.value) else {
                continue;
            };
            if DEPRECATED.contains(&key.as_str()) {
                let message = format!("{key} is deprecated and has no effect");
                self.warn("deprecated", entry.key.span, message);
                continue;
            }
            if let Err(mut error) = self.set(&key, &value, entry.key.span) {
                if error.id == "invalid-config" {
                    error.span = entry.value.span;
                }
                self.report(error);
            }
        }
        let inputs = self.inputs;
        for (key, text) in &inputs.environment {
            let key = restore(key);
            if ENVIRONMENT_ONLY.contains(&key.as_str()) || NOT_FOR_SCRIPTS.contains(&key.as_str()) {
                continue;
            }
            let value = match (super::expr::parse_number(text), text.as_str()) {
                (Some(n), _) => Value::Number(n),
                (None, "true") => Value::Bool(true),
                (None, "false") => Value::Bool(false),
                _ => Value::Text(text.clone()),
            };
            if let Err(mut error) = self.set(&key, &value, Span::default()) {
                if error.id == "unknown-config" {
                    // Another program's variable, unless a misspelt one of ours.
                    if error.hint.is_none() {
                        continue;
                    }
                    error.severity = Severity::Warning;
                }
                error.message = format!("BPFTRACE_{}: {}", key.to_uppercase(), error.message);
                self.report(error);
            }
        }
    }

    fn config_value(&mut self, e: &tree::Expr) -> Option<Value> {
        match &e.kind {
            tree::ExprKind::Name(name) => Some(Value::Text(name.clone())),
            tree::ExprKind::Str(text) => {
                Some(Value::Text(String::from_utf8_lossy(text).into_owned()))
            }
            tree::ExprKind::Bool(value) => Some(Value::Bool(*value)),
            tree::ExprKind::Int(n) => Some(Value::Number(*n as i64)),
            tree::ExprKind::Error => None,
            _ => {
                let checked: Expr = self.expr(e);
                match (checked.kind, checked.ty) {
                    (_, Type::Void) => None,
                    (ExprKind::Int(n), _) => Some(Value::Number(n)),
                    (ExprKind::Str(text), _) => {
                        Some(Value::Text(String::from_utf8_lossy(&text).into_owned()))
                    }
                    _ => {
                        self.error("invalid-config", e.span, "expected a literal");
                        None
                    }
                }
            }
        }
    }

    fn set(&mut self, key: &str, value: &Value, span: Span) -> Result<(), Diagnostic> {
        let invalid = |what: &str| {
            Err(Diagnostic::error(
                "invalid-config",
                span,
                format!("{key} expects {what}"),
            ))
        };
        let number = |least: i64, most: i64| -> Result<u32, Diagnostic> {
            match value {
                Value::Number(n) if (least..=most).contains(n) => Ok(*n as u32),
                _ => Err(Diagnostic::error(
                    "invalid-config",
                    span,
                    format!("{key} expects a number from {least} to {most}"),
                )),
            }
        };
        let config = &mut self.config;
        match key {
            "max_map_keys" => {
                config.max_map_keys = number(1, 1 << 28)?;
                self.map_keys_given = true;
            }
            "max_strlen" => config.max_strlen = number(1, 1 << 16)?,
            "max_probes" => config.max_probes = number(1, 1 << 20)?,
            "max_bpf_progs" => config.max_bpf_progs = number(1, 1 << 20)?,
            "max_cat_bytes" => config.max_cat_bytes = number(0, 1 << 30)?,
            "perf_rb_pages" => config.perf_rb_pages = number(0, 1 << 20)?,
            "log_size" => config.log_size = number(128, i64::from(u32::MAX >> 2))?,
            "missing_probes" => {
                config.missing_probes = match value {
                    Value::Text(t) if t == "error" => MissingProbes::Error,
                    Value::Text(t) if t == "warn" => MissingProbes::Warn,
                    Value::Text(t) if t == "ignore" => MissingProbes::Ignore,
                    _ => return invalid("error, warn or ignore"),
                }
            }
            "print_maps_on_exit" => {
                config.print_maps_on_exit = match value {
                    Value::Bool(b) => *b,
                    Value::Number(n @ 0..=1) => *n == 1,
                    _ => return invalid("true or false"),
                }
            }
            "str_trunc_trailer" => match value {
                Value::Text(text) => config.str_trunc_trailer.clone_from(text),
                Value::Number(n) => config.str_trunc_trailer = n.to_string(),
                Value::Bool(_) => return invalid("a string"),
            },
            "stack_mode" => {
                let mode = match value {
                    Value::Text(text) => super::call::stack_mode(text),
                    _ => None,
                };
                match mode {
                    Some(mode) => config.stack_mode = mode,
                    None => return invalid("bpftrace, perf or raw"),
                }
            }
            "event_buffer" => {
                config.perf_buffer = match value {
                    Value::Text(t) if t == "ring" => false,
                    Value::Text(t) if t == "perf" => true,
                    _ => return invalid("ring or perf"),
                }
            }
            "license" => match value {
                Value::Text(t) if t.starts_with("GPL") || t.starts_with("Dual") => {}
                _ => return invalid("GPL: the functions that programs call ask for it"),
            },
            key if IGNORED.contains(&key) => {}
            key => return Err(unknown(key, span)),
        }
        Ok(())
    }
}

fn unknown(key: &str, span: Span) -> Diagnostic {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == key) {
        return Diagnostic::error(
            "renamed-config",
            span,
            format!("{key} has been renamed to {new}"),
        )
        .hint(format!("use {new}"));
    }
    if ENVIRONMENT_ONLY.contains(&key) {
        return Diagnostic::error(
            "unknown-config",
            span,
            format!("{key} can only be set as an environment variable"),
        );
    }
    let mut error = Diagnostic::error(
        "unknown-config",
        span,
        format!("{key}: not a known configuration option"),
    );
    error.hint = did_you_mean(&nearest(key, KEYS.into_iter().chain(IGNORED), 3));
    error
}

/// Gives a key in its plain form: keys may be written as the environment writes them.
fn restore(key: &str) -> String {
    let key = key.to_lowercase();
    match key.strip_prefix("bpftrace_") {
        Some(rest) => rest.to_owned(),
        None => key,
    }
}
