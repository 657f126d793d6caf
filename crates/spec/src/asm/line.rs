//! One line of assembler text to one instruction.

use super::AsmErrorKind;
use super::token::{Token, Tokens};
use crate::disasm;
use crate::helper::{self, HelperId};
use crate::insn::{
    AluOp, AtomicOp, Callee, Cond, Insn, Op, Operand, Pseudo, Reg, Size, Special, SwapOrder, Width,
};
use crate::object::{ExternId, LateId, MapId, RelocKind, Spec};

/// What a line stands for.
#[derive(Debug)]
pub(super) enum Slot {
    /// A slot bit by bit.
    Raw(Insn),
    /// An instruction of one slot.
    Op(Op),
    /// `ld_imm64`.
    Wide([Insn; 2], Option<RelocKind>),
    /// A call of what another object or the target has.
    Linked(Insn, RelocKind),
    /// One or two slots to be completed when all labels are known.
    To(Vec<Insn>, Target),
}

/// What completes a slot.
#[derive(Debug)]
pub(super) enum Target {
    /// `off` becomes the distance to the label.
    Jump(String),
    /// `imm` becomes the distance to the label.
    LongJump(String),
    /// The call of the label or of the helper.
    Call(String),
    /// A relocation to the slot, or to the label's.
    Func(String),
}

mod special;

type Parsed<T> = Result<T, AsmErrorKind>;

/// Parses one instruction.
pub(super) fn parse(tokens: &mut Tokens<'_>, spec: &Spec) -> Parsed<Slot> {
    let slot = instruction(tokens, spec)?;
    if tokens.at_end() {
        Ok(slot)
    } else {
        Err(tokens.expected("the end of the line"))
    }
}

fn instruction(tokens: &mut Tokens<'_>, spec: &Spec) -> Parsed<Slot> {
    if tokens.mark("*") {
        return store(tokens);
    }
    match tokens.peek() {
        Some(Token::Word("exit")) => {
            let _ = tokens.next();
            Ok(Slot::Op(Op::Exit))
        }
        Some(Token::Word("goto")) => {
            let _ = tokens.next();
            jump(tokens)
        }
        Some(Token::Word("gotol")) => {
            let _ = tokens.next();
            long_jump(tokens)
        }
        Some(Token::Word("if")) => {
            let _ = tokens.next();
            branch(tokens)
        }
        Some(Token::Word("call")) => {
            let _ = tokens.next();
            call(tokens, spec)
        }
        Some(Token::Word("lock")) => {
            let _ = tokens.next();
            locked(tokens)
        }
        Some(Token::Word(".slot")) => {
            let _ = tokens.next();
            let number = tokens.number()?;
            let bits = u64::try_from(number).map_err(|_| AsmErrorKind::Range(number))?;
            Ok(Slot::Raw(Insn::decode_le(bits.to_be_bytes())))
        }
        Some(Token::Word("store_release")) => {
            let _ = tokens.next();
            special::store_release(tokens)
        }
        Some(Token::Word("may_goto")) => {
            let _ = tokens.next();
            special::may_goto(tokens)
        }
        Some(Token::Word("gotox")) => {
            let _ = tokens.next();
            let dst = reg_of(tokens, Width::W64)?;
            Ok(Slot::Raw(Special::GotoRegister { dst }.insn()))
        }
        Some(Token::Word("nospec")) => {
            let _ = tokens.next();
            Ok(Slot::Raw(Special::NoSpeculation.insn()))
        }
        _ => assignment(tokens, spec),
    }
}

fn register(word: &str) -> Option<(Width, Reg)> {
    let (width, digits) = match word.split_at_checked(1)? {
        ("r", digits) => (Width::W64, digits),
        ("w", digits) => (Width::W32, digits),
        _ => return None,
    };
    let number = digits.parse().ok()?;
    (number <= Reg::FP.0 && (digits.len() == 1 || number > 9)).then_some((width, Reg(number)))
}

fn reg(tokens: &mut Tokens<'_>) -> Parsed<(Width, Reg)> {
    if let Some(Token::Word(word)) = tokens.peek() {
        if let Some(found) = register(word) {
            let _ = tokens.next();
            return Ok(found);
        }
    }
    Err(tokens.expected("a register"))
}

