//! How the kernel's memory is used: the figures of /proc/meminfo, and the largest processes.

use std::collections::HashMap;

use kscope_memory::{FieldAt, Memory, Object, VirtAddr};

use super::ticks::{after, word};
use super::{MemoryZone, Partly, Unread};
use crate::facts::kernel::Kernel;
use crate::walk::list;
use crate::{Error, Task};

/// Bytes of a page (x86_64).
const PAGE: u64 = 4096;
const KILOBYTE: u64 = 1024;
/// Most inodes of block devices.
const DEVICES: usize = 1 << 16;
/// Most sizes of huge pages.
const HUGE_SIZES: u64 = 8;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUnit {
    /// Bytes.
    Bytes,
    /// Huge pages.
    HugePages,
}

/// A line of /proc/meminfo.
#[derive(Clone, Debug)]
pub struct MemoryFigure {
    /// Its name there.
    pub name: &'static str,
    /// What it counts.
    pub unit: MemoryUnit,
    /// The number, or why it is not known.
    pub value: Result<u64, Error>,
}

/// What a process has in memory. All numbers are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessMemory {
    /// Its number.
    pub pid: i32,
    /// Its name.
    pub comm: String,
    /// What it has in memory: the sum of the three that follow.
    pub resident: u64,
    /// Memory of its own.
    pub anonymous: u64,
    /// Pages of files.
    pub files: u64,
    /// Shared memory.
    pub shared: u64,
    /// What was written to swap.
    pub swapped: u64,
    /// What it has mapped.
    pub mapped: u64,
    /// Its page tables.
    pub page_tables: u64,
}

