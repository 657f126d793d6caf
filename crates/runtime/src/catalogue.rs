//! The probes of the running kernel, as tracefs, BTF and kallsyms tell them.

use std::path::{Path, PathBuf};

use kscope_bpf::Tracefs;
use kscope_btf::{Btf, Kind};
use kscope_script::catalogue::{Catalogue, EventName, Format, Lookup, matches, parse_format};

use crate::target::Target;

/// Prefix of the typedefs that BTF has for tracepoints.
const TRACEPOINT_TYPEDEF: &str = "btf_trace_";

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
        if !is_pattern(pattern) {
            let in_types = |btf: &Btf| btf.find(pattern, Kind::Func).is_some();
            if self.btf.is_some_and(in_types) {
                return Lookup::Found(vec![pattern.to_owned()]);
            }
        }
        if let Ok(root) = &self.tracefs {
            if let Ok(text) = std::fs::read_to_string(root.join("available_filter_functions")) {
                let names = text.lines().filter_map(|line| line.split(' ').next());
                return found(matching(pattern, names));
            }
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
}

/// Gives the names that match, sorted, each once.
fn matching<'a>(pattern: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let names = names.filter(|name| matches(pattern, name));
    let mut names: Vec<String> = names.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Says whether the symbol is what compilers put before a function, not a function.
fn is_padding(name: &str) -> bool {
    name.starts_with("__pfx_") || name.starts_with("__cfi_")
}
