//! BTF of any origin: index, every question about every type, C text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kscope_fuzz::btf(bytes);
});