/// Where a figure comes from.
#[derive(Clone, Copy)]
enum Origin {
    /// Counters of all zones, in pages; the sum.
    Zone(&'static [&'static str]),
    /// Counters of all nodes, in pages.
    Node(&'static [&'static str]),
    /// A counter of all nodes, in kilobytes.
    NodeKilobytes(&'static str),
    /// A counter of nodes, of zones in older kernels.
    NodeOrZone(&'static str),
    /// A counter of nodes whose unit was a huge page before there was another counter.
    NodeOfHuge(&'static str),
    /// A variable, in pages.
    Pages(&'static str),
    /// A variable of huge pages' default size.
    Huge(&'static str),
    /// Memory mapped by entries of one level, which have so many bytes.
    Direct(&'static str, u64),
    Calculated(fn(&Figures<'_>) -> Result<u64, Error>),
}

use Origin::{Calculated, Direct, Huge, Node, NodeKilobytes, NodeOfHuge, NodeOrZone, Pages, Zone};

/// How many lines every kernel has; the others it has as it was built.
const ALWAYS: usize = 31;

/// The lines, in the order of the kernel.
#[allow(
    clippy::redundant_closure_for_method_calls,
    reason = "a method of a type with a lifetime is no pointer to a function of every lifetime"
)]
const FIGURES: [(&str, Origin); 46] = [
    ("MemTotal", Pages("_totalram_pages")),
    ("MemFree", Zone(&["NR_FREE_PAGES"])),
    ("MemAvailable", Calculated(|all| all.available())),
    ("Buffers", Calculated(|all| all.buffers())),
    ("Cached", Calculated(|all| all.cached())),
    ("SwapCached", Calculated(|all| all.swap_cached())),
    ("Active", Node(&["NR_ACTIVE_ANON", "NR_ACTIVE_FILE"])),
    ("Inactive", Node(&["NR_INACTIVE_ANON", "NR_INACTIVE_FILE"])),
    ("Active(anon)", Node(&["NR_ACTIVE_ANON"])),
    ("Inactive(anon)", Node(&["NR_INACTIVE_ANON"])),
    ("Active(file)", Node(&["NR_ACTIVE_FILE"])),
    ("Inactive(file)", Node(&["NR_INACTIVE_FILE"])),
    ("Unevictable", Node(&["NR_UNEVICTABLE"])),
    ("Mlocked", Zone(&["NR_MLOCK"])),
    ("SwapTotal", Calculated(|all| all.swap("total_swap_pages"))),
    ("SwapFree", Calculated(|all| all.swap("nr_swap_pages"))),
    ("Dirty", Node(&["NR_FILE_DIRTY"])),
    ("Writeback", Node(&["NR_WRITEBACK"])),
    ("AnonPages", Node(&["NR_ANON_MAPPED"])),
    ("Mapped", Node(&["NR_FILE_MAPPED"])),
    ("Shmem", Node(&["NR_SHMEM"])),
    (
        "KReclaimable",
        Node(&["NR_SLAB_RECLAIMABLE_B", "NR_KERNEL_MISC_RECLAIMABLE"]),
    ),
    (
        "Slab",
        Node(&["NR_SLAB_RECLAIMABLE_B", "NR_SLAB_UNRECLAIMABLE_B"]),
    ),
    ("SReclaimable", Node(&["NR_SLAB_RECLAIMABLE_B"])),
    ("SUnreclaim", Node(&["NR_SLAB_UNRECLAIMABLE_B"])),
    ("KernelStack", NodeKilobytes("NR_KERNEL_STACK_KB")),
    ("PageTables", NodeOrZone("NR_PAGETABLE")),
    ("CommitLimit", Calculated(|all| all.commit_limit())),
    ("Committed_AS", Calculated(|all| all.committed())),
    ("VmallocUsed", Calculated(|all| all.vmalloc())),
    ("Percpu", Calculated(|all| all.per_cpu())),
    ("HardwareCorrupted", Pages("num_poisoned_pages")),
    ("AnonHugePages", NodeOfHuge("NR_ANON_THPS")),
    ("ShmemHugePages", NodeOfHuge("NR_SHMEM_THPS")),
    ("FileHugePages", NodeOfHuge("NR_FILE_THPS")),
    ("CmaTotal", Pages("totalcma_pages")),
    ("CmaFree", Zone(&["NR_FREE_CMA_PAGES"])),
    ("HugePages_Total", Huge("nr_huge_pages")),
    ("HugePages_Free", Huge("free_huge_pages")),
    ("HugePages_Rsvd", Huge("resv_huge_pages")),
    ("HugePages_Surp", Huge("surplus_huge_pages")),
    ("Hugepagesize", Calculated(|all| all.huge_size())),
    ("Hugetlb", Calculated(|all| all.huge())),
    ("DirectMap4k", Direct("PG_LEVEL_4K", 4 << 10)),
    ("DirectMap2M", Direct("PG_LEVEL_2M", 2 << 20)),
    ("DirectMap1G", Direct("PG_LEVEL_1G", 1 << 30)),
];

/// What the figures are taken from.
struct Figures<'k> {
    kernel: &'k Kernel,
    zones: Result<Vec<MemoryZone>, Error>,
}

impl Kernel {
    /// Gives figures that /proc/meminfo would show, each or why it is not known. Some are left out,
    /// such as VmallocTotal, SecPageTables, Zswap and those that are always 0.
    #[must_use]
    pub fn memory_figures(&self) -> Vec<MemoryFigure> {
        let zones = self
            .memory_zones()
            .and_then(|zones| match zones.unread.first {
                Some(error) => Err(error),
                None => Ok(zones.items),
            });
        let figures = Figures {
            kernel: self,
            zones,
        };
        let figure = |&(name, from): &(&'static str, Origin)| MemoryFigure {
            name,
            unit: match from {
                Huge(_) => MemoryUnit::HugePages,
                _ => MemoryUnit::Bytes,
            },
            value: figures.value(from),
        };
        let (always, built) = FIGURES.split_at(ALWAYS);
        let is_built = |figure: &MemoryFigure| {
            !matches!(figure.value, Err(Error::NoSymbol(_) | Error::NoConstant(_)))
        };
        let built = built.iter().map(figure).filter(is_built);
        always.iter().map(figure).chain(built).collect()
    }

    /// Gives what each process has in memory, the largest first.
    ///
    /// # Errors
    /// Where there are no tasks or the kernel counts otherwise.
    pub fn process_memory(&self) -> Result<Partly<ProcessMemory>, Error> {
        let walked = self.tasks()?;
        let mut unread = Unread::default();
        let tasks = unread.walked(walked);
        let layout = Resident::of(self)?;
        // Threads share their memory; each keeps some of the count to itself in older kernels.
        let mut places: HashMap<VirtAddr, usize> = HashMap::new();
        let mut found: Vec<(Task, [i64; 4], VirtAddr)> = Vec::new();
        for task in tasks {
            self.proceed()?;
            let Some(mm) = unread.keep(layout.memory_of(self, &task)) else {
                continue;
            };
            if mm.0 == 0 {
                continue;
            }
            let at = match places.get(&mm) {
                Some(&at) => at,
                None => {
                    let Some(counts) = unread.keep(layout.counts(self, mm)) else {
                        continue;
                    };
                    places.insert(mm, found.len());
                    found.push((task.clone(), counts, mm));
                    found.len() - 1
                }
            };
            if let Some(own) = unread.keep(layout.own(self, &task)) {
                let sums = found[at].1.iter_mut().zip(own);
                sums.for_each(|(sum, own)| *sum = sum.saturating_add(own));
            }
        }
        let mut items = Vec::new();
        for (task, counts, mm) in found {
            items.extend(unread.keep(layout.process(self, &task, counts, mm)));
        }
        items.sort_by_key(|one| (std::cmp::Reverse(one.resident), one.pid));
        Ok(Partly { items, unread })
    }
}

impl Figures<'_> {
    fn value(&self, from: Origin) -> Result<u64, Error> {
        let pages = |pages: u64| pages.saturating_mul(PAGE);
        let sum = |names: &[&'static str], of: &dyn Fn(&'static str) -> Result<u64, Error>| {
            names.iter().try_fold(0u64, |sum, name| {
                Ok::<u64, Error>(sum.saturating_add(of(name)?))
            })
        };
        match from {
            Zone(names) => sum(names, &|name| self.zone(name)).map(pages),
            Node(names) => sum(names, &|name| self.node(name)).map(pages),
            NodeKilobytes(name) => Ok(self.node(name)?.saturating_mul(KILOBYTE)),
            // Moved between the two enumerations with 5.11.
            NodeOrZone(name) if self.is_of("node_stat_item", name)? => self.node(name).map(pages),
            NodeOrZone(name) => self.zone(name).map(pages),
            NodeOfHuge(name) => {
                let count = self.node(name)?;
                let unit = match self.counts_huge_in_pages()? {
                    true => PAGE,
                    false => 2 << 20,
                };
                Ok(count.saturating_mul(unit))
            }
            Pages(symbol) => self.kernel.number(symbol).map(positive).map(pages),
            Huge(member) => Ok(self.default_huge()?.member(member)?.value()?),
            Direct(level, bytes) => {
                let counts = self.kernel.need("direct_pages_count")?;
                let at = after(counts, 8 * self.kernel.counter(level)?);
                Ok(self.kernel.read_u64(at)?.saturating_mul(bytes))
            }
            Calculated(calculate) => calculate(self),
        }
    }

    fn is_of(&self, enumeration: &str, name: &'static str) -> Result<bool, Error> {
        let btf = self.kernel.btf()?;
        let found = btf.enumerator(name).ok_or(Error::NoConstant(name))?;
        Ok(btf.name(found.type_id) == Some(enumeration))
    }

    fn zone(&self, name: &'static str) -> Result<u64, Error> {
        self.counted("vm_zone_stat", name)
    }

    fn node(&self, name: &'static str) -> Result<u64, Error> {
        self.counted("vm_node_stat", name)
    }

    fn counted(&self, array: &str, name: &'static str) -> Result<u64, Error> {
        let start = self.kernel.need(array)?;
        let at = after(start, 8 * self.kernel.counter(name)?);
        Ok(positive(self.kernel.read_u64(at)?))
    }

    /// Estimates what programs could get without swapping, as the kernel does.
    fn available(&self) -> Result<u64, Error> {
        let zones = self.zones.as_ref().map_err(Clone::clone)?;
        let low = zones.iter().map(|zone| zone.low);
        let low = low.fold(0, u64::saturating_add);
        let reserved = self.kernel.number("totalreserve_pages")?;
        let files = self
            .node("NR_ACTIVE_FILE")?
            .saturating_add(self.node("NR_INACTIVE_FILE")?);
        let slabs = self
            .node("NR_SLAB_RECLAIMABLE_B")?
            .saturating_add(self.node("NR_KERNEL_MISC_RECLAIMABLE")?);
        // Not all of either can be freed.
        let part = |pages: u64| pages - (pages / 2).min(low);
        let free = self.zone("NR_FREE_PAGES")?;
        let all = free.saturating_add(part(files)).saturating_add(part(slabs));
        Ok(all.saturating_sub(reserved).saturating_mul(PAGE))
    }

    /// Sums the pages of block devices.
    fn buffers(&self) -> Result<u64, Error> {
        let kernel = self.kernel;
        let devices = VirtAddr(kernel.number("blockdev_superblock")?);
        let head = kernel.object("super_block", devices)?.member("s_inodes")?;
        let link = FieldAt::of(kernel.btf()?, "inode", "i_sb_list")?;
        let inodes = list(kernel, head.addr(), link.offset, DEVICES);
        if let Some(fault) = inodes.fault {
            return Err(fault);
        }
        let mut sum = 0u64;
        for inode in inodes.items {
            kernel.proceed()?;
            let mapping = kernel.object("inode", inode)?.member("i_mapping")?;
            sum = sum.saturating_add(mapping.member("nrpages")?.value()?);
        }
        Ok(sum.saturating_mul(PAGE))
    }

    /// Says whether counters of transparent huge pages count pages. They do since 5.12, which let
    /// each mount have users of its own as well; and counts the swap cache, where there is swap.
    fn counts_huge_in_pages(&self) -> Result<bool, Error> {
        let btf = self.kernel.btf()?;
        // The second since 6.2.
        let mut since = ["mnt_userns", "mnt_idmap"].into_iter();
        Ok(self.kernel.counter("NR_SWAPCACHE").is_ok()
            || since.any(|member| FieldAt::of(btf, "vfsmount", member).is_ok()))
    }

    /// Gives a number of pages of swap in bytes: 0 where the kernel is built without it
    /// (`CONFIG_SWAP`), and thus without the function that tells of it.
    fn swap(&self, symbol: &str) -> Result<u64, Error> {
        match self.kernel.number(symbol) {
            Err(Error::NoSymbol(_)) if self.kernel.global("si_swapinfo").is_none() => Ok(0),
            pages => Ok(positive(pages?).saturating_mul(PAGE)),
        }
    }

    fn swap_cached(&self) -> Result<u64, Error> {
        if self.kernel.counter("NR_SWAPCACHE").is_err() && self.swap("total_swap_pages")? == 0 {
            return Ok(0);
        }
        Ok(self.node("NR_SWAPCACHE")?.saturating_mul(PAGE))
    }

    fn cached(&self) -> Result<u64, Error> {
        let files = self.node("NR_FILE_PAGES")?.saturating_mul(PAGE);
        Ok(files
            .saturating_sub(self.swap_cached()?)
            .saturating_sub(self.buffers()?))
    }

    fn commit_limit(&self) -> Result<u64, Error> {
        let swap = self.swap("total_swap_pages")?;
        let fixed = self.kernel.number("sysctl_overcommit_kbytes")?;
        if fixed > 0 {
            return Ok(fixed.saturating_mul(KILOBYTE).saturating_add(swap));
        }
        let percent = self
            .kernel
            .read_u32(self.kernel.need("sysctl_overcommit_ratio")?)?;
        let total = self.kernel.number("_totalram_pages")?.saturating_mul(PAGE);
        // Kernels without huge pages of this kind (CONFIG_HUGETLB_PAGE) take none away.
        let huge = match self.kernel.global("hugetlb_max_hstate") {
            Some(_) => self.huge()?,
            None => 0,
        };
        let pages = total.saturating_sub(huge) / PAGE;
        let limit = pages.saturating_mul(u64::from(percent)) / 100;
        Ok(limit.saturating_mul(PAGE).saturating_add(swap))
    }

    fn committed(&self) -> Result<u64, Error> {
        let counter = self.kernel.need("vm_committed_as")?;
        let counter = self.kernel.object("percpu_counter", counter)?;
        let sum = per_cpu_sum(self.kernel, &counter, "__cpu_online_mask")?;
        Ok((sum.max(0) as u64).saturating_mul(PAGE))
    }

    fn vmalloc(&self) -> Result<u64, Error> {
        // A counter of nodes since 6.19.
        let pages = match self.kernel.global("nr_vmalloc_pages") {
            Some(_) => self.kernel.number("nr_vmalloc_pages")?,
            None => self.node("NR_VMALLOC")?,
        };
        Ok(pages.saturating_mul(PAGE))
    }

    fn per_cpu(&self) -> Result<u64, Error> {
        let populated = self.kernel.number("pcpu_nr_populated")?;
        let units = self.kernel.read_u32(self.kernel.need("pcpu_nr_units")?)?;
        let pages = populated.saturating_mul(u64::from(units));
        Ok(pages.saturating_mul(PAGE))
    }

    /// Gives the sizes of huge pages.
    fn huge_sizes(&self) -> Result<Vec<Object<'_>>, Error> {
        let count = self
            .kernel
            .read_u32(self.kernel.need("hugetlb_max_hstate")?)?;
        let start = self.kernel.need("hstates")?;
        if u64::from(count) > HUGE_SIZES {
            return Err(Error::Malformed {
                what: "the number of sizes of huge pages",
                offset: start.0,
            });
        }
        let first = self.kernel.object("hstate", start)?;
        let size = first.size()?;
        let at = |index: u64| after(first.addr(), index.saturating_mul(size));
        (0..u64::from(count))
            .map(|index| self.kernel.object("hstate", at(index)))
            .collect()
    }

    fn default_huge(&self) -> Result<Object<'_>, Error> {
        let index = self
            .kernel
            .read_u32(self.kernel.need("default_hstate_idx")?)?;
        let sizes = self.huge_sizes()?;
        let found = sizes.get(index as usize).copied();
        found.ok_or(Error::Missing("default size of huge pages"))
    }

    fn huge_size(&self) -> Result<u64, Error> {
        let order = self.default_huge()?.member("order")?.value()?;
        Ok(PAGE << order.min(40))
    }

    /// Sums the huge pages of all sizes.
    fn huge(&self) -> Result<u64, Error> {
        let mut sum = 0u64;
        for size in self.huge_sizes()? {
            let count = size.member("nr_huge_pages")?.value()?;
            let order = size.member("order")?.value()?;
            sum = sum.saturating_add(count.saturating_mul(PAGE << order.min(40)));
        }
        Ok(sum)
    }
}

/// Gives a counter that CPUs' own parts may make negative for a moment.
fn positive(count: u64) -> u64 {
    (count as i64).max(0) as u64
}

/// Sums a `struct percpu_counter` over what all have together and the CPUs' own parts.
fn per_cpu_sum(kernel: &Kernel, counter: &Object<'_>, mask: &str) -> Result<i64, Error> {
    let mut sum = counter.member("count")?.signed()?;
    let parts = counter.member("counters")?.pointer()?;
    if parts.0 == 0 {
        return Ok(sum);
    }
    for cpu in kernel.cpus(mask)? {
        let part = kernel.read_u32(kernel.per_cpu(parts, cpu)?)? as i32;
        sum = sum.saturating_add(i64::from(part));
    }
    Ok(sum)
}

/// Where the kernel counts what processes have in memory.
struct Resident {
    mm: FieldAt,
    /// The counters of a `struct mm_struct`.
    counters: FieldAt,
    /// Whether each is a `struct percpu_counter` (since 6.2).
    per_cpu: bool,
    /// What a thread keeps to itself (before 6.2).
    own: Option<FieldAt>,
    /// The numbers of the counters: files, anonymous, shared, swapped.
    order: [u64; 4],
}

impl Resident {
    fn of(kernel: &Kernel) -> Result<Resident, Error> {
        let btf = kernel.btf()?;
        let mm = |path: &str| FieldAt::of(btf, "mm_struct", path);
        let old = mm("rss_stat.count");
        let order = [
            kernel.counter("MM_FILEPAGES")?,
            kernel.counter("MM_ANONPAGES")?,
            kernel.counter("MM_SHMEMPAGES")?,
            kernel.counter("MM_SWAPENTS")?,
        ];
        Ok(Resident {
            mm: FieldAt::of(btf, "task_struct", "mm")?,
            per_cpu: old.is_err(),
            counters: old.or_else(|_| mm("rss_stat"))?,
            own: FieldAt::of(btf, "task_struct", "rss_stat.count").ok(),
            order,
        })
    }

    fn memory_of(&self, kernel: &Kernel, task: &Task) -> Result<VirtAddr, Error> {
        let object = kernel.object("task_struct", task.addr)?;
        Ok(object.field(self.mm)?.pointer()?)
    }

    fn counts(&self, kernel: &Kernel, mm: VirtAddr) -> Result<[i64; 4], Error> {
        let counters = kernel.object("mm_struct", mm)?.field(self.counters)?;
        let mut counts = [0; 4];
        for (count, index) in counts.iter_mut().zip(self.order) {
            let counter = counters.index(index)?;
            *count = match self.per_cpu {
                true => per_cpu_sum(kernel, &counter, "__cpu_possible_mask")?,
                false => word(&counter, kernel)? as i64,
            };
        }
        Ok(counts)
    }

    fn own(&self, kernel: &Kernel, task: &Task) -> Result<[i64; 4], Error> {
        let mut counts = [0; 4];
        if let Some(own) = self.own {
            let counters = kernel.object("task_struct", task.addr)?.field(own)?;
            for (count, index) in counts.iter_mut().zip(self.order) {
                *count = counters.index(index)?.signed()?;
            }
        }
        Ok(counts)
    }

    fn process(
        &self,
        kernel: &Kernel,
        task: &Task,
        counts: [i64; 4],
        mm: VirtAddr,
    ) -> Result<ProcessMemory, Error> {
        let mm = kernel.object("mm_struct", mm)?;
        let bytes = |pages: i64| (pages.max(0) as u64).saturating_mul(PAGE);
        let [files, anonymous, shared, swapped] = counts.map(bytes);
        let mapped = mm.member("total_vm")?.value()?;
        Ok(ProcessMemory {
            pid: task.tgid,
            comm: task.comm.clone(),
            resident: files.saturating_add(anonymous).saturating_add(shared),
            anonymous,
            files,
            shared,
            swapped,
            mapped: mapped.saturating_mul(PAGE),
            page_tables: word(&mm.member("pgtables_bytes")?, kernel)?,
        })
    }
}
