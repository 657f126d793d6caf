//! Objects read into a `Spec`.

use core::ops::Range;

use kscope_spec::elf::number::SHT_NOBITS;
use kscope_spec::elf::{Elf, ElfError, find_sections};
use kscope_spec::{ExternKind, RelocKind, SlotValue, Spec, check, disasm, read};

/// Reads an object; what is read refers to nothing that is not there, and takes no more than a
/// multiple of the file.
pub fn object(bytes: &[u8]) -> bool {
    outline(bytes);
    let spec = match read::object_named("fuzz", bytes) {
        Ok(spec) => spec,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    assert_eq!(read::object_named("fuzz", bytes).as_ref(), Ok(&spec));
    references(&spec);
    let slots: usize = spec
        .programs
        .iter()
        .map(|program| program.insns.len())
        .sum();
    assert!(slots < (1 << 17) + 8 * bytes.len(), "{slots} slots");
    for program in spec
        .programs
        .iter()
        .filter(|program| program.insns.len() < 4096)
    {
        let _ = disasm::program(&spec, program, disasm::Options::default());
        let reached = check::reached(&spec, program, &program.insns);
        assert_eq!(reached.len(), program.insns.len());
        assert!(reached.first().is_none_or(|first| *first));
    }
    !spec.programs.is_empty()
}

/// Finds sections without reading the file whole; those of an object are the same.
fn outline(bytes: &[u8]) {
    let mut read = |range: Range<u64>| {
        let end = range.end.min(bytes.len() as u64);
        let start = range.start.min(end);
        Ok(bytes[start as usize..end as usize].to_vec())
    };
    let found = find_sections::<ElfError>(&[".BTF"], &mut read);
    let Ok(elf) = Elf::parse(bytes) else {
        return;
    };
    let there = elf.named(".BTF").filter(|(_, section)| {
        // Of these the file holds no bytes.
        section.kind != SHT_NOBITS && section.kind != 0
    });
    if let Some((_, section)) = there {
        let range = found.expect("what is read whole")[0].clone();
        let range = range.expect("a section that is there");
        assert_eq!(
            &bytes[range.start as usize..range.end as usize],
            section.data
        );
    }
}

/// Checks that every id and place exists.
fn references(spec: &Spec) {
    let map = |id: kscope_spec::MapId| {
        let map = spec.maps.get(id.0 as usize);
        map.expect("a map that exists")
    };
    for one in &spec.maps {
        for slot in &one.slots {
            match slot.value {
                SlotValue::Map(id) => assert!(map(id).name.len() < 1 << 20),
                SlotValue::Program(id) => assert!((id.0 as usize) < spec.programs.len()),
            }
        }
        let members = one.struct_ops.iter().flat_map(|ops| &ops.programs);
        for member in members {
            assert!((member.program.0 as usize) < spec.programs.len());
        }
    }
    for variable in &spec.variables {
        let _ = map(variable.map);
    }
    for item in &spec.externs {
        if let ExternKind::Config {
            map: id,
            offset,
            size,
            ..
        } = item.kind
        {
            assert!(u64::from(offset) + u64::from(size) <= map(id).value_size.into());
        }
    }
    for program in &spec.programs {
        let len = program.insns.len();
        assert!(program.relocs.is_sorted_by_key(|reloc| reloc.insn));
        assert!(program.core.is_sorted_by_key(|core| core.insn));
        assert!(program.lines.is_sorted_by(|a, b| a.insn < b.insn));
        for reloc in &program.relocs {
            assert!((reloc.insn as usize) < len);
            match reloc.kind {
                RelocKind::Map(id) | RelocKind::MapValue { map: id, .. } => {
                    assert!(map(id).name.len() < 1 << 20);
                }
                RelocKind::Func(slot) => {
                    assert!(program.funcs.iter().any(|func| func.insn == slot));
                }
                RelocKind::Extern(id) => assert!((id.0 as usize) < spec.externs.len()),
                RelocKind::Late(_) => panic!("an object has no late values"),
            }
        }
        for line in &program.lines {
            assert!((line.insn as usize) < len && (line.file as usize) < spec.files.len());
        }
        assert!(program.core.iter().all(|core| (core.insn as usize) < len));
    }
}
