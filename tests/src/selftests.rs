//! The kernel's own eBPF tests, from the distribution's package of its source, compiled when a test
//! wants them and kept in the target folder. None of them is part of this tree.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The package's file; `KSCOPE_LINUX_SOURCE` names another.
const ARCHIVE: &str = "/usr/src/linux-source-6.1.tar.xz";

/// What is unpacked of it.
const PARTS: [&str; 3] = [
    "tools/testing/selftests/bpf",
    "tools/include",
    "tools/lib/bpf",
];

/// The unpacked source of the kernel's tests, and a compiler.
#[derive(Clone, Debug)]
pub struct Selftests {
    /// The folder `tools/testing/selftests/bpf`.
    source: PathBuf,
    /// Where objects are kept.
    objects: PathBuf,
    compiler: String,
}

/// The header of the kernel's types.
const HEADER: &str = "vmlinux.h";

/// Held while files are made that all tests use: those of one process would make the same.
static ONE: Mutex<()> = Mutex::new(());

impl Selftests {
    /// Unpacks the source, if that was not done before.
    ///
    /// # Errors
    /// With the reason, where the archive or a compiler is missing.
    pub fn find() -> Result<Selftests, String> {
        let compiler = clang().ok_or("clang is missing")?;
        let archive = std::env::var("KSCOPE_LINUX_SOURCE").unwrap_or_else(|_| ARCHIVE.to_owned());
        let archive = Path::new(&archive);
        if !archive.is_file() {
            return Err(format!("{} is missing", archive.display()));
        }
        let name = archive.file_name().unwrap_or_default().to_string_lossy();
        let top = name.split(".tar").next().unwrap_or_default().to_owned();
        let test = std::env::current_exe().map_err(|error| error.to_string())?;
        let folder = test.ancestors().nth(3).ok_or("no target folder")?;
        let folder = folder.join("selftests");
        let made = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let objects = folder.join(format!("{top}-objects"));
        made(&objects)?;
        let unpacked = folder.join(&top);
        let _one = ONE.lock().map_err(|error| error.to_string())?;
        if !unpacked.is_dir() {
            // Another test may unpack at the same time; the first to finish wins.
            let own = folder.join(format!("unpacking-{}", std::process::id()));
            made(&own)?;
            let mut tar = Command::new("tar");
            tar.arg("-xf").arg(archive).arg("-C").arg(&own);
            tar.args(PARTS.map(|part| format!("{top}/{part}")));
            let status = tar.status().map_err(|error| format!("tar: {error}"))?;
            if !status.success() {
                return Err(format!("tar: {status}"));
            }
            let _ = std::fs::rename(own.join(&top), &unpacked);
            let _ = std::fs::remove_dir_all(&own);
        }
        Ok(Selftests {
            source: unpacked.join(PARTS[0]),
            objects,
            compiler,
        })
    }

    /// Has the programs compiled with the running kernel's types (`vmlinux.h`), which most of them
    /// include.
    ///
    /// # Errors
    /// With the reason, where the types cannot be had.
    pub fn with_kernel_types(mut self) -> Result<Selftests, String> {
        let text = |error: std::io::Error| error.to_string();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").map_err(text)?;
        let folder = format!("{}-{}", self.objects.display(), release.trim());
        self.objects = PathBuf::from(folder);
        std::fs::create_dir_all(&self.objects).map_err(text)?;
        let header = self.objects.join(HEADER);
        let _one = ONE.lock().map_err(|error| error.to_string())?;
        if header.is_file() {
            return Ok(self);
        }
        let types = "/sys/kernel/btf/vmlinux";
        let output = Command::new("bpftool")
            .args(["btf", "dump", "file", types, "format", "c"])
            .output()
            .map_err(|error| format!("bpftool: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(format!("bpftool: {said}"));
        }
        let own = self
            .objects
            .join(format!("{HEADER}-{}", std::process::id()));
        std::fs::write(&own, &output.stdout).map_err(text)?;
        std::fs::rename(&own, &header).map_err(text)?;
        Ok(self)
    }

    /// Gives the file that an object is kept in once it was compiled.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.objects.join(format!("{name}.o"))
    }

    /// Compiles `progs/<name>.c`, if that was not done before, and gives the object.
    ///
    /// # Errors
    /// With what the compiler says.
    pub fn object(&self, name: &str) -> Result<Vec<u8>, String> {
        let object = self.file(name);
        if let Ok(bytes) = std::fs::read(&object) {
            return Ok(bytes);
        }
        let (machine, arch) = match std::env::consts::ARCH {
            "aarch64" => ("aarch64-linux-gnu", "arm64"),
            "riscv64" => ("riscv64-linux-gnu", "riscv"),
            _ => ("x86_64-linux-gnu", "x86"),
        };
        let own = self
            .objects
            .join(format!("{name}-{}.tmp", std::process::id()));
        let output = Command::new(&self.compiler)
            .current_dir(&self.source)
            .args(["-g", "-O2", "-target", "bpf", "-mcpu=v3", "-c", "-o"])
            .arg(&own)
            .arg(format!("-D__TARGET_ARCH_{arch}"))
            .arg("-DENABLE_ATOMICS_TESTS")
            .arg("-I")
            .arg(&self.objects)
            .args(["-I.", "-Iprogs", "-I../../../include/uapi", "-idirafter"])
            .arg(format!("/usr/include/{machine}"))
            .arg(format!("progs/{name}.c"))
            .output()
            .map_err(|error| format!("{}: {error}", self.compiler))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let bytes = std::fs::read(&own).map_err(|error| error.to_string())?;
        let _ = std::fs::rename(&own, &object);
        Ok(bytes)
    }
}

/// Finds a compiler for eBPF: `KSCOPE_CLANG`, `clang`, or one with a version in its name.
#[must_use]
pub fn clang() -> Option<String> {
    let versions = (14..30).rev().map(|version| format!("clang-{version}"));
    let named = std::env::var("KSCOPE_CLANG").ok();
    let names = named
        .into_iter()
        .chain(["clang".to_owned()])
        .chain(versions);
    names.into_iter().find(|name| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    })
}
