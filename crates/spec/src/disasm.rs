//! Instructions as text, one line each, in the syntax [`crate::asm`] reads back.

use crate::helper;
use crate::insn::{
    AluOp, AtomicOp, Callee, Cond, Insn, Op, Operand, Pseudo, Reg, Size, Special, SwapOrder, Width,
};
use crate::object::{LineInfo, ProgramSpec, Reloc, RelocKind, Spec};
use kscope_btf::{Btf, TypeId};
use std::fmt::Write as _;

/// What [`program`] prints beside the instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The slot number before each instruction.
    pub numbers: bool,
    /// Helper names beside their numbers.
    pub helper_names: bool,
    /// The source line before the first instruction made from it.
    pub source: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            numbers: true,
            helper_names: true,
            source: true,
        }
    }
}

/// Prints a program: functions as labels, relocations by name, source lines, prototypes and CO-RE
/// relocations as comments.
#[must_use]
pub fn program(spec: &Spec, program: &ProgramSpec, options: Options) -> String {
    program_with_notes(spec, program, options, &|_| None)
}

/// Prints a program as [`program`] does, with a comment after each instruction that `note` has one
/// for, by its slot.
#[must_use]
pub fn program_with_notes(
    spec: &Spec,
    program: &ProgramSpec,
    options: Options,
    note: &dyn Fn(u32) -> Option<String>,
) -> String {
    let mut out = String::new();
    let types = match options.source && !spec.types.is_empty() {
        true => Btf::parse(spec.types.clone()).ok(),
        false => None,
    };
    let mut slot = 0;
    while slot < program.insns.len() {
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        for func in at(&program.funcs, number, |func| func.insn) {
            if let Some(types) = &types {
                if func.type_id != 0 {
                    let text = types.print_c(TypeId(func.type_id));
                    let _ = writeln!(out, "; {}", one_line(&text));
                }
            }
            let _ = writeln!(out, "{}:", one_line(&func.name));
        }
        if options.source {
            for line in at(&program.lines, number, |line| line.insn) {
                out.push_str(&source_comment(spec, *line));
            }
        }
        if options.numbers {
            let _ = write!(out, "{slot:4}: ");
        }
        let reloc = at(&program.relocs, number, |reloc| reloc.insn).first();
        let rest = program.insns.get(slot..).unwrap_or_default();
        let line = Line {
            spec: Some(spec),
            reloc,
            helper_names: options.helper_names,
        };
        let (text, slots) = line.text(rest);
        out.push_str(&text);
        if let Some(note) = note(number) {
            let _ = write!(out, "  ; {}", one_line(&note));
        }
        if let Some(types) = &types {
            for relocation in at(&program.core, number, |core| core.insn) {
                let access = crate::core::access_text(types, relocation);
                let text = format!("  ; CO-RE {} {access}", relocation.kind.name());
                out.push_str(&one_line(&text));
            }
        }
        if let Some(name) = reloc.and_then(|reloc| callee(spec, *rest.first()?, reloc)) {
            let _ = write!(out, "  ; {}", one_line(&name));
        }
        out.push('\n');
        slot = slot.saturating_add(slots);
    }
    out
}

/// Gives the records of a slot, of those that ascend.
fn at<T>(records: &[T], slot: u32, of: impl Fn(&T) -> u32) -> &[T] {
    let from = records.partition_point(|record| of(record) < slot);
    let rest = records.get(from..).unwrap_or_default();
    let count = rest.partition_point(|record| of(record) == slot);
    rest.get(..count).unwrap_or_default()
}

/// The distance that compilers give calls whose place a linker or loader fills in.
pub(crate) const UNLINKED: i32 = -1;

/// Gives the name of an external function that a call is of, where the call itself does not say it.
fn callee(spec: &Spec, insn: Insn, reloc: &Reloc) -> Option<String> {
    match reloc.kind {
        RelocKind::Extern(id) if !insn.is_wide() && insn != Insn::call_local(UNLINKED) => {
            let name = &spec.externs.get(usize::try_from(id.0).ok()?)?.name;
            Some(format!("extern {name}"))
        }
        _ => None,
    }
}

