//! The kernel in a dump: its virtual memory, symbols, types.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::OnceLock;
use std::time::Duration;

use kscope_btf::Btf;
use kscope_memory::{Found, GapAt, KernelSymbols, Memory, Object, PerCpu, PhysMemory, VirtAddr};

use super::globals::{self, GLOBALS, PLACES};
use super::kallsyms::{self, AddressEncoding, Image, Tables};
use super::module::{self, Module};
use super::path;
use super::source::{DumpSource, RunningKernel, Source};
use super::task;
use super::time;
use super::vmcoreinfo::{self, Vmcoreinfo, VmcoreinfoFrom};
use super::x86_64::{PageTables, Registers};
use super::{kallsyms_scan, log};
use crate::unwind::{Orc, Unwinder};
use crate::{Dump, Error, LogLine, Task, Walked};

/// Most bytes of the kernel's types; 5 MB are usual.
const BTF: u64 = 64 << 20;
/// Most CPUs of a kernel (`NR_CPUS`).
const CPUS: usize = 8192;

/// A kernel in a dump, or one that runs. Facts are read when they are first asked for: the log
/// needs neither symbols nor types.
pub struct Kernel {
    source: Source,
    running_info: OnceLock<Vmcoreinfo>,
    first_task: OnceLock<Option<VirtAddr>>,
    image: OnceLock<Result<Image, Error>>,
    globals: OnceLock<HashMap<&'static str, Option<VirtAddr>>>,
    btf: OnceLock<Result<Btf, Error>>,
    modules: OnceLock<Walked<Module>>,
    module_symbols: OnceLock<KernelSymbols>,
    pub(crate) orc: OnceLock<Result<Orc, Error>>,
    pub(crate) clock: OnceLock<Result<u64, Error>>,
    stop: OnceLock<Stop>,
}

/// What is asked whether to go on.
type Stop = Box<dyn Fn() -> bool + Send + Sync>;

impl Kernel {
    /// Finds the kernel in a dump: its VMCOREINFO and page tables.
    ///
    /// # Errors
    /// Where the dump is of a machine that is not known here, or has no VMCOREINFO.
    pub fn open(dump: Dump) -> Result<Kernel, Error> {
        match dump.machine() {
            Some("x86_64") | Some("") => {}
            Some(other) => return Err(Error::Unsupported(format!("of {other} machines"))),
            None => return Err(Error::Unsupported("of machines of this kind".to_owned())),
        }
        let (info, info_from) = vmcoreinfo::find(&dump).ok_or(Error::Missing("VMCOREINFO"))?;
        let tables = PageTables::new(&info, dump.phys_base())?;
        Ok(Kernel::of(Source::Dump(Box::new(DumpSource {
            dump,
            info,
            info_from,
            tables,
        }))))
    }

    /// Takes a kernel that runs. Its lists may change while they are walked; walks end all the
    /// same.
    #[must_use]
    pub fn running(running: Box<dyn RunningKernel>) -> Kernel {
        Kernel::of(Source::Running(running))
    }

    fn of(source: Source) -> Kernel {
        Kernel {
            source,
            running_info: OnceLock::new(),
            first_task: OnceLock::new(),
            image: OnceLock::new(),
            globals: OnceLock::new(),
            btf: OnceLock::new(),
            modules: OnceLock::new(),
            module_symbols: OnceLock::new(),
            orc: OnceLock::new(),
            clock: OnceLock::new(),
            stop: OnceLock::new(),
        }
    }

    /// Lets somebody end what takes long. `stop` is asked between tasks, caches, disks, works and the
    /// like; while it says yes such walks fail with [`Error::Stopped`], or count it among what they could
    /// not read. What is kept for all later questions, such as symbols and types, is not ended. Has an
    /// effect the first time alone.
    pub fn stop_when(&self, stop: impl Fn() -> bool + Send + Sync + 'static) {
        let _ = self.stop.set(Box::new(stop));
    }

    /// Says whether to go on.
    ///
    /// # Errors
    /// [`Error::Stopped`] where what was given to [`Kernel::stop_when`] says so.
    pub fn proceed(&self) -> Result<(), Error> {
        match self.stop.get() {
            Some(stop) if stop() => Err(Error::Stopped),
            _ => Ok(()),
        }
    }

    /// Gives the dump it is in; none for a kernel that runs.
    #[must_use]
    pub fn dump(&self) -> Option<&Dump> {
        self.source.dump().map(|source| &source.dump)
    }

    pub(crate) fn dump_source(&self) -> Option<&DumpSource> {
        self.source.dump()
    }

