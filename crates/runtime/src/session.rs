//! A script on a kernel, from loading to its last map.

mod events;
mod held;
mod kept;
mod load;
mod losses;
mod processes;
mod trial;

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kscope_bpf::{EventReader, Link, Object, TestInput, detach_all};
use kscope_rows::Output;
use kscope_script::plan::{Attach, MissingProbes, Plan};
use kscope_spec::MapId;
use kscope_symbol::{UserNames, UserSymbolizer};
use kscope_sys::{Child, ExitKind};

use crate::attach;
use crate::cgroups::Cgroups;
use crate::clock::WallClock;
use crate::early::Early;
use crate::error::Error;
use crate::event::{Event, Sites};
use crate::files_and_commands::Render;
use crate::iterations::Iterations;
use crate::refusals::{FullMap, Refusals};
use crate::resolve::Cuts;
use crate::target::Target;
use crate::user_probe::UserPlace;

use held::Waiting;
use kept::{Keeper, Kept};
use processes::ProcessesInMaps;

pub use load::Request;
pub use trial::Trial;

/// How long the reader sleeps: between busy looks, and at most when nothing comes.
const BUSY_WAIT: Duration = Duration::from_millis(5);
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// How often losses are looked for.
const LOSS_PERIOD: Duration = Duration::from_secs(1);
/// How often updates that full maps refused are looked for.
const REFUSAL_PERIOD: Duration = Duration::from_millis(200);

/// A script loaded on a kernel.
#[derive(Debug)]
pub struct Session {
    target: Target,
    plan: Arc<Plan>,
    object: Object,
    reader: Option<EventReader>,
    /// What came out of it while probes were attached, until it is handled.
    kept: Kept,
    sites: Sites,
    clock: WallClock,
    users: UserNames,
    unread_stacks: Cell<u64>,
    cuts: Cuts,
    /// The one process that uprobes and USDT probes are to see.
    watched: Option<u32>,
    /// The maps of kernel stacks and of those of processes, each with the one behind it.
    stacks: [[Option<MapId>; 2]; 2],
    processes: UserSymbolizer,
    cgroups: Cgroups,
    processes_in_maps: ProcessesInMaps,
    /// Why programs are left out, until it is told.
    refused: Vec<Error>,
    links: Vec<Link>,
    /// Uprobes that are being put in their places for programs to come.
    early: Option<Early>,
    iterations: Iterations,
    /// Watchpoints with their addresses; those that the script has let go of have no link.
    watchpoints: Vec<(u64, Option<Link>)>,
    /// Addresses that are to be watched no more.
    unwatched: Vec<u64>,
    /// Attach points beyond one for each link.
    functions: u64,
    exit: Option<i32>,
    /// Maps that wait to be printed.
    waiting: Waiting,
    /// While probes are attached: a command that the script runs, and what came after it.
    after_start: Option<Vec<Event>>,
    /// Since when the run is to end, where somebody asked for that.
    asked_to_end: Cell<Option<Instant>>,
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
    needs_events: bool,
    render: Option<Render>,
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

    /// Says whether the run is to end at once, so that not even the commands of `end` are waited for.
    fn insists(&self) -> bool {
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
    /// Strings that were longer than `max_strlen`, each time they were printed.
    pub cut_strings: u64,
    /// Arguments of commands that were longer than the script wanted, each time they were printed.
    pub cut_arguments: u64,
    /// Runs of programs that the kernel left out, because the program was running on the CPU already
    /// (Linux 5.12).
    pub missed_runs: u64,
    /// Calls of kernel functions, and returns from them, that the kernel could not tell of
    /// (Linux 6.7).
    pub missed_calls: u64,
    /// Maps that were full, in the plan's order.
    pub full_maps: Vec<FullMap>,
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
        let stop = || wishes.stop();
        self.after_start = Some(Vec::new());
        self.drain_all(&mut held, &stop)?;
        let missing = match self.exit {
            Some(_) => Vec::new(),
            None => self.attach(wishes)?,
        };
        if !quiet {
            let count = match self.exit {
                Some(_) => self.probes,
                None => {
                    let later = self.count(&Attach::End) + self.count(&Attach::Signal);
                    let attached =
                        self.links.len() + self.watchpoints.len() + self.iterations.len();
                    ran + later + attached as u64 + self.functions
                }
            };
            sink.output(Output::AttachedProbes(count))
                .map_err(Error::Output)?;
        }
        for output in held.0 {
            sink.output(output).map_err(Error::Output)?;
        }
        self.do_after_start(sink, &stop)?;
        Ok(missing)
    }

