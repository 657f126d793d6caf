//! Attaching the programs of a plan.

use kscope_bpf::{Denial, IterReader, KprobeAt, Link, Object, Program};
use kscope_script::plan::{Attach, MissingProbes, Plan, ProbePlan, Rate};
use kscope_spec::ProgramType;
use kscope_sys::{Errno, PerfKind, Sampling};

use crate::error::Error;
use crate::kprobe_multi;
use crate::user_probe::{self, UserPlace};

/// What came of attaching.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Dropping them detaches.
    pub(crate) links: Vec<Link>,
    /// Watchpoints, with their addresses.
    pub(crate) watchpoints: Vec<(u64, Option<Link>)>,
    /// Iterators, in order.
    pub(crate) iterations: Vec<IterReader>,
    /// Attach points that are not there, with the reason, where the script goes on without.
    pub(crate) missing: Vec<Error>,
    /// Attach points that cannot be probed, of patterns of which others can.
    pub(crate) skipped: Vec<Error>,
    /// Attach points beyond one for each link.
    pub(crate) functions: u64,
    /// Whether what is attached is more than timers.
    pub(crate) events: bool,
}

impl Attached {
    /// Says whether anything is attached.
    pub(crate) fn has_any(&self) -> bool {
        !self.links.is_empty() || !self.iterations.is_empty() || !self.watchpoints.is_empty()
    }
}

