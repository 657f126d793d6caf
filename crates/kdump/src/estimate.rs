//! How much memory the capture needs: a sum of lines, each with where its number comes from.

use crate::facts::{Facts, KernelFacts};
use crate::root::Root;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// `sizeof(struct page)` on 64-bit machines, for each page (include/linux/mm_types.h).
const STRUCT_PAGE: u64 = 64;
const PAGE: u64 = 4096;

/// What a kernel with one CPU takes beside its image until the first program runs: slabs, page tables,
/// hash tables, threads, and what it keeps for itself as a reserve. Measured in capture kernels with
/// 256 MiB, as `memory_start` of their status less the lines before: 27 MiB of Debian's 6.1, 30 MiB of 6.12.
const KERNEL_BASE: u64 = 30 * MIB;

/// What `kscope kdump save` takes with one thread, and the kernel for it: `memory_peak` less
/// `memory_start`. Measured: 13 MiB on Debian's 6.1, 17 MiB on 6.12.
const WRITER: u64 = 14 * MIB;
/// What each further thread takes: its part of the buffers and its stack; not measured.
const WRITER_THREAD: u64 = 4 * MIB;

/// What the process takes that watches, and ssh where that is the target.
const PROGRAMS: u64 = 3 * MIB;
const SSH: u64 = 3 * MIB;

/// What a reservation should have more than is needed, since drivers differ from machine to machine.
const SLACK_PERCENT: u64 = 50;
/// Reservations come in multiples of this.
const STEP: u64 = 32 * MIB;

/// One line of the sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What takes the memory.
    pub what: &'static str,
    /// Bytes.
    pub bytes: u64,
    /// Where the number comes from.
    pub source: String,
}

/// How much memory the capture needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// The lines of the sum.
    pub lines: Vec<Line>,
    /// Their sum, in bytes: what the capture uses at its peak.
    pub needed: u64,
    /// What to reserve, in bytes.
    pub advised: u64,
    /// What is reserved, in bytes.
    pub reserved: Option<u64>,
    /// What the last capture used at its peak, in bytes, where one has said so.
    pub measured: Option<u64>,
}

/// Sums up what the capture of a machine needs.
#[must_use]
pub fn estimate(root: &Root, facts: &Facts, cpus: u32) -> Estimate {
    let kernel = &facts.kernel;
    let reserved = kernel.reserved.filter(|reserved| *reserved > 0);
    let mut lines = Vec::new();
    let mut add = |what: &'static str, bytes: u64, source: String| {
        lines.push(Line {
            what,
            bytes,
            source,
        });
    };
    let (image, source) = image(root, facts);
    add("kernel image", image, source);
    let base = reserved.unwrap_or(256 * MIB);
    add(
        "page structures",
        base / PAGE * STRUCT_PAGE,
        format!(
            "{STRUCT_PAGE} bytes for each of {} pages of {}",
            base / PAGE,
            sized(base)
        ),
    );
    let (per_cpu, source) = per_cpu(kernel, cpus);
    add("per-CPU areas", per_cpu, source);
    add(
        "kernel at rest",
        KERNEL_BASE,
        "measured: slabs, page tables, threads of a kernel with one CPU".to_owned(),
    );
    let manifest = facts.image.manifest.as_ref();
    let unpacked =
        manifest.map(|manifest| manifest.unpacked - manifest.modules_size.min(manifest.unpacked));
    match unpacked {
        Some(bytes) => add(
            "initial file system",
            bytes,
            "its manifest: files but modules".to_owned(),
        ),
        None => add(
            "initial file system",
            own_size() + 64 * KIB,
            "this program; there is no initial file system yet".to_owned(),
        ),
    }
    if let Some(manifest) = manifest {
        let count = manifest.modules.len();
        add(
            "modules",
            manifest.modules_size,
            format!("its manifest: {count} modules, which are loaded and then removed as files"),
        );
    }
    let threads = u64::from(cpus.max(1));
    add(
        "writing the dump",
        WRITER + (threads - 1) * WRITER_THREAD,
        format!("`kscope kdump save` with {threads} threads, measured"),
    );
    let is_ssh = matches!(facts.target, crate::facts::TargetFacts::Ssh(_));
    let programs = PROGRAMS + u64::from(is_ssh) * SSH;
    let source = if is_ssh {
        "the capture's processes and ssh, measured"
    } else {
        "the capture's processes, measured"
    };
    add("processes", programs, source.to_owned());
    let needed = lines.iter().map(|line| line.bytes).sum::<u64>();
    let advised = (needed * (100 + SLACK_PERCENT) / 100).next_multiple_of(STEP);
    Estimate {
        lines,
        needed,
        advised,
        reserved,
        measured: facts.crashes.iter().rev().find_map(|crash| {
            let status = crash.status.as_deref()?;
            crate::pairs::value(status, "memory_peak")?.parse().ok()
        }),
    }
}

