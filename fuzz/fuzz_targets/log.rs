//! The text of a kernel's log of any origin.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kscope_fuzz::log(bytes);
});
