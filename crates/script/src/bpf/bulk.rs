//! Zeroing and copying of many bytes: inline accesses, or a loop that the verifier can walk.

use kscope_spec::insn::{AluOp, Cond as Test, Size};

use super::EmitError;
use super::address::{Place, size};
use super::lir::{Base, End, Ins, Operand, Source, V};
use super::select::Select;
use crate::ir::Value;

/// Longer runs become loops, except in the frame, which has no longer ones, and in the context,
/// which cannot be addressed by a variable.
const INLINE: u32 = 256;
/// Bytes per round of a loop.
const ROUND: u32 = 64;

impl Select<'_> {
    pub(super) fn zero(&mut self, base: Value, offset: i32, len: u32) -> Result<(), EmitError> {
        let place = self.place_with_room(base, offset, len.min(INLINE))?;
        let mut done = 0;
        if len > INLINE && !place.is_strict() {
            done = len / ROUND * ROUND;
            let to = address(place);
            self.rounds(done, &[to], |select, pointers| {
                for at in (0..ROUND).step_by(8) {
                    select.put(Ins::Store {
                        size: Size::DW,
                        base: Base::Reg(pointers[0]),
                        offset: at as i16,
                        src: Operand::Imm(0),
                    });
                }
            });
        }
        let place = self.place_with_room(base, offset + done as i32, len - done)?;
        let mut at = 0;
        while at < len - done {
            let bytes = place.widest(at, len - done - at);
            self.put(Ins::Store {
                size: size(bytes)?,
                base: place.base,
                offset: place.plus(at)?,
                src: Operand::Imm(0),
            });
            at += bytes;
        }
        Ok(())
    }

    pub(super) fn copy(
        &mut self,
        to: (Value, i32),
        from: (Value, i32),
        len: u32,
    ) -> Result<(), EmitError> {
        let mut done = 0;
        if len > INLINE {
            let (a, b) = (
                self.place_with_room(to.0, to.1, INLINE)?,
                self.place_with_room(from.0, from.1, INLINE)?,
            );
            if !a.is_strict() && !b.is_strict() {
                done = len / ROUND * ROUND;
                self.rounds(done, &[address(a), address(b)], |select, pointers| {
                    for at in (0..ROUND as i16).step_by(8) {
                        let part = select.code.register();
                        select.put(Ins::Load {
                            size: Size::DW,
                            dst: part,
                            base: Base::Reg(pointers[1]),
                            offset: at,
                        });
                        select.put(Ins::Store {
                            size: Size::DW,
                            base: Base::Reg(pointers[0]),
                            offset: at,
                            src: Operand::Reg(part),
                        });
                    }
                });
            }
        }
        let a = self.place_with_room(to.0, to.1 + done as i32, len - done)?;
        let b = self.place_with_room(from.0, from.1 + done as i32, len - done)?;
        let mut at = 0;
        while at < len - done {
            let bytes = a
                .widest(at, len - done - at)
                .min(b.widest(at, len - done - at));
            let unit = size(bytes)?;
            let part = self.code.register();
            self.put(Ins::Load {
                size: unit,
                dst: part,
                base: b.base,
                offset: b.plus(at)?,
            });
            self.put(Ins::Store {
                size: unit,
                base: a.base,
                offset: a.plus(at)?,
                src: Operand::Reg(part),
            });
            at += bytes;
        }
        Ok(())
    }

    /// Emits a loop over `len` bytes in rounds, `body` getting the pointers of the round. The
    /// counter is a known constant in each round, so that the verifier sees constant offsets.
    fn rounds(&mut self, len: u32, starts: &[Source], body: impl Fn(&mut Self, &[V])) {
        let counter = self.copy_of(Source::Const(0));
        let head = self.new_block();
        self.end(End::Jump(head));
        self.enter(head);
        let pointers: Vec<V> = starts
            .iter()
            .map(|start| {
                let pointer = self.copy_of(*start);
                self.alu(AluOp::Add, pointer, Operand::Reg(counter));
                pointer
            })
            .collect();
        body(self, &pointers);
        self.alu(AluOp::Add, counter, Operand::Imm(ROUND as i32));
        let after = self.new_block();
        self.end(End::Branch {
            cond: Test::Ne,
            left: counter,
            right: Operand::Imm(len as i32),
            then: head,
            otherwise: after,
            seldom: false,
        });
        self.enter(after);
    }
}

fn address(place: Place) -> Source {
    let offset = i32::from(place.offset);
    match place.base {
        Base::Reg(v) if offset == 0 => Source::Reg(v),
        Base::Reg(v) => Source::Sum(v, offset),
        Base::Frame(slot) => Source::Frame(slot, offset),
    }
}
