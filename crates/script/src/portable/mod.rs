//! Scripts that run on other kernels than the one they were built on: objects with their own types.
//!
//! A portable [`Spec`] asks the target's types for offsets (CO-RE), names the sections that loaders
//! know, and has its late values in a map of constants, [`LATE_SECTION`]. Beside it the object has
//! the [`Plan`], which [`Saved`] writes and reads.

mod local;
mod rows;
mod saved;
mod signature;
mod wire;

pub use saved::{SECTION, Saved, SavedError};
pub use signature::{Unlike, unlike};

use std::collections::HashSet;

use kscope_btf::{Btf, Encoding, Linkage, TypeId};
use kscope_spec::{
    CoreReloc, LateKind, LateValue, MapKind, MapSpec, ProgramType, RelocKind, Spec, Variable,
};

use crate::hir::{Layout, LayoutId, Probe};
use crate::plan::{Attach, OptionKind, Plan, ProbePlan};
use local::Local;

/// Section of the late values: eight bytes each, in order.
pub const LATE_SECTION: &str = ".rodata.late";

/// Section of the maps that are no sections of their own.
pub(crate) const MAPS_SECTION: &str = ".maps";

/// `BPF_F_RDONLY_PROG`
const READ_ONLY_FOR_PROGRAMS: u32 = 1 << 7;

/// Names the late value of a parameter (`$1`) that was not given when the script was built.
#[must_use]
pub fn parameter(number: u32) -> String {
    format!("${number}")
}

/// Makes the map of the late values. Options have their defaults; what only kscope finds out is 0.
pub(crate) fn late_map(late: &[LateValue], plan: &Plan) -> MapSpec {
    let value = |(index, late): (usize, &LateValue)| -> u64 {
        if late.kind == LateKind::CpuCount {
            return 1;
        }
        let option = plan.options.iter().find(|o| o.late.0 as usize == index);
        match option.map(|option| &option.kind) {
            Some(OptionKind::Bool(value)) => u64::from(*value),
            Some(OptionKind::Int(value)) => *value as u64,
            Some(OptionKind::Str { default, .. }) => default.len() as u64,
            None => 0,
        }
    };
    let bytes = late
        .iter()
        .enumerate()
        .map(value)
        .flat_map(u64::to_le_bytes);
    let bytes: Vec<u8> = bytes.collect();
    MapSpec {
        name: LATE_SECTION.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: bytes.len() as u32,
        max_entries: 1,
        flags: READ_ONLY_FOR_PROGRAMS,
        initial: Some(bytes),
        frozen: true,
        section: LATE_SECTION.to_owned(),
        ..MapSpec::default()
    }
}

/// Gives a spec its types, the relocations of its programs, and their sections.
///
/// `used` are the layouts that each program's instructions stand for; `probes` what each program
/// was made of.
pub(crate) fn complete(
    spec: &mut Spec,
    plan: &Plan,
    btf: Option<&Btf>,
    layouts: &[Layout],
    used: &[Vec<(u32, LayoutId)>],
    probes: &[Probe],
) {
    let mut wanted: Vec<LayoutId> = used.iter().flatten().map(|(_, id)| *id).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let wanted = wanted.into_iter();
    let wanted = wanted.filter_map(|id| Some((id, layouts.get(id.0 as usize)?)));
    let (helpers, wanted): (Vec<_>, Vec<_>) =
        wanted.partition(|(_, layout)| layout.helper().is_some());
    let mut local = Local::of(btf, wanted);
    local.ask_for_helpers(&helpers);
    let Local {
        mut builder,
        places,
    } = local;
    for (program, used) in spec.programs.iter_mut().zip(used) {
        let core = used.iter().filter_map(|(insn, id)| {
            let layout = layouts.get(id.0 as usize)?;
            let (type_id, access) = places.get(id)?;
            Some(CoreReloc {
                insn: *insn,
                kind: layout.kind,
                type_id: type_id.0,
                access: access.clone(),
            })
        });
        program.core = core.collect();
    }
    let int = builder.add_int("int", 4, Encoding::Signed);
    let context = builder.add_ptr(TypeId::VOID);
    let proto = builder.add_func_proto(int, &[("ctx", context)]);
    for (index, program) in (0..).zip(&mut spec.programs) {
        let points = plan.probes.iter().find(|probe| probe.program.0 == index);
        program.section = section(program.kind, points);
        for func in &mut program.funcs {
            // The body of a loop that a helper calls back must be static for the verifier.
            let linkage = match func.insn {
                0 => Linkage::Global,
                _ => Linkage::Static,
            };
            func.type_id = builder.add_func(&func.name, proto, linkage).0;
        }
    }
    for (program, probe) in spec.programs.iter().zip(probes) {
        if let Some(signature) = &probe.signature {
            signature::describe(signature, &program.name, &mut builder);
        }
    }
    name_maps(spec);
    rows::describe(spec, plan, &mut builder);
    let word = builder.add_int("unsigned long long", 8, Encoding::Unsigned);
    let byte = builder.add_int("unsigned char", 1, Encoding::Unsigned);
    let mut variables = Vec::new();
    for (id, map) in (0..).zip(&spec.maps) {
        let map_id = kscope_spec::MapId(id);
        if map.section == LATE_SECTION {
            for (number, at) in (0..map.value_size).step_by(8).enumerate() {
                variables.push(Variable {
                    name: format!("late_{number}"),
                    map: map_id,
                    offset: at,
                    size: 8,
                    type_id: word.0,
                });
            }
        } else if map.section != MAPS_SECTION {
            let bytes = builder.add_array(byte, int, map.value_size);
            variables.push(Variable {
                name: map.name.clone(),
                map: map_id,
                offset: 0,
                size: map.value_size,
                type_id: bytes.0,
            });
        }
    }
    spec.variables = variables;
    spec.types = builder.finish();
}

