//! What the installed libbpf says of an object, through a program of a few lines of C.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long libbpf may take for one object, and the verifier with it.
const LIMIT: Duration = Duration::from_secs(120);

/// The program that loads an object with libbpf.
#[derive(Clone, Debug)]
pub(crate) struct Libbpf {
    program: PathBuf,
    /// Its version, as it says it.
    pub(crate) version: String,
}

impl Libbpf {
    /// Compiles the program.
    ///
    /// # Errors
    /// With the reason, where libbpf or a compiler is missing.
    pub(crate) fn find() -> Result<Libbpf, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/libbpf_load.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("libbpf_load-{}", std::process::id()));
        let output = Command::new("cc")
            .args(["-O1", "-o"])
            .arg(&program)
            .arg(&source)
            .args(["-lbpf", "-lelf", "-lz"])
            .output()
            .map_err(|error| format!("cc: {error}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().next().unwrap_or_default();
            return Err(format!("libbpf cannot be linked: {first}"));
        }
        let output = Command::new(&program).output();
        let output = output.map_err(|error| error.to_string())?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Libbpf { program, version })
    }

    /// Loads an object; gives what libbpf said where it did not load whole.
    pub(crate) fn load(&self, object: &Path) -> Result<(), String> {
        let child = Command::new(&self.program)
            .arg(object)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|error| error.to_string())?;
        let until = Instant::now() + LIMIT;
        while child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() >= until {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not loaded within {} s", LIMIT.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let output = child.wait_with_output();
        let output = output.map_err(|error| error.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        }
    }
}

impl Drop for Libbpf {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.program);
    }
}
