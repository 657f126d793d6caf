//! The probes of the running kernel, as tracefs, BTF and kallsyms tell them.

use std::path::{Path, PathBuf};

use kscope_bpf::Tracefs;
use kscope_btf::{Btf, Kind};
use kscope_script::catalogue::{
    Absent, Catalogue, EventName, Format, Language, Lookup, UsdtProbe, UserFunction, matches,
    parse_format,
};
use kscope_script::plan::Attach;

use crate::kernel_symbol;
use crate::target::Target;

/// Prefix of the typedefs that BTF has for tracepoints.
const TRACEPOINT_TYPEDEF: &str = "btf_trace_";

/// Stands for the kernel itself where a module's name may stand.
const KERNEL: &str = "vmlinux";

/// Looks probes up on the running kernel, each list when first asked for.
#[derive(Debug)]
pub struct LiveCatalogue<'a> {
    target: &'a Target,
    btf: Option<&'a Btf>,
    tracefs: Result<PathBuf, String>,
}

impl<'a> LiveCatalogue<'a> {
    /// Makes a catalogue; tracefs is mounted where it is not and the caller may do so.
    #[must_use]
    pub fn new(target: &'a Target, btf: Option<&'a Btf>) -> Self {
        let tracefs = Tracefs::find_or_mount(&**target.kernel());
        let tracefs = tracefs
            .map(|tracefs| tracefs.root().to_owned())
            .map_err(|error| unreadable(&error));
        LiveCatalogue {
            target,
            btf,
            tracefs,
        }
    }

    fn events(&self) -> Result<PathBuf, String> {
        self.tracefs.clone().map(|root| root.join("events"))
    }

    /// Gives the list of functions that can be traced, a line each with the module's name in
    /// brackets behind it; none where nobody may read it.
    fn traceable(&self) -> Option<String> {
        if let Some(given) = self.target.traceable() {
            return Some(given.to_owned());
        }
        let root = self.tracefs.as_ref().ok()?;
        std::fs::read_to_string(root.join("available_filter_functions")).ok()
    }

    /// Gives the raw tracepoints that the kernel's types tell of.
    fn typed_tracepoints<'b>(btf: &'b Btf, pattern: &str) -> Vec<&'b str> {
        let names = btf.ids().filter(|id| btf.kind(*id) == Some(Kind::Typedef));
        let names = names.filter_map(|id| btf.name(id)?.strip_prefix(TRACEPOINT_TYPEDEF));
        names.filter(|name| matches(pattern, name)).collect()
    }
}

