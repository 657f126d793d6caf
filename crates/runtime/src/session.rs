//! A script on a kernel, from loading to its last map.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kscope_bpf::{EventReader, Link, Loader, Map, Object, PerfBuffer, RingBuffer, TestInput};
use kscope_btf::Btf;
use kscope_rows::Output;
use kscope_rows::time::{Dialect, format_time};
use kscope_script::Compiled;
use kscope_script::lower::START_TIME;
use kscope_script::plan::{Attach, Counter, EventMap, ExitWord, MissingProbes, Plan};
use kscope_spec::{LateKind, MapId};
use kscope_symbol::UserNames;
use kscope_sys::{Child, Clock, CpuSet, ExitKind};

use crate::attach;
use crate::clock::{self, WallClock};
use crate::error::Error;
use crate::event::{Event, Sites};
use crate::filter;
use crate::fit;
use crate::maps::{self, Moment};
use crate::options::Options;
use crate::prepare;
use crate::refusals::{FullMap, Refusals};
use crate::resolve::Resolver;
use crate::target::Target;

/// How long the reader sleeps: between busy looks, and at most when nothing comes.
const BUSY_WAIT: Duration = Duration::from_millis(5);
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// How often losses are looked for.
const LOSS_PERIOD: Duration = Duration::from_secs(1);
/// How often updates that full maps refused are looked for.
const REFUSAL_PERIOD: Duration = Duration::from_millis(200);
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
    /// The one process that probes are to see; `begin`, `end` and `interval` run all the same.
    pub pid: Option<u32>,
    /// Whether the run fails, although the script may do without missing probes, where the kernel
    /// has none of a kind at all, or where only `begin`, `end` and `interval` are left: a tool would
    /// show nothing, or half.
    pub strict: bool,
}

/// What the caller wishes while a script runs. A function that says whether to stop is one.
pub trait Wishes {
    /// Says whether the run is to end.
    fn stop(&self) -> bool;

    /// Says whether what `self:signal:SIGUSR1` asks for is to be run now, or, in scripts without
    /// that, all maps are to be given out. Says so once for each wish.
    fn take_question(&self) -> bool {
        false
    }
}

impl<F: Fn() -> bool> Wishes for F {
    fn stop(&self) -> bool {
        self()
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The script called `exit`, or has no probes but `begin` and `end`.
    Exit(i32),
    /// The caller asked for it.
    Asked,
    /// The traced command ended.
    Child(ExitKind),
}

/// What a finished run has to report beside its output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Events that found no room.
    pub lost_events: u64,
    /// Stacks that the kernel could not keep, or did not give back.
    pub lost_stacks: u64,
    /// Maps that were full, in the plan's order.
    pub full_maps: Vec<FullMap>,
}

/// A script loaded on a kernel.
#[derive(Debug)]
pub struct Session {
    target: Target,
    plan: Arc<Plan>,
    object: Object,
    reader: Option<EventReader>,
    sites: Sites,
    clock: WallClock,
    users: UserNames,
    unread_stacks: Cell<u64>,
    links: Vec<Link>,
    exit: Option<i32>,
    /// Whether `end` runs or has run.
    ending: bool,
    lost_reported: u64,
    /// When losses and refused updates were looked for. A run that is taken up again and again, each
    /// time for a moment, looks for them as often as one that goes on.
    losses_looked: Instant,
    refusals_looked: Instant,
    refusals: Refusals,
    probes: u64,
    strict: bool,
}

/// Receives the output of a run.
pub trait Sink {
    /// Takes one output.
    ///
    /// # Errors
    ///
    /// Ends the run.
    fn output(&mut self, output: Output) -> io::Result<()>;

