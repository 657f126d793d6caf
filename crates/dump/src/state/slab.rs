//! The kernel's caches of objects (SLUB), as /proc/slabinfo counts them.

use kscope_memory::{FieldAt, Memory, Object, ObjectError, VirtAddr};

use super::ticks::{after, word};
use super::{Partly, Unread};
use crate::Error;
use crate::facts::kernel::Kernel;
use crate::walk::list;

/// Most caches.
const CACHES: usize = 1 << 16;
/// Most slabs of a node that are in part free, of a CPU, or arrays of free objects of a node.
const SLABS: usize = 1 << 20;
/// Most objects of a slab: the kernel counts them in 15 bits.
const OBJECTS: usize = 1 << 15;
/// Most nodes of a machine.
const NODES: u32 = 1024;
/// Bytes of a page (x86_64).
const PAGE: u64 = 4096;
/// Largest order of pages.
const ORDER: u64 = 20;

/// A cache of objects of one size.
#[derive(Clone, Debug)]
pub struct SlabCache {
    /// The address of its `struct kmem_cache`.
    pub addr: VirtAddr,
    /// Its name.
    pub name: String,
    /// Bytes of an object.
    pub object_size: u64,
    /// Bytes that each takes.
    pub size: u64,
    /// Bytes of a slab.
    pub slab_size: u64,
    /// Slabs.
    pub slabs: u64,
    /// Objects in them.
    pub objects: u64,
    /// Objects in use; none where free ones could not be counted.
    pub active: Option<u64>,
}

impl SlabCache {
    /// Gives the bytes of all its slabs.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.slabs.saturating_mul(self.slab_size)
    }
}

impl Kernel {
    /// Gives the caches of objects, in the order of the kernel's list: the newest first.
    ///
    /// # Errors
    /// Where the list is not found or the kernel keeps its caches otherwise.
    pub fn slab_caches(&self) -> Result<Partly<SlabCache>, Error> {
        let head = self.variable("slab_caches")?.addr();
        let layout = Layout::of(self)?;
        let mut unread = Unread::default();
        let walked = list(self, head, layout.link.offset, CACHES);
        let mut items = Vec::new();
        for addr in unread.walked(walked) {
            self.proceed()?;
            let read = layout.read(addr, &mut unread);
            items.extend(unread.keep(read));
        }
        Ok(Partly { items, unread })
    }
}

/// Where the kernel keeps what of its caches.
struct Layout<'k> {
    kernel: &'k Kernel,
    cpus: Vec<u32>,
    /// How many nodes a cache has room for.
    nodes: u64,
    link: FieldAt,
    /// What is written over pointers to free objects (CONFIG_SLAB_FREELIST_HARDENED).
    random: Option<FieldAt>,
    node: Nodes,
    slab: Slab,
    /// What CPUs take objects from (before 7.0).
    cpu: Option<Cpu>,
    /// Arrays of free objects (since 6.18).
    sheaves: Option<Sheaves>,
}

/// The nodes of a cache.
enum Nodes {
    Pointers(FieldAt),
    /// Beside their arrays of free objects (since 7.0).
    Pairs(FieldAt),
}

/// A slab: its own structure, before 5.17 the page.
struct Slab {
    type_name: &'static str,
    list: FieldAt,
    next: Option<FieldAt>,
    inuse: FieldAt,
    objects: FieldAt,
}

struct Cpu {
    pointer: FieldAt,
    freelist: FieldAt,
    slab: FieldAt,
    partial: Option<FieldAt>,
}

struct Sheaves {
    pointer: FieldAt,
    of_cpu: Vec<FieldAt>,
    size: FieldAt,
    link: FieldAt,
}

