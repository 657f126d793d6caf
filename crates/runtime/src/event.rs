//! Events as programs send them: the number of a site, then its arguments.

use std::sync::Arc;

use kscope_rows::{
    DataType, Field, Format, HelperFailure, Output, Place, Resolve, Row, RuntimeFailure, Schema,
    Severity, Value, decode_field,
};
use kscope_script::compile::LineTable;
use kscope_script::diagnostic::Span;
use kscope_script::plan::{Plan, Site, SiteKind};
use kscope_sys::Errno;

/// What an event asks for.
#[derive(Debug)]
pub(crate) enum Event {
    /// To be rendered.
    Output(Output),
    /// The end of the run.
    Exit(i32),
    /// The time, in this format.
    Time(Arc<str>),
    /// A file whose content is wanted.
    Cat(Arc<Format>, Vec<Value>),
    /// A command to be run.
    System(Arc<Format>, Vec<Value>),
    /// A map to be printed.
    PrintMap { map: u32, top: u32, div: u64 },
    /// An entry of a map to be printed.
    PrintEntry { map: u32, key: Vec<u8> },
    /// An address that is no longer watched.
    Unwatch(u64),
    /// A map to be emptied.
    Clear { map: u32 },
    /// A map whose values are to become zero.
    Zero { map: u32 },
    /// Not an event of this script.
    Unknown,
}

/// The sites of a plan, with what decoding needs of each made once.
#[derive(Debug)]
pub(crate) struct Sites {
    sites: Vec<Prepared>,
}

#[derive(Debug)]
struct Prepared {
    site: Site,
    format: Option<Arc<Format>>,
    schema: Option<Arc<Schema>>,
    place: Arc<Place>,
}

impl Sites {
    pub(crate) fn new(
        plan: &Plan,
        name: &str,
        file: &str,
        source: &str,
        imported: &[(String, usize)],
    ) -> Sites {
        let texts = texts(file, source, imported);
        let of_site = |site: &Site| {
            let start = site.span.start as usize;
            let text = texts.iter().rev().find(|text| text.start <= start);
            prepare(site, name, text.unwrap_or(&texts[0]))
        };
        Sites {
            sites: plan.sites.iter().map(of_site).collect(),
        }
    }

