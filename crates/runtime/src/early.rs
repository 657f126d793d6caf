//! Uprobes that are put in their places while the maps are made and the programs are loaded.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use kscope_bpf::{OpenUprobe, Uprobe};
use kscope_script::plan::{Attach, Plan};
use kscope_spec::Spec;

use crate::target::Target;
use crate::user_probe::{MANY, is_user};

/// Most places of a script that are taken early: the kernel waits for all CPUs at the first, and soon after it no more.
const MOST: usize = 64;

/// Uprobes that a thread is putting in their places.
#[derive(Debug)]
pub(crate) struct Early(JoinHandle<Vec<(Attach, OpenUprobe)>>);

/// Uprobes that are in their places, and wait for their programs.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<Vec<(Attach, OpenUprobe)>>);

impl Early {
    /// Begins with the places of the programs that have uprobes of their own; none where there are none. What cannot be probed
    /// is no matter here: it is tried again with its program, which tells why.
    pub(crate) fn begin(
        target: &Target,
        spec: &Spec,
        plan: &Plan,
        pid: Option<u32>,
    ) -> Option<Early> {
        let single = plan.probes.iter().filter(|probe| {
            let program = spec.programs.get(probe.program.0 as usize);
            program.is_some_and(|program| program.attach != MANY)
        });
        let points = single.flat_map(|probe| &probe.attach);
        let points: Vec<Attach> = points
            .filter(|point| is_user(point))
            .take(MOST)
            .cloned()
            .collect();
        if points.is_empty() {
            return None;
        }
        let target = target.clone();
        let open = move |point: Attach| {
            let (path, place) = target.user().place(&point).ok()?;
            let probe = Uprobe {
                path: Path::new(&path),
                place,
                on_return: matches!(point, Attach::Uretprobe { .. }),
                pid,
            };
            let opened = OpenUprobe::open(target.kernel(), &probe).ok()?;
            Some((point, opened))
        };
        let work = move || points.into_iter().map_while(open).collect();
        Builder::new().spawn(work).ok().map(Early)
    }

    /// Waits until all are in their places.
    pub(crate) fn wait(self) -> Waiting {
        Waiting(Mutex::new(self.0.join().unwrap_or_default()))
    }
}

impl Waiting {
    /// Takes the uprobe of a place.
    pub(crate) fn take(&self, point: &Attach) -> Option<OpenUprobe> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(place, _)| place == point)?;
        Some(all.swap_remove(at).1)
    }
}