/// Makes text of foreign origin fit a line: it has no control characters, which would end the line or be
/// for the terminal.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

/// Prints instructions one a line, without numbers and helper names.
#[must_use]
pub fn insns(insns: &[Insn]) -> String {
    let mut out = String::new();
    let mut rest = insns;
    while !rest.is_empty() {
        let (text, slots) = Line::default().text(rest);
        out.push_str(&text);
        out.push('\n');
        rest = rest.get(slots..).unwrap_or_default();
    }
    out
}

/// Prints the instruction at the start of `slots` (two are read where it is `ld_imm64`).
///
/// A slot that is no instruction is printed as `.slot` with its eight little-endian bytes.
#[must_use]
pub fn insn(slots: &[Insn]) -> String {
    Line::default().text(slots).0
}

fn source_comment(spec: &Spec, line: LineInfo) -> String {
    let file = usize::try_from(line.file)
        .ok()
        .and_then(|file| spec.files.get(file));
    let (name, text) = match file {
        Some(file) => (file.name.as_str(), file.text.line(line.line).unwrap_or("")),
        None => ("?", ""),
    };
    let text = format!("; {name}:{}:{}: {}", line.line, line.column, text.trim());
    one_line(&text).trim_end().to_owned() + "\n"
}

#[derive(Default)]
struct Line<'a> {
    spec: Option<&'a Spec>,
    reloc: Option<&'a Reloc>,
    helper_names: bool,
}

impl Line<'_> {
    /// Gives the text and how many slots it stands for.
    fn text(&self, slots: &[Insn]) -> (String, usize) {
        let Some(first) = slots.first() else {
            return (String::new(), 1);
        };
        match first.op() {
            Ok(Op::LoadImm64 { kind, dst, low }) => match slots.get(1) {
                Some(second) if is_high_half(*second) => {
                    let value = Insn::wide_value([*first, *second]);
                    let named = self.reloc.and_then(|reloc| self.relocated(reloc));
                    let is_extern = |reloc: &Reloc| matches!(reloc.kind, RelocKind::Extern(_));
                    let value = match named {
                        Some(name) if kind == Pseudo::Value && value == 0 => name,
                        Some(name)
                            if kind == Pseudo::Value && self.reloc.is_some_and(is_extern) =>
                        {
                            format!("{name} + {value}")
                        }
                        _ => wide(kind, low, second.imm),
                    };
                    (format!("{} = {value} ll", reg(dst, Width::W64)), 2)
                }
                _ => (raw(*first), 1),
            },
            Ok(op) => match self.reloc {
                Some(reloc) if *first == Insn::call_local(UNLINKED) => {
                    let name = self.relocated(reloc);
                    (
                        name.map_or_else(|| self.op(op), |name| format!("call {name}")),
                        1,
                    )
                }
                _ => (self.op(op), 1),
            },
            Err(_) => match first.special() {
                Some(special) => (special_text(special), 1),
                None => (raw(*first), 1),
            },
        }
    }

    fn relocated(&self, reloc: &Reloc) -> Option<String> {
        let spec = self.spec?;
        let text = match &reloc.kind {
            RelocKind::Map(id) => {
                let name = spec.maps.get(usize::try_from(id.0).ok()?)?.name.as_str();
                format!("map({})", label(name, id.0))
            }
            RelocKind::MapValue { map, offset } => {
                let name = spec.maps.get(usize::try_from(map.0).ok()?)?.name.as_str();
                format!("map_value({}) + {offset}", label(name, map.0))
            }
            RelocKind::Late(id) => {
                let name = spec.late.get(usize::try_from(id.0).ok()?)?.name.as_str();
                format!("late({})", label(name, id.0))
            }
            RelocKind::Func(slot) => format!("func({slot})"),
            RelocKind::Extern(id) => {
                let name = spec.externs.get(usize::try_from(id.0).ok()?)?.name.as_str();
                format!("extern({})", label(name, id.0))
            }
        };
        Some(text)
    }

    fn op(&self, op: Op) -> String {
        match op {
            Op::Alu {
                width,
                op,
                dst,
                src,
            } => format!(
                "{} {} {}",
                reg(dst, width),
                assignment(op),
                operand(src, width)
            ),
            Op::MovSx {
                width,
                bits,
                dst,
                src,
            } => format!("{} = (s{bits}){}", reg(dst, width), reg(src, width)),
            Op::Neg { width, dst } => format!("{0} = -{0}", reg(dst, width)),
            Op::Swap { order, bits, dst } => {
                let name = swap(order);
                format!("{0} = {name}{bits} {0}", reg(dst, Width::W64))
            }
            Op::Load {
                size,
                signed,
                dst,
                base,
                off,
            } => {
                let sign = if signed { 's' } else { 'u' };
                format!(
                    "{} = *{}",
                    reg(dst, Width::W64),
                    place(sign, size, base, off)
                )
            }
            Op::Store {
                size,
                base,
                off,
                src,
            } => format!(
                "*{} = {}",
                place('u', size, base, off),
                operand(src, Width::W64)
            ),
            Op::Atomic {
                size,
                op,
                base,
                off,
                src,
            } => atomic(op, &place('u', size, base, off), &reg(src, Width::W64)),
            Op::LoadImm64 { kind, dst, low } => {
                format!("{} = {} ll", reg(dst, Width::W64), wide(kind, low, 0))
            }
            Op::LoadPacket { size, index, off } => {
                let bits = size.bytes() * 8;
                match index {
                    None => format!("r0 = *(u{bits} *)skb[{off}]"),
                    Some(index) => {
                        let index = reg(index, Width::W64);
                        format!("r0 = *(u{bits} *)skb[{index} {}]", signed(off))
                    }
                }
            }
            Op::Jump { off, long } => {
                let name = if long { "gotol" } else { "goto" };
                format!("{name} {off:+}")
            }
            Op::Branch {
                width,
                cond,
                dst,
                src,
                off,
            } => format!(
                "if {} {} {} goto {off:+}",
                reg(dst, width),
                comparison(cond),
                operand(src, width)
            ),
            Op::Call(Callee::Helper(id)) => match helper::name(id) {
                Some(name) if self.helper_names => format!("call bpf_{name}#{}", id.0),
                _ => format!("call {}", id.0),
            },
            Op::Call(Callee::Local(distance)) => format!("call pc{distance:+}"),
            Op::Call(Callee::Kfunc { btf_id, fd_index }) => {
                if fd_index == 0 {
                    format!("call kfunc[{btf_id}]")
                } else {
                    format!("call kfunc[{btf_id}, {fd_index}]")
                }
            }
            Op::Exit => "exit".to_owned(),
        }
    }
}

