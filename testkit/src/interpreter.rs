//! A user-space eBPF interpreter over a `Spec`, for tests of generated code.
//!
//! Memory is a set of regions at made-up addresses with gaps between them. An access outside a
//! region, a read of a stack byte or register nobody wrote, and whatever else a verifier would
//! refuse at the instruction that runs, is a [`Fault`] with the instruction, never a panic. The
//! machine is little-endian.

mod alu;
mod calls;
mod exec;
mod maps;
mod memory;

use kscope_spec::insn::{BadInsn, Reg};
use kscope_spec::{HelperId, LateKind, MapId, ProgramId, Spec};
use std::collections::BTreeMap;
use std::fmt;

pub use maps::MapView;
pub use memory::Space;

use maps::Map;
use memory::Memory;

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Program that was running; another than the one started after a tail call.
    pub program: ProgramId,
    /// Slot index of the instruction.
    pub insn: u32,
    /// What it did.
    pub kind: FaultKind,
}

/// Kinds of [`Fault`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The `Spec` has no such program.
    NoProgram,
    /// The slot is no instruction.
    Bad(BadInsn),
    /// Control left the program.
    RanOff,
    /// A register is read that nobody wrote, or that a call destroyed.
    UnwrittenRegister(Reg),
    /// The frame pointer is written.
    FrameWritten,
    /// An access to memory that is not there.
    OutOfBounds {
        /// First address.
        addr: u64,
        /// Size in bytes.
        size: u64,
    },
    /// A byte is read that nobody wrote.
    UnwrittenMemory {
        /// Its address.
        addr: u64,
        /// Its offset from the frame pointer, if it is on the stack.
        frame_offset: Option<i64>,
    },
    /// A store to memory that may only be read.
    ReadOnly {
        /// First address.
        addr: u64,
    },
    /// A stack access not aligned to its size.
    Misaligned {
        /// First address.
        addr: u64,
    },
    /// More than 8 frames, or more than 512 bytes of stack in use.
    StackDepth,
    /// The step budget is used up.
    Steps,
    /// A helper the interpreter does not have.
    UnknownHelper(HelperId),
    /// A kernel function, or another thing the interpreter does not have.
    Unsupported(&'static str),
    /// A helper was given something it cannot take.
    Argument {
        /// The helper.
        helper: HelperId,
        /// The register.
        reg: Reg,
        /// What it should be.
        what: &'static str,
    },
    /// The program ended with a reserved ring buffer record neither submitted nor discarded.
    LeakedRecord,
    /// A relocation refers to something that is not in the `Spec`.
    Dangling,
    /// A late value that nobody set.
    MissingLate(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (program, insn) = (self.program.0, self.insn);
        write!(f, "program {program}, instruction {insn}: {:?}", self.kind)
    }
}

impl std::error::Error for Fault {}

/// What a program sent out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A ring buffer record.
    Ring {
        /// The ring buffer.
        map: MapId,
        /// The record.
        data: Vec<u8>,
        /// How many of its bytes nobody wrote (only where it was reserved); they read as zero.
        unwritten: usize,
    },
    /// A perf buffer sample.
    Perf {
        /// The perf event array.
        map: MapId,
        /// The CPU whose buffer it went to.
        cpu: u32,
        /// The sample.
        data: Vec<u8>,
    },
    /// `trace_printk`, not formatted.
    Print {
        /// The format without its NUL.
        format: Vec<u8>,
        /// The three arguments, as far as they were written.
        arguments: [Option<u64>; 3],
    },
    /// `seq_write`.
    Seq(Vec<u8>),
    /// `send_signal` and `send_signal_thread`.
    Signal(u64),
    /// `override_return`.
    Override(u64),
}

/// What the helpers tell a program of the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// What the clocks show, in nanoseconds.
    pub clock: u64,
    /// How far each look moves them.
    pub clock_step: u64,
    /// Thread group id (upper half) and thread id.
    pub pid_tgid: u64,
    /// Group id (upper half) and user id.
    pub uid_gid: u64,
    /// Name of the thread.
    pub comm: [u8; 16],
    /// The CPU it runs on.
    pub cpu: u32,
    /// Number of possible CPUs.
    pub cpus: u32,
    /// Address of the `task_struct`.
    pub task: u64,
    /// Control group id.
    pub cgroup: u64,
    /// Attach cookie.
    pub cookie: u64,
    /// Address of the function traced.
    pub func_ip: u64,
    /// Kernel stack, innermost frame first.
    pub kernel_stack: Vec<u64>,
    /// User stack, innermost frame first.
    pub user_stack: Vec<u64>,
    /// Packet of a socket filter.
    pub packet: Vec<u8>,
    /// State of the random numbers; not 0.
    pub random: u64,
    /// Whether plain loads may read the fake kernel memory, as BTF-typed pointers may.
    pub direct_reads: bool,
    /// Whether the bytes after the NUL of a string read stay unwritten, as they do in a kernel
    /// whose verifier says otherwise.
    pub strict_strings: bool,
}

impl Default for World {
    fn default() -> World {
        World {
            clock: 1_000_000_000,
            clock_step: 0,
            pid_tgid: (1000 << 32) | 1001,
            uid_gid: 0,
            comm: *b"test\0\0\0\0\0\0\0\0\0\0\0\0",
            cpu: 0,
            cpus: 4,
            task: 0xffff_8880_0001_0000,
            cgroup: 1,
            cookie: 0,
            func_ip: 0,
            kernel_stack: Vec::new(),
            user_stack: Vec::new(),
            packet: Vec::new(),
            random: 0x9e37_79b9_7f4a_7c15,
            direct_reads: false,
            strict_strings: false,
        }
    }
}

