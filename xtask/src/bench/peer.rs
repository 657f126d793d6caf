//! The programs that are measured: kscope, and a bpftrace beside it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::cargo;
use crate::chroot::Release;

/// Where the newest bpftrace comes from.
const SID: Release = Release {
    suite: "sid",
    packages: "bpftrace",
    foreign: None,
    proof: "usr/bin/bpftrace",
};

/// The name of kscope's own column.
const KSCOPE: &str = "kscope";

/// Where the package keeps its scripts.
const SCRIPTS: &str = "/usr/sbin";

/// A program that runs scripts.
#[derive(Clone, Debug)]
pub(crate) struct Tracer {
    /// Name of its column.
    pub(crate) name: String,
    /// What stands before its own arguments.
    words: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    /// Whether members of `args` are written with an arrow, as bpftrace did up to 0.18.
    arrow: bool,
    /// Its opensnoop, as arguments.
    opensnoop: Vec<OsString>,
    /// The folder that it has for `/`.
    pub(crate) root: PathBuf,
}

/// Where the peer lives.
#[derive(Debug)]
pub(crate) enum Peer {
    Installed(PathBuf),
    Chroot(PathBuf),
}

impl Tracer {
    pub(crate) fn kscope(binary: &Path) -> Self {
        Self {
            name: KSCOPE.to_string(),
            words: vec![binary.into()],
            environment: Vec::new(),
            arrow: false,
            opensnoop: vec![
                "run".into(),
                cargo::root().join("tools/opensnoop.bt").into(),
            ],
            root: PathBuf::from("/"),
        }
    }

    /// A command with its arguments still to be added.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or_else(OsString::new, OsString::clone));
        command.args(words);
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command
    }

    /// Runs a script given as text.
    pub(crate) fn script(&self, text: &str) -> Command {
        let mut command = self.command();
        command.arg("-e").arg(self.dialect(text));
        command
    }

    /// A command that takes bpftrace's arguments.
    pub(crate) fn bpftrace(&self) -> Command {
        let mut command = self.command();
        if self.name == KSCOPE {
            command.arg("bpftrace");
        }
        command
    }

    /// Runs a script given as text, by bpftrace's arguments.
    pub(crate) fn script_as_bpftrace(&self, text: &str) -> Command {
        let mut command = self.bpftrace();
        command.arg("-e").arg(self.dialect(text));
        command
    }

    /// Whether its output is that of today's versions to the blank.
    pub(crate) fn prints_as_now(&self) -> bool {
        !self.arrow
    }

    /// Writes members of `args` as this version reads them.
    fn dialect(&self, text: &str) -> String {
        match self.arrow {
            true => text.replace("args.", "args->"),
            false => text.to_string(),
        }
    }

    /// Runs opensnoop: that of kscope (as a script, which may start a command), or that of bpftrace's own package.
    pub(crate) fn opensnoop(&self) -> Command {
        let mut command = self.command();
        command.args(&self.opensnoop);
        command
    }

    /// Runs a script of bpftrace's package, given by its name and the folder that has the package for `/`.
    pub(crate) fn shipped_script(&self, name: &str, root: &Path) -> Command {
        let mut command = self.command();
        match self.root == root && self.name != KSCOPE {
            true => command.arg(Path::new(SCRIPTS).join(name)),
            false => command
                .arg("run")
                .arg(under(root, &Path::new(SCRIPTS).join(name))),
        };
        command
    }

    /// Gives the names of the scripts in bpftrace's package.
    pub(crate) fn shipped(&self) -> Result<Vec<String>, String> {
        let folder = under(&self.root, Path::new(SCRIPTS));
        let entries =
            std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".bt")).collect();
        names.sort();
        Ok(names)
    }

    /// The program's file, as seen from its own root.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.words.last().map(Path::new)
    }

    pub(crate) fn version(&self) -> Result<String, String> {
        let mut command = self.command();
        let output = command.arg("--version").output();
        let output = output.map_err(|error| format!("{}: {error}", self.name))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
    }
}

