//! The running kernel: what it reserved, what it allows, and when it crashes.

use std::collections::BTreeMap;

use crate::Error;
use crate::modules::gunzip;
use crate::root::Root;

/// The running kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelFacts {
    /// `uname -r`.
    pub release: String,
    /// Its command line.
    pub command_line: String,
    /// Bytes reserved for the capture; 0 is none, nothing where the kernel has no kexec.
    pub reserved: Option<u64>,
    /// Where they are: first and last byte of each part. Empty where that is hidden from this user.
    pub regions: Vec<(u64, u64)>,
    /// `/proc/meminfo`, in bytes.
    pub memory: BTreeMap<String, u64>,
    /// CPUs that may be there.
    pub cpus: u32,
    /// The APIC number of the first CPU.
    pub boot_apic: Option<u32>,
    /// Whether a capture kernel is loaded.
    pub loaded: Option<bool>,
    /// `kernel.kexec_load_disabled`.
    pub load_disabled: Option<bool>,
    /// The mode in which the kernel is locked down; `none` is not.
    pub lockdown: Option<String>,
    /// Whether the firmware checks signatures.
    pub secure_boot: Option<bool>,
    /// Options the kernel was built with, and their values; nothing where that is not known.
    pub options: Option<BTreeMap<String, String>>,
    /// Whether the kernel has its types with it.
    pub has_btf: bool,
    /// Numbers below /proc/sys/kernel.
    pub sysctls: BTreeMap<&'static str, u64>,
    /// Whether the kernel itself keeps the capture right when CPUs or memory come and go.
    pub crash_hotplug: bool,
    /// Whether a rule of udev loads it again then.
    pub hotplug_rule: bool,
    /// Whether others are told of the crash before the capture starts.
    pub post_notifiers: Option<bool>,
    /// What keeps the end of the log over a start.
    pub pstore: Option<String>,
    /// Watchdogs that run.
    pub watchdogs: Vec<String>,
    /// Whether devices reach memory through an IOMMU.
    pub iommu: bool,
    /// Whether SELinux enforces its rules.
    pub selinux: bool,
}

/// What makes a kernel crash, and what it does then.
pub(crate) const SYSCTLS: [&str; 9] = [
    "panic",
    "panic_on_oops",
    "hardlockup_panic",
    "softlockup_panic",
    "hung_task_panic",
    "unknown_nmi_panic",
    "panic_on_unrecovered_nmi",
    "panic_on_warn",
    "sysrq",
];

impl KernelFacts {
    pub(crate) fn gather(root: &Root) -> Result<KernelFacts, Error> {
        let release_file = std::path::Path::new("/proc/sys/kernel/osrelease");
        let release = root
            .text(release_file)
            .map_err(Error::file("read", release_file))?;
        let text = |path: &str| root.text(path).unwrap_or_default();
        let sysctls = SYSCTLS.iter().filter_map(|name| {
            let number = root.number(format!("/proc/sys/kernel/{name}"))?;
            Some((*name, number))
        });
        let hotplug = |kind: &str| {
            root.number(format!("/sys/devices/system/{kind}/crash_hotplug")) == Some(1)
        };
        let watchdogs = root.names("/sys/class/watchdog").into_iter();
        let runs = |name: &String| {
            let state = root.text(format!("/sys/class/watchdog/{name}/state"));
            state.is_ok_and(|state| state == "active")
        };
        let pstore = root.text("/sys/module/pstore/parameters/backend").ok();
        let iomem = text("/proc/iomem");
        // To others than root all addresses are 0.
        let regions = regions(&iomem, "Crash kernel").into_iter();
        Ok(KernelFacts {
            command_line: text("/proc/cmdline"),
            reserved: root.number("/sys/kernel/kexec_crash_size"),
            regions: regions.filter(|(_, end)| *end != 0).collect(),
            memory: memory(&text("/proc/meminfo")),
            cpus: cpus(&text("/sys/devices/system/cpu/possible")),
            boot_apic: boot_apic(&text("/proc/cpuinfo")),
            loaded: root.flag("/sys/kernel/kexec_crash_loaded"),
            load_disabled: root.flag("/proc/sys/kernel/kexec_load_disabled"),
            lockdown: lockdown(&text("/sys/kernel/security/lockdown")),
            secure_boot: secure_boot(root),
            options: options(root, &release),
            has_btf: root.exists("/sys/kernel/btf/vmlinux"),
            sysctls: sysctls.collect(),
            crash_hotplug: hotplug("cpu") && hotplug("memory"),
            hotplug_rule: hotplug_rule(root),
            post_notifiers: root.flag("/sys/module/kernel/parameters/crash_kexec_post_notifiers"),
            pstore: pstore.filter(|name| name != "(null)" && !name.is_empty()),
            watchdogs: watchdogs.filter(runs).collect(),
            iommu: !root.names("/sys/class/iommu").is_empty(),
            selinux: root.number("/sys/fs/selinux/enforce") == Some(1),
            release,
        })
    }

