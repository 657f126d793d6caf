//! What is said of mistakes that people make: `errors/mistakes.txt` has each with its cause and the
//! way out. `BLESS=1` writes it anew.

use kscope_bpf::spec::Spec;
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{Error, Loader};
use kscope_tests::assembly::kernel_types;
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

const GOLDEN: &str = "errors/mistakes.txt";

/// Gives the error of loading one program of the object, and the way out of it.
fn told(kernel: &SharedKernel, spec: &Spec, program: &str) -> (String, Option<&'static str>) {
    // Maps that cannot be made are no fault of programs that do without them.
    let loader = Loader::new(kernel.clone())
        .btf(kernel_types())
        .kernel_config("CONFIG_NET=y\n")
        .only([program]);
    let error: Error = match loader.load(spec) {
        Err(error) => error,
        Ok(object) => match object.failures().next() {
            Some(failed) => failed.error.clone(),
            None => return ("it is accepted".to_owned(), None),
        },
    };
    (error.to_string(), error.way_out())
}

/// Takes out what depends on the kernel that it ran on.
fn settled(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("vmlinux type ") {
        out.push_str(before);
        out.push_str("vmlinux type N");
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    out.push_str(rest);
    out
}

#[test]
fn mistakes_are_told_with_cause_and_way_out() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("mistakes");
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let mut text = String::new();
    for program in &spec.programs {
        if program.name == "member_that_is_there" {
            continue;
        }
        let (error, way_out) = told(&kernel, &spec, &program.name);
        text.push_str(&format!("{}\n    {}\n", program.name, settled(&error)));
        if let Some(way_out) = way_out {
            text.push_str(&format!("    hint: {way_out}\n"));
        }
    }
    let mut closed = spec.clone();
    closed.license = "Proprietary".to_owned();
    let (error, way_out) = told(&kernel, &closed, "member_that_is_there");
    let way_out = way_out.expect("a way out");
    text.push_str(&format!(
        "licence_not_free\n    {error}\n    hint: {way_out}\n"
    ));
    let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(GOLDEN);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&golden, &text).expect("writable");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden file");
    let told: Vec<&str> = text.lines().collect();
    let expected: Vec<&str> = expected.lines().collect();
    for (place, (told, expected)) in told.iter().zip(&expected).enumerate() {
        assert_eq!(told, expected, "line {}", place + 1);
    }
    assert_eq!(told.len(), expected.len());
    assert!(spec.programs.len() >= 30);
}

#[test]
fn numbers_of_types_are_taken_out() {
    assert_eq!(
        settled("a (vmlinux type 114) b (vmlinux type 9)"),
        "a (vmlinux type N) b (vmlinux type N)"
    );
}
