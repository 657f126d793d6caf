use super::*;
use crate::superblock::tests::ext4;
use crate::tree::Tree;

const PCI: &str = "sys/devices/pci0000:00/0000:00:05.0";

/// A machine with a virtio disk of ext4, mounted at /.
pub(crate) fn machine() -> Tree {
    let tree = Tree::new("initrd");
    let disk = format!("{PCI}/virtio1/block/vda/vda1");
    tree.folder(&disk);
    tree.write(&format!("{disk}/dev"), "254:1\n");
    for (device, bus, driver, module) in [
        (PCI.to_owned(), "pci", "virtio-pci", "virtio_pci"),
        (
            format!("{PCI}/virtio1"),
            "virtio",
            "virtio_blk",
            "virtio_blk",
        ),
    ] {
        let place = format!("sys/bus/{bus}/drivers/{driver}");
        tree.folder(&format!("sys/module/{module}"));
        tree.link(&format!("{place}/module"), &format!("sys/module/{module}"));
        tree.link(&format!("{device}/driver"), &place);
    }
    tree.link("sys/dev/block/254:1", &disk);
    tree.link("sys/class/block/vda1", &disk);
    tree.write("dev/vda1", ext4([7; 16]));
    tree.write(
        "proc/self/mountinfo",
        "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n",
    );
    let modules = "lib/modules/6.1";
    tree.write(
        &format!("{modules}/modules.dep"),
        "ext4.ko: jbd2.ko\njbd2.ko:\nvirtio_blk.ko:\n",
    );
    tree.write(
        &format!("{modules}/modules.builtin"),
        "kernel/virtio_pci.ko\n",
    );
    for name in ["ext4", "jbd2", "virtio_blk"] {
        tree.write(&format!("{modules}/{name}.ko"), name);
    }
    let program = fs::read("/bin/sh").expect("a shell");
    tree.write("bin/kscope", minimal(&program));
    tree.folder("var/crash");
    tree
}

/// The header of a program that needs nothing.
fn minimal(program: &[u8]) -> Vec<u8> {
    let mut bytes = program[..64].to_vec();
    bytes[56..58].copy_from_slice(&[0, 0]);
    bytes
}

pub(crate) fn build(tree: &Tree, config: &Config) -> Result<(PathBuf, Initrd), Error> {
    let build = Build {
        root: &tree.root(),
        config,
        config_file: Path::new("/etc/kscope/kdump.conf"),
        release: "6.1",
        program: Path::new("/bin/kscope"),
        host: "box",
    };
    build.write()
}

#[test]
fn it_holds_the_program_the_modules_and_what_to_do() {
    let tree = machine();
    let (path, initrd) = build(&tree, &Config::default()).expect("a plain machine");
    assert_eq!(path, Path::new("/var/lib/kscope/kdump/initrd-6.1.img"));
    let bytes = read(&tree.root(), &path).expect("just written");
    let entries = entries(&bytes).expect("ours");
    let content = |path: &str| {
        let found = entries.iter().find(|entry| entry.path == path);
        found.map(|entry| String::from_utf8_lossy(entry.content).into_owned())
    };
    assert!(content("init").is_some());
    assert!(content("dev/null").is_some());
    assert_eq!(content("lib/modules/jbd2.ko").as_deref(), Some("jbd2"));
    let list = content("etc/kscope/capture.modules").expect("a list");
    let names: Vec<&str> = list
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(names, ["virtio_blk", "jbd2", "ext4"]);
    assert_eq!(initrd.manifest.modules, names);
    let settings = content("etc/kscope/capture.conf").expect("settings");
    let settings = Settings::parse(&settings).expect("ours");
    let uuid = "07070707-0707-0707-0707-070707070707";
    assert_eq!(settings.target, Target::Uuid(uuid.to_owned()));
    assert_eq!(settings.path, Path::new("/var/crash"));
    let text = tree.root().text(beside(&path)).expect("beside it");
    assert_eq!(Manifest::parse(&text), Some(initrd.manifest));
}

#[test]
fn a_driver_of_another_name_is_found_by_its_device() {
    let tree = machine();
    tree.write(
        &format!("{PCI}/virtio1/modalias"),
        "virtio:d00000002v00001AF4\n",
    );
    let modules = "lib/modules/6.1";
    tree.write(
        &format!("{modules}/modules.dep"),
        "ext4.ko: jbd2.ko\njbd2.ko:\nvblk.ko:\n",
    );
    tree.write(&format!("{modules}/vblk.ko"), "vblk");
    let (_, initrd) = build(&tree, &Config::default()).expect("without that driver");
    assert_eq!(initrd.manifest.modules, ["jbd2", "ext4"]);
    tree.write(
        &format!("{modules}/modules.alias"),
        "alias virtio:d00000002v* vblk\n",
    );
    let (_, initrd) = build(&tree, &Config::default()).expect("with it");
    assert_eq!(initrd.manifest.modules, ["vblk", "jbd2", "ext4"]);
}

#[test]
fn gzip_of_others_reads_it() {
    let packed = gzip(&b"kscope ".repeat(1000));
    assert_eq!(gunzip(&packed).as_deref(), Ok(&*b"kscope ".repeat(1000)));
    let tree = Tree::new("gzip");
    tree.write("f.gz", &packed);
    let output = std::process::Command::new("gzip")
        .arg("-dc")
        .arg(tree.root().path("f.gz"))
        .output();
    match output {
        Ok(output) => assert!(output.status.success() && output.stdout == b"kscope ".repeat(1000)),
        Err(_) => println!("SKIP: gzip_of_others_reads_it: gzip is not installed"),
    }
}

#[test]
fn what_cannot_be_reached_is_refused() {
    let tree = machine();
    tree.write(
        "proc/self/mountinfo",
        "22 1 0:30 / / rw - nfs4 server:/x rw\n",
    );
    let error = build(&tree, &Config::default()).expect_err("NFS");
    assert!(error.to_string().contains("nfs4"), "{error}");
    assert!(error.way_out().is_some());
    let config = Config {
        modules: vec!["missing".to_owned()],
        ..Config::default()
    };
    let error = build(&machine(), &config).expect_err("a module that is not there");
    assert!(error.to_string().contains("missing"), "{error}");
}
