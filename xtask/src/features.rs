//! Every Cargo feature of the libraries compiles alone, without warnings, and so does each library without any.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::outcome::{Outcome, Verdict};
use crate::{cargo, deadline};

/// The crates with features that others may choose.
const LIBRARIES: [&str; 4] = ["kscope-btf", "kscope-spec", "kscope-sys", "kscope-bpf"];

/// Checks all of them, each within the limit of the whole.
pub(crate) fn outcomes(limit: Duration) -> Vec<Outcome> {
    let until = Instant::now() + limit;
    let features = match metadata() {
        Ok(features) => features,
        Err(why) => {
            let outcome = Outcome::new("features", Verdict::Failed(why));
            outcome.print(false);
            return vec![outcome];
        }
    };
    let mut outcomes = Vec::new();
    for (package, feature) in features {
        let name = match feature.as_str() {
            "" => format!("{package} without features"),
            feature => format!("{package} with {feature} alone"),
        };
        let mut command = cargo::cargo(&["clippy", "-q", "--no-default-features", "-p", &package]);
        command.args(["--features", &feature, "--", "-D", "warnings"]);
        let started = Instant::now();
        let left = until.saturating_duration_since(started);
        let ending = deadline::run_here(&mut command, left);
        let outcome = Outcome::judge(name, ending, started.elapsed(), String::new());
        outcome.print(false);
        outcomes.push(outcome);
    }
    outcomes
}

/// Gives the libraries with each of their features; an empty one stands for none.
fn metadata() -> Result<Vec<(String, String)>, String> {
    let words = ["metadata", "--no-deps", "--format-version", "1", "--locked"];
    let output = cargo::cargo(&words).output();
    let output = output.map_err(|error| format!("cargo metadata: {error}"))?;
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let mut all = Vec::new();
    for library in LIBRARIES {
        let mut packages = metadata["packages"].as_array().into_iter().flatten();
        let package = packages.find(|package| package["name"] == library);
        let package = package.ok_or_else(|| format!("cargo metadata knows no {library}"))?;
        all.push((library.to_string(), String::new()));
        let features = package["features"].as_object().into_iter().flatten();
        let names = features
            .map(|(name, _)| name)
            .filter(|name| *name != "default");
        all.extend(names.map(|name| (library.to_string(), name.clone())));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::metadata;

    #[test]
    fn every_feature_is_known() {
        let known = metadata().unwrap();
        for (package, feature) in [
            ("kscope-btf", "print"),
            ("kscope-spec", "asm"),
            ("kscope-sys", "detached"),
            ("kscope-bpf", ""),
            ("kscope-bpf", "network"),
            ("kscope-bpf", "tokio"),
        ] {
            let one = (package.to_string(), feature.to_string());
            assert!(known.contains(&one), "{package} {feature}");
        }
    }
}
