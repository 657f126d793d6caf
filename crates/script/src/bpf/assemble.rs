//! From virtual registers to machine instructions, block by block.

use kscope_spec::insn::{AluOp, AtomicOp, Insn, Pseudo, Reg};
use kscope_spec::insn::{Size, Width};
use kscope_spec::{ExternId, HelperId, MapId, RelocKind};

use super::link::link;
use super::lir::{self, Base, End, FrameSlot, Ins, Operand, Source, V};
use super::live;
use super::moves::{From, Location};
use super::spill::Allocation;
use super::{Code, EmitError};
use crate::diagnostic::Span;
use crate::ir::{Layout, LayoutId, kfunc};

/// Emits the allocated code, whose frame may take `room` bytes.
pub(super) fn assemble(
    code: &lir::Code,
    allocation: &Allocation,
    room: u32,
    late: Option<MapId>,
) -> Result<Code, EmitError> {
    let done = attempt(code, allocation, (0, room), late)?;
    match done {
        Some(done) => Ok(done),
        // Some moves need memory of their own.
        None => attempt(code, allocation, (2, room), late)?.ok_or(EmitError::Registers),
    }
}

fn attempt(
    code: &lir::Code,
    allocation: &Allocation,
    (reserve, room): (u32, u32),
    late: Option<MapId>,
) -> Result<Option<Code>, EmitError> {
    let mut offset = 8 * (allocation.slot_count + reserve);
    let mut frame = Vec::new();
    for size in &code.frame {
        offset = offset.saturating_add(size.next_multiple_of(8));
        frame.push(-i32::try_from(offset).unwrap_or(i32::MAX));
    }
    if offset > room {
        return Err(EmitError::Frame { need: offset, room });
    }
    let mut out = Output {
        allocation,
        frame,
        reserve,
        reserve_used: false,
        body: Vec::new(),
        span: Span::default(),
        error: None,
        late,
    };
    let mut bodies = Vec::with_capacity(code.blocks.len());
    for (index, block) in code.blocks.iter().enumerate() {
        for (ins, span) in &block.ins {
            out.span = *span;
            out.instruction(ins, &allocation.live_out[index]);
        }
        out.span = block.span;
        if let End::Exit(source) = &block.end {
            out.exit(source);
        }
        bodies.push(std::mem::take(&mut out.body));
    }
    if let Some(error) = out.error {
        return Err(error);
    }
    if out.reserve_used && reserve == 0 {
        return Ok(None);
    }
    let mut linked = link(code, &bodies, allocation)?;
    linked.frame_size = offset;
    Ok(Some(linked))
}

/// One machine instruction (or the two slots of `ld_imm64`) before linking.
pub(super) struct Piece {
    pub(super) slots: [Option<Insn>; 2],
    pub(super) reloc: Option<RelocKind>,
    pub(super) layout: Option<LayoutId>,
    pub(super) span: Span,
}

/// The state of emission.
pub(super) struct Output<'a> {
    allocation: &'a Allocation,
    frame: Vec<i32>,
    reserve: u32,
    reserve_used: bool,
    body: Vec<Piece>,
    span: Span,
    error: Option<EmitError>,
    late: Option<MapId>,
}

