//! The checked program to IR: one function per probe, the kernel's maps, and the Plan.

mod bytes;
mod capture;
mod condition;
mod context;
mod emit;
mod find;
mod function;
mod loops;
mod maps;
mod memory;
mod merge;
mod names;
mod raw;
mod scalar;
mod search;
mod series;
mod statement;
mod step;
mod strings;
mod task;
pub(crate) mod x86_64;

use kscope_rows::{DataType, Field, MapValueType, NameTable};
use kscope_spec::{
    AttachKind, LateId, LateKind, LateValue, MapId, MapKind, MapSpec, ProgramId, ProgramType,
};

use crate::diagnostic::{Diagnostic, Span};
use crate::hir::{Context, MapRef, Probe, Program};
use crate::ir;
use crate::plan::{
    Attach, CODE_OFFSET, Counter, EVENT_HEADER, EventMap, MapPlan, OptionKind, PLAN_VERSION, Plan,
    ServiceMaps, Site, SiteId, SiteKind,
};

pub use maps::LOST_COUNTERS;

/// Name of the late value that holds the boot clock in nanoseconds at the start of the run.
pub const START_TIME: &str = "kscope.start";

/// Name of the late value that holds the id of the command of `-c`, 0 where there is none.
pub const CHILD: &str = "kscope.child";

/// `BPF_F_NO_PREALLOC`
const NO_PREALLOC: u32 = 1;
/// `BPF_F_RDONLY_PROG`
const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;
/// Entries of the stack-trace map.
const STACK_ENTRIES: u32 = 16384;

/// Entries of the maps of stacks whose place in the first another stack has. What is lost are nearly always third ones of a place,
/// which more of these would not keep: of 500 different stacks one in 5000, of 2000 one in 250. The kernel clears all entries when
/// the map is made.
const MORE_STACK_ENTRIES: u32 = 2048;

/// Name of the map of kernel stacks whose place another has; no map of a script is called so.
pub const MORE_KERNEL_STACKS: &str = "kstacks.more";
/// Name of the map of stacks of processes whose place another has.
pub const MORE_USER_STACKS: &str = "ustacks.more";
/// Set in the ids of stacks that are in these two.
pub const MORE_STACKS_MARK: u32 = 1 << 30;
/// Most frames the kernel keeps of a stack (`PERF_MAX_STACK_DEPTH`).
const STACK_FRAMES: u32 = 127;
/// Bytes of values, on each CPU where each has its own, that a map may take before it has entries.
/// Beyond that entries are allocated as they come, which fails when many come at once.
const PREALLOC_LIMIT: u64 = 4 << 20;
const PAGE: u32 = 4096;
/// Ring size where events may come at any rate, and where only probes at a human's pace send any, outside of loops.
const RING_BYTES: u32 = 8 << 20;
const SMALL_RING_BYTES: u32 = 256 << 10;

/// What lowering gives.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// Maps, in the order of their ids.
    pub maps: Vec<MapSpec>,
    /// Late values, in the order of their ids.
    pub late: Vec<LateValue>,
    /// One per probe, in order.
    pub programs: Vec<LoweredProgram>,
    /// The plan.
    pub plan: Plan,
}

/// One program before code generation.
#[derive(Clone, Debug)]
pub struct LoweredProgram {
    /// Name for the kernel.
    pub name: String,
    /// Program type.
    pub kind: ProgramType,
    /// What is given at load time beside the type.
    pub attach: AttachKind,
    /// The code.
    pub function: ir::Function,
    /// Most bytes of memory a run may need beside the stack are in slots of the function.
    pub span: Span,
}