    /// Gives an entry of /proc/meminfo, in bytes.
    #[must_use]
    pub fn memory(&self, name: &str) -> u64 {
        self.memory.get(name).copied().unwrap_or(0)
    }

    /// Tells whether the kernel was built with an option; nothing where that is not known.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<bool> {
        let value = self.options.as_ref()?.get(name);
        Some(matches!(value.map(String::as_str), Some("y" | "m")))
    }
}

/// Reads the ranges of /proc/iomem that have a name: first and last byte.
pub(crate) fn regions(text: &str, name: &str) -> Vec<(u64, u64)> {
    let region = |line: &str| {
        let (range, found) = line.trim().split_once(" : ")?;
        let (start, end) = range.split_once('-').filter(|_| found == name)?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        (start <= end && end < u64::MAX).then_some((start, end))
    };
    text.lines().filter_map(region).collect()
}

/// Reads an entry of /proc/meminfo, in bytes.
pub(crate) fn meminfo(text: &str, name: &str) -> Option<u64> {
    memory(text).get(name).copied()
}

fn memory(text: &str) -> BTreeMap<String, u64> {
    let entry = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let kilobytes = value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
        Some((name.to_owned(), kilobytes.saturating_mul(1024)))
    };
    text.lines().filter_map(entry).collect()
}

/// Counts a list of CPUs such as `0-3,8`.
fn cpus(list: &str) -> u32 {
    let count = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        last.checked_sub(first)?.checked_add(1)
    };
    list.split(',')
        .filter_map(count)
        .fold(0, u32::saturating_add)
        .max(1)
}

fn boot_apic(cpuinfo: &str) -> Option<u32> {
    let mut lines = cpuinfo.lines();
    let line = lines.find(|line| line.starts_with("initial apicid"))?;
    line.split(':').nth(1)?.trim().parse().ok()
}

/// Reads `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Option<String> {
    let mode = text.split('[').nth(1)?.split(']').next()?;
    Some(mode.to_owned())
}

/// Reads the firmware's variable: four bytes of attributes, then the value.
fn secure_boot(root: &Root) -> Option<bool> {
    let name = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let bytes = root
        .bytes(format!("/sys/firmware/efi/efivars/{name}"), 16)
        .ok()?;
    bytes.get(4).map(|value| *value == 1)
}

/// Reads the options from /boot, from beside the modules, or out of the kernel.
fn options(root: &Root, release: &str) -> Option<BTreeMap<String, String>> {
    let places = [
        format!("/boot/config-{release}"),
        format!("/lib/modules/{release}/config"),
        format!("/lib/modules/{release}/build/.config"),
    ];
    let text = places.iter().find_map(|place| root.text(place).ok());
    let text = text.or_else(|| {
        let packed = root.bytes("/proc/config.gz", 4 << 20).ok()?;
        let bytes = gunzip(&packed).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    })?;
    let option = |line: &str| {
        let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    Some(text.lines().filter_map(option).collect())
}

/// Looks for a rule that loads the capture again when CPUs or memory come and go.
fn hotplug_rule(root: &Root) -> bool {
    let folders = [
        "/etc/udev/rules.d",
        "/usr/lib/udev/rules.d",
        "/lib/udev/rules.d",
    ];
    let loads =
        |text: &str| text.contains("kdump") && (text.contains("cpu") || text.contains("memory"));
    folders.iter().any(|folder| {
        let mut names = root.names(folder).into_iter();
        names.any(|name| {
            let is_rule = name.contains("kexec") || name.contains("kdump");
            is_rule
                && root
                    .text(format!("{folder}/{name}"))
                    .is_ok_and(|text| loads(&text))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files() {
        let text = "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n\
            00100000-3fffffff : System RAM\n  2a000000-39ffffff : Crash kernel\nnonsense\n";
        assert_eq!(regions(text, "Crash kernel"), [(0x2a00_0000, 0x39ff_ffff)]);
        assert_eq!(regions(text, "System RAM").len(), 2);
        assert_eq!(
            meminfo("MemTotal:  100 kB\nHugePages_Total: 0\n", "MemTotal"),
            Some(102_400)
        );
        assert_eq!((cpus("0-3,8\n".trim()), cpus(""), cpus("x-y")), (5, 1, 1));
        assert_eq!(
            lockdown("none [integrity] confidentiality").as_deref(),
            Some("integrity")
        );
        assert_eq!(boot_apic("processor: 0\ninitial apicid\t: 4\n"), Some(4));
    }
}