fn reg_of(tokens: &mut Tokens<'_>, width: Width) -> Parsed<Reg> {
    let here = tokens.expected("a register of the same width");
    let (found, reg) = reg(tokens)?;
    if found == width { Ok(reg) } else { Err(here) }
}

fn imm32(number: i128) -> Parsed<i32> {
    i32::try_from(number)
        .or_else(|_| u32::try_from(number).map(|number| number as i32))
        .map_err(|_| AsmErrorKind::Range(number))
}

fn exact<T: TryFrom<i128>>(number: i128) -> Parsed<T> {
    T::try_from(number).map_err(|_| AsmErrorKind::Range(number))
}

fn operand(tokens: &mut Tokens<'_>, width: Width) -> Parsed<Operand> {
    if let Some(Token::Word(_)) = tokens.peek() {
        Ok(Operand::Reg(reg_of(tokens, width)?))
    } else {
        Ok(Operand::Imm(imm32(tokens.number()?)?))
    }
}

/// `u64 *)`, after the opening parenthesis.
fn access(tokens: &mut Tokens<'_>) -> Parsed<(bool, Size)> {
    let here = tokens.expected("u8, u16, u32, u64, s8, s16 or s32");
    let found = match tokens.any_word("a type")? {
        "u8" => (false, Size::B),
        "u16" => (false, Size::H),
        "u32" => (false, Size::W),
        "u64" => (false, Size::DW),
        "s8" => (true, Size::B),
        "s16" => (true, Size::H),
        "s32" => (true, Size::W),
        _ => return Err(here),
    };
    tokens.need("*")?;
    tokens.need(")")?;
    Ok(found)
}

/// `(r10 - 8)`.
fn address(tokens: &mut Tokens<'_>) -> Parsed<(Reg, i16)> {
    tokens.need("(")?;
    let base = reg_of(tokens, Width::W64)?;
    let off = exact(tokens.number()?)?;
    tokens.need(")")?;
    Ok((base, off))
}

/// `(u64 *)(r10 - 8)`.
fn place(tokens: &mut Tokens<'_>) -> Parsed<(Size, Reg, i16)> {
    tokens.need("(")?;
    let here = tokens.expected("an unsigned type");
    let (signed, size) = access(tokens)?;
    if signed {
        return Err(here);
    }
    let (base, off) = address(tokens)?;
    Ok((size, base, off))
}

fn store(tokens: &mut Tokens<'_>) -> Parsed<Slot> {
    let (size, base, off) = place(tokens)?;
    tokens.need("=")?;
    let src = operand(tokens, Width::W64)?;
    Ok(Slot::Op(Op::Store {
        size,
        base,
        off,
        src,
    }))
}

fn locked(tokens: &mut Tokens<'_>) -> Parsed<Slot> {
    tokens.need("*")?;
    let (size, base, off) = place(tokens)?;
    let here = tokens.expected("+=, |=, &= or ^=");
    let (_, mark) = tokens.operator()?;
    let op = AtomicOp::ALL
        .into_iter()
        .find(|op| disasm::atomic_name(*op) == mark)
        .ok_or(here)?;
    let src = reg_of(tokens, Width::W64)?;
    Ok(Slot::Op(Op::Atomic {
        size,
        op,
        base,
        off,
        src,
    }))
}

fn target(tokens: &mut Tokens<'_>) -> Parsed<Result<i128, String>> {
    if let Some(Token::Word(word)) = tokens.peek() {
        let _ = tokens.next();
        return Ok(Err(word.to_owned()));
    }
    Ok(Ok(tokens.number()?))
}

fn jump(tokens: &mut Tokens<'_>) -> Parsed<Slot> {
    Ok(match target(tokens)? {
        Ok(off) => Slot::Op(Op::Jump {
            off: i32::from(exact::<i16>(off)?),
            long: false,
        }),
        Err(label) => Slot::To(vec![Insn::ja(0)], Target::Jump(label)),
    })
}