/// Gives each map a name of its own, and its section: what programs reach into without a look-up is
/// a section of data.
fn name_maps(spec: &mut Spec) {
    let mut reached = vec![false; spec.maps.len()];
    for reloc in spec.programs.iter().flat_map(|program| &program.relocs) {
        if let RelocKind::MapValue { map, .. } = reloc.kind {
            if let Some(reached) = reached.get_mut(map.0 as usize) {
                *reached = true;
            }
        }
    }
    let mut taken: HashSet<String> = HashSet::new();
    taken.extend(spec.programs.iter().map(|program| program.name.clone()));
    for (map, reached) in spec.maps.iter_mut().zip(reached) {
        if map.section == LATE_SECTION {
            continue;
        }
        let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let base: String = map.name.chars().map(clean).collect();
        let mut name = base.clone();
        for number in 2.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = format!("{base}_{number}");
        }
        map.section = match (reached || map.initial.is_some(), map.frozen) {
            (true, true) => format!(".rodata.{name}"),
            (true, false) => format!(".data.{name}"),
            (false, _) => MAPS_SECTION.to_owned(),
        };
        map.name = name;
    }
}

/// Names the section of a program by what it is attached to; where that is more than one thing,
/// or nothing a section can say, by its type alone.
fn section(kind: ProgramType, probe: Option<&ProbePlan>) -> String {
    // What a pattern stands for is known where it runs.
    let named = probe.filter(|probe| probe.patterns.is_empty());
    let point = match named.map(|probe| probe.attach.as_slice()) {
        Some([one]) => Some(one),
        _ => None,
    };
    match (point, kind) {
        (Some(Attach::Tracepoint { category, event }), _) => {
            format!("tracepoint/{category}/{event}")
        }
        (Some(Attach::RawTracepoint { event }), _) => format!("raw_tp/{event}"),
        (Some(Attach::Kprobe { function, offset }), _) => match offset {
            0 => format!("kprobe/{function}"),
            _ => format!("kprobe/{function}+{offset:#x}"),
        },
        (Some(Attach::Kretprobe { function }), _) => format!("kretprobe/{function}"),
        (Some(Attach::FunctionEntry { function }), _) => format!("fentry/{function}"),
        (Some(Attach::FunctionExit { function }), _) => format!("fexit/{function}"),
        (Some(Attach::Iterator { name }), _) => format!("iter/{name}"),
        (_, ProgramType::Kprobe) => "kprobe".to_owned(),
        (_, ProgramType::Tracepoint) => "tracepoint".to_owned(),
        (_, ProgramType::PerfEvent) => "perf_event".to_owned(),
        _ => "raw_tp".to_owned(),
    }
}
