//! Command-line words, taken option by option.

/// Words not yet taken; what follows `--` is kept apart.
pub(crate) struct Arguments {
    words: Vec<String>,
    rest: Vec<String>,
}

impl Arguments {
    pub(crate) fn new(words: impl Iterator<Item = String>) -> Self {
        let mut words: Vec<String> = words.collect();
        let rest = match words.iter().position(|word| word == "--") {
            Some(at) => words.split_off(at).split_off(1),
            None => Vec::new(),
        };
        Self { words, rest }
    }

    /// Takes a flag and says whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let before = self.words.len();
        self.words.retain(|word| word != name);
        self.words.len() != before
    }

    /// Takes every `name VALUE` and `name=VALUE`.
    pub(crate) fn values(&mut self, name: &str) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        let mut kept = Vec::new();
        let mut words = std::mem::take(&mut self.words).into_iter();
        while let Some(word) = words.next() {
            if word == name {
                values.push(
                    words
                        .next()
                        .ok_or_else(|| format!("{name} needs a value"))?,
                );
            } else if let Some(value) = word
                .strip_prefix(name)
                .and_then(|tail| tail.strip_prefix('='))
            {
                values.push(value.to_string());
            } else {
                kept.push(word);
            }
        }
        self.words = kept;
        Ok(values)
    }

    /// Takes a number, or gives the default.
    pub(crate) fn number(&mut self, name: &str, default: u64) -> Result<u64, String> {
        match self.values(name)?.pop() {
            Some(text) => text
                .parse()
                .map_err(|_| format!("{name}: {text} is no number")),
            None => Ok(default),
        }
    }

    /// Gives the words before and after `--`; an option still there is unknown.
    pub(crate) fn finish(self) -> Result<(Vec<String>, Vec<String>), String> {
        match self.words.iter().find(|word| word.starts_with('-')) {
            Some(word) => Err(format!("unknown option {word}")),
            None => Ok((self.words, self.rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;

    #[test]
    fn options_words_and_rest_are_told_apart() {
        let line = "6.1 --bin a --bin=b --output 5.10 --seconds 7 -- x --y";
        let mut arguments = Arguments::new(line.split(' ').map(str::to_string));
        assert_eq!(arguments.values("--bin").unwrap(), ["a", "b"]);
        assert!(arguments.flag("--output"));
        assert!(!arguments.flag("--output"));
        assert_eq!(arguments.number("--seconds", 1), Ok(7));
        assert_eq!(arguments.number("--jobs", 2), Ok(2));
        let (words, rest) = arguments.finish().unwrap();
        assert_eq!(words, ["6.1", "5.10"]);
        assert_eq!(rest, ["x", "--y"]);
    }

    #[test]
    fn unknown_options_and_missing_values_are_refused() {
        let new = |line: &str| Arguments::new(line.split(' ').map(str::to_string));
        assert_eq!(new("--what").finish().unwrap_err(), "unknown option --what");
        assert_eq!(
            new("--bin").values("--bin").unwrap_err(),
            "--bin needs a value"
        );
    }
}
