//! Disks and their requests.

use std::collections::{HashMap, HashSet};

use kscope_btf::Type;
use kscope_memory::{FieldAt, Memory, Object, VirtAddr};

use super::{Ticks, Unread};
use crate::Error;
use crate::facts::kernel::Kernel;
use crate::walk::{array, list};

/// Most disks and partitions.
const DEVICES: usize = 1 << 16;
/// Most classes of devices.
const CLASSES: usize = 1 << 12;
/// Most hardware queues of a device.
const QUEUES: u64 = 1 << 12;
/// Most tags of a hardware queue (`BLK_MQ_MAX_DEPTH`).
const TAGS: u64 = 10_240;
/// Bytes of a sector.
const SECTOR: u64 = 512;

/// A disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The address of its `struct gendisk`.
    pub addr: VirtAddr,
    /// Its name.
    pub name: String,
    /// Its numbers, major and minor.
    pub numbers: (u32, u32),
    /// Its size in bytes.
    pub size: u64,
    /// The function that its driver queues requests with, or takes them whole; none where that is
    /// not known.
    pub submit: Option<VirtAddr>,
    /// Whether it has requests; those of others, such as of device mapper, are those of the disks
    /// below.
    pub has_requests: bool,
    /// Reads and writes that the kernel counts as begun and not ended. Older ones, such as 6.1, count
    /// none of disks that have requests: [`BlockState::requests`] has them.
    pub in_flight: (u64, u64),
    /// The address of its `struct request_queue`.
    pub queue: VirtAddr,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestState {
    /// The device has not been told of it.
    Waits,
    /// The device has it.
    InFlight,
    /// The device has ended it, the kernel has not.
    Complete,
}

/// A request to a disk that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// The address of its `struct request`.
    pub addr: VirtAddr,
    /// The name of the disk.
    pub disk: String,
    /// What it does: `read`, `write`, `flush`, …
    pub operation: String,
    /// More of that: `sync`, `meta`, `fua`, …
    pub flags: Vec<String>,
    /// How far it is.
    pub state: RequestState,
    /// The first sector, of 512 bytes.
    pub sector: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Its number among those of the hardware queue; none where it has none yet.
    pub tag: Option<u32>,
    /// Its number among those that the scheduler has.
    pub scheduler_tag: Option<u32>,
    /// The number of the hardware queue.
    pub hardware_queue: u32,
    /// Nanoseconds since it was made; none where the kernel did not note it.
    pub age: Option<u64>,
    /// Nanoseconds since the device was told of it.
    pub dispatched: Option<u64>,
    /// Whether the time that the driver gives it is over.
    pub overdue: bool,
}

/// Disks and requests that have not ended.
#[derive(Clone, Debug, Default)]
pub struct BlockState {
    /// The disks, in the order of the kernel's list.
    pub disks: Vec<Disk>,
    /// The requests, the oldest first.
    pub requests: Vec<BlockRequest>,
    /// What could not be read.
    pub unread: Unread,
}

impl Kernel {
    /// Reads the disks, and the requests that have not ended.
    ///
    /// # Errors
    /// Where disks are not found, or the kernel keeps them otherwise.
    pub fn block_requests(&self) -> Result<BlockState, Error> {
        let mut state = BlockState::default();
        for disk in disks(self, &mut state.unread)? {
            self.proceed()?;
            let read = disk_at(self, disk);
            if let Some(disk) = state.unread.keep(read) {
                state.disks.push(disk);
            }
        }
        let reader = Reader {
            kernel: self,
            names: state
                .disks
                .iter()
                .map(|disk| (disk.queue, disk.name.clone()))
                .collect(),
            operations: constants(self, &["req_op", "req_opf"], "REQ_OP_"),
            flags: constants(self, &["req_flag_bits"], "__REQ_"),
            ticks: self.ticks().ok(),
            now: self.monotonic().ok(),
        };
        let mut seen = HashSet::new();
        for disk in state.disks.iter().filter(|disk| disk.has_requests) {
            let mut found = HashSet::new();
            let read = reader.candidates(disk.queue, &mut found, &mut state.unread);
            state.unread.keep(read);
            for request in found.into_iter().filter(|request| seen.insert(*request)) {
                self.proceed()?;
                let read = reader.request(request);
                state.requests.extend(state.unread.keep(read).flatten());
            }
        }
        let age = |request: &BlockRequest| request.age.or(request.dispatched).unwrap_or(0);
        state
            .requests
            .sort_by_key(|request| (std::cmp::Reverse(age(request)), request.addr));
        Ok(state)
    }
}

