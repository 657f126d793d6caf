//! What is written is read; what the format has for unusual objects.

use super::write::Writer;
use super::*;
use crate::insn::{Insn, Reg};

const ORDERS: [ByteOrder; 2] = [ByteOrder::Little, ByteOrder::Big];

fn symbol(name: &str, binding: Binding, place: Place) -> Symbol<'_> {
    Symbol {
        name,
        kind: SymbolKind::Function,
        binding,
        hidden: name == "hidden",
        place,
        value: 8,
        size: 16,
    }
}

/// Gives an object with three symbols and two relocations.
fn object(order: ByteOrder) -> Vec<u8> {
    let mut writer = Writer::new(order);
    let code = writer.code("xdp", &[Insn::mov64_imm(Reg::R0, 7), Insn::exit()]);
    let zeros = writer.zeros(".bss", 1 << 40);
    writer.note(".BTF", vec![1, 2, 3]);
    let global = writer.symbol(symbol("hidden", Binding::Global, Place::Section(code)));
    let local = writer.symbol(symbol("local", Binding::Local, Place::Section(zeros)));
    writer.symbol(symbol("weak", Binding::Weak, Place::Undefined));
    writer.relocation(code, 8, local, number::R_BPF_64_32);
    writer.relocation(code, 0, global, number::R_BPF_64_64);
    writer.finish()
}

/// Overwrites bytes, given for a little-endian object.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut object = object(ByteOrder::Little);
    object[at..at + bytes.len()].copy_from_slice(bytes);
    object
}

/// Gives where the header of a section is.
fn header(object: &[u8], index: usize) -> usize {
    let table = u64::from_le_bytes(*object[40..].first_chunk().expect("a header"));
    table as usize + index * 64
}

#[test]
fn the_first_section_of_a_name_is_found() {
    let mut writer = Writer::new(ByteOrder::Little);
    for name in ["b", "a", "b", "", "a"] {
        writer.section(name, number::SHT_PROGBITS, 0, Vec::new());
    }
    let bytes = writer.finish();
    let elf = Elf::parse(&bytes).expect("an object");
    let check = |name: &str, expected: Option<u32>| {
        let found = elf.named(name).map(|(index, _)| index.0);
        assert_eq!(found, expected, "{name}");
    };
    check("a", Some(2));
    check("b", Some(1));
    check("", Some(4));
    check("c", None);
}

#[test]
fn what_is_written_is_read() {
    for order in ORDERS {
        let bytes = object(order);
        assert_eq!(bytes, object(order));
        let elf = Elf::parse(&bytes).expect("an object");
        assert_eq!(elf.order, order);
        let names: Vec<&str> = elf.sections.iter().map(|section| section.name).collect();
        assert_eq!(
            names,
            ["", "xdp", ".bss", ".BTF", ".relxdp", ".symtab", ".strtab"]
        );
        let (index, code) = elf.named("xdp").expect("a section");
        assert!(code.is_code());
        let slot = *code.data.first_chunk().expect("a slot");
        let insn = match order {
            ByteOrder::Little => Insn::decode_le(slot),
            ByteOrder::Big => Insn::decode_be(slot),
        };
        assert_eq!(insn, Insn::mov64_imm(Reg::R0, 7));
        let (_, zeros) = elf.named(".bss").expect("a section");
        assert_eq!((zeros.size, zeros.data.len()), (1 << 40, 0));
        // Local symbols go first.
        let names: Vec<&str> = elf.symbols.iter().map(|symbol| symbol.name).collect();
        assert_eq!(names, ["", "local", "hidden", "weak"]);
        assert_eq!(elf.symbols[2].section(), Some(index));
        assert!(elf.symbols[2].hidden && !elf.symbols[1].hidden);
        assert!(elf.symbols[3].is_extern() && !elf.symbols[2].is_extern());
        assert_eq!((elf.symbols[1].value, elf.symbols[1].size), (8, 16));
        let relocations = elf.relocations(elf.named(".relxdp").expect("a section").1);
        let relocations: Vec<_> = relocations
            .map(|relocation| {
                let symbol = elf.symbol(relocation.symbol).expect("a symbol");
                (relocation.offset, symbol.name, relocation.kind)
            })
            .collect();
        assert_eq!(relocations, [(0, "hidden", 1), (8, "local", 10)]);
    }
}

