//! Where dumps go, and whether the capture gets there.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kscope_sys::{Kernel, RealKernel, Space};

use crate::config::{Config, SshTarget, Target};
use crate::device::{self, Aliases, Disk, Mount};
use crate::modules::Modules;
use crate::network::{Address, route_to, routes};
use crate::root::Root;
use crate::ssh::SSH;
use crate::superblock;

/// What is known of the place where dumps go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetFacts {
    /// A file system on a disk.
    Disk(DiskFacts),
    /// Another machine.
    Ssh(SshFacts),
}

/// A file system on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskFacts {
    /// The UUID that the configuration asks for, or that the device has.
    pub uuid: Option<String>,
    /// The kind of file system.
    pub kind: Option<String>,
    /// The device; none where there is none of this UUID, or the file system is on none.
    pub disk: Option<Disk>,
    /// Where it is mounted in the running system.
    pub mount: Option<Mount>,
    /// The folder of dumps below the file system's own root.
    pub path: PathBuf,
    /// The same in the running system, where it is mounted.
    pub here: Option<PathBuf>,
    /// Room, where it is mounted.
    pub space: Option<Space>,
    /// Why the device could not be read.
    pub unread: Option<String>,
}

/// Another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshFacts {
    /// Who and where.
    pub to: SshTarget,
    /// The address; none where the name is not in /etc/hosts.
    pub address: Option<Ipv4Addr>,
    /// How the capture kernel is to be reached and reaches it; none where there is no route.
    pub own: Option<Address>,
    /// The drivers' modules of the network interface, the bus first.
    pub drivers: Vec<String>,
    /// What their devices say they are.
    pub aliases: Aliases,
    /// Why the network interface cannot be used.
    pub refused: Option<String>,
    /// Whether the ssh program is there.
    pub has_program: bool,
    /// What is wrong with the key.
    pub key: Option<KeyFault>,
    /// Whether the host's key is known.
    pub knows_host: bool,
    /// Why it does not answer; none where it does, or nobody asked.
    pub unreachable: Option<String>,
}

/// What is wrong with a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFault {
    /// It is not there, or cannot be read.
    Absent,
    /// It wants a passphrase, which nobody types after a crash.
    Passphrase,
    /// It is no private key.
    NoKey,
}

impl TargetFacts {
    /// Looks at the target.
    pub(crate) fn gather(root: &Root, config: &Config) -> TargetFacts {
        match &config.target {
            Target::Local => TargetFacts::Disk(local(root, &config.path)),
            Target::Uuid(uuid) => TargetFacts::Disk(by_uuid(root, uuid, &config.path)),
            Target::Ssh(to) => TargetFacts::Ssh(ssh(root, config, to)),
        }
    }

    /// Gives the target as the capture is told it; none where it is not known.
    pub(crate) fn seen_by_capture(&self) -> Option<Target> {
        match self {
            TargetFacts::Disk(facts) => {
                let disk = facts.disk.as_ref();
                disk.filter(|disk| disk.refused.is_none())?;
                facts.uuid.clone().map(Target::Uuid)
            }
            TargetFacts::Ssh(facts) => Some(Target::Ssh(reached(&facts.to, facts.address))),
        }
    }

    /// Gives the modules that the capture needs to get there, as the kernel names them.
    #[must_use]
    pub fn modules(&self) -> Vec<String> {
        match self {
            TargetFacts::Disk(facts) => {
                let disk = facts
                    .disk
                    .iter()
                    .flat_map(|disk| disk.drivers.iter().cloned());
                // The capture mounts ext2 and ext3 with the driver of ext4.
                let kind = facts.kind.as_deref().map(|kind| match kind {
                    "ext2" | "ext3" => "ext4".to_owned(),
                    kind => kind.to_owned(),
                });
                disk.chain(kind).collect()
            }
            TargetFacts::Ssh(facts) => facts.drivers.clone(),
        }
    }

