//! Where a capture writes: a file system of its own mount, or another machine.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kscope_dump::Unfinished;
use kscope_sys::{Kernel, RealKernel};

use super::settings::{KEY, KNOWN_HOSTS, Settings};
use super::{VMCORE, interface, own_program, run, target_of, wait};
use crate::Error;
use crate::config::{SshTarget, Target};
use crate::facts::target::device_of;
use crate::root::Root;
use crate::ssh::{Keys, SSH};

/// Where the file system is mounted.
const MOUNT: &str = "/target";

/// What a file is called until it is whole.
const INCOMPLETE: &str = "-incomplete";

/// Keeps room for what is said at the end, where the dump takes all there is; and its bytes.
const RESERVE: &str = "room-incomplete";
pub(super) const ROOM: usize = 1 << 18;

/// Where a capture writes.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A folder in a mounted file system.
    Disk(PathBuf),
    /// A folder on another machine.
    Ssh(SshTarget, PathBuf),
}

impl Place {
    /// Waits for the target and mounts it, or for the network.
    pub(super) fn open(root: &Root, settings: &Settings) -> Result<Place, Error> {
        let late = || {
            let seconds = settings.wait.as_secs();
            let what = target_of(&settings.target);
            Error::missing(
                format!("{what}, after {seconds} s"),
                "see which driver is missing in the kernel's messages above; `modules` of \
                 /etc/kscope/kdump.conf adds some",
            )
        };
        match &settings.target {
            Target::Uuid(uuid) => {
                let found = wait(settings.wait, || device_of(root, uuid));
                let (name, kind) = found.ok_or_else(late)?;
                let device = Path::new("/dev").join(name.replace('!', "/"));
                let kernel: &dyn Kernel = &RealKernel;
                let mounted = kernel.mount_source(&device, Path::new(MOUNT), kind, false);
                mounted.map_err(|errno| Error::Refused {
                    call: "mount",
                    errno,
                    means: "the file system of the target cannot be mounted",
                    way_out: "see the kernel's messages above; fsck mends a damaged file system",
                })?;
                let path = settings.path.strip_prefix("/").unwrap_or(&settings.path);
                Ok(Place::Disk(Path::new(MOUNT).join(path)))
            }
            Target::Ssh(to) => {
                let line = root.text("/proc/cmdline").unwrap_or_default();
                interface::set_up(root, &line, settings)?;
                let place = Place::Ssh(to.clone(), settings.path.clone());
                wait(settings.wait, || place.names().ok()).ok_or_else(late)?;
                Ok(place)
            }
            Target::Local => Err(late()),
        }
    }

    /// Gives the place again, for who did not open it.
    pub(super) fn opened(settings: &Settings) -> Option<Place> {
        match &settings.target {
            Target::Uuid(_) => {
                let path = settings.path.strip_prefix("/").unwrap_or(&settings.path);
                Some(Place::Disk(Path::new(MOUNT).join(path)))
            }
            Target::Ssh(to) => Some(Place::Ssh(to.clone(), settings.path.clone())),
            Target::Local => None,
        }
    }

    pub(super) fn describe(&self, folder: &str) -> String {
        match self {
            Place::Disk(path) => path.join(folder).display().to_string(),
            Place::Ssh(to, path) => format!("{}:{}/{folder}", to.host, path.display()),
        }
    }

    /// Gives the names in the folder of dumps.
    pub(super) fn names(&self) -> Result<Vec<String>, Error> {
        match self {
            Place::Disk(path) => {
                fs::create_dir_all(path).map_err(Error::file("make", path))?;
                let entries = fs::read_dir(path).map_err(Error::file("read", path))?;
                let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
                Ok(entries.filter_map(|entry| name(entry.ok()?)).collect())
            }
            Place::Ssh(to, path) => {
                let path = path.display();
                let words = format!("mkdir -p '{path}' && ls -1 '{path}'");
                let output = ssh(to, &words).stderr(Stdio::inherit()).output();
                let output = output.map_err(Error::file("run", Path::new(SSH)))?;
                if !output.status.success() {
                    return Err(Error::malformed(format!(
                        "ssh has failed: {}",
                        output.status
                    )));
                }
                let text = String::from_utf8_lossy(&output.stdout);
                Ok(text.lines().map(str::to_owned).collect())
            }
        }
    }

    pub(super) fn make_folder(&self, folder: &str) -> Result<(), Error> {
        match self {
            Place::Disk(path) => {
                let path = path.join(folder);
                // What a kernel had in memory is root's alone.
                let mut builder = fs::DirBuilder::new();
                builder.recursive(true).mode(0o700);
                builder.create(&path).map_err(Error::file("make", &path))
            }
            Place::Ssh(to, path) => {
                let words = format!("umask 077; mkdir -p '{}/{folder}'", path.display());
                run(&mut ssh(to, &words), "ssh")
            }
        }
    }

