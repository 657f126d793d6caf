//! The guest that crashes: its disk, its file system, and for ssh a server on this machine.

use std::fs;
use std::io::BufWriter;
use std::net::TcpListener;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Disk, Plan, Step, Way};
use crate::vm::initramfs::Initramfs;
use crate::vm::kernel::{self, Kernel};
use crate::vm::modules::{self, Module};

/// The guest's PID 1.
const INIT: &[u8] = include_bytes!("../../../../tests/vm/kdump.sh");

/// Bytes of the guest's disk, of one with xfs, which takes none that is smaller, and where a partition begins.
const DISK: u64 = 256 << 20;
const XFS_DISK: u64 = 512 << 20;
const PARTITION: u64 = 1 << 20;

/// What a server of ssh gives its privileges up in.
const PRIVILEGES: &str = "/run/sshd";

/// What the guest's kernel needs before kscope looks at it.
const MODULES: [&str; 12] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "crc32c_generic",
    "crc32c_intel",
    "ext4",
    "xfs",
    "nvme",
    "libata",
    "ata_piix",
    "ahci",
    "sd_mod",
];

/// A guest that is ready to boot; a server of ssh ends with it.
pub(super) struct Prepared {
    pub(super) initramfs: PathBuf,
    pub(super) devices: Vec<String>,
    disk: PathBuf,
    server: Option<Server>,
}

/// A server of ssh on this machine, for one folder.
struct Server {
    child: Child,
    folder: PathBuf,
    port: u16,
    /// The folder that it gives its privileges up in was not there.
    made_folder: bool,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if self.made_folder {
            // Another server may need it.
            let _ = fs::remove_dir(PRIVILEGES);
        }
    }
}

fn told(path: &Path) -> impl Fn(std::io::Error) -> String + '_ {
    move |error| format!("{}: {error}", path.display())
}

/// Makes all that the guest boots with.
pub(super) fn prepare(
    kernel: &Kernel,
    plan: &Plan,
    kscope: &Path,
    folder: &Path,
) -> Result<Prepared, String> {
    let disk = folder.join("disk");
    make_disk(&disk, plan.xfs)?;
    let server = match plan.way {
        Way::Disk => None,
        Way::Ssh => Some(serve(&folder.join("ssh"))?),
    };
    let file = disk.display();
    let mut devices = vec![
        "-drive".to_string(),
        format!("file={file},format=raw,if=none,id=d,cache=writeback"),
    ];
    let controller: &[&str] = match plan.disk {
        Disk::Virtio => &["virtio-blk-pci,drive=d"],
        Disk::Nvme => &["nvme,drive=d,serial=d"],
        Disk::Ahci => &["ahci,id=a", "ide-hd,drive=d,bus=a.0"],
        Disk::Ide => &["ide-hd,drive=d,bus=ide.0"],
    };
    for device in controller {
        devices.extend(["-device".to_string(), (*device).to_string()]);
    }
    if server.is_some() {
        let words = [
            "-netdev",
            "user,id=n",
            "-device",
            "virtio-net-pci,netdev=n,romfile=",
        ];
        devices.extend(words.map(str::to_string));
    }
    let initramfs = folder.join("initramfs.cpio");
    pack(kernel, plan, kscope, folder, server.as_ref(), &initramfs)?;
    Ok(Prepared {
        initramfs,
        devices,
        disk,
        server,
    })
}

impl Prepared {
    /// Makes ready for a step.
    pub(super) fn before(&self, step: Step) -> Result<(), String> {
        match (&self.server, step) {
            (Some(server), Step::Hang) => {
                let file = server.folder.join("hangs");
                fs::write(&file, "").map_err(told(&file))
            }
            _ => Ok(()),
        }
    }

    /// Puts what the capture saved into a folder.
    pub(super) fn fetch(&self, to: &Path) -> Result<(), String> {
        fs::create_dir_all(to).map_err(told(to))?;
        if let Some(server) = &self.server {
            let from = server.folder.join("crash");
            return copied(&from, to);
        }
        let image = format!("{}?offset={PARTITION}", self.disk.display());
        let request = format!("rdump /crash {}", to.display());
        run("debugfs", &["-R", &request, &image])?;
        // It makes a folder of the folder's own name.
        let inner = to.join("crash");
        copied(&inner, to)?;
        fs::remove_dir_all(&inner).map_err(told(&inner))
    }
}

/// Copies all of a folder into another.
fn copied(from: &Path, to: &Path) -> Result<(), String> {
    let words = [
        "-r",
        &format!("{}/.", from.display()),
        &to.display().to_string(),
    ];
    run("cp", &words)
}

