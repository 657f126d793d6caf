//! The helpers, faked.

use super::exec::{Code, End, func_of, map_of};
use super::maps::{E2BIG, EEXIST, EINVAL};
use super::memory::Purpose;
use super::{Event, Fault, FaultKind, Machine, Space};
use kscope_spec::helper as h;
use kscope_spec::insn::Reg;
use kscope_spec::{HelperId, MapId, MapKind, ProgramId};

const EFAULT: i64 = -14;
const EAGAIN: i64 = -11;
/// Most rounds of `bpf_loop`.
const LOOPS: u64 = 8 << 20;

/// One call of a helper.
struct Call<'c> {
    code: &'c Code,
    slot: usize,
    id: HelperId,
    arguments: [Option<u64>; 5],
    depth: usize,
}

type Done = Result<u64, Fault>;

fn errno(number: i64) -> Done {
    Ok(number as u64)
}

impl Machine<'_> {
    pub(super) fn helper(
        &mut self,
        code: &Code,
        slot: usize,
        id: HelperId,
        arguments: [Option<u64>; 5],
        depth: usize,
    ) -> Done {
        let call = Call {
            code,
            slot,
            id,
            arguments,
            depth,
        };
        match id {
            h::MAP_LOOKUP_ELEM => {
                let cpu = self.world.cpu;
                self.lookup(&call, cpu)
            }
            h::MAP_LOOKUP_PERCPU_ELEM => {
                let cpu = self.arg(&call, 3)?;
                self.lookup(&call, u32::try_from(cpu).unwrap_or(u32::MAX))
            }
            h::MAP_UPDATE_ELEM => self.update(&call),
            h::MAP_DELETE_ELEM => {
                let (id, key) = self.map_and_key(&call)?;
                let done = self.maps.get_mut(id.0 as usize).map(|map| map.delete(&key));
                errno(done.unwrap_or(EINVAL))
            }
            h::FOR_EACH_MAP_ELEM => self.for_each(&call),
            h::LOOP => self.repeat(&call),
            h::PROBE_READ | h::PROBE_READ_KERNEL => self.probe_read(&call, Space::Kernel),
            h::PROBE_READ_USER | h::COPY_FROM_USER => self.probe_read(&call, Space::User),
            h::PROBE_READ_STR | h::PROBE_READ_KERNEL_STR => {
                self.probe_read_str(&call, Space::Kernel)
            }
            h::PROBE_READ_USER_STR => self.probe_read_str(&call, Space::User),
            h::STRNCMP => self.strncmp(&call),
            h::KTIME_GET_NS
            | h::KTIME_GET_BOOT_NS
            | h::KTIME_GET_COARSE_NS
            | h::KTIME_GET_TAI_NS => {
                let now = self.world.clock;
                self.world.clock = now.wrapping_add(self.world.clock_step);
                Ok(now)
            }
            h::JIFFIES64 => Ok(self.world.clock / 4_000_000),
            h::GET_PRANDOM_U32 => {
                let mut random = self.world.random;
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                self.world.random = random;
                Ok(random & 0xffff_ffff)
            }
            h::GET_SMP_PROCESSOR_ID => Ok(u64::from(self.world.cpu)),
            h::GET_NUMA_NODE_ID => Ok(0),
            h::GET_CURRENT_PID_TGID => Ok(self.world.pid_tgid),
            h::GET_NS_CURRENT_PID_TGID => self.ns_pid(&call),
            h::GET_CURRENT_UID_GID => Ok(self.world.uid_gid),
            h::GET_CURRENT_COMM => self.comm(&call),
            h::GET_CURRENT_TASK | h::GET_CURRENT_TASK_BTF => Ok(self.world.task),
            h::GET_CURRENT_CGROUP_ID | h::GET_CURRENT_ANCESTOR_CGROUP_ID => Ok(self.world.cgroup),
            h::GET_ATTACH_COOKIE => Ok(self.world.cookie),
            h::GET_FUNC_IP => Ok(self.world.func_ip),
            h::GET_STACKID => self.stack_id(&call),
            h::GET_STACK => self.stack(&call),
            h::RINGBUF_OUTPUT => self.ring_output(&call),
            h::RINGBUF_RESERVE => self.ring_reserve(&call),
            h::RINGBUF_SUBMIT => self.ring_release(&call, true),
            h::RINGBUF_DISCARD => self.ring_release(&call, false),
            h::PERF_EVENT_OUTPUT => self.perf_output(&call),
            h::TRACE_PRINTK => {
                let size = self.arg(&call, 2)?;
                let mut format = self.bytes(&call, 1, size)?;
                if format.pop() != Some(0) {
                    return errno(EINVAL);
                }
                let [_, _, arguments @ ..] = call.arguments;
                let length = format.len() as u64;
                self.events.push(Event::Print { format, arguments });
                Ok(length)
            }
            h::SEQ_WRITE => {
                let size = self.arg(&call, 3)?;
                let data = self.bytes(&call, 2, size)?;
                self.events.push(Event::Seq(data));
                Ok(0)
            }
            h::SEND_SIGNAL | h::SEND_SIGNAL_THREAD => {
                let signal = self.arg(&call, 1)?;
                self.events.push(Event::Signal(signal));
                Ok(0)
            }
            h::OVERRIDE_RETURN => {
                let value = self.arg(&call, 2)?;
                self.events.push(Event::Override(value));
                Ok(0)
            }
            _ => Err(self.fault(slot, FaultKind::UnknownHelper(id))),
        }
    }

    /// Gives the program a tail call goes to, or `None` where there is none.
    pub(super) fn tail_call(
        &self,
        slot: usize,
        arguments: [Option<u64>; 5],
        depth: usize,
    ) -> Result<Option<ProgramId>, Fault> {
        let [_, map, index, ..] = arguments;
        let unwritten = |reg| self.fault(slot, FaultKind::UnwrittenRegister(reg));
        let map = map.ok_or_else(|| unwritten(Reg::R2))?;
        let index = index.ok_or_else(|| unwritten(Reg::R3))?;
        if depth > 0 {
            return Err(self.fault(slot, FaultKind::Unsupported("tail calls of subprograms")));
        }
        let map = map_of(map).and_then(|id| self.maps.get(id.0 as usize));
        let Some(map) = map.filter(|map| map.kind == MapKind::ProgArray) else {
            return Err(self.fault(
                slot,
                FaultKind::Argument {
                    helper: h::TAIL_CALL,
                    reg: Reg::R2,
                    what: "a program array",
                },
            ));
        };
        Ok(map.programs.get(&(index as u32)).copied())
    }

    /// Reads an argument, from 1.
    fn arg(&self, call: &Call<'_>, number: u8) -> Done {
        let index = usize::from(number).saturating_sub(1);
        let value = call.arguments.get(index).copied().flatten();
        value.ok_or_else(|| self.fault(call.slot, FaultKind::UnwrittenRegister(Reg(number))))
    }

    fn wrong(&self, call: &Call<'_>, number: u8, what: &'static str) -> Fault {
        let (helper, reg) = (call.id, Reg(number));
        self.fault(call.slot, FaultKind::Argument { helper, reg, what })
    }

    fn at(&self, call: &Call<'_>, kind: FaultKind) -> Fault {
        self.fault(call.slot, kind)
    }

    /// Reads the memory that an argument leads to.
    fn bytes(&self, call: &Call<'_>, number: u8, size: u64) -> Result<Vec<u8>, Fault> {
        let addr = self.arg(call, number)?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let found = self.memory.read(addr, size).map(<[u8]>::to_vec);
        found.map_err(|kind| self.at(call, kind))
    }

    fn map_arg(&self, call: &Call<'_>, number: u8) -> Result<MapId, Fault> {
        let addr = self.arg(call, number)?;
        map_of(addr)
            .filter(|id| (id.0 as usize) < self.maps.len())
            .ok_or_else(|| self.wrong(call, number, "a map"))
    }

    fn map_of_kind(&self, call: &Call<'_>, number: u8, kind: MapKind) -> Result<MapId, Fault> {
        let id = self.map_arg(call, number)?;
        match self.maps.get(id.0 as usize) {
            Some(map) if map.kind == kind => Ok(id),
            _ => Err(self.wrong(call, number, "a map of the right kind")),
        }
    }

    /// Reads the first two arguments, a map with values and a key of it.
    fn map_and_key(&self, call: &Call<'_>) -> Result<(MapId, Vec<u8>), Fault> {
        let id = self.map_arg(call, 1)?;
        let size = match self.maps.get(id.0 as usize) {
            Some(map) if map.is_array() || map.is_hash() => map.key_size,
            Some(map) if map.kind == MapKind::StackTrace => map.key_size,
            _ => return Err(self.wrong(call, 1, "a map with keys")),
        };
        Ok((id, self.bytes(call, 2, u64::from(size))?))
    }

    fn lookup(&mut self, call: &Call<'_>, cpu: u32) -> Done {
        let (id, key) = self.map_and_key(call)?;
        let Some(map) = self.maps.get_mut(id.0 as usize) else {
            return Ok(0);
        };
        Ok(map.lookup(&key, cpu, &mut self.memory).unwrap_or(0))
    }

    fn update(&mut self, call: &Call<'_>) -> Done {
        let (id, key) = self.map_and_key(call)?;
        let flags = self.arg(call, 4)?;
        let size = self.maps.get(id.0 as usize).map_or(0, |map| map.value_size);
        let value = self.bytes(call, 3, u64::from(size))?;
        let cpu = Some(self.world.cpu);
        let Some(map) = self.maps.get_mut(id.0 as usize) else {
            return errno(EINVAL);
        };
        errno(map.update(&key, &value, flags, cpu, &mut self.memory))
    }

    /// Calls back; gives `r0` of the callback.
    fn call_back(&mut self, call: &Call<'_>, func: u64, arguments: [Option<u64>; 5]) -> Done {
        let Some(slot) = func_of(func) else {
            return Err(self.wrong(call, 2, "a function"));
        };
        let depth = call.depth.saturating_add(1);
        match self.frame(call.code, slot, arguments, depth)? {
            (End::Return(Some(value)), _) => Ok(value),
            (End::Return(None), exit) => {
                Err(self.fault(exit, FaultKind::UnwrittenRegister(Reg::R0)))
            }
            (End::Tail(_), exit) => Err(self.fault(exit, FaultKind::Unsupported("this tail call"))),
        }
    }

    fn repeat(&mut self, call: &Call<'_>) -> Done {
        let (rounds, func) = (self.arg(call, 1)?, self.arg(call, 2)?);
        let (context, flags) = (self.arg(call, 3)?, self.arg(call, 4)?);
        let rounds = u64::from(rounds as u32);
        if flags != 0 {
            return errno(EINVAL);
        }
        if rounds > LOOPS {
            return errno(E2BIG);
        }
        for round in 0..rounds {
            let arguments = [Some(round), Some(context), None, None, None];
            if self.call_back(call, func, arguments)? != 0 {
                return Ok(round.saturating_add(1));
            }
        }
        Ok(rounds)
    }

    fn for_each(&mut self, call: &Call<'_>) -> Done {
        let id = self.map_arg(call, 1)?;
        let (func, context) = (self.arg(call, 2)?, self.arg(call, 3)?);
        if self.arg(call, 4)? != 0 {
            return errno(EINVAL);
        }
        let index = id.0 as usize;
        let map = self.arg(call, 1)?;
        let keys = match self.maps.get(index) {
            Some(map) if map.is_array() || map.is_hash() => map.keys(),
            _ => return Err(self.wrong(call, 1, "an array or hash")),
        };
        let mut visited = 0;
        for key in keys {
            let cpu = self.world.cpu;
            let Some(map_state) = self.maps.get_mut(index) else {
                break;
            };
            // The callback may have deleted it.
            let Some(value) = map_state.lookup(&key, cpu, &mut self.memory) else {
                continue;
            };
            let key = self.memory.read_only(key);
            let arguments = [Some(map), Some(key), Some(value), Some(context), None];
            let result = self.call_back(call, func, arguments);
            let _ = self.memory.free(key);
            visited += 1;
            if result? != 0 {
                break;
            }
        }
        Ok(visited)
    }

    fn probe_read(&mut self, call: &Call<'_>, space: Space) -> Done {
        let (to, size, from) = (self.arg(call, 1)?, self.arg(call, 2)?, self.arg(call, 3)?);
        if size == 0 {
            return Ok(0);
        }
        let writable = self.memory.writable(to, size);
        writable.map_err(|kind| self.at(call, kind))?;
        let (data, result) = match self.memory.probe_all(space, from, size) {
            Some(data) => (data, 0),
            None => (vec![0; size as usize], EFAULT),
        };
        let done = self.memory.write(to, &data);
        done.map_err(|kind| self.at(call, kind))?;
        errno(result)
    }

    fn probe_read_str(&mut self, call: &Call<'_>, space: Space) -> Done {
        let (to, size, from) = (self.arg(call, 1)?, self.arg(call, 2)?, self.arg(call, 3)?);
        if size == 0 {
            return Ok(0);
        }
        let writable = self.memory.writable(to, size);
        writable.map_err(|kind| self.at(call, kind))?;
        let mut data = Vec::new();
        let mut found = true;
        while (data.len() as u64) < size - 1 {
            let addr = from.wrapping_add(data.len() as u64);
            match self.memory.probe(space, addr) {
                Some(0) => break,
                Some(byte) => data.push(byte),
                None => {
                    found = false;
                    break;
                }
            }
        }
        data.push(0);
        let length = data.len() as i64;
        if !found {
            data = vec![0; size as usize];
        }
        if !self.world.strict_strings {
            let marked = self.memory.mark_written(to, size);
            marked.map_err(|kind| self.at(call, kind))?;
        }
        let done = self.memory.write(to, &data);
        done.map_err(|kind| self.at(call, kind))?;
        errno(if found { length } else { EFAULT })
    }

    fn strncmp(&mut self, call: &Call<'_>) -> Done {
        let size = self.arg(call, 2)?;
        let left = self.bytes(call, 1, size)?;
        let right = self.arg(call, 3)?;
        for (at, byte) in left.iter().enumerate() {
            let addr = right.wrapping_add(at as u64);
            let other = self.memory.read(addr, 1).map(|bytes| bytes[0]);
            let other = other.map_err(|kind| self.at(call, kind))?;
            if *byte != other {
                return errno(if *byte < other { -1 } else { 1 });
            }
            if *byte == 0 {
                break;
            }
        }
        Ok(0)
    }

    fn comm(&mut self, call: &Call<'_>) -> Done {
        let (to, size) = (self.arg(call, 1)?, self.arg(call, 2)?);
        let writable = self.memory.writable(to, size);
        writable.map_err(|kind| self.at(call, kind))?;
        let comm = self.world.comm;
        let name = comm.iter().copied().take_while(|byte| *byte != 0);
        let mut data: Vec<u8> = name.take((size as usize).saturating_sub(1)).collect();
        data.resize(size as usize, 0);
        let done = self.memory.write(to, &data);
        done.map_err(|kind| self.at(call, kind))?;
        Ok(0)
    }

    /// The pid namespace is always the right one.
    fn ns_pid(&mut self, call: &Call<'_>) -> Done {
        let (to, size) = (self.arg(call, 3)?, self.arg(call, 4)?);
        let _ = (self.arg(call, 1)?, self.arg(call, 2)?);
        let writable = self.memory.writable(to, size);
        writable.map_err(|kind| self.at(call, kind))?;
        if size != 8 {
            return errno(EINVAL);
        }
        let [pid, tgid] = [
            self.world.pid_tgid as u32,
            (self.world.pid_tgid >> 32) as u32,
        ];
        let data = [pid.to_le_bytes(), tgid.to_le_bytes()].concat();
        let done = self.memory.write(to, &data);
        done.map_err(|kind| self.at(call, kind))?;
        Ok(0)
    }

    /// The frames that the flags of the stack helpers ask for.
    fn frames(&self, flags: u64) -> Vec<u64> {
        let user = flags & 0x100 != 0;
        let frames = if user {
            &self.world.user_stack
        } else {
            &self.world.kernel_stack
        };
        frames
            .iter()
            .copied()
            .skip((flags & 0xff) as usize)
            .collect()
    }

    fn stack_id(&mut self, call: &Call<'_>) -> Done {
        let _ = self.arg(call, 1)?;
        let id = self.map_of_kind(call, 2, MapKind::StackTrace)?;
        let flags = self.arg(call, 3)?;
        let mut frames = self.frames(flags);
        let Some(map) = self.maps.get_mut(id.0 as usize) else {
            return errno(EINVAL);
        };
        frames.truncate((map.value_size / 8) as usize);
        if frames.is_empty() {
            return errno(EFAULT);
        }
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in frames.iter().flat_map(|frame| frame.to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let bucket = (hash % u64::from(map.max_entries.max(1))) as u32;
        let reuse = flags & 0x400 != 0;
        if map.keep_stack(bucket, &frames, reuse, &mut self.memory) {
            Ok(u64::from(bucket))
        } else {
            errno(EEXIST)
        }
    }

    fn stack(&mut self, call: &Call<'_>) -> Done {
        let _ = self.arg(call, 1)?;
        let (to, size, flags) = (self.arg(call, 2)?, self.arg(call, 3)?, self.arg(call, 4)?);
        let writable = self.memory.writable(to, size);
        writable.map_err(|kind| self.at(call, kind))?;
        let frames = self.frames(flags);
        let frames = frames.iter().take((size / 8) as usize);
        let mut data: Vec<u8> = frames.flat_map(|frame| frame.to_le_bytes()).collect();
        let length = data.len() as i64;
        data.resize(size as usize, 0);
        let done = self.memory.write(to, &data);
        done.map_err(|kind| self.at(call, kind))?;
        errno(if length == 0 { EFAULT } else { length })
    }

    /// Takes room in a ring buffer for a record and its header.
    fn ring_take(&mut self, id: MapId, size: u64) -> bool {
        let Some(map) = self.maps.get_mut(id.0 as usize) else {
            return false;
        };
        let Some(room) = size.checked_add(8 + 7).map(|room| room & !7) else {
            return false;
        };
        let used = map.ring_used.saturating_add(room);
        // The kernel never lets the ring become full to the last byte.
        if used > u64::from(map.max_entries).saturating_sub(1) {
            return false;
        }
        map.ring_used = used;
        true
    }

    fn ring_output(&mut self, call: &Call<'_>) -> Done {
        let map = self.map_of_kind(call, 1, MapKind::RingBuf)?;
        let (size, flags) = (self.arg(call, 3)?, self.arg(call, 4)?);
        let data = self.bytes(call, 2, size)?;
        if flags & !3 != 0 {
            return errno(EINVAL);
        }
        if !self.ring_take(map, size) {
            return errno(EAGAIN);
        }
        self.events.push(Event::Ring {
            map,
            data,
            unwritten: 0,
        });
        Ok(0)
    }

    fn ring_reserve(&mut self, call: &Call<'_>) -> Done {
        let map = self.map_of_kind(call, 1, MapKind::RingBuf)?;
        let (size, flags) = (self.arg(call, 2)?, self.arg(call, 3)?);
        if flags != 0 || !self.ring_take(map, size) {
            return Ok(0);
        }
        let addr = self.memory.unwritten(size as usize, Purpose::Data);
        self.reserved.insert(addr, map);
        Ok(addr)
    }

    fn ring_release(&mut self, call: &Call<'_>, submit: bool) -> Done {
        let addr = self.arg(call, 1)?;
        let _ = self.arg(call, 2)?;
        let map = self.reserved.remove(&addr);
        let (Some(map), Some(region)) = (map, self.memory.free(addr)) else {
            return Err(self.wrong(call, 1, "a reserved record"));
        };
        if submit {
            let unwritten = region.holes();
            let data = region.bytes;
            self.events.push(Event::Ring {
                map,
                data,
                unwritten,
            });
        }
        Ok(0)
    }

    fn perf_output(&mut self, call: &Call<'_>) -> Done {
        const CURRENT_CPU: u64 = 0xffff_ffff;
        let _ = self.arg(call, 1)?;
        let map = self.map_of_kind(call, 2, MapKind::PerfEventArray)?;
        let (flags, size) = (self.arg(call, 3)?, self.arg(call, 5)?);
        let data = self.bytes(call, 4, size)?;
        let index = flags & CURRENT_CPU;
        if flags != index {
            return errno(EINVAL);
        }
        let cpu = if index == CURRENT_CPU {
            self.world.cpu
        } else {
            index as u32
        };
        if cpu >= self.world.cpus {
            return errno(E2BIG);
        }
        self.events.push(Event::Perf { map, cpu, data });
        Ok(0)
    }
}
