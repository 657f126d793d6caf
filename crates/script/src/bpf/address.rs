//! Loads and stores: addresses, and the alignment that the verifier asks for.

use kscope_spec::insn::{AluOp, Size};

use super::EmitError;
use super::frame::Home;
use super::lir::{Base, Ins, Operand, Source, V};
use super::select::Select;
use crate::ir::{self, Op, Pointer, Ty, Value};

/// An address is a multiple of `unit` plus `phase`.
#[derive(Clone, Copy, Debug)]
struct Alignment {
    unit: u32,
    phase: u32,
}

/// The place of an access.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) base: Base,
    pub(super) offset: i16,
    /// What is known of the alignment where the verifier asks for natural alignment, in the
    /// frame and in the context.
    strict: Option<Alignment>,
}

impl Place {
    /// Gives the largest access at `at` bytes from the place that takes at most `len` bytes.
    pub(super) fn widest(self, at: u32, len: u32) -> u32 {
        let mut bytes = 8;
        while bytes > 1 && (bytes > len || !self.allows(at, bytes)) {
            bytes /= 2;
        }
        bytes
    }

    /// Says whether the verifier asks for natural alignment here.
    pub(super) fn is_strict(self) -> bool {
        self.strict.is_some()
    }

    fn allows(self, at: u32, bytes: u32) -> bool {
        self.strict.is_none_or(|known| {
            known.unit.checked_rem(bytes) == Some(0)
                && (known.phase + at).checked_rem(bytes) == Some(0)
        })
    }

    /// Gives the offset `at` bytes further.
    pub(super) fn plus(self, at: u32) -> Result<i16, EmitError> {
        let offset = i64::from(self.offset) + i64::from(at);
        i16::try_from(offset).map_err(|_| EmitError::Offset(offset))
    }
}

pub(super) fn size(bytes: u32) -> Result<Size, EmitError> {
    Size::from_bytes(bytes as usize).ok_or(EmitError::Malformed("bytes of an access"))
}

