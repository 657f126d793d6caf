//! Messages written by code that is compiled once: `write!` would stand at every one of a hundred.

use core::fmt::{self, Display, Formatter};

/// Writes a text with each `{}` in it replaced by the next of `holes`.
pub fn say(f: &mut Formatter<'_>, text: &str, holes: &[&dyn Display]) -> fmt::Result {
    let mut rest = text;
    for hole in holes {
        let Some((before, after)) = rest.split_once("{}") else {
            break;
        };
        f.write_str(before)?;
        hole.fmt(f)?;
        rest = after;
    }
    f.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Said<'a>(&'a str, &'a [&'a dyn Display]);

    impl Display for Said<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            say(f, self.0, self.1)
        }
    }

    #[test]
    fn holes_are_filled_in_order() {
        let check = |text, holes: &[&dyn Display], expected| {
            assert_eq!(Said(text, holes).to_string(), expected);
        };
        check("plain", &[], "plain");
        check("{} of '{}'", &[&7, &"a {} b"], "7 of 'a {} b'");
        check("end {}", &[&'x'], "end x");
    }
}
