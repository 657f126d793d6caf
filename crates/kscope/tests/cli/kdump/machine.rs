//! A tree of files as of a machine on which a crash makes a dump.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::{Finished, kscope};

/// The device that / is mounted from, and what it hangs on.
pub(super) const PCI: &str = "sys/devices/pci0000:00/0000:00:05.0";
pub(super) const IMAGE: &str = "boot/vmlinuz-6.1";
pub(super) const INITRD: &str = "var/lib/kscope/kdump/initrd-6.1.img";
pub(super) const LOADED: &str = "run/kscope/kdump.loaded";
pub(super) const CONFIG: &str = "etc/kscope/kdump.conf";

/// What a machine says of itself where all is well.
const FILES: [(&str, &str); 23] = [
    ("proc/sys/kernel/osrelease", "6.1\n"),
    ("proc/sys/kernel/hostname", "box\n"),
    ("proc/sys/kernel/kexec_load_disabled", "0\n"),
    ("proc/sys/kernel/panic_on_oops", "1\n"),
    ("proc/sys/kernel/sysrq", "438\n"),
    (
        "proc/cmdline",
        "root=/dev/vda1 console=ttyS0 crashkernel=256M\n",
    ),
    ("proc/cpuinfo", "processor: 0\ninitial apicid\t: 0\n"),
    (
        "proc/meminfo",
        "MemTotal: 4000000 kB\nMemFree: 3000000 kB\nSlab: 90000 kB\nPercpu: 2000 kB\n",
    ),
    (
        "proc/iomem",
        "00100000-ffffffff : System RAM\n  30000000-3fffffff : Crash kernel\n",
    ),
    (
        "proc/self/mountinfo",
        "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n",
    ),
    ("sys/kernel/kexec_crash_size", "268435456\n"),
    ("sys/kernel/kexec_crash_loaded", "1\n"),
    (
        "sys/kernel/security/lockdown",
        "[none] integrity confidentiality\n",
    ),
    ("sys/kernel/btf/vmlinux", "types"),
    ("sys/devices/system/cpu/possible", "0-1\n"),
    ("sys/devices/system/cpu/crash_hotplug", "1\n"),
    ("sys/devices/system/memory/crash_hotplug", "1\n"),
    (
        "boot/config-6.1",
        "CONFIG_KEXEC=y\nCONFIG_KEXEC_FILE=y\nCONFIG_CRASH_DUMP=y\nCONFIG_PROC_VMCORE=y\nCONFIG_BLK_DEV_INITRD=y\n\
         CONFIG_DEVTMPFS=y\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_KALLSYMS_ALL=y\nCONFIG_UNWINDER_ORC=y\n\
         CONFIG_RD_GZIP=y\n",
    ),
    (CONFIG, "keep = 2\n"),
    (
        "lib/modules/6.1/modules.dep",
        "ext4.ko: jbd2.ko\njbd2.ko:\nvirtio_blk.ko:\nvmd.ko:\n",
    ),
    ("lib/modules/6.1/modules.builtin", "kernel/virtio_pci.ko\n"),
    ("lib/modules/6.1/ext4.ko", "ext4"),
    ("lib/modules/6.1/jbd2.ko", "jbd2"),
];

/// A folder that is removed at the end.
pub(super) struct Machine(PathBuf);

impl Machine {
    /// Makes a machine on which all is well but that nothing was ever tested.
    pub(super) fn good() -> Machine {
        let machine = Machine::bare();
        machine.prepare("");
        machine
    }

