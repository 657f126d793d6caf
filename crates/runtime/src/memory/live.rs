//! The memory of the running kernel: one small eBPF program reads it, run when memory is wanted.
//!
//! Pages are kept, so that a walk sees each page of one moment; [`LiveMemory::age`] says how long
//! ago the first was read.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kscope_bpf::{Features, Lockdown};
use kscope_btf::Btf;
use kscope_dump::{Kernel, RunningKernel};
use kscope_memory::{Gap, GapAt, KernelSymbols, Memory, VirtAddr};
use kscope_spec::insn::{AluOp, Cond, Insn, Pseudo, Reg, Size};
use kscope_spec::{MapKind, ProgramType, helper};
use kscope_symbol::KernelSymbolizer;
use kscope_sys::{
    Clock, Errno, MapCreate, MapShape, MapValues, ProgramLoad, SharedKernel, TestRun,
};

use crate::error::Error;
use crate::target::Target;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Most pages of one run.
const BATCH: usize = 64;
/// Where the answers of a run begin in the map, behind what is asked for.
const ANSWERS: usize = BATCH * 8;
/// Where the thread that runs the program is in the map.
const TASK: usize = ANSWERS * 2;
/// Most pages that are kept: 64 MB.
const KEPT: usize = 16 << 10;
/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

/// Opens the running kernel, for scripts over its memory.
///
/// # Errors
///
/// [`Error::NoLiveMemory`] where the kernel does not let its memory be read.
pub fn live_kernel(target: &Target, btf: Btf) -> Result<Kernel, Error> {
    let memory = LiveMemory::open(target.kernel().clone())?;
    let path = std::path::Path::new("/proc/sys/kernel/osrelease");
    let release = target.kernel().read_file(path).unwrap_or_default();
    Ok(Kernel::running(Box::new(Live {
        memory,
        release: String::from_utf8_lossy(&release).trim_end().to_owned(),
        symbols: target.symbols().clone(),
        btf,
    })))
}

/// The running kernel.
struct Live {
    memory: LiveMemory,
    release: String,
    symbols: Arc<KernelSymbolizer>,
    btf: Btf,
}

impl Memory for Live {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        self.memory.read(addr, buf)
    }
}

impl RunningKernel for Live {
    fn release(&self) -> &str {
        &self.release
    }

    fn symbols(&self) -> Result<&KernelSymbols, kscope_dump::Error> {
        let symbols = self.symbols.symbols();
        let symbols = symbols.map_err(|_| kscope_dump::Error::Missing("/proc/kallsyms"))?;
        match symbols.is_restricted() {
            true => Err(kscope_dump::Error::Missing(
                "addresses in /proc/kallsyms: they are hidden from this user",
            )),
            false => Ok(symbols),
        }
    }

    fn btf(&self) -> Result<Btf, kscope_dump::Error> {
        Ok(self.btf.clone())
    }

    fn some_task(&self) -> Option<VirtAddr> {
        let mut pages = self.memory.pages();
        self.memory.fetch(&mut pages, &[]).ok()?;
        let mut task = [0; 8];
        pages.values.read(TASK, &mut task)?;
        Some(VirtAddr(u64::from_le_bytes(task)))
    }

    fn age(&self) -> Duration {
        self.memory.age()
    }

    fn forget(&self, start: VirtAddr, len: u64) {
        self.memory.forget(start, len);
    }
}

/// Kernel memory, read by a program.
struct LiveMemory {
    kernel: SharedKernel,
    program: OwnedFd,
    pages: Mutex<Pages>,
}

struct Pages {
    values: MapValues,
    kept: Kept,
    /// When the first was read, on the clock of time since boot.
    since: Option<u64>,
}

/// Pages by their numbers; none for one that is not there.
#[derive(Default)]
struct Kept(HashMap<u64, Option<Box<[u8; PAGE]>>>);

impl Kept {
    /// Gives which of some pages, no more than [`BATCH`], have to be read, and makes room for them: all the
    /// others of the range stay.
    fn missing(&mut self, first: u64, last: u64) -> Vec<u64> {
        if self.0.len() + BATCH > KEPT {
            self.0.clear();
        }
        (first..=last)
            .filter(|page| !self.0.contains_key(page))
            .collect()
    }
}

