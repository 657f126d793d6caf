//! What every supported kernel shows to root in a guest; all other guest tests build on it.

use std::path::Path;
use std::process::Command;

use kscope_tests::skip;

/// Ends the test as skipped outside of a guest.
macro_rules! in_guest_or_skip {
    () => {
        if std::env::var_os("KSCOPE_GUEST").is_none() {
            skip!("guest", "this is no guest");
        }
    };
}

#[test]
fn kernel_release() {
    in_guest_or_skip!();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    println!("{}", release.trim());
    let major: u32 = release
        .split('.')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("a number first");
    assert!(major >= 5, "{release}");
}

#[test]
fn kprobe_pmu_is_there() {
    in_guest_or_skip!();
    for pmu in ["kprobe", "uprobe"] {
        let path = format!("/sys/bus/event_source/devices/{pmu}/type");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let number: u32 = text.trim().parse().expect("the PMU's number");
        // Numbers up to PERF_TYPE_BREAKPOINT (5) are fixed and belong to others.
        assert!(number > 5, "{path}: {number}");
    }
}

#[test]
fn kernel_btf_is_readable() {
    in_guest_or_skip!();
    let bytes = std::fs::read("/sys/kernel/btf/vmlinux").expect("vmlinux BTF");
    assert_eq!(bytes[..3], [0x9f, 0xeb, 1], "magic and version");
    assert!(bytes.len() > 1 << 20, "{} bytes", bytes.len());
}

#[test]
fn tracefs_can_be_mounted() {
    in_guest_or_skip!();
    let folder = std::env::temp_dir().join("guest-smoke-tracefs");
    std::fs::create_dir_all(&folder).expect("mount point");
    let status = Command::new("mount")
        .args(["-t", "tracefs", "tracefs"])
        .arg(&folder)
        .status()
        .expect("mount");
    assert!(status.success());
    let there = folder.join("events/raw_syscalls/sys_enter/id").exists();
    let status = Command::new("umount")
        .arg(&folder)
        .status()
        .expect("umount");
    assert!(there && status.success());
}

#[test]
fn two_cpus_are_online() {
    in_guest_or_skip!();
    assert_eq!(std::thread::available_parallelism().expect("CPUs").get(), 2);
}

#[test]
fn kscope_is_given() {
    in_guest_or_skip!();
    let path = std::env::var("KSCOPE_BIN").expect("KSCOPE_BIN");
    assert!(Path::new(&path).is_file(), "{path}");
}
