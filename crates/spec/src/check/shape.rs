//! The shape of a program: instruction starts, functions, edges, and what no path reaches.

use super::{Problem, ProblemKind};
use crate::insn::{AluOp, Callee, Op, Operand, Pseudo, Reg, Width};
use crate::object::{ProgramSpec, RelocKind, Spec};
use std::collections::BTreeSet;

/// A program whose edges all lead to instructions.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// The operation that starts at each slot; none on second slots.
    pub(super) ops: Vec<Option<Op>>,
    /// Where functions start, ascending, 0 the first.
    pub(super) starts: Vec<usize>,
    /// Slots that are the target of a jump.
    pub(super) leaders: BTreeSet<usize>,
}

impl Shape {
    /// Gives the end of the function that holds the slot.
    pub(super) fn end_of(&self, slot: usize) -> usize {
        self.starts
            .iter()
            .copied()
            .find(|start| *start > slot)
            .unwrap_or(self.ops.len())
    }

    /// Gives the start of the function that holds the slot.
    pub(super) fn start_of(&self, slot: usize) -> usize {
        let after = self.starts.partition_point(|start| *start <= slot);
        self.starts
            .get(after.saturating_sub(1))
            .copied()
            .unwrap_or(0)
    }

    /// Gives the slot after the instruction.
    pub(super) fn next(&self, slot: usize) -> usize {
        match self.ops.get(slot) {
            Some(Some(Op::LoadImm64 { .. })) => slot.saturating_add(2),
            _ => slot.saturating_add(1),
        }
    }

    /// Gives the slots that jumps of the instruction lead to (calls are not jumps).
    pub(super) fn jump(&self, slot: usize) -> Option<usize> {
        match self.ops.get(slot) {
            Some(Some(Op::Jump { off, .. })) => target(slot, *off),
            Some(Some(Op::Branch { off, .. })) => target(slot, i32::from(*off)),
            _ => None,
        }
    }

    /// Tells whether control goes on after the instruction.
    pub(super) fn falls_through(&self, slot: usize) -> bool {
        !matches!(self.ops.get(slot), Some(Some(Op::Exit | Op::Jump { .. })))
    }
}

/// Gives the slot a distance leads to.
pub(super) fn far(slot: usize, off: i32) -> i64 {
    i64::try_from(slot)
        .unwrap_or(i64::MAX)
        .saturating_add(1)
        .saturating_add(i64::from(off))
}

/// Gives the slot a distance leads to, if it is not negative.
pub(super) fn target(slot: usize, off: i32) -> Option<usize> {
    usize::try_from(far(slot, off)).ok()
}

/// Gives the subprogram whose address the instruction takes.
pub(super) fn func_reference(program: &ProgramSpec, slot: usize, op: Op) -> Option<i64> {
    let Op::LoadImm64 { kind, low, .. } = op else {
        return None;
    };
    if kind == Pseudo::Func {
        return Some(far(slot, low));
    }
    program.relocs.iter().find_map(|reloc| match reloc.kind {
        RelocKind::Func(to) if usize::try_from(reloc.insn) == Ok(slot) => Some(i64::from(to)),
        _ => None,
    })
}

/// Reads the shape and reports what is wrong with it.
pub(super) fn read(spec: &Spec, program: &ProgramSpec) -> (Shape, Vec<Problem>) {
    let mut reader = Reader {
        shape: Shape::default(),
        problems: Vec::new(),
    };
    if program.insns.is_empty() {
        reader.report(0, ProblemKind::Empty);
    } else {
        reader.ops(program);
        reader.tables(spec, program);
        reader.edges(program);
        if reader.problems.is_empty() {
            reader.reach(program);
        }
    }
    (reader.shape, reader.problems)
}

struct Reader {
    shape: Shape,
    problems: Vec<Problem>,
}

impl Reader {
    fn report(&mut self, slot: usize, kind: ProblemKind) {
        let insn = u32::try_from(slot).unwrap_or(u32::MAX);
        self.problems.push(Problem { insn, kind });
    }

    fn ops(&mut self, program: &ProgramSpec) {
        let mut slot = 0;
        while let Some(insn) = program.insns.get(slot) {
            match insn.op() {
                Ok(op) => {
                    self.shape.ops.push(Some(op));
                    self.fields(slot, op);
                }
                Err(bad) => {
                    self.report(slot, ProblemKind::Bad(bad));
                    self.shape.ops.push(None);
                }
            }
            if insn.is_wide() {
                match program.insns.get(slot.saturating_add(1)) {
                    None => self.report(slot, ProblemKind::HalfWide),
                    Some(high) => {
                        if (high.code, high.dst, high.src, high.off) != (0, 0, 0, 0) {
                            self.report(slot, ProblemKind::DirtyHighHalf);
                        }
                        self.shape.ops.push(None);
                    }
                }
            }
            slot = slot.saturating_add(insn.slots());
        }
    }

    /// Checks what one instruction alone tells.
    fn fields(&mut self, slot: usize, op: Op) {
        if op.writes() == Some(Reg::FP) {
            self.report(slot, ProblemKind::FrameWritten);
        }
        if let Op::Alu {
            width,
            op,
            src: Operand::Imm(imm),
            ..
        } = op
        {
            match op {
                AluOp::Div | AluOp::Mod | AluOp::SDiv | AluOp::SMod if imm == 0 => {
                    self.report(slot, ProblemKind::DivisionByZero);
                }
                AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => {
                    let bits = if width == Width::W64 { 64 } else { 32 };
                    if !(0..bits).contains(&imm) {
                        self.report(slot, ProblemKind::Shift(imm));
                    }
                }
                _ => {}
            }
        }
    }