/// Gives the addresses of the disks, out of the class of block devices.
fn disks(kernel: &Kernel, unread: &mut Unread) -> Result<Vec<VirtAddr>, Error> {
    let btf = kernel.btf()?;
    let class = class(kernel, unread)?;
    let head = class.member("klist_devices.k_list")?.addr();
    let link = FieldAt::of(btf, "device_private", "knode_class.n_node")?;
    // The first partition stands for the whole disk: a part of it before 5.11.
    let inside = FieldAt::of(btf, "gendisk", "part0.__dev");
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let devices = list(kernel, head, link.offset, DEVICES);
    for device in unread.walked(devices) {
        kernel.proceed()?;
        let read = || -> Result<Option<VirtAddr>, Error> {
            let device = kernel
                .object("device_private", device)?
                .member("device")?
                .deref()?;
            if inside.is_ok() {
                // Partitions are devices of the class too.
                let kind = device.member("type")?.pointer()?;
                let is_disk = Some(kind) == kernel.global("disk_type");
                let disk = device.container("gendisk", "part0.__dev")?;
                return Ok(is_disk.then_some(disk.addr()));
            }
            let device = device.container("block_device", "bd_device")?;
            let disk = device.member("bd_disk")?.deref()?;
            let whole = disk.member("part0")?.pointer()? == device.addr();
            Ok(whole.then_some(disk.addr()))
        };
        found.extend(
            unread
                .keep(read())
                .flatten()
                .filter(|disk| seen.insert(*disk)),
        );
    }
    Ok(found)
}

/// Gives what the kernel keeps for itself of the class of block devices.
fn class<'k>(kernel: &'k Kernel, unread: &mut Unread) -> Result<Object<'k>, Error> {
    let class = kernel.object("class", kernel.need("block_class")?)?;
    // The class led there before 6.4; since then all are in a list.
    if let Ok(own) = class.member("p") {
        return Ok(own.deref()?);
    }
    let all = VirtAddr(kernel.number("class_kset")?);
    let head = kernel.object("kset", all)?.member("list")?.addr();
    let link = FieldAt::of(kernel.btf()?, "subsys_private", "subsys.kobj.entry")?;
    let classes = list(kernel, head, link.offset, CLASSES);
    for addr in unread.walked(classes) {
        let own = kernel.object("subsys_private", addr)?;
        let of = own.member("class").and_then(|of| of.pointer());
        if of.is_ok_and(|of| of == class.addr()) {
            return Ok(own);
        }
    }
    Err(Error::Missing("class of block devices among its classes"))
}

