//! Where slots live: in the frame, or in the scratch map that the prologue looks up.

use kscope_spec::insn::{Cond as Test, Size};

use super::lir::{Base, End, FrameSlot, Ins, Operand, Source};
use super::select::Select;
use super::{Emit, EmitError, FRAME_SIZE, SCRATCH_LIMIT};
use crate::ir::{Op, Pointer, Ty};

/// Slots up to this size may stay in the frame when not all of them fit.
const SMALL_SLOT: u32 = 64;

/// Where a slot lives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    Unused,
    Frame(FrameSlot),
    Scratch(u32),
}

/// Slots that callbacks reach.
struct Shared {
    /// What a helper hands on to a callback; it must lie in the frame.
    captured: Vec<bool>,
    /// Memory whose address stands there.
    outer: Vec<bool>,
}

impl Select<'_> {
    /// Decides where each slot lives.
    pub(super) fn place_slots(&mut self, request: &Emit, budget: u32) -> Result<(), EmitError> {
        let mut used = vec![false; self.homes.len()];
        let mut indexed = vec![false; self.homes.len()];
        let Shared { captured, outer } = self.shared_slots();
        for def in self.defs.iter().flatten() {
            match def {
                Op::SlotAddr(slot) => used[slot.index()] = true,
                Op::PtrAdd { base, offset, .. } if self.constant(*offset).is_none() => {
                    if let Ty::Ptr(Pointer::Slot(slot)) = self.function.values[base.index()] {
                        indexed[slot.index()] = true;
                    }
                }
                _ => {}
            }
        }
        let size = |slot: usize| self.function.slots[slot].size.max(1).next_multiple_of(8);
        let mut slots: Vec<usize> = (0..used.len()).filter(|s| used[*s]).collect();
        // What callbacks reach by a pointer is no memory of the frame: they may index it.
        for (indexed, shared) in indexed.iter_mut().zip(outer.iter().zip(&captured)) {
            *indexed |= matches!(shared, (true, false));
        }
        let total: u32 = slots.iter().map(|s| size(*s)).fold(0, u32::saturating_add);
        if request.scratch.is_none() && total > FRAME_SIZE {
            return Err(EmitError::NoScratch { need: total });
        }
        // Slots that are indexed stay out of the frame if they can: before 6.x a store at a
        // variable offset spoils what the verifier knows of the 8 bytes around it.
        let direct = slots.iter().filter(|s| !indexed[**s]);
        let direct = direct.map(|s| size(*s)).fold(0, u32::saturating_add);
        let all = direct <= budget;
        slots.sort_by_key(|s| size(*s));
        let (mut frame, mut scratch) = (Vec::new(), request.scratch_start);
        let mut taken = 0;
        let mut homes = self.homes.clone();
        for slot in slots {
            let size = size(slot);
            let fits = captured[slot] || all || (size <= SMALL_SLOT && taken + size <= budget);
            homes[slot] = if request.scratch.is_none() || (fits && !indexed[slot]) {
                taken += size;
                frame.push(size);
                Home::Frame(FrameSlot(frame.len() as u32 - 1))
            } else {
                let offset = scratch;
                scratch = scratch.saturating_add(size);
                Home::Scratch(offset)
            };
        }
        if scratch > SCRATCH_LIMIT {
            return Err(EmitError::Scratch { need: scratch });
        }
        self.homes = homes;
        self.code.frame = frame;
        // A function that needs none does not look it up.
        self.code.scratch_size = if scratch > request.scratch_start {
            scratch
        } else {
            0
        };
        Ok(())
    }

    /// Finds the slots that callbacks are given, and those whose addresses are in these.
    fn shared_slots(&self) -> Shared {
        let count = self.homes.len();
        let mut shared = Shared {
            captured: vec![false; count],
            outer: vec![false; count],
        };
        let slot_of = |value: crate::ir::Value| match self.function.values[value.index()] {
            Ty::Ptr(Pointer::Slot(slot)) => Some(slot.index()),
            _ => None,
        };
        for inst in self.function.blocks.iter().flat_map(|block| &block.insts) {
            match &inst.op {
                Op::Store { value, .. } => {
                    if let Some(slot) = slot_of(*value) {
                        shared.outer[slot] = true;
                    }
                }
                Op::Call { args, .. } => {
                    let is_callback = |v: &crate::ir::Value| {
                        let ty = self.function.values[v.index()];
                        matches!(ty, Ty::Ptr(Pointer::Callback(_)))
                    };
                    if args.iter().any(is_callback) {
                        for slot in args.iter().filter_map(|v| slot_of(*v)) {
                            shared.captured[slot] = true;
                        }
                    }
                }
                _ => {}
            }
        }
        shared
    }

    /// Takes what the function is given and looks the scratch memory up.
    pub(super) fn prologue(&mut self, request: &Emit) -> Result<(), EmitError> {
        self.current = self.new_block();
        let mut given = Vec::new();
        for value in 0..self.defs.len() {
            match self.defs[value] {
                Some(Op::Ctx) if self.ctx.is_none() => {
                    let ctx = self.code.register();
                    self.ctx = Some(ctx);
                    given.push((ctx, 0));
                }
                Some(Op::Argument(index)) => {
                    let argument = self.register(crate::ir::Value(value as u32));
                    given.push((argument, *index));
                }
                _ => {}
            }
        }
        if !given.is_empty() {
            self.put(Ins::Given(given));
        }
        let main = self.block_of(0);
        if self.code.scratch_size == 0 {
            self.end(End::Jump(main));
            return Ok(());
        }
        let Some(place) = request.scratch else {
            return Err(EmitError::NoScratch {
                need: self.code.scratch_size,
            });
        };
        let scratch = self.code.register();
        self.scratch = Some(scratch);
        self.code.frame.push(8);
        let key = FrameSlot(self.code.frame.len() as u32 - 1);
        let entry = i32::try_from(place.entry).map_err(|_| EmitError::Malformed("entry"))?;
        self.put(Ins::Store {
            size: Size::W,
            base: Base::Frame(key),
            offset: 0,
            src: Operand::Imm(entry),
        });
        self.put(Ins::Call {
            helper: kscope_spec::helper::MAP_LOOKUP_ELEM.0,
            args: vec![Source::Map(place.map), Source::Frame(key, 0)],
            result: Some(scratch),
        });
        let absent = self.new_block();
        self.end(End::Branch {
            cond: Test::Eq,
            left: scratch,
            right: Operand::Imm(0),
            then: absent,
            otherwise: main,
            seldom: true,
        });
        self.code.blocks[absent.index()].end = End::Exit(Source::Const(0));
        Ok(())
    }
}
