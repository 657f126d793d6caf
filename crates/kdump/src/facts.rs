//! What is known of the machine, gathered once: plain data, on which everything else is decided.

pub(crate) mod image;
pub(crate) mod kernel;
pub(crate) mod target;

use std::path::PathBuf;

use crate::Error;
use crate::capture::keep::is_crash;
use crate::config::Config;
use crate::last_test::LastTest;
use crate::root::Root;
pub use image::ImageFacts;
pub use kernel::KernelFacts;
pub use target::{DiskFacts, KeyFault, SshFacts, TargetFacts};

/// What is known of the machine.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The running kernel.
    pub kernel: KernelFacts,
    /// The image and the initial file system of the capture.
    pub image: ImageFacts,
    /// Where dumps go.
    pub target: TargetFacts,
    /// The crashes that are there, where the target is a folder that can be looked into.
    pub crashes: Vec<Crash>,
    /// The last test.
    pub last_test: Option<LastTest>,
    /// The static shell of the configuration is there.
    pub has_shell: bool,
}

/// A crash that was captured before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crash {
    /// Its folder's name.
    pub name: String,
    /// Bytes of the dump; none where there is none.
    pub dump: Option<u64>,
    /// The log is there.
    pub has_log: bool,
    /// Names of what was not written to its end.
    pub incomplete: Vec<String>,
    /// What the capture says of itself: the text of its `status`.
    pub status: Option<String>,
}

impl Facts {
    /// Gathers all there is.
    ///
    /// # Errors
    /// Where the kernel's release cannot be read.
    pub fn gather(root: &Root, config: &Config) -> Result<Facts, Error> {
        let kernel = KernelFacts::gather(root)?;
        let target = TargetFacts::gather(root, config);
        let image = ImageFacts::gather(root, config, &kernel, &target);
        let crashes = match &target {
            TargetFacts::Disk(DiskFacts {
                here: Some(folder), ..
            }) => crashes(root, folder),
            _ => Vec::new(),
        };
        Ok(Facts {
            crashes,
            last_test: LastTest::read(root),
            has_shell: root.exists(&config.shell),
            kernel,
            image,
            target,
        })
    }
}

/// Lists the crashes in a folder, the oldest first.
fn crashes(root: &Root, folder: &PathBuf) -> Vec<Crash> {
    let names = root.names(folder).into_iter().filter(|name| is_crash(name));
    let crash = |name: String| {
        let place = folder.join(&name);
        let files = root.names(&place);
        let size = |name: &str| {
            let meta = std::fs::metadata(root.path(place.join(name))).ok();
            meta.map(|meta| meta.len())
        };
        Crash {
            dump: size("vmcore").or_else(|| size("vmcore.flat")),
            has_log: files.iter().any(|name| name == "dmesg.txt"),
            incomplete: files
                .iter()
                .filter(|name| name.ends_with("-incomplete"))
                .cloned()
                .collect(),
            status: root.text(place.join("status")).ok(),
            name,
        }
    };
    names.map(crash).collect()
}
