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
mod golden;

use std::fmt::Write as _;

use fixture::Setup;
use golden::SEPARATOR;
use kscope_script::compile::{Options, compile_stages};
use kscope_script::types::Inputs;
use kscope_spec::disasm;

/// How a script begins that is compiled for a kernel whose programs may read the running thread.
const TYPED_TASK: &str = "// with a typed task\n";

/// Compiles a script and prints what each stage made of it.
fn compiled(source: &str) -> String {
    let mut setup = Setup::default();
    if source.starts_with(TYPED_TASK) {
        let helper = ("BPF_FUNC_get_current_task_btf", 158);
        setup.btf = Some(fixture::btf_with(&[helper]));
    }
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
    golden::scripts("compile", 6, |source| {
        let source = source.trim_end();
        let text = compiled(source);
        assert_eq!(text, compiled(source), "the same twice");
        format!("{source}{SEPARATOR}{text}")
    });
}
