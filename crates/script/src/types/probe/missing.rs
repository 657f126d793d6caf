//! What an attach point names and the kernel has not: found by name, or reported with what is near.

use kscope_btf::Kind;

use crate::catalogue::{EventName, Lookup, is_pattern, syscalls};
use crate::diagnostic::Diagnostic;
use crate::near::nearest;
use crate::plan::MissingProbes;
use crate::syntax::tree;
use crate::types::{Checker, did_you_mean};

/// The finding that a pattern matches nothing.
pub(super) const UNMATCHED: &str = "unmatched-pattern";

impl Checker<'_> {
    /// Makes the list of what was found, and reports what was not.
    pub(in crate::types) fn found(
        &mut self,
        found: Lookup<Vec<String>>,
        pattern: &str,
        what: &str,
        point: &tree::AttachPoint,
    ) -> Vec<String> {
        match found {
            Lookup::Found(names) if !names.is_empty() => names,
            Lookup::Unavailable(reason) => {
                self.unchecked(point, &reason);
                vec![pattern.to_owned()]
            }
            _ => {
                let silent = self.config.missing_probes == MissingProbes::Ignore;
                let near = if silent || is_pattern(pattern) {
                    Vec::new()
                } else {
                    self.near_probes(pattern, what)
                };
                self.missing(point, what, pattern, &near);
                Vec::new()
            }
        }
    }

    /// Gives names near to one that was not found.
    fn near_probes(&self, name: &str, what: &str) -> Vec<String> {
        let owned = |near: Vec<&str>| near.into_iter().map(str::to_owned).collect();
        let all = match (what, self.inputs.btf) {
            // Nearly all functions have a type, and the kernel takes long to list them.
            ("kernel function", Some(btf)) => return owned(btf.near_names(name, Kind::Func, 3)),
            ("kernel function", None) => self.inputs.catalogue.functions("*"),
            _ => self.inputs.catalogue.raw_tracepoints("*"),
        };
        match all {
            // Kernels have a hundred thousand functions: the bounded search.
            Lookup::Found(all) => {
                let all = all.iter().map(String::as_str);
                owned(kscope_btf::nearest(name, all, 3))
            }
            _ => Vec::new(),
        }
    }

    pub(in crate::types) fn unchecked(&mut self, point: &tree::AttachPoint, reason: &str) {
        self.warn(
            "unchecked-probe",
            point.span,
            format!("{} was not checked: {reason}", point.text),
        );
    }

    /// Reports an attach point that the kernel has not, as `missing_probes` asks.
    pub(in crate::types) fn missing(
        &mut self,
        point: &tree::AttachPoint,
        what: &str,
        name: &str,
        near: &[String],
    ) {
        let (id, message) = if is_pattern(name) {
            (UNMATCHED, format!("No matches for {what} {name}"))
        } else {
            ("unknown-probe", format!("{what} not found: {name}"))
        };
        self.missing_as(id, point, message, near);
    }

    /// Reports what an attach point does not find, as `missing_probes` asks.
    pub(in crate::types) fn missing_place(
        &mut self,
        point: &tree::AttachPoint,
        message: String,
        near: &[String],
    ) {
        self.missing_as("unknown-probe", point, message, near);
    }

    fn missing_as(
        &mut self,
        id: &'static str,
        point: &tree::AttachPoint,
        message: String,
        near: &[String],
    ) {
        let mut finding = match self.config.missing_probes {
            MissingProbes::Error => Diagnostic::error(id, point.span, message),
            MissingProbes::Warn => Diagnostic::warning(id, point.span, message),
            MissingProbes::Ignore => return,
        };
        finding.hint = did_you_mean(near);
        self.report(finding);
    }

    pub(super) fn tracepoints(
        &mut self,
        category: &str,
        event: &str,
        point: &tree::AttachPoint,
    ) -> Vec<EventName> {
        let written = EventName {
            category: category.to_owned(),
            event: event.to_owned(),
        };
        match self.inputs.catalogue.tracepoints(category, event) {
            Lookup::Found(found) if !found.is_empty() => found,
            Lookup::Unavailable(reason) => {
                self.unchecked(point, &reason);
                if category == "syscalls" && is_pattern(event) {
                    // The shipped table stands in for what the kernel has.
                    let known = syscalls::events(event);
                    if !known.is_empty() {
                        return known;
                    }
                }
                vec![written]
            }
            _ => {
                let pattern = is_pattern(category) || is_pattern(event);
                let silent = self.config.missing_probes == MissingProbes::Ignore;
                let near = if silent || pattern {
                    Vec::new()
                } else {
                    self.near_tracepoints(category, event)
                };
                self.missing(point, "tracepoint", &written.to_string(), &near);
                Vec::new()
            }
        }
    }

    fn near_tracepoints(&self, category: &str, event: &str) -> Vec<String> {
        let catalogue = self.inputs.catalogue;
        let inside = match catalogue.tracepoints(category, "*") {
            Lookup::Found(all) => all,
            _ => Vec::new(),
        };
        let near = nearest(event, inside.iter().map(|e| e.event.as_str()), 3);
        if !near.is_empty() {
            return near
                .into_iter()
                .map(|e| format!("tracepoint:{category}:{e}"))
                .collect();
        }
        let Lookup::Found(all) = catalogue.tracepoints("*", "*") else {
            return Vec::new();
        };
        let same = all.iter().filter(|e| e.event == event).take(3);
        let same: Vec<String> = same.map(|e| format!("tracepoint:{e}")).collect();
        if !same.is_empty() {
            return same;
        }
        let mut categories: Vec<&str> = all.iter().map(|e| e.category.as_str()).collect();
        categories.dedup();
        let near = nearest(category, categories, 3).into_iter();
        near.map(|c| format!("tracepoint:{c}:{event}")).collect()
    }
}
