//! Where dumps go: is there a way, and is there room?

use super::Findings;
use crate::config::{Config, SshTarget};
use crate::estimate::{dump_size, sized};
use crate::facts::target::reached;
use crate::facts::{DiskFacts, Facts, KeyFault, SshFacts, TargetFacts};

/// What to do about a target that cannot be reached.
pub(crate) const OTHER_TARGET: &str = "give another target: ext4 or xfs on a plain partition of a \
    virtio, NVMe or SATA disk (target = uuid:UUID), or ssh:USER@ADDRESS";
/// What to do about a network interface that cannot be used.
pub(crate) const OTHER_INTERFACE: &str =
    "give the address of a plain interface as `ip`, or a target on a disk";

/// File systems that the capture mounts.
const KINDS: [&str; 4] = ["ext2", "ext3", "ext4", "xfs"];

/// Modules of disks of the kinds that were tried.
const TRIED: [&str; 8] = [
    "virtio_blk",
    "virtio_scsi",
    "nvme",
    "ahci",
    "ata_piix",
    "sd_mod",
    "sd",
    "vmd",
];

impl DiskFacts {
    /// Says why the capture cannot write there, whatever its state.
    pub(crate) fn refused(&self) -> Option<String> {
        let kind = self.kind.as_deref();
        let of_disk = self.disk.as_ref().and_then(|disk| disk.refused.clone());
        // What a file system is on matters more than which it is.
        if of_disk.is_some() {
            return of_disk;
        }
        match (kind, &self.disk) {
            (Some(kind), _) if kind.starts_with("nfs") => Some(format!(
                "the target is on {kind}, a file system of the network"
            )),
            (Some("cifs" | "smb3" | "ceph" | "9p" | "virtiofs" | "fuse"), _) => {
                Some("the target is a file system of the network or of the host".to_owned())
            }
            (Some(kind), _) if !KINDS.contains(&kind) => Some(format!(
                "the target is on {kind}, which the capture does not mount"
            )),
            (Some(kind), None) => Some(format!("the target ({kind}) is on no disk")),
            (None, None) => self
                .uuid
                .as_ref()
                .map(|uuid| format!("no disk has ext4 or xfs with the UUID {uuid}")),
            _ => None,
        }
    }
}

pub(super) fn target(findings: &mut Findings, facts: &Facts, config: &Config) {
    match &facts.target {
        TargetFacts::Disk(disk) => on_disk(findings, facts, disk, config),
        TargetFacts::Ssh(ssh) => over_ssh(findings, ssh, config),
    }
}

fn on_disk(findings: &mut Findings, facts: &Facts, disk: &DiskFacts, config: &Config) {
    if let Some(why) = disk.refused() {
        findings.fault("target", why, OTHER_TARGET);
        return;
    }
    let Some(device) = &disk.disk else {
        findings.fault(
            "target",
            format!(
                "{} is on no file system that can be seen",
                config.path.display()
            ),
            "mount what holds it, or write target = uuid:UUID",
        );
        return;
    };
    let name = format!("/dev/{}", device.name);
    match (&disk.uuid, &disk.unread) {
        (_, Some(why)) => findings.fault(
            "target",
            format!("{name} cannot be read: {why}"),
            "run as root; where root is refused, the disk fails",
        ),
        (None, None) => findings.fault(
            "target",
            format!("{name} has neither ext4 nor xfs on it"),
            OTHER_TARGET,
        ),
        (Some(uuid), None) => {
            let kind = disk.kind.as_deref().unwrap_or_default();
            findings.ok("target", format!("{name}, {kind}, UUID {uuid}"));
        }
    }
    if !device
        .drivers
        .iter()
        .any(|driver| TRIED.contains(&driver.as_str()))
    {
        findings.warn(
            "disk",
            format!(
                "{name} is a disk of a kind that was not tried: {}",
                device.drivers.join(" ← ")
            ),
            "see that it works: `kscope kdump test --crash-now-and-reboot`",
        );
    }
    let Some(mount) = &disk.mount else {
        findings.warn(
            "room",
            format!("{name} is not mounted: how much room it has is not known"),
            "mount it once and run `kscope kdump check` again",
        );
        return;
    };
    let point = mount.point.display();
    let read_only = mount.read_only || disk.space.is_some_and(|space| space.read_only);
    if read_only {
        findings.fault(
            "target",
            format!("{point} is mounted read-only"),
            "`dmesg` tells whether for an error of the disk; mount it for writing, or give another \
             target",
        );
    }
    room(findings, facts, disk, config, &point.to_string());
}