impl LiveMemory {
    fn open(kernel: SharedKernel) -> Result<LiveMemory, Error> {
        let failed = |what: &str, errno: Errno| Error::NoLiveMemory {
            why: refusal(&kernel, what, errno),
        };
        let map = MapCreate {
            shape: MapShape {
                kind: MapKind::Array as u32,
                key_size: 4,
                value_size: (PAGE + BATCH * PAGE) as u32,
                max_entries: 1,
            },
            flags: MMAPABLE,
            name: "kscope_memory",
            ..MapCreate::default()
        };
        // Where memory for maps counts against a limit (before 5.11).
        let _ = kernel.raise_memlock();
        let map = kernel.map_create(map);
        let map = map.map_err(|errno| failed("make a map", errno))?;
        let values = kernel.map_values(&map, true);
        let values = values.map_err(|errno| failed("map memory", errno))?;
        let insns = program(map.as_fd().as_raw_fd());
        let load = ProgramLoad {
            // Linux 5.10 runs it without an event.
            kind: ProgramType::RawTracepoint as u32,
            name: "kscope_memory",
            insns: &insns,
            license: "GPL",
            ..ProgramLoad::default()
        };
        let program = kernel.program_load(load);
        let program = program.map_err(|errno| failed("load the program that reads it", errno))?;
        let memory = LiveMemory {
            kernel,
            program,
            pages: Mutex::new(Pages {
                values,
                kept: Kept::default(),
                since: None,
            }),
        };
        Ok(memory)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn age(&self) -> Duration {
        let now = self.kernel.clock(Clock::Boottime).unwrap_or(0);
        let since = self.pages().since;
        Duration::from_nanos(since.map_or(0, |since| now.saturating_sub(since)))
    }

    fn forget(&self, start: VirtAddr, len: u64) {
        let pages = start.0 / PAGE as u64..=start.0.saturating_add(len) / PAGE as u64;
        let mut kept = self.pages();
        for page in pages {
            kept.kept.0.remove(&page);
        }
    }

    /// Reads pages, no more than one run takes; one that is not there is kept as such.
    fn fetch(&self, pages: &mut Pages, wanted: &[u64]) -> Result<(), Errno> {
        if pages.since.is_none() {
            pages.since = self.kernel.clock(Clock::Boottime).ok();
        }
        let mut asked = [0; ANSWERS];
        for (place, page) in asked.chunks_exact_mut(8).zip(wanted) {
            place.copy_from_slice(&page.wrapping_mul(PAGE as u64).to_le_bytes());
        }
        let outside = || Errno::RANGE;
        pages.values.write(0, &asked).ok_or_else(outside)?;
        let run = TestRun {
            program: Some(self.program.as_fd()),
            ..TestRun::default()
        };
        self.kernel.test_run(run)?;
        let mut answers = [0; ANSWERS];
        let read = pages.values.read(ANSWERS, &mut answers);
        read.ok_or_else(outside)?;
        for (index, (page, answer)) in wanted.iter().zip(answers.chunks_exact(8)).enumerate() {
            let mut bytes = None;
            if answer.iter().all(|byte| *byte == 0) {
                let mut page = Box::new([0; PAGE]);
                let read = pages.values.read(PAGE + index * PAGE, &mut page[..]);
                read.ok_or_else(outside)?;
                bytes = Some(page);
            }
            pages.kept.0.insert(*page, bytes);
        }
        Ok(())
    }
}

impl Memory for LiveMemory {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        let gap = |at: u64, len: usize| GapAt {
            addr: VirtAddr(at),
            len: len as u64,
            why: Gap::Unmapped,
        };
        let Some(last) = (buf.len() as u64).checked_sub(1) else {
            return Ok(());
        };
        let last = addr.0.checked_add(last);
        // Memory of processes is not the kernel's, and no process is meant.
        let Some(last) = last.filter(|_| addr.is_kernel()) else {
            return Err(gap(addr.0, buf.len()));
        };
        let size = PAGE as u64;
        let mut pages = self.pages();
        let mut next = addr.0 / size;
        while next <= last / size {
            let end = (last / size).min(next + BATCH as u64 - 1);
            let wanted = pages.kept.missing(next, end);
            if !wanted.is_empty() && self.fetch(&mut pages, &wanted).is_err() {
                return Err(gap(addr.0, buf.len()));
            }
            for page in next..=end {
                let start = (page * size).max(addr.0);
                let stop = (page * size + (size - 1)).min(last);
                let part = (start - addr.0) as usize..(stop - addr.0) as usize + 1;
                let found = pages.kept.0.get(&page).and_then(Option::as_deref);
                let bytes = found
                    .and_then(|bytes| bytes.get((start % size) as usize..=(stop % size) as usize));
                let (Some(bytes), Some(place)) = (bytes, buf.get_mut(part.clone())) else {
                    return Err(gap(start, part.len()));
                };
                place.copy_from_slice(bytes);
            }
            next = end + 1;
        }
        Ok(())
    }
}