impl<'k> Layout<'k> {
    fn of(kernel: &'k Kernel) -> Result<Layout<'k>, Error> {
        let btf = kernel.btf()?;
        let cache = |path: &str| FieldAt::of(btf, "kmem_cache", path);
        let has_slab = FieldAt::of(btf, "slab", "slab_cache").is_ok();
        let type_name = if has_slab { "slab" } else { "page" };
        let slab = |path: &str| FieldAt::of(btf, type_name, path);
        let node = match cache("node") {
            Ok(pointers) => Nodes::Pointers(pointers),
            Err(error) => Nodes::Pairs(cache("per_node").map_err(|_| error)?),
        };
        let cpu = |pointer: FieldAt| -> Result<Cpu, ObjectError> {
            let cpu = |path: &str| FieldAt::of(btf, "kmem_cache_cpu", path);
            Ok(Cpu {
                pointer,
                freelist: cpu("freelist")?,
                slab: cpu("slab").or_else(|_| cpu("page"))?,
                partial: cpu("partial").ok(),
            })
        };
        let sheaves = |pointer: FieldAt| -> Result<Sheaves, ObjectError> {
            let of_cpu = |path: &str| FieldAt::of(btf, "slub_percpu_sheaves", path);
            Ok(Sheaves {
                pointer,
                of_cpu: vec![of_cpu("main")?, of_cpu("spare")?, of_cpu("rcu_free")?],
                size: FieldAt::of(btf, "slab_sheaf", "size")?,
                link: FieldAt::of(btf, "slab_sheaf", "barn_list")?,
            })
        };
        // Without NUMA there is one node.
        let nodes = match kernel.global("nr_node_ids") {
            Some(at) => kernel.read_u32(at)?.clamp(1, NODES),
            None => 1,
        };
        Ok(Layout {
            kernel,
            cpus: kernel.cpus("__cpu_possible_mask")?,
            nodes: nodes.into(),
            link: cache("list")?,
            random: cache("random").ok(),
            node,
            slab: Slab {
                type_name,
                list: slab("slab_list")?,
                next: slab("next").ok(),
                inuse: slab("inuse")?,
                objects: slab("objects")?,
            },
            cpu: cache("cpu_slab").ok().map(cpu).transpose()?,
            sheaves: cache("cpu_sheaves").ok().map(sheaves).transpose()?,
        })
    }

    fn read(&self, addr: VirtAddr, unread: &mut Unread) -> Result<SlabCache, Error> {
        let cache = self.kernel.object("kmem_cache", addr)?;
        let number = |path: &str| -> Result<u64, Error> { Ok(cache.member(path)?.value()?) };
        // Sixteen bits of objects, and above them the order of pages.
        let order = number("oo.x")? >> 16;
        let name = cache.member("name")?.text(64)?;
        let mut found = SlabCache {
            addr,
            name: String::from_utf8_lossy(&name).into_owned(),
            object_size: number("object_size")?,
            size: number("size")?,
            slab_size: PAGE << order.min(ORDER),
            slabs: 0,
            objects: 0,
            active: None,
        };
        let mut free = Ok(0u64);
        let mut add = |more: Result<u64, Error>| match (&mut free, more) {
            (Ok(free), Ok(more)) => *free = free.saturating_add(more),
            (Ok(_), Err(error)) => free = Err(error),
            (Err(_), _) => {}
        };
        for index in 0..self.nodes {
            let (node, barn) = self.node(&cache, index)?;
            if node.0 == 0 {
                continue;
            }
            let node = self.kernel.object("kmem_cache_node", node)?;
            // Kept since the kernel's first days, but for small machines (CONFIG_SLUB_DEBUG).
            let count = |path: &str| word(&node.member(path)?, self.kernel);
            found.slabs = found.slabs.saturating_add(count("nr_slabs")?);
            found.objects = found.objects.saturating_add(count("total_objects")?);
            add(self.in_partial(&node));
            if barn.0 != 0 {
                add(self.in_barn(barn));
            }
        }
        for &cpu in &self.cpus {
            add(self.on_cpu(&cache, cpu));
            add(self.in_sheaves(&cache, cpu));
        }
        found.active = unread
            .keep(free)
            .map(|free| found.objects.saturating_sub(free));
        Ok(found)
    }

    /// Gives a node of a cache, and its arrays of free objects.
    fn node(&self, cache: &Object<'_>, index: u64) -> Result<(VirtAddr, VirtAddr), Error> {
        match self.node {
            // Caches have less room than their type says.
            Nodes::Pointers(field) => {
                let at = after(cache.field(field)?.addr(), 8 * index);
                Ok((VirtAddr(self.kernel.read_u64(at)?), VirtAddr(0)))
            }
            Nodes::Pairs(field) => {
                let pair = cache.field(field)?.index(index)?;
                let pointer = |path: &str| pair.member(path)?.pointer();
                Ok((pointer("node")?, pointer("barn")?))
            }
        }
    }

    fn free_of(&self, slab: VirtAddr) -> Result<u64, Error> {
        self.kernel.proceed()?;
        let slab = self.kernel.object(self.slab.type_name, slab)?;
        let inuse = slab.field(self.slab.inuse)?.value()?;
        let objects = slab.field(self.slab.objects)?.value()?;
        Ok(objects.saturating_sub(inuse))
    }

    /// Counts free objects of the slabs of a node that have some.
    fn in_partial(&self, node: &Object<'_>) -> Result<u64, Error> {
        let head = node.member("partial")?.addr();
        let walked = list(self.kernel, head, self.slab.list.offset, SLABS);
        if let Some(fault) = walked.fault {
            return Err(fault);
        }
        let mut slabs = walked.items.into_iter();
        slabs.try_fold(
            0u64,
            |sum, slab| Ok(sum.saturating_add(self.free_of(slab)?)),
        )
    }

    /// Counts what a CPU has of a slab that it took, and of those it keeps for later.
    fn on_cpu(&self, cache: &Object<'_>, cpu: u32) -> Result<u64, Error> {
        let Some(layout) = &self.cpu else {
            return Ok(0);
        };
        let pointer = cache.field(layout.pointer)?.pointer()?;
        if pointer.0 == 0 {
            return Ok(0);
        }
        let own = self.kernel.per_cpu(pointer, cpu)?;
        let own = self.kernel.object("kmem_cache_cpu", own)?;
        let mut free = self.freelist(cache, own.field(layout.freelist)?.pointer()?)?;
        let slab = own.field(layout.slab)?.pointer()?;
        if slab.0 != 0 {
            // Others give objects back to the slab itself.
            free = free.saturating_add(self.free_of(slab)?);
        }
        let (Some(partial), Some(next)) = (layout.partial, self.slab.next) else {
            return Ok(free);
        };
        let mut slab = own.field(partial)?.pointer()?;
        for _ in 0..SLABS {
            if slab.0 == 0 {
                return Ok(free);
            }
            free = free.saturating_add(self.free_of(slab)?);
            let object = self.kernel.object(self.slab.type_name, slab)?;
            slab = object.field(next)?.pointer()?;
        }
        Err(Error::TooMany {
            what: "the list of a CPU's slabs",
        })
    }

    /// Counts the objects of a list of free ones, each of which holds where the next is.
    fn freelist(&self, cache: &Object<'_>, first: VirtAddr) -> Result<u64, Error> {
        let offset = cache.member("offset")?.value()?;
        let random = match self.random {
            Some(field) => Some(cache.field(field)?.value()?),
            None => None,
        };
        let mut object = first;
        for count in 0..OBJECTS {
            if object.0 == 0 {
                return Ok(count as u64);
            }
            let at = after(object, offset);
            let next = self.kernel.read_u64(at)?;
            object = VirtAddr(match random {
                Some(random) => next ^ random ^ at.0.swap_bytes(),
                None => next,
            });
        }
        Err(Error::TooMany {
            what: "a list of free objects",
        })
    }

    fn in_sheaves(&self, cache: &Object<'_>, cpu: u32) -> Result<u64, Error> {
        let Some(layout) = &self.sheaves else {
            return Ok(0);
        };
        let pointer = cache.field(layout.pointer)?.pointer()?;
        if pointer.0 == 0 {
            return Ok(0);
        }
        let own = self.kernel.per_cpu(pointer, cpu)?;
        let own = self.kernel.object("slub_percpu_sheaves", own)?;
        let mut free = 0u64;
        for &field in &layout.of_cpu {
            let sheaf = own.field(field)?.pointer()?;
            if sheaf.0 != 0 {
                free = free.saturating_add(self.in_sheaf(layout, sheaf)?);
            }
        }
        Ok(free)
    }

    fn in_sheaf(&self, layout: &Sheaves, sheaf: VirtAddr) -> Result<u64, Error> {
        let sheaf = self.kernel.object("slab_sheaf", sheaf)?;
        Ok(sheaf.field(layout.size)?.value()?)
    }

    /// Counts what a node has in arrays for its CPUs.
    fn in_barn(&self, barn: VirtAddr) -> Result<u64, Error> {
        let Some(layout) = &self.sheaves else {
            return Ok(0);
        };
        let head = self
            .kernel
            .object("node_barn", barn)?
            .member("sheaves_full")?;
        let walked = list(self.kernel, head.addr(), layout.link.offset, SLABS);
        if let Some(fault) = walked.fault {
            return Err(fault);
        }
        let mut sheaves = walked.items.into_iter();
        sheaves.try_fold(0u64, |sum, sheaf| {
            Ok(sum.saturating_add(self.in_sheaf(layout, sheaf)?))
        })
    }
}
