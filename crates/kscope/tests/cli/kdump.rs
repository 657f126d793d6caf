//! `kscope kdump` on trees of files as of a machine: what each command prints, and a line for each thing that can be wrong.

mod machine;

use super::kscope;
use machine::{CONFIG, IMAGE, LOADED, Machine, PCI, bzimage};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kdump");

/// Compares with a file; `BLESS=1` writes it.
#[track_caller]
fn golden(name: &str, out: &str) {
    let file = format!("{FOLDER}/{name}.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, out).expect("written");
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    for (at, (now, then)) in out.lines().zip(expected.lines()).enumerate() {
        assert_eq!(now, then, "{file}:{} (BLESS=1 accepts it)", at + 1);
    }
    assert_eq!(out.len(), expected.len(), "{file}: BLESS=1 accepts it");
}

/// Takes out what the disk under the tree says of its room.
fn without_room(out: &str) -> String {
    let is_other = |line: &&str| !line.contains(" free on /");
    out.lines()
        .filter(is_other)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn each_command_prints_what_its_file_says() {
    let machine = Machine::good();
    let out = machine.run("check", &[]).code(0).out;
    assert!(out.contains(" free on /; "), "{out}");
    golden("check", &without_room(&out));
    golden(
        "check-json",
        &without_room(&machine.run("check", &["--json"]).out),
    );
    golden("status", &machine.run("status", &[]).code(0).out);
    golden(
        "status-json",
        &machine.run("status", &["--json"]).code(0).out,
    );
    golden("estimate", &machine.run("estimate", &[]).code(0).out);
    golden("load", &machine.run("load", &["-n"]).code(0).out);
    golden(
        "initrd-list",
        &machine.run("initrd", &["--list"]).code(0).out,
    );
    golden(
        "unit",
        &kscope(&["kdump", "unit", "--program", "/usr/bin/kscope"])
            .code(0)
            .out,
    );
    golden(
        "unit-udev",
        &kscope(&["kdump", "unit", "--udev"]).code(0).out,
    );
    // A small reservation is a failure of its own.
    machine.write("sys/kernel/kexec_crash_size", format!("{}\n", 64 << 20));
    golden("estimate-small", &machine.run("estimate", &[]).code(1).out);
    let ran = machine.run("status", &[]).code(1);
    assert!(ran.out.contains("no: 1 faults"), "{}", ran.out);
}

#[test]
fn the_unit_starts_the_program_that_printed_it() {
    let out = kscope(&["kdump", "unit"]).code(0).out;
    let own = env!("CARGO_BIN_EXE_kscope");
    assert!(
        out.contains(&format!("ExecStart={own} kdump load\n")),
        "{out}"
    );
    assert!(!out.contains('@'), "{out}");
    for name in ["kscope", "/a b/kscope", "/100%/kscope"] {
        kscope(&["kdump", "unit", "--program", name])
            .code(1)
            .says(&["cannot stand in a unit", "--program"]);
    }
}

#[test]
fn the_configuration_is_printed_and_checked() {
    let out = kscope(&["kdump", "config"]).code(0).out;
    assert!(out.contains("#target = local"), "{out}");
    let machine = Machine::bare();
    // What is printed can be taken as it is.
    machine.write(CONFIG, out);
    machine.run("config", &["--check"]).code(0);
    machine.write(CONFIG, "\nlevel = 32\n");
    for command in ["config", "check", "load", "initrd"] {
        let words: &[&str] = if command == "config" {
            &["--check"]
        } else {
            &[]
        };
        machine
            .run(command, words)
            .code(1)
            .says(&["line 2: level `32` is no such number", "from 0 to 31"]);
    }
    machine
        .run("check", &["--config", "/etc/other.conf"])
        .code(1)
        .says(&["cannot read /etc/other.conf"]);
}

/// Plants a fault and expects its line and the way out.
#[track_caller]
fn planted(plant: impl FnOnce(&Machine), code: i32, line: &str, way_out: &str) {
    let machine = Machine::good();
    plant(&machine);
    found(&machine, code, line, way_out);
}

#[track_caller]
fn found(machine: &Machine, code: i32, line: &str, way_out: &str) {
    let out = machine.run("check", &["--quiet"]).code(code).out;
    let mut lines = out.lines();
    // Names of points have blanks after them, as many as the longest needs.
    let plain = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let at = lines.find(|found| plain(found).contains(line));
    assert!(at.is_some(), "no `{line}` in\n{out}");
    let next = plain(lines.next().unwrap_or_default());
    assert!(
        next.starts_with("→ ") && next.contains(way_out),
        "{next}\n{out}"
    );
}

#[test]
fn what_the_kernel_does_not_have_or_allow() {
    planted(
        |machine| machine.write("sys/kernel/kexec_crash_size", "0\n"),
        1,
        "fault reservation nothing is reserved, though the command line has crashkernel=256M",
        "dmesg",
    );
    planted(
        |machine| {
            machine.write("sys/kernel/kexec_crash_size", "0\n");
            machine.write("proc/cmdline", "root=/dev/vda1\n");
        },
        1,
        "fault reservation nothing is reserved: the command line has no crashkernel=",
        "GRUB_CMDLINE_LINUX",
    );
    planted(
        |machine| machine.write("sys/kernel/kexec_crash_size", "50331648\n"),
        1,
        "fault reservation 48.0 MiB reserved",
        "reserve more: crashkernel=",
    );
    planted(
        |machine| {
            machine.write("proc/sys/kernel/kexec_load_disabled", "1\n");
            machine.write("sys/kernel/kexec_crash_loaded", "0\n");
        },
        1,
        "fault permission kernel.kexec_load_disabled is 1",
        "/etc/sysctl.d",
    );
    let locked = "none [integrity] confidentiality\n";
    planted(
        |machine| {
            machine.write("sys/kernel/security/lockdown", locked);
            machine.write(IMAGE, bzimage("6.1", false));
        },
        1,
        "fault permission the kernel is locked down (integrity), and the kernel image has no signature",
        "that the distribution signed",
    );
    planted(
        |machine| {
            let name = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
            machine.write(&format!("sys/firmware/efi/efivars/{name}"), [6, 0, 0, 0, 1]);
            machine.write(IMAGE, bzimage("6.1", false));
            machine.prepare("");
        },
        0,
        "warning permission the firmware checks signatures (Secure Boot), and the kernel image has no",
        "that the distribution signed",
    );
    planted(
        |machine| {
            let locked = "none integrity [confidentiality]\n";
            machine.write("sys/kernel/security/lockdown", locked);
        },
        0,
        "warning permission locked down for confidentiality",
        "lockdown=integrity",
    );
    planted(
        |machine| {
            let options = std::fs::read_to_string(machine.path("boot/config-6.1")).expect("ours");
            let options = options.replace("CONFIG_KEXEC_FILE=y\n", "");
            machine.write("boot/config-6.1", options);
        },
        1,
        "fault kernel options this kernel is built without CONFIG_KEXEC_FILE (loading the capture kernel; \
         kexec_load, which it has, is not supported)",
        "use a kernel",
    );
}

#[test]
fn what_is_loaded_is_not_what_is_there() {
    planted(
        |machine| machine.write("sys/kernel/kexec_crash_loaded", "0\n"),
        1,
        "fault loaded no capture kernel is loaded",
        "kscope kdump load",
    );
    planted(
        |machine| machine.prepare(" debug"),
        1,
        "fault loaded what is loaded is not what is there: its command line has debug",
        "kscope kdump load",
    );
    planted(
        |machine| machine.write("boot/vmlinuz-6.1", bzimage("6.1", false)),
        1,
        "fault loaded what is loaded is not what is there: /boot/vmlinuz-6.1 has changed",
        "kscope kdump load",
    );
    planted(
        |machine| machine.remove(LOADED),
        0,
        "warning loaded a capture kernel is loaded, and not by kscope",
        "kdump-tools.service",
    );
    planted(
        |machine| machine.write("lib/modules/6.1/jbd2.ko", "another"),
        1,
        "is stale: /lib/modules/6.1/jbd2.ko has changed",
        "kscope kdump initrd",
    );
    planted(
        |machine| machine.driver(PCI, "pci", "vmd", "vmd"),
        1,
        "fault drivers the initial file system lacks vmd",
        "kscope kdump initrd",
    );
    let status = Machine::good();
    status.prepare(" debug");
    let out = status.run("status", &[]).code(1).out;
    assert!(out.contains("no: 1 faults"), "{out}");
}

/// Puts what / is mounted from on another device.
fn layered(machine: &Machine, name: &str, file: &str, text: &str) {
    let place = format!("sys/devices/virtual/block/{name}");
    machine.write(&format!("{place}/{file}"), text);
    machine.link("sys/dev/block/254:1", &place);
}

#[test]
fn where_no_dump_can_go() {
    const OTHER: &str = "give another target: ext4 or xfs on a plain partition";
    for (name, file, text, line) in [
        ("dm-0", "dm/uuid", "LVM-x", "dm-0 is a logical volume (LVM)"),
        (
            "dm-1",
            "dm/uuid",
            "CRYPT-LUKS2-x",
            "dm-1 is encrypted (LUKS or dm-crypt)",
        ),
        ("md0", "md/level", "raid1", "md0 is a RAID of several disks"),
    ] {
        let line = format!("fault target {line}");
        planted(
            |machine| layered(machine, name, file, text),
            1,
            &line,
            OTHER,
        );
        // Nor is anything made for it.
        let machine = Machine::bare();
        layered(&machine, name, file, text);
        let ran = machine.run("initrd", &["--program", "/bin/kscope"]);
        ran.code(1).says(&[&line["fault target ".len()..], OTHER]);
    }
    let mounted = |line: &'static str| {
        move |machine: &Machine| {
            machine.write("proc/self/mountinfo", format!("22 1 254:1 / / {line}\n"));
        }
    };
    planted(
        mounted("rw - nfs4 server:/x rw"),
        1,
        "fault target the target is on nfs4, a file system of the network",
        OTHER,
    );
    planted(
        mounted("ro - ext4 /dev/vda1 rw"),
        1,
        "fault target / is mounted read-only",
        "mount it for writing",
    );
    planted(
        |machine| machine.write("proc/self/mountinfo", ""),
        1,
        "fault target /var/crash is on no file system that can be seen",
        "mount what holds it",
    );
    planted(
        |machine| {
            let uuid = "07070707-0707-0707-0707-070707070707";
            machine.write(CONFIG, format!("target = uuid:{uuid}\n"));
            machine.write("proc/self/mountinfo", "");
            machine.prepare("");
        },
        0,
        "warning room /dev/vda1 is not mounted: how much room it has is not known",
        "mount it once",
    );
    // No file system has less room than /proc.
    planted(
        |machine| {
            machine.write(
                "proc/self/mountinfo",
                "22 1 254:1 / /data rw - ext4 /dev/vda1 rw\n",
            );
            machine.write(CONFIG, "path = /data/crash\n");
            let data = machine.path("data");
            std::os::unix::fs::symlink("/proc", data).expect("a link");
        },
        1,
        "fault room 0 B free on /data",
        "remove old dumps",
    );
    planted(
        |machine| {
            machine.write("var/crash/2026-01-01-000000-box/dmesg.txt", "x");
            machine.write("var/crash/2026-01-01-000000-box/vmcore-incomplete", "x");
        },
        0,
        "warning earlier crashes 2026-01-01-000000-box is not whole: vmcore-incomplete",
        "capture.log",
    );
}

#[test]
fn where_no_dump_can_be_sent() {
    let machine = Machine::bare();
    let target = "target = ssh:dump@192.0.2.9\n";
    machine.write(CONFIG, target);
    for (line, way_out) in [
        ("fault network there is no way to 192.0.2.9", "`ip`"),
        ("fault ssh /usr/bin/ssh is not there", "openssh-client"),
        (
            "fault ssh key /etc/kscope/kdump_key cannot be read",
            "ssh-keygen",
        ),
        (
            "fault host key 192.0.2.9 is not in",
            "ssh-keyscan -p 22 192.0.2.9",
        ),
    ] {
        found(&machine, 1, line, way_out);
    }
    machine
        .run("load", &["--dry-run"])
        .code(1)
        .says(&["there is no way to 192.0.2.9", "write `ip`"]);
    let ip = "ip = 192.0.2.5:::255.255.255.0::eth0:off\n";
    machine.write(CONFIG, format!("{target}{ip}"));
    let plan = machine.run("load", &["--dry-run"]).code(0).out;
    assert!(
        plan.contains(" ip=192.0.2.5:::255.255.255.0::eth0:off "),
        "{plan}"
    );
    // Whether somebody answers is asked on the machine itself alone; on port 1 of this one nobody does.
    let config = machine.path("there.conf");
    std::fs::write(&config, "target = ssh:dump@127.0.0.1:1\n").expect("ours");
    let config = config.to_str().expect("a name");
    let out = kscope(&["kdump", "check", "--config", config]).code(1).out;
    let line = "127.0.0.1 does not answer on port 1: Connection refused";
    assert!(out.contains(line), "{out}");
}

#[test]
fn tests_do_not_crash_by_mistake() {
    let machine = Machine::good();
    machine.write("dev/kmsg", "");
    machine.write("proc/sysrq-trigger", "");
    let trigger = || std::fs::read_to_string(machine.path("proc/sysrq-trigger")).expect("ours");
    machine
        .run("test", &[])
        .code(2)
        .says(&["nothing was done", "--crash-now-and-reboot does it"]);
    machine
        .run("test", &["--verify"])
        .code(1)
        .says(&["there was no test"]);
    // Where a dump would not come about.
    machine.write("sys/kernel/kexec_crash_loaded", "0\n");
    machine
        .run("test", &["--crash-now-and-reboot"])
        .code(1)
        .says(&["a crash would make no dump: no capture kernel is loaded"]);
    assert_eq!(trigger(), "");
    machine.write("sys/kernel/kexec_crash_loaded", "1\n");
    let ran = machine.run("test", &["--crash-now-and-reboot"]).code(1);
    let ran = ran.says(&["the machine crashes now", "the kernel has not crashed"]);
    assert_eq!(trigger(), "c");
    let id = ran
        .err
        .split("test ")
        .nth(1)
        .and_then(|rest| rest.split(':').next());
    let id = id.expect("an id");
    machine
        .run("test", &["--verify"])
        .code(1)
        .says(&["no crash in /var/crash", id]);
    let folder = "var/crash/2026-11-23-180203-box";
    machine.write(
        &format!("{folder}/dmesg.txt"),
        format!("kscope kdump test {id}\n"),
    );
    machine
        .run("test", &["--verify"])
        .code(1)
        .says(&["no whole dump"]);
    machine.write(&format!("{folder}/vmcore"), "KDUMP");
    let out = machine.run("test", &["--verify"]).code(0).out;
    assert_eq!(out, format!("the test {id} has its dump: /{folder}\n"));
    let status = machine.run("status", &[]).code(0).out;
    assert!(
        status.contains("found in 2026-11-23-180203-box"),
        "{status}"
    );
}

#[test]
fn tests_are_found_on_another_machine() {
    let machine = Machine::bare();
    let there = machine.path("srv/crash");
    let config = format!("target = ssh:dump@192.0.2.9\npath = {}\n", there.display());
    machine.write(CONFIG, config);
    machine.write(
        "var/lib/kscope/kdump/test",
        "id = 65-1\ntime = 1795456923\nrelease = 6.1\n",
    );
    machine.program(
        "usr/bin/ssh",
        "#!/bin/sh\necho 'no route to host' >&2\nexit 255\n",
    );
    machine
        .run("test", &["--verify"])
        .code(1)
        .says(&["192.0.2.9 cannot be asked: no route to host"]);
    machine.program(
        "usr/bin/ssh",
        "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n",
    );
    let folder = "srv/crash/2026-11-23-180203-box";
    machine.write(&format!("{folder}/dmesg.txt"), "kscope kdump test 65-1\n");
    machine.write(&format!("{folder}/vmcore.flat"), "makedumpfile");
    let out = machine.run("test", &["--verify"]).code(0).out;
    assert!(
        out.starts_with("the test 65-1 has its dump: 192.0.2.9:/"),
        "{out}"
    );
}
