//! What helpers do over memory: the same as the kernel's, as far as programs can tell.

use std::sync::Arc;

use kscope_memory::VirtAddr;
use kscope_spec::helper as h;

use super::arena::Arena;
use super::map::{FULL, NO_ROOM, NOT_THERE};
use super::{EVENT_BYTES, Fault, Frame, Interpreter, Walk, WalkKind, Walking};
use crate::ir::kfunc;

/// `-EFAULT`: memory cannot be read.
const NO_MEMORY: i64 = -14;
/// `-ENAMETOOLONG`: the path has no room.
const TOO_LONG: i64 = -36;
/// Most that walks found and nobody asked for yet.
const WALKED: usize = 16 << 20;
/// Longest text that is read of the kernel.
const LONGEST_TEXT: u64 = 1 << 20;
/// Most stacks that are kept, and most addresses of all of them: 128 MB.
const STACKS: usize = 1 << 20;
const STACK_FRAMES: usize = 16 << 20;
/// Most rounds of a loop that a helper runs (`BPF_MAX_LOOPS`).
const ROUNDS: u64 = 8 << 20;

/// Helpers that [`Interpreter::helper`] knows.
pub(super) const KNOWN: &[u32] = &[
    h::MAP_LOOKUP_ELEM.0,
    h::MAP_UPDATE_ELEM.0,
    h::MAP_DELETE_ELEM.0,
    h::MAP_LOOKUP_PERCPU_ELEM.0,
    h::PROBE_READ_KERNEL.0,
    h::PROBE_READ_KERNEL_STR.0,
    h::KTIME_GET_NS.0,
    h::KTIME_GET_BOOT_NS.0,
    h::KTIME_GET_TAI_NS.0,
    h::GET_PRANDOM_U32.0,
    h::RINGBUF_RESERVE.0,
    h::RINGBUF_SUBMIT.0,
    h::PERF_EVENT_OUTPUT.0,
    h::LOOP.0,
    h::FOR_EACH_MAP_ELEM.0,
    h::D_PATH.0,
    kfunc::TASK_STACK,
    kfunc::WALK,
    kfunc::WALK_NEXT,
    kfunc::WALK_END,
    kfunc::DENTRY_PATH,
];