    /// Gives the places that update maps, with the maps' numbers, in the order of their counters.
    pub(crate) fn updates(&self) -> impl Iterator<Item = (u32, Arc<Place>)> + '_ {
        self.sites.iter().filter_map(|prepared| {
            let SiteKind::MapFull { map } = prepared.site.kind else {
                return None;
            };
            Some((map, prepared.place.clone()))
        })
    }

    /// Says whether the script empties a map, or sets its values to zero.
    pub(crate) fn empties(&self, wanted: u32) -> bool {
        self.sites.iter().any(|prepared| match prepared.site.kind {
            SiteKind::Clear { map } | SiteKind::Zero { map } => map == wanted,
            _ => false,
        })
    }

    /// Decodes one event. Bytes that are no event of the script give [`Event::Unknown`].
    pub(crate) fn decode(&self, bytes: &[u8], resolve: &dyn Resolve) -> Event {
        let number = bytes.get(..4).and_then(|b| <[u8; 4]>::try_from(b).ok());
        let number = number.map(u32::from_ne_bytes);
        let Some(prepared) = number.and_then(|n| self.sites.get(n as usize)) else {
            return Event::Unknown;
        };
        let Prepared {
            site,
            format,
            schema,
            place,
        } = prepared;
        if bytes.len() < site.size as usize {
            return Event::Unknown;
        }
        let values = || {
            site.fields
                .iter()
                .map(|f| decode_field(f, bytes, resolve))
                .collect()
        };
        match &site.kind {
            SiteKind::Printf { .. } => match format {
                Some(format) => Event::Output(Output::Printf {
                    format: format.clone(),
                    values: values(),
                }),
                None => Event::Unknown,
            },
            SiteKind::Message { error, .. } => match format {
                Some(format) => Event::Output(Output::Message {
                    severity: if *error {
                        Severity::Error
                    } else {
                        Severity::Warning
                    },
                    place: place.clone(),
                    format: format.clone(),
                    values: values(),
                }),
                None => Event::Unknown,
            },
            SiteKind::RuntimeError { message } => Event::Output(Output::Failure(RuntimeFailure {
                place: place.clone(),
                message: message.to_string(),
                helper: None,
            })),
            SiteKind::HelperFailed { helper } => {
                let returned = site.fields.first().map(|f| decode_field(f, bytes, resolve));
                let code = match returned {
                    Some(Value::Int(code)) => code as i32,
                    _ => 0,
                };
                let failure = helper_failure(helper, Errno(code.saturating_neg()));
                Event::Output(Output::Failure(RuntimeFailure {
                    place: place.clone(),
                    message: failure.error.clone(),
                    helper: Some(failure),
                }))
            }
            SiteKind::Print => match site.fields.first() {
                Some(field) => Event::Output(print(field, schema.as_ref(), bytes, resolve)),
                None => Event::Unknown,
            },
            SiteKind::PrintEntry { map } => self.entry(*map, site, bytes, resolve),
            SiteKind::PrintMap { map, top, div } => Event::PrintMap {
                map: *map,
                top: *top,
                div: *div,
            },
            SiteKind::Clear { map } => Event::Clear { map: *map },
            SiteKind::Zero { map } => Event::Zero { map: *map },
            SiteKind::Unwatch => {
                let address = site.fields.first().map(|f| decode_field(f, bytes, resolve));
                match address {
                    Some(Value::Uint(address)) => Event::Unwatch(address),
                    _ => Event::Unknown,
                }
            }
            SiteKind::Time { format } => Event::Time(format.clone()),
            SiteKind::Exit => {
                let code = site.fields.first().map(|f| decode_field(f, bytes, resolve));
                Event::Exit(match code {
                    Some(Value::Int(code)) => code as i32,
                    Some(Value::Uint(code)) => code as i32,
                    _ => 0,
                })
            }
            SiteKind::Cat { .. } => match format {
                Some(format) => Event::Cat(format.clone(), values()),
                None => Event::Unknown,
            },
            SiteKind::System { .. } => match format {
                Some(format) => Event::System(format.clone(), values()),
                None => Event::Unknown,
            },
            SiteKind::Join { separator } => Event::Output(Output::Join(join(values(), separator))),
            // It sends nothing.
            SiteKind::MapFull { .. } => Event::Unknown,
        }
    }

    /// The value of an entry is sent along where one program has it; what all CPUs have together
    /// is read from the map.
    fn entry(&self, map: u32, site: &Site, bytes: &[u8], resolve: &dyn Resolve) -> Event {
        match site.fields.as_slice() {
            [_, value] => Event::Output(Output::Value(decode_field(value, bytes, resolve))),
            [key] => {
                let start = key.offset as usize;
                let end = start.saturating_add(key.ty.size() as usize);
                match bytes.get(start..end) {
                    Some(key) => Event::PrintEntry {
                        map,
                        key: key.to_vec(),
                    },
                    None => Event::Unknown,
                }
            }
            _ => Event::Unknown,
        }
    }
}

/// Puts strings together, up to the first that is empty.
fn join(values: Vec<Value>, separator: &str) -> Vec<u8> {
    let strings = values.into_iter().flat_map(|value| match value {
        Value::Array(strings) => strings,
        // Of a plan with a field for each.
        string => vec![string],
    });
    let texts = strings.map_while(|value| match value {
        Value::Str(text) if !text.is_empty() => Some(text),
        _ => None,
    });
    texts.collect::<Vec<_>>().join(separator.as_bytes())
}

fn print(
    field: &Field,
    schema: Option<&Arc<Schema>>,
    bytes: &[u8],
    resolve: &dyn Resolve,
) -> Output {
    let part = bytes.get(field.offset as usize..).unwrap_or_default();
    match schema.zip(Row::decode(&field.ty, part, resolve)) {
        Some((schema, row)) => Output::Row {
            schema: schema.clone(),
            row,
        },
        None => Output::Value(decode_field(field, bytes, resolve)),
    }
}

/// Tells of a helper that gave an error.
pub(crate) fn helper_failure(name: &str, errno: Errno) -> HelperFailure {
    let text = errno.text();
    HelperFailure {
        name: name.to_owned(),
        code: errno.0.saturating_neg(),
        error: text.map_or_else(|| errno.to_string(), str::to_owned),
    }
}

/// A file of a script.
struct Text<'a> {
    file: &'a str,
    /// Where it begins in the script's text.
    start: usize,
    source: &'a str,
    lines: LineTable,
}

