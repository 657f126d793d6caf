//! What kscope-bpf costs.

use std::process::ExitCode;

use kscope_bpf::btf::{Btf, Kind};
use kscope_bpf::spec::read;
use kscope_bpf::sys::{FileBytes, real_kernel};
use kscope_bpf::{Link, Loader, Object, RingBuffer};
use measure::{Library, Result};

struct Kscope;

impl Library for Kscope {
    type Types = Btf;
    type Object = Object;
    type Ring = (RingBuffer, Link);

    fn types() -> Result<Btf> {
        let btf = Btf::parse(FileBytes::open("/sys/kernel/btf/vmlinux")?)?;
        btf.find("task_struct", Kind::Struct)
            .ok_or("no task_struct")?;
        Ok(btf)
    }

    fn load(path: &str) -> Result<Object> {
        let spec = read::object_named("seven", &std::fs::read(path)?)?;
        Ok(Loader::new(real_kernel()).all_or_nothing().load(&spec)?)
    }

    fn ring(object: &mut Object) -> Result<(RingBuffer, Link)> {
        let program = object.program_named("tp_getpgid").ok_or("no program")?;
        let link = program.attach_tracepoint("syscalls", "sys_enter_getpgid", 0)?;
        let map = object.map_named("events").ok_or("no map")?;
        Ok((RingBuffer::new(&[map])?, link))
    }

    fn read(ring: &mut Self::Ring, each: &mut dyn FnMut(&[u8])) -> Result<u64> {
        Ok(ring.0.for_each(each)?.records)
    }
}

fn main() -> ExitCode {
    measure::main::<Kscope>()
}