/// Says why memory cannot be read.
fn refusal(kernel: &SharedKernel, what: &str, errno: Errno) -> String {
    // Without an explanation a program that may not read memory is one that the verifier refuses.
    match Features::new(kernel.clone(), None).lockdown() {
        Lockdown::Mode(mode) if mode == "confidentiality" => {
            "the kernel is locked down (confidentiality), so nobody reads its memory".to_owned()
        }
        _ => format!("cannot {what}: {errno}"),
    }
}

/// Gives the program: for each page of those that the map asks for, until one is 0, the page and
/// what the read returned.
fn program(map: i32) -> Vec<u8> {
    let [value, second] = Insn::ld_pseudo(Reg::R6, Pseudo::MapValue, map, 0);
    let insns = [
        // r6 = the value of the map; r7 = 0
        value,
        second,
        Insn::mov64_imm(Reg::R7, 0),
        // the thread that runs this
        Insn::call(helper::GET_CURRENT_TASK),
        Insn::stx(Size::DW, Reg::R6, TASK as i16, Reg::R0),
        // again: if r7 >= BATCH goto done; r8 = r6 + 8 * r7
        Insn::jmp64_imm(Cond::Ge, Reg::R7, BATCH as i32, 14),
        Insn::mov64(Reg::R8, Reg::R7),
        Insn::alu64_imm(AluOp::Lsh, Reg::R8, 3),
        Insn::alu64(AluOp::Add, Reg::R8, Reg::R6),
        // r3 = its address; if it is 0 goto done
        Insn::ldx(Size::DW, Reg::R3, Reg::R8, 0),
        Insn::jmp64_imm(Cond::Eq, Reg::R3, 0, 9),
        // r1 = r6 + PAGE + PAGE * r7; r2 = PAGE; read
        Insn::mov64(Reg::R1, Reg::R7),
        Insn::alu64_imm(AluOp::Lsh, Reg::R1, 12),
        Insn::alu64(AluOp::Add, Reg::R1, Reg::R6),
        Insn::alu64_imm(AluOp::Add, Reg::R1, PAGE as i32),
        Insn::mov64_imm(Reg::R2, PAGE as i32),
        Insn::call(helper::PROBE_READ_KERNEL),
        // its answer; r7 += 1; goto again
        Insn::stx(Size::DW, Reg::R8, ANSWERS as i16, Reg::R0),
        Insn::alu64_imm(AluOp::Add, Reg::R7, 1),
        Insn::ja(-15),
        // done: leave with 0
        Insn::mov64_imm(Reg::R0, 0),
        Insn::exit(),
    ];
    insns.iter().flat_map(|insn| insn.encode()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_range_stays_until_it_is_read() {
        let mut kept = Kept::default();
        for start in (0..4 * KEPT as u64).step_by(BATCH - 1) {
            // The first page is the last one of the range before.
            let end = start + BATCH as u64 - 1;
            for page in kept.missing(start, end) {
                kept.0.insert(page, None);
            }
            assert!(
                (start..=end).all(|page| kept.0.contains_key(&page)),
                "{start}"
            );
            assert!(kept.0.len() <= KEPT, "{start}");
        }
    }
}
