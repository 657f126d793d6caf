//! What the running kernel reserved, allows and does.

use super::Findings;
use crate::estimate::{Estimate, sized};
use crate::facts::{ImageFacts, KernelFacts};

/// What devices without 64-bit addresses need below 4 GiB.
const LOW: u64 = 64 << 20;

pub(super) fn reservation(findings: &mut Findings, kernel: &KernelFacts, estimate: &Estimate) {
    let advised = estimate.advised >> 20;
    let Some(reserved) = kernel.reserved else {
        findings.fault(
            "reservation",
            "this kernel has no kexec (there is no /sys/kernel/kexec_crash_size)",
            "use a kernel with CONFIG_KEXEC_FILE=y and CONFIG_CRASH_DUMP=y",
        );
        return;
    };
    let mut asked = kernel.command_line.split_whitespace();
    let asked = asked.rfind(|word| word.starts_with("crashkernel="));
    if reserved == 0 {
        let (what, way_out) = match asked {
            Some(word) => (
                format!("nothing is reserved, though the command line has {word}"),
                format!(
                    "`dmesg | grep crashkernel` says why; less, or crashkernel={advised}M without a \
                     place, is found more easily"
                ),
            ),
            None => (
                "nothing is reserved: the command line has no crashkernel=".to_owned(),
                format!(
                    "add crashkernel={advised}M to the boot loader's command line (GRUB: \
                     GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub) and start again"
                ),
            ),
        };
        findings.fault("reservation", what, way_out);
        return;
    }
    let what = format!(
        "{} reserved, {} needed",
        sized(reserved),
        sized(estimate.needed)
    );
    let more = format!(
        "reserve more: crashkernel={advised}M; `kscope kdump estimate` explains the number"
    );
    if reserved < estimate.needed {
        findings.fault("reservation", what, more);
    } else if reserved < estimate.needed + estimate.needed / 10 {
        findings.warn(
            "reservation",
            format!("{what}: less than a tenth to spare"),
            more,
        );
    } else {
        findings.ok("reservation", what);
    }
    low_memory(findings, kernel);
}

fn low_memory(findings: &mut Findings, kernel: &KernelFacts) {
    const FOUR_GIB: u64 = 1 << 32;
    let is_low = |region: &&(u64, u64)| region.1 < FOUR_GIB;
    let low: u64 = kernel
        .regions
        .iter()
        .filter(is_low)
        .map(|(start, end)| end - start + 1)
        .sum();
    if kernel.regions.is_empty() {
        return;
    }
    if low < LOW {
        findings.warn(
            "low memory",
            format!(
                "{} of it are below 4 GiB, where some devices must have theirs",
                sized(low)
            ),
            "add crashkernel=128M,low beside the part that is high",
        );
    } else {
        findings.ok(
            "low memory",
            format!("{} of it are below 4 GiB", sized(low)),
        );
    }
}

/// What the kernel must be built with for a capture.
const NEEDED: [(&str, &str); 5] = [
    ("KEXEC_FILE", "loading the capture kernel"),
    ("CRASH_DUMP", "being a capture kernel"),
    (
        "PROC_VMCORE",
        "reading the memory of the kernel that crashed",
    ),
    ("BLK_DEV_INITRD", "an initial file system"),
    ("DEVTMPFS", "device files in the capture"),
];

/// What makes a dump readable later without debuginfo.
const READABLE: [(&str, &str); 3] = [
    ("DEBUG_INFO_BTF", "types"),
    ("KALLSYMS_ALL", "names of variables"),
    ("UNWINDER_ORC", "stacks"),
];

pub(super) fn options(findings: &mut Findings, kernel: &KernelFacts) {
    if kernel.options.is_none() {
        let release = &kernel.release;
        findings.warn(
            "kernel options",
            format!("not known: neither /boot/config-{release} nor /proc/config.gz can be read"),
            "nothing, where `kscope kdump load` succeeds",
        );
    }
    let lacking = |wanted: &[(&str, &str)]| {
        let lacking = wanted
            .iter()
            .filter(|(name, _)| kernel.option(name) == Some(false));
        let said = lacking.map(|(name, what)| {
            let other = match *name == "KEXEC_FILE" && kernel.option("KEXEC") == Some(true) {
                true => "; kexec_load, which it has, is not supported",
                false => "",
            };
            format!("CONFIG_{name} ({what}{other})")
        });
        said.collect::<Vec<_>>().join(", ")
    };
    let (needed, mut readable) = (lacking(&NEEDED), lacking(&READABLE));
    if kernel.options.is_none() && !kernel.has_btf {
        readable = "CONFIG_DEBUG_INFO_BTF (types)".to_owned();
    }
    if !needed.is_empty() {
        findings.fault(
            "kernel options",
            format!("this kernel is built without {needed}"),
            "use a kernel with these options; those of distributions have them",
        );
    } else if kernel.options.is_some() {
        findings.ok("kernel options", "all that a capture needs");
    }
    if readable.is_empty() {
        findings.ok(
            "reading later",
            "dumps of this kernel can be read without debuginfo",
        );
    } else {
        findings.warn(
            "reading later",
            format!("this kernel is built without {readable}: a dump tells less"),
            "keep the kernel's debuginfo package, or its /sys/kernel/btf/vmlinux, beside the dumps",
        );
    }
}

