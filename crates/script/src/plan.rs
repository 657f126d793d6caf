//! The Plan: what of a compiled script is not eBPF. The runtime reads events and maps with it.

mod option;

use std::sync::Arc;

use kscope_rows::{DataType, Field, MapValueType};
use kscope_spec::{MapId, ProgramId};

use crate::diagnostic::Span;

pub use option::{OptionDecl, OptionKind, OptionMeaning};

/// Version of the Plan's meaning; a runtime refuses a newer one.
pub const PLAN_VERSION: u32 = 3;

/// Size in bytes of the header of an event: the `u32` site id and 4 bytes of zero.
pub const EVENT_HEADER: u32 = 8;

/// Size in bytes of the mark that stands after the value of a map without a key, on each CPU that
/// has one of its own: a `u64` that is not zero once the map is set.
///
/// A map is set as well where any byte of its value is not zero, so that what can only make a value
/// other than zero (`@m++`, `count()`) leaves the mark alone.
pub const SET_MARK: u32 = 8;

/// What the runtime needs beside the [`kscope_spec::Spec`].
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// Output sites, indexed by [`SiteId`].
    pub sites: Vec<Site>,
    /// Maps of the script, in the order of their first use.
    pub maps: Vec<MapPlan>,
    /// Where programs are attached, in order.
    pub probes: Vec<ProbePlan>,
    /// Options declared by `getopt`.
    pub options: Vec<OptionDecl>,
    /// Configuration.
    pub config: Config,
    /// Maps that the compiler added.
    pub service: ServiceMaps,
}

/// Maps that the compiler added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceMaps {
    /// Where events go.
    pub events: Option<EventMap>,
    /// Per-CPU array of `u64` counters, see [`Counter`]; where updates of maps are counted, with
    /// what the helper returned for the last beside each, at [`CODE_OFFSET`].
    pub counters: Option<MapId>,
    /// What `exit` left that found no room among the events: an array of one [`ExitWord`].
    pub exit: Option<MapId>,
    /// Kernel stacks by id.
    pub kernel_stacks: Option<MapId>,
    /// Stacks of processes by id.
    pub user_stacks: Option<MapId>,
    /// Read-only values of string options, at [`OptionDecl::offset`].
    pub options: Option<MapId>,
}

/// A wish to end that does not depend on room for an event: the `u64` in [`ServiceMaps::exit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitWord(pub u64);

impl ExitWord {
    /// Set once a program called `exit`; the code is in the high half.
    pub(crate) const ASKED: u64 = 1;
    /// How far left the code stands.
    pub(crate) const CODE_SHIFT: u32 = 32;

    /// Gives the code of the `exit`, where there was one.
    #[must_use]
    pub fn code(self) -> Option<i32> {
        (self.0 & Self::ASKED != 0).then_some((self.0 >> Self::CODE_SHIFT) as i32)
    }
}

/// The map that events go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventMap {
    /// One ring buffer.
    Ring(MapId),
    /// A perf event array: a buffer per CPU.
    Perf(MapId),
}

/// What the counters of [`ServiceMaps::counters`] count, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Events that found no room.
    LostEvents,
    /// Stacks the kernel could not store.
    LostStacks,
    /// Updates refused because the map was full, of one of the places that make them: its number
    /// among the sites of [`SiteKind::MapFull`].
    MapFull(u32),
}

impl Counter {
    /// Gives the index in the counter map.
    #[must_use]
    pub fn index(self) -> u32 {
        match self {
            Counter::LostEvents => 0,
            Counter::LostStacks => 1,
            Counter::MapFull(place) => 2 + place,
        }
    }
}

/// Where in a counter's value stands what the helper returned, as `i32`, where it is kept.
pub const CODE_OFFSET: u32 = 8;

/// Room in bytes of the name of an error, a signal or a system call as a string, the NUL included.
pub const NAME_ROOM: u32 = 64;

/// Index of a site in [`Plan::sites`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u32);

/// A place in the script that sends an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// What user space does with it.
    pub kind: SiteKind,
    /// Arguments; offsets count from the start of the event, so the first is at
    /// least [`EVENT_HEADER`].
    pub fields: Vec<Field>,
    /// Size of the whole event in bytes, a multiple of 8.
    pub size: u32,
    /// Where in the script.
    pub span: Span,
}

