//! Faults planted in trees of files as of a machine, and what is said of each.

use kscope_sys::{FakeKernel, Reply};

use super::*;
use crate::config::{SshTarget, Target};
use crate::estimate::estimate;
use crate::facts::image::tests::bzimage;
use crate::facts::{DiskFacts, KeyFault, SshFacts, TargetFacts};
use crate::initrd::tests::{build, machine};
use crate::last_test::LastTest;
use crate::load::Load;
use crate::superblock::tests::ext4;
use crate::tree::Tree;

const DAY: u64 = 86_400;
const NOW: u64 = 1_795_456_923;

/// A machine on which all is well.
fn good() -> Tree {
    let tree = machine();
    let kernel = "proc/sys/kernel";
    for (path, text) in [
        ("proc/cmdline", "root=/dev/vda1 crashkernel=256M\n"),
        ("proc/cpuinfo", "processor: 0\ninitial apicid\t: 0\n"),
        (
            "proc/meminfo",
            "MemTotal: 4000000 kB\nMemFree: 3000000 kB\nSlab: 90000 kB\nPercpu: 2000 kB\n",
        ),
        (
            "proc/iomem",
            "00100000-ffffffff : System RAM\n  30000000-3fffffff : Crash kernel\n",
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
            "CONFIG_KEXEC_FILE=y\nCONFIG_CRASH_DUMP=y\nCONFIG_PROC_VMCORE=y\nCONFIG_BLK_DEV_INITRD=y\n\
             CONFIG_DEVTMPFS=y\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_KALLSYMS_ALL=y\nCONFIG_UNWINDER_ORC=y\n\
             CONFIG_RD_GZIP=y\n",
        ),
    ] {
        tree.write(path, text);
    }
    for (name, value) in [
        ("osrelease", "6.1"),
        ("kexec_load_disabled", "0"),
        ("panic_on_oops", "1"),
        ("sysrq", "438"),
        ("hung_task_panic", "0"),
    ] {
        tree.write(&format!("{kernel}/{name}"), format!("{value}\n"));
    }
    tree.write("etc/kscope/kdump.conf", "keep = 2\n");
    tree.write("boot/vmlinuz-6.1", bzimage("6.1", true));
    prepare(&tree, &Config::default());
    let mut test = LastTest::new(NOW - 3 * DAY, 1, "6.1");
    test.found = Some("there".to_owned());
    test.write(&tree.root()).expect("a test");
    tree
}

/// Makes the initial file system and loads it.
fn prepare(tree: &Tree, config: &Config) {
    build(tree, config).expect("an initial file system");
    let facts = Facts::gather(&tree.root(), config).expect("facts");
    let kernel = FakeKernel::new(|_| Ok(Reply::Done));
    let load = Load::plan(config, &facts.kernel, &facts.target).expect("short");
    load.load(&tree.root(), &kernel).expect("loaded");
}

fn findings(tree: &Tree, config: &Config, change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let root = tree.root();
    let mut facts = Facts::gather(&root, config).expect("facts");
    change(&mut facts);
    let estimate = estimate(&root, &facts, config.cpus);
    check(&facts, config, &estimate, NOW)
}

fn written(findings: &[Finding]) -> String {
    let line = |finding: &Finding| format!("{finding:?}\n");
    findings.iter().map(line).collect()
}

/// Expects one finding that is not well, at this point, of this level, with parts of what it says and
/// of the way out.
fn expect(found: &[Finding], level: Level, point: &str, what: &str, way_out: &str) {
    let bad: Vec<&Finding> = found
        .iter()
        .filter(|finding| finding.level > Level::Ok)
        .collect();
    let fits = |finding: &&&Finding| {
        finding.level == level
            && finding.point == point
            && finding.what.contains(what)
            && finding
                .way_out
                .as_deref()
                .unwrap_or_default()
                .contains(way_out)
    };
    let count = bad.iter().filter(fits).count();
    let others = bad
        .iter()
        .filter(|finding| finding.level > level || finding.level == Level::Fault);
    let others = others.filter(|finding| !fits(finding)).count();
    assert!(
        count == 1 && others == 0,
        "{point}: {what}\n{}",
        written(found)
    );
}

