//! Leaves the tables of unwinding, 0.55 MB of 8, out of the release binary: it ends in the panic's hook.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=no-unwinding.ld");
    let is = |variable: &str, value: &str| env::var(variable).is_ok_and(|found| found == value);
    // With debuginfo a profiler may want them.
    let unneeded =
        is("PROFILE", "release") && is("DEBUG", "false") && is("CARGO_CFG_TARGET_OS", "linux");
    let (true, Ok(folder)) = (unneeded, env::var("CARGO_MANIFEST_DIR")) else {
        return;
    };
    for argument in [
        format!("-Wl,-T,{folder}/no-unwinding.ld"),
        "-Wl,--no-eh-frame-hdr".to_string(),
    ] {
        println!("cargo::rustc-link-arg-bin=kscope={argument}");
    }
}
