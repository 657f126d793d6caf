//! Machine code of x86_64, with functions, source lines and the names of what is called.

use std::fmt::Write as _;

use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, OpKind};
use kscope_bpf::inspect::{LoadedProgram, Naming};

use crate::error::Failure;

/// Disassembles the machine code that the kernel made of a program; `source` adds the source lines.
pub(super) fn disassemble(
    program: &LoadedProgram,
    naming: &Naming<'_>,
    source: bool,
) -> Result<String, Failure> {
    let image = &program.image;
    if image.jited.is_empty() {
        let why = match image.info.jited_bytes {
            0 => "the kernel made no machine code of the program: its JIT compiler is off",
            _ => "the kernel does not show the machine code",
        };
        let failure = Failure::new(why);
        return Err(match image.info.jited_bytes {
            0 => failure.hint("sysctl net.core.bpf_jit_enable=1"),
            _ => failure.hint("run as root, with kernel.kptr_restrict below 2"),
        });
    }
    let names: Vec<String> = program.functions().map(|(_, name, _)| name).collect();
    // Without a table of functions all of it is one.
    let whole = [u32::try_from(image.jited.len()).unwrap_or(u32::MAX)];
    let lengths = match image.lengths.is_empty() {
        true => whole.as_slice(),
        false => image.lengths.as_slice(),
    };
    let mut text = String::new();
    let mut rest = image.jited.as_slice();
    for (index, length) in lengths.iter().enumerate() {
        let (code, after) = rest.split_at(rest.len().min(*length as usize));
        rest = after;
        let address = image.symbols.get(index).copied().unwrap_or(0);
        let name = names.get(index).cloned().unwrap_or_else(|| program.name());
        if index > 0 {
            text.push('\n');
        }
        let _ = writeln!(text, "{name}:");
        function(&mut text, program, naming, source, address, code);
    }
    Ok(text)
}

/// Writes instructions as Intel does, numbers as C.
pub(crate) fn formatter() -> IntelFormatter {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    formatter
}

fn function(
    text: &mut String,
    program: &LoadedProgram,
    naming: &Naming<'_>,
    source: bool,
    address: u64,
    code: &[u8],
) {
    let mut formatter = formatter();
    let end = address.saturating_add(code.len() as u64);
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut insn = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut insn);
        let offset = insn.ip().wrapping_sub(address);
        if source {
            source_lines(text, program, insn.ip());
        }
        let mut shown = String::new();
        formatter.format(&insn, &mut shown);
        let is_branch = insn.op_count() > 0 && insn.op_kind(0) == OpKind::NearBranch64;
        let target = is_branch.then(|| insn.near_branch_target());
        match target {
            // Inside the function its own offsets are what is printed at the left.
            Some(target) if (address..end).contains(&target) => {
                let mut mnemonic = String::new();
                formatter.format_mnemonic(&insn, &mut mnemonic);
                shown = format!("{mnemonic} {}", target - address);
            }
            Some(target) => {
                if let Some(name) = (naming.function)(target) {
                    let _ = write!(shown, "  ; {name}");
                }
            }
            None => {
                if insn.op_count() == 2 && insn.op_kind(1) == OpKind::Immediate64 {
                    if let Some(name) = (naming.function)(insn.immediate64()) {
                        let _ = write!(shown, "  ; {name}");
                    }
                }
            }
        }
        let _ = writeln!(text, "{offset:4}: {shown}");
    }
}

/// Writes the source lines whose machine code begins at an address.
fn source_lines(text: &mut String, program: &LoadedProgram, address: u64) {
    let places = program.image.jited_lines.iter().enumerate();
    for (index, _) in places.filter(|(_, at)| **at == address && address != 0) {
        if let Some((file, line, column, source)) = program.line(index) {
            let source = source.trim().replace(['\n', '\r', '\t'], " ");
            let _ = writeln!(text, "; {file}:{line}:{column}: {source}");
        }
    }
}
