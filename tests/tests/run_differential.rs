//! Random scripts do the same in the kernel and in the interpreter, with the passes and without.
//!
//! A script is compiled once for each; the same Spec then runs by `BPF_PROG_TEST_RUN` and in the
//! interpreter of the test kit, over random arguments. What it sends and what its maps hold in
//! the end must be equal. `KSCOPE_RANDOM` changes how many scripts are tried.

#[path = "run_differential/generate.rs"]
mod generate;

use std::time::{Duration, Instant};

use kscope_bpf::sys::{CpuSet, Errno, SharedKernel};
use kscope_bpf::{Error, Features, Loader, Object, RingBuffer, TestInput};
use kscope_rows::{Unresolved, Value, decode_field};
use kscope_script::Compiled;
use kscope_script::catalogue::TextCatalogue;
use kscope_script::compile::{self, Options};
use kscope_script::plan::{EventMap, Plan};
use kscope_script::types::Inputs;
use kscope_spec::helper::FOR_EACH_MAP_ELEM;
use kscope_spec::{ProgramId, ProgramType};
use kscope_testkit::interpreter::{Event, Machine, World};
use kscope_tests::assembly::kernel_types;
use kscope_tests::kernel_or_skip;
use kscope_tests::random::Random;

const CATALOGUE: &str = "kscope catalogue 1\nrawtracepoint sched_switch\n";
/// Arguments of a raw tracepoint.
const ARGUMENTS: usize = 12;
/// Runs of each script.
const RUNS: u64 = 5;
/// Scripts that are tried, and when to be content with fewer.
const SCRIPTS: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(10);

/// Compiles a script, with the kernel's types or for any kernel.
fn compile(source: &str, optimize: bool, typed: bool) -> Compiled {
    let catalogue = TextCatalogue::parse(CATALOGUE).expect("a catalogue");
    let mut inputs = Inputs::new(&catalogue);
    inputs.btf = typed.then(kernel_types).flatten();
    let done = compile::compile("random", source, &inputs, Options { optimize });
    match done.compiled {
        Some(compiled) => compiled,
        None => panic!("{source}\n{:?}", done.diagnostics),
    }
}

/// The entries of a map: keys with their values.
type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// What a script did: its results, what it sent, and the entries of its maps by key.
#[derive(Debug, PartialEq)]
struct Outcome {
    results: Vec<u64>,
    events: Vec<(u32, Vec<Value>)>,
    maps: Vec<(String, Entries)>,
}

/// Reads an event; what follows the NUL of a string is not part of it.
fn decode(plan: &Plan, bytes: &[u8]) -> (u32, Vec<Value>) {
    let number = u32::from_le_bytes(bytes[..4].try_into().expect("a header"));
    let site = &plan.sites[number as usize];
    let values = site.fields.iter();
    let values = values.map(|field| decode_field(field, bytes, &Unresolved));
    (number, values.collect())
}

fn interpret(compiled: &Compiled, contexts: &[Vec<u8>], cpus: u32) -> Result<Outcome, String> {
    let world = World {
        cpus,
        ..World::default()
    };
    let mut machine = Machine::with_world(&compiled.spec, world);
    let mut results = Vec::new();
    for context in contexts {
        let mut context = context.clone();
        let result = machine.run(ProgramId(0), &mut context);
        results.push(result.map_err(|fault| fault.to_string())?);
    }
    let plan = &compiled.plan;
    let events = machine.events().iter().map(|event| match event {
        Event::Ring { data, .. } => decode(plan, data),
        other => panic!("{other:?}"),
    });
    let maps = plan.maps.iter().map(|map| {
        let view = machine.map(map.map).expect("a map");
        let entries = match map.key {
            Some(_) => view.entries(),
            None => vec![(vec![0; 4], view.get(&[0; 4]).expect("an entry"))],
        };
        (map.name.clone(), entries)
    });
    Ok(Outcome {
        results,
        events: events.collect(),
        maps: maps.collect(),
    })
}

/// Loads a script; none where the verifier has no patience for so many ways through it.
fn load(kernel: &SharedKernel, compiled: &Compiled) -> Result<Option<Object>, Error> {
    let loader = Loader::new(kernel.clone())
        .btf(kernel_types())
        .all_or_nothing();
    match loader.load(&compiled.spec) {
        Err(Error::Rejected { errno, log, .. }) if too_complex(errno, &log.text) => Ok(None),
        loaded => loaded.map(Some),
    }
}

/// Says whether the verifier gave up, which is no verdict: by its limit of instructions, or of
/// branches it keeps in mind.
fn too_complex(errno: Errno, log: &str) -> bool {
    errno == Errno::TOO_BIG || log.contains("jumps is too complex")
}