/// Gives the size of the kernel in memory: as the running one has it, or as its image says.
fn image(root: &Root, facts: &Facts) -> (u64, String) {
    let map = root.text("/proc/iomem").unwrap_or_default();
    let parts = ["Kernel code", "Kernel rodata", "Kernel data", "Kernel bss"];
    let regions = parts
        .iter()
        .flat_map(|name| crate::facts::kernel::regions(&map, name));
    let running: u64 = regions
        .filter(|(_, end)| *end > 0)
        .map(|(start, end)| end - start + 1)
        .sum();
    if running > MIB {
        return (
            running,
            "/proc/iomem: code, rodata, data and bss of this kernel".to_owned(),
        );
    }
    match facts
        .image
        .header
        .as_ref()
        .and_then(|header| header.init_size)
    {
        Some(size) => (size, "init_size of the image's header".to_owned()),
        None => (
            48 * MIB,
            "no image to look at: as Debian's 6.1 has it".to_owned(),
        ),
    }
}

fn per_cpu(kernel: &KernelFacts, cpus: u32) -> (u64, String) {
    let all = kernel.memory("Percpu");
    let each = all / u64::from(kernel.cpus.max(1));
    let cpus = u64::from(cpus.max(1));
    match all {
        0 => (cpus * MIB, format!("1 MiB for each of {cpus}")),
        _ => (
            cpus * each,
            format!("/proc/meminfo: {} for each of {cpus}", sized(each)),
        ),
    }
}

fn own_size() -> u64 {
    std::fs::metadata("/proc/self/exe").map_or(8 * MIB, |meta| meta.len())
}

/// Writes bytes as a person reads them.
#[must_use]
pub fn sized(bytes: u64) -> String {
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        _ => format!("{:.1} MiB", bytes as f64 / MIB as f64),
    }
}

/// Foretells the bytes of a dump of level 31 before it is packed: what the kernel itself has. Other
/// levels keep more.
#[must_use]
pub fn dump_size(kernel: &KernelFacts, level: u8) -> u64 {
    let used = |names: &[&str]| names.iter().map(|name| kernel.memory(name)).sum::<u64>();
    // /proc/meminfo has no line for the kernel's image and the structures of pages.
    let structures = kernel.memory("MemTotal") / PAGE * STRUCT_PAGE;
    let mut size = structures
        + 64 * MIB
        + used(&["Slab", "KernelStack", "PageTables", "Percpu", "VmallocUsed"]);
    // Compare makedumpfile(8), -d.
    for (bit, names) in [
        (2, ["Buffers", "Cached"].as_slice()),
        (8, ["AnonPages"].as_slice()),
        (16, ["MemFree"].as_slice()),
    ] {
        if level & bit == 0 {
            size += used(names);
        }
    }
    size.min(kernel.memory("MemTotal").max(MIB))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(sized(512), "512 B");
        assert_eq!(sized(8 << 10), "8 KiB");
        assert_eq!(sized(3 << 19), "1.5 MiB");
    }

    #[test]
    fn dumps_of_lower_levels_are_larger() {
        let mut kernel = KernelFacts::default();
        for (name, mib) in [
            ("MemTotal", 4096u64),
            ("MemFree", 2048),
            ("Cached", 512),
            ("AnonPages", 1024),
            ("Slab", 100),
        ] {
            kernel.memory.insert(name.to_owned(), mib << 20);
        }
        let size = |level| dump_size(&kernel, level) >> 20;
        assert_eq!(size(31), 100 + 64 + 64);
        assert_eq!(size(23), size(31) + 1024);
        assert_eq!(size(0), size(31) + 1024 + 512 + 2048);
    }
}
