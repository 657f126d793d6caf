//! What to run, and its way into the kernel.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use kscope_bpf::{EventReader, Loader, Object, PerfBuffer, RingBuffer};
use kscope_btf::Btf;
use kscope_script::Compiled;
use kscope_script::lower::{CHILD, MORE_KERNEL_STACKS, MORE_USER_STACKS, START_TIME};
use kscope_script::plan::{EventMap, Plan};
use kscope_script::types::{CGROUP_LATE, REALTIME_OFFSET, TAI_OFFSET};
use kscope_spec::{LateKind, MapId};
use kscope_symbol::{KernelSymbolizer, UserNames, UserSymbolizer};
use kscope_sys::{Clock, CpuSet};

use super::held::Waiting;
use super::kept::Kept;
use super::processes::ProcessesInMaps;
use super::{Session, Wishes};
use crate::attach;
use crate::cgroups::Cgroups;
use crate::clock::{self, WallClock};
use crate::early::Early;
use crate::error::Error;
use crate::event::Sites;
use crate::files_and_commands::Render;
use crate::filter;
use crate::fit;
use crate::iterations::Iterations;
use crate::kprobe_multi;
use crate::meaning;
use crate::options::Options;
use crate::prepare;
use crate::refusals::Refusals;
use crate::refused;
use crate::resolve::Cuts;
use crate::target::Target;
use crate::user_probe;

/// Bytes of a CPU's perf buffer where the script does not say.
const PERF_BUFFER_BYTES: usize = 4 << 20;
const PAGE: usize = 4096;

/// What to run and how.
#[derive(Debug)]
pub struct Request {
    /// The compiled script.
    pub compiled: Compiled,
    /// The values of its options.
    pub options: Options,
    /// Values of late numbers by name: the parameters that were left out when it was built.
    pub numbers: Vec<(String, u64)>,
    /// Name of what prints rows: that of the tool, or `script`.
    pub name: String,
    /// The script's source, for the places of messages.
    pub source: String,
    /// Names of the files that were imported, with where in `source` each begins, in this order.
    pub imported: Vec<(String, usize)>,
    /// Renders the names of files and commands; without it a script has no `cat` and no `system`.
    pub render: Option<Render>,
    /// The one process that probes are to see; `begin`, `end` and `interval` run all the same.
    pub pid: Option<u32>,
    /// The command that is held until all probes are attached; uprobes and USDT probes are to see it
    /// alone.
    pub child: Option<u32>,
    /// Whether the run fails, although the script may do without missing probes, where the kernel
    /// has none of a kind at all: a tool would show half.
    pub strict: bool,
    /// Whether a program that needs what this kernel has not is left out alone, as those of objects
    /// are, which were compiled elsewhere. The run fails where that leaves nothing to do.
    pub each_alone: bool,
    /// Whether the run fails where only `begin`, `end` and `interval` are left: a tool or an object
    /// would show nothing.
    pub needs_events: bool,
}

impl Request {
    /// Asks for a script's run with these values of its options: of all processes, under the name
    /// `script`, without `cat` and `system`.
    #[must_use]
    pub fn new(compiled: Compiled, options: Options, source: impl Into<String>) -> Request {
        Request {
            compiled,
            options,
            numbers: Vec::new(),
            name: "script".to_owned(),
            source: source.into(),
            imported: Vec::new(),
            render: None,
            pid: None,
            child: None,
            strict: false,
            each_alone: false,
            needs_events: false,
        }
    }
}

