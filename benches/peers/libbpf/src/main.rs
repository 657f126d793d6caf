//! What libbpf costs, through libbpf-rs.

use std::cell::RefCell;
use std::process::ExitCode;
use std::rc::Rc;

use libbpf_rs::btf::{Btf, types::Struct};
use libbpf_rs::{Link, MapCore, Object, ObjectBuilder, RingBuffer, RingBufferBuilder};
use measure::{Library, Result};

struct Libbpf;

/// What the callback counts: events, and a sum over their bytes as the other programs make it.
type Seen = Rc<RefCell<(u64, usize)>>;

impl Library for Libbpf {
    type Types = Btf<'static>;
    type Object = Object;
    type Ring = (RingBuffer<'static>, Link, Seen);

    fn types() -> Result<Btf<'static>> {
        let btf = Btf::from_vmlinux()?;
        btf.type_by_name::<Struct<'_>>("task_struct")
            .ok_or("no task_struct")?;
        Ok(btf)
    }

    fn load(path: &str) -> Result<Object> {
        Ok(ObjectBuilder::default().open_file(path)?.load()?)
    }

    fn ring(object: &mut Object) -> Result<Self::Ring> {
        let program = object
            .progs_mut()
            .find(|program| program.name() == "tp_getpgid");
        let link = program.ok_or("no program")?.attach()?;
        let map = object
            .maps()
            .find(|map| map.name() == "events")
            .ok_or("no map")?;
        let seen = Seen::default();
        let counted = Rc::clone(&seen);
        let mut builder = RingBufferBuilder::new();
        builder.add(&map, move |event: &[u8]| {
            let mut counted = counted.borrow_mut();
            counted.0 += 1;
            counted.1 += event.len() + usize::from(event.first().copied().unwrap_or_default());
            0
        })?;
        Ok((builder.build()?, link, seen))
    }

    fn read(ring: &mut Self::Ring, _: &mut dyn FnMut(&[u8])) -> Result<u64> {
        ring.0.consume()?;
        Ok(std::mem::take(&mut ring.2.borrow_mut().0))
    }
}

fn main() -> ExitCode {
    measure::main::<Libbpf>()
}