/// What an event asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum SiteKind {
    /// `printf(format, …)`.
    Printf {
        /// The format string, checked against the fields.
        format: Arc<str>,
    },
    /// `errorf`, `warnf`: as `printf`, to standard error.
    Message {
        /// The format string.
        format: Arc<str>,
        /// `ERROR` or `WARNING`.
        error: bool,
    },
    /// An operation of the script failed: without fields.
    RuntimeError {
        /// What failed.
        message: Arc<str>,
    },
    /// A helper failed: one field, what it returned as `i64`.
    HelperFailed {
        /// Its name without `bpf_`.
        helper: Arc<str>,
    },
    /// A place that updates a map. It sends nothing: where the map is full, a [`Counter`] counts.
    MapFull {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `print(value)` of any value but a map: one field.
    Print,
    /// `print(@m[key])`: the key's field, then the value's.
    PrintEntry {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `print(@m, top, div)`.
    PrintMap {
        /// Index in [`Plan::maps`].
        map: u32,
        /// How many entries; 0 for all.
        top: u32,
        /// Divisor of the values; 0 for none.
        div: u64,
    },
    /// `clear(@m)`.
    Clear {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `zero(@m)`.
    Zero {
        /// Index in [`Plan::maps`].
        map: u32,
    },
    /// `time(format)`.
    Time {
        /// `strftime` format.
        format: Arc<str>,
    },
    /// `exit(code)`: one field, the code as `i32`.
    Exit,
    /// `join(list, separator)`: one field, an array of the strings up to the first that is empty;
    /// plans made before had a field for each.
    Join {
        /// Put between the strings.
        separator: Arc<str>,
    },
    /// `cat(format, …)`.
    Cat {
        /// The format string.
        format: Arc<str>,
    },
    /// `unwatch(address)`: one field.
    Unwatch,
    /// `system(format, …)`.
    System {
        /// The format string.
        format: Arc<str>,
    },
}

/// A map of the script.
#[derive(Clone, Debug, PartialEq)]
pub struct MapPlan {
    /// Name without `@`.
    pub name: String,
    /// The kernel's map.
    pub map: MapId,
    /// Type of the key, none for a scalar map (entry 0 of an array, with a [`SET_MARK`]).
    pub key: Option<DataType>,
    /// What its values are.
    pub value: MapValueType,
    /// Whether the kernel keeps a value for each CPU.
    pub per_cpu: bool,
    /// Whether the script says how many entries it has, by itself or for all maps.
    pub sized: bool,
}

impl MapPlan {
    /// Gives the size in bytes of a value without its mark, a multiple of 8.
    #[must_use]
    pub fn value_size(&self) -> u32 {
        padded_size(&self.value)
    }
}

/// Gives the size in bytes that a value of a map takes, a multiple of 8.
pub(crate) fn padded_size(value: &MapValueType) -> u32 {
    value.size().next_multiple_of(8).max(8)
}

/// Where a program is attached.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbePlan {
    /// The program in the Spec.
    pub program: ProgramId,
    /// The attach point as written, or what a wildcard became.
    pub name: String,
    /// What to attach to; several after a wildcard that shares one program.
    pub attach: Vec<Attach>,
    /// Patterns that some of these match, the pattern in the place of the name.
    pub patterns: Vec<Attach>,
    /// Whether what else matches the patterns on another kernel may be attached to as well: the
    /// program does not depend on where it is attached.
    pub open: bool,
    /// Conditions on options alone that its predicate begins with: where one does not hold, the
    /// program is neither loaded nor attached. Set by lowering.
    pub when: Vec<OptionCondition>,
}

/// `getopt("name") == "value"`, known before anything is loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionCondition {
    /// Index in [`Plan::options`].
    pub option: u32,
    /// The value as text; `true` and `false` of a bool.
    pub value: String,
    /// True for `!=`.
    pub negated: bool,
}

/// An attach point.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Attach {
    /// Run once before all others are attached.
    Begin,
    /// Run once after all others are detached.
    End,
    /// Run each time the tracing process itself is sent SIGUSR1.
    Signal,
    /// A tracepoint.
    Tracepoint {
        /// Subsystem, for example `sched`.
        category: String,
        /// Event.
        event: String,
    },
    /// A raw tracepoint.
    RawTracepoint {
        /// Event.
        event: String,
    },
    /// Entry of a kernel function.
    Kprobe {
        /// Function.
        function: String,
        /// Offset in bytes.
        offset: u64,
    },
    /// Return of a kernel function.
    Kretprobe {
        /// Function.
        function: String,
    },
    /// Places of a program or library.
    Uprobe {
        /// Its path, or, in an object, what it is looked up by.
        path: String,
        /// The function, as the symbol table has it; empty for the place at an address.
        function: String,
        /// Offset in bytes from its begin, or the address that the file gives the place.
        offset: u64,
    },
    /// Return of a function of a program or library.
    Uretprobe {
        /// Its path, or, in an object, what it is looked up by.
        path: String,
        /// The function, as the symbol table has it.
        function: String,
    },
    /// One of the places of a USDT probe.
    Usdt {
        /// The path of the program or library.
        path: String,
        /// The probe's provider.
        provider: String,
        /// Its name.
        name: String,
        /// Which of its places, in the order of the file.
        index: u32,
    },
    /// A timer on one CPU.
    Interval {
        /// Period.
        nanoseconds: u64,
    },
    /// A timer on every CPU.
    Profile {
        /// How often.
        rate: Rate,
    },
    /// Entry of a kernel function whose arguments have types.
    FunctionEntry {
        /// Function, after its module's name and a colon where it is of one.
        function: String,
    },
    /// Return of a kernel function whose arguments and result have types.
    FunctionExit {
        /// Function, as of an entry.
        function: String,
    },
    /// A counter of perf, on every CPU.
    PerfEvent {
        /// Whether a counter of the hardware, else of the kernel.
        hardware: bool,
        /// The kernel's number of the event.
        event: u64,
        /// How many make the program run once.
        count: u64,
    },
    /// Run once for each object of a kind.
    Iterator {
        /// Kind of object, for example `task`.
        name: String,
    },
    /// Memory whose use the processor reports.
    Watchpoint {
        /// Its address.
        address: u64,
        /// Bytes: 1, 2, 4 or 8.
        length: u8,
        /// Bits of `HW_BREAKPOINT_*`: 1 reads, 2 writes, 4 is executed.
        access: u8,
    },
    /// Run once by a test run, whose result counts.
    Test {
        /// Name.
        name: String,
    },
    /// Run again and again, and its time taken.
    Bench {
        /// Name.
        name: String,
    },
    /// An instruction of the kernel.
    KprobeAddress {
        /// Its address.
        address: u64,
    },
}