fn execute(object: &Object, compiled: &Compiled, contexts: &[Vec<u8>]) -> Result<Outcome, Error> {
    let plan = &compiled.plan;
    let program = object.program(ProgramId(0))?;
    let ring = match plan.service.events {
        Some(EventMap::Ring(map)) => object.map(map),
        _ => None,
    };
    let mut ring = RingBuffer::new(ring.as_slice())?;
    let mut results = Vec::new();
    let mut events = Vec::new();
    for context in contexts {
        let input = TestInput {
            context,
            cpu: Some(0),
            ..TestInput::default()
        };
        results.push(u64::from(program.test_run(&input)?.result));
        ring.for_each(&mut |bytes| events.push(decode(plan, bytes)))?;
    }
    let mut maps = Vec::new();
    for map in &plan.maps {
        let kernel_map = object.map(map.map).expect("a map");
        let mut entries = Vec::new();
        if map.key.is_some() {
            for entry in kernel_map.snapshot()?.entries() {
                let value: Vec<u8> = entry.values().flatten().copied().collect();
                entries.push((entry.key.to_vec(), value));
            }
            entries.sort();
        } else {
            let value = kernel_map.lookup(&[0; 4])?.expect("an entry");
            entries.push((vec![0; 4], value));
        }
        maps.push((map.name.clone(), entries));
    }
    Ok(Outcome {
        results,
        events,
        maps,
    })
}

fn contexts(seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed ^ 0x5eed);
    let context = |_| {
        let words = (0..ARGUMENTS).map(|_| random.number());
        words.flat_map(i64::to_le_bytes).collect()
    };
    (0..RUNS).map(context).collect()
}

/// Gives whether the kernel took the script, with and without passes.
fn check(kernel: &SharedKernel, cpus: u32, seed: u64, loops_over_maps: bool) -> bool {
    let can = generate::Can {
        open_ranges: std::env::var_os("KSCOPE_GUEST").is_none(),
        loops_over_maps,
    };
    let source = generate::script(seed, can);
    let contexts = contexts(seed);
    let mut expected: Option<Outcome> = None;
    for optimize in [false, true] {
        let compiled = compile(&source, optimize, seed % 2 == 0);
        let by_interpreter = interpret(&compiled, &contexts, cpus);
        let object = load(kernel, &compiled)
            .unwrap_or_else(|error| panic!("seed {seed}, passes {optimize}: {error}\n{source}"));
        let Some(object) = object else {
            return false;
        };
        let by_kernel = execute(&object, &compiled, &contexts);
        let (by_interpreter, by_kernel) = match (by_interpreter, by_kernel) {
            (Ok(interpreted), Ok(executed)) => (interpreted, executed),
            other => panic!("seed {seed}, passes {optimize}: {other:?}\n{source}"),
        };
        assert_eq!(
            by_interpreter, by_kernel,
            "seed {seed}, passes {optimize}: interpreter and kernel\n{source}"
        );
        if let Some(plain) = &expected {
            assert_eq!(*plain, by_kernel, "seed {seed}: with passes\n{source}");
        }
        expected = Some(by_kernel);
    }
    let done = expected.expect("an outcome");
    assert!(
        !done.events.is_empty(),
        "seed {seed} sends nothing\n{source}"
    );
    true
}

#[test]
fn kernel_and_interpreter_agree() {
    let kernel = kernel_or_skip!();
    let given = std::env::var("KSCOPE_RANDOM").ok();
    let given: Option<u64> = given.and_then(|count| count.parse().ok());
    let cpus = kernel.cpus(CpuSet::Possible).expect("CPUs").len();
    let cpus = u32::try_from(cpus).expect("few CPUs");
    let loops_over_maps = Features::new(kernel.clone(), kernel_types())
        .helper(ProgramType::RawTracepoint, FOR_EACH_MAP_ELEM)
        .is_available();
    let start = Instant::now();
    let (mut tried, mut taken) = (0, 0);
    for seed in 1..=given.unwrap_or(SCRIPTS) {
        // Verifiers are slow where the machine is emulated.
        if given.is_none() && tried >= 4 && start.elapsed() > PATIENCE {
            break;
        }
        tried += 1;
        taken += u64::from(check(&kernel, cpus, seed, loops_over_maps));
    }
    // An emulated machine gets through few, of which the first may be the complex ones.
    let least = if std::env::var_os("KSCOPE_GUEST").is_some() {
        1
    } else {
        tried * 7 / 10
    };
    assert!(taken >= least, "only {taken} of {tried} scripts were taken");
}
