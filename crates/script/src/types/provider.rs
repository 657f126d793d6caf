//! Attach points as written: which kind of probe, and what of.

use super::user_probe::{UserTarget, uprobe, usdt};
use super::{Checker, did_you_mean, event};
use crate::catalogue::is_pattern;
use crate::diagnostic::Diagnostic;
use crate::near::nearest;
use crate::plan::{Attach, Rate};
use crate::syntax::tree;

/// Kinds of probes of this version: name, short name.
const SUPPORTED: [(&str, &str); 22] = [
    ("begin", "BEGIN"),
    ("end", "END"),
    ("self", "self"),
    ("tracepoint", "t"),
    ("rawtracepoint", "rt"),
    ("kprobe", "k"),
    ("kretprobe", "kr"),
    ("uprobe", "u"),
    ("uretprobe", "ur"),
    ("usdt", "U"),
    ("interval", "i"),
    ("profile", "p"),
    ("software", "s"),
    ("hardware", "h"),
    ("fentry", "f"),
    ("fentry", "kfunc"),
    ("fexit", "fr"),
    ("fexit", "kretfunc"),
    ("iter", "it"),
    ("watchpoint", "w"),
    ("test", "test"),
    ("bench", "bench"),
];

/// What an attach point asks for, before anything is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `begin`, `end`, `self`, `interval`, `profile`.
    Plain(Attach),
    Tracepoint {
        category: String,
        event: String,
    },
    RawTracepoint {
        module: Option<String>,
        event: String,
    },
    Kprobe {
        module: Option<String>,
        function: String,
        offset: u64,
        on_return: bool,
    },
    User {
        target: UserTarget,
        on_return: bool,
    },
    Usdt {
        path: String,
        provider: String,
        name: String,
    },
    /// `kprobe` at an address.
    Address(u64),
    /// `fentry`, `fexit`.
    Function {
        module: Option<String>,
        function: String,
        on_exit: bool,
    },
    Iterator {
        name: String,
    },
}

impl Target {
    /// Gives the pattern, where it is one, in the place of the name.
    pub(super) fn pattern(&self) -> Option<Attach> {
        let (is_pattern, pattern) = match self {
            // The program of a typed function fits that function alone.
            Target::Plain(_)
            | Target::Address(_)
            | Target::Function { .. }
            | Target::Iterator { .. } => return None,
            Target::User { target, on_return } => (target.is_pattern(), target.attach(*on_return)),
            Target::Usdt {
                path,
                provider,
                name,
            } => (
                is_pattern(path) || is_pattern(provider) || is_pattern(name),
                Attach::Usdt {
                    path: path.clone(),
                    provider: provider.clone(),
                    name: name.clone(),
                    index: 0,
                },
            ),
            Target::Tracepoint { category, event } => (
                is_pattern(category) || is_pattern(event),
                Attach::Tracepoint {
                    category: category.clone(),
                    event: event.clone(),
                },
            ),
            Target::RawTracepoint { event, .. } => (
                is_pattern(event),
                Attach::RawTracepoint {
                    event: event.clone(),
                },
            ),
            Target::Kprobe {
                function,
                offset,
                on_return,
                ..
            } => {
                let name = function.clone();
                let pattern = match on_return {
                    true => Attach::Kretprobe { function: name },
                    false => Attach::Kprobe {
                        function: name,
                        offset: *offset,
                    },
                };
                (is_pattern(function), pattern)
            }
        };
        is_pattern.then_some(pattern)
    }
}

impl Checker<'_> {
    /// Reads an attach point; what is wrong with it is reported.
    pub(super) fn target(&mut self, point: &tree::AttachPoint) -> Option<(&'static str, Target)> {
        let (kind, parts) = point.parts.split_first()?;
        let rest: Vec<&str> = parts.iter().map(String::as_str).collect();
        let known = SUPPORTED
            .iter()
            .find(|(long, short)| kind == *long || kind == *short);
        let Some((provider, _)) = known else {
            self.unknown_kind(kind, point);
            return None;
        };
        let target = match *provider {
            "begin" | "end" if rest.is_empty() => Ok(Target::Plain(if *provider == "begin" {
                Attach::Begin
            } else {
                Attach::End
            })),
            "begin" | "end" => Err(format!("{provider} probes take no arguments")),
            "self" => match rest[..] {
                ["signal", "SIGUSR1"] => Ok(Target::Plain(Attach::Signal)),
                _ => Err("self probes are written self:signal:SIGUSR1".to_owned()),
            },
            "tracepoint" => tracepoint(&rest),
            "rawtracepoint" => raw_tracepoint(&rest),
            "uprobe" | "uretprobe" => uprobe(provider, &rest),
            "usdt" => usdt(&rest),
            "interval" | "profile" => timer(provider, &rest),
            "software" | "hardware" => event::perf_event(provider, &rest).map(Target::Plain),
            "fentry" | "fexit" => function(provider, &rest),
            "iter" => iterator(&rest),
            "watchpoint" => watchpoint(&rest),
            "test" | "bench" => on_request(provider, &rest),
            provider => kprobe(provider, &rest),
        };
        match target {
            Ok(target) => Some((provider, target)),
            Err(message) => {
                self.error("invalid-probe", point.span, message);
                None
            }
        }
    }

    fn unknown_kind(&mut self, kind: &str, point: &tree::AttachPoint) {
        if kind.is_empty() {
            let message = "there is no attach point: what stands for it was not given";
            let error = Diagnostic::error("unknown-probe-type", point.span, message);
            self.report(error.hint(
                "the values of $1, $2, … follow the script: kprobe:vfs_read, for example; an object \
                 has those that it was built with",
            ));
            return;
        }
        let names = SUPPORTED.iter().map(|(long, _)| *long);
        let mut error = Diagnostic::error(
            "unknown-probe-type",
            point.span,
            format!("Invalid probe type: {kind}"),
        );
        error.hint = match kind {
            "asyncwatchpoint" | "aw" => {
                Some("bpftrace has it no more: watchpoint:address:length:mode".to_owned())
            }
            _ => did_you_mean(&nearest(kind, names, 3)),
        };
        self.report(error);
    }
}

