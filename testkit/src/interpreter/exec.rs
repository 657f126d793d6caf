//! The loop over instructions.

use super::memory::Purpose;
use super::{Fault, FaultKind, Machine, Space, alu};
use kscope_spec::insn::{AluOp, AtomicOp, BadInsn, Callee, Op, Operand, Pseudo, Reg, Size, Width};
use kscope_spec::{Insn, MapId, ProgramId, ProgramType, RelocKind, helper};

/// Addresses that stand for maps: one page a map.
const MAPS: u64 = 0x6d00_0000_0000_0000;
/// Addresses that stand for subprograms: one byte a slot.
const FUNCS: u64 = 0x6f00_0000_0000_0000;
const PAGE: u64 = 4096;
const FRAMES: usize = 8;
const TAIL_CALLS: usize = 33;

/// A program with its relocations done.
#[derive(Debug)]
pub(super) struct Code {
    ops: Vec<Result<Op, BadInsn>>,
    /// The value of `ld_imm64` at each slot that has one.
    wide: Vec<Option<u64>>,
}

/// How a function ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With `r0`.
    Return(Option<u64>),
    /// With a tail call.
    Tail(ProgramId),
}

/// Registers; those not written are none.
type Regs = [Option<u64>; 11];

/// Gives the map an address stands for.
pub(super) fn map_of(addr: u64) -> Option<MapId> {
    let offset = addr.checked_sub(MAPS)?;
    if offset % PAGE != 0 {
        return None;
    }
    u32::try_from(offset / PAGE).ok().map(MapId)
}

/// Gives the slot an address stands for.
pub(super) fn func_of(addr: u64) -> Option<usize> {
    usize::try_from(addr.checked_sub(FUNCS)?).ok()
}