fn disk_at(kernel: &Kernel, addr: VirtAddr) -> Result<Disk, Error> {
    let disk = kernel.object("gendisk", addr)?;
    let number = |path: &str| -> Result<u64, Error> { Ok(disk.member(path)?.value()?) };
    let name = disk.member("disk_name")?.text(32)?;
    let first = disk.member("part0")?;
    let sectors = first
        .member("nr_sects")
        .or_else(|_| first.member("bd_nr_sectors"))?;
    let counts = first
        .member("dkstats")
        .or_else(|_| first.member("bd_stats"))?;
    let counts = counts.pointer()?;
    let mut in_flight = [0i64; 2];
    if counts.0 != 0 {
        for cpu in kernel.cpus("__cpu_possible_mask")? {
            let own = kernel.object("disk_stats", kernel.per_cpu(counts, cpu)?)?;
            for (at, sum) in in_flight.iter_mut().enumerate() {
                let count = own.member("in_flight")?.index(at as u64)?;
                let count = kernel.read_u64(count.addr())? as i64;
                *sum = sum.wrapping_add(count);
            }
        }
    }
    let queue = disk.member("queue")?.deref()?;
    // Queued request by request, or as a whole by the driver.
    let submit = || -> Result<VirtAddr, Error> {
        let operations = queue.member("mq_ops")?;
        if operations.pointer()?.0 != 0 {
            return Ok(operations.deref()?.member("queue_rq")?.pointer()?);
        }
        Ok(disk
            .member("fops")?
            .deref()?
            .member("submit_bio")?
            .pointer()?)
    };
    Ok(Disk {
        addr,
        name: String::from_utf8_lossy(&name).into_owned(),
        numbers: (number("major")? as u32, number("first_minor")? as u32),
        size: sectors.value()?.saturating_mul(SECTOR),
        submit: submit().ok(),
        has_requests: queue.member("tag_set")?.pointer()?.0 != 0,
        in_flight: (in_flight[0].max(0) as u64, in_flight[1].max(0) as u64),
        queue: queue.addr(),
    })
}

/// Gives the constants of an enumeration, under whichever name it is, in small letters and without
/// what all begin with.
fn constants(kernel: &Kernel, names: &[&str], prefix: &str) -> HashMap<i64, String> {
    let Ok(btf) = kernel.btf() else {
        return HashMap::new();
    };
    let ids = names.iter().flat_map(|name| btf.find_all(name));
    let enumeration = ids.filter_map(|id| match btf.get(id) {
        Some(Type::Enum(found)) => Some(found),
        _ => None,
    });
    let mut found = HashMap::new();
    for constant in enumeration.flat_map(|found| found.enumerators()) {
        if let Some(name) = constant.name.strip_prefix(prefix) {
            found
                .entry(constant.value)
                .or_insert_with(|| name.to_ascii_lowercase());
        }
    }
    found
}

struct Reader<'k> {
    kernel: &'k Kernel,
    /// The names of disks by their queues.
    names: HashMap<VirtAddr, String>,
    operations: HashMap<i64, String>,
    flags: HashMap<i64, String>,
    ticks: Option<Ticks>,
    now: Option<u64>,
}

