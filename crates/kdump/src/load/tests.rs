use std::sync::{Arc, Mutex};

use kscope_sys::{Call, FakeKernel, Machine, Reply};

use super::*;
use crate::tree::Tree;

fn plan() -> Load {
    let kernel = KernelFacts {
        release: "6.1".to_owned(),
        command_line: "root=/dev/vda1 console=ttyS0 crashkernel=256M".to_owned(),
        ..KernelFacts::default()
    };
    let target = TargetFacts::Disk(crate::facts::DiskFacts::default());
    Load::plan(&Config::default(), &kernel, &target).expect("short")
}

#[test]
fn two_files_and_a_command_line_are_loaded() {
    let tree = Tree::new("load");
    tree.write("boot/vmlinuz-6.1", "image");
    tree.write("var/lib/kscope/kdump/initrd-6.1.img", "initrd");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let seen = lines.clone();
    let kernel = FakeKernel::new(move |call| match call {
        Call::Machine(Machine::LoadCrashKernel { command_line, .. }) => {
            let line = command_line.to_string_lossy().into_owned();
            seen.lock().expect("ours").push(line);
            Ok(Reply::Done)
        }
        Call::Machine(Machine::UnloadCrashKernel) => Ok(Reply::Done),
        _ => Err(Errno::NOSYS),
    });
    plan().load(&tree.root(), &kernel).expect("it is there");
    let lines = lines.lock().expect("ours").clone();
    assert!(lines[0].starts_with("console=ttyS0 irqpoll"), "{lines:?}");
    assert!(
        tree.root()
            .text(LOADED)
            .expect("remembered")
            .contains("vmlinuz-6.1")
    );
    unload(&tree.root(), &kernel).expect("unloaded");
    assert!(!tree.root().exists(LOADED));
}

#[test]
fn refusals_have_a_way_out() {
    let check = |errno: Errno, file: Option<(&str, &str)>, what: &str| {
        let tree = Tree::new("refused");
        tree.write("boot/vmlinuz-6.1", "image");
        tree.write("var/lib/kscope/kdump/initrd-6.1.img", "initrd");
        if let Some((path, text)) = file {
            tree.write(path, text);
        }
        let kernel = FakeKernel::new(move |_| Err(errno));
        let error = plan().load(&tree.root(), &kernel).expect_err("refused");
        assert!(error.to_string().contains(what), "{error}");
        assert!(
            error.way_out().is_some_and(|way_out| way_out.len() > 5),
            "{error}"
        );
    };
    let disabled = ("proc/sys/kernel/kexec_load_disabled", "1\n");
    check(Errno::PERM, Some(disabled), "kexec_load_disabled is 1");
    check(Errno::PERM, None, "locked down");
    let none = ("sys/kernel/kexec_crash_size", "0\n");
    check(Errno::ADDR_NOT_AVAIL, Some(none), "no memory is reserved");
    check(Errno::ADDR_NOT_AVAIL, None, "too small");
    check(Errno::NOMEM, None, "too small");
    check(Errno(126), None, "signature");
    check(Errno(129), None, "signature");
    check(Errno::NOSYS, None, "CONFIG_KEXEC_FILE");
    check(Errno::NOEXEC, None, "no format");
    check(Errno::IO, None, "not loaded");
}

#[test]
fn without_a_way_to_the_other_machine_nothing_is_loaded() {
    let tree = Tree::new("no-way");
    let target = "target = ssh:dump@192.0.2.9\n";
    let config = Config::parse(target).expect("a target");
    let facts = |config: &Config| TargetFacts::gather(&tree.root(), config);
    let kernel = KernelFacts::default();
    let error = Load::plan(&config, &kernel, &facts(&config)).expect_err("no route");
    assert!(error.to_string().contains("no way to 192.0.2.9"), "{error}");
    assert!(error.way_out().unwrap_or_default().contains("`ip`"));
    let ip = "192.0.2.5:::255.255.255.0::eth0:off";
    let config = Config::parse(&format!("{target}ip = {ip}\n")).expect("an address");
    let load = Load::plan(&config, &kernel, &facts(&config)).expect("an address");
    assert!(
        load.command_line.contains(&format!(" ip={ip} ")),
        "{load:?}"
    );
}

#[test]
fn an_initrd_that_is_not_there_is_named() {
    let tree = Tree::new("absent");
    let kernel = FakeKernel::new(|_| Ok(Reply::Done));
    let error = plan()
        .load(&tree.root(), &kernel)
        .expect_err("nothing there");
    assert!(error.to_string().contains("vmlinuz-6.1"), "{error}");
    tree.write("boot/vmlinuz-6.1", "image");
    let error = plan().load(&tree.root(), &kernel).expect_err("no initrd");
    assert_eq!(error.way_out(), Some("`kscope kdump initrd` makes it"));
}
