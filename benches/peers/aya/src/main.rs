//! What aya costs.

use std::process::ExitCode;

use aya::maps::{MapData, RingBuf};
use aya::programs::{Program, TracePoint};
use aya::{Btf, Ebpf};
use measure::{Library, Result};

struct Aya;

impl Library for Aya {
    type Types = Btf;
    type Object = Ebpf;
    type Ring = RingBuf<MapData>;

    fn types() -> Result<Btf> {
        Ok(Btf::from_sys_fs()?)
    }

    fn load(path: &str) -> Result<Ebpf> {
        // As its documentation has it; the types are read once for the object and once for the typed programs.
        let mut object = Ebpf::load_file(path)?;
        let types = Btf::from_sys_fs()?;
        for (name, program) in object.programs_mut() {
            match program {
                Program::TracePoint(program) => program.load()?,
                Program::RawTracePoint(program) => program.load()?,
                Program::BtfTracePoint(program) => program.load("sched_process_fork", &types)?,
                Program::SocketFilter(program) => program.load()?,
                Program::Xdp(program) => program.load()?,
                Program::PerfEvent(program) => program.load()?,
                Program::Iter(program) => program.load("task", &types)?,
                _ => return Err(format!("{name} is of another type").into()),
            }
        }
        Ok(object)
    }

    fn ring(object: &mut Ebpf) -> Result<RingBuf<MapData>> {
        let program = object.program_mut("tp_getpgid").ok_or("no program")?;
        let program: &mut TracePoint = program.try_into()?;
        program.attach("syscalls", "sys_enter_getpgid")?;
        let map = object.take_map("events").ok_or("no map")?;
        Ok(RingBuf::try_from(map)?)
    }

    fn read(ring: &mut RingBuf<MapData>, each: &mut dyn FnMut(&[u8])) -> Result<u64> {
        let mut count = 0;
        while let Some(event) = ring.next() {
            each(&event);
            count += 1;
        }
        Ok(count)
    }
}

fn main() -> ExitCode {
    measure::main::<Aya>()
}