impl Session {
    /// Creates the maps and loads the programs.
    ///
    /// # Errors
    ///
    /// [`Error::Program`] for the first program that the kernel refuses, [`Error::Interrupted`]
    /// where the caller wishes to stop.
    pub fn load(
        target: &Target,
        btf: Option<&Btf>,
        request: Request,
        wishes: &dyn Wishes,
    ) -> Result<Session, Error> {
        let Request {
            compiled,
            options,
            numbers,
            name,
            source,
            imported,
            render,
            pid,
            child,
            strict,
            each_alone,
            needs_events,
        } = request;
        let Compiled { mut spec, mut plan } = compiled;
        prepare::check(&plan, render.is_some())?;
        prepare::drop_unused(&mut spec, &mut plan, |probe| options.keep(probe));
        let mut refused = match each_alone {
            true => refused::by_arguments(&mut spec, &mut plan, btf)?,
            false => Vec::new(),
        };
        if let Some(pid) = pid {
            filter::only_process(&mut spec, &plan, pid);
        }
        if let Some(map) = plan.service.options {
            if let Some(map) = spec.maps.get_mut(map.0 as usize) {
                let texts = options.texts(&plan);
                map.initial = Some(plan.options_image(&texts, map.value_size));
            }
        }
        let kernel = target.kernel();
        let cpus = kernel.cpus(CpuSet::Possible).map_err(|errno| Error::Os {
            doing: "read the list of CPUs",
            errno,
        })?;
        let cpus = cpus.len();
        fit::fit(&mut spec, &plan, cpus);
        kprobe_multi::choose(&mut spec, &plan, kernel, btf);
        let watched = pid.or(child);
        user_probe::choose(&mut spec, &plan, watched, kernel, btf);
        let early = Early::begin(target, &spec, &plan, watched);
        let start = clock::read(&**kernel, Clock::Boottime)?;
        let symbols = target.symbols().clone();
        let resolve = |name: &str| symbols.addresses(name).first().map(|address| address.0);
        let near = |name: &str| near_symbols(&symbols, name);
        let stop = || wishes.stop();
        let mut loader = Loader::new(kernel.clone())
            .log_bytes(plan.config.log_size)
            .btf(btf)
            .symbols(&resolve)
            .near_symbols(&near)
            .stop(&stop);
        for late in spec
            .late
            .iter()
            .filter(|late| late.kind == LateKind::Number)
        {
            let value = match late.name.strip_prefix(CGROUP_LATE) {
                Some(path) => meaning::cgroup_id(path)?,
                None => 0,
            };
            loader = loader.late(late.name.clone(), value);
        }
        for (name, value) in numbers {
            loader = loader.late(name, value);
        }
        loader = loader.late(START_TIME, start);
        let tai = clock::read(&**kernel, Clock::Tai)?;
        loader = loader.late(TAI_OFFSET, tai.saturating_sub(start));
        let realtime = clock::read(&**kernel, Clock::Realtime)?;
        loader = loader.late(REALTIME_OFFSET, realtime.saturating_sub(start));
        if spec.late.iter().any(|late| late.name == CHILD) {
            loader = loader.late(CHILD, u64::from(child.unwrap_or(0)));
        }
        for (name, value) in options.numbers_of(&plan, &spec.late) {
            loader = loader.late(name, value);
        }
        let object = loader.load(&spec);
        let object =
            object.map_err(|error| fit::in_words_of_the_script(error, &spec, &plan.maps))?;
        // A script has no map that it could do without.
        if let Some((_, error)) = object.map_failures().next() {
            return Err(fit::in_words_of_the_script(
                error.clone(),
                &spec,
                &plan.maps,
            ));
        }
        if each_alone {
            refused.extend(refused::by_kernel(&mut plan, &object)?);
        }
        let reader = reader(&plan, &object)?;
        let clock = WallClock::new(&**kernel)?;
        let file = spec.files.first();
        let file = file.map_or("stdin", |file| file.name.as_str());
        let sites = Sites::new(&plan, &name, file, &source, &imported);
        let refusals = Refusals::new(sites.updates(), !strict);
        let probes = plan
            .probes
            .iter()
            .map(|probe| probe.attach.len() as u64)
            .sum();
        let more = |name: &str| {
            let place = spec.maps.iter().position(|map| map.name == name);
            place.map(|place| MapId(place as u32))
        };
        let stacks = [
            [plan.service.kernel_stacks, more(MORE_KERNEL_STACKS)],
            [plan.service.user_stacks, more(MORE_USER_STACKS)],
        ];
        let processes_in_maps = ProcessesInMaps::new(&plan);
        let session = Session {
            target: target.clone(),
            plan: Arc::new(plan),
            object,
            reader,
            kept: Kept::default(),
            sites,
            clock,
            users: UserNames::new(),
            unread_stacks: Cell::new(0),
            cuts: Cuts::default(),
            watched,
            stacks,
            processes: UserSymbolizer::new(crate::user::read_symbols),
            cgroups: Cgroups::default(),
            processes_in_maps,
            refused,
            links: Vec::new(),
            early,
            iterations: Iterations::default(),
            watchpoints: Vec::new(),
            unwatched: Vec::new(),
            functions: 0,
            exit: None,
            waiting: Waiting::default(),
            after_start: None,
            asked_to_end: Cell::new(None),
            ending: false,
            lost_reported: 0,
            losses_looked: Instant::now(),
            refusals_looked: Instant::now(),
            refusals,
            probes,
            strict,
            needs_events,
            render,
        };
        session.require_programs()?;
        Ok(session)
    }

    /// Fails with the first program that the kernel refused and the script needs.
    fn require_programs(&self) -> Result<(), Error> {
        for probe in &self.plan.probes {
            match attach::program(probe, &self.object) {
                Err(error) if !attach::may_be_missing(&self.plan, self.strict, &error) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens the buffer that events come through.
fn reader(plan: &Plan, object: &Object) -> Result<Option<EventReader>, Error> {
    let map = |id: MapId| {
        object.map(id).ok_or_else(|| {
            Error::Kernel(kscope_bpf::Error::NotFound {
                what: "map",
                name: "events".to_owned(),
                near: Vec::new(),
            })
        })
    };
    Ok(match plan.service.events {
        None => None,
        Some(EventMap::Ring(id)) => Some(EventReader::Ring(RingBuffer::in_parts(&[map(id)?])?)),
        Some(EventMap::Perf(id)) => {
            let bytes = match plan.config.perf_rb_pages as usize {
                0 => PERF_BUFFER_BYTES,
                pages => pages.saturating_mul(PAGE),
            };
            // The reader looks by itself; it is woken only when a buffer fills up.
            let watermark = u32::try_from(bytes / 4).unwrap_or(u32::MAX);
            Some(EventReader::Perf(PerfBuffer::new(
                map(id)?,
                bytes,
                watermark,
            )?))
        }
    })
}

/// Gives names of the kernel's symbols that are near to one that is missing.
fn near_symbols(symbols: &KernelSymbolizer, name: &str) -> Vec<String> {
    const MOST: usize = 3;
    let Ok(symbols) = symbols.symbols() else {
        return Vec::new();
    };
    let names = symbols.iter().map(|symbol| symbol.name);
    let near = kscope_btf::nearest(name, names, MOST);
    near.into_iter().map(str::to_owned).collect()
}
