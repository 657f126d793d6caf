//! `kscope crash VMCORE slabs`

use clap::Args;
use kscope_rows::Value;

use super::analysis::{Analysis, Ask, Need};
use super::{failed, tell_unread};
use crate::commands::bpf::listing::{Holds, Listing, number, text};
use crate::error::Failure;

/// Print the caches of objects, the largest first, as /proc/slabinfo does
#[derive(Args, Debug)]
pub(super) struct SlabsArgs {
    /// Also print those without slabs
    #[arg(short, long)]
    all: bool,
}

impl Analysis for SlabsArgs {
    fn needs(&self) -> &'static [Need] {
        &[
            Need::Symbol("slab_caches"),
            Need::Member("kmem_cache", "object_size"),
            Need::OneOf("kmem_cache", &["node", "per_node"]),
            // Kept where the kernel was built for it (CONFIG_SLUB_DEBUG).
            Need::Member("kmem_cache_node", "total_objects"),
        ]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let (kernel, json) = (ask.kernel, ask.json);
        let caches = kernel.slab_caches();
        let mut caches = caches.map_err(|error| failed("cannot read the caches", &error))?;
        // Stable: those of one size keep the order of the kernel.
        caches
            .items
            .sort_by_key(|cache| std::cmp::Reverse(cache.memory()));
        let columns = [
            ("object_size", Holds::Number),
            ("size", Holds::Number),
            ("active", Holds::Number),
            ("objects", Holds::Number),
            ("slabs", Holds::Number),
            ("slab_kb", Holds::Number),
            ("memory_kb", Holds::Number),
            ("name", Holds::Text),
        ];
        let mut listing = Listing::new("slabs", &columns);
        for cache in caches
            .items
            .iter()
            .filter(|cache| self.all || cache.slabs > 0)
        {
            listing.push(vec![
                number(cache.object_size),
                number(cache.size),
                cache.active.map_or(Value::None, number),
                number(cache.objects),
                number(cache.slabs),
                number(cache.slab_size >> 10),
                number(cache.memory() >> 10),
                text(cache.name.clone()),
            ]);
        }
        listing.print(json)?;
        tell_unread("caches, or free objects of one,", &caches.unread);
        Ok(())
    }
}
