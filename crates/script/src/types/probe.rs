//! Probes: what they attach to, and the programs that become of them.

mod missing;
mod point;

use std::collections::HashMap;
use std::sync::Arc;

use missing::UNMATCHED;

use super::args::Record;
use super::infer::Shape;
use super::provider::Target;
use super::{Checker, Mode, Scope};
use crate::catalogue::syscalls;
use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::hir::{Context, Probe, Stmt, StmtKind, Type};
use crate::plan::{Attach, MissingProbes, ProbePlan};
use crate::syntax::tree;
use kscope_spec::ProgramId;

/// Probes of programs and libraries, by their long and short names.
const USER_PROBES: [&str; 6] = ["uprobe", "u", "uretprobe", "ur", "usdt", "U"];

/// Attach points at most that the name of a shared program lists.
const NAMED: usize = 8;

/// A program to be: one body, one or more attach points.
pub(super) struct Unit {
    /// Index of the probe in the script.
    probe: usize,
    context: Context,
    provider: &'static str,
    name: String,
    attach: Vec<Attach>,
    record: Option<Arc<Record>>,
    /// Patterns that the attach points come of.
    patterns: Vec<Attach>,
    /// Whether what else matches the patterns elsewhere may run the program as well.
    open: bool,
    /// Set where there is nothing to attach to: the body is checked for its types alone.
    dead: bool,
}

/// Says whether one program can read both records: its arguments lie at the same places.
fn same_record(left: Option<&Record>, right: Option<&Record>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => {
            (left.format.is_some() || left.prototype.is_some())
                && left.format == right.format
                && left.user == right.user
                && left.prototype == right.prototype
        }
        _ => false,
    }
}

/// Says whether a program is loaded for its one attach point.
fn is_alone(context: Context) -> bool {
    matches!(context, Context::Function | Context::Iterator)
}

/// Says whether one program can read the arguments of both USDT probes.
fn same_arguments(left: Option<&Record>, right: Option<&Record>) -> bool {
    left.map(|record| &record.usdt) == right.map(|record| &record.usdt)
}

