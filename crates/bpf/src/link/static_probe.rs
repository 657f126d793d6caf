//! USDT probes: places that a program's author marked, with arguments.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use kscope_btf::nearest;
use kscope_sys::Kernel;

use super::{Link, Uprobe, UprobePlace};
use crate::error::Error;
use crate::executable::{self, Executable};
use crate::features::{Support, perf_cookie};
use crate::loader::Object;
use crate::map::{Map, UpdateMode};
use crate::program::Program;
use crate::usdt::{self, SPEC};

/// Which USDT probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usdt<'a> {
    /// The program or library.
    pub path: &'a Path,
    /// The probe's provider.
    pub provider: &'a str,
    /// The probe's name.
    pub name: &'a str,
    /// The one process that counts; `None` for all.
    pub pid: Option<u32>,
    /// What `bpf_usdt_cookie` of libbpf's `usdt.bpf.h` gives the program, or
    /// `bpf_get_attach_cookie` where the object does not use that header.
    pub cookie: u64,
}

/// The maps of libbpf's `usdt.bpf.h`.
const SPECS: &str = "__bpf_usdt_specs";
/// Which entry of the former belongs to an address, for kernels without cookies.
const BY_ADDRESS: &str = "__bpf_usdt_ip_to_spec_id";

impl Object {
    /// Attaches a program of this object to all places of a USDT probe, with the semaphore that
    /// tells the probed program that somebody listens. An object made with libbpf's `usdt.bpf.h`
    /// gets the arguments' places in the map that the header declares: one entry for each place that
    /// differs (`BPF_USDT_MAX_SPEC_CNT`), which stays taken when the link is gone, as others may share
    /// the map.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a file without this probe; [`Error::Invalid`] for arguments that
    /// cannot be described; else as [`Program::attach_uprobe`].
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.15 for the arguments; before, an object made with `usdt.bpf.h` gets those of a program
    /// that is not position-independent, or of the one process that the probe names.
    pub fn attach_usdt(&self, program: &Program, probe: &Usdt<'_>) -> Result<Link, Error> {
        let target = format!(
            "usdt:{}:{}:{}",
            probe.path.display(),
            probe.provider,
            probe.name
        );
        let bytes = executable::read(&*program.kernel, probe.path)?;
        let file = Executable::parse(&bytes)?;
        let places = file.usdt(probe.provider, probe.name);
        if places.is_empty() {
            return Err(absent(&file, probe));
        }
        let specs = self.map_named(SPECS);
        // Where the program cannot be told by a cookie which place it runs at, it looks the address up.
        let has_cookies = match specs {
            None => true,
            Some(_) => match perf_cookie(&program.kernel) {
                Support::Available => true,
                Support::Missing { .. } => false,
                // What the kernel has is not known, and nothing could be attached.
                Support::Refused { why: cause } => {
                    let call = "attaching a USDT probe";
                    return Err(Error::permission(call, cause));
                }
            },
        };
        let mut links = Vec::new();
        for place in places {
            let cookie = match specs {
                None => probe.cookie,
                Some(map) => {
                    let spec = usdt::spec(file.machine, &place.arguments, probe.cookie)?;
                    let entry = entry_for(map, &spec)?;
                    match has_cookies {
                        true => u64::from(entry),
                        false => {
                            let address = address_of(&*program.kernel, &file, probe, place.offset)?;
                            self.tell_entry(address, entry)?;
                            0
                        }
                    }
                }
            };
            links.push(program.attach_uprobe(&Uprobe {
                path: probe.path,
                place: UprobePlace {
                    offset: place.offset,
                    counter: place.semaphore,
                    cookie,
                },
                on_return: false,
                pid: probe.pid,
            })?);
        }
        Ok(Link::joined(&program.kernel, links, target))
    }
}

impl Object {
    /// Writes down which entry of the map of specs belongs to an address.
    fn tell_entry(&self, address: u64, entry: u32) -> Result<(), Error> {
        let map = self.map_named(BY_ADDRESS).ok_or_else(|| {
            Error::unsupported(
                format!("arguments of USDT probes without a map {BY_ADDRESS} (usdt.bpf.h has it)"),
                "Linux 5.15",
            )
        })?;
        map.update(
            &address.to_ne_bytes(),
            &entry.to_ne_bytes(),
            UpdateMode::Any,
        )
    }
}

