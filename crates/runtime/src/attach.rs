//! Attaching the programs of a plan.

use kscope_bpf::{IterReader, KprobeAt, Link, Object, Program};
use kscope_script::plan::{Attach, MissingProbes, Plan, ProbePlan, Rate};
use kscope_sys::{PerfKind, Sampling};

use crate::error::Error;

/// What came of attaching.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Dropping them detaches.
    pub(crate) links: Vec<Link>,
    /// Iterators, in order.
    pub(crate) walks: Vec<IterReader>,
    /// Attach points that are not there, with the reason, where the script goes on without.
    pub(crate) missing: Vec<Error>,
    /// Whether what is attached is more than timers.
    pub(crate) events: bool,
}

impl Attached {
    /// Says whether anything is attached.
    pub(crate) fn has_any(&self) -> bool {
        !self.links.is_empty() || !self.walks.is_empty()
    }
}

/// Attaches all programs but those that the session runs, until `stop` says so.
pub(crate) fn attach_all(
    plan: &Plan,
    object: &Object,
    strict: bool,
    stop: &dyn Fn() -> bool,
) -> Result<Attached, Error> {
    let mut attached = Attached::default();
    for probe in &plan.probes {
        for point in &probe.attach {
            if runs_by_itself(point) {
                continue;
            }
            if stop() {
                return Err(Error::Interrupted);
            }
            if let Attach::Iterator { .. } = point {
                let walk = program(probe, object)?.attach_iterator();
                let walk = walk.map_err(|error| Error::Attach {
                    probe: probe.name.clone(),
                    error,
                })?;
                attached.walks.push(walk);
                attached.events = true;
                continue;
            }
            match attach(probe, point, object) {
                Ok(link) => {
                    attached.events |= !matches!(point, Attach::Interval { .. });
                    attached.links.push(link);
                }
                Err(error) if may_be_missing(plan, strict, &error) => attached.missing.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(attached)
}

/// Says whether a program is not attached anywhere, but run by the session.
pub(crate) fn runs_by_itself(point: &Attach) -> bool {
    matches!(point, Attach::Begin | Attach::End | Attach::Signal)
}

/// Says whether the script goes on without a probe that failed like this: the kernel does not have
/// it, or, unless the run is `strict`, no probes of its kind at all.
fn may_be_missing(plan: &Plan, strict: bool, error: &Error) -> bool {
    let Error::Attach { error, .. } = error else {
        return false;
    };
    let absent = match error {
        kscope_bpf::Error::NotFound { .. } => true,
        kscope_bpf::Error::Unsupported { .. } => !strict,
        _ => false,
    };
    absent && plan.config.missing_probes != MissingProbes::Error
}

/// Gives the loaded program of a probe.
pub(crate) fn program<'a>(probe: &ProbePlan, object: &'a Object) -> Result<&'a Program, Error> {
    object.program(probe.program).map_err(|error| {
        let place = object
            .failures()
            .find(|failure| failure.id == probe.program)
            .and_then(|failure| failure.place);
        Error::Program {
            probe: probe.name.clone(),
            place,
            error,
        }
    })
}

fn attach(probe: &ProbePlan, point: &Attach, object: &Object) -> Result<Link, Error> {
    let program = program(probe, object)?;
    let link = match point {
        Attach::Begin | Attach::End | Attach::Signal | Attach::Iterator { .. } => {
            return Err(unattachable(probe));
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
        Attach::Interval { nanoseconds } => program.attach_timer(Sampling::Period(*nanoseconds)),
        Attach::Profile { rate } => program.attach_clock(sampling(*rate), None),
    };
    link.map_err(|error| Error::Attach {
        probe: probe.name.clone(),
        error,
    })
}

fn sampling(rate: Rate) -> Sampling {
    match rate {
        Rate::Hertz(hertz) => Sampling::Frequency(hertz),
        Rate::Nanoseconds(nanoseconds) => Sampling::Period(nanoseconds),
    }
}

fn unattachable(probe: &ProbePlan) -> Error {
    Error::Attach {
        probe: probe.name.clone(),
        error: kscope_bpf::Error::Invalid {
            why: "it runs by itself".to_owned(),
        },
    }
}
