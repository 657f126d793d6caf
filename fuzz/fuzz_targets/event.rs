//! Bytes of an event, read as a value of any type and printed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    kscope_fuzz::event(bytes);
});
