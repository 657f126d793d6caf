//! A script over the memory of a kernel: the dump of a dead one, or the running one's.
//!
//! What comes out is what a run on the live kernel gives: the same [`Output`]s, of the same plan.

mod links;
mod live;
mod resolve;
mod walk;
mod world;

use std::collections::HashMap;
use std::time::Duration;

use kscope_dump::{Kernel, KernelTime};
use kscope_rows::Output;
use kscope_rows::time::{Dialect, format_time};
use kscope_script::catalogue::TextCatalogue;
use kscope_script::compile::Options as CompileOptions;
use kscope_script::diagnostic::Diagnostic;
use kscope_script::interpret::{self, Code, Interpreter, Reads};
use kscope_script::lower::START_TIME;
use kscope_script::plan::{Attach, CODE_OFFSET, Counter, MapPlan, Plan, ProbePlan, SET_MARK};
use kscope_script::types::{Inputs, REALTIME_OFFSET, TAI_OFFSET};
use kscope_spec::LateKind;
use kscope_sys::{CpuSet, Errno, Kernel as SysKernel, real_kernel};

use crate::clock::WallClock;
use crate::error::Error;
use crate::event::{Event, Sites};
use crate::files_and_commands::Render;
use crate::maps::{self, Content, Moment};
use crate::options::Options;
use crate::prepare;
use crate::refusals::{Count, Refusals};
use crate::resolve::Cuts;
use crate::session::{Sink, Stop, Summary, Wishes};

use resolve::DumpResolver;
use world::{DumpWorld, clocks};

pub use live::live_kernel;

/// A script that is to run over a dump, and how.
#[derive(Debug)]
pub struct DumpRequest {
    /// The compiled script.
    pub code: Code,
    /// The values of its options.
    pub options: Options,
    /// Name of what prints rows: that of the tool, or `script`.
    pub name: String,
    /// What messages call the script's file.
    pub file: String,
    /// The script's source, for the places of messages.
    pub source: String,
    /// The imported files in the source, with where the text of each begins.
    pub imported: Vec<(String, usize)>,
    /// Renders the names of files; without it a script has no `cat`.
    pub render: Option<Render>,
    /// Whether the number of probes is not told.
    pub quiet: bool,
}

/// What a finished run over a dump has to report beside its output.
#[derive(Debug)]
pub struct DumpSummary {
    /// How it ended.
    pub stop: Stop,
    /// As of a run on the live kernel.
    pub summary: Summary,
    /// Reads of memory that the script made.
    pub reads: Reads,
    /// Why walks over objects may have missed some.
    pub faults: Vec<String>,
    /// How long ago the oldest memory was read that the script saw, where the kernel runs.
    pub age: Option<Duration>,
}

