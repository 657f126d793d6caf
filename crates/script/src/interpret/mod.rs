//! The second back end: runs the IR over memory that can only be read, such as a crash dump.
//!
//! It runs the IR and not the checked program (`hir`): the IR has a tenth of the constructs, all
//! of the language goes through it, and what comes out – bytes of events and maps – is what eBPF
//! programs give, so that the same Plan reads both and prints the same. Helpers are the few that
//! lowering calls. What asks for a running thread or a process has no answer in memory:
//! [`refusals`] finds it before anything runs.
//!
//! Invariant: whatever the memory holds, a program ends: each run has a bound on its steps.

mod arena;
mod check;
mod compile;
mod counts;
mod engine;
mod helper;
mod map;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use kscope_memory::{Memory, VirtAddr};
use kscope_spec::{MapId, MapKind, MapSpec};

use crate::ir::{self, AtomicOp, Function, Inst, Op, Target, Terminator, extend};
use arena::{Arena, Astray};
use map::MapState;

pub use crate::syntax::list_loop::WalkKind;
pub use check::{refusals, waits_for_nothing};
pub use compile::{Code, compile};
pub use counts::{Paths, Reads};
pub use engine::{Engine, engine_of};

/// Most steps of one run of a program: seconds.
const STEPS: u64 = 1 << 28;
/// Steps after which the caller is asked whether to stop.
const STEPS_BETWEEN_LOOKS: u64 = 1 << 16;
/// Bytes of events that may wait for their reader.
const EVENT_BYTES: usize = 64 << 20;

/// What a program asks of the kernel beside bytes.
pub trait World {
    /// Gives the kernel's memory.
    fn memory(&self) -> &dyn Memory;

    /// Gives the time of a clock in nanoseconds: since boot, or since 1970 for `tai`.
    fn clock(&self, tai: bool) -> u64;

    /// Gives the addresses of a thread's kernel stack, innermost first; none where it cannot be
    /// followed.
    fn task_stack(&self, task: VirtAddr) -> Option<Vec<u64>>;

    /// Walks over what the kernel links.
    fn walk(&self, kind: WalkKind, root: VirtAddr) -> Walk;

    /// Takes why a walk that a program followed to its end may have missed something.
    fn fault(&self, fault: String);

    /// Gives the name of what a `struct path` leads to; none where it cannot be read.
    fn path(&self, path: VirtAddr) -> Option<Vec<u8>>;

    /// Gives the name of a `struct dentry` below the root of the mounts of a `struct vfsmount`, or
    /// in its own file system where none is given; none where it cannot be read.
    fn dentry_path(&self, dentry: VirtAddr, mount: Option<VirtAddr>) -> Option<Vec<u8>>;

    /// Says whether the run is to end.
    fn stop(&self) -> bool {
        false
    }
}

/// What a walk over what the kernel links found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// The addresses of the links, or what the entries of an array are.
    pub found: Vec<u64>,
    /// Why there may be more behind them.
    pub fault: Option<String>,
}

/// A walk that a program goes through.
struct Walking {
    /// What it found and nobody asked for yet.
    found: std::vec::IntoIter<u64>,
    /// Why there may be more, until it is told.
    fault: Option<String>,
}

/// Why a program did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It took more steps than any program may.
    Endless,
    /// The caller wanted to stop.
    Stopped,
    /// It needs more memory than there may be.
    NoRoom,
    /// It calls what has no meaning over memory; [`refusals`] finds these.
    Helper(u32),
    /// The code is not what [`ir::verify`] lets pass.
    Malformed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Endless => f.write_str("it took more steps than a program may"),
            Fault::Stopped => f.write_str("it was stopped"),
            Fault::NoRoom => f.write_str("it needs more memory than a program may have"),
            Fault::Helper(number) => {
                let helper = kscope_spec::HelperId(*number);
                write!(f, "it calls {helper}, which has no meaning over memory")
            }
            Fault::Malformed => f.write_str("its code is malformed: this is a fault of kscope"),
        }
    }
}

impl std::error::Error for Fault {}

impl From<Astray> for Fault {
    fn from(_: Astray) -> Fault {
        Fault::Malformed
    }
}

/// Runs the programs of a script over memory, with the script's maps.
pub struct Interpreter<'a> {
    functions: &'a [Function],
    late: Vec<u64>,
    world: &'a dyn World,
    arena: Arena,
    maps: Vec<MapState>,
    /// Kernel stacks by id, and the ids by the stack.
    stacks: Vec<Arc<[u64]>>,
    stack_ids: HashMap<Arc<[u64]>, i64>,
    /// How many addresses all of them have.
    stack_frames: usize,
    /// Values of maps whose entries are gone, until the program ends.
    dead: Vec<u64>,
    /// What walks of the program found, and how many of them nobody asked for yet.
    walks: Vec<Walking>,
    walked: usize,
    /// Events in their order.
    events: VecDeque<Vec<u8>>,
    event_bytes: usize,
    reads: Reads,
    paths: Paths,
    steps: u64,
    most_steps: u64,
    random: u64,
}

