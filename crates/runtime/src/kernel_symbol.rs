//! Whether the kernel has a symbol, without reading all that it has.

use kscope_bpf::{Loader, TestInput};
use kscope_spec::{Insn, ProgramId, ProgramSpec, ProgramType, Spec, helper};
use kscope_sys::SharedKernel;

/// Longest name that is asked for; symbols of kernels are shorter.
const LONGEST: usize = 255;
/// `BPF_F_SLEEPABLE`, which programs of this type must have.
const SLEEPABLE: u32 = 1 << 4;
/// `-ENOENT` as a program gives it.
const NOT_THERE: u32 = -2i32 as u32;

/// Says whether the kernel or one of its modules has a symbol; none where it does not tell.
///
/// Kernels write the list of all their symbols for tens of milliseconds; this takes less than one.
///
/// # Minimum kernel version
/// 5.16, with `CAP_SYSLOG`.
pub(crate) fn exists(kernel: &SharedKernel, name: &str) -> Option<bool> {
    if name.is_empty() || name.len() > LONGEST || name.contains('\0') {
        return None;
    }
    let spec = Spec {
        programs: vec![ProgramSpec {
            name: "kscope_symbol".to_owned(),
            kind: ProgramType::Syscall,
            insns: question(name),
            flags: SLEEPABLE,
            ..ProgramSpec::default()
        }],
        license: "GPL".to_owned(),
        ..Spec::default()
    };
    let object = Loader::new(kernel.clone()).load(&spec).ok()?;
    let program = object.program(ProgramId(0)).ok()?;
    match program.test_run(&TestInput::default()).ok()?.result {
        0 => Some(true),
        NOT_THERE => Some(false),
        _ => None,
    }
}

/// Makes a program that asks for the address of a symbol and returns what the helper says.
fn question(name: &str) -> Vec<Insn> {
    const FRAME: u8 = 10;
    const ADDRESS: i16 = -8;
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize((name.len() + 1).next_multiple_of(4), 0);
    // At most 256 bytes below the address.
    let start = ADDRESS - bytes.len() as i16;
    let insn = |code, dst, src, off, imm| Insn {
        code,
        dst,
        src,
        off,
        imm,
    };
    let store = |(index, word): (usize, &[u8])| {
        let word = word
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u32::from(*byte));
        let word = if cfg!(target_endian = "big") {
            word.swap_bytes()
        } else {
            word
        };
        insn(0x62, FRAME, 0, start + 4 * index as i16, word as i32)
    };
    let mut insns: Vec<Insn> = bytes.chunks(4).enumerate().map(store).collect();
    insns.extend([
        insn(0x7a, FRAME, 0, ADDRESS, 0),
        insn(0xbf, 1, FRAME, 0, 0),
        insn(0x07, 1, 0, 0, i32::from(start)),
        insn(0xb7, 2, 0, 0, name.len() as i32 + 1),
        insn(0xb7, 3, 0, 0, 0),
        insn(0xbf, 4, FRAME, 0, 0),
        insn(0x07, 4, 0, 0, i32::from(ADDRESS)),
        insn(0x85, 0, 0, 0, helper::KALLSYMS_LOOKUP_NAME.0 as i32),
        insn(0x95, 0, 0, 0, 0),
    ]);
    insns
}