#[test]
fn nothing_is_wrong_with_a_machine_where_all_is_well() {
    let tree = good();
    let found = findings(&tree, &Config::default(), |_| {});
    let bad: Vec<&Finding> = found
        .iter()
        .filter(|finding| finding.level > Level::Ok)
        .collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(found.len() > 12, "{}", written(&found));
    assert!(found.iter().all(|finding| finding.way_out.is_none()));
}

/// Plants a fault in the files of a machine.
fn planted(plant: impl FnOnce(&Tree), point: &str, what: &str, way_out: &str) {
    let tree = good();
    plant(&tree);
    expect(
        &findings(&tree, &Config::default(), |_| {}),
        Level::Fault,
        point,
        what,
        way_out,
    );
}

#[test]
fn faults_of_the_reservation() {
    let none = |tree: &Tree| tree.write("sys/kernel/kexec_crash_size", "0\n");
    planted(
        none,
        "reservation",
        "though the command line has crashkernel=256M",
        "dmesg",
    );
    planted(
        |tree| {
            none(tree);
            tree.write("proc/cmdline", "root=/dev/vda1\n");
        },
        "reservation",
        "has no crashkernel=",
        "GRUB_CMDLINE_LINUX",
    );
    planted(
        |tree| tree.write("sys/kernel/kexec_crash_size", format!("{}\n", 48 << 20)),
        "reservation",
        "48.0 MiB reserved",
        "crashkernel=",
    );
    planted(
        |tree| tree.remove("sys/kernel/kexec_crash_size"),
        "reservation",
        "has no kexec",
        "CONFIG_KEXEC_FILE",
    );
}

#[test]
fn faults_of_the_kernel() {
    let not_loaded = |tree: &Tree| tree.write("sys/kernel/kexec_crash_loaded", "0\n");
    planted(
        not_loaded,
        "loaded",
        "no capture kernel is loaded",
        "kscope kdump load",
    );
    let tree = good();
    not_loaded(&tree);
    tree.write("proc/sys/kernel/kexec_load_disabled", "1\n");
    let found = findings(&tree, &Config::default(), |facts| {
        facts.kernel.loaded = None;
    });
    expect(
        &found,
        Level::Fault,
        "permission",
        "kexec_load_disabled is 1",
        "/etc/sysctl.d",
    );
    planted(
        |tree| {
            tree.write(
                "sys/kernel/security/lockdown",
                "none [integrity] confidentiality\n",
            );
            tree.write("boot/vmlinuz-6.1", bzimage("6.1", false));
            // Loaded as it is now, so that nothing else is wrong.
            prepare(tree, &Config::default());
        },
        "permission",
        "locked down (integrity), and the kernel image has no signature",
        "signed",
    );
    planted(
        |tree| {
            tree.write("boot/config-6.1", "CONFIG_KEXEC_FILE=y\nCONFIG_PROC_VMCORE=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_DEVTMPFS=y\n");
        },
        "kernel options",
        "CONFIG_CRASH_DUMP",
        "use a kernel",
    );
}

