//! Compiles the eBPF program and makes its skeleton.

use kscope_bindgen::{Builder, Error};

fn main() -> Result<(), Error> {
    println!("cargo::rustc-check-cfg=cfg(without_clang)");
    match Builder::new("src/execsnoop.bpf.c").build() {
        // A crate of one's own would fail here; this one is to build on machines without clang too.
        Err(error) if error.is_missing_compiler() => {
            println!("cargo::rustc-cfg=without_clang");
            println!("cargo::warning=the example will do nothing: {error}");
            Ok(())
        }
        built => built.map(drop),
    }
}
