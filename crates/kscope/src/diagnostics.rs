//! Findings of the compiler as text, in bpftrace's form:
//!
//! ```text
//! open.bt:3:10-14: ERROR: unknown name `coom`
//!   print(coom);
//!         ~~~~
//! HINT: did you mean `comm`?
//! ```

use std::ops::Range;

use kscope_script::diagnostic::{Diagnostic, Severity, Span};

use crate::tracing::Source;

/// What a tab of the source is shown as.
const TAB: &str = "    ";

/// Most columns of a line that are shown; longer ones are cut around what is meant.
const WIDTH: usize = 160;

/// Columns kept before what is meant in a line that is cut.
const BEFORE: usize = 40;

/// Most lines of one place that are shown.
const LINES: usize = 6;

/// Findings of one kind that are shown; how many more there are is told.
const OF_A_KIND: usize = 20;

const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// Renders findings, errors first and otherwise in their order, each with its source lines.
///
/// Columns count characters from 1, the end is exclusive, as bpftrace has it for ASCII. Spans
/// that do not fit the source are cut to it.
pub(crate) fn render(source: &Source, diagnostics: &[Diagnostic], color: bool) -> String {
    let mut out = String::new();
    for severity in [Severity::Error, Severity::Warning] {
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        for found in diagnostics.iter().filter(|d| d.severity == severity) {
            let kind = kinds.iter().position(|(id, _)| *id == found.id);
            let kind = kind.unwrap_or_else(|| {
                kinds.push((found.id, 0));
                kinds.len() - 1
            });
            kinds[kind].1 += 1;
            if kinds[kind].1 > OF_A_KIND {
                continue;
            }
            let paint = match severity {
                Severity::Error => RED,
                Severity::Warning => YELLOW,
            };
            let paint = color.then_some(paint);
            let label = severity.to_string();
            let (span, message) = (found.span, &found.message);
            place(&mut out, part(source, span), &label, message, paint);
            for (span, text) in &found.notes {
                let paint = color.then_some(CYAN);
                place(&mut out, part(source, *span), "NOTE", text, paint);
            }
            if let Some(hint) = &found.hint {
                out.push_str("HINT: ");
                out.push_str(hint);
                out.push('\n');
            }
        }
        for (id, count) in kinds {
            let more = count.saturating_sub(OF_A_KIND);
            if more > 0 {
                out.push_str(&format!("{severity}: {more} more of this kind: {id}\n"));
            }
        }
    }
    out
}

/// Gives the file that a place is in, its text, and where in it.
fn part(source: &Source, span: Span) -> (&str, &str, Span) {
    let starts = source.parts.iter().map(|part| part.start);
    let at = starts.filter(|start| *start <= span.start as usize).count();
    let end = source.parts.get(at).map_or(source.text.len(), |p| p.start);
    let found = at.checked_sub(1).and_then(|at| source.parts.get(at));
    let (name, start) = found.map_or((&source.name, 0), |part| (&part.name, part.start));
    let text = source.text.get(start..end).unwrap_or_default();
    let begin = start as u32;
    let inside = Span::new(
        span.start.saturating_sub(begin),
        span.end.saturating_sub(begin),
    );
    (name, text, inside)
}

/// Writes one place: head, source lines, underline.
fn place(
    out: &mut String,
    (file, source, span): (&str, &str, Span),
    label: &str,
    message: &str,
    paint: Option<&str>,
) {
    let range = fit(source, span);
    let first = line_number(source, range.start);
    // A span that ends with a newline does not reach into the next line.
    let inner = source[range.clone()].trim_end_matches(['\n', '\r']);
    let last = first + inner.matches('\n').count();
    let begin = source[..range.start].rfind('\n').map_or(0, |at| at + 1);
    let line = source[begin..].lines().next().unwrap_or_default();
    let head = if first == last {
        let from = source[begin..range.start].chars().count() + 1;
        let to = from + inner.chars().count();
        format!("{file}:{first}:{from}-{to}: {label}: {message}")
    } else {
        format!("{file}:{first}-{last}: {label}: {message}")
    };
    match paint {
        Some(paint) => {
            out.push_str(paint);
            out.push_str(&head);
            out.push_str(RESET);
        }
        None => out.push_str(&head),
    }
    out.push('\n');
    if source.is_empty() {
        return;
    }
    if first == last {
        let from = range.start - begin;
        underline(out, line, from..from + inner.len());
    } else {
        several_lines(out, source[begin..].lines().take(last - first + 1));
    }
}

