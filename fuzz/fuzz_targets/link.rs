//! ELF objects of any origin, linked.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kscope_fuzz::link(bytes);
});