impl Checker<'_> {
    /// Finds out what each probe attaches to. Order within `begin` and `end` is that of the script.
    pub(super) fn expand_probes(&mut self) -> Vec<Unit> {
        let most = self.config.max_probes as usize;
        let mut units = Vec::new();
        let mut attached = 0usize;
        let mut left_out = false;
        for (index, probe) in self.script.probes.iter().enumerate() {
            let uses = Uses::of(self.script, probe);
            let mut points = Vec::new();
            let before = self.diagnostics.len();
            let mut on_request = false;
            for point in &probe.attach_points {
                // Thousands of patterns may stand for millions of places, none of which is attached.
                if attached + points.len() > most {
                    left_out = true;
                    break;
                }
                let mut found = Vec::new();
                self.expand(point, uses.args, &mut found);
                let all = found.len();
                found.retain(|point| self.inputs.mode.runs(&point.attach));
                on_request |= found.len() < all;
                points.append(&mut found);
            }
            if on_request && self.inputs.mode == Mode::Trace {
                let kind = probe.attach_points.first().and_then(|p| p.parts.first());
                let kind = kind.map_or("test", String::as_str);
                let message = format!("No probes attached; use --{kind} to run {kind} probes");
                self.warn("on-request", probe.span, message);
            }
            if !points.is_empty() {
                // A pattern may match nothing where the probe has other attach points.
                let found = self.diagnostics.split_off(before);
                let found = found.into_iter().filter(|finding| finding.id != UNMATCHED);
                self.diagnostics.extend(found);
                self.excuse_alternatives(probe, before);
            }
            attached += points.len();
            if attached > most {
                // The body is still checked, once.
                points.truncate(1);
            }
            let first = units.len();
            for point in points {
                let pattern = point.pattern.clone();
                let alone = uses.probe || uses.place || is_alone(point.context);
                let others = if alone { units.len() } else { first };
                let shared = units[others..].iter_mut().find(|u: &&mut Unit| {
                    let (known, new) = (u.record.as_deref(), point.record.as_deref());
                    u.provider == point.provider
                        && u.context == point.context
                        && (!uses.args || same_record(known, new))
                        && (!uses.registers || same_arguments(known, new))
                });
                match shared {
                    Some(unit) => {
                        let name = if uses.args {
                            &point.name
                        } else {
                            &point.written
                        };
                        let named = unit.name.split(',').any(|n| n == name);
                        if !named && unit.attach.len() < NAMED {
                            unit.name = format!("{},{name}", unit.name);
                        }
                        unit.attach.push(point.attach);
                        if let Some(pattern) = pattern.filter(|p| !unit.patterns.contains(p)) {
                            unit.patterns.push(pattern);
                        }
                    }
                    None => units.push(Unit {
                        probe: index,
                        context: point.context,
                        provider: point.provider,
                        name: if uses.probe || uses.args {
                            point.name
                        } else {
                            point.written
                        },
                        attach: vec![point.attach],
                        record: point.record,
                        patterns: pattern.into_iter().collect(),
                        open: !uses.probe && !uses.args,
                        dead: false,
                    }),
                }
            }
            if units.len() == first {
                units.push(self.dead_unit(index, probe));
            }
        }
        let programs = units.iter().filter(|u| !u.dead).count();
        self.check_limits(attached, left_out, programs);
        units
    }

    /// Lets a probe do with some of its places of libraries: which of several has a function
    /// depends on the version, and older scripts name them all.
    fn excuse_alternatives(&mut self, probe: &tree::Probe, before: usize) {
        let of_user = |span: Span| {
            let mut points = probe.attach_points.iter();
            let point = points.find(|point| point.span == span);
            let kind = point.and_then(|point| point.parts.first());
            kind.is_some_and(|kind| USER_PROBES.contains(&kind.as_str()))
        };
        for found in self.diagnostics.iter_mut().skip(before) {
            if found.id == "unknown-probe" && of_user(found.span) {
                found.severity = Severity::Warning;
            }
        }
    }

    /// Makes the unit of a probe of which no attach point is left.
    fn dead_unit(&mut self, index: usize, probe: &tree::Probe) -> Unit {
        let before = self.diagnostics.len();
        let mut targets = probe.attach_points.iter().map(|p| self.target(p));
        let target = targets.find_map(|t| t);
        drop(targets);
        // What is wrong with them has been said.
        self.diagnostics.truncate(before);
        let (provider, context, record) = match target {
            Some((provider, Target::Tracepoint { category, event })) => {
                let format = syscalls::format(&event).filter(|_| category == "syscalls");
                let record = Record {
                    name: format!("tracepoint:{category}:{event}"),
                    format,
                    user: category == "syscalls",
                    prototype: None,
                    usdt: None,
                };
                (provider, Context::Tracepoint, Some(Arc::new(record)))
            }
            Some((provider, Target::RawTracepoint { .. })) => {
                (provider, Context::RawTracepoint, None)
            }
            Some((provider, Target::Kprobe { on_return, .. })) => {
                let context = if on_return {
                    Context::KprobeReturn
                } else {
                    Context::KprobeEntry
                };
                (provider, context, None)
            }
            Some((provider, Target::User { on_return, .. })) => match on_return {
                true => (provider, Context::UprobeReturn, None),
                false => (provider, Context::UprobeEntry, None),
            },
            Some((provider, Target::Usdt { .. })) => (provider, Context::Usdt, None),
            Some((provider, Target::Plain(attach))) => {
                (provider, point::plain_context(&attach), None)
            }
            Some((provider, Target::Address(_))) => (provider, Context::KprobeEntry, None),
            Some((provider, Target::Function { .. })) => (provider, Context::Function, None),
            Some((provider, Target::Iterator { .. })) => (provider, Context::Iterator, None),
            None => ("", Context::Test, None),
        };
        let name = probe.attach_points.first().map(|p| p.text.clone());
        Unit {
            probe: index,
            context,
            provider,
            name: name.unwrap_or_default(),
            attach: Vec::new(),
            record,
            patterns: Vec::new(),
            open: false,
            dead: true,
        }
    }

    fn check_limits(&mut self, attached: usize, left_out: bool, programs: usize) {
        let span = self
            .script
            .probes
            .first()
            .map_or(Span::default(), |p| p.span);
        if attached > self.config.max_probes as usize {
            let most = self.config.max_probes;
            let at_least = if left_out { "at least " } else { "" };
            self.report(
                Diagnostic::error(
                    "too-many-probes",
                    span,
                    format!(
                        "{at_least}{attached} attach points, more than max_probes, which is {most}"
                    ),
                )
                .hint("set max_probes in a config block"),
            );
        }
        if programs > self.config.max_bpf_progs as usize {
            let most = self.config.max_bpf_progs;
            self.report(
                Diagnostic::error(
                    "too-many-probes",
                    span,
                    format!("{programs} programs, more than max_bpf_progs, which is {most}"),
                )
                .hint("set max_bpf_progs in a config block"),
            );
        }
    }

    /// Checks a probe's body for one of its units; none where it was left incomplete.
    pub(super) fn probe(&mut self, instance: usize, program: u32, unit: &Unit) -> Option<Probe> {
        let script = self.script;
        let probe = script.probes.get(unit.probe)?;
        self.scope = Scope {
            instance: instance as u32,
            context: unit.context,
            provider: unit.provider,
            probe_name: unit.name.clone(),
            attach: unit.attach.first().cloned(),
            record: unit.record.clone(),
            blocks: vec![HashMap::new()],
            dead: unit.dead,
            ..Scope::default()
        };
        let (findings, sites) = (self.diagnostics.len(), self.sites.len());
        let (options, late) = (self.options.len(), self.late.len());
        if let Some(Attach::Test { .. } | Attach::Bench { .. }) = unit.attach.first() {
            let var = self.declare_var("", probe.span);
            self.grow_var(var, &Shape::fixed(Type::I64), probe.span);
            self.scope.result = Some(var);
        }
        self.widen_vars();
        let condition = probe.predicate.as_ref().map(|p| self.condition(p));
        let mut body = self.block(&probe.body);
        for (var, span) in std::mem::take(&mut self.scope.unassigned) {
            let message = format!("Variable ${} was never assigned to", self.var_name(var));
            self.warn("unassigned", span, message);
        }
        body.splice(0..0, self.widened_zeros());
        if let Some(condition) = condition {
            let span = condition.span;
            let kind = StmtKind::If {
                condition,
                then: body,
                otherwise: Vec::new(),
            };
            body = vec![Stmt { kind, span }];
        }
        let vars = std::mem::take(&mut self.scope.vars);
        if unit.dead && self.config.missing_probes != MissingProbes::Error {
            // It is not there on this kernel, so what it wants of the kernel need not be either.
            self.diagnostics.truncate(findings);
        }
        if unit.dead || self.scope.incomplete {
            self.sites.truncate(sites);
            if self.options.len() == options {
                self.late.truncate(late);
            }
            return None;
        }
        Some(Probe {
            context: unit.context,
            plan: ProbePlan {
                program: ProgramId(program),
                name: unit.name.clone(),
                attach: unit.attach.clone(),
                patterns: unit.patterns.clone(),
                open: unit.open,
                when: Vec::new(),
            },
            has_raw: self.has_raw(&unit.attach),
            signature: self.signature(),
            vars,
            result: self.scope.result,
            body,
            span: probe.span,
        })
    }
}

/// What a probe's body asks of its attach point.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    args: bool,
    probe: bool,
    /// `argN`
    registers: bool,
    /// `uaddr`, which depends on where the probe is.
    place: bool,
}

impl Uses {
    /// Looks for names in a body, and in all macros where it calls one.
    fn of(script: &tree::Script, probe: &tree::Probe) -> Uses {
        let mut uses = Uses::default();
        let mut macros = false;
        super::names::visit(probe, &mut |name| {
            uses.note(name);
            macros |= script.macros.iter().any(|m| m.name.text == name);
        });
        if macros {
            super::names::visit_macros(script, &mut |name| uses.note(name));
        }
        uses
    }

    fn note(&mut self, name: &str) {
        let name = name.strip_prefix("__builtin_").unwrap_or(name);
        self.args |= name == "args";
        self.probe |= name == "probe";
        self.place |= name == "uaddr";
        self.registers |= name.strip_prefix("arg").is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
        });
    }
}