impl Machine<'_> {
    pub(super) fn fault(&self, slot: usize, kind: FaultKind) -> Fault {
        Fault {
            program: self.running,
            insn: u32::try_from(slot).unwrap_or(u32::MAX),
            kind,
        }
    }

    pub(super) fn start(&mut self, program: ProgramId, ctx: &mut [u8]) -> Result<u64, Fault> {
        self.steps = 0;
        self.running = program;
        let spec = self.spec;
        let writable = spec
            .programs
            .get(program.0 as usize)
            .is_some_and(|program| program.kind == ProgramType::Syscall);
        let region = self.memory.context(ctx, writable);
        let result = self.chain(region);
        if let Some(region) = self.memory.free(region) {
            if region.bytes.len() == ctx.len() {
                ctx.copy_from_slice(&region.bytes);
            }
        }
        let leaked = !self.reserved.is_empty();
        for (addr, _) in std::mem::take(&mut self.reserved) {
            let _ = self.memory.free(addr);
        }
        match result {
            Ok((_, slot)) if leaked => Err(self.fault(slot, FaultKind::LeakedRecord)),
            Ok((value, _)) => Ok(value),
            Err(fault) => Err(fault),
        }
    }

    /// Runs a program and those it tail-calls; gives `r0` and the slot of the exit.
    fn chain(&mut self, ctx: u64) -> Result<(u64, usize), Fault> {
        for _ in 0..=TAIL_CALLS {
            let code = self.load(self.running)?;
            let arguments = [Some(ctx), None, None, None, None];
            match self.frame(&code, 0, arguments, 0)? {
                (End::Return(Some(value)), slot) => return Ok((value, slot)),
                (End::Return(None), slot) => {
                    return Err(self.fault(slot, FaultKind::UnwrittenRegister(Reg::R0)));
                }
                (End::Tail(next), _) => self.running = next,
            }
        }
        Err(self.fault(0, FaultKind::Unsupported("more than 33 tail calls")))
    }

    fn load(&self, program: ProgramId) -> Result<Code, Fault> {
        let spec = self.spec;
        let Some(source) = spec.programs.get(program.0 as usize) else {
            return Err(self.fault(0, FaultKind::NoProgram));
        };
        let mut code = Code {
            ops: source.insns.iter().map(|insn| insn.op()).collect(),
            wide: vec![None; source.insns.len()],
        };
        for (slot, pair) in source.insns.windows(2).enumerate() {
            let (Some(first), Some(second)) = (pair.first(), pair.get(1)) else {
                continue;
            };
            let Some(Ok(Op::LoadImm64 { kind, low, .. })) = code.ops.get(slot) else {
                continue;
            };
            let value = match kind {
                Pseudo::Value => Some(Insn::wide_value([*first, *second])),
                Pseudo::Func => (slot as u64)
                    .checked_add_signed(i64::from(*low) + 1)
                    .map(|to| FUNCS.saturating_add(to)),
                _ => None,
            };
            if let Some(place) = code.wide.get_mut(slot) {
                *place = value;
            }
        }
        for reloc in &source.relocs {
            let slot = reloc.insn as usize;
            let value = match &reloc.kind {
                RelocKind::Map(id) if (id.0 as usize) < self.maps.len() => {
                    Ok(MAPS.saturating_add(u64::from(id.0) * PAGE))
                }
                RelocKind::MapValue { map, offset } => self
                    .map_value(*map)
                    .map(|base| base.saturating_add(u64::from(*offset))),
                RelocKind::Late(id) => self.late_value(id.0),
                RelocKind::Func(to) => Ok(FUNCS.saturating_add(u64::from(*to))),
                RelocKind::Map(_) | RelocKind::Extern(_) => Err(FaultKind::Dangling),
            };
            let value = value.map_err(|kind| self.fault(slot, kind))?;
            let wide = matches!(code.ops.get(slot), Some(Ok(Op::LoadImm64 { .. })));
            match code.wide.get_mut(slot) {
                Some(place) if wide => *place = Some(value),
                _ => return Err(self.fault(slot, FaultKind::Dangling)),
            }
        }
        Ok(code)
    }

    fn map_value(&self, map: MapId) -> Result<u64, FaultKind> {
        let map = self.maps.get(map.0 as usize);
        map.and_then(super::maps::Map::first_value)
            .ok_or(FaultKind::Dangling)
    }

    /// Runs a function in a frame of its own; gives its end and the slot of the exit.
    pub(super) fn frame(
        &mut self,
        code: &Code,
        start: usize,
        arguments: [Option<u64>; 5],
        depth: usize,
    ) -> Result<(End, usize), Fault> {
        if depth >= FRAMES {
            return Err(self.fault(start, FaultKind::StackDepth));
        }
        let stack = self.memory.unwritten(512, Purpose::Stack);
        let mut regs: Regs = [None; 11];
        for (reg, argument) in regs.iter_mut().skip(1).zip(arguments) {
            *reg = argument;
        }
        if let Some(frame) = regs.last_mut() {
            *frame = Some(stack.saturating_add(512));
        }
        let result = self.steps_of(code, start, &mut regs, depth);
        let _ = self.memory.free(stack);
        result
    }

    fn steps_of(
        &mut self,
        code: &Code,
        start: usize,
        regs: &mut Regs,
        depth: usize,
    ) -> Result<(End, usize), Fault> {
        let mut slot = start;
        loop {
            if self.steps >= self.budget {
                return Err(self.fault(slot, FaultKind::Steps));
            }
            self.steps += 1;
            let op = match code.ops.get(slot) {
                None => return Err(self.fault(slot, FaultKind::RanOff)),
                Some(Err(bad)) => return Err(self.fault(slot, FaultKind::Bad(*bad))),
                Some(Ok(op)) => *op,
            };
            let next = match op {
                Op::Exit => return Ok((End::Return(regs[0]), slot)),
                Op::Jump { off, .. } => jump(slot, off),
                Op::Branch {
                    width,
                    cond,
                    dst,
                    src,
                    off,
                } => {
                    let left = self.get(regs, slot, dst)?;
                    let right = self.operand(regs, slot, src)?;
                    let off = if alu::holds(width, cond, left, right) {
                        i32::from(off)
                    } else {
                        0
                    };
                    jump(slot, off)
                }
                Op::LoadImm64 { dst, .. } => {
                    let value = code.wide.get(slot).copied().flatten().ok_or_else(|| {
                        self.fault(slot, FaultKind::Unsupported("this kind of ld_imm64"))
                    })?;
                    self.set(regs, slot, dst, value)?;
                    slot.checked_add(2)
                }
                Op::Call(callee) => {
                    if let Some(end) = self.call(code, slot, callee, regs, depth)? {
                        return Ok((end, slot));
                    }
                    slot.checked_add(1)
                }
                Op::LoadPacket { size, index, off } => {
                    let _ = self.get(regs, slot, Reg::R6)?;
                    let index = match index {
                        Some(index) => self.get(regs, slot, index)?,
                        None => 0,
                    };
                    let at = i64::from(off).checked_add(i64::from(index as u32));
                    let Some(value) = self.packet(at, size) else {
                        return Ok((End::Return(Some(0)), slot));
                    };
                    regs[..6].fill(None);
                    regs[0] = Some(value);
                    slot.checked_add(1)
                }
                _ => {
                    self.simple(slot, op, regs)?;
                    slot.checked_add(1)
                }
            };
            slot = next.ok_or_else(|| self.fault(slot, FaultKind::RanOff))?;
        }
    }

    fn packet(&self, at: Option<i64>, size: Size) -> Option<u64> {
        let at = usize::try_from(at?).ok()?;
        let bytes = self.world.packet.get(at..at.checked_add(size.bytes())?)?;
        let value = bytes
            .iter()
            .fold(0, |all, byte| all << 8 | u64::from(*byte));
        Some(value)
    }

    fn get(&self, regs: &Regs, slot: usize, reg: Reg) -> Result<u64, Fault> {
        let value = regs.get(usize::from(reg.0)).copied().flatten();
        value.ok_or_else(|| self.fault(slot, FaultKind::UnwrittenRegister(reg)))
    }

    fn set(&self, regs: &mut Regs, slot: usize, reg: Reg, value: u64) -> Result<(), Fault> {
        if reg == Reg::FP {
            return Err(self.fault(slot, FaultKind::FrameWritten));
        }
        if let Some(place) = regs.get_mut(usize::from(reg.0)) {
            *place = Some(value);
        }
        Ok(())
    }

    fn operand(&self, regs: &Regs, slot: usize, src: Operand) -> Result<u64, Fault> {
        match src {
            Operand::Reg(reg) => self.get(regs, slot, reg),
            Operand::Imm(imm) => Ok(i64::from(imm) as u64),
        }
    }

    /// Runs an instruction that neither jumps nor calls.
    fn simple(&mut self, slot: usize, op: Op, regs: &mut Regs) -> Result<(), Fault> {
        match op {
            Op::Alu {
                width,
                op,
                dst,
                src,
            } => {
                let right = self.operand(regs, slot, src)?;
                let left = match op {
                    AluOp::Mov => 0,
                    _ => self.get(regs, slot, dst)?,
                };
                self.set(regs, slot, dst, alu::compute(width, op, left, right))
            }
            Op::MovSx {
                width,
                bits,
                dst,
                src,
            } => {
                let value = self.get(regs, slot, src)?;
                self.set(regs, slot, dst, alu::sign_extend(width, bits, value))
            }
            Op::Neg { width, dst } => {
                let value = self.get(regs, slot, dst)?;
                let value = alu::compute(width, AluOp::Sub, 0, value);
                self.set(regs, slot, dst, value)
            }
            Op::Swap { order, bits, dst } => {
                let value = self.get(regs, slot, dst)?;
                self.set(regs, slot, dst, alu::swap(order, bits, value))
            }
            Op::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let addr = self.address(regs, slot, base, off)?;
                let mut value = self
                    .load_from(addr, size)
                    .map_err(|kind| self.fault(slot, kind))?;
                if signed {
                    value = alu::sign_extend(Width::W64, (size.bytes() * 8) as u8, value);
                }
                self.set(regs, slot, dst, value)
            }
            Op::Store {
                size,
                base,
                off,
                src,
            } => {
                let value = self.operand(regs, slot, src)?;
                let addr = self.address(regs, slot, base, off)?;
                self.store_to(addr, size, value)
                    .map_err(|kind| self.fault(slot, kind))
            }
            Op::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => self.atomic(slot, size, op, (base, off), src, regs),
            _ => Err(self.fault(slot, FaultKind::Unsupported("this instruction here"))),
        }
    }

    fn address(&self, regs: &Regs, slot: usize, base: Reg, off: i16) -> Result<u64, Fault> {
        let base = self.get(regs, slot, base)?;
        Ok(base.wrapping_add(i64::from(off) as u64))
    }

    fn load_from(&self, addr: u64, size: Size) -> Result<u64, FaultKind> {
        let bytes = size.bytes() as u64;
        match self.memory.read(addr, bytes) {
            Ok(found) => {
                self.memory.aligned(addr, bytes)?;
                Ok(little(found))
            }
            // A typed kernel pointer that leads nowhere reads as zero.
            Err(FaultKind::OutOfBounds { .. }) if self.world.direct_reads => {
                let found = self.memory.probe_all(Space::Kernel, addr, bytes);
                Ok(found.as_deref().map_or(0, little))
            }
            Err(kind) => Err(kind),
        }
    }

    fn store_to(&mut self, addr: u64, size: Size, value: u64) -> Result<(), FaultKind> {
        self.memory.aligned(addr, size.bytes() as u64)?;
        let bytes = value.to_le_bytes();
        let bytes = bytes.get(..size.bytes()).unwrap_or(&bytes);
        self.memory.write(addr, bytes)
    }

    fn atomic(
        &mut self,
        slot: usize,
        size: Size,
        op: AtomicOp,
        place: (Reg, i16),
        src: Reg,
        regs: &mut Regs,
    ) -> Result<(), Fault> {
        let operand = self.get(regs, slot, src)?;
        let addr = self.address(regs, slot, place.0, place.1)?;
        let at = |kind| self.fault(slot, kind);
        let bytes = size.bytes() as u64;
        let old = little(self.memory.read(addr, bytes).map_err(at)?);
        if addr.checked_rem(bytes) != Some(0) {
            return Err(at(FaultKind::Misaligned { addr }));
        }
        let new = match op {
            AtomicOp::Add | AtomicOp::FetchAdd => old.wrapping_add(operand),
            AtomicOp::Or | AtomicOp::FetchOr => old | operand,
            AtomicOp::And | AtomicOp::FetchAnd => old & operand,
            AtomicOp::Xor | AtomicOp::FetchXor => old ^ operand,
            AtomicOp::Xchg => operand,
            AtomicOp::Cmpxchg => {
                let mut expected = self.get(regs, slot, Reg::R0)?;
                if size == Size::W {
                    expected = u64::from(expected as u32);
                }
                if old == expected { operand } else { old }
            }
        };
        self.store_to(addr, size, new)
            .map_err(|kind| self.fault(slot, kind))?;
        if op.fetches_to_src() {
            self.set(regs, slot, src, old)?;
        } else if op == AtomicOp::Cmpxchg {
            self.set(regs, slot, Reg::R0, old)?;
        }
        Ok(())
    }

    /// Calls; gives the end of the program where the call was a tail call.
    fn call(
        &mut self,
        code: &Code,
        slot: usize,
        callee: Callee,
        regs: &mut Regs,
        depth: usize,
    ) -> Result<Option<End>, Fault> {
        let arguments = [regs[1], regs[2], regs[3], regs[4], regs[5]];
        let result = match callee {
            Callee::Helper(helper::TAIL_CALL) => {
                if let Some(next) = self.tail_call(slot, arguments, depth)? {
                    return Ok(Some(End::Tail(next)));
                }
                Some(-2_i64 as u64)
            }
            Callee::Helper(id) => Some(self.helper(code, slot, id, arguments, depth)?),
            Callee::Local(distance) => {
                let to = jump(slot, distance);
                let to = to.ok_or_else(|| self.fault(slot, FaultKind::RanOff))?;
                match self.frame(code, to, arguments, depth.saturating_add(1))? {
                    (End::Return(value), _) => value,
                    (end @ End::Tail(_), _) => return Ok(Some(end)),
                }
            }
            Callee::Kfunc { .. } => {
                return Err(self.fault(slot, FaultKind::Unsupported("kernel functions")));
            }
        };
        regs[1..6].fill(None);
        regs[0] = result;
        Ok(None)
    }
}

fn jump(slot: usize, off: i32) -> Option<usize> {
    let off = isize::try_from(off).ok()?;
    slot.checked_add(1)?.checked_add_signed(off)
}

/// Gives the number in at most eight little-endian bytes.
fn little(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev().take(8);
    bytes.fold(0, |all, byte| (all << 8) | u64::from(*byte))
}
