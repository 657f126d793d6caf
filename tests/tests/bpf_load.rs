//! The loader on a kernel: programs loaded, run by themselves, refused.

use kscope_bpf::spec::{AttachKind, LateKind, MapId, MapKind, ProgramId, ProgramType};
use kscope_bpf::sys::real_kernel;
use kscope_bpf::{Error, Loader, RunStats, TestInput};
use kscope_tests::assembly::{Assembly, kernel_types};
use kscope_tests::{kernel_or_skip, skip};

/// Runs a raw tracepoint program once on the given arguments.
#[track_caller]
fn check(assembly: &Assembly, arguments: &[u64], expected: u32) {
    let Ok(kernel) = kscope_tests::assembly::privileged() else {
        kscope_tests::skipped("root", "needs root");
        return;
    };
    let object = assembly.load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let context: Vec<u8> = arguments
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    let input = TestInput {
        context: &context,
        ..TestInput::default()
    };
    assert_eq!(program.test_run(&input).expect("runs").result, expected);
}

#[test]
fn a_program_returns_what_it_computes() {
    check(&Assembly::new().raw("answer", "r0 = 42\nexit"), &[], 42);
    let sum = "r0 = *(u64 *)(r1 + 0)\nr2 = *(u64 *)(r1 + 8)\nr0 += r2\nexit";
    check(&Assembly::new().raw("sum", sum), &[40, 2], 42);
}

#[test]
fn late_values_are_filled_in() {
    let kernel = kernel_or_skip!();
    let assembly = Assembly::new()
        .late("opt.pid", LateKind::Number)
        .late("cpus", LateKind::CpuCount)
        .late("pid", LateKind::OwnPid)
        .late("ns", LateKind::PidNamespaceInode)
        .late("dev", LateKind::PidNamespaceDev)
        .late("symbol", LateKind::KernelSymbol("kfree".to_owned()))
        .raw("number", "r0 = late(opt.pid) ll\nexit")
        .raw("high", "r0 = late(opt.pid) ll\nr0 >>= 32\nexit")
        .raw("cpus", "r0 = late(cpus) ll\nexit")
        // 1 where the pid is the one the kernel sees, in the initial namespace.
        .raw(
            "pid",
            "call get_current_pid_tgid\nr0 >>= 32\nr1 = late(pid) ll\n\
             if r0 == r1 goto same\nr0 = 0\nexit\nsame: r0 = 1\nexit",
        )
        .raw("symbol", "r0 = late(symbol) ll\nexit");
    let resolve = |name: &str| (name == "kfree").then_some(0xffff_ffff_8123_4567);
    let object = Loader::new(kernel)
        .late("opt.pid", 0x1234_5678_9abc_def0)
        .symbols(&resolve)
        .load(&assembly.spec)
        .expect("no maps");
    let run = |id: u32| {
        let program = object.program(ProgramId(id)).expect("loaded");
        program
            .test_run(&TestInput::default())
            .expect("runs")
            .result
    };
    assert_eq!(run(0), 0x9abc_def0);
    assert_eq!(run(1), 0x1234_5678);
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs");
    let possible = kscope_bpf::sys::parse_cpu_list(&possible)
        .expect("a list")
        .len();
    assert_eq!(run(2) as usize, possible);
    assert_eq!(run(3), 1);
    assert_eq!(run(4), 0x8123_4567);
}

#[test]
fn a_late_value_that_nobody_gives_fails_its_program_alone() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .late("opt.pid", LateKind::Number)
        .raw("first", "r0 = late(opt.pid) ll\nexit")
        .raw("second", "r0 = 1\nexit")
        .load(&kernel)
        .expect("no maps");
    let error = object.program(ProgramId(0)).expect_err("no value");
    assert_eq!(error.to_string(), "no value was given for opt.pid");
    assert!(object.program(ProgramId(1)).is_ok());
}

