//! Each case is one relocation: the object's types, the target's, a path, an instruction.

mod bounds;
mod fields;
mod programs;
mod types;

use std::collections::HashMap;

use kscope_btf::write::Builder;
use kscope_btf::{Btf, Encoding, Linkage, NewMember};

use super::*;
use crate::insn::{Reg, Size};
use crate::object::{LineInfo, SourceFile};

/// Types from a text, one each line: `label kind name …`; later lines name earlier ones by label.
///
/// `i int int 4 signed`, `s struct sample 8 a:i@0 b:i@32/3` (offset and width in bits), `p ptr s`,
/// `a array i 4`, `t typedef name s`, `c const s`, `e enum name 4 A=0`, `E enum64 name A=0`,
/// `f fwd name`, `F fwd_union name`, `x float double 8`, `o proto result param…`.
pub(super) fn types(text: &str) -> (Vec<u8>, HashMap<String, TypeId>) {
    let mut b = Builder::new();
    let mut labels = HashMap::from([("void".to_owned(), TypeId::VOID)]);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u32>().expect(line);
        let name = |at: usize| if words[at] == "-" { "" } else { words[at] };
        let id = |label: &str| match label.parse() {
            Ok(number) => TypeId(number),
            Err(_) => *labels.get(label).expect(line),
        };
        let members = || -> Vec<NewMember<'_>> {
            let member = |word: &'_ str| -> (String, TypeId, u32, Option<u8>) {
                let (name, rest) = word.split_once(':').expect(line);
                let (label, place) = rest.split_once('@').expect(line);
                let (offset, width) = place.split_once('/').unwrap_or((place, "0"));
                let width = width.parse().ok().filter(|&width| width != 0);
                (
                    name.to_owned(),
                    id(label),
                    offset.parse().expect(line),
                    width,
                )
            };
            let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
            let made = words[4..].iter().map(|word| member(word));
            made.map(|(name, type_id, bit_offset, bitfield)| NewMember {
                name: leak(name),
                type_id,
                bit_offset,
                bitfield,
            })
            .collect()
        };
        let constants = |from: usize| -> Vec<(&str, i64)> {
            let pairs = words[from..]
                .iter()
                .map(|word| word.split_once('=').expect(line));
            pairs
                .map(|(name, value)| (name, value.parse().expect(line)))
                .collect()
        };
        let made = match words[1] {
            "int" => {
                let encoding = match words[4] {
                    "signed" => Encoding::Signed,
                    "bool" => Encoding::Bool,
                    "char" => Encoding::Char,
                    _ => Encoding::Unsigned,
                };
                // A tilde stands for a space.
                b.add_int(&words[2].replace('~', " "), number(3), encoding)
            }
            "struct" => b.add_struct(name(2), number(3), &members()),
            "union" => b.add_union(name(2), number(3), &members()),
            "ptr" => b.add_ptr(id(words[2])),
            "array" => b.add_array(id(words[2]), id(words[2]), number(3)),
            "typedef" => b.add_typedef(words[2], id(words[3])),
            "const" => b.add_const(id(words[2])),
            "volatile" => b.add_volatile(id(words[2])),
            "float" => b.add_float(words[2], number(3)),
            "fwd" => b.add_fwd(words[2], false),
            "fwd_union" => b.add_fwd(words[2], true),
            "enum" => {
                let list = constants(4);
                let list: Vec<_> = list.iter().map(|&(n, v)| (n, v as i32)).collect();
                b.add_enum(name(2), number(3), &list)
            }
            "enum64" => b.add_enum64(name(2), &constants(3)),
            "proto" => {
                let params: Vec<_> = words[3..].iter().map(|&word| ("p", id(word))).collect();
                b.add_func_proto(id(words[2]), &params)
            }
            "variadic" => {
                let first = ("p", id(words[3]));
                b.add_func_proto(id(words[2]), &[first, ("", TypeId::VOID)])
            }
            "func" => b.add_func(words[2], id(words[3]), Linkage::Static),
            other => panic!("{other}: {line}"),
        };
        labels.insert(words[0].to_owned(), made);
    }
    (b.finish(), labels)
}

/// Gives the numbers of a path: `0:1:2`.
pub(super) fn path(text: &str) -> Vec<u32> {
    text.split(':')
        .map(|n| n.parse().expect("a number"))
        .collect()
}

