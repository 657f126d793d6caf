//! The kernel's log, out of memory: the lockless ring since 5.10, the records before it.
//!
//! VMCOREINFO says where everything is, so that the log needs neither symbols nor types.

use kscope_memory::{Memory, VirtAddr};

use super::kernel::Kernel;
use super::vmcoreinfo::Vmcoreinfo;
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::{Error, Walked};

/// Most bits of the number of records, and of the size of their text: 64 MB are much.
const BITS: u32 = 26;
/// Largest record's description.
const RECORD: u64 = 4096;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Nanoseconds since the kernel started.
    pub nanoseconds: u64,
    /// How bad it is: 0 emergency to 7 debug.
    pub level: u8,
    /// Who wrote it: 0 the kernel.
    pub facility: u8,
    /// Whether it continues the line before.
    pub continues: bool,
    /// The task or CPU that wrote it, where the kernel keeps that.
    pub caller: Option<LogCaller>,
    /// Its text, which may have several lines.
    pub text: String,
}

/// Who wrote a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogCaller {
    /// A task, by its number.
    Task(u32),
    /// A CPU outside of any task.
    Cpu(u32),
}

/// Reads the log, oldest line first.
pub(crate) fn read(kernel: &Kernel) -> Result<Walked<LogLine>, Error> {
    let info = kernel.vmcoreinfo();
    if let Some(prb) = info.symbol("prb") {
        return Ring::open(kernel, info, prb)?.read();
    }
    records(kernel, info)
}

/// The lockless ring (`struct printk_ringbuffer`).
struct Ring<'k> {
    kernel: &'k Kernel,
    info: &'k Vmcoreinfo,
    count: u64,
    descriptors: VirtAddr,
    infos: VirtAddr,
    head: u64,
    tail: u64,
    text: VirtAddr,
    text_bits: u32,
}