    fn is_start(&self, slot: usize) -> bool {
        matches!(self.shape.ops.get(slot), Some(Some(_)))
    }

    fn tables(&mut self, spec: &Spec, program: &ProgramSpec) {
        let mut starts = BTreeSet::from([0]);
        for reloc in &program.relocs {
            let slot = usize::try_from(reloc.insn).unwrap_or(usize::MAX);
            let op = self.shape.ops.get(slot).copied().flatten();
            let external_call =
                matches!(op, Some(Op::Call(_))) && matches!(reloc.kind, RelocKind::Extern(_));
            if !external_call && !matches!(op, Some(Op::LoadImm64 { .. })) {
                self.report(slot, ProblemKind::Misplaced("relocation"));
            }
            let (table, index, what) = match reloc.kind {
                RelocKind::Map(id) | RelocKind::MapValue { map: id, .. } => {
                    (spec.maps.len(), id.0, "map")
                }
                RelocKind::Late(id) => (spec.late.len(), id.0, "late value"),
                RelocKind::Extern(id) => (spec.externs.len(), id.0, "external symbol"),
                RelocKind::Func(_) => continue,
            };
            if usize::try_from(index).map_or(true, |index| index >= table) {
                self.report(slot, ProblemKind::Dangling(what));
            }
        }
        for line in &program.lines {
            let slot = usize::try_from(line.insn).unwrap_or(usize::MAX);
            if !self.is_start(slot) {
                self.report(slot, ProblemKind::Misplaced("source line"));
            }
            if usize::try_from(line.file).map_or(true, |file| file >= spec.files.len()) {
                self.report(slot, ProblemKind::Dangling("source file"));
            }
        }
        if program
            .lines
            .windows(2)
            .any(|pair| pair[0].insn >= pair[1].insn)
        {
            self.report(
                0,
                ProblemKind::Misplaced("list of source lines out of order"),
            );
        }
        for func in &program.funcs {
            let slot = usize::try_from(func.insn).unwrap_or(usize::MAX);
            if self.is_start(slot) {
                starts.insert(slot);
            } else {
                self.report(slot, ProblemKind::Misplaced("function"));
            }
        }
        for slot in 0..self.shape.ops.len() {
            let Some(Some(op)) = self.shape.ops.get(slot).copied() else {
                continue;
            };
            let to = match op {
                Op::Call(Callee::Local(distance)) => Some(far(slot, distance)),
                _ => func_reference(program, slot, op),
            };
            if let Some(to) = to {
                if let Some(to) = self.lands(slot, to) {
                    starts.insert(to);
                }
            }
        }
        self.shape.starts = starts.into_iter().collect();
    }

    /// Demands that a distance leads to an instruction of the program.
    fn lands(&mut self, slot: usize, to: i64) -> Option<usize> {
        let found = usize::try_from(to)
            .ok()
            .filter(|to| *to < self.shape.ops.len());
        match found {
            None => self.report(slot, ProblemKind::Outside(to)),
            Some(to) if !self.is_start(to) => {
                self.report(slot, ProblemKind::IntoWide(to as i64));
            }
            Some(_) => {}
        }
        found.filter(|to| self.is_start(*to))
    }

    fn edges(&mut self, program: &ProgramSpec) {
        for slot in 0..self.shape.ops.len().min(program.insns.len()) {
            let off = match self.shape.ops.get(slot).copied().flatten() {
                Some(Op::Jump { off, .. }) => off,
                Some(Op::Branch { off, .. }) => i32::from(off),
                _ => continue,
            };
            let to = far(slot, off);
            if let Some(at) = self.lands(slot, to) {
                if self.shape.start_of(at) == self.shape.start_of(slot) {
                    self.shape.leaders.insert(at);
                } else {
                    self.report(slot, ProblemKind::Outside(to));
                }
            }
        }
    }

    fn reach(&mut self, program: &ProgramSpec) {
        let len = self.shape.ops.len();
        let mut seen = vec![false; len];
        let mut open = vec![0];
        let mut falls = Vec::new();
        while let Some(slot) = open.pop() {
            match seen.get_mut(slot) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            let Some(op) = self.shape.ops.get(slot).copied().flatten() else {
                continue;
            };
            open.extend(self.shape.jump(slot));
            if let Op::Call(Callee::Local(distance)) = op {
                open.extend(target(slot, distance));
            }
            if let Some(to) = func_reference(program, slot, op) {
                open.extend(usize::try_from(to));
            }
            if self.shape.falls_through(slot) {
                let next = self.shape.next(slot);
                if next >= self.shape.end_of(slot) {
                    falls.push(slot);
                } else {
                    open.push(next);
                }
            }
        }
        for slot in falls {
            self.report(slot, ProblemKind::FallsOff);
        }
        // One report for each run of slots that nothing reaches.
        let mut before = true;
        for (slot, seen) in seen.into_iter().enumerate() {
            if !self.is_start(slot) {
                continue;
            }
            if !seen && before {
                self.report(slot, ProblemKind::Unreachable);
            }
            before = seen;
        }
    }
}
