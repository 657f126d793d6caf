//! The way from a file system or a network interface to the drivers that it needs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use kscope_sys::mount_path;

use crate::root::Root;

/// A mounted file system, of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Major and minor number of the device.
    pub device: (u32, u32),
    /// What of the file system is mounted.
    pub root: PathBuf,
    /// Where it is mounted.
    pub point: PathBuf,
    /// The kind of file system.
    pub kind: String,
    /// Device, or whatever the file system calls its source.
    pub source: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// What devices say they are (their `modalias`), by the names of their drivers' modules.
pub type Aliases = BTreeMap<String, String>;

/// A disk or partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// Its name below /dev.
    pub name: String,
    /// Its drivers' modules, the bus first.
    pub drivers: Vec<String>,
    /// What the device of each driver says it is, for kernels that have the driver under another name.
    pub aliases: Aliases,
    /// Why the capture cannot reach it.
    pub refused: Option<String>,
}

/// Reads /proc/self/mountinfo.
pub(crate) fn mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (major, minor) = left.get(2)?.split_once(':')?;
        let read_only = |options: Option<&&str>| {
            options.is_some_and(|options| options.split(',').any(|option| option == "ro"))
        };
        Some(Mount {
            device: (major.parse().ok()?, minor.parse().ok()?),
            root: unescaped(left.get(3)?).into(),
            point: unescaped(left.get(4)?).into(),
            kind: (*right.first()?).to_owned(),
            source: unescaped(right.get(1)?).to_string_lossy().into_owned(),
            read_only: read_only(left.get(5)) || read_only(right.get(2)),
        })
    };
    text.lines().filter_map(mount).collect()
}

fn unescaped(field: &str) -> OsString {
    OsString::from_vec(mount_path(field.as_bytes()))
}

/// Gives the mount that holds a path: of those on the longest point, the last.
pub(crate) fn mount_of<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let holds = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    holds.max_by_key(|mount| mount.point.components().count())
}

/// Follows a block device by its numbers.
pub(crate) fn disk(root: &Root, device: (u32, u32)) -> Option<Disk> {
    let place = root.resolved(format!("/sys/dev/block/{}:{}", device.0, device.1))?;
    Some(disk_at(root, &place))
}

/// Follows the block device of a name.
pub(crate) fn disk_named(root: &Root, name: &str) -> Option<Disk> {
    let place = root.resolved(Path::new("/sys/class/block").join(name))?;
    Some(disk_at(root, &place))
}

fn disk_at(root: &Root, place: &Path) -> Disk {
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let mut disk = Disk {
        name: name.replace('!', "/"),
        refused: refused(root, place, &name),
        drivers: Vec::new(),
        aliases: Aliases::new(),
    };
    if disk.refused.is_some() {
        return disk;
    }
    drivers(root, place, &mut disk.drivers, &mut disk.aliases);
    // A disk of NVMe may hang on a subsystem, whose controllers have the drivers.
    if let Some(subsystem) = place
        .ancestors()
        .find(|place| file_name(place).starts_with("nvme-subsys"))
    {
        for name in root.names(subsystem) {
            let is_controller = name.strip_prefix("nvme").is_some_and(|rest| {
                !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit())
            });
            if let Some(place) = root
                .resolved(subsystem.join(&name))
                .filter(|_| is_controller)
            {
                drivers(root, &place, &mut disk.drivers, &mut disk.aliases);
            }
        }
    }
    disk
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Says why a disk is of a kind that the capture does not set up.
fn refused(root: &Root, place: &Path, name: &str) -> Option<String> {
    let text = |file: &str| root.text(place.join(file)).unwrap_or_default();
    if name.starts_with("dm-") {
        let uuid = text("dm/uuid");
        return Some(match uuid.split('-').next().unwrap_or_default() {
            "LVM" => format!("{name} is a logical volume (LVM)"),
            "CRYPT" => format!("{name} is encrypted (LUKS or dm-crypt)"),
            "mpath" => format!("{name} is a multipath device"),
            _ => format!("{name} is a device of the device mapper"),
        });
    }
    if name.starts_with("md") && root.exists(place.join("md")) {
        return Some(format!("{name} is a RAID of several disks (md)"));
    }
    let above = place.ancestors().map(file_name).find(|name| {
        ["loop", "zram", "nbd", "drbd", "rbd", "bcache"]
            .iter()
            .any(|start| name.starts_with(start))
    });
    above.map(|above| format!("{name} is on {above}, which is no disk by itself"))
}

