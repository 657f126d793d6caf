//! Names for what programs send as numbers.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use kscope_bpf::Map;
use kscope_rows::time::{Dialect, format_time};
use kscope_rows::{Cut, Directory, Frame, Resolve, Stack, StackMode};
use kscope_script::lower::MORE_STACKS_MARK;
use kscope_symbol::{KernelSymbolizer, UserNames, UserSymbolizer};

use crate::cgroups::Cgroups;
use crate::clock::WallClock;

/// Stands for the working directory where a descriptor is expected.
const AT_FDCWD: i32 = -100;

/// Opens what a path names without using it (include/uapi/asm-generic/fcntl.h).
const O_PATH: i32 = 0o10_000_000;

/// Resolves with what the running kernel and its maps tell.
pub(crate) struct Resolver<'a> {
    pub(crate) symbols: &'a KernelSymbolizer,
    pub(crate) users: &'a UserNames,
    pub(crate) clock: &'a WallClock,
    /// The map of kernel stacks, and that of those whose place another has there.
    pub(crate) kernel_stacks: [Option<&'a Map>; 2],
    pub(crate) user_stacks: [Option<&'a Map>; 2],
    /// What processes have mapped.
    pub(crate) processes: &'a UserSymbolizer,
    pub(crate) cgroups: &'a Cgroups,
    /// Stacks whose frames could not be read back from the map.
    pub(crate) unread_stacks: &'a Cell<u64>,
    pub(crate) cuts: &'a Cuts,
    pub(crate) trailer: &'a str,
}

/// How many values were cut, each time they were read.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    pub(crate) strings: Cell<u64>,
    pub(crate) arguments: Cell<u64>,
}

impl Cuts {
    /// Counts one.
    pub(crate) fn note(&self, cut: Cut) {
        let count = match cut {
            Cut::String => &self.strings,
            Cut::Arguments => &self.arguments,
        };
        count.set(count.get() + 1);
    }
}

/// `ENOENT` on every Linux.
const NOT_THERE: i32 = 2;

impl Resolver<'_> {
    /// Reads a stack from its map and names its addresses.
    fn stored(&self, maps: [Option<&Map>; 2], id: i64, frame: impl Fn(u64) -> Frame) -> Stack {
        let Ok(key) = u32::try_from(id) else {
            let lost = i32::try_from(id.saturating_neg()).ok();
            return Stack {
                lost: lost.or(Some(0)),
                ..Stack::default()
            };
        };
        let [map, more] = maps;
        let (map, key) = match key & MORE_STACKS_MARK {
            0 => (map, key),
            mark => (more, key & !mark),
        };
        let stored = match map {
            Some(map) => map.lookup(&key.to_ne_bytes()),
            None => Ok(None),
        };
        let errno = match stored {
            Ok(Some(bytes)) => {
                let words = bytes.chunks_exact(8).filter_map(<[u8]>::first_chunk::<8>);
                let addresses = words.map(|word| u64::from_ne_bytes(*word));
                let frames = addresses.take_while(|address| *address != 0).map(frame);
                return Stack {
                    frames: frames.collect(),
                    ..Stack::default()
                };
            }
            Ok(None) => NOT_THERE,
            Err(error) => error.errno().map_or(NOT_THERE, |errno| errno.0),
        };
        self.unread_stacks.set(self.unread_stacks.get() + 1);
        Stack {
            lost: Some(errno),
            ..Stack::default()
        }
    }

    fn user_frame(&self, pid: u32, address: u64, mode: StackMode) -> Frame {
        let plain = Frame {
            address,
            symbol: None,
            offset: 0,
            module: None,
        };
        match mode {
            StackMode::Raw => plain,
            StackMode::BuildId => match self.processes.build_id(pid, address) {
                Some(found) => Frame {
                    symbol: Some(found.id),
                    offset: found.offset,
                    ..plain
                },
                None => plain,
            },
            StackMode::Bpftrace | StackMode::Perf => match self.processes.symbolize(pid, address) {
                Some(found) => Frame {
                    symbol: Some(found.name),
                    offset: found.offset,
                    module: Some(found.module),
                    ..plain
                },
                None => plain,
            },
        }
    }

    fn frame(&self, address: u64) -> Frame {
        let found = self.symbols.symbolize(kscope_memory::VirtAddr(address));
        match found {
            Some(symbol) => Frame {
                address,
                symbol: Some(symbol.name.into()),
                offset: symbol.offset,
                module: symbol.module.map(Into::into),
            },
            None => Frame {
                address,
                symbol: None,
                offset: 0,
                module: None,
            },
        }
    }
}

