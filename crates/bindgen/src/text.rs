//! Rust text as rustfmt leaves it.

use std::fmt::Write as _;

/// Widest line, and widest list of arguments on one line.
const LINE: usize = 100;
const ARGUMENTS: usize = 60;

/// A text in the making.
#[derive(Debug, Default)]
pub(crate) struct Text {
    out: String,
    depth: usize,
}

impl Text {
    pub(crate) fn into_string(self) -> String {
        self.out
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        match line.is_empty() {
            true => self.out.push('\n'),
            false => {
                let _ = writeln!(self.out, "{:1$}{line}", "", self.depth * 4);
            }
        }
    }

    /// Writes a line that opens a block.
    pub(crate) fn open(&mut self, line: impl AsRef<str>) {
        self.line(line);
        self.depth += 1;
    }

    /// Writes a line that closes a block.
    pub(crate) fn close(&mut self, line: &str) {
        self.depth = self.depth.saturating_sub(1);
        self.line(line);
    }

    /// Writes a sentence or two as documentation, broken at blanks.
    pub(crate) fn doc(&mut self, words: &str) {
        let room = LINE.saturating_sub(self.depth * 4 + 4).max(20);
        let mut line = String::new();
        for word in words.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > room {
                self.line(format!("/// {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(format!("/// {line}"));
    }

    /// Writes a call, or a declaration of a function: on one line where it fits.
    pub(crate) fn call(&mut self, head: &str, arguments: &[String], tail: &str) {
        let inner = arguments.join(", ");
        let is_function = head.contains("fn ");
        let whole = format!("{head}({inner}){tail}");
        let fits = self.depth * 4 + whole.len() <= LINE;
        if fits && (is_function || inner.len() <= ARGUMENTS) {
            return self.write_whole(&whole, tail);
        }
        self.open(format!("{head}("));
        for argument in arguments {
            self.line(format!("{argument},"));
        }
        self.close(&format!("){tail}"));
        self.deepen(tail);
    }

    fn write_whole(&mut self, whole: &str, tail: &str) {
        self.line(whole);
        self.deepen(tail);
    }

    /// After a line that opens a block.
    fn deepen(&mut self, tail: &str) {
        if tail.ends_with('{') {
            self.depth += 1;
        }
    }

    /// Writes an arm of a match: as a block where it does not fit on one line.
    pub(crate) fn arm(&mut self, head: &str, value: &str) {
        let whole = format!("{head} {value},");
        if self.depth * 4 + whole.len() <= LINE {
            return self.line(whole);
        }
        self.open(format!("{head} {{"));
        self.line(value);
        self.close("}");
    }

    /// Writes `head value;`: the value on the next line where both do not fit on one.
    pub(crate) fn assign(&mut self, head: &str, value: &str, tail: &str) {
        let whole = format!("{head} {value}{tail}");
        if self.depth * 4 + whole.len() <= LINE {
            return self.line(whole);
        }
        self.line(head);
        self.depth += 1;
        self.line(format!("{value}{tail}"));
        self.depth -= 1;
    }
}
