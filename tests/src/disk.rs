//! Work for a block device.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use kscope_bpf::btf::Kind;

use crate::assembly::kernel_types;

/// Writes this many bytes out to a device: in guests to a loop device, elsewhere to a file beside the
/// tests. Tells whether that surely was a block device.
///
/// # Errors
///
/// The reason to skip.
///
/// # Panics
///
/// Where the bytes cannot be written.
pub fn write(bytes: usize) -> Result<bool, String> {
    if std::env::var_os("KSCOPE_GUEST").is_some() {
        let device = Loop::new()?;
        write_to(Path::new(Loop::DEVICE), bytes);
        drop(device);
        return Ok(true);
    }
    let program = std::env::current_exe().expect("proc");
    let path = program.with_file_name(format!("kscope-disk-{}", std::process::id()));
    write_to(&path, bytes);
    std::fs::remove_file(&path).expect("ours");
    Ok(false)
}

/// Tells whether a request that begins comes with its queue: what is told of it has two arguments then,
/// beside the one that every tracepoint has.
#[must_use]
pub fn tells_queue() -> bool {
    let arguments = kernel_types().and_then(|types| {
        let pointer = types.resolve(types.find("btf_trace_block_rq_issue", Kind::Typedef)?)?;
        Some(types.prototype(pointer)?.params().len())
    });
    arguments.is_some_and(|count| count > 2)
}

fn write_to(path: &Path, bytes: usize) {
    let mut options = File::options();
    options.write(true).create(!path.starts_with("/dev"));
    let file = options.open(path).expect("writable");
    file.write_all_at(&vec![7; bytes], 0).expect("written");
    file.sync_all().expect("written out");
}

/// A loop device, freed when dropped.
struct Loop {
    backing: PathBuf,
}

impl Loop {
    const DEVICE: &str = "/dev/loop0";

    fn new() -> Result<Loop, String> {
        let backing = std::env::temp_dir().join("kscope-disk");
        std::fs::write(&backing, vec![0; 4 << 20]).map_err(|error| error.to_string())?;
        let device = Loop { backing };
        let done = Command::new("losetup")
            .arg(Loop::DEVICE)
            .arg(&device.backing)
            .status();
        match done {
            Ok(status) if status.success() => Ok(device),
            other => Err(format!("losetup: {other:?}")),
        }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", Loop::DEVICE]).status();
        let _ = std::fs::remove_file(&self.backing);
    }
}