fn long_jump(tokens: &mut Tokens<'_>) -> Parsed<Slot> {
    Ok(match target(tokens)? {
        Ok(off) => Slot::Op(Op::Jump {
            off: exact(off)?,
            long: true,
        }),
        Err(label) => Slot::To(vec![Insn::gotol(0)], Target::LongJump(label)),
    })
}

fn branch(tokens: &mut Tokens<'_>) -> Parsed<Slot> {
    let (width, dst) = reg(tokens)?;
    let here = tokens.expected("a comparison");
    let (signed, mark) = tokens.operator()?;
    let cond = Cond::ALL
        .into_iter()
        .find(|cond| with_sign(disasm::comparison(*cond)) == (signed, mark))
        .ok_or(here)?;
    let src = operand(tokens, width)?;
    if !tokens.word("goto") {
        return Err(tokens.expected("goto"));
    }
    let to = target(tokens)?;
    let off = match &to {
        Ok(off) => exact(*off)?,
        Err(_) => 0,
    };
    let op = Op::Branch {
        width,
        cond,
        dst,
        src,
        off,
    };
    Ok(match to {
        Ok(_) => Slot::Op(op),
        Err(label) => Slot::To(vec![op.insn()], Target::Jump(label)),
    })
}

fn with_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('s') {
        Some(mark) => (true, mark),
        None => (false, text),
    }
}

fn call(tokens: &mut Tokens<'_>, spec: &Spec) -> Parsed<Slot> {
    if tokens.word("extern") {
        if let Ok(name) = tokens.name() {
            let insn = Insn::call_local(disasm::UNLINKED);
            return Ok(Slot::Linked(insn, external(name, spec)?));
        }
        return Ok(Slot::To(
            vec![Insn::call_local(0)],
            Target::Call("extern".to_owned()),
        ));
    }
    if let Some(Token::Mark("-")) = tokens.peek() {
        let distance = exact(tokens.number()?)?;
        return Ok(Slot::Raw(Special::CallBelow { distance }.insn()));
    }
    if let Some(Token::Number(number)) = tokens.peek() {
        let _ = tokens.next();
        let id = HelperId(exact(number)?);
        return Ok(Slot::Op(Op::Call(Callee::Helper(id))));
    }
    let name = tokens.any_word("a helper, a label, pc or kfunc")?;
    if name == "pc" && !tokens.at_end() {
        let distance = tokens.number()?;
        if tokens.mark("[") {
            return special::call_subprogram(tokens, distance);
        }
        let distance = exact(distance)?;
        return Ok(Slot::Op(Op::Call(Callee::Local(distance))));
    }
    if name == "kfunc" && tokens.mark("[") {
        let btf_id = exact(tokens.number()?)?;
        let fd_index = if tokens.mark(",") {
            exact(tokens.number()?)?
        } else {
            0
        };
        tokens.need("]")?;
        return Ok(Slot::Op(Op::Call(Callee::Kfunc { btf_id, fd_index })));
    }
    if tokens.mark("#") {
        let id = HelperId(exact(tokens.number()?)?);
        if helper::by_name(name) != Some(id) {
            return Err(AsmErrorKind::Unknown(format!("{name}#{}", id.0)));
        }
        return Ok(Slot::Op(Op::Call(Callee::Helper(id))));
    }
    Ok(Slot::To(
        vec![Insn::call_local(0)],
        Target::Call(name.to_owned()),
    ))
}