/// Attaches all programs but those that the session runs, until `stop` says so.
pub(crate) fn attach_all(
    plan: &Plan,
    object: &Object,
    strict: bool,
    place: &UserPlace<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<Attached, Error> {
    let mut attached = Attached::default();
    for probe in &plan.probes {
        if probe.attach.iter().all(runs_by_itself) {
            continue;
        }
        let program = match program(probe, object) {
            Ok(program) => program,
            Err(error) if may_be_missing(plan, strict, &error) => {
                attached.missing.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut failed = Failed::default();
        let many = match program.attach_kind() {
            kind if *kind == user_probe::MANY => {
                Some(user_probe::attach_many(program, &probe.attach, place, stop))
            }
            _ if kprobe_multi::is_chosen(program) => {
                Some(kprobe_multi::attach(program, &probe.attach, stop))
            }
            _ => None,
        };
        if stop() {
            return Err(Error::Interrupted);
        }
        if let Some(many) = many {
            attached.functions += many.functions.saturating_sub(many.links.len() as u64);
            attached.events |= !many.links.is_empty();
            failed.some_hold = !many.links.is_empty();
            attached.links.extend(many.links);
            failed.all = many.failed;
        } else {
            for point in &probe.attach {
                if runs_by_itself(point) {
                    continue;
                }
                if stop() {
                    return Err(Error::Interrupted);
                }
                match attached.attach(program, point, place) {
                    Ok(()) => failed.some_hold = true,
                    Err(error) => failed.all.push(error),
                }
                if failed.is_hopeless(plan, strict) {
                    break;
                }
            }
        }
        failed.judge(plan, probe, strict, &mut attached)?;
    }
    Ok(attached)
}

impl Attached {
    /// Attaches a program to one of its points.
    fn attach(
        &mut self,
        program: &Program,
        point: &Attach,
        place: &UserPlace<'_>,
    ) -> Result<(), kscope_bpf::Error> {
        if let Attach::Iterator { .. } = point {
            self.iterations.push(program.attach_iterator()?);
        } else {
            let link = attach(program, point, place)?;
            match point {
                Attach::Watchpoint { address, .. } => {
                    self.watchpoints.push((*address, Some(link)));
                }
                _ => self.links.push(link),
            }
        }
        self.events |= !matches!(point, Attach::Interval { .. });
        Ok(())
    }
}

/// Attach points of one program that do not hold.
#[derive(Default)]
struct Failed {
    all: Vec<kscope_bpf::Error>,
    some_hold: bool,
}

impl Failed {
    /// Says whether what failed is reason enough to try no further: the script needs it, or the
    /// kernel has no probes of the kind at all.
    fn is_hopeless(&self, plan: &Plan, strict: bool) -> bool {
        let unsupported = |error| matches!(error, &kscope_bpf::Error::Unsupported { .. });
        match self.all.last() {
            None => false,
            Some(error) => unsupported(error) || is_fatal(plan, strict, error),
        }
    }

    /// Gives the failures to whoever is to know of them.
    fn judge(
        self,
        plan: &Plan,
        probe: &ProbePlan,
        strict: bool,
        attached: &mut Attached,
    ) -> Result<(), Error> {
        let count = self.all.len();
        let mut all = self.all.into_iter();
        // The worst is told.
        let Some(first) = all.next() else {
            return Ok(());
        };
        let fatal = all.find(|error| is_fatal(plan, strict, error));
        let is_fatal = fatal.is_some() || is_fatal(plan, strict, &first);
        let error = Error::Attach {
            probe: probe.name.clone(),
            error: fatal.unwrap_or(first),
        };
        // A pattern stands for what can be probed of what matches it.
        let of_pattern = !probe.patterns.is_empty() && self.some_hold;
        if is_fatal && !of_pattern {
            return Err(error);
        }
        let error = match count {
            1 => error,
            count => Error::Skipped {
                count,
                first: Box::new(error),
            },
        };
        match of_pattern {
            true => attached.skipped.push(error),
            false => attached.missing.push(error),
        }
        Ok(())
    }
}

/// Says whether a script does not do without a probe that failed like this.
fn is_fatal(plan: &Plan, strict: bool, error: &kscope_bpf::Error) -> bool {
    plan.config.missing_probes == MissingProbes::Error || !is_absent(strict, error)
}

/// Says whether a program is not attached anywhere, but run by the session.
pub(crate) fn runs_by_itself(point: &Attach) -> bool {
    matches!(
        point,
        Attach::Begin | Attach::End | Attach::Signal | Attach::Test { .. } | Attach::Bench { .. }
    )
}

/// Says whether the script goes on without a program that was refused like this.
pub(crate) fn may_be_missing(plan: &Plan, strict: bool, error: &Error) -> bool {
    let (Error::Attach { error, .. } | Error::Program { error, .. }) = error else {
        return false;
    };
    !is_fatal(plan, strict, error)
}

/// Says whether the error means that the kernel does not have the probe, or, unless the run is
/// `strict`, no probes of its kind at all.
fn is_absent(strict: bool, error: &kscope_bpf::Error) -> bool {
    match error {
        kscope_bpf::Error::NotFound { .. } => true,
        // What the kernel says of functions that must not be probed, and of counters that the
        // hardware has not.
        kscope_bpf::Error::Os { errno, .. } => {
            [Errno::INVAL, Errno::NOENT, Errno::OPNOTSUPP].contains(errno)
        }
        kscope_bpf::Error::Unsupported { .. } => !strict,
        kscope_bpf::Error::Permission { cause, .. } => {
            !strict && matches!(cause, Denial::Trampoline { .. })
        }
        _ => false,
    }
}

/// Gives the loaded program of a probe.
pub(crate) fn program<'a>(probe: &ProbePlan, object: &'a Object) -> Result<&'a Program, Error> {
    object.program(probe.program).map_err(|error| {
        let place = object
            .failures()
            .find(|failure| failure.id == probe.program)
            .and_then(|failure| failure.place);
        Error::Program {
            probe: probe.name.clone().into(),
            place,
            error,
        }
    })
}

fn attach(
    program: &Program,
    point: &Attach,
    place: &UserPlace<'_>,
) -> Result<Link, kscope_bpf::Error> {
    match point {
        Attach::Uprobe { .. } | Attach::Uretprobe { .. } | Attach::Usdt { .. } => {
            user_probe::attach(program, point, place)
        }
        Attach::Begin
        | Attach::End
        | Attach::Signal
        | Attach::Test { .. }
        | Attach::Bench { .. }
        | Attach::Iterator { .. } => Err(kscope_bpf::Error::Invalid {
            why: "it runs by itself".to_owned(),
        }),
        // The compiler found that the program needs nothing of the record.
        Attach::Tracepoint { event, .. } if program.kind() == ProgramType::RawTracepoint => {
            program.attach_raw_tracepoint(event, 0)
        }
        Attach::Tracepoint { category, event } => program.attach_tracepoint(category, event, 0),
        Attach::RawTracepoint { event } => program.attach_raw_tracepoint(event, 0),
        Attach::Kprobe { function, offset } => {
            let at = KprobeAt::Function {
                name: function.clone(),
                offset: *offset,
            };
            program.attach_kprobe(&at, false, 0)
        }
        Attach::Kretprobe { function } => {
            let at = KprobeAt::Function {
                name: function.clone(),
                offset: 0,
            };
            program.attach_kprobe(&at, true, 0)
        }
        Attach::KprobeAddress { address } => {
            program.attach_kprobe(&KprobeAt::Address(*address), false, 0)
        }
        Attach::FunctionEntry { .. } | Attach::FunctionExit { .. } => program.attach_typed(0),
        Attach::PerfEvent {
            hardware,
            event,
            count,
        } => {
            let kind = match hardware {
                true => PerfKind::Hardware(*event),
                false => PerfKind::Software(*event),
            };
            program.attach_perf(kind, Sampling::Period(*count), None, 0)
        }
        Attach::Watchpoint {
            address,
            length,
            access,
        } => {
            // The kernel wants the size of a word where an instruction is watched.
            let length = match access & EXECUTES {
                0 => u64::from(*length),
                _ => 8,
            };
            let threads = place.threads()?;
            program.attach_breakpoint(*address, length, u32::from(*access), &threads)
        }
        Attach::Interval { nanoseconds } => program.attach_timer(Sampling::Period(*nanoseconds)),
        Attach::Profile { rate } => program.attach_clock(sampling(*rate), None),
    }
}

/// The bit of a watchpoint that says that it is an instruction's.
const EXECUTES: u8 = 4;

fn sampling(rate: Rate) -> Sampling {
    match rate {
        Rate::Hertz(hertz) => Sampling::Frequency(hertz),
        Rate::Nanoseconds(nanoseconds) => Sampling::Period(nanoseconds),
    }
}
