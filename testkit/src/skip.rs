//! Tests that need what the machine lacks.

/// Prints that the running test is skipped.
///
/// # Panics
///
/// If `KSCOPE_MUST` names the feature: this machine should have had it.
pub fn skipped(feature: &str, reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let must = std::env::var("KSCOPE_MUST").unwrap_or_default();
    assert!(
        !must_have(&must, feature),
        "{test} would be skipped ({reason}), but KSCOPE_MUST names {feature}"
    );
    eprintln!("SKIP: {test}: {reason}");
}

/// Tells whether a list of features separated by commas names one.
fn must_have(must: &str, feature: &str) -> bool {
    must.split(',').any(|name| name.trim() == feature)
}

#[cfg(test)]
mod tests {
    use super::must_have;

    #[test]
    fn features_are_named_whole() {
        let check = |must, feature, expected| assert_eq!(must_have(must, feature), expected);
        check("", "root", false);
        check("root", "root", true);
        check("kprobe, root", "root", true);
        check("rooted", "root", false);
        check("kprobe_multi", "kprobe", false);
    }
}
