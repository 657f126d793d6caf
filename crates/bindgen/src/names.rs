//! Names of C as names of Rust.

use std::collections::{HashMap, HashSet};

/// Words that are no names in Rust, but are as `r#…`.
const KEYWORDS: [&str; 49] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield", "union",
];
/// Words that are none even so.
const NEVER: [&str; 5] = ["self", "Self", "super", "crate", "_"];

/// Names of types that the written code uses or has itself.
const TAKEN: [&str; 36] = [
    "Arc",
    "Box",
    "Cells",
    "Clone",
    "Copy",
    "Debug",
    "Default",
    "Drop",
    "Eq",
    "Err",
    "Error",
    "EventMap",
    "Fn",
    "Globals",
    "Hash",
    "Link",
    "Links",
    "Loader",
    "Map",
    "Maps",
    "None",
    "Object",
    "Ok",
    "Open",
    "Option",
    "PerCpuMap",
    "Plain",
    "Program",
    "Programs",
    "Result",
    "Skeleton",
    "Some",
    "Spec",
    "String",
    "Text",
    "Vec",
];
const TAKEN_TOO: [&str; 5] = [
    "TypedConstant",
    "TypedFilter",
    "TypedGlobal",
    "TypedMap",
    "TypedQueue",
];

/// Makes a name of a field, method, constant or module: the same where Rust has it.
pub(crate) fn value(name: &str) -> String {
    let mut plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if plain.is_empty() || plain.starts_with(|c: char| c.is_ascii_digit()) {
        plain.insert(0, '_');
    }
    match plain.as_str() {
        word if KEYWORDS.contains(&word) => format!("r#{word}"),
        word if NEVER.contains(&word) => format!("{word}_"),
        _ => plain,
    }
}

/// Makes a name of a type: `exec_event` becomes `ExecEvent`.
pub(crate) fn camel(name: &str) -> String {
    let mut camel = String::new();
    for part in name.split(|c: char| !c.is_ascii_alphanumeric()) {
        let mut chars = part.chars();
        if let Some(first) = chars.next() {
            // `a_1_2` and `a_12` stay apart.
            if first.is_ascii_digit() && camel.ends_with(|c: char| c.is_ascii_digit()) {
                camel.push('_');
            }
            camel.push(first.to_ascii_uppercase());
            camel.push_str(chars.as_str());
        }
    }
    if camel.is_empty() || camel.starts_with(|c: char| c.is_ascii_digit()) {
        camel.insert(0, 'T');
    }
    if NEVER.contains(&camel.as_str()) {
        camel.push_str("Type");
    }
    camel
}

/// Names in one namespace, each given once.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: HashSet<String>,
    /// How often a name was asked for that was given already.
    again: HashMap<String, u64>,
}

impl Names {
    /// Begins with the names that types may not have.
    pub(crate) fn of_types() -> Names {
        Names::given(TAKEN.iter().chain(&TAKEN_TOO))
    }

    /// Begins with these names taken.
    pub(crate) fn without(taken: &[&str]) -> Names {
        Names::given(taken.iter())
    }

    fn given<'n>(names: impl Iterator<Item = &'n &'n str>) -> Names {
        Names {
            given: names.map(|&name| name.to_owned()).collect(),
            again: HashMap::new(),
        }
    }

    /// Gives a type's name, with a number where it was given before.
    pub(crate) fn a_type(&mut self, name: &str) -> String {
        let camel = camel(name);
        let is_ours = TAKEN.contains(&&*camel) || TAKEN_TOO.contains(&&*camel);
        match is_ours {
            true => self.once(&format!("{camel}Type")),
            false => self.once(&camel),
        }
    }

    /// Gives a value's name, with a number where it was given before.
    pub(crate) fn a_value(&mut self, name: &str) -> String {
        self.once(&value(name))
    }

    fn once(&mut self, plain: &str) -> String {
        if self.given.insert(plain.to_owned()) {
            return plain.to_owned();
        }
        let times = self.again.entry(plain.to_owned()).or_insert(1);
        let mut name = plain.to_owned();
        while self.given.contains(&name) {
            *times += 1;
            name = match plain.strip_prefix("r#") {
                Some(word) => format!("{word}_{times}"),
                None if plain.ends_with(|c: char| c.is_ascii_digit()) => {
                    format!("{plain}_{times}")
                }
                None => format!("{plain}{times}"),
            };
        }
        self.given.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_names() {
        let check = |name, expected: &str| assert_eq!(value(name), expected);
        check("pid", "pid");
        check("type", "r#type");
        check("self", "self_");
        check("_", "__");
        check("", "__");
        check("9p", "_9p");
        check("a.b$c", "a_b_c");
        check("Pid", "Pid");
    }

    #[test]
    fn types_are_in_camel_case() {
        let check = |name, expected: &str| assert_eq!(camel(name), expected);
        check("exec_event", "ExecEvent");
        check("event_t", "EventT");
        check("__u", "U");
        check("TCP", "TCP");
        check("self", "SelfType");
        check("_", "T");
        check("9p", "T9p");
        check("a_1_2", "A1_2");
        check("a_12", "A12");
        check("a___x", "AX");
    }

    #[test]
    fn names_are_given_once() {
        let mut names = Names::of_types();
        let mut check = |name: &str, expected: &str| assert_eq!(names.a_type(name), expected);
        check("event", "Event");
        check("event", "Event2");
        check("Event", "Event3");
        check("option", "OptionType");
        check("typed_map", "TypedMapType");
        check("v4", "V4");
        check("v4", "V4_2");
        let mut names = Names::without(&["name"]);
        let mut check = |name: &str, expected: &str| assert_eq!(names.a_value(name), expected);
        check("name", "name2");
        check("type", "r#type");
        check("type", "type_2");
    }

    #[test]
    fn many_of_one_name_are_given_in_time() {
        let begin = std::time::Instant::now();
        let mut names = Names::default();
        for _ in 1..1 << 16 {
            names.a_value("same");
        }
        assert_eq!(names.a_value("same"), "same65536");
        // Counting from one each time takes minutes.
        assert!(begin.elapsed() < std::time::Duration::from_secs(10));
    }
}
