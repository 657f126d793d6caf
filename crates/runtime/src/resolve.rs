//! Names for what programs send as numbers.

use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use kscope_bpf::Map;
use kscope_rows::time::{Dialect, format_time};
use kscope_rows::{Frame, Resolve, Stack};
use kscope_symbol::{KernelSymbolizer, UserNames};

use crate::clock::WallClock;

/// Stands for the working directory where a descriptor is expected.
const AT_FDCWD: i32 = -100;

/// Resolves with what the running kernel and its maps tell.
pub(crate) struct Resolver<'a> {
    pub(crate) symbols: &'a KernelSymbolizer,
    pub(crate) users: &'a UserNames,
    pub(crate) clock: &'a WallClock,
    pub(crate) kernel_stacks: Option<&'a Map>,
    pub(crate) trailer: &'a str,
}

impl Resolver<'_> {
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
        let Ok(key) = u32::try_from(id) else {
            let lost = i32::try_from(id.saturating_neg()).ok();
            return Stack {
                lost: lost.or(Some(0)),
                ..Stack::default()
            };
        };
        let stored = self
            .kernel_stacks
            .and_then(|map| map.lookup(&key.to_ne_bytes()).ok());
        let Some(bytes) = stored.flatten() else {
            return Stack::default();
        };
        let words = bytes.chunks_exact(8).map(|word| {
            let mut bytes = [0u8; 8];
            bytes.copy_from_slice(word);
            u64::from_ne_bytes(bytes)
        });
        let frames = words
            .take_while(|address| *address != 0)
            .map(|a| self.frame(a))
            .collect();
        Stack {
            frames,
            ..Stack::default()
        }
    }

    fn user_stack(&self, _id: i64, _pid: u32) -> Stack {
        Stack::default()
    }

    fn kernel_symbol(&self, address: u64) -> Option<Arc<str>> {
        let found = self.symbols.symbolize(kscope_memory::VirtAddr(address))?;
        Some(match found.offset {
            0 => found.name.into(),
            offset => format!("{}+{offset}", found.name).into(),
        })
    }

    fn user_symbol(&self, _address: u64, _pid: u32) -> Option<Arc<str>> {
        None
    }

    fn timestamp(&self, nanoseconds: u64, format: &str) -> String {
        format_time(
            format,
            &self.clock.at_boot_time(nanoseconds),
            Dialect::Strftime,
        )
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        self.users.name(uid).map(str::to_owned)
    }

    fn directory(&self, pid: u32, descriptor: i32) -> Option<Vec<u8>> {
        let process = Path::new("/proc").join(pid.to_string());
        let link = match descriptor {
            AT_FDCWD => process.join("cwd"),
            descriptor => process.join("fd").join(descriptor.to_string()),
        };
        let target = std::fs::read_link(link).ok()?;
        // A descriptor may be of something without a path by now.
        target
            .is_absolute()
            .then(|| target.into_os_string().into_vec())
    }

    fn truncation_trailer(&self) -> &str {
        self.trailer
    }
}
