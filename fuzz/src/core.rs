//! What relocations come from.

use kscope_btf::ext::Ext;
use kscope_btf::{Btf, Endian};
use kscope_spec::core::{MinimizeError, POISON, Reason, Target, minimize, relocate};
use kscope_spec::insn::Size;
use kscope_spec::{CoreKind, CoreReloc, Insn, ProgramSpec, Reg, Spec};

use super::kernel;

/// Reads `.BTF.ext`; what is accepted is written and read again.
pub fn ext(bytes: &[u8]) -> bool {
    let Ok(ext) = Ext::parse(bytes) else {
        return false;
    };
    for endian in [Endian::Little, Endian::Big] {
        assert_eq!(Ext::parse(&ext.to_bytes(endian)).as_ref(), Ok(&ext));
    }
    true
}

/// Relocates against types that stand for the object's and the target's, and against a kernel's.
/// The first bytes are the kind, the type, and a path with its length.
pub fn core(bytes: &[u8]) -> bool {
    let [kind, type_id, len, rest @ ..] = bytes else {
        return false;
    };
    let (Some(kind), Some((path, blob))) = (
        CoreKind::from_number((*kind).into()),
        rest.split_at_checked((*len).into()),
    ) else {
        return false;
    };
    let Ok(local) = Btf::parse(blob.to_vec()) else {
        return false;
    };
    let relocation = |insn| CoreReloc {
        insn,
        kind,
        type_id: (*type_id).into(),
        access: path.iter().map(|&index| index.into()).collect(),
    };
    let [low, high] = Insn::ld_imm64(Reg::R1, 0);
    let mut program = ProgramSpec {
        insns: vec![
            Insn::mov64_imm(Reg::R1, 1),
            Insn::ldx(Size::W, Reg::R1, Reg::R2, 0),
            low,
            high,
        ],
        core: [0, 1, 2, 9].map(relocation).to_vec(),
        ..ProgramSpec::default()
    };
    // The instructions get the value that the types give, as a compiler's have.
    let first = relocate(&Spec::default(), &program, &local, &Target::new(&local));
    for failure in &first.failures {
        if let Reason::UnexpectedValue { expected, .. } = failure.reason {
            program.insns[0].imm = expected as i32;
            program.insns[1].off = expected as i16;
            program.insns[2].imm = expected as i32;
            program.insns[3].imm = (expected >> 32) as i32;
        }
    }
    let spec = Spec {
        types: blob.to_vec(),
        programs: vec![program.clone()],
        ..Spec::default()
    };
    let mut far = false;
    for types in [&local, &kernel::types()] {
        let done = relocate(&spec, &program, &local, &Target::new(types));
        assert_eq!(done.insns.len(), program.insns.len());
        for failure in &done.failures {
            assert!(!failure.to_string().is_empty());
            let poisoned = done.insns.get(failure.insn as usize);
            assert!(poisoned.is_none_or(|insn| insn.imm == POISON));
        }
        // The last has no instruction.
        far |= done.failures.len() < program.core.len();
        match minimize(&[&spec], types, "vmlinux") {
            Ok(small) => {
                let small = Btf::parse(small.types).expect("types");
                let again = relocate(&spec, &program, &local, &Target::new(&small));
                if kind != CoreKind::TypeIdTarget {
                    assert_eq!(again.insns, done.insns);
                }
            }
            Err(MinimizeError::Refused { .. }) => assert!(done.refusal().is_some()),
            Err(error) => panic!("{error}"),
        }
    }
    far
}
