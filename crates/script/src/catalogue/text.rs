//! A catalogue as a text file, so that a script can be checked for a kernel that is not there.
//!
//! ```text
//! kscope catalogue 1
//! tracepoint sched:sched_process_exec
//!  8 4 u __data_loc char[] filename
//!  12 4 s pid_t pid
//! rawtracepoint sched_process_exec
//! function vfs_read
//! ```
//!
//! A field's line is offset, size, sign (`s` or `u`), C type, name. A kind of probe of which the
//! file has no line is one that nobody can say anything of; `no functions` and the like say that
//! there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Catalogue, EventName, Format, FormatField, Lookup, is_pattern, matches};

const HEADER: &str = "kscope catalogue 1";

/// What probes a kernel has, as a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextCatalogue {
    tracepoints: Option<BTreeMap<EventName, Format>>,
    raw_tracepoints: Option<BTreeSet<String>>,
    functions: Option<BTreeSet<String>>,
}

/// Why a text is no catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for TextError {}

impl TextCatalogue {
    /// Reads a catalogue.
    ///
    /// # Errors
    /// Where the header is missing or a line is not understood.
    pub fn parse(text: &str) -> Result<TextCatalogue, TextError> {
        let mut catalogue = TextCatalogue::default();
        let mut lines = text.lines().enumerate();
        let header = lines.next().map(|(_, l)| l.trim_end());
        if header != Some(HEADER) {
            return Err(TextError {
                line: 1,
                what: "expected `kscope catalogue 1`",
            });
        }
        let mut current: Option<EventName> = None;
        for (i, line) in lines {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let done = if let Some(rest) = line.strip_prefix(' ') {
                catalogue.field(current.as_ref(), rest)
            } else {
                catalogue.entry(&mut current, line)
            };
            done.map_err(|what| TextError { line: i + 1, what })?;
        }
        Ok(catalogue)
    }

    fn entry(&mut self, current: &mut Option<EventName>, line: &str) -> Result<(), &'static str> {
        *current = None;
        match line.split_once(' ').ok_or("expected a kind and a name")? {
            ("tracepoint", name) => {
                let (category, event) = name.split_once(':').ok_or("expected category:event")?;
                *current = Some(self.add_tracepoint(category, event, Format::default()));
            }
            ("rawtracepoint", name) => self.add_raw_tracepoint(name),
            ("function", name) => self.add_function(name),
            ("no", "tracepoints") => drop(self.tracepoints.get_or_insert_default()),
            ("no", "rawtracepoints") => drop(self.raw_tracepoints.get_or_insert_default()),
            ("no", "functions") => drop(self.functions.get_or_insert_default()),
            _ => return Err("expected tracepoint, rawtracepoint, function or no"),
        }
        Ok(())
    }

    fn field(&mut self, of: Option<&EventName>, line: &str) -> Result<(), &'static str> {
        let of = of.ok_or("a field stands before any tracepoint")?;
        let format = self.tracepoints.as_mut().and_then(|t| t.get_mut(of));
        let format = format.ok_or("a field stands before any tracepoint")?;
        let mut words = line.trim_start().splitn(4, ' ');
        let mut next = || {
            words
                .next()
                .ok_or("expected offset, size, sign, type and name")
        };
        let offset = next()?.parse().map_err(|_| "the offset is no number")?;
        let size = next()?.parse().map_err(|_| "the size is no number")?;
        let signed = match next()? {
            "s" => true,
            "u" => false,
            _ => return Err("the sign is s or u"),
        };
        let (ty, name) = next()?
            .rsplit_once(' ')
            .ok_or("expected a type and a name")?;
        format.fields.push(FormatField {
            ty: ty.to_owned(),
            name: name.to_owned(),
            offset,
            size,
            signed,
        });
        Ok(())
    }

    /// Adds a tracepoint.
    pub fn add_tracepoint(&mut self, category: &str, event: &str, format: Format) -> EventName {
        let name = EventName {
            category: category.to_owned(),
            event: event.to_owned(),
        };
        let all = self.tracepoints.get_or_insert_default();
        all.insert(name.clone(), format);
        name
    }

    /// Adds a raw tracepoint.
    pub fn add_raw_tracepoint(&mut self, event: &str) {
        let all = self.raw_tracepoints.get_or_insert_default();
        all.insert(event.to_owned());
    }

    /// Adds a kernel function that can be probed.
    pub fn add_function(&mut self, name: &str) {
        let all = self.functions.get_or_insert_default();
        all.insert(name.to_owned());
    }
}

/// Writes the catalogue as [`TextCatalogue::parse`] reads it.
impl fmt::Display for TextCatalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if let Some(all) = &self.tracepoints {
            if all.is_empty() {
                writeln!(f, "no tracepoints")?;
            }
            for (name, format) in all {
                writeln!(f, "tracepoint {name}")?;
                for field in &format.fields {
                    let sign = if field.signed { 's' } else { 'u' };
                    let FormatField {
                        ty,
                        name,
                        offset,
                        size,
                        ..
                    } = field;
                    writeln!(f, " {offset} {size} {sign} {ty} {name}")?;
                }
            }
        }
        let lists = [
            ("rawtracepoint", &self.raw_tracepoints),
            ("function", &self.functions),
        ];
        for (kind, names) in lists {
            let Some(names) = names else { continue };
            if names.is_empty() {
                writeln!(f, "no {kind}s")?;
            }
            for name in names {
                writeln!(f, "{kind} {name}")?;
            }
        }
        Ok(())
    }
}

fn absent(what: &str) -> String {
    format!("the catalogue has no {what}")
}

fn search(names: &Option<BTreeSet<String>>, pattern: &str, what: &str) -> Lookup<Vec<String>> {
    let Some(names) = names else {
        return Lookup::Unavailable(absent(what));
    };
    let found: Vec<String> = if is_pattern(pattern) {
        let all = names.iter();
        all.filter(|n| matches(pattern, n)).cloned().collect()
    } else {
        names.get(pattern).cloned().into_iter().collect()
    };
    if found.is_empty() {
        Lookup::NotFound
    } else {
        Lookup::Found(found)
    }
}

impl Catalogue for TextCatalogue {
    fn tracepoints(&self, category: &str, event: &str) -> Lookup<Vec<EventName>> {
        let Some(all) = &self.tracepoints else {
            return Lookup::Unavailable(absent("tracepoints"));
        };
        let exact = EventName {
            category: category.to_owned(),
            event: event.to_owned(),
        };
        let found: Vec<EventName> = if is_pattern(category) || is_pattern(event) {
            let hits = |n: &&EventName| matches(category, &n.category) && matches(event, &n.event);
            all.keys().filter(hits).cloned().collect()
        } else {
            let known = all.contains_key(&exact);
            known.then_some(exact).into_iter().collect()
        };
        if found.is_empty() {
            Lookup::NotFound
        } else {
            Lookup::Found(found)
        }
    }

    fn format(&self, category: &str, event: &str) -> Lookup<Format> {
        let Some(all) = &self.tracepoints else {
            return Lookup::Unavailable(absent("tracepoints"));
        };
        let name = EventName {
            category: category.to_owned(),
            event: event.to_owned(),
        };
        all.get(&name)
            .map_or(Lookup::NotFound, |f| Lookup::Found(f.clone()))
    }

    fn raw_tracepoints(&self, event: &str) -> Lookup<Vec<String>> {
        search(&self.raw_tracepoints, event, "raw tracepoints")
    }

    fn functions(&self, pattern: &str) -> Lookup<Vec<String>> {
        search(&self.functions, pattern, "functions")
    }
}