impl Interpreter<'_> {
    /// Calls a helper.
    pub(super) fn helper(
        &mut self,
        frame: &Frame<'_>,
        number: u32,
        given: [u64; 5],
    ) -> Result<u64, Fault> {
        let [first, second, third, fourth, fifth] = given;
        let helper = kscope_spec::HelperId(number);
        Ok(match helper {
            h::MAP_LOOKUP_ELEM => self.find(first, second)?,
            // Each map has one value for a key, that of CPU 0.
            h::MAP_LOOKUP_PERCPU_ELEM if third == 0 => self.find(first, second)?,
            h::MAP_LOOKUP_PERCPU_ELEM => 0,
            h::MAP_UPDATE_ELEM => {
                let key = self.key(first, second)?;
                let map = self.maps.get_mut(first as usize);
                let map = map.ok_or(Fault::Malformed)?;
                let done = map.update(&key, third, fourth, &mut self.arena, &mut self.dead)?;
                done as u64
            }
            h::MAP_DELETE_ELEM => {
                let key = self.key(first, second)?;
                let map = self.maps.get_mut(first as usize);
                let map = map.ok_or(Fault::Malformed)?;
                match map.delete(&key, &mut self.dead) {
                    true => 0,
                    false => NOT_THERE as u64,
                }
            }
            h::PROBE_READ_KERNEL => self.probe_read(first, second, third)?,
            h::PROBE_READ_KERNEL_STR => self.probe_read_str(first, second, third)?,
            h::KTIME_GET_NS | h::KTIME_GET_BOOT_NS => self.world.clock(false),
            h::KTIME_GET_TAI_NS => self.world.clock(true),
            h::GET_PRANDOM_U32 => {
                // xorshift64* (Vigna, 2016).
                self.random ^= self.random >> 12;
                self.random ^= self.random << 25;
                self.random ^= self.random >> 27;
                self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
            }
            h::RINGBUF_RESERVE if self.carries_events(first) => self.reserve(second)?,
            h::RINGBUF_SUBMIT => {
                let event = self.arena.rest(first)?.to_vec();
                self.arena.remove(first);
                self.events.push_back(event);
                0
            }
            h::PERF_EVENT_OUTPUT if self.carries_events(second) => {
                let event = self.arena.get(fourth, fifth)?.to_vec();
                if self.event_bytes.saturating_add(event.len()) > EVENT_BYTES {
                    return Ok(NO_MEMORY as u64);
                }
                self.event_bytes += event.len();
                self.events.push_back(event);
                0
            }
            h::LOOP => self.rounds(frame, first, second, third)?,
            h::FOR_EACH_MAP_ELEM => self.each(frame, first, second, third)?,
            h::D_PATH => {
                let path = self.world.path(VirtAddr(first));
                self.put_path(first, path, second, third)?
            }
            _ if number == kfunc::TASK_STACK => self.stack_id(first) as u64,
            _ if number == kfunc::DENTRY_PATH => {
                let mount = Some(VirtAddr(second)).filter(|mount| mount.0 != 0);
                let path = self.world.dentry_path(VirtAddr(first), mount);
                self.put_path(first, path, third, fourth)?
            }
            _ if number == kfunc::WALK => self.walk(first, second)?,
            _ if number == kfunc::WALK_NEXT => self.next_of_walk(first)?,
            _ if number == kfunc::WALK_END => self.end_walk(first)?,
            _ => return Err(Fault::Helper(number)),
        })
    }

    fn key(&self, map: u64, key: u64) -> Result<Vec<u8>, Fault> {
        let map = self.maps.get(map as usize).ok_or(Fault::Malformed)?;
        Ok(self.arena.get(key, u64::from(map.key_size()))?.to_vec())
    }

    fn find(&mut self, map: u64, key: u64) -> Result<u64, Fault> {
        let key = self.key(map, key)?;
        let found = self.lookup(map as u32, &key);
        Ok(found.map_or(0, |(address, _)| address))
    }

    /// Reads into memory of the program; where not all can be read it becomes zeros.
    fn probe_read(&mut self, to: u64, size: u64, from: u64) -> Result<u64, Fault> {
        let size = size as u32;
        // The place is looked at first, so that nothing is made that is larger.
        let mut bytes = self.arena.get(to, u64::from(size))?.to_vec();
        let done = if Arena::has(from) {
            match self.arena.get(from, u64::from(size)) {
                Ok(found) => {
                    bytes.copy_from_slice(found);
                    true
                }
                Err(_) => false,
            }
        } else {
            self.read_kernel(from, &mut bytes)
        };
        if !done {
            bytes.fill(0);
        }
        self.arena
            .get_mut(to, u64::from(size))?
            .copy_from_slice(&bytes);
        Ok(if done { 0 } else { NO_MEMORY as u64 })
    }

    /// Reads a string with its NUL; gives the number of bytes.
    fn probe_read_str(&mut self, to: u64, size: u64, from: u64) -> Result<u64, Fault> {
        let size = u64::from(size as u32);
        if size == 0 {
            return Ok(0);
        }
        let most = (size - 1).min(LONGEST_TEXT) as usize;
        let text = if Arena::has(from) {
            let bytes = self.arena.rest(from).unwrap_or_default();
            let end = bytes.iter().position(|byte| *byte == 0);
            let len = end.unwrap_or(bytes.len()).min(most);
            Some(bytes[..len].to_vec())
        } else {
            self.text(from, most)
        };
        let Some(text) = text else {
            self.arena.get_mut(to, size)?.fill(0);
            return Ok(NO_MEMORY as u64);
        };
        let room = self.arena.get_mut(to, text.len() as u64 + 1)?;
        room[..text.len()].copy_from_slice(&text);
        room[text.len()] = 0;
        Ok(text.len() as u64 + 1)
    }

    /// Reads the text at a kernel address. One that runs into a gap is given up to there, and
    /// counted as missing.
    fn text(&mut self, from: u64, most: usize) -> Option<Vec<u8>> {
        let memory = self.world.memory();
        let read = memory.read_text(VirtAddr(from), most.max(1));
        let text = match read {
            Ok(text) => text,
            Err(gap) => {
                self.reads.count(from, Some(gap));
                return None;
            }
        };
        let end = from.wrapping_add(text.len() as u64);
        let cut = match text.len() < most {
            true => memory.read_u8(VirtAddr(end)).err(),
            false => None,
        };
        self.reads.count(end, cut);
        Some(text[..text.len().min(most)].to_vec())
    }

    /// Writes the path of what is at an address with its NUL, as the kernel does: one that is too
    /// long is not written. What is not written is counted.
    fn put_path(
        &mut self,
        of: u64,
        path: Option<Vec<u8>>,
        to: u64,
        size: u64,
    ) -> Result<u64, Fault> {
        let Some(path) = path else {
            // What is none of the kernel's addresses has no path, as those who ask may know.
            self.paths.unread += u64::from(VirtAddr(of).is_kernel());
            return Ok(NO_MEMORY as u64);
        };
        let len = path.len() as u64 + 1;
        if len > size {
            self.paths.too_long += 1;
            return Ok(TOO_LONG as u64);
        }
        let room = self.arena.get_mut(to, len)?;
        room[..path.len()].copy_from_slice(&path);
        room[path.len()] = 0;
        Ok(len)
    }

    /// Walks from a root to the end, so that what changes meanwhile is of one moment, and gives a
    /// number for what was found.
    fn walk(&mut self, kind: u64, root: u64) -> Result<u64, Fault> {
        let kind = usize::try_from(kind).ok();
        let kind = kind.and_then(|kind| WalkKind::ALL.get(kind));
        let walk = match kind {
            // Nothing hangs below no root.
            Some(_) if root == 0 => Walk::default(),
            Some(kind) => self.world.walk(*kind, VirtAddr(root)),
            None => return Err(Fault::Malformed),
        };
        let found = walk.found.len();
        self.step(found as u64)?;
        self.walked += found;
        if self.walked > WALKED {
            return Err(Fault::NoRoom);
        }
        self.walks.push(Walking {
            found: walk.found.into_iter(),
            fault: walk.fault,
        });
        Ok(self.walks.len() as u64)
    }

    /// Gives the next that a walk found; 0 behind the last, where it is told why there may be more.
    fn next_of_walk(&mut self, number: u64) -> Result<u64, Fault> {
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let walk = index.and_then(|index| self.walks.get_mut(index));
        let walk = walk.ok_or(Fault::Malformed)?;
        match walk.found.next() {
            Some(found) => {
                self.walked -= 1;
                Ok(found)
            }
            None => {
                if let Some(fault) = walk.fault.take() {
                    self.world.fault(fault);
                }
                Ok(0)
            }
        }
    }

    /// Ends a walk, and those that began after it: loops lie in each other.
    fn end_walk(&mut self, number: u64) -> Result<u64, Fault> {
        let index = usize::try_from(number).ok().and_then(|n| n.checked_sub(1));
        let index = index.filter(|index| *index < self.walks.len());
        let ended = self.walks.drain(index.ok_or(Fault::Malformed)?..);
        let left: usize = ended.map(|walk| walk.found.len()).sum();
        self.walked -= left;
        Ok(0)
    }

    /// Makes room for an event; 0 where too many wait.
    fn reserve(&mut self, size: u64) -> Result<u64, Fault> {
        let size = u32::try_from(size).map_err(|_| Fault::Malformed)?;
        let bytes = self.event_bytes.saturating_add(size as usize);
        if bytes > EVENT_BYTES {
            return Ok(0);
        }
        let address = self.arena.add(size);
        if address.is_some() {
            self.event_bytes = bytes;
        }
        Ok(address.unwrap_or(0))
    }

    /// Calls back for each round up to a number, until a callback wants no more.
    fn rounds(
        &mut self,
        frame: &Frame<'_>,
        count: u64,
        callback: u64,
        captured: u64,
    ) -> Result<u64, Fault> {
        let function = frame.function.callbacks.get(callback as usize);
        let function = function.ok_or(Fault::Malformed)?;
        let count = u64::from(count as u32);
        if count > ROUNDS {
            return Ok(FULL as u64);
        }
        let mut round = 0;
        while round < count {
            let arguments = [round, captured, 0, 0, 0];
            round += 1;
            if self.call(function, arguments, frame.context)? != 0 {
                break;
            }
        }
        Ok(round)
    }

    /// Calls back for each entry of a map, until a callback wants no more.
    fn each(
        &mut self,
        frame: &Frame<'_>,
        map: u64,
        callback: u64,
        captured: u64,
    ) -> Result<u64, Fault> {
        let function = frame.function.callbacks.get(callback as usize);
        let function = function.ok_or(Fault::Malformed)?;
        let state = self.maps.get(map as usize).ok_or(Fault::Malformed)?;
        let mut called = 0;
        for key in state.keys() {
            // It may be gone by now.
            let Some((value, _)) = self.lookup(map as u32, &key) else {
                continue;
            };
            let address = self.keep(&key).ok_or(Fault::NoRoom)?;
            called += 1;
            let done = self.call(function, [map, address, value, captured, 0], frame.context);
            self.arena.remove(address);
            if done? != 0 {
                break;
            }
        }
        Ok(called)
    }

    /// Gives the id of a thread's stack, or a negative error.
    fn stack_id(&mut self, task: u64) -> i64 {
        let Some(stack) = self.world.task_stack(VirtAddr(task)) else {
            return NO_MEMORY;
        };
        if let Some(id) = self.stack_ids.get(&*stack) {
            return *id;
        }
        let frames = self.stack_frames.saturating_add(stack.len());
        if self.stacks.len() >= STACKS || frames > STACK_FRAMES {
            return NO_ROOM;
        }
        self.stack_frames = frames;
        let stack: Arc<[u64]> = stack.into();
        let id = self.stacks.len() as i64;
        self.stacks.push(stack.clone());
        self.stack_ids.insert(stack, id);
        id
    }
}