    /// Gives these modules as a kernel's own list of modules knows them, and those that it does not
    /// know. A driver that has another name there is found by what its device says it is.
    pub(crate) fn known_modules(&self, modules: &Modules) -> (Vec<String>, Vec<String>) {
        let none = Aliases::new();
        let aliases = match self {
            TargetFacts::Disk(facts) => facts.disk.as_ref().map_or(&none, |disk| &disk.aliases),
            TargetFacts::Ssh(facts) => &facts.aliases,
        };
        let (mut known, mut unknown) = (Vec::new(), Vec::new());
        for name in self.modules() {
            let alias = aliases.get(&name).filter(|alias| modules.knows(alias));
            match (modules.has(&name), alias) {
                (true, _) => known.push(name),
                (false, Some(alias)) => known.push(alias.clone()),
                (false, None) => unknown.push(name),
            }
        }
        (known, unknown)
    }
}

fn all_mounts(root: &Root) -> Vec<Mount> {
    device::mounts(&root.text("/proc/self/mountinfo").unwrap_or_default())
}

fn local(root: &Root, path: &Path) -> DiskFacts {
    let mounts = all_mounts(root);
    // The folder, or one above where it is still to be made, may be a link to another file system.
    let mut above = path.ancestors();
    let real = above.find_map(|above| {
        let below = path.strip_prefix(above).ok()?;
        // Joined to nothing, a path gets a slash at its end.
        let is_all = below.as_os_str().is_empty();
        let real = root.resolved(above)?;
        Some(if is_all { real } else { real.join(below) })
    });
    let real = real.unwrap_or_else(|| path.to_path_buf());
    let Some(mount) = device::mount_of(&mounts, &real) else {
        return DiskFacts::default();
    };
    let below = real.strip_prefix(&mount.point).unwrap_or(&real);
    let mut facts = DiskFacts {
        kind: Some(mount.kind.clone()),
        disk: device::disk(root, mount.device),
        path: mount.root.join(below),
        here: Some(real.clone()),
        mount: Some(mount.clone()),
        ..DiskFacts::default()
    };
    facts.look(root);
    facts
}

fn by_uuid(root: &Root, uuid: &str, path: &Path) -> DiskFacts {
    let mut facts = DiskFacts {
        uuid: Some(uuid.to_owned()),
        path: path.to_path_buf(),
        ..DiskFacts::default()
    };
    let Some((name, kind)) = device_of(root, uuid) else {
        return facts;
    };
    facts.kind = Some(kind.to_owned());
    facts.disk = device::disk_named(root, &name);
    let numbers = root.text(Path::new("/sys/class/block").join(&name).join("dev"));
    let mounts = all_mounts(root);
    let mount = mounts.iter().find(|mount| {
        let device = format!("{}:{}", mount.device.0, mount.device.1);
        numbers.as_ref().is_ok_and(|numbers| *numbers == device) && path.starts_with(&mount.root)
    });
    if let Some(mount) = mount {
        let below = path.strip_prefix(&mount.root).unwrap_or(path);
        facts.here = Some(mount.point.join(below));
        facts.mount = Some(mount.clone());
    }
    facts.look(root);
    facts
}

impl DiskFacts {
    /// Reads the superblock and the room.
    fn look(&mut self, root: &Root) {
        if let Some(disk) = self.disk.as_ref().filter(|disk| disk.refused.is_none()) {
            match superblock::read(&root.path(Path::new("/dev").join(&disk.name))) {
                Ok(Some(found)) => self.uuid = Some(found.uuid),
                Ok(None) => {}
                Err(why) => self.unread = Some(why.to_string()),
            }
        }
        let mount = self.mount.as_ref().map(|mount| root.path(&mount.point));
        let kernel: &dyn Kernel = &RealKernel;
        self.space = mount.and_then(|point| kernel.space(&point).ok());
    }
}

/// Finds the block device with a file system of this UUID: its name and the kind.
pub(crate) fn device_of(root: &Root, uuid: &str) -> Option<(String, &'static str)> {
    let names = root.names("/sys/class/block");
    names.into_iter().find_map(|name| {
        let device = root.path(Path::new("/dev").join(name.replace('!', "/")));
        let found = superblock::read(&device).ok()??;
        (found.uuid == uuid).then_some((name, found.kind))
    })
}