pub(super) fn permission(findings: &mut Findings, kernel: &KernelFacts, image: &ImageFacts) {
    if kernel.load_disabled == Some(true) {
        let what = "kernel.kexec_load_disabled is 1: nothing can be loaded until the next start";
        match kernel.loaded {
            Some(true) => findings.warn(
                "permission",
                format!("{what}, and what is loaded stays"),
                "after a change, start the machine again",
            ),
            _ => findings.fault(
                "permission",
                what,
                "load before it is set: take it out of /etc/sysctl.d, let kscope-kdump.service set it \
                 (ExecStartPost=sysctl -w kernel.kexec_load_disabled=1), and start the machine again",
            ),
        }
        return;
    }
    let locked = kernel.lockdown.as_deref().filter(|mode| *mode != "none");
    let by = match (locked, kernel.secure_boot) {
        (Some(mode), _) => format!("the kernel is locked down ({mode})"),
        (None, Some(true)) => "the firmware checks signatures (Secure Boot)".to_owned(),
        _ => {
            findings.ok("permission", "the kernel takes images without a signature");
            return;
        }
    };
    let signed = image.header.as_ref().map(|header| header.signed);
    match (signed, locked) {
        (Some(false), Some(_)) => findings.fault(
            "permission",
            format!("{by}, and the kernel image has no signature"),
            "load the image that the distribution signed (Debian: linux-image-*, not -unsigned), or \
             switch Secure Boot off",
        ),
        (Some(false), None) => findings.warn(
            "permission",
            format!("{by}, and the kernel image has no signature"),
            "the kernel may refuse it: load the image that the distribution signed",
        ),
        (Some(true), _) => findings.ok("permission", format!("{by}; the image has a signature")),
        // That it is not there is told elsewhere.
        (None, _) => {}
    }
    if locked == Some("confidentiality") {
        findings.warn(
            "permission",
            "locked down for confidentiality: the capture kernel may not read the crashed one's memory",
            "boot with lockdown=integrity",
        );
    }
}

pub(super) fn hotplug(findings: &mut Findings, kernel: &KernelFacts) {
    if kernel.crash_hotplug {
        findings.ok(
            "hotplug",
            "the kernel follows CPUs and memory that come and go",
        );
    } else if kernel.hotplug_rule {
        findings.ok(
            "hotplug",
            "a rule of udev loads again when CPUs or memory come and go",
        );
    } else {
        findings.warn(
            "hotplug",
            "nobody loads again when CPUs or memory come and go: they would be missing in the dump",
            "where that happens: `kscope kdump unit --udev` prints a rule",
        );
    }
}

/// The sysctls that make a kernel crash where it could go on, and for which state.
const TRIGGERS: [(&str, &str); 4] = [
    ("softlockup_panic", "a CPU that is stuck in the kernel"),
    ("hardlockup_panic", "a CPU that takes no interrupts"),
    ("hung_task_panic", "a task that is blocked for minutes"),
    (
        "panic_on_unrecovered_nmi",
        "an NMI that tells of broken hardware",
    ),
];

pub(super) fn triggers(findings: &mut Findings, kernel: &KernelFacts) {
    let value = |name: &str| kernel.sysctls.get(name).copied();
    if value("panic_on_oops") == Some(0) {
        findings.warn(
            "panic triggers",
            "kernel.panic_on_oops is 0: after a fault in the kernel the machine goes on, without a dump",
            "sysctl kernel.panic_on_oops=1, and in /etc/sysctl.d",
        );
    } else if value("panic_on_oops").is_some() {
        findings.ok(
            "panic triggers",
            "a fault in the kernel makes a dump (panic_on_oops)",
        );
    }
    let off = TRIGGERS.iter().filter(|(name, _)| value(name) == Some(0));
    let off: Vec<String> = off.map(|(name, what)| format!("{what} ({name})")).collect();
    if !off.is_empty() {
        findings.ok("panic triggers", format!("no dump of {}", off.join(", ")));
    }
    // Bit 3 lets SysRq c crash the machine; 1 allows all.
    match value("sysrq") {
        Some(value) if value != 1 && value & 8 == 0 => findings.ok(
            "sysrq",
            format!("kernel.sysrq is {value}: the keyboard cannot crash the machine on purpose"),
        ),
        Some(_) => findings.ok("sysrq", "SysRq c from the keyboard makes a dump"),
        None => {}
    }
}

pub(super) fn surroundings(findings: &mut Findings, kernel: &KernelFacts) {
    if kernel.post_notifiers == Some(true) {
        let what = match &kernel.pstore {
            Some(backend) => format!("crash_kexec_post_notifiers is on (pstore: {backend})"),
            None => "crash_kexec_post_notifiers is on, and there is no pstore".to_owned(),
        };
        findings.warn(
            "notifiers",
            format!("{what}: what runs before the capture may hang it"),
            "leave it out unless pstore or a hypervisor must be told first",
        );
    } else if let Some(backend) = &kernel.pstore {
        findings.ok(
            "pstore",
            format!("the end of the log is kept by {backend} as well"),
        );
    }
    if !kernel.watchdogs.is_empty() {
        findings.warn(
            "watchdog",
            format!(
                "{} runs: it may end a long capture",
                kernel.watchdogs.join(", ")
            ),
            "let its time be longer than a capture takes, or have it stop at a panic",
        );
    }
    if kernel.iommu {
        findings.ok(
            "iommu",
            "devices go through an IOMMU; the capture kernel takes its tables over",
        );
    }
    if kernel.selinux {
        findings.warn(
            "selinux",
            "SELinux enforces its rules, and dumps are written without its labels",
            "restorecon -R on the folder of dumps, after a crash",
        );
    }
}