fn run(program: &str, words: &[&str]) -> Result<(), String> {
    // Tools of file systems and servers are not in everybody's path.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program)
        .args(words)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// Makes a disk with one partition and ext4 on it, or with xfs on all of it.
fn make_disk(path: &Path, xfs: bool) -> Result<(), String> {
    let file = fs::File::create(path).map_err(told(path))?;
    let size = if xfs { XFS_DISK } else { DISK };
    file.set_len(size).map_err(told(path))?;
    if xfs {
        return run("mkfs.xfs", &["-q", &path.display().to_string()]);
    }
    let mut table = [0u8; 66];
    // One entry: type 0x83, its first sector and their number; then the signature.
    table[4] = 0x83;
    table[8..12].copy_from_slice(&((PARTITION / 512) as u32).to_le_bytes());
    table[12..16].copy_from_slice(&(((DISK - PARTITION) / 512) as u32).to_le_bytes());
    table[64..].copy_from_slice(&[0x55, 0xaa]);
    file.write_all_at(&table, 446).map_err(told(path))?;
    let offset = format!("offset={PARTITION}");
    let blocks = format!("{}k", (DISK - PARTITION) >> 10);
    let file = path.display().to_string();
    run("mkfs.ext4", &["-q", "-E", &offset, &file, &blocks])
}

/// Starts a server of ssh that listens on this machine alone.
fn serve(folder: &Path) -> Result<Server, String> {
    fs::create_dir_all(folder.join("crash")).map_err(told(folder))?;
    for key in ["host", "user"] {
        let file = folder.join(key).display().to_string();
        run(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", &file],
        )?;
    }
    let public = fs::read_to_string(folder.join("user.pub")).map_err(told(folder))?;
    fs::write(folder.join("authorized"), public).map_err(told(folder))?;
    // Somebody else may take the port in between, which the server then says.
    let port = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map_err(|error| error.to_string())?
        .port();
    let place = folder.display();
    let config = format!(
        "ListenAddress 127.0.0.1\nPort {port}\nHostKey {place}/host\nAuthorizedKeysFile {place}/authorized\n\
         StrictModes no\nPidFile none\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nForceCommand {place}/command\n"
    );
    // Runs what is asked for, but for a dump that is to hang.
    let command = folder.join("command");
    let words = format!(
        "#!/bin/sh\ncase $SSH_ORIGINAL_COMMAND in\n*\"cat > \"*vmcore*) [ ! -e {place}/hangs ] || exec sleep 300 ;;\nesac\n\
         exec sh -c \"$SSH_ORIGINAL_COMMAND\"\n"
    );
    fs::write(&command, words).map_err(told(&command))?;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&command, mode).map_err(told(&command))?;
    let file = folder.join("config");
    fs::write(&file, config).map_err(told(&file))?;
    // It must be called by its whole path, and have a folder to give its privileges up in.
    let program = "/usr/sbin/sshd";
    let made_folder = fs::create_dir(PRIVILEGES).is_ok();
    let log = fs::File::create(folder.join("log")).map_err(told(folder))?;
    let child = Command::new(program)
        .args(["-D", "-e", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    let folder = folder.to_path_buf();
    Ok(Server {
        child,
        folder,
        port,
        made_folder,
    })
}

/// Writes the guest's file system: an installed kernel, kscope, and how its kdump is configured.
fn pack(
    kernel: &Kernel,
    plan: &Plan,
    kscope: &Path,
    folder: &Path,
    server: Option<&Server>,
    path: &Path,
) -> Result<(), String> {
    let tree = kernel.modules.as_ref().ok_or("the kernel has no modules")?;
    let release = tree
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let loaded = modules::in_order(tree, &MODULES.map(str::to_string))?;
    let stage = folder.join("stage");
    stage_modules(tree, &release, &loaded, &stage)?;
    let read = |file: &Path| fs::read(file).map_err(told(file));
    let mut files: Vec<(String, Vec<u8>, bool)> = vec![
        ("init".to_string(), INIT.to_vec(), true),
        ("bin/busybox".to_string(), read(&kernel::busybox()?)?, true),
        ("bin/kscope".to_string(), read(kscope)?, true),
        (
            format!("boot/vmlinuz-{release}"),
            read(&kernel.image)?,
            false,
        ),
        (
            "guest/settings".to_string(),
            settings(plan).into_bytes(),
            false,
        ),
        (
            "etc/kscope/kdump.conf".to_string(),
            configuration(server).into_bytes(),
            false,
        ),
        (
            "etc/passwd".to_string(),
            b"root:x:0:0:root:/root:/bin/sh\n".to_vec(),
            false,
        ),
    ];
    let mut order = String::new();
    for module in &loaded {
        order.push_str(&format!("{}\n", module.file));
        files.push((
            format!("modules/{}", module.file),
            module.bytes.clone(),
            false,
        ));
    }
    files.push(("guest/modules".to_string(), order.into_bytes(), false));
    collect(&stage, &stage, &mut files)?;
    if let Some(server) = server {
        files.push((
            "root/key".to_string(),
            read(&server.folder.join("user"))?,
            false,
        ));
        let public = fs::read_to_string(server.folder.join("host.pub")).map_err(told(folder))?;
        let known = format!("[10.0.2.2]:{} {public}", server.port);
        files.push(("root/known_hosts".to_string(), known.into_bytes(), false));
        for file in libraries("/usr/bin/ssh")? {
            files.push((
                file.trim_start_matches('/').to_string(),
                read(Path::new(&file))?,
                true,
            ));
        }
    }
    let out = fs::File::create(path).map_err(told(path))?;
    write(BufWriter::new(out), &files).map_err(told(path))
}

/// What the guest is told of itself.
fn settings(plan: &Plan) -> String {
    let (disk, files) = match (plan.disk, plan.xfs) {
        (Disk::Virtio, true) => ("vda", "xfs"),
        (Disk::Virtio, false) => ("vda1", "ext4"),
        (Disk::Nvme, true) => ("nvme0n1", "xfs"),
        (Disk::Nvme, false) => ("nvme0n1p1", "ext4"),
        (Disk::Ahci | Disk::Ide, true) => ("sda", "xfs"),
        (Disk::Ahci | Disk::Ide, false) => ("sda1", "ext4"),
    };
    let way = match plan.way {
        Way::Disk => "disk",
        Way::Ssh => "ssh",
    };
    let steps = plan.steps();
    format!("WAY={way}\nDISK=/dev/{disk}\nFILES={files}\nSTEPS='{steps}'\n")
}

fn write(out: impl std::io::Write, files: &[(String, Vec<u8>, bool)]) -> std::io::Result<()> {
    let mut archive = Initramfs::new(out);
    let mut folders = std::collections::BTreeSet::new();
    for name in ["proc", "sys", "dev"] {
        archive.folder(name)?;
    }
    for (name, bytes, is_program) in files {
        let parents: Vec<&Path> = Path::new(name).ancestors().skip(1).collect();
        for parent in parents
            .into_iter()
            .rev()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            if folders.insert(parent.to_path_buf()) {
                archive.folder(&parent.to_string_lossy())?;
            }
        }
        match is_program {
            true => archive.program(name, bytes)?,
            false => archive.file(name, bytes)?,
        }
    }
    archive.finish()?.flush()
}

fn configuration(server: Option<&Server>) -> String {
    match server {
        None => {
            "target = local\npath = /var/crash\nkeep = 1\nwait = 30\ndeadline = 4\n".to_string()
        }
        Some(server) => format!(
            "target = ssh:root@10.0.2.2:{}\npath = {}\nssh_key = /root/key\nssh_known_hosts = /root/known_hosts\n\
             wait = 30\ndeadline = 4\n",
            server.port,
            server.folder.join("crash").display()
        ),
    }
}

/// Lays the modules out as an installed kernel has them, packed as they are, with what depmod makes of them.
fn stage_modules(
    tree: &Path,
    release: &str,
    loaded: &[Module],
    stage: &Path,
) -> Result<(), String> {
    let place = stage.join("lib/modules").join(release);
    let copy = |from: &Path| {
        let to = place.join(from.strip_prefix(tree).unwrap_or(from));
        fs::create_dir_all(to.parent().unwrap_or(&to)).map_err(told(&to))?;
        fs::copy(from, &to).map_err(told(from))
    };
    for module in loaded {
        copy(&module.path)?;
    }
    for name in [
        "modules.builtin",
        "modules.order",
        "modules.builtin.modinfo",
    ] {
        let file = tree.join(name);
        if file.exists() {
            copy(&file)?;
        }
    }
    run("depmod", &["-b", &stage.display().to_string(), release])
}

fn collect(
    root: &Path,
    folder: &Path,
    files: &mut Vec<(String, Vec<u8>, bool)>,
) -> Result<(), String> {
    for entry in fs::read_dir(folder).map_err(told(folder))? {
        let path = entry.map_err(told(folder))?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
            continue;
        }
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        let mode = fs::metadata(&path)
            .map_err(told(&path))?
            .permissions()
            .mode();
        files.push((
            name,
            fs::read(&path).map_err(told(&path))?,
            mode & 0o111 != 0,
        ));
    }
    Ok(())
}

/// Gives a program and its libraries, as `ldd` says them.
fn libraries(program: &str) -> Result<Vec<String>, String> {
    let output = Command::new("ldd").arg(program).output();
    let output = output.map_err(|error| format!("ldd: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    let mut files = vec![program.to_string()];
    files.extend(words.map(str::to_string));
    Ok(files)
}
