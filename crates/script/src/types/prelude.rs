//! What every script has and the language itself can say: macros, parsed when one of them is used.
//!
//! A macro here is one of the script's own kind, but for its place: findings inside of it are
//! told of the call. A script's macro with the same name and as many parameters takes its place.

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::syntax::tree::Macro;
use crate::syntax::{Positional, parse};

/// A file of macros.
struct Part {
    source: &'static str,
    macros: OnceLock<Vec<Macro>>,
}

const fn part(source: &'static str) -> Part {
    Part {
        source,
        macros: OnceLock::new(),
    }
}

static PARTS: [Part; 3] = [
    part(include_str!("../prelude/base.bt")),
    part(include_str!("../prelude/kernel.bt")),
    part(include_str!("../prelude/process.bt")),
];

/// The part that each name is in.
static NAMES: OnceLock<HashMap<&'static str, usize>> = OnceLock::new();

fn index() -> &'static HashMap<&'static str, usize> {
    NAMES.get_or_init(|| {
        let parts = PARTS.iter().enumerate();
        let of_part = |(i, part): (usize, &'static Part)| {
            let lines = part.source.lines();
            let names = lines.filter_map(|line| line.strip_prefix("macro ")?.split('(').next());
            names.map(move |name| (name.trim(), i)).collect::<Vec<_>>()
        };
        parts.flat_map(of_part).collect()
    })
}

/// Gives the names of all macros.
pub(super) fn names<'a>() -> impl Iterator<Item = &'a str> {
    index().keys().copied()
}

/// Gives the macros of a name.
pub(super) fn named<'a>(name: &str) -> impl Iterator<Item = &'a Macro> + use<'a> {
    let part = index().get(name).and_then(|i| PARTS.get(*i));
    let macros = part.map(|part| {
        let parsed = || parse(part.source, &Positional::default()).0.macros;
        part.macros.get_or_init(parsed)
    });
    let name = name.to_owned();
    macros
        .into_iter()
        .flatten()
        .filter(move |m| m.name.text == name)
}

#[cfg(test)]
mod tests {
    use super::{PARTS, Positional, index, parse};

    #[test]
    fn parts_have_no_faults() {
        for part in &PARTS {
            let (script, found) = parse(part.source, &Positional::default());
            assert!(found.is_empty(), "{found:?}");
            for m in &script.macros {
                let name = m.name.text.as_str();
                let home = index().get(name).map(|i| PARTS[*i].source);
                assert_eq!(home, Some(part.source), "{name} is in two parts");
            }
        }
    }
}