/// Everything that begins with a register.
fn assignment(tokens: &mut Tokens<'_>, spec: &Spec) -> Parsed<Slot> {
    let (width, dst) = reg(tokens)?;
    let here = tokens.expected("an assignment");
    let (signed, mark) = tokens.operator()?;
    if (signed, mark) != (false, "=") {
        let op = AluOp::ALL
            .into_iter()
            .find(|op| with_sign(disasm::assignment(*op)) == (signed, mark))
            .ok_or(here)?;
        let src = operand(tokens, width)?;
        return Ok(Slot::Op(Op::Alu {
            width,
            op,
            dst,
            src,
        }));
    }
    match tokens.peek() {
        Some(Token::Mark("*")) if width == Width::W64 => {
            let _ = tokens.next();
            load(tokens, dst)
        }
        Some(Token::Mark("(")) => {
            let _ = tokens.next();
            let here = tokens.expected("s8, s16 or s32");
            let bits = match tokens.any_word("a type")? {
                "s8" => 8,
                "s16" => 16,
                "s32" => 32,
                _ => return Err(here),
            };
            tokens.need(")")?;
            let src = reg_of(tokens, width)?;
            Ok(Slot::Op(Op::MovSx {
                width,
                bits,
                dst,
                src,
            }))
        }
        Some(Token::Word(word)) => match register(word) {
            Some(_) => {
                let src = Operand::Reg(reg_of(tokens, width)?);
                let op = AluOp::Mov;
                Ok(Slot::Op(Op::Alu {
                    width,
                    op,
                    dst,
                    src,
                }))
            }
            None if word == "zext" => special::zero_extend(tokens, width, dst),
            None if width == Width::W64 => word_value(tokens, dst, spec),
            None => Err(tokens.expected("a register or a number")),
        },
        _ => constant(tokens, width, dst),
    }
}

/// `5`, `-5`, `0x5 ll`, and `-r1`.
fn constant(tokens: &mut Tokens<'_>, width: Width, dst: Reg) -> Parsed<Slot> {
    let here = tokens.expected("a value");
    let Ok(number) = tokens.number() else {
        if tokens.mark("-") {
            let here = tokens.expected("the register assigned to");
            if reg_of(tokens, width)? != dst {
                return Err(here);
            }
            return Ok(Slot::Op(Op::Neg { width, dst }));
        }
        return Err(here);
    };
    if tokens.word("ll") {
        if width == Width::W32 {
            return Err(here);
        }
        let value = u64::try_from(number)
            .or_else(|_| i64::try_from(number).map(|number| number as u64))
            .map_err(|_| AsmErrorKind::Range(number))?;
        return Ok(Slot::Wide(Insn::ld_imm64(dst, value), None));
    }
    let src = Operand::Imm(imm32(number)?);
    let op = AluOp::Mov;
    Ok(Slot::Op(Op::Alu {
        width,
        op,
        dst,
        src,
    }))
}

/// `*(u64 *)(r1 + 0)` and `*(u16 *)skb[12]`, after the star.
fn load(tokens: &mut Tokens<'_>, dst: Reg) -> Parsed<Slot> {
    tokens.need("(")?;
    let (signed, size) = access(tokens)?;
    if tokens.word("skb") {
        tokens.need("[")?;
        let index = match tokens.peek() {
            Some(Token::Word(_)) => Some(reg_of(tokens, Width::W64)?),
            _ => None,
        };
        let off = exact(tokens.number()?)?;
        tokens.need("]")?;
        if signed || size == Size::DW || dst != Reg::R0 {
            return Err(tokens.expected("r0 and an unsigned type of at most 32 bits before"));
        }
        return Ok(Slot::Op(Op::LoadPacket { size, index, off }));
    }
    let (base, off) = address(tokens)?;
    Ok(Slot::Op(Op::Load {
        size,
        signed,
        dst,
        base,
        off,
    }))
}

