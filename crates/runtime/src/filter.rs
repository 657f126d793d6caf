//! A filter by process, put in front of programs that are already compiled.

use kscope_script::plan::{Attach, Plan};
use kscope_spec::helper;
use kscope_spec::insn::{AluOp, Cond, Insn, Pseudo, Reg, Size};
use kscope_spec::{LateId, LateKind, LateValue, ProgramSpec, Reloc, RelocKind, Spec};

/// Lets the programs of a plan run for one process alone, all its threads included: those of
/// tracepoints, kernel functions and `profile`. `begin`, `end` and `interval` belong to no process.
///
/// The id is the one of the pid namespace that loads the programs.
pub(crate) fn only_process(spec: &mut Spec, plan: &Plan, pid: u32) {
    let mut filtered: Vec<usize> = plan
        .probes
        .iter()
        .filter(|probe| probe.attach.iter().any(belongs_to_a_process))
        .map(|probe| probe.program.0 as usize)
        .collect();
    filtered.sort_unstable();
    filtered.dedup();
    if filtered.is_empty() {
        return;
    }
    let dev = late(spec, LateKind::PidNamespaceDev, "filter.dev");
    let inode = late(spec, LateKind::PidNamespaceInode, "filter.inode");
    for index in filtered {
        if let Some(program) = spec.programs.get_mut(index) {
            prepend(program, &prologue(pid, dev, inode));
        }
    }
}

fn belongs_to_a_process(point: &Attach) -> bool {
    match point {
        Attach::Begin
        | Attach::End
        | Attach::Signal
        | Attach::Interval { .. }
        | Attach::Test { .. }
        | Attach::Bench { .. }
        | Attach::Iterator { .. } => false,
        Attach::Tracepoint { .. }
        | Attach::RawTracepoint { .. }
        | Attach::Kprobe { .. }
        | Attach::Kretprobe { .. }
        | Attach::KprobeAddress { .. }
        | Attach::FunctionEntry { .. }
        | Attach::FunctionExit { .. }
        | Attach::PerfEvent { .. }
        | Attach::Uprobe { .. }
        | Attach::Uretprobe { .. }
        | Attach::Usdt { .. }
        | Attach::Watchpoint { .. }
        | Attach::Profile { .. } => true,
    }
}

/// Gives the late value of a kind, a new one where the Spec has none.
fn late(spec: &mut Spec, kind: LateKind, name: &str) -> LateId {
    let known = spec.late.iter().position(|late| late.kind == kind);
    let index = known.unwrap_or_else(|| {
        let name = name.to_owned();
        spec.late.push(LateValue { name, kind });
        spec.late.len() - 1
    });
    LateId(index as u32)
}

/// What runs before a program: it ends unless the current process is the wanted one.
struct Prologue {
    insns: Vec<Insn>,
    relocs: Vec<Reloc>,
}

fn prologue(pid: u32, dev: LateId, inode: LateId) -> Prologue {
    let load = |dst| Insn::ld_pseudo(dst, Pseudo::Value, 0, 0);
    let below_frame = [
        Insn::mov64(Reg::R3, Reg::FP),
        Insn::alu64_imm(AluOp::Add, Reg::R3, -8),
        Insn::mov64_imm(Reg::R4, 8),
        Insn::call(helper::GET_NS_CURRENT_PID_TGID),
    ];
    let mut insns = vec![
        Insn::mov64(Reg::R6, Reg::R1),
        Insn::call(helper::GET_CURRENT_PID_TGID),
        Insn::mov64(Reg::R7, Reg::R0),
        Insn::alu64_imm(AluOp::Rsh, Reg::R7, 32),
    ];
    let inode_at = insns.len();
    insns.extend(load(Reg::R2));
    // In the initial namespace the number is already the right one.
    insns.push(Insn::jmp64_imm(Cond::Eq, Reg::R2, 0, 8));
    let dev_at = insns.len();
    insns.extend(load(Reg::R1));
    insns.extend(below_frame);
    // A process outside of the namespace has no number in it.
    insns.push(Insn::jmp64_imm(Cond::Ne, Reg::R0, 0, 2));
    // struct bpf_pidns_info { __u32 pid; __u32 tgid; }
    insns.push(Insn::ldx(Size::W, Reg::R7, Reg::FP, -4));
    insns.push(Insn::jmp32_imm(Cond::Eq, Reg::R7, pid as i32, 2));
    insns.push(Insn::mov64_imm(Reg::R0, 0));
    insns.push(Insn::exit());
    insns.push(Insn::mov64(Reg::R1, Reg::R6));
    let reloc = |insn: usize, id| Reloc {
        insn: insn as u32,
        kind: RelocKind::Late(id),
    };
    let relocs = vec![reloc(inode_at, inode), reloc(dev_at, dev)];
    Prologue { insns, relocs }
}

/// Puts instructions in front of a program and moves what refers to its slots.
fn prepend(program: &mut ProgramSpec, prologue: &Prologue) {
    let by = prologue.insns.len() as u32;
    program.insns.splice(0..0, prologue.insns.iter().copied());
    for reloc in &mut program.relocs {
        reloc.insn += by;
        if let RelocKind::Func(start) = &mut reloc.kind {
            *start += by;
        }
    }
    program.relocs.splice(0..0, prologue.relocs.iter().cloned());
    for core in &mut program.core {
        core.insn += by;
    }
    let first = program.lines.first().copied();
    for line in &mut program.lines {
        line.insn += by;
    }
    if let Some(first) = first {
        program.lines.insert(0, first);
    }
    for func in program.funcs.iter_mut().filter(|func| func.insn > 0) {
        func.insn += by;
    }
}

#[cfg(test)]
mod tests;