impl Select<'_> {
    /// Gives the place `offset` bytes from a pointer.
    pub(super) fn place(&mut self, base: Value, offset: i32) -> Result<Place, EmitError> {
        self.place_with_room(base, offset, 8)
    }

    /// Gives the place of `len` bytes, all of which an instruction's offset can reach.
    pub(super) fn place_with_room(
        &mut self,
        base: Value,
        offset: i32,
        len: u32,
    ) -> Result<Place, EmitError> {
        let (root, inner) = match self.source(base)? {
            Source::Reg(v) => (Base::Reg(v), 0),
            Source::Sum(v, k) => (Base::Reg(v), i64::from(k)),
            Source::Frame(slot, k) => (Base::Frame(slot), i64::from(k)),
            Source::MapValue(map, k) => {
                (Base::Reg(self.hold(Source::MapValue(map, 0))), i64::from(k))
            }
            Source::Const(_)
            | Source::Late(_)
            | Source::Layout(_)
            | Source::Map(_)
            | Source::Callback(_) => {
                return Err(EmitError::Malformed("access through what is no pointer"));
            }
        };
        let total = inner + i64::from(offset);
        let strict = self.strict_alignment(base, offset);
        let fits = i16::try_from(total).is_ok() && i16::try_from(total + i64::from(len)).is_ok();
        match (root, i16::try_from(total)) {
            (Base::Frame(_), Ok(offset)) => Ok(Place {
                base: root,
                offset,
                strict,
            }),
            (Base::Reg(_), Ok(offset)) if fits => Ok(Place {
                base: root,
                offset,
                strict,
            }),
            (Base::Reg(v), _) => {
                let sum = i32::try_from(total).map_err(|_| EmitError::Offset(total))?;
                let base = Base::Reg(self.hold(Source::Sum(v, sum)));
                Ok(Place {
                    base,
                    offset: 0,
                    strict,
                })
            }
            (Base::Frame(_), Err(_)) => Err(EmitError::Offset(total)),
        }
    }

    /// Gives the known alignment of an access where the verifier asks for it.
    fn strict_alignment(&self, base: Value, offset: i32) -> Option<Alignment> {
        let strict = match self.function.values[base.index()] {
            Ty::Ptr(Pointer::Ctx | Pointer::Captured(_)) => true,
            Ty::Ptr(Pointer::Slot(slot)) => matches!(self.homes[slot.index()], Home::Frame(_)),
            _ => false,
        };
        if !strict {
            return None;
        }
        let (mut unit, mut phase) = (8_u32, offset.rem_euclid(8) as u32);
        let mut value = base;
        loop {
            match self.defs[value.index()] {
                Some(Op::PtrAdd {
                    base,
                    offset,
                    bound,
                }) => {
                    match self.distance(*offset, *bound) {
                        Some(c) => phase += c.rem_euclid(8) as u32,
                        None => unit = unit.min(1 << self.facts[offset.index()].zeros.min(3)),
                    }
                    phase %= 8;
                    value = *base;
                }
                // Slots and the context lie at multiples of 8.
                Some(Op::SlotAddr(_) | Op::Ctx) => break,
                // What callbacks are given lies there too.
                Some(Op::Argument(_) | Op::Load { .. }) => break,
                _ => {
                    unit = 1;
                    break;
                }
            }
        }
        Some(Alignment { unit, phase })
    }

    pub(super) fn load(
        &mut self,
        bytes: u8,
        signed: bool,
        dst: V,
        base: Value,
        offset: i32,
    ) -> Result<(), EmitError> {
        let place = self.place(base, offset)?;
        let bytes = u32::from(bytes);
        let piece = place.widest(0, bytes);
        if bytes.checked_rem(piece) != Some(0) {
            return Err(EmitError::Malformed("bytes of a load"));
        }
        let unit = size(piece)?;
        self.put(Ins::Load {
            size: unit,
            dst,
            base: place.base,
            offset: place.plus(0)?,
        });
        for at in (piece..bytes).step_by(piece as usize) {
            let part = self.code.register();
            self.put(Ins::Load {
                size: unit,
                dst: part,
                base: place.base,
                offset: place.plus(at)?,
            });
            self.alu(AluOp::Lsh, part, Operand::Imm(8 * at as i32));
            self.alu(AluOp::Or, dst, Operand::Reg(part));
        }
        if signed && bytes < 8 {
            let shift = Operand::Imm(64 - 8 * bytes as i32);
            self.alu(AluOp::Lsh, dst, shift);
            self.alu(AluOp::Arsh, dst, shift);
        }
        Ok(())
    }

    /// Loads from the context at an offset that the target's types tell.
    pub(super) fn load_at(
        &mut self,
        bytes: u8,
        signed: bool,
        dst: V,
        base: Value,
        offset: ir::Layout,
    ) -> Result<(), EmitError> {
        let base = self.reg(base)?;
        let bytes = u32::from(bytes);
        self.put(Ins::LoadAt {
            size: size(bytes)?,
            dst,
            base,
            offset,
        });
        if signed && bytes < 8 {
            let shift = Operand::Imm(64 - 8 * bytes as i32);
            self.alu(AluOp::Lsh, dst, shift);
            self.alu(AluOp::Arsh, dst, shift);
        }
        Ok(())
    }

    pub(super) fn store(
        &mut self,
        bytes: u8,
        base: Value,
        offset: i32,
        value: Value,
    ) -> Result<(), EmitError> {
        let place = self.place(base, offset)?;
        let bytes = u32::from(bytes);
        let piece = place.widest(0, bytes);
        if bytes.checked_rem(piece) != Some(0) {
            return Err(EmitError::Malformed("bytes of a store"));
        }
        let unit = size(piece)?;
        for at in (0..bytes).step_by(piece as usize) {
            let src = match self.constant(value) {
                Some(c) => {
                    let part = ir::extend(piece as u8, true, c >> (8 * at));
                    match i32::try_from(part) {
                        Ok(imm) => Operand::Imm(imm),
                        Err(_) => Operand::Reg(self.hold(Source::Const(part))),
                    }
                }
                None if at == 0 => Operand::Reg(self.reg(value)?),
                None => {
                    let source = self.source(value)?;
                    let part = self.copy_of(source);
                    self.alu(AluOp::Rsh, part, Operand::Imm(8 * at as i32));
                    Operand::Reg(part)
                }
            };
            self.put(Ins::Store {
                size: unit,
                base: place.base,
                offset: place.plus(at)?,
                src,
            });
        }
        Ok(())
    }
}