/// Values that begin with a word other than a register.
fn word_value(tokens: &mut Tokens<'_>, dst: Reg, spec: &Spec) -> Parsed<Slot> {
    let here = tokens.expected("a value");
    let word = tokens.any_word("a value")?;
    let plain = Insn::ld_imm64(dst, 0);
    match word {
        "map" | "map_value" | "late" | "func" | "extern" => {
            let name = tokens.name()?;
            let kind = match word {
                "map" => RelocKind::Map(MapId(find(name, spec.maps.iter().map(|map| &map.name))?)),
                "map_value" => {
                    let map = MapId(find(name, spec.maps.iter().map(|map| &map.name))?);
                    let offset = exact(tokens.number()?)?;
                    RelocKind::MapValue { map, offset }
                }
                "late" => {
                    let names = spec.late.iter().map(|late| &late.name);
                    RelocKind::Late(LateId(find(name, names)?))
                }
                "extern" => {
                    let kind = external(name, spec)?;
                    let addend = match tokens.peek() {
                        Some(Token::Mark("+")) => exact(tokens.number()?)?,
                        _ => 0,
                    };
                    need_ll(tokens)?;
                    return Ok(Slot::Wide(Insn::ld_imm64(dst, addend), Some(kind)));
                }
                _ => {
                    need_ll(tokens)?;
                    return Ok(Slot::To(plain.to_vec(), Target::Func(name.to_owned())));
                }
            };
            need_ll(tokens)?;
            return Ok(Slot::Wide(plain, Some(kind)));
        }
        "cmpxchg" | "xchg" | "atomic_fetch_add" | "atomic_fetch_or" | "atomic_fetch_and"
        | "atomic_fetch_xor" => return fetch(tokens, word, dst),
        "load_acquire" => return special::load_acquire(tokens, dst),
        "addr_space_cast" => return special::cast_address(tokens, dst),
        "this_cpu" => return special::per_cpu_address(tokens, dst),
        _ => {}
    }
    if let Some(kind) = Pseudo::ALL
        .into_iter()
        .find(|kind| *kind != Pseudo::Value && disasm::pseudo(*kind) == word)
    {
        tokens.need("[")?;
        let low = imm32(tokens.number()?)?;
        tokens.need("]")?;
        let high = if tokens.word("ll") {
            return Ok(Slot::Wide(Insn::ld_pseudo(dst, kind, low, 0), None));
        } else {
            imm32(tokens.number()?)?
        };
        need_ll(tokens)?;
        return Ok(Slot::Wide(Insn::ld_pseudo(dst, kind, low, high), None));
    }
    for order in [SwapOrder::Le, SwapOrder::Be, SwapOrder::Always] {
        let bits = match word.strip_prefix(disasm::swap(order)) {
            Some("16") => 16,
            Some("32") => 32,
            Some("64") => 64,
            _ => continue,
        };
        let here = tokens.expected("the register assigned to");
        if reg_of(tokens, Width::W64)? != dst {
            return Err(here);
        }
        return Ok(Slot::Op(Op::Swap { order, bits, dst }));
    }
    Err(here)
}

/// `((u64 *)(r1 + 0), r2)`, after the name of the operation.
fn fetch(tokens: &mut Tokens<'_>, name: &str, dst: Reg) -> Parsed<Slot> {
    let here = tokens.expected("an atomic operation");
    let op = AtomicOp::ALL
        .into_iter()
        .find(|op| disasm::atomic_name(*op) == name)
        .ok_or(here)?;
    tokens.need("(")?;
    let (size, base, off) = place(tokens)?;
    tokens.need(",")?;
    if op == AtomicOp::Cmpxchg {
        let here = tokens.expected("r0");
        if reg_of(tokens, Width::W64)? != Reg::R0 || dst != Reg::R0 {
            return Err(here);
        }
        tokens.need(",")?;
    }
    let here = tokens.expected("the register assigned to");
    let src = reg_of(tokens, Width::W64)?;
    if op != AtomicOp::Cmpxchg && src != dst {
        return Err(here);
    }
    tokens.need(")")?;
    Ok(Slot::Op(Op::Atomic {
        size,
        op,
        base,
        off,
        src,
    }))
}

/// Finds a symbol of the target or of another object.
fn external(name: &str, spec: &Spec) -> Parsed<RelocKind> {
    let names = spec.externs.iter().map(|symbol| &symbol.name);
    Ok(RelocKind::Extern(ExternId(find(name, names)?)))
}

fn need_ll(tokens: &mut Tokens<'_>) -> Parsed<()> {
    if tokens.word("ll") {
        Ok(())
    } else {
        Err(tokens.expected("ll"))
    }
}

/// Finds a name, or the index written `#3`.
fn find<'a>(name: &str, mut names: impl ExactSizeIterator<Item = &'a String>) -> Parsed<u32> {
    let unknown = || AsmErrorKind::Unknown(name.to_owned());
    let index = match name.strip_prefix('#') {
        Some(digits) => {
            let index: usize = digits.parse().map_err(|_| unknown())?;
            (index < names.len()).then_some(index)
        }
        None => names.position(|known| known == name),
    };
    index
        .and_then(|index| u32::try_from(index).ok())
        .ok_or_else(unknown)
}
