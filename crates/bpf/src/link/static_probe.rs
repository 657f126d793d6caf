//! USDT probes: places that a program's author marked, with arguments.

use std::path::Path;

use super::{Link, Uprobe, UprobePlace};
use crate::error::Error;
use crate::executable::{self, Executable};
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

impl Object {
    /// Attaches a program of this object to all places of a USDT probe, with the semaphore that
    /// tells the probed program that somebody listens. An object made with libbpf's `usdt.bpf.h`
    /// gets the arguments' places in the map that the header declares.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a file without this probe; [`Error::Invalid`] for arguments that
    /// cannot be described; else as [`Program::attach_uprobe`].
    ///
    /// # Minimum kernel version
    ///
    /// Linux 5.15 for the arguments.
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
            return Err(Error::not_found("probe", target));
        }
        let specs = self.map_named(SPECS);
        let mut links = Vec::new();
        for place in places {
            let cookie = match specs {
                None => probe.cookie,
                Some(map) => {
                    let spec = usdt::spec(file.machine, &place.arguments, probe.cookie)?;
                    u64::from(entry_for(map, &spec)?)
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

/// Finds the entry of the map of specs that holds this one, or puts it into a free one. The first
/// entry stays free: a probe whose cookie is 0 asks for it.
fn entry_for(map: &Map, spec: &[u8; SPEC]) -> Result<u32, Error> {
    if map.value_size() != SPEC {
        return Err(Error::invalid(format!(
            "map {} has entries of {} bytes, not of the {SPEC} that usdt.bpf.h has",
            map.name(),
            map.value_size()
        )));
    }
    for index in 0..map.max_entries() {
        let key = index.to_ne_bytes();
        let there = map.lookup(&key)?.unwrap_or_default();
        if there == spec {
            return Ok(index);
        }
        if !usdt::in_use(&there) {
            map.update(&key, spec, UpdateMode::Any)?;
            return Ok(index);
        }
    }
    Err(Error::invalid(format!(
        "more than {} different places of USDT probes; define BPF_USDT_MAX_SPEC_CNT as more",
        map.max_entries()
    )))
}
