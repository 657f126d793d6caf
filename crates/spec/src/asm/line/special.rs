//! The instructions of [`Special`].

use super::{Parsed, Slot, access, address, exact, reg_of};
use crate::asm::token::Tokens;
use crate::insn::{Reg, Size, Special, Width};

/// `((u64 *)(r1 + 0)`, of any size.
fn place(tokens: &mut Tokens<'_>) -> Parsed<(Size, Reg, i16)> {
    tokens.need("(")?;
    tokens.need("(")?;
    let here = tokens.expected("an unsigned type");
    let (signed, size) = access(tokens)?;
    if signed {
        return Err(here);
    }
    let (base, off) = address(tokens)?;
    Ok((size, base, off))
}

fn raw(special: Special) -> Slot {
    Slot::Raw(special.insn())
}

pub(super) fn load_acquire(tokens: &mut Tokens<'_>, dst: Reg) -> Parsed<Slot> {
    let (size, base, off) = place(tokens)?;
    tokens.need(")")?;
    Ok(raw(Special::LoadAcquire {
        size,
        dst,
        base,
        off,
    }))
}

pub(super) fn store_release(tokens: &mut Tokens<'_>) -> Parsed<Slot> {
    let (size, base, off) = place(tokens)?;
    tokens.need(",")?;
    let src = reg_of(tokens, Width::W64)?;
    tokens.need(")")?;
    Ok(raw(Special::StoreRelease {
        size,
        base,
        off,
        src,
    }))
}

pub(super) fn may_goto(tokens: &mut Tokens<'_>) -> Parsed<Slot> {
    let off = exact(tokens.number()?)?;
    Ok(raw(Special::MayGoto { off }))
}

/// `(r2, 0, 1)`: the address spaces of the result and of the source.
pub(super) fn cast_address(tokens: &mut Tokens<'_>, dst: Reg) -> Parsed<Slot> {
    tokens.need("(")?;
    let src = reg_of(tokens, Width::W64)?;
    tokens.need(",")?;
    let to = exact(tokens.number()?)?;
    tokens.need(",")?;
    let from = exact(tokens.number()?)?;
    tokens.need(")")?;
    Ok(raw(Special::CastAddress { dst, src, to, from }))
}

pub(super) fn per_cpu_address(tokens: &mut Tokens<'_>, dst: Reg) -> Parsed<Slot> {
    tokens.need("(")?;
    let src = reg_of(tokens, Width::W64)?;
    tokens.need(")")?;
    Ok(raw(Special::PerCpuAddress { dst, src }))
}

/// `zext(w1)`, of the register assigned to.
pub(super) fn zero_extend(tokens: &mut Tokens<'_>, width: Width, dst: Reg) -> Parsed<Slot> {
    let here = tokens.expected("a register or a number");
    let _ = tokens.next();
    tokens.need("(")?;
    let src = reg_of(tokens, Width::W32)?;
    tokens.need(")")?;
    if width != Width::W32 || src != dst {
        return Err(here);
    }
    Ok(raw(Special::ZeroExtend { dst }))
}

/// `[1]` after the distance.
pub(super) fn call_subprogram(tokens: &mut Tokens<'_>, distance: i128) -> Parsed<Slot> {
    let off = exact(distance)?;
    let number = exact(tokens.number()?)?;
    tokens.need("]")?;
    Ok(raw(Special::CallSubprogram { off, number }))
}