fn special_text(special: Special) -> String {
    let r = |register| reg(register, Width::W64);
    match special {
        Special::LoadAcquire {
            size,
            dst,
            base,
            off,
        } => format!("{} = load_acquire({})", r(dst), place('u', size, base, off)),
        Special::StoreRelease {
            size,
            base,
            off,
            src,
        } => format!("store_release({}, {})", place('u', size, base, off), r(src)),
        Special::MayGoto { off } => format!("may_goto {off:+}"),
        Special::GotoRegister { dst } => format!("gotox {}", r(dst)),
        Special::CastAddress { dst, src, to, from } => {
            format!("{} = addr_space_cast({}, {to}, {from})", r(dst), r(src))
        }
        Special::PerCpuAddress { dst, src } => format!("{} = this_cpu({})", r(dst), r(src)),
        Special::ZeroExtend { dst } => format!("{0} = zext({0})", reg(dst, Width::W32)),
        Special::NoSpeculation => "nospec".to_owned(),
        Special::CallSubprogram { off, number } => format!("call pc{off:+}[{number}]"),
        Special::CallBelow { distance } => format!("call {distance}"),
    }
}

/// Tells whether a slot is what the kernel demands of the second one of `ld_imm64`.
fn is_high_half(slot: Insn) -> bool {
    slot.code == 0 && slot.dst == 0 && slot.src == 0 && slot.off == 0
}

/// Gives a name that the assembler reads back, or the index where the name is no such thing.
fn label(name: &str, index: u32) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.:$@-/".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("#{index}")
    }
}

fn raw(slot: Insn) -> String {
    format!(".slot {:#018x}", u64::from_be_bytes(slot.encode_le()))
}

