//! The low-level form: eBPF instructions over virtual registers, in blocks.

use kscope_spec::insn::{AluOp, AtomicOp, Cond, Size, Width};
use kscope_spec::{LateId, MapId};

use crate::diagnostic::Span;
use crate::ir::Layout;

/// A virtual register; unlike a value of the IR it may be written more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct V(pub(super) u32);

impl V {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A block of the low-level form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct B(pub(super) u32);

impl B {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A slot that lives in the frame, by index into [`Code::frame`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FrameSlot(pub(super) u32);

/// The base of a memory access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    Reg(V),
    Frame(FrameSlot),
}

/// The second operand of arithmetic, stores and branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Reg(V),
    Imm(i32),
    /// A number that the target's types tell; in 64-bit arithmetic alone.
    Layout(Layout),
}

/// What can be moved into a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    Reg(V),
    /// A register plus a constant.
    Sum(V, i32),
    Const(i64),
    Late(LateId),
    Layout(Layout),
    Map(MapId),
    MapValue(MapId, u32),
    /// The address of a byte of a slot in the frame.
    Frame(FrameSlot, i32),
    /// The address of a callback.
    Callback(u32),
}

impl Source {
    pub(super) fn reg(self) -> Option<V> {
        match self {
            Source::Reg(v) | Source::Sum(v, _) => Some(v),
            _ => None,
        }
    }
}

/// An instruction over virtual registers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ins {
    /// `dst = src`.
    Move { dst: V, src: Source },
    /// `dst = (u32)src`.
    Mov32 { dst: V, src: V },
    /// `dst op= src`.
    Alu {
        width: Width,
        op: AluOp,
        dst: V,
        src: Operand,
    },
    /// `dst = -dst`.
    Neg { dst: V },
    /// Reverses the low bits.
    Swap { bits: u8, dst: V },
    Load {
        size: Size,
        dst: V,
        base: Base,
        offset: i16,
    },
    /// A load at an offset that the target's types tell.
    LoadAt {
        size: Size,
        dst: V,
        base: V,
        offset: Layout,
    },
    Store {
        size: Size,
        base: Base,
        offset: i16,
        src: Operand,
    },
    /// Atomic change.
    Atomic {
        op: AtomicOp,
        size: Size,
        base: Base,
        offset: i16,
        src: V,
    },
    /// Atomic addition of eight bytes; `dst` gets what was there before.
    FetchAdd { base: Base, offset: i16, dst: V },
    Call {
        helper: u32,
        args: Vec<Source>,
        result: Option<V>,
    },
    /// Moves that happen at once; only before a jump.
    Parallel(Vec<(V, Source)>),
    /// What the function is given, by position (a program its context alone); only at the start.
    Given(Vec<(V, u8)>),
}

/// How a block ends.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Jump(B),
    Branch {
        cond: Cond,
        left: V,
        right: Operand,
        then: B,
        otherwise: B,
        /// Whether the condition seldom holds: what only then runs stands behind all else.
        seldom: bool,
    },
    Exit(Source),
}

impl End {
    pub(super) fn targets(&self) -> impl Iterator<Item = B> + use<> {
        let (a, b) = match self {
            End::Jump(t) => (Some(*t), None),
            End::Branch {
                then, otherwise, ..
            } => (Some(*then), Some(*otherwise)),
            End::Exit(_) => (None, None),
        };
        a.into_iter().chain(b)
    }

    /// Gives the targets that are not seldom gone to.
    pub(super) fn likely(&self) -> impl Iterator<Item = B> + use<> {
        let first = matches!(self, End::Branch { seldom: true, .. });
        self.targets().skip(usize::from(first))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) ins: Vec<(Ins, Span)>,
    pub(super) end: End,
    pub(super) span: Span,
}

/// A function in low-level form.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    pub(super) blocks: Vec<Block>,
    /// How many virtual registers there are.
    pub(super) registers: u32,
    /// Sizes of the slots in the frame; each is placed at a multiple of 8.
    pub(super) frame: Vec<u32>,
    /// Values whose known bounds the verifier needs, so that they are spilled last.
    pub(super) bounded: Vec<bool>,
    /// Bytes of scratch memory.
    pub(super) scratch_size: u32,
}

impl Code {
    pub(super) fn register(&mut self) -> V {
        self.registers += 1;
        V(self.registers - 1)
    }
}

impl Ins {
    /// Calls `f` with every register that is read.
    pub(super) fn uses(&self, mut f: impl FnMut(V)) {
        let base = |b: &Base, f: &mut dyn FnMut(V)| {
            if let Base::Reg(v) = b {
                f(*v);
            }
        };
        match self {
            Ins::Move { src, .. } => src.reg().into_iter().for_each(f),
            Ins::Mov32 { src, .. } => f(*src),
            Ins::Alu { op, dst, src, .. } => {
                if *op != AluOp::Mov {
                    f(*dst);
                }
                if let Operand::Reg(v) = src {
                    f(*v);
                }
            }
            Ins::Neg { dst } | Ins::Swap { dst, .. } => f(*dst),
            Ins::Load { base: b, .. } => base(b, &mut f),
            Ins::LoadAt { base, .. } => f(*base),
            Ins::Store { base: b, src, .. } => {
                base(b, &mut f);
                if let Operand::Reg(v) = src {
                    f(*v);
                }
            }
            Ins::Atomic { base: b, src, .. } => {
                base(b, &mut f);
                f(*src);
            }
            Ins::FetchAdd { base: b, dst, .. } => {
                base(b, &mut f);
                f(*dst);
            }
            Ins::Call { args, .. } => args.iter().filter_map(|a| a.reg()).for_each(f),
            Ins::Parallel(moves) => moves.iter().filter_map(|(_, s)| s.reg()).for_each(f),
            Ins::Given(_) => {}
        }
    }

    /// Calls `f` with every register that is written.
    pub(super) fn defs(&self, mut f: impl FnMut(V)) {
        match self {
            Ins::Move { dst, .. }
            | Ins::Mov32 { dst, .. }
            | Ins::Alu { dst, .. }
            | Ins::Neg { dst }
            | Ins::Swap { dst, .. }
            | Ins::Load { dst, .. }
            | Ins::LoadAt { dst, .. }
            | Ins::FetchAdd { dst, .. } => f(*dst),
            Ins::Given(given) => given.iter().for_each(|(v, _)| f(*v)),
            Ins::Call { result, .. } => result.iter().copied().for_each(f),
            Ins::Parallel(moves) => moves.iter().for_each(|(d, _)| f(*d)),
            Ins::Store { .. } | Ins::Atomic { .. } => {}
        }
    }

    /// Says whether the instruction does nothing but write its result.
    pub(super) fn is_pure(&self) -> bool {
        matches!(
            self,
            Ins::Move { .. }
                | Ins::Mov32 { .. }
                | Ins::Alu { .. }
                | Ins::Neg { .. }
                | Ins::Swap { .. }
                | Ins::Load { .. }
                | Ins::LoadAt { .. }
        )
    }
}

impl End {
    /// Calls `f` with every register that is read.
    pub(super) fn uses(&self, mut f: impl FnMut(V)) {
        match self {
            End::Jump(_) => {}
            End::Branch { left, right, .. } => {
                f(*left);
                if let Operand::Reg(v) = right {
                    f(*v);
                }
            }
            End::Exit(src) => src.reg().into_iter().for_each(f),
        }
    }
}
