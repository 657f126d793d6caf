use super::only_process;
use kscope_script::plan::{Attach, Config, PLAN_VERSION, Plan, ProbePlan, Rate, ServiceMaps};
use kscope_spec::{
    AttachKind, FuncInfo, LineInfo, ProgramId, ProgramSpec, ProgramType, SourceFile, Spec, asm,
    check,
};
use kscope_testkit::interpreter::{Machine, World};

const PID: u32 = 4242;

/// A program that gives the first word of its context, so 7 here if it ran.
fn spec() -> Spec {
    let mut spec = Spec::default();
    spec.files.push(SourceFile {
        name: "test".to_owned(),
        text: kscope_spec::SourceText::Whole("one\ntwo\n".to_owned()),
    });
    let text = "r0 = *(u64 *)(r1 + 0)\nr1 = 5 ll\nif r0 == 9 goto end\nr0 += 0\nend: exit";
    let code = asm::assemble(text, &spec).expect("assembles");
    let line = |insn, line| LineInfo {
        insn,
        file: 0,
        line,
        column: 1,
    };
    spec.programs.push(ProgramSpec {
        name: "count".to_owned(),
        kind: ProgramType::Tracepoint,
        attach: AttachKind::None,
        insns: code.insns,
        relocs: code.relocs,
        lines: vec![line(0, 1), line(3, 2)],
        funcs: vec![FuncInfo {
            insn: 0,
            name: "count".to_owned(),
            ..FuncInfo::default()
        }],
        flags: 0,
        ..ProgramSpec::default()
    });
    spec
}

fn filtered(attach: Attach) -> Spec {
    let mut spec = spec();
    let plan = Plan {
        probes: vec![ProbePlan {
            patterns: Vec::new(),
            open: false,
            program: ProgramId(0),
            name: "probe".to_owned(),
            attach: vec![attach],
            when: Vec::new(),
        }],
        version: PLAN_VERSION,
        sites: Vec::new(),
        maps: Vec::new(),
        options: Vec::new(),
        config: Config::default(),
        service: ServiceMaps::default(),
    };
    only_process(&mut spec, &plan, PID);
    spec
}

fn tracepoint() -> Attach {
    Attach::Tracepoint {
        category: "sched".to_owned(),
        event: "sched_switch".to_owned(),
    }
}

/// Runs the program in a process and gives its result, in the initial pid namespace or another.
fn run(spec: &Spec, pid: u32, inode: u64) -> u64 {
    let world = World {
        pid_tgid: u64::from(pid) << 32 | 77,
        ..World::default()
    };
    let mut machine = Machine::with_world(spec, world);
    machine.set_late("filter.inode", inode);
    let mut context = [0u8; 64];
    context[0] = 7;
    machine.run(ProgramId(0), &mut context).expect("no fault")
}

#[test]
fn only_the_process_gets_through() {
    let spec = filtered(tracepoint());
    assert_eq!(check::program(&spec, &spec.programs[0]), []);
    for inode in [0, 4_026_531_836] {
        assert_eq!(run(&spec, PID, inode), 7, "namespace {inode}");
        assert_eq!(run(&spec, 77, inode), 0, "namespace {inode}");
        assert_eq!(run(&spec, PID + 1, inode), 0, "namespace {inode}");
    }
}

#[test]
fn probes_of_no_process_stay_as_they_are() {
    let check = |attach: Attach, changed: bool| {
        let name = format!("{attach:?}");
        assert_eq!(filtered(attach) != spec(), changed, "{name}");
    };
    let function = "vfs_read".to_owned();
    check(Attach::Begin, false);
    check(Attach::End, false);
    check(Attach::Signal, false);
    check(Attach::Interval { nanoseconds: 1 }, false);
    check(tracepoint(), true);
    let event = "sys_enter".to_owned();
    check(Attach::RawTracepoint { event }, true);
    let offset = 0;
    check(
        Attach::Kprobe {
            function: function.clone(),
            offset,
        },
        true,
    );
    check(Attach::Kretprobe { function }, true);
    let rate = Rate::Hertz(99);
    check(Attach::Profile { rate }, true);
}

#[test]
fn lines_stay_with_their_instructions() {
    let (before, after) = (spec(), filtered(tracepoint()));
    let (before, after) = (&before.programs[0], &after.programs[0]);
    let by = (after.insns.len() - before.insns.len()) as u32;
    let lines: Vec<_> = after.lines.iter().map(|l| (l.insn, l.line)).collect();
    assert_eq!(lines, [(0, 1), (by, 1), (by + 3, 2)]);
}