#[test]
fn constants_lie_in_frozen_maps() {
    let kernel = kernel_or_skip!();
    let mut assembly = Assembly::new().map("consts", MapKind::Array, (4, 16), 1);
    // BPF_F_RDONLY_PROG
    assembly.spec.maps[0].flags = 1 << 7;
    assembly.spec.maps[0].initial = Some([7u64, 35].map(u64::to_ne_bytes).concat());
    assembly.spec.maps[0].frozen = true;
    let text = "r1 = map_value(consts) 0 ll\nr2 = map_value(consts) 8 ll\n\
                r0 = *(u64 *)(r1 + 0)\nr2 = *(u64 *)(r2 + 0)\nr0 += r2\nexit";
    let assembly = assembly.raw("consts", text);
    check(&assembly, &[], 42);
    let object = assembly.load_all(&kernel);
    let map = object.map(MapId(0)).expect("one map");
    let error = map
        .update(&[0; 4], &[0; 16], kscope_bpf::UpdateMode::Any)
        .expect_err("frozen");
    let expected =
        "BPF_MAP_UPDATE_ELEM of map consts, which is frozen: EPERM (Operation not permitted)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn callbacks_are_addressed() {
    let kernel = kernel_or_skip!();
    // bpf_loop(10, fn_add, &sum, 0)
    let text = "*(u64 *)(r10 - 8) = 0\nr1 = 10\nr2 = func(fn_add) ll\nr3 = r10\nr3 += -8\nr4 = 0\n\
                call loop\nr0 = *(u64 *)(r10 - 8)\nexit\n\
                fn_add: r3 = *(u64 *)(r2 + 0)\nr3 += r1\n*(u64 *)(r2 + 0) = r3\nr0 = 0\nexit";
    let assembly = Assembly::new().raw("loops", text);
    let object = assembly.load(&kernel).expect("no maps");
    match object.program(ProgramId(0)) {
        Ok(program) => {
            assert_eq!(
                program
                    .test_run(&TestInput::default())
                    .expect("runs")
                    .result,
                45
            );
        }
        // The helper is named, whatever such a kernel says.
        Err(error @ Error::Unsupported { .. }) => {
            let said = "this kernel has no helper bpf_loop, which program loops calls (it comes with Linux 5.17)";
            assert_eq!(error.to_string(), said);
            skip!("bpf_loop", "{error}")
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_refusal_names_line_and_instruction_and_takes_no_other_program() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .raw(
            "bad",
            "r0 = 0\nr1 = *(u64 *)(r1 + 0)\n\nr2 = *(u64 *)(r1 + 0)\nexit",
        )
        .raw("good", "r0 = 1\nexit")
        .load(&kernel)
        .expect("no maps");
    assert!(object.program(ProgramId(1)).is_ok());
    let failed = object.failures().next().expect("one");
    assert_eq!((failed.id, failed.name.as_str()), (ProgramId(0), "bad"));
    let Error::Rejected { log, program, .. } = &failed.error else {
        panic!("{:?}", failed.error);
    };
    assert_eq!(program, "bad");
    assert_eq!(log.insn, Some(2), "{log}");
    assert!(
        log.telling_line.starts_with("R1 invalid mem access"),
        "{log}"
    );
    assert!(log.verified_insns.is_some(), "{log}");
    // The fourth line: an empty one lies between.
    assert_eq!(failed.place.map(|place| place.line), Some(4));
    let text = failed.to_string();
    assert!(
        text.starts_with("the verifier refused program bad: R1 "),
        "{text}"
    );
    assert!(text.ends_with(":4, instruction 2)"), "{text}");
    // The verifier quotes the source, so lines and functions were given to it.
    assert!(log.text.contains("; r2 = *(u64 *)(r1 + 0)"), "{log}");
}

#[test]
fn a_refusal_fails_everything_if_asked() {
    let kernel = kernel_or_skip!();
    let assembly = Assembly::new().raw("bad", "r0 = r9\nexit");
    let error = Loader::new(kernel)
        .all_or_nothing()
        .load(&assembly.spec)
        .expect_err("refused");
    assert!(matches!(error, Error::Rejected { .. }), "{error}");
}

#[test]
fn unreachable_instructions_are_named() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .raw("dead", "r0 = 0\nexit\nr0 = 1\nexit")
        .load(&kernel);
    let object = object.expect("no maps");
    let Err(Error::Rejected { log, .. }) = object.program(ProgramId(0)) else {
        panic!("accepted");
    };
    assert_eq!(
        (log.telling_line.as_str(), log.insn),
        ("unreachable insn 2", Some(2))
    );
}

#[test]
fn a_program_runs_on_the_cpu_asked_for() {
    let kernel = kernel_or_skip!();
    let online = kernel.cpus(kscope_bpf::sys::CpuSet::Online).expect("sysfs");
    let object = Assembly::new()
        .raw("cpu", "call get_smp_processor_id\nexit")
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    for cpu in online {
        let input = TestInput {
            cpu: Some(cpu),
            ..TestInput::default()
        };
        assert_eq!(program.test_run(&input).expect("runs").result, cpu);
    }
}

#[test]
fn packets_go_in_and_come_out() {
    let kernel = kernel_or_skip!();
    // Writes a byte to the packet's begin, and lets it pass (2).
    let text = "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 1\n\
                if r4 > r3 goto out\n*(u8 *)(r2 + 0) = 99\nout: r0 = 2\nexit";
    let object = Assembly::new()
        .program("xdp", ProgramType::Xdp, AttachKind::None, text)
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let data = [1; 64];
    let output = program.test_run(&TestInput {
        data: &data,
        repeat: 10,
        ..TestInput::default()
    });
    let output = output.expect("runs");
    assert_eq!((output.result, output.data.len()), (2, 64));
    assert_eq!(output.data[..2], [99, 1]);
}

#[test]
fn types_that_cannot_be_run_say_so() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .program(
            "tp",
            ProgramType::Tracepoint,
            AttachKind::None,
            "r0 = 0\nexit",
        )
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let error = program
        .test_run(&TestInput::default())
        .expect_err("no such thing");
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn runs_are_counted_while_statistics_are_on() {
    let kernel = kernel_or_skip!();
    let object = Assembly::new()
        .raw("counted", "r0 = 0\nexit")
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let stats = RunStats::enable(&kernel).expect("root may");
    for _ in 0..5 {
        program.test_run(&TestInput::default()).expect("runs");
    }
    drop(stats);
    let info = program.info().expect("described");
    assert_eq!(info.runs, 5);
    assert!(info.run_time > 0);
    assert!(info.translated_bytes >= 16);
}

#[test]
fn typed_programs_find_what_they_attach_to() {
    let kernel = kernel_or_skip!();
    if kernel_types().is_none() {
        skip!("btf", "the kernel has no BTF");
    }
    let typed = |name: &str| {
        let attach = AttachKind::RawTracepointBtf(name.to_owned());
        let assembly = Assembly::new().program("t", ProgramType::Tracing, attach, "r0 = 0\nexit");
        let object = assembly.load(&kernel).expect("no maps");
        object.program(ProgramId(0)).map(drop)
    };
    assert_eq!(typed("sched_switch"), Ok(()));
    let error = typed("no_such_thing").expect_err("absent");
    assert_eq!(
        error.to_string(),
        "there is no BTF-typed tracepoint no_such_thing"
    );
    let attach = AttachKind::RawTracepointBtf("sched_switch".to_owned());
    let spec = Assembly::new()
        .program("t", ProgramType::Tracing, attach, "r0 = 0\nexit")
        .spec;
    // Nobody gives the kernel's types: they are opened.
    let object = Loader::new(kernel.clone()).load(&spec).expect("no maps");
    assert!(object.program(ProgramId(0)).is_ok());
}

#[test]
fn a_user_without_privilege_is_told_what_is_missing() {
    let kernel = real_kernel();
    if kernel
        .capabilities()
        .is_ok_and(|have| have & (1 << 21) != 0)
    {
        skip!("no-root", "runs as root");
    }
    let object = Assembly::new()
        .raw("any", "r0 = 0\nexit")
        .load(&kernel)
        .expect("no maps");
    let error = object.program(ProgramId(0)).expect_err("no privilege");
    assert_eq!(
        error.to_string(),
        "BPF_PROG_LOAD is not permitted: the process lacks CAP_BPF and CAP_PERFMON"
    );
}
