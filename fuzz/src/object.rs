//! Objects read into a `Spec`.

use kscope_spec::{ExternKind, RelocKind, SlotValue, Spec, disasm, read};

/// Reads an object; what is read refers to nothing that is not there, and takes no more than a
/// multiple of the file.
pub fn object(bytes: &[u8]) -> bool {
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
    }
    !spec.programs.is_empty()
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
