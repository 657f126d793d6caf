//! Uprobes that are put in their places while the maps are made and the programs are loaded, and what of that can be done
//! while the script is still compiled.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use kscope_bpf::{OpenUprobe, Uprobe, prepare_uprobes};
use kscope_script::diagnostic::has_errors;
use kscope_script::plan::{Attach, Plan, ProbePlan, SiteKind};
use kscope_script::syntax::tree::Probe;
use kscope_script::syntax::{Positional, parse};
use kscope_spec::Spec;
use kscope_symbol::living_thread;
use kscope_sys::real_kernel;

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

/// Begins, in a thread, with what the kernel does at the first uprobe, where a script that is to be compiled and run has any.
///
/// Nothing is done where `begin` may end the run or the text is no script, either of which would have to wait for it, and on
/// kernels before Linux 6.6.
pub fn look_ahead(source: &str) {
    if will_probe(source) {
        // What is wrong is told by what attaches to the script's own places.
        let work = || drop(prepare_uprobes(&real_kernel()));
        drop(Builder::new().spawn(work));
    }
}

/// Says whether a script has uprobes, and no `begin` that may end the run before they are attached.
fn will_probe(source: &str) -> bool {
    const TYPES: [&str; 6] = ["uprobe", "uretprobe", "usdt", "u", "ur", "U"];
    let mut names = TYPES.iter();
    if !names.any(|name| source.contains(&format!("{name}:"))) {
        return false;
    }
    let (script, diagnostics) = parse(source, &Positional::default());
    if has_errors(&diagnostics) {
        return false;
    }
    let is = |probe: &Probe, types: &[&str]| {
        let mut points = probe.attach_points.iter();
        points.any(|point| {
            point
                .parts
                .first()
                .is_some_and(|part| types.contains(&&**part))
        })
    };
    let exits = |probe: &Probe| {
        let text = source.get(probe.span.start as usize..probe.span.end as usize);
        is(probe, &["begin", "BEGIN"]) && text.is_none_or(|text| text.contains("exit"))
    };
    script.probes.iter().any(|probe| is(probe, &TYPES)) && !script.probes.iter().any(exits)
}

impl Early {
    /// Begins with the places of the programs that have uprobes of their own; none where there are none. What cannot be probed
    /// is no matter here: it is tried again with its program, which tells why. None as well where `begin` may end the run: what is
    /// in its place by then would have to be taken away again, for which the kernel takes long.
    pub(crate) fn begin(
        target: &Target,
        spec: &Spec,
        plan: &Plan,
        pid: Option<u32>,
    ) -> Option<Early> {
        let exits = plan
            .sites
            .iter()
            .any(|site| matches!(site.kind, SiteKind::Exit));
        let begins = |probe: &ProbePlan| probe.attach.contains(&Attach::Begin);
        if exits && plan.probes.iter().any(begins) {
            return None;
        }
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
                pid: pid.map(living_thread),
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

#[cfg(test)]
mod tests {
    use super::will_probe;

    #[test]
    fn only_scripts_that_will_attach_uprobes_are_looked_ahead_for() {
        let check = |source: &str, expected| assert_eq!(will_probe(source), expected, "{source}");
        check("uprobe:/bin/sh:main { }", true);
        check("ur:libc:malloc { exit(); }", true);
        check("U:/bin/sh:* { } begin { @a = 1; }", true);
        check("kprobe:f, usdt:/bin/sh:a:b { }", true);
        // None of its probes is one, whatever its texts say.
        check("begin { print(\"uprobe:/bin/sh:main\"); }", false);
        check("tracepoint:sched:sched_switch { $u = 1 ? 2u:3; }", false);
        // What is begun would have to be waited for.
        check("begin { exit(); } uprobe:/bin/sh:main { }", false);
        check(
            "uprobe:/bin/sh:main { } BEGIN { if (1) { exit(); } }",
            false,
        );
        // The end comes behind it.
        check("uprobe:/bin/sh:main { } end { exit(); }", true);
        // What is wrong is for the compiler to tell.
        check("uprobe:/bin/sh:main {", false);
        check("", false);
    }
}
