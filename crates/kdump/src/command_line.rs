//! The command line of the capture kernel, made of that of the running one.

/// Words that make no sense after a crash: what reserves memory, names the root file system, or ends
/// the machine for a warning.
const REMOVED: [&str; 37] = [
    "BOOT_IMAGE",
    "crashkernel",
    "root",
    "rootflags",
    "rootfstype",
    "rootwait",
    "rootdelay",
    "ro",
    "rw",
    "init",
    "rdinit",
    "initrd",
    "resume",
    "resume_offset",
    "nfsroot",
    "ip",
    "hugepages",
    "hugepagesz",
    "default_hugepagesz",
    "hugetlb_cma",
    "cma",
    "slub_debug",
    "slab_debug",
    "page_owner",
    "quiet",
    "splash",
    "log_buf_len",
    "swiotlb",
    "panic",
    "panic_on_warn",
    "oops",
    "nr_cpus",
    "maxcpus",
    "isolcpus",
    "elfcorehdr",
    "kscope.capture",
    "systemd.unit",
];

/// Words that a capture needs: one CPU that takes whatever interrupts come, devices reset, little
/// memory used, and a start again when it fails itself.
const ADDED: [&str; 15] = [
    "irqpoll",
    "reset_devices",
    "cgroup_disable=memory",
    "mce=off",
    "numa=off",
    "panic=10",
    "acpi_no_memhotplug",
    "transparent_hugepage=never",
    "nokaslr",
    "hest_disable",
    "novmcoredd",
    "cma=0",
    "hugetlb_cma=0",
    "kfence.sample_interval=0",
    "pcie_ports=compat",
];

/// What goes into the command line beside that of the running kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) cpus: u32,
    /// The APIC number of the CPU that started the machine, which cannot be started again.
    pub(crate) boot_apic: Option<u32>,
    pub(crate) ip: Option<String>,
    pub(crate) add: Vec<String>,
    pub(crate) remove: Vec<String>,
}

/// Makes the command line of the capture.
pub(crate) fn capture(running: &str, wishes: &Wishes) -> String {
    let name = |word: &str| {
        let name = word.split('=').next().unwrap_or_default();
        name.replace('-', "_")
    };
    let drops = |word: &str| {
        let word = name(word);
        let removed = REMOVED.iter().any(|removed| *removed == word);
        // What is meant for another initial file system, or replaced by a word of ours.
        let other = word.starts_with("rd.") || ADDED.iter().any(|added| name(added) == word);
        removed || other || wishes.remove.iter().any(|removed| name(removed) == word)
    };
    // What follows `--` is for the first program.
    let words = words(running).into_iter().take_while(|word| word != "--");
    let mut line: Vec<String> = words.filter(|word| !drops(word)).collect();
    let wanted = |word: &&&str| {
        !wishes
            .remove
            .iter()
            .any(|removed| name(removed) == name(word))
    };
    line.extend(ADDED.iter().filter(wanted).map(|word| (*word).to_owned()));
    line.push(format!("nr_cpus={}", wishes.cpus.max(1)));
    if let Some(apic) = wishes.boot_apic.filter(|_| wishes.cpus > 1) {
        line.push(format!("disable_cpu_apicid={apic}"));
    }
    line.extend(wishes.ip.iter().map(|ip| format!("ip={ip}")));
    line.push("rdinit=/init".to_owned());
    line.extend(wishes.add.iter().cloned());
    line.join(" ")
}

/// Splits a command line; blanks between double quotes belong to a word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.trim().chars() {
        quoted ^= c == '"';
        match c.is_whitespace() && !quoted {
            true => words.push(String::new()),
            false => words.last_mut().into_iter().for_each(|word| word.push(c)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_and_added() {
        let wishes = Wishes {
            cpus: 1,
            boot_apic: Some(0),
            ip: Some("10.0.2.15::::::off".to_owned()),
            add: vec!["console=ttyS1".to_owned()],
            remove: vec!["pcie-ports".to_owned(), "dyndbg".to_owned()],
        };
        let running = "BOOT_IMAGE=/vmlinuz root=UUID=1 ro quiet crashkernel=256M,high \
            crashkernel=64M,low console=ttyS0 dyndbg=\"file a +p\" log-buf-len=1M panic=-1 \
            rd.luks.uuid=2 mitigations=off -- single";
        let line = capture(running, &wishes);
        let start = "console=ttyS0 mitigations=off irqpoll reset_devices ";
        assert!(line.starts_with(start), "{line}");
        let end = " nr_cpus=1 ip=10.0.2.15::::::off rdinit=/init console=ttyS1";
        assert!(line.ends_with(end), "{line}");
        assert_eq!(line.matches("panic=").count(), 1);
        for gone in ["pcie_ports", "crashkernel", "single", "file a"] {
            assert!(!line.contains(gone), "{gone}: {line}");
        }
    }

    #[test]
    fn several_cpus_leave_the_first_alone() {
        let wishes = Wishes {
            cpus: 2,
            boot_apic: Some(4),
            ..Wishes::default()
        };
        let line = capture("", &wishes);
        assert!(line.contains("nr_cpus=2 disable_cpu_apicid=4"), "{line}");
    }
}
