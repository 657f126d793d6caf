//! Places in memory, and how a value is read from one.

use super::infer::smallest;
use super::make;
use crate::diagnostic::Span;
use crate::hir::{Arithmetic, Expr, ExprKind, Space, Type};
use kscope_rows::Bits;

/// Most bytes of a tracepoint's record (`PERF_MAX_TRACE_SIZE`).
const CONTEXT_BYTES: u32 = 8192;

/// Where a structure or array lies.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// In memory that has to be read.
    Memory {
        address: Expr,
        space: Space,
        offset: u32,
    },
    /// In the context.
    Context { offset: u32 },
    /// In a value at hand.
    Value { base: Expr, offset: u32 },
}

impl Place {
    /// Finds the place that a memory value was read from.
    pub(super) fn of(e: Expr) -> Place {
        match e.kind {
            // Parts of an iterator's context.
            ExprKind::ReadBytes { address, .. } if address.kind == ExprKind::CtxAddress => {
                Place::Context { offset: 0 }
            }
            ExprKind::ReadBytes { address, space } => Place::Memory {
                address: *address,
                space,
                offset: 0,
            },
            ExprKind::CtxBytes { offset } => Place::Context { offset },
            ExprKind::Field {
                base,
                offset,
                bits: None,
            } => Place::Value {
                base: *base,
                offset,
            },
            kind => Place::Value {
                base: make(kind, e.ty, e.span),
                offset: 0,
            },
        }
    }

    /// Moves on by a fixed number of bytes.
    pub(super) fn at(self, more: u32) -> Place {
        match self {
            Place::Memory {
                address,
                space,
                offset,
            } => Place::Memory {
                address,
                space,
                offset: offset.saturating_add(more),
            },
            Place::Context { offset } => Place::Context {
                offset: offset.saturating_add(more),
            },
            Place::Value { base, offset } => Place::Value {
                base,
                offset: offset.saturating_add(more),
            },
        }
    }

    /// Says whether as many bytes lie in the value or context. What is read from memory has no end.
    pub(super) fn holds(&self, size: u32) -> bool {
        let (offset, room) = match self {
            Place::Memory { .. } => return true,
            Place::Context { offset } => (*offset, CONTEXT_BYTES),
            Place::Value { base, offset } => (*offset, base.ty.size()),
        };
        offset.checked_add(size).is_some_and(|end| end <= room)
    }

    /// Reads a value of a type. Strings are cut at their NUL.
    pub(super) fn load(self, ty: &Type, bits: Option<Bits>, span: Span) -> Expr {
        let raw = self.load_raw(ty, bits, span);
        match ty {
            Type::Str { .. } if !matches!(raw.kind, ExprKind::Var(_) | ExprKind::MapGet { .. }) => {
                make(ExprKind::StrOfBytes(Box::new(raw)), ty.clone(), span)
            }
            _ => raw,
        }
    }

    fn load_raw(self, ty: &Type, bits: Option<Bits>, span: Span) -> Expr {
        let int = ty.scalar_int();
        let kind = match self {
            Place::Memory {
                address,
                space,
                offset,
            } => {
                let address = Box::new(plus(address, offset));
                match int {
                    Some(int) => ExprKind::Load {
                        address,
                        int,
                        space,
                        bits,
                    },
                    None => ExprKind::ReadBytes { address, space },
                }
            }
            Place::Context { offset } => match int {
                Some(int) => ExprKind::CtxLoad { offset, int, bits },
                None => ExprKind::CtxBytes { offset },
            },
            Place::Value { base, offset } => ExprKind::Field {
                base: Box::new(base),
                offset,
                bits,
            },
        };
        make(kind, ty.clone(), span)
    }

    /// Gives the address of a place that is read from memory.
    pub(super) fn address(self) -> Option<(Expr, Space)> {
        match self {
            Place::Memory {
                address,
                space,
                offset,
            } => Some((plus(address, offset), space)),
            _ => None,
        }
    }
}

/// Adds a fixed number of bytes to an address.
pub(super) fn plus(address: Expr, offset: u32) -> Expr {
    if offset == 0 {
        return address;
    }
    let (ty, span) = (address.ty.clone(), address.span);
    let mut offset = i64::from(offset);
    let mut base = address;
    if let ExprKind::Binary {
        op: Arithmetic::Add,
        left,
        right,
    } = &base.kind
    {
        if let ExprKind::Int(before) = right.kind {
            offset = offset.wrapping_add(before);
            base = (**left).clone();
        }
    }
    let right = make(ExprKind::Int(offset), Type::Int(smallest(offset)), span);
    let kind = ExprKind::Binary {
        op: Arithmetic::Add,
        left: Box::new(base),
        right: Box::new(super::convert::convert(right, &Type::U64)),
    };
    make(kind, ty, span)
}

/// Adds `index` times `size` bytes to an address.
pub(super) fn plus_scaled(address: Expr, index: Expr, size: u32, subtract: bool) -> Expr {
    if let ExprKind::Int(n) = index.kind {
        let bytes = n.checked_mul(i64::from(size));
        if let Some(bytes) = bytes.and_then(|b| u32::try_from(b).ok()) {
            if !subtract || bytes == 0 {
                return plus(address, bytes);
            }
        }
    }
    let size = make(ExprKind::Int(i64::from(size)), Type::I64, address.span);
    plus_strides(address, index, size, subtract)
}

/// Adds `index` times `size` bytes to an address, the size being a number of the program.
pub(super) fn plus_strides(address: Expr, index: Expr, size: Expr, subtract: bool) -> Expr {
    let (ty, span) = (address.ty.clone(), address.span);
    let index = super::convert::convert(index, &Type::I64);
    let scaled = if matches!(size.kind, ExprKind::Int(1)) {
        index
    } else {
        let kind = ExprKind::Binary {
            op: Arithmetic::Mul,
            left: Box::new(index),
            right: Box::new(size),
        };
        make(kind, Type::I64, span)
    };
    let kind = ExprKind::Binary {
        op: if subtract {
            Arithmetic::Sub
        } else {
            Arithmetic::Add
        },
        left: Box::new(address),
        right: Box::new(scaled),
    };
    make(kind, ty, span)
}

/// Dereferences an address.
pub(super) fn deref(address: Expr, ty: &Type, space: Space, span: Span) -> Expr {
    Place::Memory {
        address,
        space,
        offset: 0,
    }
    .load(ty, None, span)
}