    /// Tells whether the kernel runs, so that what is read may have changed since.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.source.running().is_some()
    }

    /// Tells how long ago the oldest memory was read that is handed out; none of a dump.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.source.running().map(RunningKernel::age)
    }

    /// Gives VMCOREINFO. A kernel that runs keeps it for its next dump; empty where it has none.
    #[must_use]
    pub fn vmcoreinfo(&self) -> &Vmcoreinfo {
        match &self.source {
            Source::Dump(source) => &source.info,
            Source::Running(_) => self
                .running_info
                .get_or_init(|| self.kept_vmcoreinfo().unwrap_or_default()),
        }
    }

    fn kept_vmcoreinfo(&self) -> Result<Vmcoreinfo, Error> {
        const PAGE: u64 = 4096;
        let text = VirtAddr(self.read_u64(self.need("vmcoreinfo_data")?)?);
        let len = self.read_u64(self.need("vmcoreinfo_size")?)?;
        let mut bytes = vec![0; len.min(PAGE) as usize];
        self.read(text, &mut bytes)?;
        Ok(Vmcoreinfo::parse(&bytes))
    }

    /// Tells where VMCOREINFO was found; none for a kernel that runs.
    #[must_use]
    pub fn vmcoreinfo_from(&self) -> Option<VmcoreinfoFrom> {
        self.source.dump().map(|source| source.info_from)
    }

    /// Gives the kernel's release, as `uname -r` says it.
    #[must_use]
    pub fn release(&self) -> &str {
        match &self.source {
            Source::Dump(source) => source.info.release().unwrap_or_default(),
            Source::Running(running) => running.release(),
        }
    }

    /// Gives by how much the image was moved from where it was linked (KASLR).
    #[must_use]
    pub fn slide(&self) -> Option<u64> {
        let text = self.vmcoreinfo().get("KERNELOFFSET")?;
        u64::from_str_radix(text, 16).ok()
    }

    /// Reads the banner, as /proc/version shows it.
    ///
    /// # Errors
    /// Where it has no symbol or cannot be read.
    pub fn banner(&self) -> Result<String, Error> {
        let text = self.read_text(self.need("linux_banner")?, 1024)?;
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    fn image(&self) -> Result<&Image, Error> {
        let image = self.image.get_or_init(|| {
            let info = self.vmcoreinfo();
            let stext = info.symbol("_stext");
            let stext = stext.ok_or(Error::Missing("SYMBOL(_stext) in VMCOREINFO"))?;
            if let Some(tables) = Tables::from_vmcoreinfo(info) {
                return kallsyms::read(self, &tables, stext);
            }
            let mut last = None;
            for tables in kallsyms_scan::find(self, stext)? {
                match kallsyms::read(self, &tables, stext) {
                    Ok(image) => return Ok(image),
                    Err(error) => last = Some(error),
                }
            }
            Err(last.unwrap_or(Error::Missing("symbol table (kallsyms)")))
        });
        image.as_ref().map_err(Clone::clone)
    }

    /// Gives the symbols of the kernel's image, without its modules'; of a kernel that runs, all.
    ///
    /// # Errors
    /// Where the table cannot be found or read.
    pub fn symbols(&self) -> Result<&KernelSymbols, Error> {
        match &self.source {
            Source::Dump(_) => self.image().map(|image| &image.symbols),
            Source::Running(running) => running.symbols(),
        }
    }

    /// Tells how the addresses of symbols are encoded.
    ///
    /// # Errors
    /// As [`Kernel::symbols`]; a kernel that runs shows them as text.
    pub fn address_encoding(&self) -> Result<AddressEncoding, Error> {
        self.image().map(|image| image.encoding)
    }

    /// Gives the symbols of the modules; those that cannot be read are not there.
    pub fn module_symbols(&self) -> &KernelSymbols {
        self.module_symbols.get_or_init(|| match &self.source {
            Source::Dump(_) => module::symbols(self, &self.modules().items),
            // They are among its own.
            Source::Running(_) => KernelSymbols::default(),
        })
    }

    /// Finds the symbol in which an address lies, of the kernel or of a module.
    #[must_use]
    pub fn symbolize(&self, addr: VirtAddr) -> Option<Found<'_>> {
        if let Source::Running(running) = &self.source {
            return running.symbols().ok()?.lookup(addr);
        }
        if let Some(module) = self.module_at(addr) {
            // The nearest may be another module's where this one's table is missing.
            let found = self.module_symbols().lookup(addr)?;
            // Its per-CPU variables are elsewhere.
            let mut ranges = module.ranges.iter();
            let is_own = ranges.any(|range| range.contains(&found.symbol.address));
            return (is_own && found.symbol.module == Some(&*module.name)).then_some(found);
        }
        // Behind the image is code made at run time.
        if self.global("_end").is_some_and(|end| addr >= end) {
            return None;
        }
        self.symbols().ok()?.lookup(addr)
    }

    /// Gives the address of a global variable or function of the kernel's image; of several, the
    /// one with the lowest address.
    #[must_use]
    pub fn global(&self, name: &str) -> Option<VirtAddr> {
        let symbols = self.symbols().ok()?;
        let globals = self.globals.get_or_init(|| {
            let names = GLOBALS.iter().map(|g| g.name).chain(PLACES.iter().copied());
            let wanted: HashSet<&str> = names.collect();
            let mut found: HashMap<&str, Option<VirtAddr>> =
                wanted.iter().map(|&name| (name, None)).collect();
            for symbol in symbols.iter() {
                if let Some(&name) = wanted.get(symbol.name) {
                    found.entry(name).or_default().get_or_insert(symbol.address);
                }
            }
            found
        });
        if let Some(known) = globals.get(name) {
            return known.or_else(|| self.found_otherwise(name));
        }
        symbols.find(name).next().map(|s| s.address)
    }

    /// Finds what a kernel that runs leads to without a symbol.
    fn found_otherwise(&self, name: &str) -> Option<VirtAddr> {
        let running = self.source.running().filter(|_| name == "init_task")?;
        let found = self.first_task.get_or_init(|| {
            let some = running.some_task()?;
            task::first(self, some).ok()
        });
        *found
    }

    pub(crate) fn need(&self, name: &str) -> Result<VirtAddr, Error> {
        self.symbols()?;
        self.global(name)
            .ok_or_else(|| Error::NoSymbol(name.to_owned()))
    }

    /// Gives the types of the kernel, out of its own memory.
    ///
    /// # Errors
    /// Where the kernel has no BTF or it cannot be read.
    pub fn btf(&self) -> Result<&Btf, Error> {
        let btf = self.btf.get_or_init(|| {
            if let Source::Running(running) = &self.source {
                return running.btf();
            }
            let start = self.need("__start_BTF")?;
            let stop = self.need("__stop_BTF")?;
            let len = stop.offset_from(start).filter(|&l| l > 0 && l <= BTF);
            let len = len.ok_or(Error::Malformed {
                what: "types (BTF)",
                offset: start.0,
            })?;
            let mut bytes = vec![0; len as usize];
            self.read(start, &mut bytes)?;
            Ok(Btf::parse(bytes)?)
        });
        btf.as_ref().map_err(Clone::clone)
    }

    /// Takes types from elsewhere, such as a copy of /sys/kernel/btf/vmlinux, for a kernel whose
    /// own cannot be read. Has no effect once types were asked for.
    pub fn supply_btf(&self, btf: Btf) {
        let _ = self.btf.set(Ok(btf));
    }

    /// Reads the types of a module, on top of the kernel's.
    ///
    /// # Errors
    /// Where the kernel keeps none of this module (it does since 5.11), or they cannot be read.
    pub fn module_btf(&self, module: &Module) -> Result<Btf, Error> {
        module::btf(self, module)
    }

    /// Gives a global variable with its type, for those whose type is known: BTF has none of
    /// them. The type must exist and its size must fit to where the next symbol is. Of a per-CPU
    /// variable it is the place that [`Kernel::per_cpu`] takes.
    ///
    /// # Errors
    /// Where there is no such symbol, its type is not known or does not fit.
    pub fn variable(&self, name: &str) -> Result<Object<'_>, Error> {
        globals::variable(self, name)
    }

    /// Checks the type of every global variable whose type is known here against this kernel, and
    /// gives those that it lacks or that do not fit.
    ///
    /// # Errors
    /// Where there are no symbols or types at all.
    pub fn check_variables(&self) -> Result<Vec<(&'static str, Error)>, Error> {
        self.symbols()?;
        self.btf()?;
        let names = GLOBALS.iter().map(|g| g.name);
        Ok(names
            .filter_map(|name| Some((name, self.variable(name).err()?)))
            .collect())
    }

    /// Takes the place at an address as a structure of this name.
    ///
    /// # Errors
    /// Where there is no such type.
    pub fn object(&self, type_name: &str, addr: VirtAddr) -> Result<Object<'_>, Error> {
        Ok(Object::named(self, self.btf()?, type_name, addr)?)
    }

    /// Gives the modules, in the order of the kernel's list.
    pub fn modules(&self) -> &Walked<Module> {
        self.modules.get_or_init(|| module::read(self))
    }

    /// Gives the module in which an address lies.
    #[must_use]
    pub fn module_at(&self, addr: VirtAddr) -> Option<&Module> {
        let inside = |m: &&Module| m.ranges.iter().any(|r: &Range<VirtAddr>| r.contains(&addr));
        // Modules are near the image; no walk is needed for what is elsewhere.
        self.modules().items.iter().find(inside)
    }

    /// Gives the numbers of the CPUs of a mask, such as `__cpu_online_mask`.
    ///
    /// # Errors
    /// Where there is no such mask.
    pub fn cpus(&self, mask: &str) -> Result<Vec<u32>, Error> {
        let start = self.need(mask)?;
        let size = self.object("cpumask", start)?.size()?;
        let mut bits = vec![0; size.min(CPUS as u64 / 8) as usize];
        self.read(start, &mut bits)?;
        let set = |cpu: &u32| bits[*cpu as usize / 8] >> (cpu % 8) & 1 != 0;
        Ok((0..bits.len() as u32 * 8).filter(set).collect())
    }

    /// Gives the address of a CPU's copy of a per-CPU variable.
    ///
    /// # Errors
    /// Where the CPU's offset cannot be read.
    pub fn per_cpu(&self, variable: VirtAddr, cpu: u32) -> Result<VirtAddr, Error> {
        let offsets = self.need("__per_cpu_offset")?;
        Ok(PerCpu::new(offsets).address(self, variable, cpu)?)
    }

    /// Gives the registers that the CPUs had when the dump was taken, in the dump's order. These
    /// are the CPUs that answered; [`Kernel::on_cpu`] says which.
    #[must_use]
    pub fn registers(&self) -> Vec<Registers> {
        self.source.registers()
    }

    /// Gives what ran on each CPU, with the registers that it had.
    ///
    /// # Errors
    /// Where it cannot be told which CPUs there are.
    pub fn on_cpu(&self) -> Result<Walked<task::OnCpu>, Error> {
        task::on_cpu(self)
    }

    /// Gives all tasks: the idle task of the first CPU, then every process with its threads, then
    /// the idle tasks of the other CPUs.
    ///
    /// # Errors
    /// Where not even the first task can be read.
    pub fn tasks(&self) -> Result<Walked<Task>, Error> {
        task::read(self)
    }

    /// Reads a task of a kernel that runs as it is now, and forgets what was read of its stack: it
    /// sleeps all the while if it is the same before and after.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn task_now(&self, task: VirtAddr) -> Result<task::TaskNow, Error> {
        task::now(self, task)
    }

    pub(crate) fn forget(&self, start: VirtAddr, len: u64) {
        if let Some(running) = self.source.running() {
            running.forget(start, len);
        }
    }

    /// Gives what unwinds stacks.
    ///
    /// # Errors
    /// Where there are no unwind tables.
    pub fn unwinder(&self) -> Result<Unwinder<'_>, Error> {
        Unwinder::new(self)
    }

    /// Reads what time it was for the kernel at its last tick.
    ///
    /// # Errors
    /// Where its timekeeper is not found, or is not what it looks like elsewhere.
    pub fn time(&self) -> Result<time::KernelTime, Error> {
        time::read(self)
    }

    /// Reads the number of the machine's width at a symbol, such as `tainted_mask`.
    ///
    /// # Errors
    /// Where there is no such symbol, or it cannot be read.
    pub fn number(&self, symbol: &str) -> Result<u64, Error> {
        time::number(self, symbol)
    }

    /// Gives the name of what a `struct path` leads to, such as `f_path` of a `struct file`: as
    /// /proc/PID/fd of a process tells it that sees all mounts.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn path(&self, path: VirtAddr) -> Result<Vec<u8>, Error> {
        path::of_path(self, path)
    }

    /// Gives the name of a `struct dentry` below the root of the mounts of a `struct vfsmount`, or
    /// in its own file system where none is given.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn dentry_path(&self, dentry: VirtAddr, mount: Option<VirtAddr>) -> Result<Vec<u8>, Error> {
        path::of_dentry(self, dentry, mount)
    }

    /// Reads the kernel's log, oldest line first.
    ///
    /// # Errors
    /// Where the log cannot be found.
    pub fn log(&self) -> Result<Walked<LogLine>, Error> {
        log::read(self)
    }
}

impl Memory for Kernel {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        self.source.read(addr, buf)
    }
}

impl PhysMemory for Kernel {
    fn read_phys(
        &self,
        addr: kscope_memory::PhysAddr,
        buf: &mut [u8],
    ) -> Result<(), GapAt<kscope_memory::PhysAddr>> {
        self.source.read_phys(addr, buf)
    }
}

impl core::fmt::Debug for Kernel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Kernel")
            .field("release", &self.release())
            .field("dump", &self.dump())
            .finish_non_exhaustive()
    }
}