/// Compiles a script for a kernel in a dump. The inputs bring what is not the kernel's: parameters,
/// settings, imports.
///
/// # Errors
///
/// [`Error::Dump`] where the dump has no types.
pub fn compile_for_dump(
    kernel: &Kernel,
    source: &str,
    set: &dyn Fn(&mut Inputs<'_>),
) -> Result<(Option<Code>, Vec<Diagnostic>), Error> {
    // Nobody can say which probes a dead kernel had.
    let catalogue = TextCatalogue::default();
    let mut inputs = Inputs::new(&catalogue);
    set(&mut inputs);
    inputs.btf = Some(kernel.btf().map_err(Error::Dump)?);
    inputs.interpreted = true;
    inputs.portable = false;
    Ok(interpret::compile(
        source,
        &inputs,
        CompileOptions::default(),
    ))
}

/// Runs a script over a dump from `begin` to its last map.
///
/// # Errors
///
/// [`Error::Output`] where the sink fails, [`Error::Dump`] where what the script walks over cannot
/// be found, [`Error::Fault`] where a program does not come to its end.
pub fn run_on_dump(
    kernel: &Kernel,
    request: DumpRequest,
    sink: &mut dyn Sink,
    wishes: &dyn Wishes,
) -> Result<DumpSummary, Error> {
    let DumpRequest {
        mut code,
        options,
        name,
        file,
        source,
        imported,
        render,
        quiet,
    } = request;
    prepare::check(&code.plan, render.is_some())?;
    if let Some(map) = code.plan.service.options {
        if let Some(map) = code.maps.get_mut(map.0 as usize) {
            let texts = options.texts(&code.plan);
            map.initial = Some(code.plan.options_image(&texts, map.value_size));
        }
    }
    let live = kernel.is_running().then(real_kernel);
    // A dump may not say it: all times are 0 then, of which whoever asks is told.
    let (time, no_time) = match &live {
        Some(live) => (clocks(&**live)?, None),
        None => match kernel.time() {
            Ok(time) => (time, None),
            Err(error) => (KernelTime::default(), Some(error)),
        },
    };
    let late = late_values(kernel, &code, &options, time, live.as_deref())?;
    let world = DumpWorld::new(kernel, live, time, no_time, wishes);
    let Code {
        functions,
        maps,
        plan,
        ..
    } = code;
    let sites = Sites::new(&plan, &name, &file, &source, &imported);
    let mut run = Run {
        world: &world,
        interpreter: Interpreter::new(&functions, &maps, late, &world),
        clock: WallClock::of_boot(time.boot()),
        refusals: Refusals::new(sites.updates(), true),
        sites,
        plan: &plan,
        options: &options,
        render,
        exit: None,
        ending: false,
        faults: Vec::new(),
        cuts: Cuts::default(),
    };
    run.whole(sink, quiet)
}

/// Gives the numbers that are known only now, by their ids.
fn late_values(
    kernel: &Kernel,
    code: &Code,
    options: &Options,
    time: KernelTime,
    live: Option<&dyn SysKernel>,
) -> Result<Vec<u64>, Error> {
    let numbers: HashMap<&str, u64> = options.numbers_of(&code.plan, &code.late).collect();
    let value = |late: &kscope_spec::LateValue| -> Result<u64, Error> {
        Ok(match &late.kind {
            LateKind::Number => match late.name.as_str() {
                START_TIME => time.since_boot,
                TAI_OFFSET | REALTIME_OFFSET => time.boot(),
                name => numbers.get(name).copied().unwrap_or(0),
            },
            LateKind::KernelSymbol(symbol) => address_of(kernel, symbol)?,
            // Only one that is absent is 0, not one that nobody could look for.
            LateKind::KernelSymbolOrZero(symbol) => match address_of(kernel, symbol) {
                Err(Error::Dump(kscope_dump::Error::NoSymbol(_))) => 0,
                found => found?,
            },
            // The running kernel tells it without symbols of data too.
            LateKind::CpuCount => match live {
                Some(live) => live.cpus(CpuSet::Possible).map_err(no_cpus)?.len() as u64,
                None => {
                    let cpus = kernel.cpus("__cpu_possible_mask").map_err(Error::Dump)?;
                    cpus.len() as u64
                }
            },
            LateKind::PidNamespaceDev | LateKind::PidNamespaceInode | LateKind::OwnPid => 0,
        })
    };
    code.late.iter().map(value).collect()
}

fn no_cpus(errno: Errno) -> Error {
    Error::Os {
        doing: "read the list of possible CPUs",
        errno,
    }
}

/// Gives the address of a symbol of the kernel or of a module.
fn address_of(kernel: &Kernel, symbol: &str) -> Result<u64, Error> {
    kernel.symbols().map_err(Error::Dump)?;
    let found = kernel.global(symbol).or_else(|| {
        let symbols = kernel.module_symbols();
        symbols.find(symbol).next().map(|found| found.address)
    });
    let missing = || Error::Dump(kscope_dump::Error::NoSymbol(symbol.to_owned()));
    found.map(|address| address.0).ok_or_else(missing)
}

/// A run of a script over a dump.
struct Run<'r> {
    world: &'r DumpWorld<'r>,
    interpreter: Interpreter<'r>,
    clock: WallClock,
    refusals: Refusals,
    sites: Sites,
    plan: &'r Plan,
    options: &'r Options,
    render: Option<Render>,
    exit: Option<i32>,
    ending: bool,
    faults: Vec<String>,
    cuts: Cuts,
}