impl Resolve for Resolver<'_> {
    fn kernel_stack(&self, id: i64) -> Stack {
        self.stored(self.kernel_stacks, id, |address| self.frame(address))
    }

    fn user_stack(&self, id: i64, pid: u32, mode: StackMode) -> Stack {
        self.stored(self.user_stacks, id, |address| {
            self.user_frame(pid, address, mode)
        })
    }

    fn kernel_symbol(&self, address: u64) -> Option<Arc<str>> {
        let found = self.symbols.symbolize(kscope_memory::VirtAddr(address))?;
        Some(found.name.into())
    }

    fn user_symbol(&self, address: u64, pid: u32) -> Option<Arc<str>> {
        let found = self.processes.symbolize(pid, address)?;
        Some(match found.offset {
            0 => found.name,
            offset => format!("{}+{offset}", found.name).into(),
        })
    }

    fn timestamp(&self, nanoseconds: u64, format: &str) -> String {
        format_time(
            format,
            &self.clock.of_reading(nanoseconds),
            Dialect::Strftime,
        )
    }

    fn wall_clock(&self, nanoseconds: u64, format: &str) -> String {
        format_time(format, &self.clock.local(nanoseconds), Dialect::Strftime)
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        self.users.name(uid).map(str::to_owned)
    }

    fn directory(&self, wanted: Directory) -> Option<Vec<u8>> {
        if wanted.inode == 0 {
            return None;
        }
        let process = Path::new("/proc").join(wanted.pid.to_string());
        let link = match wanted.descriptor {
            AT_FDCWD => process.join("cwd"),
            descriptor => process.join("fd").join(descriptor.to_string()),
        };
        // The process may go elsewhere at any time: what is compared is what is then named.
        let found = OpenOptions::new()
            .read(true)
            .custom_flags(O_PATH)
            .open(link)
            .ok()?;
        let metadata = found.metadata().ok()?;
        let is_same = metadata.is_dir()
            && metadata.nlink() > 0
            && metadata.ino() == wanted.inode
            && kernel_device(metadata.dev()) == wanted.device;
        if !is_same {
            return None;
        }
        let target = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
        target
            .is_absolute()
            .then(|| target.into_os_string().into_vec())
    }

    fn cgroup_path(&self, id: u64, filter: &str) -> Option<String> {
        Some(self.cgroups.paths(id, filter))
    }

    fn truncation_trailer(&self) -> &str {
        self.trailer
    }

    fn note_cut(&self, cut: Cut) {
        self.cuts.note(cut);
    }
}

/// Numbers a device as the kernel does within itself, from how system calls tell it
/// (include/linux/kdev_t.h).
fn kernel_device(told: u64) -> u64 {
    let major = (told >> 8) & 0xfff;
    let minor = (told & 0xff) | ((told >> 12) & 0xfff00);
    (major << 20) | minor
}

#[cfg(test)]
mod tests {
    use super::kernel_device;

    #[test]
    fn devices_are_numbered_as_in_the_kernel() {
        let check = |told, expected| assert_eq!(kernel_device(told), expected, "{told:#x}");
        check(0xfe00, 0xfe0_0000);
        check(0x801, 0x80_0001);
        check(0x0010_0023, 0x123);
        check(0xfff0_0103, 0x1f_ff03);
    }
}