fn room(findings: &mut Findings, facts: &Facts, disk: &DiskFacts, config: &Config, point: &str) {
    let Some(space) = disk.space else {
        return;
    };
    let predicted = dump_size(&facts.kernel, config.level);
    let what = format!(
        "{} free on {point}; a dump of level {} has about {} before it is packed",
        sized(space.free),
        config.level,
        sized(predicted)
    );
    // Packed, dumps have a third of their size; a log and what is unforeseen needs room at least.
    if space.free < (predicted / 3).max(16 << 20) {
        findings.fault(
            "room",
            what,
            "remove old dumps, lower `keep`, or give a larger target: of a dump that does not fit \
             there is only the log and a vmcore-incomplete",
        );
    } else if space.free < predicted {
        findings.warn("room", what, "remove old dumps, or lower `keep`");
    } else {
        findings.ok("room", what);
    }
}

fn over_ssh(findings: &mut Findings, ssh: &SshFacts, config: &Config) {
    let host = &ssh.to.host;
    if ssh.address.is_none() {
        findings.fault(
            "target",
            format!("{host} is no IPv4 address and is not in /etc/hosts"),
            "write the address into `target`: after a crash there is nobody to ask for names",
        );
    }
    if let Some(why) = &ssh.refused {
        findings.fault("network", why.clone(), OTHER_INTERFACE);
    } else {
        match &ssh.own {
            Some(own) => findings.ok(
                "network",
                format!("{} ({})", own.text(), ssh.drivers.join(" ← ")),
            ),
            None => findings.fault(
                "network",
                format!("there is no way to {host}"),
                "bring the network up, or write `ip` into /etc/kscope/kdump.conf",
            ),
        }
    }
    if !ssh.has_program {
        findings.fault(
            "ssh",
            "/usr/bin/ssh is not there",
            "install it (Debian: openssh-client)",
        );
    }
    let key = config.ssh_key.display();
    let make = format!(
        "ssh-keygen -t ed25519 -N '' -f {key}; ssh-copy-id -i {key} {}@{host}",
        ssh.to.user
    );
    match ssh.key {
        None => findings.ok("ssh key", format!("{key} needs no passphrase")),
        Some(KeyFault::Absent) => findings.fault("ssh key", format!("{key} cannot be read"), make),
        Some(KeyFault::Passphrase) => findings.fault(
            "ssh key",
            format!("{key} wants a passphrase, which nobody types after a crash"),
            make,
        ),
        Some(KeyFault::NoKey) => {
            findings.fault("ssh key", format!("{key} is no private key"), make);
        }
    }
    if !ssh.knows_host {
        // The capture looks for what it connects to.
        let SshTarget { host, port, .. } = reached(&ssh.to, ssh.address);
        findings.fault(
            "host key",
            format!("{host} is not in {}", config.ssh_known_hosts.display()),
            format!(
                "ssh-keyscan -p {port} {host} >> {}, and compare the fingerprint",
                config.ssh_known_hosts.display()
            ),
        );
    }
    match &ssh.unreachable {
        Some(why) => findings.fault(
            "target",
            format!("{host} does not answer on port {}: {why}", ssh.to.port),
            "start its sshd, or open the way there; the capture waits for it as long as `wait` says",
        ),
        None => findings.ok("target", format!("ssh to {host}:{}", ssh.to.port)),
    }
}

pub(super) fn crashes(findings: &mut Findings, facts: &Facts) {
    for crash in facts
        .crashes
        .iter()
        .filter(|crash| !crash.incomplete.is_empty())
    {
        findings.warn(
            "earlier crashes",
            format!(
                "{} is not whole: {}",
                crash.name,
                crash.incomplete.join(", ")
            ),
            "capture.log beside it says why; `kscope crash` reads what is there",
        );
    }
    let whole = facts
        .crashes
        .iter()
        .filter(|crash| crash.dump.is_some())
        .count();
    if whole > 0 {
        let bytes = facts.crashes.iter().filter_map(|crash| crash.dump).sum();
        findings.ok(
            "earlier crashes",
            format!("{whole} whole dumps, {}", sized(bytes)),
        );
    }
}