/// Says that a file has no such probe, and which are near.
pub(super) fn absent(file: &Executable<'_>, probe: &Usdt<'_>) -> Error {
    let wanted = format!("{}:{}", probe.provider, probe.name);
    let known = file.usdt_names();
    let near = nearest(&wanted, known.iter().map(String::as_str), 3);
    let name = format!("{}:{wanted}", probe.path.display());
    Error::not_found_near("USDT probe", name, near)
}

/// Finds the address that a place has in the processes that are probed.
fn address_of(
    kernel: &dyn Kernel,
    file: &Executable<'_>,
    probe: &Usdt<'_>,
    offset: u64,
) -> Result<u64, Error> {
    let shown = || probe.path.display().to_string();
    if file.is_fixed() {
        let address = file.address_of(offset);
        return address.ok_or_else(|| Error::not_found("code of the probe", shown()));
    }
    let pid = probe.pid.ok_or_else(|| {
        Error::unsupported(
            format!(
                "arguments of USDT probes of all processes that map {}, a position-independent file \
                 (name one process)",
                shown()
            ),
            "Linux 5.15",
        )
    })?;
    let maps = kernel.read_file(Path::new(&format!("/proc/{pid}/maps")));
    let maps = maps.map_err(|_| Error::not_found("process", pid.to_string()))?;
    let identity = kernel.identity(probe.path);
    let identity = identity.map_err(|errno| Error::os("stat", errno, shown()))?;
    let maps = String::from_utf8_lossy(&maps);
    let address = maps.lines().find_map(|line| {
        let mapped = mapped_at(line, identity.inode, offset)?;
        // File systems with volumes of their own (btrfs) have other numbers here than stat(2) gives:
        // then the mapping's own file tells, to those who may look.
        let is_same = mapped.device == (identity.major, identity.minor) || {
            let file = format!("/proc/{pid}/map_files/{}", mapped.range);
            kernel.identity(Path::new(&file)).as_ref() == Ok(&identity)
        };
        is_same.then_some(mapped.address)
    });
    address
        .ok_or_else(|| Error::not_found("mapping of the probed file in process", pid.to_string()))
}

/// A place in a file, as a process has it in memory.
#[derive(Debug, PartialEq, Eq)]
struct Mapped<'a> {
    address: u64,
    /// First and last address, by which the mapping is named.
    range: &'a str,
    /// Major and minor number of the file's device.
    device: (u32, u32),
}

/// Reads a line of `/proc/PID/maps` that executes this offset of a file of this inode number.
fn mapped_at(line: &str, inode: u64, offset: u64) -> Option<Mapped<'_>> {
    let mut words = line.split_whitespace();
    let range = words.next()?;
    let (first, last) = range.split_once('-')?;
    let executable = words.next()?.contains('x');
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (first, last, start) = (number(first)?, number(last)?, number(words.next()?)?);
    let (major, minor) = words.next()?.split_once(':')?;
    let part = |text| u32::from_str_radix(text, 16).ok();
    let device = (part(major)?, part(minor)?);
    let same = words.next()?.parse() == Ok(inode);
    let address = first.checked_add(offset.checked_sub(start)?)?;
    (executable && same && address < last).then_some(Mapped {
        address,
        range,
        device,
    })
}

/// Held while an entry is looked for, so that threads do not take the same one.
static ENTRIES: Mutex<()> = Mutex::new(());

/// Finds the entry of the map of specs that holds this one, or puts it into a free one.
///
/// An array has no update that only creates, so another process that shares the map (pinned) may
/// write the entry between the look and the update: what is there afterwards counts.
fn entry_for(map: &Map, spec: &[u8; SPEC]) -> Result<u32, Error> {
    if map.value_size() != SPEC {
        return Err(Error::invalid(format!(
            "map {} has entries of {} bytes, not of the {SPEC} that usdt.bpf.h has",
            map.name(),
            map.value_size()
        )));
    }
    let _held = ENTRIES.lock().unwrap_or_else(PoisonError::into_inner);
    for index in 0..map.max_entries() {
        let key = index.to_ne_bytes();
        let mut there = map.lookup(&key)?.unwrap_or_default();
        if !usdt::in_use(&there) {
            map.update(&key, spec, UpdateMode::Any)?;
            there = map.lookup(&key)?.unwrap_or_default();
        }
        if there == spec {
            return Ok(index);
        }
    }
    Err(Error::invalid(format!(
        "more than {} different places of USDT probes; define BPF_USDT_MAX_SPEC_CNT as more",
        map.max_entries()
    )))
}

#[cfg(test)]
mod tests;