impl<'k> Ring<'k> {
    fn open(kernel: &'k Kernel, info: &'k Vmcoreinfo, prb: VirtAddr) -> Result<Ring<'k>, Error> {
        // The symbol is the pointer to the ring.
        let prb = kernel.read_u64(prb)?;
        let at = |base: u64, member: &str| {
            let offset = info.offset(member);
            let offset = offset.ok_or(Error::Missing("layout of the log in VMCOREINFO"))?;
            Ok::<_, Error>(VirtAddr(base.wrapping_add(offset)))
        };
        let ring = at(prb, "printk_ringbuffer.desc_ring")?.0;
        let data = at(prb, "printk_ringbuffer.text_data_ring")?.0;
        let count_bits = kernel.read_u32(at(ring, "prb_desc_ring.count_bits")?)?;
        let text_bits = kernel.read_u32(at(data, "prb_data_ring.size_bits")?)?;
        if !(1..=BITS).contains(&count_bits) || !(3..=BITS).contains(&text_bits) {
            return Err(Error::Malformed {
                what: "size of the log",
                offset: ring,
            });
        }
        Ok(Ring {
            kernel,
            info,
            count: 1 << count_bits,
            descriptors: VirtAddr(kernel.read_u64(at(ring, "prb_desc_ring.descs")?)?),
            infos: VirtAddr(kernel.read_u64(at(ring, "prb_desc_ring.infos")?)?),
            head: kernel.read_u64(at(ring, "prb_desc_ring.head_id")?)?,
            tail: kernel.read_u64(at(ring, "prb_desc_ring.tail_id")?)?,
            text: VirtAddr(kernel.read_u64(at(data, "prb_data_ring.data")?)?),
            text_bits,
        })
    }

    fn malformed(&self, what: &'static str) -> Error {
        Error::Malformed {
            what,
            offset: self.text.0,
        }
    }

    fn size(&self, name: &str) -> Result<u64, Error> {
        let size = self.info.size(name).filter(|s| (1..=RECORD).contains(s));
        size.ok_or(Error::Missing("sizes of the log in VMCOREINFO"))
    }

    fn offset(&self, member: &str) -> Result<usize, Error> {
        let offset = self.info.offset(member).filter(|&o| o < RECORD);
        offset
            .map(|o| o as usize)
            .ok_or(Error::Missing("layout of the log in VMCOREINFO"))
    }

    fn read(&self) -> Result<Walked<LogLine>, Error> {
        const ID: u64 = u64::MAX >> 2;
        const COMMITTED: u64 = 1;
        const FINALIZED: u64 = 2;
        let layout = Record {
            state: self.offset("prb_desc.state_var")?,
            text: self.offset("prb_desc.text_blk_lpos")?,
            begin: self.offset("prb_data_blk_lpos.begin")?,
            next: self.offset("prb_data_blk_lpos.next")?,
            time: self.offset("printk_info.ts_nsec")?,
            len: self.offset("printk_info.text_len")?,
            caller: self.offset("printk_info.caller_id")?,
        };
        let descriptor_size = self.size("prb_desc")?;
        let info_size = self.size("printk_info")?;
        let mut walked = Walked::default();
        // Texts lie beside each other, and a byte that is no text is shown as three.
        let mut room = 3usize << self.text_bits;
        let mut descriptor = vec![0; descriptor_size as usize];
        let mut info = vec![0; info_size as usize];
        let mut id = self.tail & ID;
        for _ in 0..self.count {
            let index = id & (self.count - 1);
            let place = |start: VirtAddr, size: u64| VirtAddr(start.0.wrapping_add(index * size));
            let read = self
                .kernel
                .read(place(self.descriptors, descriptor_size), &mut descriptor)
                .and_then(|()| self.kernel.read(place(self.infos, info_size), &mut info));
            let state = u64_at(&descriptor, layout.state);
            if let Err(gap) = read {
                walked.fault = walked.fault.or(Some(gap.into()));
            } else if state & ID == id && matches!(state >> 62, COMMITTED | FINALIZED) {
                match self.line(&layout, &descriptor, &info) {
                    Ok(Some(line)) if line.text.len() > room => {
                        walked.fault = Some(self.malformed("text of the log"));
                        break;
                    }
                    Ok(Some(line)) => {
                        room -= line.text.len();
                        walked.items.push(line);
                    }
                    Ok(None) => {}
                    Err(error) => walked.fault = walked.fault.or(Some(error)),
                }
            }
            if id == self.head & ID {
                break;
            }
            id = (id + 1) & ID;
        }
        Ok(walked)
    }

    /// Reads a line; none where its text was lost.
    fn line(
        &self,
        layout: &Record,
        descriptor: &[u8],
        info: &[u8],
    ) -> Result<Option<LogLine>, Error> {
        /// Both positions of an empty line, which has no text.
        const EMPTY: u64 = 3;
        let size = 1u64 << self.text_bits;
        let begin = u64_at(descriptor, layout.text + layout.begin);
        let next = u64_at(descriptor, layout.text + layout.next);
        let mut text = Vec::new();
        // Positions with the lowest bit set stand for no text.
        if begin & 1 == 0 && next & 1 == 0 {
            // A text that did not fit the end of the ring is at its begin.
            let wrapped =
                begin >> self.text_bits != next >> self.text_bits && next & (size - 1) != 0;
            let start = if wrapped { 0 } else { begin & (size - 1) };
            let end = if wrapped {
                next & (size - 1)
            } else {
                start.saturating_add(next.wrapping_sub(begin))
            };
            // The number of its descriptor stands before a text.
            let room = end.min(size).saturating_sub(start + 8);
            let len = u64::from(u16_at(info, layout.len)).min(room);
            text.resize(len as usize, 0);
            let at = VirtAddr(self.text.0.wrapping_add(start + 8));
            self.kernel.read(at, &mut text)?;
        } else if (begin, next) != (EMPTY, EMPTY) {
            return Ok(None);
        }
        // Facility, then flags (5 bits) and level (3 bits), behind the length.
        let facility = info.get(layout.len + 2).copied().unwrap_or(0);
        let bits = info.get(layout.len + 3).copied().unwrap_or(0);
        const CONTINUES: u8 = 8;
        Ok(Some(LogLine {
            nanoseconds: u64_at(info, layout.time),
            level: bits >> 5,
            facility,
            continues: (bits & 0x1f) & CONTINUES != 0,
            caller: caller(u32_at(info, layout.caller)),
            text: String::from_utf8_lossy(&text).into_owned(),
        }))
    }
}