fn ssh(root: &Root, config: &Config, to: &SshTarget) -> SshFacts {
    let address = resolved(root, &to.host);
    let mut facts = SshFacts {
        to: to.clone(),
        address,
        own: None,
        drivers: Vec::new(),
        aliases: Aliases::new(),
        refused: None,
        has_program: root.exists(SSH),
        key: key_fault(root, &config.ssh_key),
        knows_host: knows(root, &config.ssh_known_hosts, &reached(to, address)),
        unreachable: None,
    };
    facts.own = match &config.ip {
        Some(ip) => Address::parse(ip).ok(),
        None => address.and_then(|address| own_address(root, address)),
    };
    if let Some(own) = &facts.own {
        let interface = Path::new("/sys/class/net").join(&own.device);
        match root.resolved(interface.join("device")) {
            Some(place) => {
                device::drivers(root, &place, &mut facts.drivers, &mut facts.aliases);
            }
            None => {
                facts.refused = Some(format!(
                    "{} hangs on no device of its own (a bridge, a bond, a VLAN or a tunnel?)",
                    own.device
                ));
            }
        }
        if root.exists(interface.join("wireless")) || root.exists(interface.join("phy80211")) {
            facts.refused = Some(format!("{} is wireless", own.device));
        }
    }
    if let Some(address) = address.filter(|_| root.is_machine()) {
        let address = SocketAddr::from((address, to.port));
        let connected = TcpStream::connect_timeout(&address, Duration::from_secs(3));
        facts.unreachable = connected.err().map(|why| why.to_string());
    }
    facts
}

/// Gives the machine by its address, which is what the capture connects to and looks for among the
/// known host keys.
pub(crate) fn reached(to: &SshTarget, address: Option<Ipv4Addr>) -> SshTarget {
    let host = address.map_or(to.host.clone(), |address| address.to_string());
    SshTarget { host, ..to.clone() }
}

/// Gives the address of a host: its own if it is one, or that in /etc/hosts. A static program
/// cannot ask as the system does, and the capture has nobody to ask.
fn resolved(root: &Root, host: &str) -> Option<Ipv4Addr> {
    if let Ok(address) = host.parse() {
        return Some(address);
    }
    let text = root.text("/etc/hosts").unwrap_or_default();
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    let mut lines = lines.map(str::split_whitespace);
    lines.find_map(|mut words| {
        let address = words.next()?.parse().ok()?;
        words.any(|word| word == host).then_some(address)
    })
}

/// Gives the address that the running system has on the way to another.
fn own_address(root: &Root, to: Ipv4Addr) -> Option<Address> {
    let routes = routes(&root.text("/proc/net/route").ok()?);
    let route = route_to(&routes, to)?;
    // A socket of datagrams that sends nothing tells which address is its own.
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    let SocketAddr::V4(own) = socket.local_addr().ok()? else {
        return None;
    };
    let client = *own.ip();
    // The network that the address is in says how long its part is.
    let mut direct = routes
        .iter()
        .filter(|other| other.device == route.device && other.gateway.is_none());
    let mask = direct
        .find(|other| u32::from(client) & other.mask == u32::from(other.network))
        .map_or(u32::MAX, |other| other.mask);
    Some(Address {
        client,
        gateway: route.gateway,
        prefix: mask.leading_ones() as u8,
        device: route.device.clone(),
    })
}

/// Says what is wrong with a private key. In OpenSSH's own format the name of the cipher follows
/// the magic `openssh-key-v1` (its PROTOCOL.key); older formats name the encryption in a header.
fn key_fault(root: &Root, path: &Path) -> Option<KeyFault> {
    let Ok(text) = root.text(path) else {
        return Some(KeyFault::Absent);
    };
    if !text.starts_with("-----BEGIN ") || !text.contains("PRIVATE KEY-----") {
        return Some(KeyFault::NoKey);
    }
    if text.contains("ENCRYPTED") {
        return Some(KeyFault::Passphrase);
    }
    if text.starts_with("-----BEGIN OPENSSH") {
        let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        let bytes = unbase64(&body);
        let cipher = bytes.strip_prefix(b"openssh-key-v1\0".as_slice());
        return match cipher.map(|rest| rest.starts_with(b"\0\0\0\x04none")) {
            Some(true) => None,
            Some(false) => Some(KeyFault::Passphrase),
            None => Some(KeyFault::NoKey),
        };
    }
    None
}

