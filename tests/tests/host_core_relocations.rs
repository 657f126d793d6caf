//! CO-RE against what libbpf does: programs of the kernel's tests, each fitted to types made for it,
//! run, and compared byte by byte with a record of libbpf's results.
//!
//! The record is a file of `KSCOPE_FIXTURES`: program, types, `OK` or `ERR`, and what the program
//! wrote (hexadecimal, without zeros at the end) or what libbpf said.

use std::path::PathBuf;

use kscope_bpf::btf::Btf;
use kscope_bpf::spec::core::{Failure, Reason, Target, minimize, relocate};
use kscope_bpf::spec::{self, CoreKind, Insn, Spec};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{Absent, Error, Loader, ProgramError, TestInput, UpdateMode};
use kscope_tests::assembly::kernel_types;
use kscope_tests::selftests::Selftests;
use kscope_tests::{kernel_or_skip, skip};

const RECORD: &str = "core-relocations/libbpf-1.7.txt";
/// Bytes that a program is given, and those it writes.
const ROOM: usize = 256;

/// A line of the record.
struct Pair<'a> {
    program: &'a str,
    types: &'a str,
    /// What the program wrote; none where it was not run.
    expected: Expected<'a>,
}

enum Expected<'a> {
    Wrote(&'a str),
    Loaded,
    Refused(&'a str),
}

impl<'a> Pair<'a> {
    fn parse(line: &'a str) -> Option<Pair<'a>> {
        let mut columns = line.split('\t');
        let (program, types) = (columns.next()?, columns.next()?);
        let (verdict, told) = (columns.next()?, columns.next()?);
        let expected = match (verdict, told.split_once(' ')) {
            ("OK", Some(("ret=norun", _))) => Expected::Loaded,
            ("OK", Some(("ret=0", wrote))) => Expected::Wrote(wrote),
            ("ERR", _) => Expected::Refused(told),
            _ => return None,
        };
        Some(Pair {
            program,
            types,
            expected,
        })
    }
}

/// Reads an object, and its types.
fn object(selftests: &Selftests, name: &str) -> Result<(Spec, Btf), String> {
    let bytes = selftests.object(name)?;
    let spec = spec::read::object(&bytes).map_err(|error| error.to_string())?;
    let types = Btf::parse(spec.types.clone()).map_err(|error| error.to_string())?;
    Ok((spec, types))
}

/// Fits the programs to types; gives their instructions.
fn fitted(spec: &Spec, local: &Btf, types: &Btf) -> Vec<Vec<Insn>> {
    let target = Target::new(types);
    let each = spec.programs.iter();
    each.map(|program| relocate(spec, program, local, &target).insns)
        .collect()
}

/// Why an object did not give what was expected.
enum Wrong {
    /// A relocation of its program is at fault.
    Relocation(Box<Failure>),
    /// Something else.
    Other(String),
}

impl<E: std::error::Error> From<E> for Wrong {
    fn from(error: E) -> Wrong {
        Wrong::Other(error.to_string())
    }
}

impl Wrong {
    fn text(self) -> String {
        match self {
            Wrong::Relocation(failure) => failure.to_string(),
            Wrong::Other(text) => text,
        }
    }
}

/// Loads the object, gives its program bytes and reads what it wrote.
fn run(kernel: &SharedKernel, spec: &Spec, types: &Btf, run: bool) -> Result<String, Wrong> {
    let other = |text: &str| Wrong::Other(text.to_owned());
    let loader = Loader::new(kernel.clone())
        .btf(kernel_types())
        .target(types);
    let object = loader.load(spec)?;
    if let Some(ProgramError { error, .. }) = object.failures().next() {
        return Err(match error {
            Error::Unresolved { absent, .. } => match &**absent {
                Absent::Relocation(failure) => Wrong::Relocation(Box::new(failure.clone())),
                _ => other(&error.to_string()),
            },
            _ => other(&error.to_string()),
        });
    }
    let program = object
        .programs()
        .next()
        .ok_or_else(|| other("no program"))?;
    if !run {
        return Ok(String::new());
    }
    let data = spec
        .variable_named("data")
        .ok_or_else(|| other("no data"))?;
    let map = object.map(data.map).ok_or_else(|| other("no map"))?;
    let start = data.offset as usize;
    let input: Vec<u8> = (1..=255).chain([0]).collect();
    let mut value = vec![0; map.value_size()];
    value[start..start + ROOM].copy_from_slice(&input);
    let key = 0u32.to_ne_bytes();
    map.update(&key, &value, UpdateMode::Any)?;
    let result = program.test_run(&TestInput::default())?.result;
    if result != 0 {
        return Err(other(&format!("returned {result}")));
    }
    let value = map.lookup(&key)?.ok_or_else(|| other("no value"))?;
    let output = &value[start + ROOM..start + 2 * ROOM];
    let text: String = output.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(text.trim_end_matches('0').to_owned())
}

/// Tells whether a refusal is the one that libbpf names: of the object, or by the verifier where it
/// meets a poisoned instruction.
fn same_refusal(told: &str, reason: &Reason) -> bool {
    match reason {
        Reason::AmbiguousOffset { first, second } => {
            told.contains(&format!("field offset ambiguity: {second} != {first}"))
        }
        Reason::AmbiguousValue { first, second } => {
            told.contains(&format!("ambiguity: success {second} != success {first}"))
        }
        Reason::WideBitfield => told.contains("can't be satisfied for bitfield"),
        Reason::BadCandidate => told.contains("error matching candidate"),
        reason => !reason.is_fatal() && told.contains("BEGIN PROG LOAD LOG"),
    }
}

fn check(selftests: &Selftests, kernel: &SharedKernel, pair: &Pair<'_>) -> Result<(), String> {
    let (spec, local) = object(selftests, pair.program)?;
    let (_, types) = object(selftests, pair.types)?;
    let outcome = run(
        kernel,
        &spec,
        &types,
        !matches!(pair.expected, Expected::Loaded),
    );
    match (&pair.expected, outcome) {
        (Expected::Loaded, Ok(_)) => {}
        (Expected::Wrote(expected), Ok(wrote)) if *expected == wrote => {}
        (Expected::Refused(told), Err(Wrong::Relocation(failure)))
            if same_refusal(told, &failure.reason) =>
        {
            assert!(
                !failure.candidates.is_empty()
                    || failure.reason.is_fatal()
                    || failure.reason == Reason::NoCandidate
            );
            assert!(failure.source.is_some_and(|source| source.line > 0));
            if failure.reason.is_fatal() {
                return Ok(());
            }
        }
        (_, Ok(wrote)) => return Err(format!("wrote {wrote}")),
        (_, Err(wrong)) => return Err(wrong.text()),
    }
    // As little of the types as is needed gives the same instructions.
    let small = minimize(&[&spec], &types, "given").map_err(|error| error.to_string())?;
    let small = Btf::parse(small.types).map_err(|error| error.to_string())?;
    let asks_ids = |program: &spec::ProgramSpec| {
        let mut core = program.core.iter();
        core.any(|relocation| relocation.kind == CoreKind::TypeIdTarget)
    };
    let same = fitted(&spec, &local, &small) == fitted(&spec, &local, &types);
    if !same && !spec.programs.iter().any(asks_ids) {
        return Err("minimal types give other instructions".to_owned());
    }
    Ok(())
}

#[test]
fn every_pair_does_as_with_libbpf() {
    let Some(folder) = std::env::var_os("KSCOPE_FIXTURES") else {
        skip!("fixtures", "KSCOPE_FIXTURES names no folder of records");
    };
    let selftests = match Selftests::find() {
        Ok(selftests) => selftests,
        Err(reason) => skip!("selftests", "{reason}"),
    };
    let kernel = kernel_or_skip!();
    let path = PathBuf::from(folder).join(RECORD);
    let record = std::fs::read_to_string(&path).expect("a record");
    let pairs: Vec<Pair<'_>> = record
        .lines()
        .map(|line| Pair::parse(line).expect(line))
        .collect();
    assert!(pairs.len() >= 74, "{} pairs", pairs.len());
    let wrong: Vec<String> = pairs
        .iter()
        .filter_map(|pair| {
            let wrong = check(&selftests, &kernel, pair).err()?;
            Some(format!("{} {}: {wrong}", pair.program, pair.types))
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} pairs differ:\n{}",
        wrong.len(),
        pairs.len(),
        wrong.join("\n")
    );
}
