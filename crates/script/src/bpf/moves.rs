//! Moves that happen at once, put into an order, with cycles broken.

use kscope_spec::insn::{AluOp, Insn, Reg, Size};

use super::assemble::Output;
use super::lir::Source;

/// Where a value is on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Location {
    Register(u8),
    /// A spill slot.
    Slot(u32),
}

/// What is moved, on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    At(Location),
    /// What lies there plus a constant.
    Sum(Location, i32),
    /// Neither register nor slot.
    Other(Source),
}

impl From {
    fn location(self) -> Option<Location> {
        match self {
            From::At(l) | From::Sum(l, _) => Some(l),
            From::Other(_) => None,
        }
    }
}

impl Output<'_> {
    /// Emits moves that happen at once; `free` are registers that may be overwritten, as bits.
    pub(super) fn parallel(&mut self, moves: &[(Location, From)], free: u16) {
        let mut left: Vec<(Location, Location)> = moves
            .iter()
            .filter_map(|(to, from)| from.location().map(|l| (*to, l)))
            .filter(|(to, from)| to != from)
            .collect();
        let bits = |locations: &mut dyn Iterator<Item = Location>| {
            locations.fold(0_u16, |bits, location| bits | bit(location))
        };
        let written = bits(&mut moves.iter().map(|(to, _)| *to));
        while !left.is_empty() {
            // Registers that are written later are free until then.
            let sources = bits(&mut left.iter().map(|(_, from)| *from));
            let free = (free | written) & !sources & !self.filled(moves, &left);
            let ready = left
                .iter()
                .position(|(to, _)| left.iter().all(|(_, from)| from != to));
            if let Some(index) = ready {
                let (to, from) = left.swap_remove(index);
                self.one(to, from, free);
                continue;
            }
            // Only cycles are left: the first destination's value steps aside.
            let (aside, _) = left[0];
            let pending = bits(&mut left.iter().map(|(to, _)| *to));
            let place = match (free & !pending).trailing_zeros() {
                r @ 0..=9 => Location::Register(r as u8),
                _ => self.reserve(0),
            };
            self.one(place, aside, free & !bit(place));
            for (_, from) in &mut left {
                if *from == aside {
                    *from = place;
                }
            }
        }
        for (to, from) in moves {
            match from {
                From::At(_) => {}
                From::Sum(_, add) => {
                    // Selection makes no sums for slots.
                    if let Location::Register(r) = to {
                        self.push(Insn::alu64_imm(AluOp::Add, Reg(*r), *add));
                    }
                }
                From::Other(source) => match to {
                    Location::Register(r) => self.load_source(Reg(*r), *source),
                    Location::Slot(slot) => {
                        if let Source::Const(c) = source {
                            if let Ok(imm) = i32::try_from(*c) {
                                let offset = self.slot_offset(*slot);
                                self.push(Insn::st(Size::DW, Reg::FP, offset, imm));
                                continue;
                            }
                        }
                        let filled = self.filled(moves, &[]);
                        self.with_register(free & !filled, |out, r| {
                            out.load_source(r, *source);
                            out.store_slot(*slot, r);
                        });
                    }
                },
            }
        }
    }

    /// Gives the registers that already hold what they should.
    fn filled(&self, moves: &[(Location, From)], left: &[(Location, Location)]) -> u16 {
        moves
            .iter()
            .filter(|(to, from)| {
                matches!(from, From::At(_) | From::Sum(..)) && !left.iter().any(|(l, _)| l == to)
            })
            .fold(0, |bits, (to, _)| bits | bit(*to))
    }

    /// Emits one move.
    fn one(&mut self, to: Location, from: Location, free: u16) {
        match (to, from) {
            (Location::Register(a), Location::Register(b)) => {
                self.push(Insn::mov64(Reg(a), Reg(b)));
            }
            (Location::Register(a), Location::Slot(s)) => self.load_slot(Reg(a), s),
            (Location::Slot(s), Location::Register(b)) => self.store_slot(s, Reg(b)),
            (Location::Slot(a), Location::Slot(b)) => {
                self.with_register(free, |out, r| {
                    out.load_slot(r, b);
                    out.store_slot(a, r);
                });
            }
        }
    }

    /// Lends a register, saving its value if none is free.
    fn with_register(&mut self, free: u16, f: impl FnOnce(&mut Self, Reg)) {
        match free.trailing_zeros() {
            r @ 0..=9 => f(self, Reg(r as u8)),
            _ => {
                let Location::Slot(slot) = self.reserve(1) else {
                    return;
                };
                self.store_slot(slot, Reg::R9);
                f(self, Reg::R9);
                self.load_slot(Reg::R9, slot);
            }
        }
    }
}

fn bit(location: Location) -> u16 {
    match location {
        Location::Register(r) => 1 << r,
        Location::Slot(_) => 0,
    }
}