/// How often a profile probe fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Times a second.
    Hertz(u64),
    /// Period in nanoseconds.
    Nanoseconds(u64),
}

/// What a missing attach point means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MissingProbes {
    /// The script does not run.
    #[default]
    Error,
    /// It runs without, and says so.
    Warn,
    /// It runs without.
    Ignore,
}

/// Configuration of a script: its `config` block over the environment's and the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Entries of a map.
    pub max_map_keys: u32,
    /// Bytes of a string, the NUL included.
    pub max_strlen: u32,
    /// Most attach points.
    pub max_probes: u32,
    /// Most programs.
    pub max_bpf_progs: u32,
    /// Most bytes that `cat` prints of a file.
    pub max_cat_bytes: u32,
    /// Pages of the event buffer; 0 chooses.
    pub perf_rb_pages: u32,
    /// Bytes of the verifier's log; 0 for as much as there is.
    pub log_size: u32,
    /// What a missing attach point means.
    pub missing_probes: MissingProbes,
    /// Whether maps that are not empty are printed at the end.
    pub print_maps_on_exit: bool,
    /// Put after a string that was cut.
    pub str_trunc_trailer: String,
    /// How stacks print.
    pub stack_mode: kscope_rows::StackMode,
    /// Whether events go through a perf buffer instead of a ring buffer.
    pub perf_buffer: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_map_keys: 4096,
            max_strlen: 1024,
            max_probes: 1024,
            max_bpf_progs: 1024,
            max_cat_bytes: 10240,
            perf_rb_pages: 0,
            log_size: 0,
            missing_probes: MissingProbes::Error,
            print_maps_on_exit: true,
            str_trunc_trailer: "..".to_owned(),
            stack_mode: kscope_rows::StackMode::Bpftrace,
            perf_buffer: false,
        }
    }
}

/// Size in bytes of what [`search_masks`] gives.
pub const SEARCH_MASK_BYTES: u32 = 256 * 8;

/// Most bytes of a string that can be searched for by its masks.
pub const SEARCH_LIMIT: usize = 57;

/// Makes the table by which a program finds `needle` in one pass over a string (the shift-and
/// method): for each byte a `u64` in host byte order whose bit `i` says that `needle[i]` is that
/// byte. Bytes after the first [`SEARCH_LIMIT`] are ignored. The bits behind the last byte's are set
/// for all bytes: there a hit stays to be seen for a while.
#[must_use]
pub fn search_masks(needle: &[u8]) -> Vec<u8> {
    let len = needle.len().min(SEARCH_LIMIT);
    let mut masks = [u64::MAX << len; 256];
    for (bit, byte) in needle.iter().take(len).enumerate() {
        masks[usize::from(*byte)] |= 1 << bit;
    }
    masks.iter().flat_map(|mask| mask.to_ne_bytes()).collect()
}

impl Plan {
    /// Makes the contents of the options map: given strings by option name over the defaults.
    /// A string that does not fit is cut at its capacity less one.
    #[must_use]
    pub fn options_image(&self, given: &[(String, String)], size: u32) -> Vec<u8> {
        let mut image = vec![0u8; size as usize];
        for option in &self.options {
            let OptionKind::Str { default, capacity } = &option.kind else {
                continue;
            };
            let value = given.iter().rev().find(|(name, _)| *name == option.name);
            let bytes = value.map_or(default.as_bytes(), |(_, value)| value.as_bytes());
            let room = (*capacity as usize).saturating_sub(1);
            let bytes = &bytes[..bytes.len().min(room)];
            put(&mut image, option.offset, bytes);
            if let Some(masks) = option.masks {
                put(&mut image, masks, &search_masks(bytes));
            }
        }
        image
    }
}

fn put(image: &mut [u8], offset: u32, bytes: &[u8]) {
    let start = offset as usize;
    if let Some(room) = image.get_mut(start..start + bytes.len()) {
        room.copy_from_slice(bytes);
    }
}
