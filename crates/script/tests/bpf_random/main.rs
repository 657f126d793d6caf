//! Random functions: what the IR means, and what the emitted code does in an eBPF interpreter
//! that shares nothing with it, are the same; with the passes and without.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads how many functions to try"
)]

mod evaluate;
mod generate;

use kscope_script::bpf::{self, Code, Emit, Scratch};
use kscope_script::ir::{self, Function};
use kscope_spec::check::{self, ProblemKind};
use kscope_spec::{
    AttachKind, LateKind, LateValue, MapId, MapKind, MapSpec, ProgramId, ProgramSpec, ProgramType,
    Spec, disasm,
};
use kscope_testkit::interpreter::{Machine, World};

use evaluate::Outcome;
use generate::Random;

/// Bytes of context.
const CTX_SIZE: u32 = 96;
/// The array that programs work on.
const MAP: MapId = MapId(0);
const ENTRIES: u32 = 4;
const VALUE_SIZE: u32 = 64;
const SCRATCH: MapId = MapId(1);
/// What the loader fills in.
const LATE: u64 = 0x1234_5678_9abc_def0;

fn helper_result(helper: u32) -> u64 {
    let world = World::default();
    match helper {
        5 => world.clock,
        14 => world.pid_tgid,
        15 => world.uid_gid,
        _ => panic!("helper {helper}"),
    }
}

fn array(name: &str, kind: MapKind, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec {
        name: name.to_owned(),
        kind,
        key_size: 4,
        value_size,
        max_entries,
        flags: 0,
        initial: None,
        frozen: false,
        ..MapSpec::default()
    }
}

fn spec(code: Code) -> Spec {
    let program = ProgramSpec {
        name: "random".to_owned(),
        kind: ProgramType::RawTracepoint,
        attach: AttachKind::None,
        insns: code.insns,
        relocs: code.relocs,
        lines: vec![],
        funcs: vec![],
        flags: 0,
        ..ProgramSpec::default()
    };
    Spec {
        maps: vec![
            array("entries", MapKind::Array, VALUE_SIZE, ENTRIES),
            array("scratch", MapKind::PerCpuArray, code.scratch_size.max(8), 2),
        ],
        programs: vec![program],
        late: vec![LateValue {
            name: "late".to_owned(),
            kind: LateKind::Number,
        }],
        files: vec![],
        license: "GPL".to_owned(),
        ..Spec::default()
    }
}

fn execute(spec: &Spec, ctx: &[u8]) -> Result<Outcome, String> {
    let problems = check::program(spec, &spec.programs[0]);
    // The check follows ways that known numbers close; what runs is checked by the machine.
    let problem = problems.iter().find(|p| {
        !matches!(
            p.kind,
            ProblemKind::StackRange { .. } | ProblemKind::ObjectRange { .. }
        )
    });
    if let Some(problem) = problem {
        return Err(problem.to_string());
    }
    let mut machine = Machine::new(spec);
    machine.set_late("late", LATE);
    let mut ctx = ctx.to_vec();
    let result = machine
        .run(ProgramId(0), &mut ctx)
        .map_err(|fault| fault.to_string())?;
    let view = machine.map(MAP).unwrap();
    let entries = (0..ENTRIES)
        .map(|i| {
            view.get(&i.to_le_bytes())
                .unwrap_or(vec![0; VALUE_SIZE as usize])
        })
        .collect();
    Ok(Outcome { result, entries })
}

fn compare(seed: u64, function: &Function, expected: &Outcome, ctx: &[u8]) {
    let scratch = Some(Scratch {
        map: SCRATCH,
        entry: 1,
    });
    let code = match bpf::emit(
        function,
        &Emit {
            scratch,
            late: None,
            scratch_start: 0,
        },
    ) {
        Ok(code) => code,
        Err(error) => panic!("seed {seed}: {error}\n{function}"),
    };
    let spec = spec(code);
    match execute(&spec, ctx) {
        Ok(outcome) if outcome == *expected => {}
        other => panic!(
            "seed {seed}: expected {expected:x?}, got {other:x?}\n{function}\n{}",
            disasm::insns(&spec.programs[0].insns)
        ),
    }
}

fn context(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed ^ 0x55);
    (0..CTX_SIZE).map(|_| random.next() as u8).collect()
}

/// `KSCOPE_RANDOM` changes how many functions are tried.
fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("KSCOPE_RANDOM")
        .ok()
        .and_then(|n| n.parse().ok());
    1..count.unwrap_or(300)
}

fn check(seed: u64, passes: bool) {
    let mut function = generate::function(seed);
    let ctx = context(seed);
    let Some(expected) = evaluate::run(&function, &ctx, &evaluate::fresh_entries()) else {
        panic!("seed {seed} does not end");
    };
    if let Err(errors) = ir::verify(&function) {
        panic!("seed {seed}: {}\n{function}", errors[0]);
    }
    if passes {
        let before = function.to_string();
        ir::optimize(&mut function);
        if let Err(errors) = ir::verify(&function) {
            panic!("seed {seed}: {}\n{before}\n{function}", errors[0]);
        }
        let outcome = evaluate::run(&function, &ctx, &evaluate::fresh_entries());
        assert!(
            outcome.as_ref() == Some(&expected),
            "seed {seed}: expected {expected:x?}, got {outcome:x?}\n{before}\n{function}"
        );
    }
    compare(seed, &function, &expected, &ctx);
}

#[test]
fn without_passes() {
    for seed in seeds() {
        check(seed, false);
    }
}

#[test]
fn with_passes() {
    for seed in seeds() {
        check(seed, true);
    }
}