#[test]
fn faults_of_the_image_and_the_initrd() {
    const INITRD: &str = "var/lib/kscope/kdump/initrd-6.1.img";
    const MAKE: &str = "kscope kdump initrd && kscope kdump load";
    let gone = |tree: &Tree| tree.remove("boot/vmlinuz-6.1");
    let forget = |tree: &Tree| tree.remove("run/kscope/kdump.loaded");
    planted(
        |tree| {
            gone(tree);
            forget(tree);
        },
        "kernel image",
        "vmlinuz-6.1 is not there",
        "install",
    );
    planted(
        |tree| {
            tree.write("boot/vmlinuz-6.1", bzimage("6.2-other", true));
            forget(tree);
        },
        "kernel image",
        "is 6.2-other, and 6.1 runs",
        "`kernel`",
    );
    planted(
        |tree| {
            tree.remove(INITRD);
            tree.remove(&format!("{INITRD}.manifest"));
            forget(tree);
        },
        "initial file system",
        "is not there",
        MAKE,
    );
    planted(
        |tree| tree.write("lib/modules/6.1/jbd2.ko", "another"),
        "initial file system",
        "jbd2.ko has changed",
        MAKE,
    );
    planted(
        |tree| tree.write("etc/kscope/kdump.conf", "keep = 9\n"),
        "initial file system",
        "kdump.conf has changed",
        MAKE,
    );
    planted(
        |tree| tree.remove("bin/kscope"),
        "initial file system",
        "/bin/kscope is gone",
        MAKE,
    );
    planted(
        |tree| tree.write("var/lib/kscope/kdump/initrd-6.1.img", "another"),
        "loaded",
        "initrd-6.1.img has changed",
        "kscope kdump load",
    );
    planted(
        |tree| tree.write("proc/cmdline", "mitigations=off crashkernel=256M\n"),
        "loaded",
        "its command line lacks mitigations=off",
        "kscope kdump load",
    );
    planted(
        |tree| tree.remove("lib/modules/6.1/modules.dep"),
        "drivers",
        "modules.dep",
        "depmod 6.1",
    );
    // The disk has another driver since, which the kernel has as a module.
    planted(
        |tree| {
            let dep = "ext4.ko: jbd2.ko\njbd2.ko:\nvirtio_blk.ko:\nkernel/vmd.ko:\n";
            tree.write("lib/modules/6.1/modules.dep", dep);
            let pci = "sys/devices/pci0000:00/0000:00:05.0";
            tree.remove(&format!("{pci}/driver"));
            tree.folder("sys/module/vmd");
            tree.link("sys/bus/pci/drivers/vmd/module", "sys/module/vmd");
            tree.link(&format!("{pci}/driver"), "sys/bus/pci/drivers/vmd");
        },
        "drivers",
        "lacks vmd",
        MAKE,
    );
}

#[test]
fn an_initrd_of_another_target_or_configuration_is_stale() {
    const MAKE: &str = "kscope kdump initrd && kscope kdump load";
    planted(
        |tree| tree.write("dev/vda1", ext4([9; 16])),
        "initial file system",
        "it writes to uuid:07070707-0707-0707-0707-070707070707, not to uuid:0909",
        MAKE,
    );
    planted(
        |tree| {
            tree.remove("etc/kscope/kdump.conf");
            prepare(tree, &Config::default());
            tree.write("etc/kscope/kdump.conf", "keep = 9\n");
        },
        "initial file system",
        "kdump.conf is new",
        MAKE,
    );
}

/// Puts what `/` is mounted from on another device.
fn layered(tree: &Tree, name: &str, file: (&str, &str)) {
    let place = format!("sys/devices/virtual/block/{name}");
    tree.write(&format!("{place}/{}", file.0), file.1);
    tree.remove("sys/dev/block/254:1");
    tree.link("sys/dev/block/254:1", &place);
}