impl Reader<'_> {
    /// Gives the addresses of what may be requests of a queue: those that its hardware queues know
    /// by tags, and those that its scheduler has.
    fn candidates(
        &self,
        queue: VirtAddr,
        found: &mut HashSet<VirtAddr>,
        unread: &mut Unread,
    ) -> Result<(), Error> {
        let queue = self.kernel.object("request_queue", queue)?;
        let set = queue.member("tag_set")?.deref()?;
        let count = set.member("nr_hw_queues")?.value()?.min(QUEUES);
        let mut known = HashSet::new();
        for index in 0..count {
            let tags = set.member("tags")?.index(index)?.pointer()?;
            if tags.0 != 0 && known.insert(tags) {
                let read = self.tagged(tags, found);
                unread.keep(read);
            }
        }
        for hardware in self.hardware_queues(&queue, unread)? {
            let mut read = || -> Result<(), Error> {
                let hardware = self.kernel.object("blk_mq_hw_ctx", hardware)?;
                let tags = hardware.member("sched_tags")?.pointer()?;
                match tags.0 != 0 && known.insert(tags) {
                    true => self.tagged(tags, found),
                    false => Ok(()),
                }
            };
            unread.keep(read());
        }
        Ok(())
    }

    /// Gives the hardware queues: an array before 5.19 and since 7.0, in between one by index.
    fn hardware_queues(
        &self,
        queue: &Object<'_>,
        unread: &mut Unread,
    ) -> Result<Vec<VirtAddr>, Error> {
        if let Ok(table) = queue.member("hctx_table") {
            let btf = self.kernel.btf()?;
            let queues = array(self.kernel, btf, table.addr(), QUEUES as usize)?;
            return Ok(unread.walked(queues));
        }
        let count = queue.member("nr_hw_queues")?.value()?.min(QUEUES);
        let array = queue.member("queue_hw_ctx")?;
        let all = (0..count).map(|index| Ok(array.index(index)?.pointer()?));
        all.collect()
    }

    /// Adds what a set of tags leads to: requests by tag, and those that were made for it.
    fn tagged(&self, tags: VirtAddr, found: &mut HashSet<VirtAddr>) -> Result<(), Error> {
        let tags = self.kernel.object("blk_mq_tags", tags)?;
        let count = tags.member("nr_tags")?.value()?.min(TAGS);
        for member in ["rqs", "static_rqs"] {
            let array = tags.member(member)?.pointer()?;
            if array.0 == 0 {
                continue;
            }
            let mut bytes = vec![0; count as usize * 8];
            self.kernel.read(array, &mut bytes)?;
            let words = bytes
                .chunks_exact(8)
                .filter_map(|word| word.try_into().ok());
            let addrs = words.map(u64::from_le_bytes).map(VirtAddr);
            found.extend(addrs.filter(|addr| addr.is_kernel()));
        }
        Ok(())
    }

    /// Reads a request; none of what is free, or of a queue of no disk.
    fn request(&self, addr: VirtAddr) -> Result<Option<BlockRequest>, Error> {
        let request = self.kernel.object("request", addr)?;
        let number = |path: &str| -> Result<u64, Error> { Ok(request.member(path)?.value()?) };
        let queue = request.member("q")?;
        // Those that are free keep what they were.
        let holds = self.kernel.read_u32(request.member("ref")?.addr())?;
        let Some(disk) = self.names.get(&queue.pointer()?).filter(|_| holds > 0) else {
            return Ok(None);
        };
        let state = match number("state")? {
            0 => RequestState::Waits,
            1 => RequestState::InFlight,
            _ => RequestState::Complete,
        };
        let tag = |path: &str| -> Result<Option<u32>, Error> {
            Ok(u32::try_from(request.member(path)?.signed()?).ok())
        };
        let command = number("cmd_flags")?;
        let operation = (command & 0xff) as i64;
        let flags = (8..64).filter(|bit| command >> bit & 1 != 0);
        let flags = flags.map(|bit| {
            self.flags
                .get(&bit)
                .cloned()
                .unwrap_or_else(|| bit.to_string())
        });
        let started = number("start_time_ns")?;
        let timeout = match number("timeout")? {
            0 => queue.member("rq_timeout")?.value()?,
            timeout => timeout,
        };
        let deadline = number("deadline")?;
        let told = self.ticks.filter(|_| state != RequestState::Waits);
        let hardware = request.member("mq_hctx")?;
        Ok(Some(BlockRequest {
            addr,
            disk: disk.clone(),
            operation: match self.operations.get(&operation) {
                Some(name) => name.clone(),
                None => operation.to_string(),
            },
            flags: flags.collect(),
            state,
            sector: number("__sector")?,
            bytes: number("__data_len")?,
            tag: tag("tag")?,
            scheduler_tag: tag("internal_tag")?,
            hardware_queue: match hardware.pointer()?.0 {
                0 => 0,
                _ => hardware.member("queue_num")?.value()? as u32,
            },
            age: self
                .now
                .filter(|_| started > 0)
                .map(|now| now.saturating_sub(started)),
            dispatched: told.map(|ticks| ticks.since(deadline.wrapping_sub(timeout))),
            overdue: told.is_some_and(|ticks| ticks.since(deadline) > 0),
        }))
    }
}