    /// Attaches all probes, runs none, and gives the attach points that are missing where the
    /// script asks for a warning.
    ///
    /// # Errors
    ///
    /// As [`Session::start`].
    pub fn attach(&mut self, wishes: &dyn Wishes) -> Result<Vec<Error>, Error> {
        let waiting = self.early.take().map(Early::wait).unwrap_or_default();
        let place = UserPlace {
            files: self.target.user(),
            pid: self.watched,
            waiting: &waiting,
        };
        // The first programs send events while hundreds of others wait to be attached.
        let keeper = RefCell::new(Keeper::new(self.reader.take()));
        let attached = attach::attach_all(&self.plan, &self.object, self.strict, &place, &|| {
            keeper.borrow_mut().take();
            wishes.stop()
        });
        let (reader, kept) = keeper.into_inner().finish();
        self.reader = reader;
        let attached = attached?;
        self.kept = kept?;
        let mut points = self.plan.probes.iter().flat_map(|probe| &probe.attach);
        let enough = match self.needs_events {
            true => attached.events,
            false => attached.has_any() || points.any(attach::runs_by_itself),
        };
        self.links = attached.links;
        self.watchpoints = attached.watchpoints;
        self.functions = attached.functions;
        self.iterations = Iterations::new(attached.iterations);
        let mut missing = std::mem::take(&mut self.refused);
        missing.extend(attached.missing);
        if !enough && !missing.is_empty() {
            let first = Box::new(missing.swap_remove(0));
            return Err(Error::NothingAttached { first });
        }
        match self.plan.config.missing_probes {
            MissingProbes::Ignore => missing.clear(),
            MissingProbes::Warn | MissingProbes::Error => missing.extend(attached.skipped),
        }
        Ok(missing)
    }

    /// Detaches everything.
    fn detach(&mut self) {
        let mut links = std::mem::take(&mut self.links);
        let watchpoints = std::mem::take(&mut self.watchpoints);
        links.extend(watchpoints.into_iter().filter_map(|(_, link)| link));
        self.iterations.stop();
        detach_all(links);
    }

    /// Detaches the watchpoints that the script wants no more.
    fn let_go(&mut self) {
        for address in std::mem::take(&mut self.unwatched) {
            let here = self.watchpoints.iter_mut().filter(|(at, _)| *at == address);
            here.for_each(|(_, link)| *link = None);
        }
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
        let stop = || wishes.stop();
        // A run that is taken up again is not to end because one before it was.
        self.asked_to_end.set(None);
        loop {
            if let Some(code) = self.exit {
                return Ok(Stop::Exit(code));
            }
            let all_done = self.iterations.go_on()?;
            if all_done
                && self.links.is_empty()
                && self.watchpoints.iter().all(|(_, link)| link.is_none())
                && child.is_none()
                && self.count(&Attach::Signal) == 0
            {
                // Nothing but `begin` and `end`: nothing more can come.
                self.drain_all(sink, &stop)?;
                return Ok(Stop::Exit(self.exit.unwrap_or(0)));
            }
            if wishes.take_question() {
                self.drain_all(sink, &stop)?;
                if self.run_once(&Attach::Signal)? == 0 {
                    self.print_maps(sink)?;
                }
            }
            if wishes.stop() {
                self.note_wish();
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
            self.see_watched();
            let seen = self.drain(sink, &stop)?;
            self.let_go();
            self.see_processes()?;
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
            if self.exit.is_none() && !wishes.stop() && self.wait(wait, sink, &stop)? > 0 {
                wait = BUSY_WAIT;
            }
        }
    }

    /// Detaches, gives out what is still in the buffers, runs `end`, and gives the maps. The commands of
    /// `end` are waited for unless the caller [insists](Wishes::insists).
    ///
    /// # Errors
    ///
    /// As [`Session::run`].
    pub fn finish(&mut self, sink: &mut dyn Sink, wishes: &dyn Wishes) -> Result<Summary, Error> {
        let asked = self.asked_to_end.get().is_some();
        let missed_calls = self.missed_calls();
        self.detach();
        self.drain_last(sink, &|| asked || wishes.stop())?;
        self.ending = true;
        self.run_once(&Attach::End)?;
        self.drain_all(sink, &|| wishes.insists())?;
        self.report_refusals(sink)?;
        self.report_losses(sink)?;
        sink.output(Output::End).map_err(Error::Output)?;
        if self.plan.config.print_maps_on_exit {
            self.print_maps(sink)?;
        }
        self.summary(missed_calls)
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
}

impl Drop for Session {
    fn drop(&mut self) {
        self.detach();
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
