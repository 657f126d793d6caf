//! The cases of tests/peers/outputs.txt: scripts, and what bpftrace 0.27 prints for them.

const CASES: &str = include_str!("../peers/outputs.txt");

/// A script and its output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// The script.
    pub script: &'static str,
    /// What it prints as text.
    pub text: String,
    /// What it prints with `-f json`.
    pub json: String,
}

/// Gives all cases in their order.
///
/// # Panics
///
/// If a line belongs to no case.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let lines = CASES.lines();
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut add = |what: fn(&mut Case) -> &mut String, text: &str| {
            let case = cases.last_mut().expect("a script before its output");
            let output = what(case);
            output.push_str(text.strip_prefix(' ').unwrap_or(text));
            output.push('\n');
        };
        if let Some(text) = line.strip_prefix("  =") {
            add(|case| &mut case.text, text);
        } else if let Some(text) = line.strip_prefix("  j") {
            add(|case| &mut case.json, text);
        } else {
            cases.push(Case {
                script: line,
                ..Case::default()
            });
        }
    }
    cases
}
