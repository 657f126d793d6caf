//! A script of any text: parse, check, lower, passes, code.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kscope_fuzz::script(bytes);
});
