//! The digest by which the kernel knows a program: SHA-256 of its instructions.
//!
//! The kernel is asked for it itself, of a frozen array that holds them: it hashes these since it knows
//! maps of one program alone (Linux 6.18), so that no SHA-256 has to be here.

use kscope_spec::{MapKind, MapSpec};
use kscope_sys::{Errno, SharedKernel};
use std::os::fd::AsFd as _;

use crate::create::{Extras, create};
use crate::error::Error;

/// Gives the digest of a program as `bpf_prog_calc_tag()` (kernel/bpf/core.c, Linux 6.18) makes it.
pub(crate) fn of_program(kernel: &SharedKernel, insns: Vec<u8>) -> Result<[u8; 32], Error> {
    let counted = counted(insns);
    let size = u32::try_from(counted.len());
    let spec = MapSpec {
        name: "digest".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: size.map_err(|_| Error::invalid("a program has too many instructions"))?,
        max_entries: 1,
        initial: Some(counted),
        frozen: true,
        ..MapSpec::default()
    };
    let map = create(kernel, &spec, &Extras::default())?;
    kernel.map_hash(map.as_fd()).map_err(|errno| match errno {
        Errno::TOO_BIG | Errno::INVAL => {
            Error::unsupported("maps of one program alone", "Linux 6.18")
        }
        errno => map.failed("BPF_OBJ_GET_INFO_BY_FD", errno),
    })
}

/// Gives the bytes that count: which map an instruction refers to, and where in it, does not.
fn counted(mut insns: Vec<u8>) -> Vec<u8> {
    const WIDE: u8 = 0x18;
    const PSEUDO_MAP_FD: u8 = 1;
    const PSEUDO_MAP_VALUE: u8 = 2;
    let mut is_second = false;
    for insn in insns.chunks_exact_mut(8) {
        let refers = insn[0] == WIDE && matches!(insn[1] >> 4, PSEUDO_MAP_FD | PSEUDO_MAP_VALUE);
        let counts = !is_second && !refers;
        is_second = refers && !is_second;
        if !counts {
            insn[4..].fill(0);
        }
    }
    insns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_do_not_count() {
        let program = |wide: [u8; 16]| counted([&wide[..], &[0x95, 0, 0, 0, 0, 0, 0, 0]].concat());
        let load = |source: u8, low: u8, high: u8| {
            program([
                0x18,
                source << 4,
                0,
                0,
                low,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                high,
                0,
                0,
                0,
            ])
        };
        assert_eq!(load(1, 7, 0), load(1, 8, 0));
        assert_eq!(load(2, 7, 4), load(2, 8, 9));
        assert_ne!(load(1, 7, 0), load(2, 7, 0));
        // A number does.
        assert_ne!(load(0, 7, 0), load(0, 8, 0));
        assert_ne!(load(0, 7, 1), load(0, 7, 2));
    }
}