/// Where a record keeps what.
struct Record {
    state: usize,
    text: usize,
    begin: usize,
    next: usize,
    time: usize,
    len: usize,
    caller: usize,
}

fn caller(id: u32) -> Option<LogCaller> {
    const CPU: u32 = 0x8000_0000;
    match id {
        0 => None,
        id if id & CPU != 0 => Some(LogCaller::Cpu(id & !CPU)),
        id => Some(LogCaller::Task(id)),
    }
}

/// Reads the records of kernels before 5.10 (`struct printk_log`).
fn records(kernel: &Kernel, info: &Vmcoreinfo) -> Result<Walked<LogLine>, Error> {
    let symbol = |name: &str| info.symbol(name).ok_or(Error::Missing("log"));
    let offset = |member: &str| {
        let offset = info.offset(&format!("printk_log.{member}"));
        offset
            .filter(|&o| o < RECORD)
            .map(|o| o as usize)
            .ok_or(Error::Missing("layout of the log in VMCOREINFO"))
    };
    let start = kernel.read_u64(symbol("log_buf")?)?;
    let len = u64::from(kernel.read_u32(symbol("log_buf_len")?)?);
    if len > 1 << BITS {
        return Err(Error::Malformed {
            what: "size of the log",
            offset: start,
        });
    }
    let first = u64::from(kernel.read_u32(symbol("log_first_idx")?)?);
    let end = u64::from(kernel.read_u32(symbol("log_next_idx")?)?);
    let size = info.size("printk_log").filter(|s| (1..=RECORD).contains(s));
    let size = size.ok_or(Error::Missing("sizes of the log in VMCOREINFO"))?;
    let (time, whole, text_len) = (offset("ts_nsec")?, offset("len")?, offset("text_len")?);
    let mut walked = Walked::default();
    let mut record = vec![0; size as usize];
    let mut at = first;
    let mut wrapped = false;
    // Each record has at least its own size.
    for _ in 0..=len / size + 1 {
        if at == end {
            break;
        }
        if wrapped && at == first {
            walked.fault = Some(Error::Cycle { what: "the log" });
            break;
        }
        let malformed = Error::Malformed {
            what: "record of the log",
            offset: at,
        };
        if at.saturating_add(size) > len {
            walked.fault = Some(malformed);
            break;
        }
        if let Err(gap) = kernel.read(VirtAddr(start.wrapping_add(at)), &mut record) {
            walked.fault = Some(gap.into());
            break;
        }
        let step = u64::from(u16_at(&record, whole));
        if step == 0 {
            // The rest of the buffer is unused.
            if wrapped || at == first {
                walked.fault = Some(Error::Cycle { what: "the log" });
                break;
            }
            wrapped = true;
            at = 0;
            continue;
        }
        let Some(room) = step.checked_sub(size) else {
            walked.fault = Some(malformed);
            break;
        };
        let room = room.min(len.saturating_sub(at + size));
        let mut text = vec![0; u64::from(u16_at(&record, text_len)).min(room) as usize];
        let read = kernel.read(VirtAddr(start.wrapping_add(at + size)), &mut text);
        if let Err(gap) = read {
            walked.fault = walked.fault.or(Some(gap.into()));
            at += step;
            continue;
        }
        // After text_len: dict_len, facility, then flags and level.
        let facility = record.get(text_len + 4).copied().unwrap_or(0);
        let bits = record.get(text_len + 5).copied().unwrap_or(0);
        walked.items.push(LogLine {
            nanoseconds: u64_at(&record, time),
            level: bits >> 5,
            facility,
            continues: bits & 8 != 0,
            caller: None,
            text: String::from_utf8_lossy(&text).into_owned(),
        });
        at += step;
    }
    Ok(walked)
}
