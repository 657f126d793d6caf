//! Values as they are shown: written as C, or kept for JSON.

use std::fmt::Write as _;
use std::sync::Arc;

use kscope_memory::Gap;
use kscope_rows::Value;

use super::super::plain;

/// Widest structure that stands on one line.
const WIDTH: usize = 76;

/// What is at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Number(Value),
    Text(Vec<u8>),
    /// A pointer with what it leads to, where that has a name or is text.
    Pointer(u64, Option<String>),
    Struct(Vec<(String, Shown)>),
    Array(Vec<Shown>),
    /// Memory that is not there.
    Missing(Gap),
    /// A pointer on the way to it is null.
    Null,
    /// More of it, which is not opened.
    Folded,
    /// What the types do not say how to read.
    Unknown,
}

impl Shown {
    /// Writes it as C does, with line breaks where one line is too long.
    pub(super) fn text(&self, indent: usize) -> String {
        let line = self.one_line();
        if line.len() + indent <= WIDTH {
            return line;
        }
        let pad = " ".repeat(indent + 2);
        let mut out = String::new();
        match self {
            Shown::Struct(members) => {
                out.push_str("{\n");
                for (name, member) in members {
                    let name = plain(name);
                    let shown = member.text(indent + 2);
                    let _ = writeln!(out, "{pad}{name} = {shown},");
                }
                let _ = write!(out, "{}}}", " ".repeat(indent));
            }
            Shown::Array(elements) => {
                out.push_str("{\n");
                for (element, times) in runs(elements) {
                    let shown = element.text(indent + 2);
                    let _ = writeln!(out, "{pad}{shown}{},", repeats(times));
                }
                let _ = write!(out, "{}}}", " ".repeat(indent));
            }
            _ => return line,
        }
        out
    }

    /// Writes it on one line.
    pub(super) fn one_line(&self) -> String {
        match self {
            Shown::Number(Value::Enum {
                name: Some(name), ..
            }) => plain(name),
            Shown::Number(Value::Pointer(value)) => format!("{value:#x}"),
            Shown::Number(value) => {
                String::from_utf8_lossy(&kscope_view::value_text(value)).into_owned()
            }
            Shown::Text(bytes) => format!("\"{}\"", bytes.escape_ascii()),
            Shown::Pointer(value, None) => format!("{value:#x}"),
            Shown::Pointer(value, Some(name)) => format!("{value:#x} {name}"),
            Shown::Struct(members) => {
                let members = members.iter();
                let members = members
                    .map(|(name, member)| format!("{} = {}", plain(name), member.one_line()));
                braced(&members.collect::<Vec<_>>())
            }
            Shown::Array(elements) => {
                let elements = runs(elements).into_iter();
                let elements = elements
                    .map(|(element, times)| format!("{}{}", element.one_line(), repeats(times)));
                braced(&elements.collect::<Vec<_>>())
            }
            Shown::Missing(gap) => missing(*gap).to_owned(),
            Shown::Null => "(null)".to_owned(),
            Shown::Folded => "{...}".to_owned(),
            Shown::Unknown => "?".to_owned(),
        }
    }

    /// Gives it as JSON has it; what is missing is null.
    pub(super) fn json(&self) -> Value {
        match self {
            Shown::Number(value) => value.clone(),
            Shown::Text(bytes) => Value::Str(bytes.clone()),
            Shown::Pointer(value, _) => Value::Pointer(*value),
            Shown::Struct(members) => {
                let members = members.iter();
                let members = members.map(|(name, member)| (Arc::from(&**name), member.json()));
                Value::Record(members.collect())
            }
            Shown::Array(elements) => Value::Array(elements.iter().map(Shown::json).collect()),
            Shown::Missing(_) | Shown::Null | Shown::Folded | Shown::Unknown => Value::None,
        }
    }

    /// Gives the members that are missing, each with why: `mm.pgd: excluded`.
    pub(super) fn gaps(&self, path: &str, found: &mut Vec<String>) {
        /// Most that are named.
        const MOST: usize = 64;
        if found.len() >= MOST {
            return;
        }
        match self {
            Shown::Missing(gap) => {
                let at = if path.is_empty() { "" } else { ": " };
                found.push(format!("{path}{at}{gap}"));
            }
            Shown::Struct(members) => {
                for (name, member) in members {
                    let dot = if path.is_empty() { "" } else { "." };
                    member.gaps(&format!("{path}{dot}{name}"), found);
                }
            }
            Shown::Array(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    element.gaps(&format!("{path}[{index}]"), found);
                }
            }
            _ => {}
        }
    }
}

/// What stands in the place of bytes that are not there.
pub(super) fn missing(gap: Gap) -> &'static str {
    match gap {
        Gap::Unmapped => "<unmapped>",
        Gap::Excluded => "<excluded>",
        Gap::Lost => "<lost>",
        Gap::Corrupt => "<corrupt>",
    }
}

fn braced(parts: &[String]) -> String {
    match parts {
        [] => "{}".to_owned(),
        parts => format!("{{ {} }}", parts.join(", ")),
    }
}

/// Puts the same elements that stand behind each other together.
fn runs(elements: &[Shown]) -> Vec<(&Shown, usize)> {
    let mut found: Vec<(&Shown, usize)> = Vec::new();
    for element in elements {
        match found.last_mut() {
            Some((last, times)) if *last == element => *times += 1,
            _ => found.push((element, 1)),
        }
    }
    found
}

fn repeats(times: usize) -> String {
    match times {
        1 => String::new(),
        times => format!(" <{times} times>"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Gap, Shown, Value};

    fn number(value: u64) -> Shown {
        Shown::Number(Value::Uint(value))
    }

    #[test]
    fn values_as_c() {
        let check = |shown: &Shown, expected: &str| assert_eq!(shown.text(0), expected);
        check(&number(5), "5");
        check(&Shown::Text(b"a\"b\x01".to_vec()), r#""a\"b\x01""#);
        check(&Shown::Pointer(0x10, None), "0x10");
        check(
            &Shown::Pointer(0x10, Some("<x+0x1>".into())),
            "0x10 <x+0x1>",
        );
        check(&Shown::Array(Vec::new()), "{}");
        let many = [number(0), number(0), number(0), number(7)];
        check(&Shown::Array(many.to_vec()), "{ 0 <3 times>, 7 }");
        let members = vec![
            ("a".to_owned(), number(1)),
            ("b".to_owned(), Shown::Missing(Gap::Excluded)),
            ("c".to_owned(), Shown::Folded),
        ];
        let small = Shown::Struct(members.clone());
        check(&small, "{ a = 1, b = <excluded>, c = {...} }");
        let text = Shown::Text(vec![b'x'; 80]);
        let wide = Shown::Struct(vec![("s".to_owned(), small), ("t".to_owned(), text)]);
        let expected = format!(
            "{{\n  s = {{ a = 1, b = <excluded>, c = {{...}} }},\n  t = \"{}\",\n}}",
            "x".repeat(80)
        );
        check(&wide, &expected);
        let mut gaps = Vec::new();
        wide.gaps("", &mut gaps);
        assert_eq!(gaps, ["s.b: excluded from the dump"]);
    }
}