impl Run<'_> {
    fn whole(&mut self, sink: &mut dyn Sink, quiet: bool) -> Result<DumpSummary, Error> {
        let plan = self.plan;
        let probes = || plan.probes.iter().filter(|probe| self.options.keep(probe));
        let probes: Vec<&ProbePlan> = probes().collect();
        if !quiet {
            let count = probes.iter().map(|probe| probe.attach.len() as u64).sum();
            sink.output(Output::AttachedProbes(count))
                .map_err(Error::Output)?;
        }
        let of = |which: &Attach| {
            let runs = probes.iter().filter(|p| p.attach.contains(which));
            let programs: Vec<usize> = runs.map(|p| p.program.0 as usize).collect();
            programs
        };
        for program in of(&Attach::Begin) {
            self.run(program, &[], sink)?;
        }
        let mut asked = false;
        for probe in &probes {
            for attach in &probe.attach {
                let Attach::Iterator { name } = attach else {
                    continue;
                };
                if self.exit.is_none() && !asked {
                    asked = self.walk(name, probe.program.0 as usize, sink)?;
                }
            }
        }
        self.ending = true;
        for program in of(&Attach::End) {
            self.run(program, &[], sink)?;
        }
        self.report(sink)?;
        sink.output(Output::End).map_err(Error::Output)?;
        if self.plan.config.print_maps_on_exit {
            self.print_maps(sink)?;
        }
        let lost = |counter| self.counts(counter).iter().map(|cpu| cpu.seen).sum();
        Ok(DumpSummary {
            stop: match asked && self.exit.is_none() {
                true => Stop::Asked,
                false => Stop::Exit(self.exit.unwrap_or(0)),
            },
            summary: Summary {
                lost_events: lost(Counter::LostEvents),
                lost_stacks: lost(Counter::LostStacks),
                cut_strings: self.cuts.strings.get(),
                cut_arguments: self.cuts.arguments.get(),
                missed_runs: 0,
                missed_calls: 0,
                full_maps: self.refusals.maps(self.plan),
            },
            reads: self.interpreter.reads(),
            faults: {
                let mut faults = std::mem::take(&mut self.faults);
                faults.append(&mut self.world.faults(self.interpreter.paths()));
                faults
            },
            age: self.world.kernel.age(),
        })
    }

    /// Runs a program for each object of a kind; says whether the caller wanted to stop.
    fn walk(&mut self, kind: &str, program: usize, sink: &mut dyn Sink) -> Result<bool, Error> {
        let kernel = self.world.kernel;
        let mut number = 0u64;
        let found = walk::objects(kernel, kind, &mut |given| {
            let walk::Given {
                mut context,
                object,
            } = given;
            if self.world.wishes.stop() {
                return Ok(false);
            }
            // struct bpf_iter_meta { struct seq_file *seq; u64 session_id; u64 seq_num; }
            let mut meta = [0u8; 24];
            meta[16..].copy_from_slice(&number.to_le_bytes());
            number += 1;
            let meta = self.interpreter.keep(&meta);
            if let Some(place) = context.first_chunk_mut::<8>() {
                *place = meta.unwrap_or(0).to_le_bytes();
            }
            let object = object.and_then(|(offset, bytes)| {
                let kept = self.interpreter.keep(&bytes)?;
                let place = context.get_mut(offset..offset + 8)?;
                place.copy_from_slice(&kept.to_le_bytes());
                Some(kept)
            });
            self.run(program, &context, sink)?;
            for kept in meta.into_iter().chain(object) {
                self.interpreter.forget(kept);
            }
            Ok(self.exit.is_none())
        })?;
        self.faults.extend(found.fault);
        Ok(found.stopped && self.exit.is_none())
    }

    /// Runs a program and handles what it sent.
    fn run(&mut self, program: usize, context: &[u8], sink: &mut dyn Sink) -> Result<(), Error> {
        let ran = self.interpreter.run(program, context);
        while let Some(event) = self.interpreter.next_event() {
            // What came after `exit` is not the script's any more, but for what `end` prints.
            if self.exit.is_none() || self.ending {
                self.handle(&event, sink)?;
            }
        }
        self.report(sink)?;
        ran.map(|_| ()).map_err(|fault| Error::Fault {
            probe: self.name_of(program),
            fault,
        })
    }

    fn name_of(&self, program: usize) -> String {
        let mut probes = self.plan.probes.iter();
        let found = probes.find(|probe| probe.program.0 as usize == program);
        found.map_or_else(String::new, |probe| probe.name.clone())
    }

    fn report(&mut self, sink: &mut dyn Sink) -> Result<(), Error> {
        let mut refusals = std::mem::take(&mut self.refusals);
        let looked = refusals.look(|counter| Ok(self.counts(counter)), sink);
        self.refusals = refusals;
        looked
    }

    fn counts(&self, counter: Counter) -> Vec<Count> {
        let map = self.plan.service.counters;
        let key = counter.index().to_le_bytes();
        let Some(value) = map.and_then(|map| self.interpreter.value(map, &key)) else {
            return Vec::new();
        };
        let word = |offset: u32| {
            let bytes = value.get(offset as usize..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        vec![Count {
            seen: word(0).unwrap_or(0),
            code: word(CODE_OFFSET).map_or(0, |code| code as u32 as i32),
        }]
    }

    /// Handles one event.
    fn handle(&mut self, bytes: &[u8], sink: &mut dyn Sink) -> Result<(), Error> {
        let event = self.sites.decode(bytes, &self.resolver());
        let output = match event {
            Event::Output(output) => Some(output),
            Event::Exit(code) => {
                self.exit = self.exit.or(Some(code));
                None
            }
            Event::Time(format) => {
                let now = self.clock.local(self.world.now().since_1970);
                Some(Output::Time(format_time(&format, &now, Dialect::Time)))
            }
            Event::Cat(format, values) => {
                if let Some(render) = self.render {
                    let path = render(&format, &values);
                    let most = self.plan.config.max_cat_bytes;
                    for output in crate::files_and_commands::cat(&path, most) {
                        sink.output(output).map_err(Error::Output)?;
                    }
                }
                None
            }
            Event::PrintMap { map, top, div } => {
                let shown = self
                    .plan
                    .maps
                    .get(map as usize)
                    .and_then(|plan| self.show(plan, (top, div), Moment::Asked));
                shown.map(Output::Map)
            }
            Event::PrintEntry { map, key } => {
                let plan = self.plan.maps.get(map as usize);
                plan.map(|plan| {
                    let value = self.interpreter.value(plan.map, &key);
                    let zeros = vec![0; plan.value_size() as usize];
                    let value = value.unwrap_or(&zeros);
                    let value = kscope_rows::decode_map_value(&plan.value, value, &self.resolver());
                    Output::Value(value)
                })
            }
            Event::Clear { map } => {
                if let Some(plan) = self.plan.maps.get(map as usize) {
                    self.interpreter.clear(plan.map);
                }
                None
            }
            Event::Zero { map } => {
                if let Some(plan) = self.plan.maps.get(map as usize) {
                    self.zero(plan);
                }
                None
            }
            // No script over memory may run commands, and there is nothing to watch.
            Event::System(..) | Event::Unwatch(_) | Event::Unknown => None,
        };
        match output {
            Some(output) => sink.output(output).map_err(Error::Output),
            None => Ok(()),
        }
    }

    /// Sets all values to zero; a map without a key that is set stays so.
    fn zero(&mut self, plan: &MapPlan) {
        let mut bytes = vec![0; plan.value_size() as usize];
        if plan.key.is_none() {
            let value = self.interpreter.value(plan.map, &[]);
            if value.is_none_or(|value| value.iter().all(|byte| *byte == 0)) {
                return;
            }
            let mark: [u8; SET_MARK as usize] = 1u64.to_le_bytes();
            bytes.extend(mark);
        }
        self.interpreter.fill(plan.map, &bytes);
    }

    fn show(
        &self,
        plan: &MapPlan,
        arguments: (u32, u64),
        moment: Moment,
    ) -> Option<kscope_rows::MapOutput> {
        let content = match plan.key {
            None => {
                let value = self.interpreter.value(plan.map, &[]);
                let zeros = vec![0; (plan.value_size() + SET_MARK) as usize];
                Content::Scalar(value.map_or(zeros, <[u8]>::to_vec))
            }
            Some(_) => {
                let entries = self.interpreter.entries(plan.map);
                Content::Listed(entries.map(|(k, v)| (k.to_vec(), v.to_vec())).collect())
            }
        };
        maps::show(plan, &content, arguments, moment, &self.resolver())
    }

    fn print_maps(&self, sink: &mut dyn Sink) -> Result<(), Error> {
        for plan in maps::by_name(self.plan) {
            if let Some(output) = self.show(plan, (0, 0), Moment::End) {
                sink.output(Output::Map(output)).map_err(Error::Output)?;
            }
        }
        Ok(())
    }

    fn resolver(&self) -> DumpResolver<'_> {
        DumpResolver {
            kernel: self.world.kernel,
            interpreter: &self.interpreter,
            clock: &self.clock,
            cuts: &self.cuts,
            trailer: &self.plan.config.str_trunc_trailer,
        }
    }
}
