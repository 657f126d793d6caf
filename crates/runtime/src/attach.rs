//! Attaching the programs of a plan.

use kscope_bpf::{KprobeAt, Link, Object, Program};
use kscope_script::plan::{Attach, MissingProbes, Plan, ProbePlan, Rate};
use kscope_sys::Sampling;

use crate::error::Error;

/// What came of attaching.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Dropping them detaches.
    pub(crate) links: Vec<Link>,
    /// Attach points that are not there, with the reason, where the script goes on without.
    pub(crate) missing: Vec<Error>,
    /// How many attach points are not there, told or not.
    pub(crate) absent: usize,
}

/// Attaches all programs but those of `begin` and `end`.
pub(crate) fn attach_all(plan: &Plan, object: &Object) -> Result<Attached, Error> {
    let mut attached = Attached::default();
    for probe in &plan.probes {
        for point in &probe.attach {
            if matches!(point, Attach::Begin | Attach::End) {
                continue;
            }
            match attach(probe, point, object) {
                Ok(link) => attached.links.push(link),
                Err(error) if may_be_missing(plan, &error) => {
                    attached.absent += 1;
                    if plan.config.missing_probes == MissingProbes::Warn {
                        attached.missing.push(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(attached)
}

/// Says whether the script goes on without a probe that failed like this.
fn may_be_missing(plan: &Plan, error: &Error) -> bool {
    let absent = matches!(
        error,
        Error::Attach {
            error: kscope_bpf::Error::NotFound { .. },
            ..
        }
    );
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
        Attach::Begin | Attach::End => return Err(unattachable(probe)),
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