/// Writes one line and marks a range of its bytes.
fn underline(out: &mut String, line: &str, range: Range<usize>) {
    let mut text = String::new();
    let mut marks = String::new();
    let before: usize = line.get(..range.start).map_or(0, width);
    let cut = width(line) > WIDTH && before > BEFORE;
    let skip = if cut { before - BEFORE } else { 0 };
    if cut {
        text.push_str("...");
        marks.push_str("   ");
    }
    let (mut column, mut marked) = (0, false);
    for (at, c) in line.char_indices() {
        let cells = char_width(c);
        if column >= skip + WIDTH {
            text.push_str("...");
            break;
        }
        if column >= skip {
            show(&mut text, c);
            let inside = range.contains(&at);
            marked |= inside && cells > 0;
            let mark = if inside { '~' } else { ' ' };
            marks.extend(std::iter::repeat_n(mark, cells));
        }
        column += cells;
    }
    if !marked {
        // An empty place: one mark where it is.
        let at = before - skip + if cut { 3 } else { 0 };
        marks = " ".repeat(at) + "~";
    }
    out.push_str(text.trim_end());
    out.push('\n');
    out.push_str(marks.trim_end());
    out.push('\n');
}

/// Writes lines without marks; the middle of many is left out.
fn several_lines<'a>(out: &mut String, lines: impl Iterator<Item = &'a str>) {
    let lines: Vec<&str> = lines.collect();
    let left_out = lines.len() > LINES;
    for (index, line) in lines.iter().enumerate() {
        if left_out && index == LINES - 2 {
            out.push_str("...\n");
        }
        if left_out && (LINES - 2..lines.len() - 1).contains(&index) {
            continue;
        }
        let mut text = String::new();
        for c in line.chars().take(WIDTH) {
            show(&mut text, c);
        }
        out.push_str(text.trim_end());
        out.push('\n');
    }
}

/// Writes a character so that it can do nothing to a terminal.
fn show(out: &mut String, c: char) {
    match c {
        '\t' => out.push_str(TAB),
        c if c.is_control() => out.push('\u{fffd}'),
        // Marks that turn the direction of text could hide what a script does.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
        c => out.push(c),
    }
}

/// Gives the columns a text takes as [`show`] writes it.
fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Gives the columns a character takes: 0 for combining marks, 2 for wide ones.
fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x09 => TAB.len(),
        0x300..=0x36f | 0x200b..=0x200d | 0x20d0..=0x20ff | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1f64f
        | 0x1f900..=0x1f9ff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// Gives the number of the line an offset is on, from 1.
fn line_number(source: &str, at: usize) -> usize {
    source[..at].matches('\n').count() + 1
}