fn reg(reg: Reg, width: Width) -> String {
    match width {
        Width::W32 => format!("w{}", reg.0),
        Width::W64 => format!("r{}", reg.0),
    }
}

fn operand(src: Operand, width: Width) -> String {
    match src {
        Operand::Reg(src) => reg(src, width),
        Operand::Imm(imm) => imm.to_string(),
    }
}

fn signed(off: i32) -> String {
    let sign = if off < 0 { '-' } else { '+' };
    format!("{sign} {}", off.unsigned_abs())
}

fn place(sign: char, size: Size, base: Reg, off: i16) -> String {
    let bits = size.bytes() * 8;
    format!("({sign}{bits} *)(r{} {})", base.0, signed(i32::from(off)))
}

fn wide(kind: Pseudo, low: i32, high: i32) -> String {
    let value = u64::from(low as u32) | (u64::from(high as u32) << 32);
    match kind {
        Pseudo::Value => format!("{value:#x}"),
        _ => {
            let name = pseudo(kind);
            if high == 0 {
                format!("{name}[{low}]")
            } else {
                format!("{name}[{low}] + {}", high as u32)
            }
        }
    }
}

fn atomic(op: AtomicOp, place: &str, src: &str) -> String {
    match op {
        AtomicOp::Cmpxchg => format!("r0 = cmpxchg({place}, r0, {src})"),
        _ if op.fetches_to_src() => format!("{src} = {}({place}, {src})", atomic_name(op)),
        _ => format!("lock *{place} {} {src}", atomic_name(op)),
    }
}

/// The word of an atomic operation: a function's name, or the operator after `lock`.
pub(crate) fn atomic_name(op: AtomicOp) -> &'static str {
    match op {
        AtomicOp::Add => "+=",
        AtomicOp::Or => "|=",
        AtomicOp::And => "&=",
        AtomicOp::Xor => "^=",
        AtomicOp::FetchAdd => "atomic_fetch_add",
        AtomicOp::FetchOr => "atomic_fetch_or",
        AtomicOp::FetchAnd => "atomic_fetch_and",
        AtomicOp::FetchXor => "atomic_fetch_xor",
        AtomicOp::Xchg => "xchg",
        AtomicOp::Cmpxchg => "cmpxchg",
    }
}

/// The word before the bits of a byte order operation.
pub(crate) fn swap(order: SwapOrder) -> &'static str {
    match order {
        SwapOrder::Le => "le",
        SwapOrder::Be => "be",
        SwapOrder::Always => "bswap",
    }
}

/// The word of a pseudo kind of `ld_imm64`.
pub(crate) fn pseudo(kind: Pseudo) -> &'static str {
    match kind {
        Pseudo::Value => "value",
        Pseudo::MapFd => "map_fd",
        Pseudo::MapValue => "map_fd_value",
        Pseudo::BtfId => "btf_id",
        Pseudo::Func => "subprog",
        Pseudo::MapIndex => "map_index",
        Pseudo::MapIndexValue => "map_index_value",
    }
}

/// The assignment operator of arithmetic.
pub(crate) fn assignment(op: AluOp) -> &'static str {
    match op {
        AluOp::Add => "+=",
        AluOp::Sub => "-=",
        AluOp::Mul => "*=",
        AluOp::Div => "/=",
        AluOp::Or => "|=",
        AluOp::And => "&=",
        AluOp::Lsh => "<<=",
        AluOp::Rsh => ">>=",
        AluOp::Mod => "%=",
        AluOp::Xor => "^=",
        AluOp::Mov => "=",
        AluOp::Arsh => "s>>=",
        AluOp::SDiv => "s/=",
        AluOp::SMod => "s%=",
    }
}

/// The operator of a comparison.
pub(crate) fn comparison(cond: Cond) -> &'static str {
    match cond {
        Cond::Eq => "==",
        Cond::Ne => "!=",
        Cond::Gt => ">",
        Cond::Ge => ">=",
        Cond::Lt => "<",
        Cond::Le => "<=",
        Cond::Sgt => "s>",
        Cond::Sge => "s>=",
        Cond::Slt => "s<",
        Cond::Sle => "s<=",
        Cond::Set => "&",
    }
}
