//! What fentry, fexit and iter probes attach to, as the kernel's types tell.

use kscope_btf::Kind;

use super::{Checker, did_you_mean};
use crate::catalogue::{Lookup, is_pattern, matches};
use crate::diagnostic::Diagnostic;
use crate::near::nearest;
use crate::plan::{Attach, MissingProbes};
use crate::syntax::tree;

/// Functions that BTF has for each kind of iterator: this and the kind's name.
const ITERATOR: &str = "bpf_iter_";

impl Checker<'_> {
    /// Gives the functions with types that an attach point means, those of modules after the
    /// module's name and a colon.
    pub(super) fn typed_functions(
        &mut self,
        module: Option<&str>,
        function: &str,
        point: &tree::AttachPoint,
    ) -> Vec<String> {
        let kind = point.parts.first().map_or("", String::as_str);
        let provider = match kind {
            "fexit" | "fr" | "kretfunc" => "fexit",
            _ => "fentry",
        };
        let found = self
            .inputs
            .catalogue
            .functions_of(module.unwrap_or("*"), function);
        let Some(btf) = self.inputs.btf else {
            let reason = "there is no BTF to look it up in";
            self.unchecked(point, reason);
            return match is_pattern(function) {
                true => Vec::new(),
                false => vec![function.to_owned()],
            };
        };
        let names = match found {
            Lookup::Found(names) => names,
            Lookup::NotFound => Vec::new(),
            Lookup::Unavailable(reason) => {
                self.unchecked(point, &reason);
                return match is_pattern(function) {
                    true => Vec::new(),
                    false => vec![function.to_owned()],
                };
            }
        };
        let typed = |name: &String| match name.split_once(':') {
            // Types of modules are looked up when the program is loaded.
            Some(_) => true,
            None => btf.find(name, Kind::Func).is_some(),
        };
        let names: Vec<String> = names.into_iter().filter(typed).collect();
        if names.is_empty() {
            let name = match module {
                Some(module) => format!("{module}:{function}"),
                None => function.to_owned(),
            };
            let near = match is_pattern(function) {
                true => Vec::new(),
                false => btf.near_names(function, Kind::Func, 3),
            };
            let near: Vec<String> = near.into_iter().map(str::to_owned).collect();
            self.missing(point, provider, &name, &near);
        }
        names
    }

    /// Says whether a module that an attach point names is there; reports where not.
    pub(super) fn module_exists(
        &mut self,
        module: Option<&str>,
        point: &tree::AttachPoint,
    ) -> bool {
        let Some(module) = module.filter(|module| !matches(module, "vmlinux")) else {
            return true;
        };
        match self.inputs.catalogue.functions_of(module, "*") {
            Lookup::NotFound => {
                self.missing(point, "loaded module", module, &[]);
                false
            }
            Lookup::Found(_) | Lookup::Unavailable(_) => true,
        }
    }

    /// Says whether the kernel has all tracepoints of a program as raw ones by the same names. Those
    /// of single system calls are made of the two that all calls pass.
    pub(super) fn has_raw(&self, points: &[Attach]) -> bool {
        let Some(btf) = self.inputs.btf.filter(|_| !self.inputs.portable) else {
            return false;
        };
        points.iter().all(|point| match point {
            Attach::Tracepoint { category, event } => {
                let typedef = || btf.find(&format!("btf_trace_{event}"), Kind::Typedef);
                category != "syscalls" && typedef().is_some()
            }
            _ => false,
        })
    }

    /// Says whether the kernel has an iterator; reports where not.
    pub(super) fn iterator_exists(&mut self, name: &str, point: &tree::AttachPoint) -> bool {
        let Some(btf) = self.inputs.btf else {
            self.unchecked(point, "there is no BTF to look it up in");
            return true;
        };
        let function = format!("{ITERATOR}{name}");
        if btf.find(&function, Kind::Func).is_some() {
            return true;
        }
        let all = iterators(btf);
        let near = nearest(name, all.iter(), 3);
        let message = format!("iter:{name}: the kernel has no such iterator");
        let mut finding = match self.config.missing_probes {
            MissingProbes::Error => Diagnostic::error("unknown-probe", point.span, message),
            MissingProbes::Warn => Diagnostic::warning("unknown-probe", point.span, message),
            MissingProbes::Ignore => return false,
        };
        finding.hint = did_you_mean(&near).or_else(|| Some(format!("it has {}", all.join(", "))));
        self.report(finding);
        false
    }
}

/// Gives the names of the kernel's iterators, as its types tell, sorted.
#[must_use]
pub fn iterators(btf: &kscope_btf::Btf) -> Vec<String> {
    let structs = btf.ids().filter(|id| btf.kind(*id) == Some(Kind::Struct));
    let named = structs.filter_map(|id| btf.name(id)?.strip_prefix("bpf_iter__"));
    let named = named.filter(|name| matches("?*", name));
    let mut names: Vec<String> = named
        .filter(|name| btf.find(&format!("{ITERATOR}{name}"), Kind::Func).is_some())
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}