/// Says why tracefs cannot be read, and what to do about it.
fn unreadable(error: &kscope_bpf::Error) -> String {
    match error {
        kscope_bpf::Error::Permission {
            call: "mount",
            cause,
            ..
        } => format!("tracefs is not mounted and cannot be: {cause}"),
        kscope_bpf::Error::Permission { cause, .. } => cause.to_string(),
        other => other.to_string(),
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Lists the folders of a folder.
fn folders(path: &Path) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn found<T>(list: Vec<T>) -> Lookup<Vec<T>> {
    if list.is_empty() {
        Lookup::NotFound
    } else {
        Lookup::Found(list)
    }
}

impl Catalogue for LiveCatalogue<'_> {
    fn tracepoints(&self, category: &str, event: &str) -> Lookup<Vec<EventName>> {
        let events = match self.events() {
            Ok(events) => events,
            Err(why) => return Lookup::Unavailable(why),
        };
        if !is_pattern(category) && !is_pattern(event) {
            let plain = |part: &str| !part.is_empty() && !part.contains('/') && part != "..";
            let there = plain(category)
                && plain(event)
                && events.join(category).join(event).join("format").exists();
            let name = EventName {
                category: category.to_owned(),
                event: event.to_owned(),
            };
            return if there {
                Lookup::Found(vec![name])
            } else {
                Lookup::NotFound
            };
        }
        let categories = match folders(&events) {
            Ok(categories) => categories,
            Err(why) => return Lookup::Unavailable(why),
        };
        let mut names = Vec::new();
        for group in categories.iter().filter(|name| matches(category, name)) {
            for name in folders(&events.join(group)).unwrap_or_default() {
                if matches(event, &name) {
                    names.push(EventName {
                        category: group.clone(),
                        event: name,
                    });
                }
            }
        }
        found(names)
    }

    fn format(&self, category: &str, event: &str) -> Lookup<Format> {
        let events = match self.events() {
            Ok(events) => events,
            Err(why) => return Lookup::Unavailable(why),
        };
        let path = events.join(category).join(event).join("format");
        match std::fs::read_to_string(&path) {
            Ok(text) => Lookup::Found(parse_format(&text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Lookup::NotFound,
            Err(error) => Lookup::Unavailable(format!("{}: {error}", path.display())),
        }
    }

    fn raw_tracepoints(&self, event: &str) -> Lookup<Vec<String>> {
        if let Some(btf) = self.btf {
            if !is_pattern(event) {
                let typedef = format!("{TRACEPOINT_TYPEDEF}{event}");
                if btf.find(&typedef, Kind::Typedef).is_some() {
                    return Lookup::Found(vec![event.to_owned()]);
                }
            } else {
                let mut names: Vec<String> = Self::typed_tracepoints(btf, event)
                    .into_iter()
                    .map(str::to_owned)
                    .collect();
                names.sort_unstable();
                names.dedup();
                return found(names);
            }
        }
        // Modules' tracepoints, and kernels without types: events are named as their tracepoints
        // but for those that share one.
        match self.tracepoints("*", event) {
            Lookup::Found(names) => {
                let mut names: Vec<String> = names.into_iter().map(|name| name.event).collect();
                names.sort_unstable();
                names.dedup();
                Lookup::Found(names)
            }
            Lookup::NotFound => Lookup::NotFound,
            Lookup::Unavailable(why) => Lookup::Unavailable(why),
        }
    }

    fn functions(&self, pattern: &str) -> Lookup<Vec<String>> {
        if !is_pattern(pattern) && self.target.traceable().is_none() {
            let in_types = |btf: &Btf| btf.find(pattern, Kind::Func).is_some();
            if self.btf.is_some_and(in_types) {
                return Lookup::Found(vec![pattern.to_owned()]);
            }
            // What is there may be no code, or not to be traced: the lists tell.
            if kernel_symbol::exists(self.target.kernel(), pattern) == Some(false) {
                return Lookup::NotFound;
            }
        }
        if let Some(text) = self.traceable() {
            let names = text.lines().filter_map(|line| line.split(' ').next());
            return found(matching(pattern, names.filter(|name| !is_padding(name))));
        }
        match self.target.symbols().symbols() {
            Ok(symbols) => {
                let code = symbols.iter().filter(kscope_memory::KernelSymbol::is_code);
                let names = code.map(|symbol| symbol.name);
                found(matching(pattern, names.filter(|name| !is_padding(name))))
            }
            Err(error) => Lookup::Unavailable(error.to_string()),
        }
    }

    fn functions_of(&self, module: &str, pattern: &str) -> Lookup<Vec<String>> {
        // Most have no module in mind, and few kernels' modules have what they look for.
        if module == KERNEL {
            return self.functions(pattern);
        }
        if module == "*" && !is_pattern(pattern) {
            if let Lookup::Found(names) = self.functions(pattern) {
                let in_types = |name: &String| {
                    let of_kernel = |btf: &Btf| btf.find(name, Kind::Func).is_some();
                    self.btf.is_none_or(of_kernel)
                };
                if names.iter().all(in_types) {
                    return Lookup::Found(names);
                }
            }
        }
        let full = |of: Option<&str>, name: &str| match of {
            None => name.to_owned(),
            Some(of) => format!("{of}:{name}"),
        };
        let fits = |of: Option<&str>, name: &str| {
            matches(module, of.unwrap_or(KERNEL)) && matches(pattern, name)
        };
        if let Some(text) = self.traceable() {
            let lines = text.lines().map(|line| match line.split_once(' ') {
                Some((name, of)) => (Some(of.trim_matches(['[', ']'])), name),
                None => (None, line),
            });
            let lines = lines.filter(|(of, name)| fits(*of, name) && !is_padding(name));
            return found(sorted(lines.map(|(of, name)| full(of, name))));
        }
        match self.target.symbols().symbols() {
            Ok(symbols) => {
                let code = symbols.iter().filter(kscope_memory::KernelSymbol::is_code);
                let code = code.filter(|symbol| symbol.module != Some("bpf"));
                let code = code
                    .filter(|symbol| fits(symbol.module, symbol.name) && !is_padding(symbol.name));
                found(sorted(code.map(|symbol| full(symbol.module, symbol.name))))
            }
            Err(error) => Lookup::Unavailable(error.to_string()),
        }
    }

    fn user_functions(
        &self,
        path: &str,
        language: Option<Language>,
        function: &str,
    ) -> Result<Vec<UserFunction>, Absent> {
        self.target.user().functions(path, language, function)
    }

    fn near_user_functions(
        &self,
        path: &str,
        language: Option<Language>,
        function: &str,
    ) -> Vec<String> {
        self.target.user().near_functions(path, language, function)
    }

    fn usdt(&self, path: &str, provider: &str, name: &str) -> Result<Vec<UsdtProbe>, Absent> {
        self.target.user().usdt(path, provider, name)
    }

    fn user_distance(&self, from: &Attach, symbol: &str) -> Result<(i64, u64), Absent> {
        self.target.user().distance(from, symbol)
    }
}

/// Sorts names, each once.
fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Gives the names that match, sorted, each once.
fn matching<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = names.filter(|name| matches(pattern, name));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Says whether the symbol is what compilers put before a function, or none any more.
fn is_padding(name: &str) -> bool {
    ["__pfx_", "__cfi_", "__ftrace_invalid_address__"]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}