/// Lowers a checked program.
///
/// # Errors
///
/// A finding for each construct that has no eBPF form in this version.
pub fn lower(program: &Program) -> Result<Lowered, Vec<Diagnostic>> {
    let mut tables = Tables::new(program);
    let mut programs = Vec::with_capacity(program.probes.len());
    let mut findings = Vec::new();
    for (index, probe) in program.probes.iter().enumerate() {
        let name = program_name(index, probe);
        match function::lower_probe(program, &mut tables, probe, &name) {
            Ok(mut function) => programs.push(LoweredProgram {
                name,
                kind: match raw::make_raw(probe, &mut function) {
                    true => ProgramType::RawTracepoint,
                    false => program_type(probe),
                },
                attach: attach_kind(probe),
                function,
                span: probe.span,
            }),
            Err(finding) => findings.push(finding),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    Ok(tables.finish(program, programs))
}

fn program_type(probe: &Probe) -> ProgramType {
    // The kernel takes the time of these alone.
    if let Some(Attach::Bench { .. }) = probe.plan.attach.first() {
        return ProgramType::Xdp;
    }
    match probe.context {
        Context::Test | Context::RawTracepoint => ProgramType::RawTracepoint,
        Context::KprobeEntry
        | Context::KprobeReturn
        | Context::UprobeEntry
        | Context::UprobeReturn
        | Context::Usdt => ProgramType::Kprobe,
        Context::Tracepoint => ProgramType::Tracepoint,
        Context::PerfEvent => ProgramType::PerfEvent,
        Context::Function | Context::Iterator => ProgramType::Tracing,
    }
}

/// Gives what the kernel is told of the attach point when the program is loaded.
fn attach_kind(probe: &Probe) -> AttachKind {
    match probe.plan.attach.first() {
        Some(Attach::FunctionEntry { function }) => AttachKind::FunctionEntry(function.clone()),
        Some(Attach::FunctionExit { function }) => AttachKind::FunctionExit(function.clone()),
        Some(Attach::Iterator { name }) => AttachKind::Iterator(name.clone()),
        _ => AttachKind::None,
    }
}

/// Makes a name of the kernel's alphabet that still says which probe it is.
fn program_name(index: usize, probe: &Probe) -> String {
    let last = probe.plan.name.rsplit(':').next().unwrap_or("");
    let clean: String = last
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(40)
        .collect();
    format!("p{index}_{clean}")
}

/// Maps and late values as they come into being.
#[derive(Debug)]
pub(crate) struct Tables {
    maps: Vec<MapSpec>,
    late: Vec<LateValue>,
    script_maps: Vec<MapId>,
    service: ServiceMaps,
    zero: Option<(MapId, u32)>,
    needles: Vec<(Vec<u8>, MapId)>,
    name_tables: Vec<(NameTable, MapId)>,
    option_masks: Vec<Option<u32>>,
    options_size: u32,
    /// Sites that the script does not have: messages of what goes wrong in the kernel.
    messages: Vec<Site>,
    /// Whether events other than the end may come at any rate.
    busy: bool,
}

impl Tables {
    fn new(program: &Program) -> Self {
        let mut tables = Tables {
            maps: Vec::new(),
            late: program.late.clone(),
            script_maps: Vec::new(),
            service: ServiceMaps::default(),
            zero: None,
            needles: Vec::new(),
            name_tables: Vec::new(),
            option_masks: vec![None; program.options.len()],
            options_size: options_size(program),
            messages: Vec::new(),
            busy: false,
        };
        let in_perf_event = program
            .probes
            .iter()
            .any(|p| p.context == Context::PerfEvent);
        for map in &program.maps {
            let spec = maps::script_map_spec(map, in_perf_event);
            let id = tables.add_map(spec);
            tables.script_maps.push(id);
        }
        tables
    }

    pub(crate) fn add_map(&mut self, spec: MapSpec) -> MapId {
        self.maps.push(spec);
        MapId(self.maps.len() as u32 - 1)
    }

    pub(crate) fn script_map(&self, map: MapRef) -> MapId {
        self.script_maps[map.0 as usize]
    }

    /// Finds or adds a late value.
    pub(crate) fn late(&mut self, name: &str, kind: &LateKind) -> LateId {
        let found = self.late.iter().position(|l| l.name == name);
        let index = found.unwrap_or_else(|| {
            self.late.push(LateValue {
                name: name.to_owned(),
                kind: kind.clone(),
            });
            self.late.len() - 1
        });
        LateId(index as u32)
    }

    /// Finds or adds the site of a warning.
    pub(crate) fn message(&mut self, program: &Program, text: &str, span: Span) -> SiteId {
        let message = text.into();
        let kind = SiteKind::RuntimeError { message };
        self.message_site(program, kind, Vec::new(), span)
    }

    /// Finds or adds the site of a helper that fails.
    pub(crate) fn helper_failed(&mut self, program: &Program, name: &str, span: Span) -> SiteId {
        let returned = Field {
            name: "returned".to_owned(),
            offset: EVENT_HEADER,
            ty: DataType::Int {
                bytes: 8,
                signed: true,
            },
            bits: None,
        };
        let helper = name.into();
        let kind = SiteKind::HelperFailed { helper };
        self.message_site(program, kind, vec![returned], span)
    }

    /// Finds or adds a site of a message, whose fields have eight bytes each.
    fn message_site(
        &mut self,
        program: &Program,
        kind: SiteKind,
        fields: Vec<Field>,
        span: Span,
    ) -> SiteId {
        let mut known = self.messages.iter();
        let known = known.position(|site| site.span == span && site.kind == kind);
        let index = known.unwrap_or_else(|| {
            self.messages.push(Site {
                kind,
                size: EVENT_HEADER + 8 * fields.len() as u32,
                fields,
                span,
            });
            self.messages.len() - 1
        });
        SiteId((program.sites.len() + index) as u32)
    }

    /// Finds or adds the place of an update, and gives the counter of those that are refused.
    pub(crate) fn map_full(&mut self, map: MapRef, span: Span) -> Counter {
        let kind = SiteKind::MapFull { map: map.0 };
        let places = self.messages.iter();
        let mut places = places.filter(|site| matches!(site.kind, SiteKind::MapFull { .. }));
        let count = places.clone().count();
        let known = places.position(|site| site.kind == kind && site.span == span);
        if known.is_none() {
            self.messages.push(Site {
                kind,
                fields: Vec::new(),
                size: EVENT_HEADER,
                span,
            });
        }
        Counter::MapFull(known.unwrap_or(count) as u32)
    }

    /// Gives a site of the script or of a message.
    pub(crate) fn site<'a>(&'a self, program: &'a Program, site: SiteId) -> &'a Site {
        let index = site.0 as usize;
        match program.sites.get(index) {
            Some(site) => site,
            None => &self.messages[index - program.sites.len()],
        }
    }

    /// Gives the map that events go through.
    pub(crate) fn events(&mut self, program: &Program) -> EventMap {
        if let Some(events) = self.service.events {
            return events;
        }
        let events = if program.config.perf_buffer {
            EventMap::Perf(self.add_map(service_map("events", MapKind::PerfEventArray, 4, 4, 0)))
        } else {
            // How large it is to be is known when all probes are lowered.
            EventMap::Ring(self.add_map(service_map("events", MapKind::RingBuf, 0, 0, PAGE)))
        };
        self.service.events = Some(events);
        events
    }

    /// Gives the map of loss counters.
    pub(crate) fn counters(&mut self) -> MapId {
        if let Some(map) = self.service.counters {
            return map;
        }
        // One more for each place that updates a map, when all probes are lowered.
        let spec = service_map("counters", MapKind::PerCpuArray, 4, 8, LOST_COUNTERS);
        let map = self.add_map(spec);
        self.service.counters = Some(map);
        map
    }

    /// Gives the map of what `exit` leaves where there is no room for its event.
    pub(crate) fn exit(&mut self) -> MapId {
        if let Some(map) = self.service.exit {
            return map;
        }
        let map = self.add_map(service_map("exit", MapKind::Array, 4, 8, 1));
        self.service.exit = Some(map);
        map
    }

    /// Gives the maps of kernel stacks.
    pub(crate) fn kernel_stacks(&mut self) -> [MapId; 2] {
        let maps = self.stacks(self.service.kernel_stacks, "kstacks", MORE_KERNEL_STACKS);
        self.service.kernel_stacks = Some(maps[0]);
        maps
    }

    /// Gives the maps of stacks of processes.
    pub(crate) fn user_stacks(&mut self) -> [MapId; 2] {
        let maps = self.stacks(self.service.user_stacks, "ustacks", MORE_USER_STACKS);
        self.service.user_stacks = Some(maps[0]);
        maps
    }

    /// Finds or adds a map of stacks, and the one behind it of those whose place another has there.
    fn stacks(&mut self, known: Option<MapId>, name: &str, more: &str) -> [MapId; 2] {
        if let Some(MapId(first)) = known {
            return [MapId(first), MapId(first + 1)];
        }
        let spec =
            |name, entries| service_map(name, MapKind::StackTrace, 4, STACK_FRAMES * 8, entries);
        let first = self.add_map(spec(name, STACK_ENTRIES));
        [first, self.add_map(spec(more, MORE_STACK_ENTRIES))]
    }

    /// Gives a map whose entry 0 has at least `size` bytes of zero, never written.
    pub(crate) fn zeros(&mut self, size: u32) -> MapId {
        match self.zero {
            Some((map, have)) => {
                if have < size {
                    self.maps[map.0 as usize].value_size = size;
                    self.zero = Some((map, size));
                }
                map
            }
            None => {
                let map = self.add_map(service_map("zeros", MapKind::Array, 4, size, 1));
                self.zero = Some((map, size));
                map
            }
        }
    }

    /// Gives the map with the search masks of a literal.
    pub(crate) fn needle(&mut self, needle: &[u8]) -> MapId {
        if let Some((_, map)) = self.needles.iter().find(|(n, _)| n == needle) {
            return *map;
        }
        let masks = crate::plan::search_masks(needle);
        let mut spec = service_map("needle", MapKind::Array, 4, masks.len() as u32, 1);
        spec.flags = READ_ONLY_FOR_PROGRAMS;
        spec.initial = Some(masks);
        spec.frozen = true;
        let map = self.add_map(spec);
        self.needles.push((needle.to_vec(), map));
        map
    }

    /// Gives the map with all names of a table.
    pub(crate) fn names(&mut self, table: NameTable, names: Vec<u8>) -> MapId {
        if let Some((_, map)) = self.name_tables.iter().find(|(known, _)| *known == table) {
            return *map;
        }
        let mut spec = service_map("names", MapKind::Array, 4, names.len() as u32, 1);
        spec.flags = READ_ONLY_FOR_PROGRAMS;
        spec.initial = Some(names);
        spec.frozen = true;
        let map = self.add_map(spec);
        self.name_tables.push((table, map));
        map
    }

    /// Gives the map of string options.
    pub(crate) fn options(&mut self) -> MapId {
        if let Some(map) = self.service.options {
            return map;
        }
        let mut spec = service_map("options", MapKind::Array, 4, self.options_size.max(8), 1);
        spec.flags = READ_ONLY_FOR_PROGRAMS;
        spec.frozen = true;
        let map = self.add_map(spec);
        self.service.options = Some(map);
        map
    }

    /// Gives the offset of the search masks of a string option in the options map.
    pub(crate) fn option_masks(&mut self, option: u32) -> u32 {
        let options = self.options();
        if let Some(offset) = self.option_masks[option as usize] {
            return offset;
        }
        let offset = self.options_size.next_multiple_of(8);
        self.options_size = offset + crate::plan::SEARCH_MASK_BYTES;
        self.maps[options.0 as usize].value_size = self.options_size;
        self.option_masks[option as usize] = Some(offset);
        offset
    }

    fn finish(mut self, program: &Program, programs: Vec<LoweredProgram>) -> Lowered {
        if let Some(EventMap::Ring(map)) = self.service.events {
            self.maps[map.0 as usize].max_entries = ring_size(program, self.busy);
        }
        if let Some(map) = self.service.counters {
            let places = self.messages.iter();
            let places = places.filter(|site| matches!(site.kind, SiteKind::MapFull { .. }));
            let places = places.count() as u32;
            let counters = &mut self.maps[map.0 as usize];
            counters.max_entries += places;
            if places > 0 {
                counters.value_size = CODE_OFFSET + 8;
            }
        }
        let maps = program
            .maps
            .iter()
            .enumerate()
            .map(|(index, map)| MapPlan {
                name: map.name.clone(),
                map: self.script_maps[index],
                key: map.key.as_ref().map(crate::hir::Type::data_type),
                value: map.value.clone(),
                per_cpu: maps::is_per_cpu(map),
                sized: map.sized,
            })
            .collect();
        let mut probes: Vec<_> = program.probes.iter().map(|p| p.plan.clone()).collect();
        for (index, probe) in probes.iter_mut().enumerate() {
            probe.program = ProgramId(index as u32);
            probe.when = condition::conditions(program, &program.probes[index]);
        }
        let mut options = program.options.clone();
        for (option, masks) in options.iter_mut().zip(&self.option_masks) {
            option.masks = *masks;
        }
        let plan = Plan {
            version: PLAN_VERSION,
            sites: program
                .sites
                .iter()
                .chain(&self.messages)
                .cloned()
                .collect(),
            maps,
            probes,
            options,
            config: program.config.clone(),
            service: self.service.clone(),
        };
        if let Some(map) = self.service.options {
            self.maps[map.0 as usize].initial = Some(plan.options_image(&[], self.options_size));
        }
        Lowered {
            maps: self.maps,
            late: self.late,
            programs,
            plan,
        }
    }
}

/// Gives the number of bytes that the values of string options take.
fn options_size(program: &Program) -> u32 {
    let ends = program.options.iter().map(|option| match &option.kind {
        OptionKind::Str { capacity, .. } => option.offset.saturating_add(*capacity),
        _ => 0,
    });
    ends.max().unwrap_or(0).next_multiple_of(8)
}

/// Gives the size in bytes of the ring of events.
fn ring_size(program: &Program, busy: bool) -> u32 {
    match program.config.perf_rb_pages {
        0 if busy => RING_BYTES,
        0 => SMALL_RING_BYTES,
        pages => pages.next_power_of_two().saturating_mul(PAGE),
    }
}

fn service_map(name: &str, kind: MapKind, key: u32, value: u32, entries: u32) -> MapSpec {
    MapSpec {
        name: name.to_owned(),
        kind,
        key_size: key,
        value_size: value,
        max_entries: entries,
        flags: 0,
        initial: None,
        frozen: false,
        ..MapSpec::default()
    }
}

/// Says whether the value is an aggregation.
fn is_aggregation(value: &MapValueType) -> bool {
    !matches!(value, MapValueType::Plain(_))
}
