//! Where a USDT probe's arguments are: the compiler's text as what libbpf's `usdt.bpf.h` reads.

use kscope_spec::{UsdtArgument as Argument, UsdtArgumentPlace as Place};

use crate::error::Error;

/// Arguments that `usdt.bpf.h` has room for.
const MOST: usize = 12;
/// Size of its `struct __bpf_usdt_spec`.
pub(crate) const SPEC: usize = MOST * 16 + 16;
/// Byte of padding in it by which entries in use are known.
const USED: usize = SPEC - 1;

/// Encodes `struct __bpf_usdt_spec` of a probe's arguments.
///
/// # Errors
///
/// [`Error::Invalid`] with the argument that is not understood.
pub(crate) fn spec(machine: u16, arguments: &str, cookie: u64) -> Result<[u8; SPEC], Error> {
    let arguments = parse(machine, arguments).map_err(|part| {
        Error::invalid(format!("a USDT argument that is not known here: {part}"))
    })?;
    if arguments.len() > MOST {
        return Err(Error::invalid(format!(
            "a USDT probe with {} arguments, more than {MOST}",
            arguments.len()
        )));
    }
    let mut spec = [0; SPEC];
    for (slot, argument) in spec.chunks_exact_mut(16).zip(&arguments) {
        let (kind, index, shift, register, value) = match argument.place {
            Place::Constant(value) => (0u32, 0u16, 0u8, 0u16, value),
            Place::Register(register) => (1, 0, 0, register, 0),
            Place::Memory { base, offset } => (2, 0, 0, base, offset),
            Place::Indexed {
                base,
                index,
                shift,
                offset,
            } => (3, index, shift, base, offset),
        };
        // The kind is 8 bits, the index register's offset 12, the shift 4; before libbpf 1.7 all
        // 32 were the kind, and the others are 0 for kinds of that time.
        let word = kind | u32::from(index) << 8 | u32::from(shift) << 20;
        slot[..8].copy_from_slice(&value.to_ne_bytes());
        slot[8..12].copy_from_slice(&word.to_ne_bytes());
        slot[12..14].copy_from_slice(&register.to_ne_bytes());
        slot[14] = u8::from(argument.signed);
        slot[15] = 64 - argument.bytes * 8;
    }
    let count = arguments.len() as u16;
    spec[MOST * 16..MOST * 16 + 8].copy_from_slice(&cookie.to_ne_bytes());
    spec[MOST * 16 + 8..MOST * 16 + 10].copy_from_slice(&count.to_ne_bytes());
    spec[USED] = 1;
    Ok(spec)
}

/// Tells whether an entry of the map of specs holds one of ours.
pub(crate) fn in_use(entry: &[u8]) -> bool {
    entry.get(USED) == Some(&1)
}

/// Reads where the arguments of a USDT probe are, for a processor (`EM_*`), as the compiler wrote it.
///
/// # Errors
///
/// The argument that is not understood.
pub fn parse(machine: u16, text: &str) -> Result<Vec<Argument>, String> {
    const X86_64: u16 = 62;
    const AARCH64: u16 = 183;
    let mut arguments = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        // aarch64 writes `8@[sp, 16]`, with a blank inside.
        let open = rest
            .find('[')
            .filter(|&open| rest.find(' ').is_none_or(|blank| open < blank));
        let end = match open.and_then(|open| rest.get(open..)?.find(']').map(|at| open + at + 1)) {
            Some(end) => end,
            None => rest.find(' ').unwrap_or(rest.len()),
        };
        let (part, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = after.trim_start();
        let argument = match machine {
            X86_64 => argument(part, x86_64),
            AARCH64 => argument(part, aarch64),
            _ => None,
        };
        arguments.push(argument.ok_or_else(|| part.to_owned())?);
    }
    Ok(arguments)
}

/// Reads `[-]size@place`.
fn argument(text: &str, place: fn(&str) -> Option<Place>) -> Option<Argument> {
    let (size, at) = text.split_once('@')?;
    let signed = size.starts_with('-');
    let bytes: u8 = size.trim_start_matches('-').parse().ok()?;
    matches!(bytes, 1 | 2 | 4 | 8).then_some(())?;
    Some(Argument {
        bytes,
        signed,
        place: place(at)?,
    })
}

