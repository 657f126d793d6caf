//! A BPF file system of a test's own.

use std::path::PathBuf;
use std::process::Command;

use kscope_bpf::sys::SharedKernel;

/// A mounted BPF file system, unmounted when dropped.
#[derive(Debug)]
pub struct Pins(PathBuf);

impl Pins {
    /// Mounts one in a folder of its own.
    ///
    /// # Errors
    ///
    /// The reason to skip.
    pub fn mount(kernel: &SharedKernel) -> Result<Pins, String> {
        let thread = format!("{:?}", std::thread::current().id());
        let number: String = thread.chars().filter(char::is_ascii_digit).collect();
        let name = format!("kscope-pins-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        match kernel.mount("bpf", &path) {
            Ok(()) => Ok(Pins(path)),
            Err(errno) => {
                let _ = std::fs::remove_dir(&path);
                Err(format!("no BPF file system: {errno}"))
            }
        }
    }

    /// Gives the path of a pin.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}