/// Takes a script's text apart into its own and that of each imported file.
fn texts<'a>(file: &'a str, source: &'a str, imported: &'a [(String, usize)]) -> Vec<Text<'a>> {
    let own = std::iter::once((file, 0));
    let files = own.chain(imported.iter().map(|(name, start)| (name.as_str(), *start)));
    let ends = imported.iter().map(|(_, start)| *start);
    let ends = ends.chain(std::iter::once(source.len()));
    let text = |((file, start), end): ((&'a str, usize), usize)| {
        let source = source.get(start..end).unwrap_or_default();
        Text {
            file,
            start,
            source,
            lines: LineTable::new(source),
        }
    };
    files.zip(ends).map(text).collect()
}

fn prepare(site: &Site, name: &str, text: &Text<'_>) -> Prepared {
    let format = match &site.kind {
        SiteKind::Printf { format }
        | SiteKind::Message { format, .. }
        | SiteKind::Cat { format }
        | SiteKind::System { format } => Format::parse(format).ok().map(Arc::new),
        _ => None,
    };
    let schema = match (&site.kind, site.fields.as_slice()) {
        // A record of the script has no name; a C structure is a value like others.
        (
            SiteKind::Print,
            [
                Field {
                    ty: ty @ DataType::Record { name: tag, .. },
                    ..
                },
            ],
        ) if tag.is_empty() => Schema::of_record(name, 1, ty).map(Arc::new),
        _ => None,
    };
    let inside = |place: u32| place.saturating_sub(text.start as u32);
    let span = Span::new(inside(site.span.start), inside(site.span.end));
    let (line, column) = text.lines.position(span);
    let end = Span::new(span.end, span.end);
    let place = Place {
        file: text.file.to_owned(),
        line,
        column,
        text: place_text(text.file, (line, column), text.lines.position(end)),
        context: context(text.source, span),
    };
    Prepared {
        site: site.clone(),
        format,
        schema,
        place: Arc::new(place),
    }
}

/// Gives the line of a span and its underline; none for a span of several lines.
fn context(source: &str, span: Span) -> Vec<String> {
    let (start, end) = (span.start as usize, span.end as usize);
    let Some((before, inner)) = source.get(..start).zip(source.get(start..end)) else {
        return Vec::new();
    };
    let first = before.rfind('\n').map_or(0, |at| at + 1);
    if inner.contains('\n') {
        return Vec::new();
    }
    let line = source[first..].lines().next().unwrap_or_default();
    let shown = |text: &str| text.replace('\t', "    ");
    let blanks = shown(&before[first..]).chars().count();
    let marks = shown(inner).chars().count();
    vec![shown(line), " ".repeat(blanks) + &"~".repeat(marks)]
}

/// Writes a place as diagnostics do: columns where it lies in one line, lines else.
fn place_text(file: &str, start: (u32, u32), end: (u32, u32)) -> String {
    let ((line, column), (last, end)) = (start, end);
    if line == last {
        format!("{file}:{line}:{column}-{end}")
    } else {
        format!("{file}:{line}-{last}")
    }
}

#[cfg(test)]
mod tests {
    use super::{Span, context, texts};

    #[test]
    fn imported_files_have_their_own_lines() {
        let source = "one\ntwo\nthree\n";
        let imported = [("a.bt".to_owned(), 4), ("b.bt".to_owned(), 8)];
        let found = texts("main.bt", source, &imported);
        let found: Vec<_> = found.iter().map(|t| (t.file, t.start, t.source)).collect();
        let expected = [
            ("main.bt", 0, "one\n"),
            ("a.bt", 4, "two\n"),
            ("b.bt", 8, "three\n"),
        ];
        assert_eq!(found, expected);
        assert_eq!(texts("main.bt", source, &[])[0].source, source);
    }

    #[test]
    fn failures_show_their_line() {
        let source = "begin {\n\t$a = 1 / 0;\n}";
        let check = |start, end, expected: &[&str]| {
            let found = context(source, Span::new(start, end));
            assert_eq!(found, expected, "{start}..{end}");
        };
        check(14, 19, &["    $a = 1 / 0;", "         ~~~~~"]);
        check(0, 5, &["begin {", "~~~~~"]);
        check(0, 20, &[]);
        check(14, 90, &[]);
    }
}
