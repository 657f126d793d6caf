//! Patterns of probes.

use kscope_script::catalogue::{is_pattern, matches};

/// What a pattern asks for.
pub(super) struct Wanted {
    /// The type of probe as written.
    pub(super) provider: String,
    rest: Vec<String>,
    /// The whole pattern, where it has no colon and so matches any part.
    any: Option<String>,
}

/// Probes that are looked up in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Tracepoint,
    RawTracepoint,
    Function,
}

impl Family {
    /// Gives the names that a pattern may begin with.
    fn names(self) -> &'static [&'static str] {
        match self {
            Family::Tracepoint => &["tracepoint", "t"],
            Family::RawTracepoint => &["rawtracepoint", "rt"],
            Family::Function => &["kprobe", "k", "kretprobe", "kr"],
        }
    }

    /// Gives the number of parts after the type of probe.
    fn parts(self) -> usize {
        match self {
            Family::Tracepoint => 2,
            Family::RawTracepoint | Family::Function => 1,
        }
    }
}

/// The types of probe that can be listed.
pub(super) const PROVIDERS: [&str; 13] = [
    "tracepoint",
    "rawtracepoint",
    "kprobe",
    "kretprobe",
    "fentry",
    "fexit",
    "software",
    "hardware",
    "iter",
    "interval",
    "profile",
    "begin",
    "end",
];

impl Wanted {
    pub(super) fn new(pattern: &str) -> Wanted {
        let mut parts = pattern.trim().split(':').map(str::to_owned);
        let provider = parts.next().unwrap_or_default();
        let rest: Vec<String> = parts.collect();
        let any = rest.is_empty().then(|| provider.clone());
        Wanted {
            provider,
            rest,
            any,
        }
    }

    /// Gives the patterns of the parts after the type of probe, where that type is asked for.
    pub(super) fn of(&self, family: Family) -> Option<Vec<String>> {
        let (names, parts) = (family.names(), family.parts());
        let every = || "*".to_owned();
        if let Some(any) = &self.any {
            if names.contains(&any.as_str()) {
                return Some(vec![every(); parts]);
            }
            if PROVIDERS.contains(&any.as_str()) {
                return None;
            }
            let mut patterns = vec![every(); parts - 1];
            patterns.push(any.clone());
            return Some(patterns);
        }
        if !names.iter().any(|name| matches(&self.provider, name)) {
            return None;
        }
        let mut patterns = self.rest.clone();
        // Those of the kernel itself may be written with its name.
        if family == Family::RawTracepoint
            && patterns.len() == 2
            && matches(&patterns[0], "vmlinux")
        {
            patterns.remove(0);
        }
        if patterns.len() < parts {
            patterns.resize(parts, every());
        }
        (patterns.len() == parts).then_some(patterns)
    }

    /// Gives the pattern of the names that are asked for of a type of probe whose names have one
    /// part, or two of which the first is a module's that may be left out.
    pub(super) fn of_type(&self, names: &[&str]) -> Option<(String, String)> {
        let every = || "*".to_owned();
        match &self.any {
            Some(any) if names.contains(&any.as_str()) => return Some((every(), every())),
            Some(any) if self.is_known() && any != "*" => return None,
            Some(any) => return Some((every(), any.clone())),
            None => {}
        }
        if !names.iter().any(|name| matches(&self.provider, name)) {
            return None;
        }
        match self.rest.as_slice() {
            [] => Some((every(), every())),
            [name] => Some((every(), name.clone())),
            [module, name] => Some((module.clone(), name.clone())),
            _ => None,
        }
    }

    /// Says whether one of the probes that every kernel has is asked for.
    pub(super) fn is_own(&self, probe: &str) -> bool {
        let (provider, unit) = probe.split_once(':').unwrap_or((probe, ""));
        let short = &provider[..1];
        let wanted = self.provider.to_ascii_lowercase();
        let known = matches(&wanted, provider)
            || (wanted == short && ["interval", "profile"].contains(&provider));
        let unit = unit.trim_end_matches(':');
        let mut rest = self.rest.iter();
        known
            && rest
                .next()
                .is_none_or(|pattern| pattern.is_empty() || matches(pattern, unit))
    }