/// Reads a number, decimal or hexadecimal; nothing is 0.
fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()? as i64,
        None if digits.is_empty() => 0,
        None => digits.parse().ok().or_else(|| {
            // Unsigned 64-bit constants.
            digits.parse::<u64>().ok().map(|number| number as i64)
        })?,
    };
    Some(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

fn x86_64(text: &str) -> Option<Place> {
    if let Some(constant) = text.strip_prefix('$') {
        return number(constant).map(Place::Constant);
    }
    if let Some(name) = text.strip_prefix('%') {
        return x86_64_register(name).map(Place::Register);
    }
    let (offset, inside) = text.strip_suffix(')')?.split_once('(')?;
    let offset = number(offset)?;
    let mut parts = inside.split(',').map(str::trim);
    let base = x86_64_register(parts.next()?.strip_prefix('%')?)?;
    let Some(index) = parts.next() else {
        return Some(Place::Memory { base, offset });
    };
    let index = x86_64_register(index.strip_prefix('%')?)?;
    let scale = match parts.next() {
        None => 1,
        Some(scale) => number(scale)?,
    };
    let shift = [1, 2, 4, 8].iter().position(|&known| known == scale)?;
    parts.next().is_none().then_some(Place::Indexed {
        base,
        index,
        shift: shift as u8,
        offset,
    })
}

/// Gives a register's offset in the x86_64 kernel's `struct pt_regs`.
fn x86_64_register(name: &str) -> Option<u16> {
    const NAMES: [(u16, [&str; 4]); 17] = [
        (0, ["r15", "r15d", "r15w", "r15b"]),
        (8, ["r14", "r14d", "r14w", "r14b"]),
        (16, ["r13", "r13d", "r13w", "r13b"]),
        (24, ["r12", "r12d", "r12w", "r12b"]),
        (32, ["rbp", "ebp", "bp", "bpl"]),
        (40, ["rbx", "ebx", "bx", "bl"]),
        (48, ["r11", "r11d", "r11w", "r11b"]),
        (56, ["r10", "r10d", "r10w", "r10b"]),
        (64, ["r9", "r9d", "r9w", "r9b"]),
        (72, ["r8", "r8d", "r8w", "r8b"]),
        (80, ["rax", "eax", "ax", "al"]),
        (88, ["rcx", "ecx", "cx", "cl"]),
        (96, ["rdx", "edx", "dx", "dl"]),
        (104, ["rsi", "esi", "si", "sil"]),
        (112, ["rdi", "edi", "di", "dil"]),
        (128, ["rip", "eip", "ip", "ip"]),
        (152, ["rsp", "esp", "sp", "spl"]),
    ];
    NAMES
        .iter()
        .find(|(_, names)| names.contains(&name))
        .map(|&(offset, _)| offset)
}

fn aarch64(text: &str) -> Option<Place> {
    if let Some(inside) = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
    {
        let (base, offset) = inside.split_once(',').unwrap_or((inside, ""));
        return Some(Place::Memory {
            base: aarch64_register(base.trim())?,
            offset: number(offset)?,
        });
    }
    match aarch64_register(text) {
        Some(register) => Some(Place::Register(register)),
        None => number(text).map(Place::Constant),
    }
}

/// Gives a register's offset in the aarch64 kernel's `struct user_pt_regs`.
fn aarch64_register(name: &str) -> Option<u16> {
    if name == "sp" {
        return Some(31 * 8);
    }
    let number: u16 = name.strip_prefix(['x', 'w'])?.parse().ok()?;
    (number < 31).then_some(number * 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: u16 = 62;
    const AARCH64: u16 = 183;

    #[track_caller]
    fn check(machine: u16, text: &str, expected: &[(u8, bool, Place)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|&(bytes, signed, place)| Argument {
                bytes,
                signed,
                place,
            })
            .collect();
        assert_eq!(parse(machine, text), Ok(expected), "{text}");
    }

    #[test]
    fn arguments_are_found_where_the_compiler_left_them() {
        check(X86_64, "", &[]);
        check(X86_64, "8@$5", &[(8, false, Place::Constant(5))]);
        check(X86_64, "-4@$-9", &[(4, true, Place::Constant(-9))]);
        check(
            X86_64,
            "-4@%edi 2@%ax 1@%dil",
            &[
                (4, true, Place::Register(112)),
                (2, false, Place::Register(80)),
                (1, false, Place::Register(112)),
            ],
        );
        let stack = Place::Memory {
            base: 32,
            offset: -20,
        };
        check(X86_64, "-4@-20(%rbp)", &[(4, true, stack)]);
        let plain = Place::Memory {
            base: 80,
            offset: 0,
        };
        check(X86_64, "8@(%rax)", &[(8, false, plain)]);
        let indexed = |shift, offset| Place::Indexed {
            base: 80,
            index: 40,
            shift,
            offset,
        };
        check(X86_64, "8@16(%rax,%rbx,8)", &[(8, false, indexed(3, 16))]);
        check(X86_64, "8@(%rax,%rbx)", &[(8, false, indexed(0, 0))]);
        check(
            AARCH64,
            "-4@w0 8@[sp, 16] 8@[x29] 8@7",
            &[
                (4, true, Place::Register(0)),
                (
                    8,
                    false,
                    Place::Memory {
                        base: 248,
                        offset: 16,
                    },
                ),
                (
                    8,
                    false,
                    Place::Memory {
                        base: 232,
                        offset: 0,
                    },
                ),
                (8, false, Place::Constant(7)),
            ],
        );
    }

    #[test]
    fn what_is_not_known_is_named() {
        for text in [
            "8",
            "8@",
            "3@%rax",
            "8@%xmm0",
            "8@counter(%rip,1)",
            "8@(%rax",
            "8@(%rax,%rbx,3)",
            "@%rax",
            "8@(%rax,%rbx,8,1)",
        ] {
            assert_eq!(parse(X86_64, text), Err(text.to_owned()), "{text}");
        }
        assert_eq!(parse(1, "8@$1"), Err("8@$1".to_owned()));
        let many = "8@$1 ".repeat(13);
        assert!(spec(X86_64, &many, 0).is_err());
    }

    #[test]
    fn specs_lie_as_usdt_bpf_h_reads_them() {
        let bytes = spec(X86_64, "-4@-20(%rbp) 8@16(%rax,%rbx,8)", 77).expect("known");
        assert_eq!(bytes.len(), 208);
        assert_eq!(bytes[..8], (-20i64).to_ne_bytes());
        assert_eq!(bytes[8..12], 2u32.to_ne_bytes());
        assert_eq!(bytes[12..14], 32u16.to_ne_bytes());
        assert_eq!(bytes[14..16], [1, 32]);
        let word = 3u32 | 40 << 8 | 3 << 20;
        assert_eq!(bytes[16 + 8..16 + 12], word.to_ne_bytes());
        assert_eq!(bytes[16 + 14..16 + 16], [0, 0]);
        assert_eq!(bytes[192..200], 77u64.to_ne_bytes());
        assert_eq!(bytes[200..202], 2u16.to_ne_bytes());
        assert!(in_use(&bytes));
        assert!(!in_use(&[0; SPEC]));
    }
}
