//! Zones of memory: what is free in each, and where it begins to be short.

use kscope_memory::{Memory, Object, VirtAddr};

use super::ticks::{after, word};
use super::{Partly, Unread};
use crate::Error;
use crate::facts::kernel::Kernel;

/// Most nodes of a machine (`MAX_NUMNODES`).
const NODES: u64 = 1024;
/// Most zones of a node.
const ZONES: u64 = 16;

/// A zone of a node's memory. All numbers are pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryZone {
    /// Its node.
    pub node: u32,
    /// Its name: `DMA`, `Normal`, …
    pub name: String,
    /// Pages that are there.
    pub present: u64,
    /// Pages that the allocator hands out.
    pub managed: u64,
    /// Pages that are free.
    pub free: u64,
    /// Below this many free pages allocations have to wait for memory.
    pub min: u64,
    /// Below this many the kernel begins to free memory.
    pub low: u64,
    /// From this many on it leaves off.
    pub high: u64,
}

impl Kernel {
    /// Gives the zones of memory that have pages, by their nodes.
    ///
    /// # Errors
    /// Where the nodes are not found, or the kernel counts otherwise.
    pub fn memory_zones(&self) -> Result<Partly<MemoryZone>, Error> {
        let free = self.counter("NR_FREE_PAGES")?;
        let mut unread = Unread::default();
        let mut items = Vec::new();
        for node in nodes(self)? {
            for index in 0..self.zone_count()? {
                let path = format!("node_zones[{index}]");
                let zone = self
                    .object("pglist_data", node)?
                    .member(&path)
                    .map_err(Error::from)
                    .and_then(|zone| read(self, &zone, free));
                items.extend(unread.keep(zone).filter(|zone| zone.present > 0));
            }
        }
        Ok(Partly { items, unread })
    }

    fn zone_count(&self) -> Result<u64, Error> {
        let count = self.counter("__MAX_NR_ZONES")?;
        Ok(count.min(ZONES))
    }

    /// Gives the number of a counter or of another constant that the types have.
    pub(crate) fn counter(&self, name: &'static str) -> Result<u64, Error> {
        let found = self.btf()?.enumerator(name);
        let found = found.ok_or(Error::NoConstant(name))?;
        u64::try_from(found.value).map_err(|_| Error::NoConstant(name))
    }
}

/// Gives the addresses of the nodes.
fn nodes(kernel: &Kernel) -> Result<Vec<VirtAddr>, Error> {
    // A kernel without NUMA has one.
    let Some(table) = kernel.global("node_data") else {
        return Ok(vec![kernel.need("contig_page_data")?]);
    };
    let room = kernel.symbols()?.next_after(table);
    let room = room.and_then(|next| next.offset_from(table));
    let count = room.map_or(1, |room| room / 8).clamp(1, NODES);
    let mut found = Vec::new();
    for index in 0..count {
        let node = VirtAddr(kernel.read_u64(after(table, 8 * index))?);
        if node.is_kernel() {
            found.push(node);
        }
    }
    Ok(found)
}

fn read(kernel: &Kernel, zone: &Object<'_>, free: u64) -> Result<MemoryZone, Error> {
    let number = |path: &str| -> Result<u64, Error> { Ok(zone.member(path)?.value()?) };
    let present = number("present_pages")?;
    let name = match present {
        0 => Vec::new(),
        _ => zone.member("name")?.text(32)?,
    };
    let free = zone.member("vm_stat")?.index(free)?;
    // Raised for a while after memory was hard to get.
    let boost = match zone.member("watermark_boost") {
        Ok(boost) => boost.value()?,
        Err(_) => 0,
    };
    let mark = |name: &'static str| -> Result<u64, Error> {
        let index = kernel.counter(name)?;
        let mark = zone.member("_watermark")?.index(index)?.value()?;
        Ok(mark.saturating_add(boost))
    };
    Ok(MemoryZone {
        node: zone.member("zone_pgdat")?.member("node_id")?.value()? as u32,
        name: String::from_utf8_lossy(&name).into_owned(),
        present,
        managed: word(&zone.member("managed_pages")?, kernel)?,
        free: (word(&free, kernel)? as i64).max(0) as u64,
        min: mark("WMARK_MIN")?,
        low: mark("WMARK_LOW")?,
        high: mark("WMARK_HIGH")?,
    })
}