#[test]
fn faults_of_the_target() {
    planted(
        |tree| layered(tree, "dm-0", ("dm/uuid", "LVM-x")),
        "target",
        "LVM",
        "ext4 or xfs",
    );
    planted(
        |tree| layered(tree, "dm-1", ("dm/uuid", "CRYPT-LUKS2-x")),
        "target",
        "LUKS",
        "ssh:",
    );
    planted(
        |tree| layered(tree, "md0", ("md/level", "raid1")),
        "target",
        "RAID",
        "partition",
    );
    let mounted = |line: &'static str| {
        move |tree: &Tree| tree.write("proc/self/mountinfo", format!("22 1 254:1 / / {line}\n"))
    };
    planted(mounted("rw - nfs4 server:/x rw"), "target", "nfs4", "ssh:");
    planted(
        mounted("rw - btrfs /dev/vda1 rw"),
        "target",
        "btrfs",
        "ext4 or xfs",
    );
    planted(
        mounted("ro - ext4 /dev/vda1 rw"),
        "target",
        "read-only",
        "dmesg",
    );
    planted(
        |tree| tree.write("proc/self/mountinfo", ""),
        "target",
        "on no file system",
        "uuid:UUID",
    );
    let config = Config {
        target: Target::Uuid("11111111-2222-3333-4444-555555555555".to_owned()),
        ..Config::default()
    };
    let found = findings(&good(), &config, |_| {});
    let way_out = "uuid:UUID";
    expect(
        &found,
        Level::Fault,
        "target",
        "no disk has ext4 or xfs with the UUID 1111",
        way_out,
    );
    let full = |free: u64| {
        move |facts: &mut Facts| {
            if let TargetFacts::Disk(DiskFacts {
                space: Some(space), ..
            }) = &mut facts.target
            {
                space.free = free;
            }
        }
    };
    let found = findings(&good(), &Config::default(), full(1 << 20));
    expect(
        &found,
        Level::Fault,
        "room",
        "1.0 MiB free on /",
        "remove old dumps",
    );
    let found = findings(&good(), &Config::default(), full(100 << 20));
    expect(&found, Level::Warning, "room", "100.0 MiB free", "keep");
}

/// What is found where dumps go over ssh, with a change.
fn over_ssh(change: impl FnOnce(&mut SshFacts)) -> Vec<Finding> {
    let to = SshTarget {
        user: "dump".to_owned(),
        host: "192.0.2.9".to_owned(),
        port: 22,
    };
    let mut ssh = SshFacts {
        address: Some([192, 0, 2, 9].into()),
        own: crate::Address::parse("192.0.2.5::192.0.2.1:255.255.255.0::eth0:off").ok(),
        drivers: vec!["virtio_net".to_owned()],
        aliases: crate::Aliases::new(),
        refused: None,
        has_program: true,
        key: None,
        knows_host: true,
        unreachable: None,
        to: to.clone(),
    };
    change(&mut ssh);
    let config = Config {
        target: Target::Ssh(to),
        ..Config::default()
    };
    let tree = good();
    let mut facts = Facts::gather(&tree.root(), &Config::default()).expect("facts");
    facts.target = TargetFacts::Ssh(ssh);
    let estimate = estimate(&tree.root(), &facts, 1);
    check(&facts, &config, &estimate, NOW)
}

#[test]
fn faults_of_ssh() {
    let well = over_ssh(|_| {});
    assert!(
        well.iter().all(|finding| finding.level == Level::Ok),
        "{}",
        written(&well)
    );
    type Change = fn(&mut SshFacts);
    let changes: [(Change, &str, &str, &str); 9] = [
        (
            |ssh| ssh.key = Some(KeyFault::Absent),
            "ssh key",
            "cannot be read",
            "ssh-keygen",
        ),
        (
            |ssh| ssh.key = Some(KeyFault::Passphrase),
            "ssh key",
            "passphrase",
            "-N ''",
        ),
        (
            |ssh| ssh.key = Some(KeyFault::NoKey),
            "ssh key",
            "no private key",
            "ssh-keygen",
        ),
        (
            |ssh| ssh.knows_host = false,
            "host key",
            "not in",
            "fingerprint",
        ),
        (
            |ssh| ssh.unreachable = Some("timed out".to_owned()),
            "target",
            "does not answer",
            "sshd",
        ),
        (
            |ssh| ssh.own = None,
            "network",
            "no way to 192.0.2.9",
            "`ip`",
        ),
        (
            |ssh| ssh.refused = Some("wlan0 is wireless".to_owned()),
            "network",
            "wireless",
            "`ip`",
        ),
        (
            |ssh| ssh.has_program = false,
            "ssh",
            "/usr/bin/ssh is not there",
            "openssh-client",
        ),
        (
            |ssh| ssh.address = None,
            "target",
            "not in /etc/hosts",
            "address",
        ),
    ];
    for (change, point, what, way_out) in changes {
        expect(&over_ssh(change), Level::Fault, point, what, way_out);
    }
}