    /// Is told that nothing more is there for now, so that buffered output may be handed on.
    ///
    /// # Errors
    ///
    /// Ends the run.
    fn pause(&mut self) -> io::Result<()>;
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
            pid,
            strict,
        } = request;
        let Compiled { mut spec, mut plan } = compiled;
        prepare::check(&plan)?;
        prepare::drop_unused(&mut spec, &mut plan, &options);
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
        let start = clock::read(&**kernel, Clock::Boottime)?;
        let symbols = target.symbols().clone();
        let resolve = move |name: &str| symbols.addresses(name).first().map(|address| address.0);
        let stop = || wishes.stop();
        let mut loader = Loader::new(kernel.clone())
            .log_bytes(plan.config.log_size)
            .btf(btf)
            .symbols(&resolve)
            .stop(&stop);
        for late in spec
            .late
            .iter()
            .filter(|late| late.kind == LateKind::Number)
        {
            loader = loader.late(late.name.clone(), 0);
        }
        for (name, value) in numbers {
            loader = loader.late(name, value);
        }
        loader = loader.late(START_TIME, start);
        for (name, value) in options.numbers(&plan, &spec) {
            loader = loader.late(name, value);
        }
        let object = loader.load(&spec)?;
        // A script has no map that it could do without.
        if let Some((_, error)) = object.map_failures().next() {
            return Err(error.clone().into());
        }
        let reader = reader(&plan, &object)?;
        let clock = WallClock::new(&**kernel)?;
        let sites = Sites::new(&plan, &name, &spec, &source);
        let refusals = Refusals::new(sites.updates(), !strict);
        let probes = plan
            .probes
            .iter()
            .map(|probe| probe.attach.len() as u64)
            .sum();
        let session = Session {
            target: target.clone(),
            plan: Arc::new(plan),
            object,
            reader,
            sites,
            clock,
            users: UserNames::new(),
            unread_stacks: Cell::new(0),
            links: Vec::new(),
            exit: None,
            ending: false,
            lost_reported: 0,
            losses_looked: Instant::now(),
            refusals_looked: Instant::now(),
            refusals,
            probes,
            strict,
        };
        session.require_programs()?;
        Ok(session)
    }

    /// Fails with the first program that the kernel refused.
    fn require_programs(&self) -> Result<(), Error> {
        for probe in &self.plan.probes {
            attach::program(probe, &self.object)?;
        }
        Ok(())
    }

    /// Gives the loaded programs and maps.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Runs `begin`, then attaches all other probes and tells the sink how many there are, unless
    /// it is to be `quiet`. Gives the attach points that are missing where the script asks for a
    /// warning. Nothing is attached where `begin` calls `exit`.
    ///
    /// # Errors
    ///
    /// [`Error::Attach`] for the first probe that cannot be attached, [`Error::Interrupted`] where
    /// the caller wishes to stop.
    pub fn start(
        &mut self,
        sink: &mut dyn Sink,
        quiet: bool,
        wishes: &dyn Wishes,
    ) -> Result<Vec<Error>, Error> {
        let ran = self.run_once(&Attach::Begin)?;
        // What `begin` prints comes after the number of probes, which is not known yet.
        let mut held = Held::default();
        self.drain(&mut held)?;
        let missing = match self.exit {
            Some(_) => Vec::new(),
            None => self.attach(wishes)?,
        };
        if !quiet {
            let count = match self.exit {
                Some(_) => self.probes,
                None => {
                    let later = self.count(&Attach::End) + self.count(&Attach::Signal);
                    ran + later + self.links.len() as u64
                }
            };
            sink.output(Output::AttachedProbes(count))
                .map_err(Error::Output)?;
        }
        for output in held.0 {
            sink.output(output).map_err(Error::Output)?;
        }
        Ok(missing)
    }

    /// Attaches all probes, runs none, and gives the attach points that are missing where the
    /// script asks for a warning.
    ///
    /// # Errors
    ///
    /// As [`Session::start`].
    pub fn attach(&mut self, wishes: &dyn Wishes) -> Result<Vec<Error>, Error> {
        let attached =
            attach::attach_all(&self.plan, &self.object, self.strict, &|| wishes.stop())?;
        let mut points = self.plan.probes.iter().flat_map(|probe| &probe.attach);
        let enough = match self.strict {
            true => attached.events,
            false => !attached.links.is_empty() || points.any(attach::runs_by_itself),
        };
        self.links = attached.links;
        let mut missing = attached.missing;
        if !enough && !missing.is_empty() {
            let first = Box::new(missing.swap_remove(0));
            return Err(Error::NothingAttached { first });
        }
        if self.plan.config.missing_probes != MissingProbes::Warn {
            missing.clear();
        }
        Ok(missing)
    }

    fn count(&self, which: &Attach) -> u64 {
        let points = self.plan.probes.iter().flat_map(|probe| &probe.attach);
        points.filter(|point| *point == which).count() as u64
    }

    /// Gives out events until the script exits, the caller wishes it or the command ends.
    ///
    /// # Errors
    ///
    /// [`Error::Output`] where the sink fails, [`Error::Kernel`] where a buffer cannot be read.
    pub fn run(
        &mut self,
        sink: &mut dyn Sink,
        wishes: &dyn Wishes,
        mut child: Option<&mut Child>,
    ) -> Result<Stop, Error> {
        let mut wait = BUSY_WAIT;
        loop {
            if let Some(code) = self.exit {
                return Ok(Stop::Exit(code));
            }
            if self.links.is_empty() && child.is_none() && self.count(&Attach::Signal) == 0 {
                // Nothing but `begin` and `end`: nothing more can come.
                return Ok(Stop::Exit(0));
            }
            if wishes.take_question() {
                self.drain(sink)?;
                if self.run_once(&Attach::Signal)? == 0 {
                    self.print_maps(sink)?;
                }
            }
            if wishes.stop() {
                return Ok(Stop::Asked);
            }
            if let Some(child) = child.as_deref_mut() {
                let ended = child.poll().map_err(|errno| Error::Os {
                    doing: "look at the command",
                    errno,
                })?;
                if let Some(kind) = ended {
                    return Ok(Stop::Child(kind));
                }
            }
            let seen = self.drain(sink)?;
            wait = if seen > 0 {
                BUSY_WAIT
            } else {
                (wait * 2).min(IDLE_WAIT)
            };
            if self.refusals_looked.elapsed() >= REFUSAL_PERIOD {
                self.refusals_looked = Instant::now();
                self.report_refusals(sink)?;
            }
            if self.losses_looked.elapsed() >= LOSS_PERIOD {
                self.losses_looked = Instant::now();
                self.report_losses(sink)?;
            }
            sink.pause().map_err(Error::Output)?;
            if self.exit.is_none() && !wishes.stop() && self.wait(wait, sink)? > 0 {
                wait = BUSY_WAIT;
            }
        }
    }

    /// Detaches, gives out what is still in the buffers, runs `end`, and gives the maps.
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub fn finish(&mut self, sink: &mut dyn Sink) -> Result<Summary, Error> {
        self.links.clear();
        self.drain(sink)?;
        self.ending = true;
        self.run_once(&Attach::End)?;
        self.drain(sink)?;
        self.report_refusals(sink)?;
        self.report_losses(sink)?;
        sink.output(Output::End).map_err(Error::Output)?;
        if self.plan.config.print_maps_on_exit {
            self.print_maps(sink)?;
        }
        self.summary()
    }

    fn print_maps(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        let resolver = self.resolver();
        let mut order: Vec<_> = self.plan.maps.iter().collect();
        order.sort_by(|left, right| left.name.cmp(&right.name));
        for plan in order {
            let Some(map) = self.object.map(plan.map) else {
                continue;
            };
            if let Some(output) = maps::read(plan, map, (0, 0), Moment::End, &resolver)? {
                sink.output(Output::Map(output)).map_err(Error::Output)?;
            }
        }
        Ok(())
    }

    /// Runs the programs of `begin`, `end` or a signal, in order, and gives their number.
    fn run_once(&self, which: &Attach) -> Result<u64, Error> {
        let mut count = 0;
        for probe in self
            .plan
            .probes
            .iter()
            .filter(|probe| probe.attach.contains(which))
        {
            let program = attach::program(probe, &self.object)?;
            // A raw tracepoint program takes its arguments from here; it has none.
            let context = [0u8; 16];
            let input = TestInput {
                context: &context,
                ..TestInput::default()
            };
            let ran = program.test_run(&input);
            ran.map_err(|error| Error::Attach {
                probe: probe.name.clone(),
                error,
            })?;
            count += 1;
        }
        Ok(count)
    }

    fn resolver(&self) -> Resolver<'_> {
        Resolver {
            symbols: self.target.symbols(),
            users: &self.users,
            clock: &self.clock,
            kernel_stacks: self
                .plan
                .service
                .kernel_stacks
                .and_then(|id| self.object.map(id)),
            unread_stacks: &self.unread_stacks,
            trailer: &self.plan.config.str_trunc_trailer,
        }
    }

    /// Handles what is in the buffers now; gives the number of events.
    fn drain(&mut self, sink: &mut dyn Sink) -> Result<u64, Error> {
        self.read(None, sink)
    }

    /// Waits for events, at most this long, and handles them.
    fn wait(&mut self, time: Duration, sink: &mut dyn Sink) -> Result<u64, Error> {
        if self.reader.is_none() {
            std::thread::sleep(time);
            return Ok(0);
        }
        self.read(Some(time), sink)
    }

    fn read(&mut self, time: Option<Duration>, sink: &mut dyn Sink) -> Result<u64, Error> {
        // What the script sent before it wished to end is in the buffer then.
        let wished = match &self.reader {
            Some(_) => self.exit_without_event()?,
            None => return Ok(0),
        };
        let Some(mut reader) = self.reader.take() else {
            return Ok(0);
        };
        let mut failed = None;
        let mut exit = self.exit;
        let ending = self.ending;
        let mut each = |bytes: &[u8]| {
            // What came after `exit` is not the script's any more, but for what `end` prints.
            if failed.is_some() || (exit.is_some() && !ending) {
                return;
            }
            match self.handle(bytes, sink) {
                Ok(Some(code)) => exit = exit.or(Some(code)),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        };
        let round = match time {
            None => reader.drain(&mut each),
            Some(time) => reader.poll(Some(time), &mut each),
        };
        self.exit = exit.or(wished);
        self.reader = Some(reader);
        match failed {
            Some(error) => Err(error),
            None => Ok(round?.records),
        }
    }

    /// Gives the code of an `exit` whose event found no room.
    fn exit_without_event(&self) -> Result<Option<i32>, Error> {
        let map = self.plan.service.exit.filter(|_| self.exit.is_none());
        let Some(map) = map.and_then(|id| self.object.map(id)) else {
            return Ok(None);
        };
        let word = map.lookup(&0u32.to_ne_bytes())?;
        let word = word.as_deref().and_then(<[u8]>::first_chunk::<8>);
        Ok(word.and_then(|word| ExitWord(u64::from_ne_bytes(*word)).code()))
    }

    /// Handles one event; gives the code of an `exit`.
    fn handle(&self, bytes: &[u8], sink: &mut dyn Sink) -> Result<Option<i32>, Error> {
        let resolver = self.resolver();
        let output = match self.sites.decode(bytes, &resolver) {
            Event::Output(output) => output,
            Event::Exit(code) => return Ok(Some(code)),
            Event::Time(format) => {
                let now = self.clock.now(&**self.target.kernel())?;
                Output::Time(format_time(&format, &now, Dialect::Time))
            }
            Event::PrintMap { map, top, div } => {
                let (plan, map) = self.map(map)?;
                match maps::read(plan, map, (top, div), Moment::Asked, &resolver)? {
                    Some(output) => Output::Map(output),
                    None => return Ok(None),
                }
            }
            Event::PrintEntry { map, key } => {
                let (plan, map) = self.map(map)?;
                Output::Value(maps::read_entry(plan, map, &key, &resolver)?)
            }
            Event::Clear { map } => {
                maps::clear(self.map(map)?.1)?;
                return Ok(None);
            }
            Event::Zero { map } => {
                let (plan, map) = self.map(map)?;
                maps::zero(plan, map)?;
                return Ok(None);
            }
            // A torn or foreign record cannot be counted as an event of the script.
            Event::Unknown => return Ok(None),
        };
        sink.output(output).map_err(Error::Output)?;
        Ok(None)
    }

    fn map(&self, index: u32) -> Result<(&kscope_script::plan::MapPlan, &Map), Error> {
        let missing = || {
            Error::Kernel(kscope_bpf::Error::NotFound {
                what: "map number",
                name: index.to_string(),
            })
        };
        let plan = self.plan.maps.get(index as usize).ok_or_else(missing)?;
        let map = self.object.map(plan.map).ok_or_else(missing)?;
        Ok((plan, map))
    }

    fn counter(&self, counter: Counter) -> Result<u64, Error> {
        let map: Option<MapId> = self.plan.service.counters;
        let Some(map) = map.and_then(|id| self.object.map(id)) else {
            return Ok(0);
        };
        let Some(bytes) = map.lookup(&counter.index().to_ne_bytes())? else {
            return Ok(0);
        };
        Ok(bytes
            .chunks_exact(8)
            .map(|word| {
                word.iter()
                    .rev()
                    .fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))
            })
            .sum())
    }

    fn report_losses(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let lost = self.counter(Counter::LostEvents)?;
        let new = lost.saturating_sub(self.lost_reported);
        if new > 0 {
            self.lost_reported = lost;
            sink.output(Output::Lost(new)).map_err(Error::Output)?;
        }
        Ok(())
    }

    fn report_refusals(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut refusals = std::mem::take(&mut self.refusals);
        let looked = refusals.look(|counter| self.counter(counter), sink);
        self.refusals = refusals;
        looked
    }

    fn summary(&self) -> Result<Summary, Error> {
        Ok(Summary {
            lost_events: self.counter(Counter::LostEvents)?,
            lost_stacks: self.counter(Counter::LostStacks)? + self.unread_stacks.get(),
            full_maps: self.refusals.maps(&self.plan),
        })
    }
}

/// Keeps outputs until they can be given out.
#[derive(Default)]
struct Held(Vec<Output>);

impl Sink for Held {
    fn output(&mut self, output: Output) -> io::Result<()> {
        self.0.push(output);
        Ok(())
    }

    fn pause(&mut self) -> io::Result<()> {
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
            })
        })
    };
    Ok(match plan.service.events {
        None => None,
        Some(EventMap::Ring(id)) => Some(EventReader::Ring(RingBuffer::new(&[map(id)?])?)),
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
