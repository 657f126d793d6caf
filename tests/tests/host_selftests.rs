//! The kernel's own eBPF tests, loaded whole: each map made, each program that is not optional
//! accepted. What is expected of each is a record, with the newest libbpf's verdict beside it; the
//! installed libbpf gives its own in the same run.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use kscope_bpf::Loader;
use kscope_bpf::spec::read;
use kscope_bpf::sys::SharedKernel;
use kscope_tests::assembly::kernel_types;
use kscope_tests::libbpf::Libbpf;
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

/// Compiles objects, as many at a time as there are processors.
fn compiled(selftests: &Selftests, objects: &[&Known]) -> Vec<Result<Vec<u8>, String>> {
    let jobs = std::thread::available_parallelism().map_or(2, usize::from);
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, Result<Vec<u8>, String>)> = std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(known) = objects.get(index) else {
                    break;
                };
                done.push((index, selftests.object(known.name)));
            }
            done
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(ScopedJoinHandle::join);
        results
            .flat_map(|done| done.expect("no worker panics"))
            .collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, object)| object).collect()
}

/// What the verdicts of one run say together.
#[derive(Default)]
struct Tally {
    both: usize,
    kscope: usize,
    libbpf: usize,
    neither: usize,
    /// Each difference from the installed libbpf, with its reason.
    differences: Vec<String>,
    /// Differences that nothing explains.
    unexplained: Vec<String>,
    /// Objects that load whole by the record, and did not here.
    refused: Vec<String>,
    /// Objects that load whole here, and not by the record.
    more: Vec<&'static str>,
}

impl Tally {
    fn add(&mut self, known: &Known, ours: &Result<(), String>, theirs: &Result<(), String>) {
        let name = known.name;
        match (ours, theirs) {
            (Ok(()), Ok(())) => self.both += 1,
            (Err(_), Err(_)) => self.neither += 1,
            (Ok(()), Err(said)) => {
                self.kscope += 1;
                match known.reason {
                    Some(reason) if known.kscope => {
                        self.differences.push(format!("{name}: {reason}"));
                    }
                    _ if known.libbpf => {
                        let reason = "a libbpf older than the record's refuses it";
                        self.differences.push(format!("{name}: {reason} ({said})"));
                    }
                    _ => self.unexplained.push(format!("{name}: libbpf says {said}")),
                }
            }
            (Err(why), Ok(())) => {
                self.libbpf += 1;
                self.unexplained.push(format!("{name}: kscope says {why}"));
            }
        }
        match ours {
            Ok(()) if !known.kscope => self.more.push(name),
            Err(error) if known.kscope => self.refused.push(format!("{name}: {error}")),
            _ => {}
        }
    }
}

/// Compiles and loads objects, and compares with the installed libbpf and with the record.
fn compare(objects: &[&Known]) {
    let kernel = match kscope_tests::assembly::privileged() {
        Ok(kernel) => kernel,
        Err(reason) => return skipped("root", &reason),
    };
    let selftests = match Selftests::find().and_then(Selftests::with_kernel_types) {
        Ok(selftests) => selftests,
        Err(reason) => return skipped("selftests", &reason),
    };
    let peer = Libbpf::find();
    let version = match &peer {
        Ok(peer) => format!("libbpf {}", peer.version),
        Err(reason) => format!("the record, as {reason}"),
    };
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let mut tally = Tally::default();
    for (known, object) in objects.iter().zip(compiled(&selftests, objects)) {
        let ours = object.map_err(|error| format!("clang: {error}"));
        let compiles = ours.is_ok();
        let ours = ours.and_then(|bytes| load(&kernel, known.name, &bytes));
        let theirs = match &peer {
            Ok(peer) if compiles => peer.load(&selftests.file(known.name), &[]),
            Ok(_) => Err("it does not compile".to_owned()),
            Err(_) if known.libbpf => Ok(()),
            Err(_) => Err("as recorded".to_owned()),
        };
        tally.add(known, &ours, &theirs);
    }
    eprintln!(
        "{} objects: {} load whole with both, {} with kscope alone, {} with {version} alone, {} \
         with neither; not in the record: {:?}",
        objects.len(),
        tally.both,
        tally.kscope,
        tally.libbpf,
        tally.neither,
        tally.more
    );
    for difference in &tally.differences {
        eprintln!("    {difference}");
    }
    let same_kernel = release.starts_with(RELEASE);
    let unexplained = tally.unexplained.join("\n");
    if same_kernel {
        assert!(unexplained.is_empty(), "{unexplained}");
    }
    assert!(
        tally.libbpf <= tally.kscope,
        "kscope loads fewer:\n{unexplained}"
    );
    let refused = tally.refused;
    if !refused.is_empty() {
        let expected = objects.iter().filter(|known| known.kscope).count();
        let told = format!(
            "{} of {expected} objects that load whole on Linux {RELEASE}x are refused here:\n{}",
            refused.len(),
            refused.join("\n")
        );
        assert!(!same_kernel && refused.len() * 2 < expected, "{told}");
        skipped("selftests_whole", &told.replace('\n', " | "));
    }
}

#[test]
fn every_difference_from_libbpf_has_its_reason() {
    let record = record();
    let count = |wanted: fn(&Known) -> bool| record.iter().filter(|known| wanted(known)).count();
    let libbpf = count(|known| known.libbpf);
    assert!(libbpf >= LIBBPF, "{libbpf}");
    // Whole with kscope is all of libbpf's, and what libbpf refuses for a reason that is written down.
    let kscope = count(|known| known.kscope);
    let reasons = count(|known| known.kscope && known.reason.is_some());
    assert!(kscope >= libbpf + reasons, "{kscope}");
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

/// Compares one part of the whole corpus; the parts together are all of it.
fn compare_all(part: usize) {
    let record = record();
    let objects: Vec<&Known> = record.iter().skip(part).step_by(PARTS).collect();
    compare(&objects);
}

/// One test for each part, so that each ends within the time limit of a test.
macro_rules! parts {
    ($($name:ident $part:literal)*) => {
        /// How many parts there are.
        const PARTS: usize = [$($part),*].len();
        $(
            #[test]
            #[ignore = "compiles and loads some 60 objects"]
            fn $name() {
                compare_all($part);
            }
        )*
    };
}

parts! {
    all_load_as_with_libbpf_1 0
    all_load_as_with_libbpf_2 1
    all_load_as_with_libbpf_3 2
    all_load_as_with_libbpf_4 3
    all_load_as_with_libbpf_5 4
    all_load_as_with_libbpf_6 5
    all_load_as_with_libbpf_7 6
    all_load_as_with_libbpf_8 7
}
