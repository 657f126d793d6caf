//! Whole compilations: golden files (`compile/*.txt` hold a script, the IR of its programs after
//! the passes, their code, and the maps, each after a line of dashes; `BLESS=1` writes what the
//! compiler gives now), and the same inputs give the same result.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

#[path = "types/fixture.rs"]
#[allow(dead_code, reason = "the checker's tests use all of it")]
mod fixture;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fixture::Setup;
use kscope_script::compile::{Options, compile_stages};
use kscope_script::types::Inputs;
use kscope_spec::disasm;

/// The line between the parts.
const SEPARATOR: &str = "\n----\n";

fn golden_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of golden files is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    files.sort();
    files
}

/// Compiles a script and prints what each stage made of it.
fn compiled(source: &str) -> String {
    let setup = Setup::default();
    let mut inputs = Inputs::new(&setup.catalogue);
    inputs.btf = setup.btf.as_ref();
    inputs.positional.clone_from(&setup.positional);
    let (stages, compilation) = compile_stages("test.bt", source, &inputs, Options::default());
    let mut text = String::new();
    for finding in &compilation.diagnostics {
        let _ = writeln!(text, "{}: {}", finding.severity, finding.message);
    }
    for function in &stages.functions {
        let _ = write!(text, "{function}");
    }
    let Some(compiled) = compilation.compiled else {
        return text;
    };
    text.push_str("----\n");
    let options = disasm::Options {
        numbers: false,
        helper_names: true,
        source: false,
    };
    for program in &compiled.spec.programs {
        text.push_str(&disasm::program(&compiled.spec, program, options));
    }
    text.push_str("----\n");
    for map in &compiled.spec.maps {
        let _ = writeln!(
            text,
            "{} {:?} key {} value {} entries {} flags {}",
            map.name, map.kind, map.key_size, map.value_size, map.max_entries, map.flags
        );
    }
    text
}

#[test]
fn golden_files_hold() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failed = Vec::new();
    let files = golden_files();
    assert!(files.len() >= 6, "golden files are missing");
    for path in files {
        let text = std::fs::read_to_string(&path).expect("a golden file can be read");
        let source = text.split(SEPARATOR).next().unwrap_or_default().trim_end();
        let now = format!("{source}{SEPARATOR}{}", compiled(source));
        assert_eq!(compiled(source), compiled(source), "the same twice");
        if now != text {
            if bless {
                std::fs::write(&path, &now).expect("a golden file can be written");
            } else {
                failed.push(format!("{}:\n{now}", path.display()));
            }
        }
    }
    assert!(failed.is_empty(), "these differ:\n{}", failed.join("\n"));
}
