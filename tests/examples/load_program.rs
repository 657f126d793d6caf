//! Loads a program that counts system calls, attaches it for a second and reads its map.

use std::error::Error;
use std::time::Duration;

use kscope_bpf::spec::{AttachKind, MapId, MapKind, MapSpec, ProgramId, Spec};
use kscope_bpf::spec::{ProgramSpec, ProgramType, asm};
use kscope_bpf::{Loader, sys::real_kernel};

const COUNT: &str = "\
    r1 = map_value(calls) + 0 ll
    r2 = 1
    lock *(u64 *)(r1 + 0) += r2
    r0 = 0
    exit";

fn main() -> Result<(), Box<dyn Error>> {
    // What is to be loaded is plain data, the same on every machine.
    let mut spec = Spec {
        license: "GPL".to_owned(),
        ..Spec::default()
    };
    spec.maps.push(MapSpec {
        name: "calls".to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        initial: None,
        frozen: false,
        ..MapSpec::default()
    });
    let code = asm::assemble(COUNT, &spec)?;
    spec.programs.push(ProgramSpec {
        name: "count".to_owned(),
        kind: ProgramType::Tracepoint,
        attach: AttachKind::None,
        insns: code.insns,
        relocs: code.relocs,
        lines: Vec::new(),
        funcs: Vec::new(),
        flags: 0,
        ..ProgramSpec::default()
    });

    // Only the loader meets the kernel.
    let object = Loader::new(real_kernel()).load(&spec)?;
    let program = object.program(ProgramId(0))?;
    let link = program.attach_tracepoint("raw_syscalls", "sys_enter", 0)?;
    std::thread::sleep(Duration::from_secs(1));
    drop(link);

    let map = object.map(MapId(0)).ok_or("no map")?;
    let value = map.lookup(&[0; 4])?.ok_or("no value")?;
    let calls = u64::from_ne_bytes(value.as_slice().try_into()?);
    println!("{calls} system calls in a second");
    Ok(())
}