    /// Sets room aside for what is written at the end.
    pub(super) fn reserve(&self, folder: &str) -> Result<(), Error> {
        match self {
            Place::Disk(path) => {
                let path = path.join(folder).join(RESERVE);
                // Bytes, and not a hole.
                let written = fs::write(&path, vec![b'\n'; ROOM]);
                let synced = written.and_then(|()| fs::File::open(&path)?.sync_all());
                synced.map_err(Error::file("write", &path))
            }
            Place::Ssh(to, path) => {
                let place = path.display();
                let words =
                    format!("umask 077; head -c {ROOM} /dev/zero > '{place}/{folder}/{RESERVE}'");
                run(&mut ssh(to, &words), "ssh")
            }
        }
    }

    /// Gives back what was set aside.
    pub(super) fn release(&self, folder: &str) {
        match self {
            Place::Disk(path) => {
                let _ = fs::remove_file(path.join(folder).join(RESERVE));
                // Only then is it free.
                let kernel: &dyn Kernel = &RealKernel;
                let _ = kernel.sync();
            }
            Place::Ssh(to, path) => {
                let place = path.display();
                let _ = ssh(to, &format!("rm -f '{place}/{folder}/{RESERVE}'")).status();
            }
        }
    }

    /// Writes a small file, which has its name only when it is whole.
    pub(super) fn put(&self, folder: &str, name: &str, bytes: &[u8]) -> Result<(), Error> {
        match self {
            Place::Disk(path) => {
                let path = path.join(folder).join(name);
                let write = || {
                    let file = Unfinished::create(&path, true)?;
                    file.file().write_all(bytes)?;
                    file.finish()
                };
                write().map_err(Error::file("write", &path))
            }
            Place::Ssh(to, path) => {
                let place = format!("{}/{folder}/{name}", path.display());
                let words = format!(
                    "umask 077; cat > '{place}{INCOMPLETE}' && mv '{place}{INCOMPLETE}' '{place}'"
                );
                let mut child = ssh(to, &words)
                    .stdin(Stdio::piped())
                    .spawn()
                    .map_err(Error::file("run", Path::new(SSH)))?;
                let sent = child.stdin.take().map(|mut input| input.write_all(bytes));
                let status = child.wait().map_err(Error::file("run", Path::new(SSH)))?;
                match sent {
                    Some(Ok(())) if status.success() => Ok(()),
                    _ => Err(Error::malformed(format!(
                        "{name} is not written: ssh {status}"
                    ))),
                }
            }
        }
    }

    /// Saves the dump, which has its name only when it is whole.
    pub(super) fn save(&self, folder: &str, settings: &Settings) -> Result<(), Error> {
        let mut save = own_program();
        save.args(["kdump", "save", VMCORE]);
        save_words(&mut save, settings);
        match self {
            Place::Disk(path) => {
                let path = path.join(folder).join("vmcore");
                run(save.arg("-o").arg(&path), "kdump save")
            }
            Place::Ssh(to, path) => {
                let name = match settings.format.as_str() {
                    "elf" => "vmcore",
                    _ => "vmcore.flat",
                };
                let place = format!("{}/{folder}/{name}", path.display());
                let words = format!("umask 077; cat > '{place}{INCOMPLETE}'");
                let mut receiver = ssh(to, &words)
                    .stdin(Stdio::piped())
                    .spawn()
                    .map_err(Error::file("run", Path::new(SSH)))?;
                let input = receiver.stdin.take();
                let input = input.ok_or_else(|| Error::malformed("ssh has no input"))?;
                let saved = run(save.args(["-o", "-"]).stdout(input), "kdump save");
                drop(save);
                let status = receiver
                    .wait()
                    .map_err(Error::file("run", Path::new(SSH)))?;
                saved?;
                if !status.success() {
                    return Err(Error::malformed(format!("ssh has failed: {status}")));
                }
                // Only now is it known to be whole.
                run(
                    &mut ssh(to, &format!("mv '{place}{INCOMPLETE}' '{place}'")),
                    "ssh",
                )
            }
        }
    }

    /// Removes the folder of a crash.
    pub(super) fn remove(&self, folder: &str) -> Result<(), Error> {
        match self {
            Place::Disk(path) => {
                let path = path.join(folder);
                fs::remove_dir_all(&path).map_err(Error::file("remove", &path))
            }
            Place::Ssh(to, path) => run(
                &mut ssh(to, &format!("rm -r '{}/{folder}'", path.display())),
                "ssh",
            ),
        }
    }

    /// Leaves the file system whole.
    pub(super) fn close(&self) {
        let kernel: &dyn Kernel = &RealKernel;
        let _ = kernel.sync();
        if let Place::Disk(_) = self {
            let _ = kernel.unmount(Path::new(MOUNT));
        }
    }
}

/// Adds what the settings say of a dump.
fn save_words(save: &mut Command, settings: &Settings) {
    save.arg("--no-log")
        .arg("--dump-level")
        .arg(settings.level.to_string());
    save.arg("--compress").arg(&settings.compression);
    save.arg("--format").arg(&settings.format);
    save.arg("--threads").arg(settings.cpus.to_string());
}

/// Runs words on another machine, with the keys of the initial file system.
fn ssh(to: &SshTarget, words: &str) -> Command {
    let keys = Keys {
        own: Path::new(KEY),
        hosts: Path::new(KNOWN_HOSTS),
    };
    crate::ssh::ssh(Path::new(SSH), to, keys, words)
}