    /// Makes one without an initial file system.
    pub(super) fn bare() -> Machine {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kdump-{}-{count}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        let machine = Machine(folder);
        for (path, text) in FILES {
            machine.write(path, text);
        }
        machine.write("lib/modules/6.1/virtio_blk.ko", "virtio_blk");
        machine.write("lib/modules/6.1/vmd.ko", "vmd");
        machine.write("dev/vda1", ext4([7; 16]));
        machine.write(IMAGE, bzimage("6.1", true));
        machine.write("bin/kscope", program());
        let disk = format!("{PCI}/virtio1/block/vda/vda1");
        machine.write(&format!("{disk}/dev"), "254:1\n");
        machine.driver(PCI, "pci", "virtio-pci", "virtio_pci");
        machine.driver(
            &format!("{PCI}/virtio1"),
            "virtio",
            "virtio_blk",
            "virtio_blk",
        );
        machine.link("sys/dev/block/254:1", &disk);
        machine.link("sys/class/block/vda1", &disk);
        fs::create_dir_all(machine.path("var/crash")).expect("a folder");
        machine
    }

    /// Makes the initial file system, and says that it is loaded, with more words on its command line.
    pub(super) fn prepare(&self, words: &str) {
        self.run("initrd", &["--program", "/bin/kscope"]).code(0);
        let plan = self.run("load", &["--dry-run"]).code(0).out;
        let line = plan
            .lines()
            .find_map(|line| line.strip_prefix("command_line = "));
        let line = line.expect("a command line");
        let text = format!(
            "image = {}\ninitrd = {}\ncommand_line = {line}{words}\n",
            self.source(IMAGE),
            self.source(INITRD)
        );
        self.write(LOADED, text);
    }

    /// Describes a file: bytes, time in nanoseconds (here none), FNV-1a, path.
    fn source(&self, path: &str) -> String {
        let bytes = fs::read(self.path(path)).expect("a file");
        let sum = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
        });
        format!("{} 0 {sum:016x} /{path}", bytes.len())
    }

    /// Runs a command of kdump on it.
    pub(super) fn run(&self, command: &str, words: &[&str]) -> Finished {
        let root = self.0.to_str().expect("a name");
        let mut all = vec!["kdump", command, "--root", root];
        all.extend(words);
        kscope(&all)
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub(super) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    pub(super) fn remove(&self, path: &str) {
        let path = self.path(path);
        match path.is_dir() && !path.is_symlink() {
            true => fs::remove_dir_all(path).expect("it was there"),
            false => fs::remove_file(path).expect("it was there"),
        }
    }

    pub(super) fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.path(path), mode).expect("ours");
    }

    /// Makes a link to another place of the machine, as sysfs does.
    pub(super) fn link(&self, path: &str, to: &str) {
        let ups = Path::new(path).components().count() - 1;
        let target = Path::new(&"../".repeat(ups)).join(to);
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        let _ = fs::remove_file(&path);
        symlink(target, path).expect("a link");
    }

    /// Binds a driver to a device.
    pub(super) fn driver(&self, device: &str, bus: &str, driver: &str, module: &str) {
        let place = format!("sys/bus/{bus}/drivers/{driver}");
        fs::create_dir_all(self.path(&format!("sys/module/{module}"))).expect("a folder");
        self.link(&format!("{place}/module"), &format!("sys/module/{module}"));
        self.link(&format!("{device}/driver"), &place);
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The first bytes of ext4: `s_magic` and `s_uuid` of struct ext4_super_block.
fn ext4(uuid: [u8; 16]) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    bytes[0x468..0x478].copy_from_slice(&uuid);
    bytes
}

/// A static program: the header of an ELF file that has no segments.
fn program() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(64, 0);
    bytes
}

/// The first bytes of a bzImage, as PE with or without a signature.
pub(super) fn bzimage(release: &str, signed: bool) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x98..0x9a].copy_from_slice(&[0x0b, 0x02]);
    bytes[0x98 + 112 + 36] = u8::from(signed) * 8;
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    bytes[0x20e..0x210].copy_from_slice(&0x400u16.to_le_bytes());
    bytes[0x234] = 1;
    bytes[0x260..0x264].copy_from_slice(&(48u32 << 20).to_le_bytes());
    let text = format!("{release} (builder@host) #1 SMP\0");
    bytes[0x600..0x600 + text.len()].copy_from_slice(text.as_bytes());
    bytes
}
