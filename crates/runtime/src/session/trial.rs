//! `test` and `bench` probes: run when they are asked for, one after the other.

use std::time::{Duration, Instant};

use kscope_bpf::TestInput;
use kscope_script::plan::Attach;

use super::{Session, Sink};
use crate::attach;
use crate::error::Error;

/// A packet, which programs that are timed are run on; they do not look at it.
const PACKET: [u8; 14] = [0; 14];

/// What came of running a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// What it returned.
    pub result: u32,
    /// The code of an `exit` that it called, 0 without one.
    pub exit: i32,
    /// Time of one run: of a test as user space sees it, of a benchmark as the kernel does.
    pub duration: Duration,
}

impl Session {
    /// Runs the probes that begin the script, whose output the next [`Session::try_once`] gives out.
    ///
    /// # Errors
    ///
    /// [`Error::Attach`] for a probe that cannot be run.
    pub fn begin_trials(&mut self) -> Result<(), Error> {
        self.run_once(&Attach::Begin).map(|_| ())
    }

    /// Runs the probe that is attached so, `repeat` times where it is a benchmark, and gives its
    /// output to the sink.
    ///
    /// # Errors
    ///
    /// [`Error::Attach`] for a probe that cannot be run, else as [`Session::run`].
    pub fn try_once(
        &mut self,
        which: &Attach,
        repeat: u32,
        sink: &mut dyn Sink,
    ) -> Result<Trial, Error> {
        let mut trial = Trial {
            result: 0,
            exit: 0,
            duration: Duration::ZERO,
        };
        let probes = self.plan.probes.iter();
        for probe in probes.filter(|probe| probe.attach.contains(which)) {
            let program = attach::program(probe, &self.object)?;
            let context = [0u8; 16];
            let timed = matches!(which, Attach::Bench { .. });
            let input = match timed {
                true => TestInput {
                    data: &PACKET,
                    repeat,
                    ..TestInput::default()
                },
                false => TestInput {
                    context: &context,
                    ..TestInput::default()
                },
            };
            let begun = Instant::now();
            let ran = program.test_run(&input).map_err(|error| Error::Attach {
                probe: probe.name.clone(),
                error,
            })?;
            trial.duration = match timed {
                true => Duration::from_nanos(u64::from(ran.duration)),
                false => begun.elapsed(),
            };
            trial.result = ran.result;
        }
        self.drain_all(sink, &|| false)?;
        self.let_go();
        trial.exit = self.exit.take().unwrap_or(0);
        Ok(trial)
    }
}