    /// Says whether the type of probe is written in full, or as one of the short names.
    pub(super) fn is_known(&self) -> bool {
        let families = [Family::Tracepoint, Family::RawTracepoint, Family::Function];
        PROVIDERS.contains(&self.provider.as_str())
            || families.into_iter().any(|family| self.names(family))
    }

    /// Says whether a family is asked for by name, and not by a pattern for any probe.
    pub(super) fn names(&self, family: Family) -> bool {
        family.names().contains(&self.provider.as_str())
    }

    /// Says whether returns of functions are asked for, not their entries.
    pub(super) fn is_return(&self) -> bool {
        ["kretprobe", "kr"].contains(&self.provider.as_str())
    }

    /// Gives the one probe that is asked for, where the pattern stands for no more than one: what
    /// follows its type.
    pub(super) fn one_probe(&self) -> Option<(Family, String)> {
        let families = [Family::Tracepoint, Family::RawTracepoint, Family::Function];
        let family = families
            .into_iter()
            .find(|family| family.names().contains(&self.provider.as_str()))?;
        let name = self.rest.join(":");
        (!name.is_empty() && !is_pattern(&name)).then_some((family, name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Family, Wanted};

    #[test]
    fn patterns_ask_for_families() {
        let check = |pattern: &str, family, expected: Option<&[&str]>| {
            let found = Wanted::new(pattern).of(family);
            let found: Option<Vec<&str>> = found
                .as_ref()
                .map(|f| f.iter().map(String::as_str).collect());
            assert_eq!(found.as_deref(), expected, "{pattern} {family:?}");
        };
        use Family::{Function, RawTracepoint, Tracepoint};
        check("*", Tracepoint, Some(&["*", "*"]));
        check("*", Function, Some(&["*"]));
        check("*open*", Tracepoint, Some(&["*", "*open*"]));
        check("*open*", RawTracepoint, Some(&["*open*"]));
        check("t", Tracepoint, Some(&["*", "*"]));
        check("t:sched", Tracepoint, Some(&["sched", "*"]));
        check("tracepoint:sched:*", Tracepoint, Some(&["sched", "*"]));
        check("tracepoint:sched:*", Function, None);
        check("tracepoint:a:b:c", Tracepoint, None);
        check("kprobe", Tracepoint, None);
        check("kprobe", Function, Some(&["*"]));
        check("kr:vfs_*", Function, Some(&["vfs_*"]));
        check("k*:vfs_*", Function, Some(&["vfs_*"]));
        check("rt:sched_switch", RawTracepoint, Some(&["sched_switch"]));
        check("nonsense:x", Function, None);
        let known = |pattern| Wanted::new(pattern).is_known();
        assert!(known("tracepoint:nosuch:*") && known("rt:*") && !known("tracepont:*"));
        check("rt:vmlinux:sched_*", RawTracepoint, Some(&["sched_*"]));
        check("rt:other:sched_*", RawTracepoint, None);
    }

    #[test]
    fn own_probes() {
        let check = |pattern: &str, probe: &str, expected| {
            assert_eq!(
                Wanted::new(pattern).is_own(probe),
                expected,
                "{pattern} {probe}"
            );
        };
        check("interval:*", "interval:ms:", true);
        check("interval", "interval:ms:", true);
        check("i:s", "interval:s:", true);
        check("i:s", "interval:ms:", false);
        check("interval:s:1", "interval:s:", true);
        check("profile:*", "interval:ms:", false);
        check("BEGIN", "begin", true);
        check("end", "begin", false);
        check("*", "begin", true);
        check("*open*", "interval:ms:", false);
    }

    #[test]
    fn one_probe_is_one_without_wildcards() {
        let check = |pattern: &str, expected: Option<&str>| {
            let name = Wanted::new(pattern).one_probe().map(|(_, name)| name);
            assert_eq!(name.as_deref(), expected, "{pattern}");
        };
        check("kprobe:vfs_raed", Some("vfs_raed"));
        check("t:sched:sched_swich", Some("sched:sched_swich"));
        check("kprobe:vfs_*", None);
        check("vfs_raed", None);
        check("kprobe", None);
    }
}