/// Collects the modules of the drivers of a device and of all that it hangs on, the bus first, and
/// what these devices say they are.
pub(crate) fn drivers(root: &Root, place: &Path, into: &mut Vec<String>, aliases: &mut Aliases) {
    let mut found = Vec::new();
    for place in place
        .ancestors()
        .take_while(|place| place.starts_with("/sys/devices"))
    {
        // A network interface or a disk hangs on its device by a link, too.
        let Some(driver) = root.resolved(place.join("driver")) else {
            continue;
        };
        let module = root.resolved(driver.join("module"));
        let name = file_name(module.as_deref().unwrap_or(&driver));
        if let Ok(alias) = root.text(place.join("modalias")) {
            aliases.insert(name.clone(), alias);
        }
        found.push(name);
    }
    for module in found.into_iter().rev() {
        if !into.contains(&module) {
            into.push(module);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn mountinfo() {
        let text = "22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw\n\
            30 22 254:2 /sub /var/crash\\040x ro,relatime shared:1 - xfs /dev/vda2 rw\n\
            31 22 0:4 / /proc rw - proc proc rw\nnonsense\n";
        let mounts = mounts(text);
        assert_eq!(mounts.len(), 3);
        let found = mount_of(&mounts, Path::new("/var/crash x/y")).expect("a mount");
        assert_eq!((found.device, found.read_only), ((254, 2), true));
        assert_eq!(found.root, Path::new("/sub"));
        let found = mount_of(&mounts, Path::new("/var/crashx")).expect("the root");
        assert_eq!((&*found.kind, &*found.source), ("ext4", "/dev/vda1"));
    }

    const PCI: &str = "sys/devices/pci0000:00/0000:00:05.0";

    fn driver(tree: &Tree, device: &str, bus: &str, driver: &str, module: &str) {
        let place = format!("sys/bus/{bus}/drivers/{driver}");
        tree.folder(&format!("sys/module/{module}"));
        tree.link(&format!("{place}/module"), &format!("sys/module/{module}"));
        tree.link(&format!("{device}/driver"), &place);
    }

    #[test]
    fn drivers_are_found_up_the_chain() {
        let tree = Tree::new("device");
        let disk_of = format!("{PCI}/virtio1/block/vda/vda1");
        tree.folder(&disk_of);
        driver(&tree, PCI, "pci", "virtio-pci", "virtio_pci");
        driver(
            &tree,
            &format!("{PCI}/virtio1"),
            "virtio",
            "virtio_blk",
            "virtio_blk",
        );
        tree.link("sys/dev/block/254:1", &disk_of);
        tree.link("sys/class/block/vda1", &disk_of);
        tree.write(&format!("{PCI}/modalias"), "pci:v00001AF4d00001001\n");
        let found = disk(&tree.root(), (254, 1)).expect("a disk");
        assert_eq!((&*found.name, found.refused.clone()), ("vda1", None));
        assert_eq!(found.drivers, ["virtio_pci", "virtio_blk"]);
        assert_eq!(found.aliases.len(), 1);
        assert_eq!(found.aliases["virtio_pci"], "pci:v00001AF4d00001001");
        assert_eq!(disk_named(&tree.root(), "vda1"), Some(found));
        assert_eq!(disk(&tree.root(), (8, 0)), None);
    }

    #[test]
    fn controllers_of_nvme_subsystems_have_the_drivers() {
        let tree = Tree::new("nvme");
        let subsystem = "sys/devices/virtual/nvme-subsystem/nvme-subsys0";
        tree.folder(&format!("{subsystem}/nvme0n1/nvme0n1p2"));
        tree.folder(&format!("{PCI}/nvme/nvme0"));
        driver(&tree, PCI, "pci", "nvme", "nvme");
        tree.link(&format!("{subsystem}/nvme0"), &format!("{PCI}/nvme/nvme0"));
        tree.link(
            "sys/dev/block/259:2",
            &format!("{subsystem}/nvme0n1/nvme0n1p2"),
        );
        let found = disk(&tree.root(), (259, 2)).expect("a disk");
        assert_eq!(found.drivers, ["nvme"]);
    }

    #[test]
    fn layers_are_refused() {
        let check = |name: &str, file: Option<(&str, &str)>, what: &str| {
            let tree = Tree::new("layers");
            let place = format!("sys/devices/virtual/block/{name}");
            tree.folder(&place);
            if let Some((file, text)) = file {
                tree.write(&format!("{place}/{file}"), text);
            }
            tree.link("sys/dev/block/253:0", &place);
            let refused = disk(&tree.root(), (253, 0)).and_then(|disk| disk.refused);
            assert!(
                refused.as_deref().unwrap_or_default().contains(what),
                "{refused:?}"
            );
        };
        check("dm-0", Some(("dm/uuid", "LVM-abc")), "LVM");
        check("dm-0", Some(("dm/uuid", "CRYPT-LUKS2-abc")), "LUKS");
        check("dm-0", Some(("dm/uuid", "mpath-3600")), "multipath");
        check("dm-0", None, "device mapper");
        check("md127", Some(("md/level", "raid1")), "RAID");
        check("loop0", None, "no disk by itself");
    }
}