/// Makes an instruction: `mov 4`, `add 4`, `ldx4 8`, `stx2 8`, `st1 8`, `wide 5`.
pub(super) fn insn(text: &str) -> Vec<Insn> {
    let (op, number) = text.split_once(' ').expect(text);
    let number: i64 = number.parse().expect(text);
    let size = match op.chars().last() {
        Some('8') => Size::DW,
        Some('2') => Size::H,
        Some('1') => Size::B,
        _ => Size::W,
    };
    let (r1, r2, off) = (Reg::R1, Reg::R2, number as i16);
    match op.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "mov" => vec![Insn::mov64_imm(r1, number as i32)],
        "movr" => vec![Insn::mov64(r1, r2)],
        "ldx" => vec![Insn::ldx(size, r1, r2, off)],
        "stx" => vec![Insn::stx(size, r1, off, r2)],
        "st" => vec![Insn::st(size, r1, off, 7)],
        "wide" => Insn::ld_imm64(r1, number as u64).to_vec(),
        "ja" => vec![Insn::ja(off)],
        other => panic!("{other}"),
    }
}

/// Says what an instruction became: `imm 4`, `off 8 size 4`, `wide 5`, `poison`.
fn said(insns: &[Insn]) -> String {
    match insns {
        [one, ..] if one.imm == POISON && one.code == 0x85 => {
            assert!(insns.iter().all(|insn| insn == one), "{insns:?}");
            "poison".to_owned()
        }
        [one, two] => format!("wide {}", Insn::wide_value([*one, *two]) as i64),
        [one] if matches!(one.code & 7, 1..=3) => {
            let size = [4, 2, 1, 8][usize::from(one.code >> 3 & 3)];
            format!("off {} size {size}", one.off)
        }
        [one] => format!("imm {}", one.imm),
        _ => panic!("{insns:?}"),
    }
}

/// A program of one relocation: `label 0:1:2` of the object's types.
pub(super) fn program(
    kind: CoreKind,
    labels: &HashMap<String, TypeId>,
    access: &str,
    text: &str,
) -> ProgramSpec {
    let (label, numbers) = access.split_once(' ').expect(access);
    ProgramSpec {
        insns: insn(text),
        core: vec![CoreReloc {
            insn: 0,
            kind,
            type_id: labels.get(label).map_or(999, |id| id.0),
            access: path(numbers),
        }],
        ..ProgramSpec::default()
    }
}

/// Relocates one instruction; gives what became of it, or what is said of the failure.
fn relocated(kind: CoreKind, local: &str, target: &str, access: &str, text: &str) -> String {
    let (bytes, labels) = types(local);
    let local = Btf::parse(bytes).expect("the object's types");
    let target = Btf::parse(types(target).0).expect("the target's types");
    let program = program(kind, &labels, access, text);
    let done = relocate(&Spec::default(), &program, &local, &Target::new(&target));
    check_minimal(kind, &program, &local, &target, &done);
    match done.failures.first() {
        None => said(&done.insns),
        Some(failure) => {
            assert_eq!(said(&done.insns), "poison", "{failure}");
            let fatal = if failure.reason.is_fatal() {
                "refused: "
            } else {
                ""
            };
            format!("{fatal}{failure}")
        }
    }
}

/// Relocates against as little of the target's types as is needed: the same comes of it.
fn check_minimal(
    kind: CoreKind,
    program: &ProgramSpec,
    local: &Btf,
    target: &Btf,
    expected: &Relocated,
) {
    let spec = Spec {
        types: local.bytes().to_vec(),
        programs: vec![program.clone()],
        ..Spec::default()
    };
    let small = match minimize(&[&spec], target, "vmlinux") {
        Ok(small) => {
            let absent: Vec<&Failure> = small.absent.iter().map(|one| &one.failure).collect();
            // What is found and then does not fit the instruction is no matter of types.
            let found_nothing = |failure: &&Failure| absent.contains(failure);
            let told = expected.failures.iter().filter(found_nothing).count();
            assert_eq!(told, absent.len(), "{absent:?}");
            small.types
        }
        Err(MinimizeError::Refused { failure, .. }) => {
            assert_eq!(Some(&*failure), expected.refusal());
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert!(small.len() <= target.bytes().len());
    let small = Btf::parse(small).expect("types");
    assert_eq!(small.validate(), Ok(()));
    let again = relocate(&spec, program, local, &Target::new(&small));
    let told = |done: &Relocated| done.failures.len();
    assert_eq!(told(&again), told(expected), "{:?}", again.failures);
    if kind != CoreKind::TypeIdTarget {
        assert_eq!(again.insns, expected.insns);
    }
}