fn tracepoint(parts: &[&str]) -> Result<Target, String> {
    match parts {
        [category, event] if !category.is_empty() && !event.is_empty() => Ok(Target::Tracepoint {
            category: (*category).to_owned(),
            event: (*event).to_owned(),
        }),
        _ => Err("tracepoint probes are written tracepoint:category:event".to_owned()),
    }
}

fn raw_tracepoint(parts: &[&str]) -> Result<Target, String> {
    match parts {
        [event] if !event.is_empty() => Ok(Target::RawTracepoint {
            module: None,
            event: (*event).to_owned(),
        }),
        [module, event] if !event.is_empty() => Ok(Target::RawTracepoint {
            module: Some((*module).to_owned()),
            event: (*event).to_owned(),
        }),
        _ => Err("rawtracepoint probes are written rawtracepoint:event".to_owned()),
    }
}

fn kprobe(provider: &str, parts: &[&str]) -> Result<Target, String> {
    let (module, function) = match parts {
        [function] => (None, *function),
        [module, function] => (Some((*module).to_owned()), *function),
        _ => return Err(format!("{provider} probes are written {provider}:function")),
    };
    let (name, offset) = match function.split_once('+') {
        None => (function, 0),
        Some((name, offset)) => {
            let number = super::expr::parse_number(offset.trim());
            match number.and_then(|n| u64::try_from(n).ok()) {
                Some(offset) => (name, offset),
                None => return Err(format!("'{offset}' is no offset")),
            }
        }
    };
    let on_return = provider == "kretprobe";
    if on_return && offset != 0 {
        return Err("kretprobe probes can not have an offset".to_owned());
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return match (address(name.trim()), on_return, offset) {
            (Some(address), false, 0) => Ok(Target::Address(address)),
            (Some(_), true, _) => Err("kretprobe probes can not be at an address".to_owned()),
            _ => Err(format!("'{function}' is no address")),
        };
    }
    if name.is_empty() {
        return Err(format!("{provider} probes are written {provider}:function"));
    }
    Ok(Target::Kprobe {
        module,
        function: name.trim().to_owned(),
        offset,
        on_return,
    })
}

