use super::*;
use crate::tree::Tree;

fn modules(tree: &Tree) -> Modules {
    Modules::load(&tree.root(), "6.1").expect("modules.dep is there")
}

fn sample() -> Tree {
    let tree = Tree::new("modules");
    tree.write(
        "lib/modules/6.1/modules.dep",
        "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n\
         kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz:\n\
         kernel/drivers/block/virtio_blk.ko:\n\
         kernel/crypto/crc32c_generic.ko: \nkernel/arch/crc32c-intel.ko:\n\
         kernel/a.ko: kernel/b.ko kernel/c.ko\nkernel/b.ko: kernel/c.ko\nkernel/c.ko:\n\
         kernel/x.ko: kernel/y.ko\nkernel/y.ko: kernel/x.ko\n",
    );
    tree.write(
        "lib/modules/6.1/modules.softdep",
        "softdep ext4 pre: crc32c\nsoftdep a post: x\n",
    );
    tree.write(
        "lib/modules/6.1/modules.alias",
        "alias crc32c crc32c_intel\nalias crc32c crc32c_generic\nalias pci:v* virtio_pci\nalias virtio:d00000002v* virtio_blk\nalias virtio:d00000001v* virtio_net\n",
    );
    tree.write(
        "lib/modules/6.1/modules.builtin",
        "kernel/drivers/virtio/virtio-pci.ko\n",
    );
    tree
}

#[test]
fn each_module_comes_after_what_it_needs() {
    let tree = sample();
    let modules = modules(&tree);
    let check = |names: &[&str], expected: &[&str]| {
        let order = modules
            .in_order(names.iter().copied())
            .expect("known modules");
        let order: Vec<&str> = order.iter().map(|module| &*module.name).collect();
        assert_eq!(order, expected, "{names:?}");
    };
    check(&["virtio_pci"], &[]);
    check(&["virtio:d00000002v00001AF4"], &["virtio_blk"]);
    check(&["pci:v00001AF4"], &[]);
    check(&["crc32c"], &["crc32c_intel", "crc32c_generic"]);
    check(&["virtio-blk", "virtio_blk"], &["virtio_blk"]);
    check(
        &["ext4"],
        &["crc32c_intel", "crc32c_generic", "crc16", "jbd2", "ext4"],
    );
    check(&["a"], &["c", "b", "a", "y", "x"]);
    // What needs itself is there once.
    check(&["x"], &["y", "x"]);
}

#[test]
fn what_the_kernel_lacks_is_named() {
    let tree = sample();
    let error = modules(&tree)
        .in_order(["no-such"])
        .expect_err("it lacks it");
    assert!(error.to_string().contains("no_such"), "{error}");
    let error = Modules::load(&tree.root(), "9.9").expect_err("no folder");
    assert!(error.way_out().unwrap_or_default().contains("depmod 9.9"));
}

#[test]
fn packed_modules_are_unpacked() {
    let tree = Tree::new("packed");
    // `printf kscope | xz --check=crc32`, `| zstd` and `| gzip -n`, written down.
    let xz = [
        0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0x00, 0x01, 0x69, 0x22, 0xde, 0x36,
    ];
    tree.write("bad.ko.xz", xz);
    tree.write("plain.ko", "kscope");
    let read = |name: &str| unpacked(&tree.root(), Path::new(name));
    assert_eq!(read("plain.ko").expect("not packed"), b"kscope");
    let error = read("bad.ko.xz").expect_err("cut");
    assert!(
        error.to_string().contains("cannot unpack bad.ko.xz"),
        "{error}"
    );
    for (program, name) in [("xz", "a.ko.xz"), ("zstd", "a.ko.zst"), ("gzip", "a.ko.gz")] {
        let text = "module ".repeat(10_000);
        tree.write("a.ko", &text);
        let packed = std::process::Command::new(program)
            .args(["-k", "-q"])
            .arg(tree.root().path("a.ko"))
            .status();
        let Ok(true) = packed.map(|status| status.success()) else {
            println!("SKIP: packed_modules_are_unpacked: {program} is not installed");
            continue;
        };
        assert!(read(name).expect(name) == text.as_bytes(), "{name}");
    }
}

#[test]
fn patterns_of_devices() {
    let check = |pattern: &str, text: &str, expected| {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    };
    check("pci:v00001AF4d*sv*", "pci:v00001AF4d00001001sv1", true);
    check("pci:v00001AF4d*sv*", "pci:v00001AF4d00001001", false);
    check("a*b*c", "aXbYbZc", true);
    check("a*b*c", "aXbYbZ", false);
    check("usb:v?[0-4A]p", "usb:v13p", true);
    check("usb:v?[0-4A]p", "usb:v1Ap", true);
    check("usb:v?[0-4A]p", "usb:v15p", false);
    check("a[", "a[", false);
    check("*", "", true);
    check("", "a", false);
    // Not for ever.
    check(&"*a".repeat(200), &"a".repeat(199), false);
}
