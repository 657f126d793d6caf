//! The initial file system of the capture: this program, the modules that the target needs, and
//! for ssh the machine's own client.

pub(crate) mod cpio;
mod library;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use kscope_dump::Unfinished;

use crate::Error;
use crate::capture::settings::{BUSYBOX, KEY, KNOWN_HOSTS, MODULES, SETTINGS, SHELL, Settings};
use crate::config::{Action, Config, Target};
use crate::facts::target::{DiskFacts, SshFacts, TargetFacts, reached};
use crate::manifest::{Manifest, Source, beside};
use crate::modules::{ModuleFile, Modules, gunzip, unpacked};
use crate::root::Root;
use crate::ssh::SSH;
use cpio::Archive;
pub use cpio::{Entry, entries};
pub use library::{Needs, needs};

/// The most bytes of an initial file system.
const LARGEST: u64 = 1 << 30;
/// Bytes of a page, of which a file in memory takes whole ones.
const PAGE: u64 = 4096;

/// What an initial file system is made of.
#[derive(Debug)]
pub struct Build<'a> {
    /// The machine's files.
    pub root: &'a Root,
    /// What happens after a crash.
    pub config: &'a Config,
    /// Where the configuration is, for who looks later whether it has changed.
    pub config_file: &'a Path,
    /// The kernel that captures.
    pub release: &'a str,
    /// This program, as a file of the machine's.
    pub program: &'a Path,
    /// The name of the machine.
    pub host: &'a str,
}

/// An initial file system.
#[derive(Clone, Debug)]
pub struct Initrd {
    /// The archive, packed with gzip where the kernel unpacks that.
    pub bytes: Vec<u8>,
    /// What it was made of.
    pub manifest: Manifest,
    /// Its files with their sizes.
    pub listing: Vec<(PathBuf, u64)>,
}

