//! The kernel's own eBPF tests, loaded whole: each map made, each program that is not optional
//! accepted. What is expected of each is a record, with libbpf's verdict beside it.

use kscope_bpf::Loader;
use kscope_bpf::spec::read;
use kscope_bpf::sys::SharedKernel;
use kscope_tests::assembly::kernel_types;
use kscope_tests::selftests::Selftests;
use kscope_tests::skipped;

const RECORD: &str = include_str!("host_selftests/record.txt");
/// The kernel of the record.
const RELEASE: &str = "6.18.";
/// Objects that the published measurement of libbpf 1.7 counts as loaded whole.
const LIBBPF: usize = 242;
/// How many objects an ordinary run loads.
const SAMPLE: usize = 60;

/// A line of the record.
struct Known {
    name: &'static str,
    /// libbpf loads it whole.
    libbpf: bool,
    /// So does kscope.
    kscope: bool,
    /// Why they differ.
    reason: Option<&'static str>,
}

impl Known {
    fn parse(line: &'static str) -> Option<Known> {
        let mut columns = line.split('\t');
        let name = columns.next()?;
        let (libbpf, kscope) = match columns.next()? {
            "both" => (true, true),
            "kscope" => (false, true),
            "libbpf" => (true, false),
            "neither" => (false, false),
            _ => return None,
        };
        Some(Known {
            name,
            libbpf,
            kscope,
            reason: columns.next(),
        })
    }
}

fn record() -> Vec<Known> {
    let lines = RECORD.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| Known::parse(line).expect(line)).collect()
}

/// Loads all of an object that is not optional; gives what did not come.
fn load(kernel: &SharedKernel, name: &str, bytes: &[u8]) -> Result<(), String> {
    let spec = read::object_named(name, bytes).map_err(|error| error.to_string())?;
    let loader = Loader::new(kernel.clone()).btf(kernel_types());
    let object = loader.load(&spec).map_err(|error| error.to_string())?;
    let maps = object.map_failures().map(|(_, error)| error.to_string());
    let programs = object.failures().map(ToString::to_string);
    let unfilled = object.unfilled().iter().map(ToString::to_string);
    let failed: Vec<String> = maps.chain(programs).chain(unfilled).collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(failed.join("; ")),
    }
}

/// Compiles and loads objects, and compares with the record; gives how many loaded whole, or none
/// where the test was skipped.
fn compare(objects: &[&Known]) -> Option<usize> {
    let kernel = match kscope_tests::assembly::privileged() {
        Ok(kernel) => kernel,
        Err(reason) => {
            skipped("root", &reason);
            return None;
        }
    };
    let selftests = match Selftests::find().and_then(Selftests::with_kernel_types) {
        Ok(selftests) => selftests,
        Err(reason) => {
            skipped("selftests", &reason);
            return None;
        }
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let (mut whole, mut more) = (0, Vec::new());
    let mut refused = Vec::new();
    for known in objects {
        let loaded = match selftests.object(known.name) {
            Ok(bytes) => load(&kernel, known.name, &bytes),
            Err(error) => Err(format!("clang: {error}")),
        };
        whole += usize::from(loaded.is_ok());
        match loaded {
            Ok(()) if !known.kscope => more.push(known.name),
            Err(error) if known.kscope => refused.push(format!("{}: {error}", known.name)),
            _ => {}
        }
    }
    eprintln!(
        "{whole} of {} objects loaded whole; not in the record: {more:?}",
        objects.len()
    );
    let expected = objects.iter().filter(|known| known.kscope).count();
    if !refused.is_empty() {
        let told = format!(
            "{} of {expected} objects that load whole on Linux {RELEASE}x are refused here:\n{}",
            refused.len(),
            refused.join("\n")
        );
        assert!(
            !release.starts_with(RELEASE) && refused.len() * 2 < expected,
            "{told}"
        );
        skipped("selftests_whole", &told.replace('\n', " | "));
    }
    Some(whole)
}

#[test]
fn every_difference_from_libbpf_has_its_reason() {
    let record = record();
    let count = |wanted: fn(&Known) -> bool| record.iter().filter(|known| wanted(known)).count();
    let libbpf = count(|known| known.libbpf);
    assert!(libbpf >= LIBBPF, "{libbpf}");
    assert_eq!(count(|known| known.libbpf && !known.kscope), 0);
    for known in &record {
        let differs = known.libbpf != known.kscope;
        assert_eq!(differs, known.reason.is_some(), "{}", known.name);
    }
    assert!(record.is_sorted_by(|one, two| one.name < two.name));
}

/// Compares one of three parts of the sample.
fn compare_part(part: usize) {
    let record = record();
    let sample: Vec<&Known> = (part..SAMPLE)
        .step_by(3)
        .map(|number| &record[number * record.len() / SAMPLE])
        .collect();
    compare(&sample);
}

#[test]
fn a_sample_loads_as_with_libbpf_1() {
    compare_part(0);
}

#[test]
fn a_sample_loads_as_with_libbpf_2() {
    compare_part(1);
}

#[test]
fn a_sample_loads_as_with_libbpf_3() {
    compare_part(2);
}

#[test]
#[ignore = "compiles and loads some 500 objects"]
fn all_load_as_with_libbpf() {
    let record = record();
    let all: Vec<&Known> = record.iter().collect();
    if let Some(whole) = compare(&all) {
        assert!(whole >= LIBBPF, "{whole}");
    }
}
