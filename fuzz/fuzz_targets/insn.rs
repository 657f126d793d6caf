//! Any slots and any assembler text: decode, print, assemble.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kscope_fuzz::insn(bytes);
});