/// Cuts a span to the source and to whole characters. What is missing at the end is said to be
/// missing behind the last thing that stands there, not on the empty line below.
fn fit(source: &str, span: Span) -> Range<usize> {
    let floor = |at: u32| {
        let mut at = (at as usize).min(source.len());
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(span.start);
    let end = floor(span.end).max(start);
    if start == source.len() {
        let last = source.trim_end().len();
        return last..last;
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::tracing::Source;
    use kscope_script::diagnostic::{Diagnostic, Span};

    /// Renders an error about the first place where `what` stands.
    fn error_at(source: &str, what: &str) -> String {
        let start = source.find(what).expect("the place is in the source");
        let span = span(start, start + what.len());
        let found = Diagnostic::error("test", span, "wrong");
        render(&Source::new("f.bt", source), &[found], false)
    }

    fn span(start: usize, end: usize) -> Span {
        let offset = |at| u32::try_from(at).expect("small");
        Span::new(offset(start), offset(end))
    }

    fn check(source: &str, what: &str, expected: &[&str]) {
        let text = error_at(source, what);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{source}");
    }

    #[test]
    fn one_line() {
        check(
            "begin { print(coom); }",
            "coom",
            &[
                "f.bt:1:15-19: ERROR: wrong",
                "begin { print(coom); }",
                "              ~~~~",
            ],
        );
        check(
            "a\nb cd\r\ne",
            "cd",
            &["f.bt:2:3-5: ERROR: wrong", "b cd", "  ~~"],
        );
    }

    #[test]
    fn tabs_are_four_columns() {
        check(
            "\tx\ty",
            "y",
            &["f.bt:1:4-5: ERROR: wrong", "    x    y", "         ~"],
        );
        check(
            "a\tb",
            "\tb",
            &["f.bt:1:2-4: ERROR: wrong", "a    b", " ~~~~~"],
        );
    }

    #[test]
    fn columns_are_characters_and_marks_are_as_wide_as_they() {
        check(
            "é日本x",
            "x",
            &["f.bt:1:4-5: ERROR: wrong", "é日本x", "     ~"],
        );
        check("日本", "本", &["f.bt:1:2-3: ERROR: wrong", "日本", "  ~~"]);
        check(
            "e\u{301}x",
            "x",
            &["f.bt:1:3-4: ERROR: wrong", "e\u{301}x", " ~"],
        );
    }

    #[test]
    fn control_characters_do_nothing() {
        check(
            "\x1b[31mx",
            "x",
            &["f.bt:1:6-7: ERROR: wrong", "\u{fffd}[31mx", "     ~"],
        );
        check(
            "\u{202e}x",
            "x",
            &["f.bt:1:2-3: ERROR: wrong", "\u{fffd}x", " ~"],
        );
    }

    #[test]
    fn several_lines_are_shown_whole() {
        check(
            "a {\n\tb\n}\nc",
            "{\n\tb\n}",
            &["f.bt:1-3: ERROR: wrong", "a {", "    b", "}"],
        );
        let many = "1\n2\n3\n4\n5\n6\n7\n8";
        check(
            many,
            many,
            &["f.bt:1-8: ERROR: wrong", "1", "2", "3", "4", "...", "8"],
        );
        check(
            "ab\ncd\n",
            "ab\n",
            &["f.bt:1:1-3: ERROR: wrong", "ab", "~~"],
        );
    }

    #[test]
    fn an_empty_place_has_one_mark() {
        let found = Diagnostic::error("test", Span::new(2, 2), "wrong");
        let text = render(&Source::new("f.bt", "ab cd"), &[found], false);
        assert_eq!(text, "f.bt:1:3-3: ERROR: wrong\nab cd\n  ~\n");
        let found = Diagnostic::error("test", Span::new(7, 7), "wrong");
        let text = render(&Source::new("f.bt", "begin {\n\n"), &[found], false);
        assert_eq!(text, "f.bt:1:8-8: ERROR: wrong\nbegin {\n       ~\n");
    }

    #[test]
    fn the_end_of_the_script_is_behind_its_last_text() {
        let found = Diagnostic::error("test", Span::new(9, 9), "wrong");
        let text = render(&Source::new("f.bt", "begin {\n\n"), &[found], false);
        assert_eq!(text, "f.bt:1:8-8: ERROR: wrong\nbegin {\n       ~\n");
    }

    #[test]
    fn spans_outside_the_source_are_cut() {
        let found = Diagnostic::error("test", Span::new(100, 200), "wrong");
        let text = render(
            &Source::new("f.bt", "ab"),
            std::slice::from_ref(&found),
            false,
        );
        assert_eq!(text, "f.bt:1:3-3: ERROR: wrong\nab\n  ~\n");
        let text = render(
            &Source::new("f.bt", ""),
            std::slice::from_ref(&found),
            false,
        );
        assert_eq!(text, "f.bt:1:1-1: ERROR: wrong\n");
        let found = Diagnostic::error("test", Span::new(1, 4), "wrong");
        let text = render(&Source::new("f.bt", "日本"), &[found], false);
        assert_eq!(text, "f.bt:1:1-2: ERROR: wrong\n日本\n~~\n");
    }

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let source = format!("{}HERE{}", "a".repeat(300), "b".repeat(300));
        let expected = [
            "f.bt:1:301-305: ERROR: wrong".to_owned(),
            format!("...{}HERE{}...", "a".repeat(40), "b".repeat(116)),
            format!("{}~~~~", " ".repeat(43)),
        ];
        let text = error_at(&source, "HERE");
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn notes_and_hints_follow_and_errors_come_first() {
        let warning = Diagnostic::warning("w", Span::new(0, 1), "odd");
        let error = Diagnostic::error("e", Span::new(2, 3), "wrong")
            .note(Span::new(0, 1), "because of this")
            .hint("do that");
        let text = render(&Source::new("stdin", "a b"), &[warning, error], false);
        let expected = [
            "stdin:1:3-4: ERROR: wrong",
            "a b",
            "  ~",
            "stdin:1:1-2: NOTE: because of this",
            "a b",
            "~",
            "HINT: do that",
            "stdin:1:1-2: WARNING: odd",
            "a b",
            "~",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn of_many_of_a_kind_the_first_are_shown() {
        let odd = (0..1000).map(|at| Diagnostic::warning("odd", span(at, at + 1), "odd"));
        let wrong = (0..20).map(|at| Diagnostic::error("wrong", span(at, at + 1), "wrong"));
        let found: Vec<_> = odd.chain(wrong).collect();
        let text = render(&Source::new("f", "a".repeat(1000)), &found, false);
        assert_eq!(text.matches("WARNING: odd\n").count(), 20);
        assert_eq!(text.matches("ERROR: wrong\n").count(), 20);
        let last = text.lines().last();
        assert_eq!(last, Some("WARNING: 980 more of this kind: odd"));
        assert_eq!(text.matches("more of this kind").count(), 1);
    }

    #[test]
    fn color_is_for_the_head_alone() {
        let error = Diagnostic::error("e", Span::new(0, 1), "wrong");
        let text = render(&Source::new("f", "a"), &[error], true);
        assert_eq!(text, "\x1b[31mf:1:1-2: ERROR: wrong\x1b[0m\na\n~\n");
        let warning = Diagnostic::warning("w", Span::new(0, 1), "odd");
        let text = render(&Source::new("f", "a"), &[warning], true);
        assert!(text.starts_with("\x1b[33m"), "{text}");
    }
}
