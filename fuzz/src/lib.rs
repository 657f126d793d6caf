//! The bodies of the fuzz targets. tests/tests/fuzz_replay.rs runs them over the seeds.
//!
//! Each takes any bytes, must neither panic nor take long, and gives whether the bytes got far:
//! a seed that does not is no good seed.

mod capture;
mod core;
mod dump;
mod event;
mod interpret;
mod kernel;
mod link;
mod object;
mod plan;
mod tables;

use kscope_script::compile::{self, Options};
use kscope_script::diagnostic::{Severity, has_errors};
use kscope_script::types::Inputs;
use kscope_spec::check::ProblemKind;
use kscope_spec::insn::Insn;
use kscope_spec::{Spec, asm, check, disasm};

pub use self::capture::capture;
pub use self::core::{core, ext};
pub use self::dump::dump;
pub use event::event;
pub use interpret::interpret;
pub use link::link;
pub use object::object;
pub use plan::plan;
pub use tables::{kallsyms, kconfig, log};

/// Longest text that is tried, in bytes; time may grow with it.
const LONGEST: usize = 4096;

/// Reads BTF and asks everything of it.
pub fn btf(bytes: &[u8]) -> bool {
    kscope_testkit::btf::read_any(bytes)
}

/// Compiles a script, to be run here and as an object. What compiles has code that the static check finds nothing wrong with; what
/// does not has an error that says why, inside of the text.
pub fn script(bytes: &[u8]) -> bool {
    let Ok(source) = std::str::from_utf8(bytes) else {
        return false;
    };
    if source.len() > LONGEST {
        return false;
    }
    let types = kernel::types();
    let catalogue = kernel::catalogue();
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = Some(&types);
    inputs.positional = vec!["1234".to_owned(), "bash".to_owned()];
    inputs.portable = true;
    let portable = compile::compile("fuzz", source, &inputs, Options::default());
    if let Some(compiled) = &portable.compiled {
        plan::build(compiled, source);
    }
    inputs.portable = false;
    let (stages, done) = compile::compile_stages("fuzz", source, &inputs, Options::default());
    for finding in &done.diagnostics {
        assert!(
            source.get(finding.span.range()).is_some(),
            "outside: {finding:?}"
        );
        assert!(!finding.message.is_empty(), "says nothing: {finding:?}");
    }
    let Some(compiled) = done.compiled else {
        assert!(has_errors(&done.diagnostics), "no code and no error");
        return false;
    };
    let wrong = |severity| {
        done.diagnostics
            .iter()
            .any(|found| found.severity == severity)
    };
    assert!(!wrong(Severity::Error), "code in spite of errors");
    for function in &stages.functions {
        assert!(!function.to_string().is_empty());
    }
    for program in &compiled.spec.programs {
        let text = disasm::program(&compiled.spec, program, disasm::Options::default());
        let mut problems = check::program(&compiled.spec, program);
        // The place of a tracepoint's string is the record's address plus a number that the check does not know; helpers take
        // that as an address.
        problems.retain(|problem| !matches!(problem.kind, ProblemKind::PointerMath(_)));
        assert!(problems.is_empty(), "{source}\n{text}\n{problems:?}");
    }
    true
}

/// Decodes slots, prints and assembles them; then reads the bytes as a text to assemble.
pub fn insn(bytes: &[u8]) -> bool {
    let slots = bytes
        .chunks_exact(8)
        .filter_map(|slot| slot.try_into().ok());
    let slots: Vec<Insn> = slots.map(Insn::decode_le).take(LONGEST / 8).collect();
    for (slot, written) in slots.iter().zip(bytes.chunks_exact(8)) {
        assert_eq!(slot.encode_le(), written);
        let _ = slot.op();
    }
    let mut good = !slots.is_empty() && there_and_back(&slots);
    let _ = check::insns(&slots);
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let assembled = match text.len() {
        ..=LONGEST => asm::assemble(text, &Spec::default()).ok(),
        _ => None,
    };
    if let Some(assembled) = assembled.filter(|assembled| !assembled.insns.is_empty()) {
        good |= there_and_back(&assembled.insns);
    }
    good
}

/// Prints slots and assembles the text, which gives the same slots.
fn there_and_back(slots: &[Insn]) -> bool {
    let text = disasm::insns(slots);
    match asm::insns(&text) {
        Ok(again) => {
            assert_eq!(again, slots, "{text}");
            true
        }
        Err(error) => panic!("{error}\n{text}"),
    }
}