impl Build<'_> {
    /// Makes the initial file system.
    ///
    /// # Errors
    /// Where the target is of a kind that the capture cannot reach, or a file is not there.
    pub fn make(&self) -> Result<Initrd, Error> {
        let facts = TargetFacts::gather(self.root, self.config);
        let modules = Modules::load(self.root, self.release)?;
        let mut archive = Archive::default();
        let mut sources = Vec::new();
        for folder in ["dev", "proc", "run", "sys", "target", "tmp", "etc", "bin"] {
            archive.folder(folder)?;
        }
        // What a program's standard streams are where no console works; without it none starts.
        archive.device("dev/console", (5, 1))?;
        archive.device("dev/null", (1, 3))?;
        self.add_program(&mut archive, &mut sources, self.program, Some("/init"))?;
        let settings = match &facts {
            TargetFacts::Disk(disk) => self.disk(disk)?,
            TargetFacts::Ssh(ssh) => {
                self.add_ssh(ssh, &mut archive, &mut sources)?;
                let target = Target::Ssh(reached(&ssh.to, ssh.address));
                let path = self.config.path.clone();
                let mut settings = Settings::of(self.config, target, path, self.host);
                let interface = ssh.own.iter().map(|own| &own.device);
                let mut interface = interface.map(|name| format!("/sys/class/net/{name}/address"));
                settings.mac = interface.next().and_then(|file| self.root.text(file).ok());
                settings
            }
        };
        archive.file(Path::new(SETTINGS), settings.text().as_bytes())?;
        if [self.config.action, self.config.failure_action].contains(&Action::Shell) {
            self.add_shell(&mut archive, &mut sources)?;
        }
        let (mut wanted, _) = facts.known_modules(&modules);
        wanted.extend(self.config.modules.iter().cloned());
        let order = modules.in_order(wanted.iter().map(String::as_str))?;
        let modules_size = self.add_modules(&order, &mut archive, &mut sources)?;
        sources.push(match self.root.exists(self.config_file) {
            true => Source::of(self.root, self.config_file)?,
            false => Source::absent(self.config_file),
        });
        let listing = archive.listing.clone();
        let unpacked = listing
            .iter()
            .map(|(_, size)| size.next_multiple_of(PAGE))
            .sum();
        let manifest = Manifest {
            release: self.release.to_owned(),
            target: settings.target.to_string(),
            modules: order.iter().map(|module| module.name.clone()).collect(),
            unpacked,
            modules_size,
            sources,
        };
        let bytes = archive.finish()?;
        let bytes = match self.unpacks_gzip() {
            true => gzip(&bytes),
            false => bytes,
        };
        Ok(Initrd {
            bytes,
            manifest,
            listing,
        })
    }

    /// Makes the initial file system and puts it and its manifest where the configuration says.
    ///
    /// # Errors
    /// As [`Build::make`], and where they cannot be written; what was there stays then.
    pub fn write(&self) -> Result<(PathBuf, Initrd), Error> {
        let initrd = self.make()?;
        let path = self.config.initrd_of(self.release);
        // The image first: a manifest without its image would be the worse half.
        replace(&self.root.path(&path), &initrd.bytes)?;
        replace(
            &self.root.path(beside(&path)),
            initrd.manifest.text().as_bytes(),
        )?;
        Ok((path, initrd))
    }

    /// Tells whether the kernel unpacks gzip, as nearly all do.
    fn unpacks_gzip(&self) -> bool {
        let config = self.root.text(format!("/boot/config-{}", self.release));
        config.map_or(true, |text| {
            text.lines().any(|line| line == "CONFIG_RD_GZIP=y")
        })
    }

    fn disk(&self, disk: &DiskFacts) -> Result<Settings, Error> {
        if let Some(why) = disk.refused() {
            return Err(Error::unsupported(why, crate::check::OTHER_TARGET));
        }
        let uuid = disk.uuid.as_ref().ok_or_else(|| {
            let why = disk.unread.clone().unwrap_or_default();
            Error::missing(
                format!("the UUID of the target cannot be read {why}"),
                "run as root",
            )
        })?;
        let target = Target::Uuid(uuid.clone());
        let path = disk.path.clone();
        Ok(Settings::of(self.config, target, path, self.host))
    }

    fn add_program(
        &self,
        archive: &mut Archive,
        sources: &mut Vec<Source>,
        program: &Path,
        name: Option<&str>,
    ) -> Result<(), Error> {
        for (path, bytes) in library::files_of(self.root, program)? {
            let place = match name {
                Some(name) if path == program => Path::new(name),
                _ => &path,
            };
            archive.program(place, &bytes)?;
            sources.push(Source::of(self.root, &path)?);
        }
        Ok(())
    }

    fn add_ssh(
        &self,
        facts: &SshFacts,
        archive: &mut Archive,
        sources: &mut Vec<Source>,
    ) -> Result<(), Error> {
        if let Some(why) = &facts.refused {
            return Err(Error::unsupported(why, crate::check::OTHER_INTERFACE));
        }
        if facts.address.is_none() {
            return Err(Error::missing(
                format!("{} is no address and not in /etc/hosts", facts.to.host),
                "write the address into `target`: after a crash there is nobody to ask for names",
            ));
        }
        if !facts.has_program {
            return Err(Error::missing(
                format!("{SSH} is not there"),
                "install the ssh client (Debian: openssh-client)",
            ));
        }
        self.add_program(archive, sources, Path::new(SSH), None)?;
        // Old C libraries ask a library of its own who root is.
        for library in [
            "/lib/x86_64-linux-gnu/libnss_files.so.2",
            "/lib64/libnss_files.so.2",
        ] {
            if self.root.exists(library) {
                self.add_program(archive, sources, Path::new(library), None)?;
            }
        }
        archive.file(Path::new("/etc/passwd"), b"root:x:0:0:root:/:/bin/sh\n")?;
        archive.file(
            Path::new("/etc/nsswitch.conf"),
            b"passwd: files\nhosts: files\n",
        )?;
        for (from, to) in [
            (&self.config.ssh_key, KEY),
            (&self.config.ssh_known_hosts, KNOWN_HOSTS),
        ] {
            let bytes = self
                .root
                .bytes(from, 1 << 20)
                .map_err(Error::file("read", from))?;
            archive.secret(Path::new(to), &bytes)?;
            sources.push(Source::of(self.root, from)?);
        }
        Ok(())
    }

    fn add_shell(&self, archive: &mut Archive, sources: &mut Vec<Source>) -> Result<(), Error> {
        let shell = &self.config.shell;
        let is_busybox = shell.file_name().is_some_and(|name| name == "busybox");
        let place = match is_busybox {
            true => BUSYBOX,
            false => SHELL,
        };
        self.add_program(archive, sources, shell, Some(place))?;
        if is_busybox {
            archive.link(Path::new(SHELL), "busybox")?;
        }
        Ok(())
    }

    /// Adds the modules, unpacked, and gives their bytes.
    fn add_modules(
        &self,
        order: &[ModuleFile],
        archive: &mut Archive,
        sources: &mut Vec<Source>,
    ) -> Result<u64, Error> {
        let mut list = String::new();
        let mut size = 0;
        for module in order {
            let bytes = unpacked(self.root, &module.path)?;
            let place = format!("/lib/modules/{}.ko", module.name);
            let word = if module.optional {
                "optional"
            } else {
                "needed"
            };
            list.push_str(&format!("{word} {} {place}\n", module.name));
            size += bytes.len() as u64;
            archive.file(Path::new(&place), &bytes)?;
            sources.push(Source::of(self.root, &module.path)?);
        }
        archive.file(Path::new(MODULES), list.as_bytes())?;
        Ok(size)
    }
}

/// Reads an initial file system that was made here, and unpacks it.
///
/// # Errors
/// Where it cannot be read or unpacked.
pub fn read(root: &Root, path: &Path) -> Result<Vec<u8>, Error> {
    let bytes = root
        .bytes(path, LARGEST)
        .map_err(Error::file("read", path))?;
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => gunzip(&bytes)
            .map_err(|why| Error::malformed(format!("cannot unpack {}: {why}", path.display()))),
        false => Ok(bytes),
    }
}

/// Packs bytes as a gzip file (RFC 1952).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    out.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
    out.extend(crc32(bytes).to_le_bytes());
    out.extend((bytes.len() as u32).to_le_bytes());
    out
}

/// The check sum of gzip: polynomial 0xedb88320, reflected.
fn crc32(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|index| {
        (0..8).fold(index as u32, |value, _| match value & 1 {
            1 => value >> 1 ^ 0xedb8_8320,
            _ => value >> 1,
        })
    });
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        table[usize::from(sum as u8 ^ byte)] ^ sum >> 8
    })
}

/// Puts a file into the place of another, which stays until the new one is whole. Only root reads
/// it: an initial file system may hold a key.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = Unfinished::create(path, true)?;
        file.file().write_all(bytes)?;
        file.finish()
    };
    write().map_err(|why| {
        let _ = fs::remove_file(Unfinished::path_of(path));
        Error::file("write", path)(why)
    })
}

#[cfg(test)]
pub(crate) mod tests;