/// A machine with the maps of a `Spec`, ready to run its programs.
///
/// # Examples
/// ```
/// use kscope_spec::{ProgramId, ProgramSpec, ProgramType, Spec, asm};
/// use kscope_testkit::interpreter::Machine;
///
/// let insns = asm::insns("r0 = *(u64 *)(r1 + 0)\nr0 += 1\nexit").unwrap();
/// let program = ProgramSpec {
///     name: "p".to_owned(),
///     kind: ProgramType::RawTracepoint,
///     insns,
///     ..ProgramSpec::default()
/// };
/// let spec = Spec { programs: vec![program], ..Spec::default() };
/// let mut machine = Machine::new(&spec);
/// let mut ctx = 41_u64.to_le_bytes();
/// assert_eq!(machine.run(ProgramId(0), &mut ctx), Ok(42));
/// ```
#[derive(Debug)]
pub struct Machine<'a> {
    /// What the helpers tell; change it between runs.
    pub world: World,
    /// Steps that one run may take.
    pub budget: u64,
    spec: &'a Spec,
    memory: Memory,
    maps: Vec<Map>,
    late: BTreeMap<String, u64>,
    events: Vec<Event>,
    /// Ring buffer records reserved in this run, by address.
    reserved: BTreeMap<u64, MapId>,
    steps: u64,
    /// What [`FaultKind`] is of: the program that runs.
    running: ProgramId,
}

impl<'a> Machine<'a> {
    /// Makes a machine with empty maps, four CPUs and a step budget of a million.
    #[must_use]
    pub fn new(spec: &'a Spec) -> Machine<'a> {
        Machine::with_world(spec, World::default())
    }

    /// Makes a machine in a given world; the number of CPUs must not change after this.
    #[must_use]
    pub fn with_world(spec: &'a Spec, world: World) -> Machine<'a> {
        let mut memory = Memory::default();
        let maps = spec
            .maps
            .iter()
            .map(|map| Map::new(map, world.cpus, &mut memory))
            .collect();
        Machine {
            world,
            budget: 1_000_000,
            spec,
            memory,
            maps,
            late: BTreeMap::new(),
            events: Vec::new(),
            reserved: BTreeMap::new(),
            steps: 0,
            running: ProgramId(0),
        }
    }

    /// Sets a late value by name.
    pub fn set_late(&mut self, name: &str, value: u64) {
        self.late.insert(name.to_owned(), value);
    }

    /// Puts bytes into the fake kernel or user memory.
    pub fn set_memory(&mut self, space: Space, addr: u64, bytes: &[u8]) {
        self.memory.set_foreign(space, addr, bytes);
    }

    /// Puts a program into a program array, for tail calls.
    pub fn set_program(&mut self, map: MapId, index: u32, program: ProgramId) {
        if let Some(map) = self.maps.get_mut(map.0 as usize) {
            map.programs.insert(index, program);
        }
    }

    /// Writes a map entry; on the per-CPU kinds the same value for every CPU.
    ///
    /// Tells whether the map took it: a full map, a key of the wrong size and an index beyond the
    /// end do not.
    pub fn set_entry(&mut self, map: MapId, key: &[u8], value: &[u8]) -> bool {
        let Some(map) = self.maps.get_mut(map.0 as usize) else {
            return false;
        };
        map.set(key, value, &mut self.memory)
    }

    /// Gives a view of a map, or `None` if there is none of that id.
    #[must_use]
    pub fn map(&self, id: MapId) -> Option<MapView<'_>> {
        let map = self.maps.get(id.0 as usize)?;
        Some(MapView::new(map, &self.memory))
    }

    /// Gives a view of the map of that name.
    #[must_use]
    pub fn map_named(&self, name: &str) -> Option<MapView<'_>> {
        let index = self.spec.maps.iter().position(|map| map.name == name)?;
        self.map(MapId(u32::try_from(index).ok()?))
    }

    /// Gives what the programs sent out, in order.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Takes what the programs sent out; the ring buffers are empty after that.
    pub fn take_events(&mut self) -> Vec<Event> {
        for map in &mut self.maps {
            map.ring_used = 0;
        }
        std::mem::take(&mut self.events)
    }

    /// Gives the steps that the last run took.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Runs a program over a context; only programs of type `Syscall` may write it.
    ///
    /// # Errors
    /// A [`Fault`] for all that a verifier would refuse at an instruction that ran, for a step
    /// budget used up, and for what the interpreter does not have.
    pub fn run(&mut self, program: ProgramId, ctx: &mut [u8]) -> Result<u64, Fault> {
        self.start(program, ctx)
    }

    fn late_value(&self, index: u32) -> Result<u64, FaultKind> {
        let late = self.spec.late.get(index as usize);
        let late = late.ok_or(FaultKind::Dangling)?;
        if let Some(value) = self.late.get(&late.name) {
            return Ok(*value);
        }
        match &late.kind {
            LateKind::CpuCount => Ok(u64::from(self.world.cpus)),
            LateKind::PidNamespaceDev | LateKind::PidNamespaceInode | LateKind::OwnPid => Ok(0),
            _ => Err(FaultKind::MissingLate(late.name.clone())),
        }
    }
}

#[cfg(test)]
mod tests;
