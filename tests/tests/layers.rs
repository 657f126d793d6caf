//! Which crate may depend on which; docs/ARCHITECTURE.md says why.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Every crate with all crates it may depend on. A new crate needs a line here and a paragraph in docs/ARCHITECTURE.md.
const ALLOWED: [(&str, &[&str]); 20] = [
    ("kscope-btf", &[]),
    ("kscope-rows", &[]),
    ("kscope-sys", &[]),
    ("kscope-spec", &["btf"]),
    ("kscope-memory", &["btf"]),
    ("kscope-script", &["btf", "spec", "memory", "rows"]),
    ("kscope-bpf", &["btf", "spec", "memory", "sys"]),
    ("kscope-bindgen", &["btf", "spec"]),
    ("kscope-dump", &["btf", "memory"]),
    ("kscope-symbol", &["memory", "sys"]),
    ("kscope-view", &["rows"]),
    (
        "kscope-runtime",
        &[
            "script", "bpf", "dump", "symbol", "rows", "btf", "spec", "memory", "sys",
        ],
    ),
    ("kscope-net", &["spec", "rows", "memory", "runtime", "sys"]),
    ("kscope-kdump", &["dump", "sys"]),
    ("kscope-testkit", &["btf", "spec"]),
    (
        "kscope",
        &[
            "btf", "spec", "memory", "rows", "script", "sys", "bpf", "bindgen", "dump", "symbol",
            "runtime", "net", "kdump", "view",
        ],
    ),
    (
        "kscope-tests",
        &[
            "btf", "spec", "memory", "rows", "script", "sys", "bpf", "bindgen", "dump", "symbol",
            "runtime", "net", "kdump", "view", "testkit",
        ],
    ),
    ("xtask", &[]),
    ("execsnoop-skeleton", &["bpf", "bindgen"]),
    ("script-in-process", &["runtime", "rows"]),
];

/// What every crate may use in its tests, beside what it may depend on.
const ALLOWED_IN_TESTS: &str = "testkit";

/// Lists the edges of `cargo metadata` that are not allowed.
fn violations(metadata: &Value) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into_iter().collect();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a package's name");
        let Some(allowed) = allowed.get(name) else {
            found.push(format!("{name} has no line in ALLOWED"));
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let other = dependency["name"].as_str().expect("a dependency's name");
            // Members of the workspace are the ones given by path.
            if dependency["path"].is_null() {
                continue;
            }
            let short = other.strip_prefix("kscope-").unwrap_or(other);
            let in_tests = dependency["kind"] == "dev";
            let fine = allowed.contains(&short) || (in_tests && short == ALLOWED_IN_TESTS);
            if !fine {
                let kind = dependency["kind"].as_str().unwrap_or("normal");
                found.push(format!("{name} → {other} ({kind})"));
            }
        }
    }
    found
}

#[test]
fn no_edge_is_there_that_the_architecture_does_not_allow() {
    let metadata = kscope_tests::workspace::metadata();
    let count = metadata["packages"].as_array().map_or(0, Vec::len);
    assert!(count >= 10, "only {count} packages: not the workspace");
    assert_eq!(violations(&metadata), [""; 0]);
}

fn check(name: &str, dependency: &Value, expected: &[&str]) {
    let metadata = json!({ "packages": [{ "name": name, "dependencies": [dependency] }] });
    assert_eq!(violations(&metadata), expected, "{name}: {dependency}");
}

#[test]
fn edges() {
    let edge = |name: &str, kind: Option<&str>| json!({ "name": name, "kind": kind, "path": "/x" });
    check("kscope-spec", &edge("kscope-btf", None), &[]);
    check(
        "kscope-btf",
        &edge("kscope-spec", None),
        &["kscope-btf → kscope-spec (normal)"],
    );
    check(
        "kscope-script",
        &edge("kscope-sys", None),
        &["kscope-script → kscope-sys (normal)"],
    );
    check("kscope-script", &edge("kscope-testkit", Some("dev")), &[]);
    check(
        "kscope-script",
        &edge("kscope-testkit", None),
        &["kscope-script → kscope-testkit (normal)"],
    );
    check(
        "kscope-script",
        &edge("kscope-bpf", Some("dev")),
        &["kscope-script → kscope-bpf (dev)"],
    );
    check("kscope-view", &edge("kscope-rows", Some("build")), &[]);
    check(
        "kscope-new",
        &edge("kscope-btf", None),
        &["kscope-new has no line in ALLOWED"],
    );
    check(
        "kscope-btf",
        &json!({ "name": "hashbrown", "kind": null, "path": null }),
        &[],
    );
}