impl Peer {
    /// The bpftrace that this machine has.
    pub(crate) fn installed() -> Result<Self, String> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut files = std::env::split_paths(&path).map(|folder| folder.join("bpftrace"));
        let file = files.find(|file| file.exists());
        file.map(Peer::Installed).ok_or_else(|| {
            "no bpftrace is installed here; bench --peers brings its own".to_string()
        })
    }

    /// The bpftrace of Debian's newest release, in a folder of its own.
    pub(crate) fn in_chroot() -> Result<Self, String> {
        sid().map(Peer::Chroot)
    }

    /// Finds out how this peer is called.
    pub(crate) fn tracer(self) -> Result<Tracer, String> {
        let (words, root) = match self {
            Peer::Installed(file) => (vec![file.into_os_string()], PathBuf::from("/")),
            Peer::Chroot(root) => {
                let words = [
                    "chroot".into(),
                    root.clone().into_os_string(),
                    "/usr/bin/bpftrace".into(),
                ];
                (words.to_vec(), root)
            }
        };
        let mut tracer = Tracer {
            name: "bpftrace".to_string(),
            words,
            environment: Vec::new(),
            arrow: false,
            opensnoop: Vec::new(),
            root,
        };
        let version = tracer.version()?;
        let number = version
            .trim_start_matches("bpftrace")
            .trim()
            .trim_start_matches('v')
            .to_string();
        tracer.name = format!("bpftrace {}", short(&number));
        tracer.arrow = minor(&number).is_some_and(|minor| minor < 19);
        tracer.opensnoop = vec![tool(&tracer.root, "opensnoop.bt")?.into_os_string()];
        if let Err(why) = runs(&tracer) {
            if !why.contains("RLIMIT") {
                return Err(format!("{}: {why}", tracer.name));
            }
            tracer
                .environment
                .push(("LD_PRELOAD".into(), shim(&tracer.root)?.into()));
            runs(&tracer).map_err(|why| format!("{}: {why}", tracer.name))?;
        }
        Ok(tracer)
    }
}

/// Gives the folder of Debian's newest release, with the kernel's file systems in it.
pub(crate) fn sid() -> Result<PathBuf, String> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ROOT.get_or_init(|| SID.enter()).clone()
}

/// Gives the same folder with one more package, of which a file is named.
pub(crate) fn sid_with(package: &str, proof: &str) -> Result<PathBuf, String> {
    let root = sid()?;
    SID.add(&root, package, proof)?;
    Ok(root)
}

/// Gives major and minor of a version.
fn short(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').take(2).collect();
    parts.join(".")
}

fn minor(version: &str) -> Option<u32> {
    match version.split_once('.')? {
        ("0", rest) => rest
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok(),
        _ => None,
    }
}

/// Gives a path inside another root as it is seen from here.
fn under(root: &Path, file: &Path) -> PathBuf {
    root.join(file.strip_prefix("/").unwrap_or(file))
}

/// Finds a tool of bpftrace's package, by the name it has inside.
fn tool(root: &Path, name: &str) -> Result<PathBuf, String> {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/share/bpftrace/tools"];
    let mut files = folders.iter().map(|folder| Path::new(folder).join(name));
    files
        .find(|file| under(root, file).exists())
        .ok_or_else(|| format!("bpftrace's package has no {name}"))
}

/// Tries the smallest script.
fn runs(tracer: &Tracer) -> Result<(), String> {
    let mut command = tracer.script("BEGIN { exit(); }");
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Builds a library that lets a program believe it raised its limit of locked memory.
///
/// Old versions of bpftrace give up where that is not allowed, though kernels from 5.11 on have no use for the limit.
fn shim(root: &Path) -> Result<PathBuf, String> {
    const SOURCE: &str = "\
#define _GNU_SOURCE
#include <errno.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	if (resource == RLIMIT_MEMLOCK)
		return 0;
	return syscall(SYS_prlimit64, 0, resource, limit, 0);
}
";
    if root != Path::new("/") {
        return Err("it cannot raise RLIMIT_MEMLOCK".to_string());
    }
    let folder = super::scratch()?;
    let source = folder.join("memlock.c");
    let library = folder.join("memlock.so");
    std::fs::write(&source, SOURCE).map_err(|error| format!("{}: {error}", source.display()))?;
    let mut gcc = Command::new("gcc");
    gcc.args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(&source)
        .current_dir(cargo::root());
    let built = gcc.output().map_err(|error| format!("gcc: {error}"))?;
    if built.status.success() {
        Ok(library)
    } else {
        Err(format!("gcc: {}", String::from_utf8_lossy(&built.stderr)))
    }
}

#[cfg(test)]
mod tests {
    use super::{minor, short};

    #[test]
    fn versions() {
        for (text, expected) in [
            ("0.17.0", Some(17)),
            ("0.27.1-2", Some(27)),
            ("0.9", Some(9)),
            ("1.2", None),
        ] {
            assert_eq!(minor(text), expected, "{text}");
        }
        assert_eq!(short("0.27.1"), "0.27");
    }
}