#[test]
fn a_shell_that_is_wanted_and_not_there() {
    let config = Config {
        failure_action: Action::Shell,
        ..Config::default()
    };
    let found = findings(&good(), &config, |_| {});
    expect(
        &found,
        Level::Fault,
        "shell",
        "/bin/busybox is not there",
        "busybox-static",
    );
}

#[test]
fn warnings() {
    let check = |plant: fn(&Tree), point: &str, what: &str, way_out: &str| {
        let tree = good();
        plant(&tree);
        let found = findings(&tree, &Config::default(), |_| {});
        expect(&found, Level::Warning, point, what, way_out);
    };
    let kernel = "proc/sys/kernel";
    check(
        |tree| tree.write("proc/iomem", "100000000-10fffffff : Crash kernel\n"),
        "low memory",
        "0 B of it are below 4 GiB",
        "crashkernel=128M,low",
    );
    check(
        |tree| tree.write("proc/sys/kernel/panic_on_oops", "0\n"),
        "panic triggers",
        "panic_on_oops is 0",
        "sysctl",
    );
    check(
        |tree| tree.write("sys/devices/system/cpu/crash_hotplug", "0\n"),
        "hotplug",
        "come and go",
        "--udev",
    );
    check(
        |tree| {
            tree.write(
                "sys/module/kernel/parameters/crash_kexec_post_notifiers",
                "Y\n",
            );
        },
        "notifiers",
        "there is no pstore",
        "leave it out",
    );
    check(
        |tree| tree.write("sys/class/watchdog/watchdog0/state", "active\n"),
        "watchdog",
        "watchdog0 runs",
        "longer",
    );
    check(
        |tree| tree.write("sys/fs/selinux/enforce", "1"),
        "selinux",
        "labels",
        "restorecon",
    );
    check(
        |tree| tree.remove("run/kscope/kdump.loaded"),
        "loaded",
        "not by kscope",
        "kdump-tools",
    );
    check(
        |tree| tree.remove("var/lib/kscope/kdump/test"),
        "test",
        "never",
        "--crash-now",
    );
    check(
        |tree| tree.write("var/crash/2026-01-01-000000-box/vmcore-incomplete", "x"),
        "earlier crashes",
        "2026-01-01-000000-box is not whole: vmcore-incomplete",
        "capture.log",
    );
    check(
        |tree| {
            tree.write("boot/config-6.1", "CONFIG_KEXEC_FILE=y\nCONFIG_CRASH_DUMP=y\nCONFIG_PROC_VMCORE=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_DEVTMPFS=y\n");
        },
        "reading later",
        "CONFIG_DEBUG_INFO_BTF (types)",
        "debuginfo",
    );
    let tree = good();
    tree.write(&format!("{kernel}/kexec_load_disabled"), "1\n");
    let found = findings(&tree, &Config::default(), |_| {});
    expect(
        &found,
        Level::Warning,
        "permission",
        "what is loaded stays",
        "start",
    );
}

#[test]
fn tests_that_say_nothing_now() {
    let check = |change: fn(&mut LastTest), what: &str| {
        let tree = good();
        let mut test = LastTest::new(NOW - 3 * DAY, 1, "6.1");
        test.found = Some("there".to_owned());
        change(&mut test);
        test.write(&tree.root()).expect("a test");
        let found = findings(&tree, &Config::default(), |_| {});
        expect(&found, Level::Warning, "test", what, "kscope kdump test");
    };
    check(|test| test.found = None, "3 days ago was not looked for");
    check(
        |test| test.release = "6.0".to_owned(),
        "with the kernel 6.0",
    );
    check(|test| test.time = NOW - 200 * DAY, "200 days ago");
}