/// Decodes base64 as far as it goes.
fn unbase64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// Tells whether a host's key is among the known ones. Names may be hashed, so that whether the
/// host is among those cannot be told without asking ssh-keygen.
fn knows(root: &Root, path: &Path, to: &SshTarget) -> bool {
    let name = match to.port {
        22 => to.host.clone(),
        port => format!("[{}]:{port}", to.host),
    };
    let text = root.text(path).unwrap_or_default();
    let plain = text.lines().any(|line| {
        let hosts = line.split_whitespace().next().unwrap_or_default();
        hosts.split(',').any(|host| host == name)
    });
    let hashed = text.lines().any(|line| line.starts_with("|1|"));
    if plain || !hashed || !root.is_machine() {
        return plain;
    }
    let found = std::process::Command::new("ssh-keygen")
        .arg("-F")
        .arg(&name)
        .arg("-f")
        .arg(path)
        .stdin(std::process::Stdio::null())
        .output();
    found.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn keys() {
        let check = |text: Option<&str>, expected: Option<KeyFault>| {
            let tree = Tree::new("key");
            if let Some(text) = text {
                tree.write("key", text);
            }
            assert_eq!(
                key_fault(&tree.root(), Path::new("/key")),
                expected,
                "{text:?}"
            );
        };
        let key = |body: &str| {
            format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n"
            )
        };
        // base64 of "openssh-key-v1\0", a length of 4 and "none"; and of 10 and "aes256-ctr".
        check(Some(&key("b3BlbnNzaC1rZXktdjEAAAAABG5vbmU=")), None);
        check(
            Some(&key("b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHI=")),
            Some(KeyFault::Passphrase),
        );
        check(Some(&key("AAAA")), Some(KeyFault::NoKey));
        check(None, Some(KeyFault::Absent));
        check(Some("ssh-ed25519 AAAA"), Some(KeyFault::NoKey));
        check(Some("-----BEGIN RSA PRIVATE KEY-----\nMII"), None);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED";
        check(Some(old), Some(KeyFault::Passphrase));
    }

    #[test]
    fn hosts() {
        let tree = Tree::new("hosts");
        tree.write(
            "etc/hosts",
            "127.0.0.1 localhost # dumps\n192.0.2.7 a dumps b\n::1 six\n",
        );
        let root = tree.root();
        assert_eq!(resolved(&root, "dumps"), Some([192, 0, 2, 7].into()));
        assert_eq!(resolved(&root, "192.0.2.8"), Some([192, 0, 2, 8].into()));
        assert_eq!(resolved(&root, "six"), None);
        tree.write(
            "known",
            "dumps,192.0.2.7 ssh-ed25519 A\n[x]:2222 ssh-rsa B\n",
        );
        let check = |host: &str, port, expected| {
            let (user, host) = ("u".to_owned(), host.to_owned());
            let to = SshTarget { user, host, port };
            assert_eq!(knows(&root, Path::new("/known"), &to), expected, "{to:?}");
        };
        check("192.0.2.7", 22, true);
        check("192.0.2.7", 2222, false);
        check("x", 2222, true);
        check("y", 22, false);
    }

    #[test]
    fn a_folder_that_is_to_be_made_is_below_what_its_parent_leads_to() {
        let tree = Tree::new("local");
        tree.write(
            "proc/self/mountinfo",
            "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n23 22 254:2 / /data rw - ext3 /dev/vda2 rw\n",
        );
        tree.folder("data/var");
        tree.link("var", "data/var");
        let facts = local(&tree.root(), Path::new("/var/crash"));
        assert_eq!(facts.here.as_deref(), Some(Path::new("/data/var/crash")));
        assert_eq!(facts.path, Path::new("/var/crash"));
        // What was made as ext3 is mounted as ext4.
        assert_eq!(TargetFacts::Disk(facts).modules(), ["ext4"]);
    }

    #[test]
    fn a_name_is_known_by_its_address() {
        let to = SshTarget {
            user: "u".to_owned(),
            host: "dumps".to_owned(),
            port: 2222,
        };
        let facts = |known: &str| {
            let tree = Tree::new("reached");
            tree.write("etc/hosts", "192.0.2.7 dumps\n");
            tree.write("etc/kscope/kdump_known_hosts", known);
            ssh(&tree.root(), &Config::default(), &to)
        };
        assert!(facts("[192.0.2.7]:2222 ssh-rsa A\n").knows_host);
        let facts = facts("[dumps]:2222 ssh-rsa A\n");
        assert!(!facts.knows_host);
        let target = TargetFacts::Ssh(facts).seen_by_capture();
        assert_eq!(
            target.map(|target| target.to_string()).as_deref(),
            Some("ssh:u@192.0.2.7:2222")
        );
    }
}