/// Reads an address, which takes all 64 bits.
fn address(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn function(provider: &str, parts: &[&str]) -> Result<Target, String> {
    if let ["bpf", ..] = parts {
        return Err(format!(
            "{provider} of eBPF programs is not in kscope, which attaches to functions of the \
             kernel: `kscope bpf top` shows how often and how long programs run"
        ));
    }
    let (module, function) = match parts {
        [function] => (None, *function),
        [module, function] => (Some((*module).to_owned()), *function),
        _ => {
            return Err(format!(
                "{provider} probes are written {provider}:function or {provider}:module:function"
            ));
        }
    };
    if function.is_empty() {
        return Err(format!("{provider} probes are written {provider}:function"));
    }
    Ok(Target::Function {
        module,
        function: function.trim().to_owned(),
        on_exit: provider == "fexit",
    })
}

fn iterator(parts: &[&str]) -> Result<Target, String> {
    let name = match parts {
        [name] | [name, ""] => *name,
        [_, pin] if !pin.is_empty() => {
            return Err(format!(
                "a pinned iterator prints to whoever reads the pin, which kscope's printf does \
                 not: leave :{pin} out"
            ));
        }
        _ => return Err("iter probes are written iter:object".to_owned()),
    };
    if is_pattern(name) || name.is_empty() {
        return Err("iter probe type does not support wildcards".to_owned());
    }
    Ok(Target::Iterator {
        name: name.to_owned(),
    })
}

/// Reads `address:length:mode`.
fn watchpoint(parts: &[&str]) -> Result<Target, String> {
    let [place, length, mode] = parts else {
        return Err(format!(
            "watchpoint probe type requires 3 arguments, found {}: watchpoint:address:length:mode",
            parts.len()
        ));
    };
    let Some(address) = address(place.trim()) else {
        return Err(format!(
            "'{place}' is no address: a watchpoint is at an address of memory, written as a number"
        ));
    };
    if address == 0 {
        return Err("watchpoint must be attached to a non-zero address".to_owned());
    }
    let length = match plain_number(length) {
        Some(length @ (1 | 2 | 4 | 8)) => length as u8,
        _ => return Err("watchpoint length must be one of (1,2,4,8)".to_owned()),
    };
    let mut access = 0;
    for letter in mode.trim().chars() {
        let bit = match letter {
            'r' => 1,
            'w' => 2,
            'x' => 4,
            _ => return Err("watchpoint mode must be combination of (r,w,x)".to_owned()),
        };
        if access & bit != 0 {
            return Err("watchpoint modes may not be duplicated".to_owned());
        }
        access |= bit;
    }
    // What x86 has.
    if ![2, 3, 4].contains(&access) {
        return Err(format!(
            "invalid watchpoint mode: {mode} (supported modes: x,w,rw)"
        ));
    }
    if access != 4 && address % u64::from(length) != 0 {
        return Err(format!(
            "a watchpoint of {length} bytes starts at a multiple of {length}, which {place} is not"
        ));
    }
    Ok(Target::Plain(Attach::Watchpoint {
        address,
        length,
        access,
    }))
}

/// Reads `test:name`, `bench:name`.
fn on_request(provider: &str, parts: &[&str]) -> Result<Target, String> {
    let [name] = parts else {
        return Err(format!(
            "{provider} probe type requires 1 arguments, found {}",
            parts.len()
        ));
    };
    if name.trim().is_empty() {
        return Err(format!("{provider} probes must have a name"));
    }
    let name = name.trim().to_owned();
    Ok(Target::Plain(match provider {
        "test" => Attach::Test { name },
        _ => Attach::Bench { name },
    }))
}

fn timer(provider: &str, parts: &[&str]) -> Result<Target, String> {
    let (count, unit) = match parts {
        [one] => match duration(one) {
            Some(ns) if ns < 1000 => {
                return Err(format!(
                    "Invalid rate of {provider} probe. Minimum is 1000 or 1us. Found: {ns} \
                     nanoseconds"
                ));
            }
            Some(ns) => return Ok(Target::Plain(timer_attach(provider, Rate::Nanoseconds(ns)))),
            None => return Err(format!("Invalid rate of {provider} probe: {one}")),
        },
        [unit, count] => match plain_number(count) {
            Some(n) => (n, *unit),
            None => return Err(format!("Invalid rate of {provider} probe: {count}")),
        },
        _ => return Err(format!("{provider} probe must have unit of time")),
    };
    if count == 0 {
        return Err(format!("{provider} frequency should be a positive integer"));
    }
    let scale = match unit {
        "hz" => return Ok(Target::Plain(timer_attach(provider, Rate::Hertz(count)))),
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        other => {
            return Err(format!(
                "{other} is not an accepted unit of time: s, ms, us, hz"
            ));
        }
    };
    match count.checked_mul(scale) {
        Some(ns) => Ok(Target::Plain(timer_attach(provider, Rate::Nanoseconds(ns)))),
        None => Err(format!("Invalid rate of {provider} probe: {count}{unit}")),
    }
}

fn timer_attach(provider: &str, rate: Rate) -> Attach {
    if provider == "profile" {
        return Attach::Profile { rate };
    }
    let nanoseconds = match rate {
        Rate::Hertz(n) => (1_000_000_000 / n.max(1)).max(1),
        Rate::Nanoseconds(n) => n,
    };
    Attach::Interval { nanoseconds }
}

pub(super) fn plain_number(text: &str) -> Option<u64> {
    let text = text.trim().replace('_', "");
    match text.split_once(['e', 'E']) {
        Some((base, power)) if !base.starts_with("0x") => {
            let scale = 10u64.checked_pow(power.parse().ok()?)?;
            base.parse::<u64>().ok()?.checked_mul(scale)
        }
        _ => u64::try_from(super::expr::parse_number(&text)?).ok(),
    }
}

/// Reads a number with or without a unit: `1s`, `100ms`, `1000000`.
fn duration(text: &str) -> Option<u64> {
    let text = text.trim();
    let units = [
        ("ns", 1),
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ];
    for (unit, scale) in units {
        if let Some(count) = text.strip_suffix(unit) {
            if let Some(n) = plain_number(count) {
                return n.checked_mul(scale);
            }
        }
    }
    plain_number(text)
}