#[test]
fn numbers_that_do_not_fit_stand_in_the_first_section() {
    let mut bytes = object(ByteOrder::Little);
    let first = header(&bytes, 0);
    let (count, names) = (bytes[60], bytes[62]);
    bytes[60] = 0;
    bytes[62..64].copy_from_slice(&[0xff, 0xff]);
    bytes[first + 32] = count;
    bytes[first + 40] = names;
    let elf = Elf::parse(&bytes).expect("an object");
    assert_eq!(elf.sections.len(), usize::from(count));
    assert_eq!(elf.symbols.len(), 4);
}

#[test]
fn what_makes_no_sense_is_named() {
    let check = |bytes: &[u8], expected: &str| {
        let error = Elf::parse(bytes).expect_err("an error");
        assert_eq!(error.to_string(), expected);
    };
    let good = object(ByteOrder::Little);
    let at = |index, field| header(&good, index) + field;
    check(
        &patched(58, &[63]),
        "malformed ELF: size of a section's header at byte 58",
    );
    check(
        &patched(40, &[0xff; 8]),
        "malformed ELF: table of sections at byte 40",
    );
    let text = format!("malformed ELF: name of a section at byte {}", at(1, 0));
    check(&patched(at(1, 0), &[0xff; 4]), &text);
    let expected =
        "the ELF file is cut: section 'xdp' would take 18446744073709551615 bytes from byte 64";
    check(&patched(at(1, 32), &[0xff; 8]), expected);
    let text = format!("malformed ELF: size of a symbol at byte {}", at(5, 56));
    check(&patched(at(5, 56), &[0]), &text);
    let text = format!(
        "malformed ELF: section of the symbols' names at byte {}",
        at(5, 40)
    );
    check(&patched(at(5, 40), &[1]), &text);
    let text = format!(
        "malformed ELF: second table of symbols at byte {}",
        at(5, 0)
    );
    check(&patched(at(3, 4), &[2]), &text);
    let expected =
        "no table of symbols: the object was stripped; use llvm-strip -g, which keeps it";
    check(&patched(at(5, 4), &[1]), expected);
    check(&patched(60, &[0, 0]), expected);
}

/// Each section's relocations are found without a look at those of all others.
#[test]
fn relocations_of_many_sections_are_written_in_time() {
    const SECTIONS: u32 = 20_000;
    const EACH: u64 = 20;
    let mut writer = Writer::new(ByteOrder::Little);
    let mut sections = Vec::new();
    for _ in 0..SECTIONS {
        sections.push(writer.data("data", Vec::new()));
    }
    let symbol = writer.symbol(Symbol {
        name: "there",
        kind: SymbolKind::Object,
        binding: Binding::Global,
        hidden: false,
        place: Place::Undefined,
        value: 0,
        size: 0,
    });
    for &section in sections.iter().rev() {
        for offset in (0..EACH).rev() {
            writer.relocation(section, offset * 8, symbol, 2);
        }
    }
    // Comparing each with each takes longer than a test may.
    let object = writer.finish();
    let elf = Elf::parse(&object).expect("an object");
    let lists = elf
        .sections
        .iter()
        .filter(|section| section.kind == number::SHT_REL);
    let targets: Vec<u32> = lists.clone().map(|section| section.info).collect();
    assert_eq!(targets, (1..=SECTIONS).collect::<Vec<_>>());
    for section in lists {
        let offsets = elf.relocations(section).map(|relocation| relocation.offset);
        assert!(offsets.eq((0..EACH).map(|at| at * 8)));
    }
}