impl fmt::Debug for Interpreter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interpreter")
            .field("functions", &self.functions.len())
            .field("maps", &self.maps.len())
            .field("reads", &self.reads)
            .finish_non_exhaustive()
    }
}

/// One call of a function.
struct Frame<'f> {
    function: &'f Function,
    values: Vec<u64>,
    slots: Vec<u64>,
    arguments: [u64; 5],
    context: u64,
}

impl Frame<'_> {
    fn get(&self, value: ir::Value) -> Result<u64, Fault> {
        let value = self.values.get(value.index());
        value.copied().ok_or(Fault::Malformed)
    }

    fn set(&mut self, value: ir::Value, to: u64) -> Result<(), Fault> {
        let place = self.values.get_mut(value.index());
        *place.ok_or(Fault::Malformed)? = to;
        Ok(())
    }

    /// Gives the address that an instruction reads or writes.
    fn address(&self, op: &Op) -> Result<u64, Fault> {
        let (base, offset) = op.place().ok_or(Fault::Malformed)?;
        Ok(self.get(base)?.wrapping_add_signed(offset))
    }
}

impl<'a> Interpreter<'a> {
    /// Takes functions, the maps that they use, and a number for each late value.
    #[must_use]
    pub fn new(
        functions: &'a [Function],
        maps: &[MapSpec],
        late: Vec<u64>,
        world: &'a dyn World,
    ) -> Interpreter<'a> {
        Interpreter {
            functions,
            late,
            world,
            arena: Arena::default(),
            maps: maps.iter().map(MapState::new).collect(),
            stacks: Vec::new(),
            stack_ids: HashMap::new(),
            stack_frames: 0,
            dead: Vec::new(),
            walks: Vec::new(),
            walked: 0,
            events: VecDeque::new(),
            event_bytes: 0,
            reads: Reads::default(),
            paths: Paths::default(),
            steps: 0,
            most_steps: STEPS,
            // Any number will do: what is random need not be secret here.
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Ends programs after so many steps; an instruction is one.
    #[must_use]
    pub fn with_most_steps(mut self, most: u64) -> Self {
        self.most_steps = most;
        self
    }

    /// Runs a program with these bytes as its context and gives its result.
    ///
    /// # Errors
    ///
    /// Where it does not come to its end; what it sent before stays.
    pub fn run(&mut self, program: usize, context: &[u8]) -> Result<u64, Fault> {
        let function = self.functions.get(program).ok_or(Fault::Malformed)?;
        let address = self.keep(context).ok_or(Fault::NoRoom)?;
        self.steps = 0;
        let result = self.call(function, [0; 5], address);
        self.arena.remove(address);
        self.walks.clear();
        self.walked = 0;
        for address in std::mem::take(&mut self.dead) {
            self.arena.remove(address);
        }
        result
    }

    /// Puts bytes where programs can read them, and gives their address; none where there is no
    /// room.
    pub fn keep(&mut self, bytes: &[u8]) -> Option<u64> {
        let address = self.arena.add(u32::try_from(bytes.len()).ok()?)?;
        let to = self.arena.get_mut(address, bytes.len() as u64).ok()?;
        to.copy_from_slice(bytes);
        Some(address)
    }

    /// Gives back what [`Interpreter::keep`] put there.
    pub fn forget(&mut self, address: u64) {
        self.arena.remove(address);
    }

    /// Takes the event that was sent first.
    pub fn next_event(&mut self) -> Option<Vec<u8>> {
        let event = self.events.pop_front()?;
        self.event_bytes -= event.len();
        Some(event)
    }

    /// Gives what was read so far.
    #[must_use]
    pub fn reads(&self) -> Reads {
        self.reads
    }

    /// Gives what was asked for and not told of paths so far.
    #[must_use]
    pub fn paths(&self) -> Paths {
        self.paths
    }

    /// Gives the addresses of a kernel stack by its id, innermost first.
    #[must_use]
    pub fn stack(&self, id: i64) -> Option<&[u64]> {
        let stack = self.stacks.get(usize::try_from(id).ok()?)?;
        Some(stack)
    }

    /// Gives keys and values of a map, in ascending order of the keys' bytes.
    pub fn entries(&self, map: MapId) -> impl Iterator<Item = (&[u8], &[u8])> {
        let map = self.maps.get(map.0 as usize);
        map.into_iter().flat_map(|map| map.entries(&self.arena))
    }

    /// Gives the value of a key.
    #[must_use]
    pub fn value(&self, map: MapId, key: &[u8]) -> Option<&[u8]> {
        let map = self.maps.get(map.0 as usize)?;
        // The kernel's keys have zeros behind them, up to whole words.
        let mut padded = key.to_vec();
        padded.resize(map.key_size() as usize, 0);
        map.value(&padded, &self.arena)
    }

    /// Takes all entries out of a map.
    pub fn clear(&mut self, map: MapId) {
        if let Some(map) = self.maps.get_mut(map.0 as usize) {
            map.clear(&mut self.dead);
        }
    }

    /// Sets each value of a map to these bytes, and zeros behind them.
    pub fn fill(&mut self, map: MapId, bytes: &[u8]) {
        let keys = self.maps.get(map.0 as usize).map(MapState::keys);
        for key in keys.into_iter().flatten() {
            if let Some((address, size)) = self.lookup(map.0, &key) {
                if let Ok(value) = self.arena.get_mut(address, u64::from(size)) {
                    let len = bytes.len().min(value.len());
                    value.fill(0);
                    value[..len].copy_from_slice(&bytes[..len]);
                }
            }
        }
    }

    fn lookup(&mut self, map: u32, key: &[u8]) -> Option<(u64, u32)> {
        let map = self.maps.get_mut(map as usize)?;
        let address = map.lookup(key, &mut self.arena)?;
        Some((address, map.value_size()))
    }

    /// Calls a function and gives its result.
    fn call(
        &mut self,
        function: &Function,
        arguments: [u64; 5],
        context: u64,
    ) -> Result<u64, Fault> {
        let mut frame = Frame {
            function,
            values: vec![0; function.values.len()],
            slots: Vec::with_capacity(function.slots.len()),
            arguments,
            context,
        };
        for slot in &function.slots {
            let address = self.arena.add(slot.size).ok_or(Fault::NoRoom)?;
            frame.slots.push(address);
        }
        let result = self.blocks(&mut frame);
        for slot in frame.slots {
            self.arena.remove(slot);
        }
        result
    }

    fn blocks(&mut self, frame: &mut Frame<'_>) -> Result<u64, Fault> {
        let function = frame.function;
        let mut block = function.blocks.first().ok_or(Fault::Malformed)?;
        loop {
            self.step(block.insts.len() as u64 + 1)?;
            for inst in &block.insts {
                let result = self.instruction(frame, inst)?;
                if let Some(value) = inst.result {
                    frame.set(value, result)?;
                }
            }
            let target = match &block.end {
                Terminator::Jump(target) => target,
                Terminator::Branch {
                    cond,
                    left,
                    right,
                    then,
                    otherwise,
                } => match cond.holds(frame.get(*left)? as i64, frame.get(*right)? as i64) {
                    true => then,
                    false => otherwise,
                },
                Terminator::BranchNull {
                    pointer,
                    null,
                    present,
                } => match frame.get(*pointer)? {
                    0 => null,
                    _ => present,
                },
                Terminator::Return(value) => return frame.get(*value),
            };
            block = enter(frame, target)?;
        }
    }

    /// Counts steps.
    fn step(&mut self, count: u64) -> Result<(), Fault> {
        let before = self.steps / STEPS_BETWEEN_LOOKS;
        self.steps += count;
        if self.steps > self.most_steps {
            return Err(Fault::Endless);
        }
        match self.steps / STEPS_BETWEEN_LOOKS != before && self.world.stop() {
            true => Err(Fault::Stopped),
            false => Ok(()),
        }
    }

    fn instruction(&mut self, frame: &Frame<'_>, inst: &Inst) -> Result<u64, Fault> {
        let at = |base: u64, offset: i32| base.wrapping_add_signed(i64::from(offset));
        Ok(match &inst.op {
            Op::Const(number) => *number as u64,
            Op::Late(id) => {
                let late = self.late.get(id.0 as usize);
                late.copied().ok_or(Fault::Malformed)?
            }
            Op::Layout(layout) => layout.value as u64,
            Op::Ctx => frame.context,
            Op::Argument(place) => {
                let argument = frame.arguments.get(usize::from(*place));
                argument.copied().ok_or(Fault::Malformed)?
            }
            Op::Callback(index) => u64::from(*index),
            Op::SlotAddr(slot) => {
                let address = frame.slots.get(slot.index());
                address.copied().ok_or(Fault::Malformed)?
            }
            Op::MapRef(map) => u64::from(map.0),
            Op::MapValueAddr { map, offset } => {
                let (address, _) = self.lookup(map.0, &[0; 4]).ok_or(Fault::NoRoom)?;
                address + u64::from(*offset)
            }
            Op::PtrAdd {
                base,
                offset,
                bound,
            } => {
                let offset = frame.get(*offset)?;
                if offset > u64::from(*bound) {
                    return Err(Fault::Malformed);
                }
                frame.get(*base)?.wrapping_add(offset)
            }
            Op::NonNull(value) | Op::PtrToInt(value) => frame.get(*value)?,
            op @ (Op::Binary(..) | Op::Compare(..) | Op::Extend { .. } | Op::ByteSwap { .. }) => {
                let number = op.computed(|value| frame.get(value).ok().map(|found| found as i64));
                number.ok_or(Fault::Malformed)? as u64
            }
            op @ (Op::Load { bytes, signed, .. } | Op::LoadAt { bytes, signed, .. }) => {
                let number = self.load(frame.address(op)?, *bytes);
                extend(*bytes, *signed, number as i64) as u64
            }
            op @ Op::Store { bytes, value, .. } => {
                let (address, value) = (frame.address(op)?, frame.get(*value)?);
                self.arena.set_number(address, *bytes, value)?;
                0
            }
            op @ Op::Atomic {
                op: how,
                bytes,
                value,
                ..
            } => self.change(*how, frame.address(op)?, *bytes, frame.get(*value)?)?,
            op @ Op::AtomicFetchAdd { value, .. } => {
                self.change(AtomicOp::Add, frame.address(op)?, 8, frame.get(*value)?)?
            }
            op @ Op::Zero { len, .. } => {
                let place = self.arena.get_mut(frame.address(op)?, u64::from(*len))?;
                place.fill(0);
                0
            }
            Op::Copy {
                to,
                to_offset,
                from,
                from_offset,
                len,
            } => {
                let to = at(frame.get(*to)?, *to_offset);
                let from = at(frame.get(*from)?, *from_offset);
                let mut bytes = vec![0; *len as usize];
                self.bytes(from, &mut bytes);
                self.arena
                    .get_mut(to, u64::from(*len))?
                    .copy_from_slice(&bytes);
                0
            }
            Op::Call { helper, args } => {
                let mut given = [0; 5];
                for (to, value) in given.iter_mut().zip(args) {
                    *to = frame.get(*value)?;
                }
                self.helper(frame, *helper, given)?
            }
        })
    }

    /// Changes a number in memory and gives what was there.
    fn change(&mut self, op: AtomicOp, address: u64, bytes: u8, value: u64) -> Result<u64, Fault> {
        let before = self.arena.number(address, bytes)?;
        self.arena
            .set_number(address, bytes, op.apply(before, value))?;
        Ok(before)
    }

    /// Reads a number where a pointer leads: of the interpreter's memory, or of the kernel's, where
    /// what is missing reads as zero.
    fn load(&mut self, address: u64, bytes: u8) -> u64 {
        let mut word = [0; 8];
        let len = usize::from(bytes.min(8));
        self.bytes(address, &mut word[..len]);
        u64::from_le_bytes(word)
    }

    fn bytes(&mut self, address: u64, to: &mut [u8]) {
        match self.arena.get(address, to.len() as u64) {
            Ok(found) => to.copy_from_slice(found),
            // A pointer that was read of the kernel's memory may be any number, and look like one of here.
            Err(Astray) => {
                if !self.read_kernel(address, to) {
                    to.fill(0);
                }
            }
        }
    }

    /// Reads kernel memory; says whether all of it is there.
    fn read_kernel(&mut self, address: u64, to: &mut [u8]) -> bool {
        let read = self.world.memory().read(VirtAddr(address), to);
        self.reads.count(address, read.err());
        read.is_ok()
    }

    /// Says whether a map is one of those that events go through.
    fn carries_events(&self, map: u64) -> bool {
        let map = usize::try_from(map).ok().and_then(|map| self.maps.get(map));
        map.is_some_and(|map| matches!(map.kind(), MapKind::RingBuf | MapKind::PerfEventArray))
    }
}

/// Gives the parameters of a block their values.
fn enter<'f>(frame: &mut Frame<'f>, target: &Target) -> Result<&'f ir::BlockData, Fault> {
    let block = frame.function.blocks.get(target.block.index());
    let block = block.ok_or(Fault::Malformed)?;
    // All are read before one is written: they may change places.
    match (block.params.as_slice(), target.args.as_slice()) {
        ([], _) => {}
        ([param], [argument]) => {
            let value = frame.get(*argument)?;
            frame.set(*param, value)?;
        }
        (params, arguments) => {
            let values: Vec<u64> = arguments
                .iter()
                .map(|argument| frame.get(*argument))
                .collect::<Result<_, _>>()?;
            for (param, value) in params.iter().zip(values) {
                frame.set(*param, value)?;
            }
        }
    }
    Ok(block)
}