impl Output<'_> {
    pub(super) fn push(&mut self, insn: Insn) {
        self.body.push(Piece {
            slots: [Some(insn), None],
            reloc: None,
            layout: None,
            span: self.span,
        });
    }

    fn push_layout(&mut self, slots: [Option<Insn>; 2], layout: Layout) {
        self.body.push(Piece {
            slots,
            reloc: None,
            layout: Some(layout.id),
            span: self.span,
        });
    }

    /// Calls a function of the kernel, which the loader finds.
    fn push_call(&mut self, function: ExternId) {
        self.body.push(Piece {
            slots: [Some(Insn::call(HelperId(0))), None],
            reloc: Some(RelocKind::Extern(function)),
            layout: None,
            span: self.span,
        });
    }

    fn push_wide(&mut self, [low, high]: [Insn; 2], reloc: Option<RelocKind>) {
        self.body.push(Piece {
            slots: [Some(low), Some(high)],
            reloc,
            layout: None,
            span: self.span,
        });
    }

    fn misplaced(&mut self) {
        self.error = Some(EmitError::Malformed("place of a layout"));
    }

    /// Gives a slot for moves that find no register.
    pub(super) fn reserve(&mut self, index: u32) -> Location {
        self.reserve_used = true;
        Location::Slot(self.allocation.slot_count + index.min(self.reserve.saturating_sub(1)))
    }

    pub(super) fn slot_offset(&self, slot: u32) -> i16 {
        (-8 * (slot as i32 + 1)) as i16
    }

    pub(super) fn load_slot(&mut self, to: Reg, slot: u32) {
        let offset = self.slot_offset(slot);
        self.push(Insn::ldx(Size::DW, to, Reg::FP, offset));
    }

    pub(super) fn store_slot(&mut self, slot: u32, from: Reg) {
        let offset = self.slot_offset(slot);
        self.push(Insn::stx(Size::DW, Reg::FP, offset, from));
    }

    fn location(&mut self, v: V) -> Location {
        match (
            self.allocation.registers[v.index()],
            self.allocation.slots[v.index()],
        ) {
            (Some(r), _) => Location::Register(r),
            (None, Some(slot)) => Location::Slot(slot),
            (None, None) => {
                self.error = Some(EmitError::Malformed("a value is used before it is defined"));
                Location::Register(0)
            }
        }
    }

    fn reg(&mut self, v: V) -> Reg {
        match self.location(v) {
            Location::Register(r) => Reg(r),
            Location::Slot(_) => {
                self.error = Some(EmitError::Registers);
                Reg::R0
            }
        }
    }

    fn frame_offset(&mut self, slot: FrameSlot, add: i32) -> i32 {
        self.frame
            .get(slot.0 as usize)
            .map_or(0, |offset| offset + add)
    }

    /// Gives the machine's base and offset of an access.
    fn base(&mut self, base: Base, offset: i16) -> (Reg, i16) {
        match base {
            Base::Reg(v) => (self.reg(v), offset),
            Base::Frame(slot) => {
                let offset = self.frame_offset(slot, i32::from(offset));
                match i16::try_from(offset) {
                    Ok(offset) => (Reg::FP, offset),
                    Err(_) => {
                        self.error = Some(EmitError::Offset(i64::from(offset)));
                        (Reg::FP, 0)
                    }
                }
            }
        }
    }

    /// Loads what is neither register nor slot.
    pub(super) fn load_source(&mut self, to: Reg, source: Source) {
        match source {
            Source::Const(c) => match (i32::try_from(c), u32::try_from(c)) {
                (Ok(imm), _) => self.push(Insn::mov64_imm(to, imm)),
                (_, Ok(imm)) => self.push(Insn::mov32_imm(to, imm as i32)),
                _ => self.push_wide(Insn::ld_imm64(to, c as u64), None),
            },
            Source::Late(id) => match self.late {
                None => self.push_wide(Insn::ld_imm64(to, 0), Some(RelocKind::Late(id))),
                Some(map) => {
                    let insns = Insn::ld_pseudo(to, Pseudo::Value, 0, 0);
                    let offset = id.0.saturating_mul(8);
                    self.push_wide(insns, Some(RelocKind::MapValue { map, offset }));
                    self.push(Insn::ldx(Size::DW, to, to, 0));
                }
            },
            Source::Layout(layout) => match i32::try_from(layout.value) {
                Ok(imm) => self.push_layout([Some(Insn::mov64_imm(to, imm)), None], layout),
                Err(_) => {
                    let wide = Insn::ld_imm64(to, layout.value as u64);
                    self.push_layout(wide.map(Some), layout);
                }
            },
            Source::Map(map) => {
                let insns = Insn::ld_pseudo(to, Pseudo::Value, 0, 0);
                self.push_wide(insns, Some(RelocKind::Map(map)));
            }
            Source::Callback(index) => {
                // The number is that of the callback until its place is known.
                let insns = Insn::ld_pseudo(to, Pseudo::Value, 0, 0);
                self.push_wide(insns, Some(RelocKind::Func(index)));
            }
            Source::MapValue(map, offset) => {
                let insns = Insn::ld_pseudo(to, Pseudo::Value, 0, 0);
                self.push_wide(insns, Some(RelocKind::MapValue { map, offset }));
            }
            Source::Frame(slot, add) => {
                let offset = self.frame_offset(slot, add);
                self.push(Insn::mov64(to, Reg::FP));
                self.push(Insn::alu64_imm(AluOp::Add, to, offset));
            }
            Source::Reg(v) => {
                let from = self.location(v);
                self.move_to(to, from);
            }
            Source::Sum(v, add) => {
                let from = self.location(v);
                self.move_to(to, from);
                self.push(Insn::alu64_imm(AluOp::Add, to, add));
            }
        }
    }

    fn move_to(&mut self, to: Reg, from: Location) {
        match from {
            Location::Register(r) if r == to.0 => {}
            Location::Register(r) => self.push(Insn::mov64(to, Reg(r))),
            Location::Slot(slot) => self.load_slot(to, slot),
        }
    }

    fn instruction(&mut self, ins: &Ins, live_out: &live::Set) {
        match ins {
            Ins::Move { dst, src } => match (self.location(*dst), *src) {
                (Location::Register(r), src) => self.load_source(Reg(r), src),
                (Location::Slot(slot), Source::Const(c)) => {
                    let offset = self.slot_offset(slot);
                    match i32::try_from(c) {
                        Ok(imm) => self.push(Insn::st(Size::DW, Reg::FP, offset, imm)),
                        Err(_) => self.error = Some(EmitError::Registers),
                    }
                }
                (Location::Slot(slot), Source::Reg(v)) => {
                    let from = self.reg(v);
                    self.store_slot(slot, from);
                }
                (Location::Slot(_), _) => self.error = Some(EmitError::Registers),
            },
            Ins::Mov32 { dst, src } => {
                let insn = Insn::mov32(self.reg(*dst), self.reg(*src));
                self.push(insn);
            }
            Ins::Alu {
                width,
                op,
                dst,
                src,
            } => {
                let dst = self.reg(*dst);
                if let Operand::Layout(layout) = src {
                    let insn = Insn::alu64_imm(*op, dst, layout.value as i32);
                    return self.push_layout([Some(insn), None], *layout);
                }
                let insn = match (width, src) {
                    (Width::W64, Operand::Reg(v)) => Insn::alu64(*op, dst, self.reg(*v)),
                    (Width::W64, Operand::Imm(imm)) => Insn::alu64_imm(*op, dst, *imm),
                    (Width::W32, Operand::Reg(v)) => Insn::alu32(*op, dst, self.reg(*v)),
                    (Width::W32, Operand::Imm(imm)) => Insn::alu32_imm(*op, dst, *imm),
                    (_, Operand::Layout(_)) => return self.misplaced(),
                };
                self.push(insn);
            }
            Ins::Neg { dst } => {
                let insn = Insn::neg64(self.reg(*dst));
                self.push(insn);
            }
            Ins::Swap { bits, dst } => {
                // On a little-endian target the conversion to big-endian swaps.
                let insn = Insn::to_be(self.reg(*dst), *bits);
                self.push(insn);
            }
            Ins::Load {
                size,
                dst,
                base,
                offset,
            } => {
                let (base, offset) = self.base(*base, *offset);
                let insn = Insn::ldx(*size, self.reg(*dst), base, offset);
                self.push(insn);
            }
            Ins::LoadAt {
                size,
                dst,
                base,
                offset,
            } => match i16::try_from(offset.value) {
                Ok(at) => {
                    let insn = Insn::ldx(*size, self.reg(*dst), self.reg(*base), at);
                    self.push_layout([Some(insn), None], *offset);
                }
                Err(_) => self.error = Some(EmitError::Offset(offset.value)),
            },
            Ins::Store {
                size,
                base,
                offset,
                src,
            } => {
                let (base, offset) = self.base(*base, *offset);
                let insn = match src {
                    Operand::Reg(v) => Insn::stx(*size, base, offset, self.reg(*v)),
                    Operand::Imm(imm) => Insn::st(*size, base, offset, *imm),
                    Operand::Layout(_) => return self.misplaced(),
                };
                self.push(insn);
            }
            Ins::Atomic {
                op,
                size,
                base,
                offset,
                src,
            } => {
                let (base, offset) = self.base(*base, *offset);
                let src = self.reg(*src);
                self.push(Insn::atomic(*size, *op, base, offset, src));
            }
            Ins::FetchAdd { base, offset, dst } => {
                let (base, offset) = self.base(*base, *offset);
                let dst = self.reg(*dst);
                self.push(Insn::atomic(
                    Size::DW,
                    AtomicOp::FetchAdd,
                    base,
                    offset,
                    dst,
                ));
            }
            Ins::Call {
                helper,
                args,
                result,
            } => {
                let moves: Vec<(Location, From)> = args
                    .iter()
                    .enumerate()
                    .map(|(index, arg)| (Location::Register(index as u8 + 1), self.from(*arg)))
                    .collect();
                // r0 is free once it has been moved away: nothing lives in it across a call.
                self.parallel(&moves, 1);
                match kfunc::place(*helper) {
                    Some(place) => self.push_call(ExternId(place)),
                    None => self.push(Insn::call(HelperId(*helper))),
                }
                if let Some(v) = result {
                    match self.location(*v) {
                        Location::Register(0) => {}
                        Location::Register(r) => self.push(Insn::mov64(Reg(r), Reg::R0)),
                        Location::Slot(slot) => self.store_slot(slot, Reg::R0),
                    }
                }
            }
            Ins::Parallel(pairs) => {
                let moves: Vec<(Location, From)> = pairs
                    .iter()
                    .map(|(to, src)| (self.location(*to), self.from(*src)))
                    .collect();
                let mut taken = 0_u16;
                for v in live_out.iter() {
                    if let Some(r) = self.allocation.registers[v.index()] {
                        taken |= 1 << r;
                    }
                }
                self.parallel(&moves, !taken & 0x3ff);
            }
            Ins::Given(given) => {
                let moves: Vec<(Location, From)> = given
                    .iter()
                    .map(|(to, at)| (self.location(*to), From::At(Location::Register(at + 1))))
                    .collect();
                self.parallel(&moves, 1);
            }
        }
    }

    fn from(&mut self, source: Source) -> From {
        match source {
            Source::Reg(v) => From::At(self.location(v)),
            Source::Sum(v, add) => From::Sum(self.location(v), add),
            other => From::Other(other),
        }
    }

    fn exit(&mut self, source: &Source) {
        self.load_source(Reg::R0, *source);
        self.push(Insn::exit());
    }
}
