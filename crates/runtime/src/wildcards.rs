//! Wildcards of a script that was built on another kernel.

use kscope_script::catalogue::{Catalogue, Lookup, matches};
use kscope_script::plan::{Attach, Plan};

/// Attaches the programs of patterns to what matches them on this kernel, in place of what did
/// where the script was built. What cannot be looked up stays.
pub fn expand_again(plan: &mut Plan, catalogue: &dyn Catalogue) {
    for probe in &mut plan.probes {
        for pattern in &probe.patterns {
            let Some(found) = look_up(pattern, catalogue) else {
                continue;
            };
            let open = probe.open;
            let built = std::mem::take(&mut probe.attach);
            let keep = |point: &Attach| !is_match(pattern, point) || found.contains(point);
            probe.attach = built.into_iter().filter(keep).collect();
            for point in found.into_iter().filter(|_| open) {
                if !probe.attach.contains(&point) {
                    probe.attach.push(point);
                }
            }
        }
    }
}

fn look_up(pattern: &Attach, catalogue: &dyn Catalogue) -> Option<Vec<Attach>> {
    fn found<T>(lookup: Lookup<Vec<T>>, make: impl Fn(T) -> Attach) -> Option<Vec<Attach>> {
        match lookup {
            Lookup::Found(all) => Some(all.into_iter().map(make).collect()),
            Lookup::NotFound => Some(Vec::new()),
            Lookup::Unavailable(_) => None,
        }
    }
    match pattern {
        Attach::Tracepoint { category, event } => {
            found(catalogue.tracepoints(category, event), |name| {
                Attach::Tracepoint {
                    category: name.category,
                    event: name.event,
                }
            })
        }
        Attach::RawTracepoint { event } => found(catalogue.raw_tracepoints(event), |event| {
            Attach::RawTracepoint { event }
        }),
        Attach::Kprobe { function, offset } => {
            found(catalogue.functions(function), |function| Attach::Kprobe {
                function,
                offset: *offset,
            })
        }
        Attach::Kretprobe { function } => found(catalogue.functions(function), |function| {
            Attach::Kretprobe { function }
        }),
        Attach::Begin
        | Attach::End
        | Attach::Signal
        | Attach::Interval { .. }
        | Attach::Profile { .. } => None,
    }
}

/// Says whether a point is one of those that a pattern stands for.
fn is_match(pattern: &Attach, point: &Attach) -> bool {
    match (pattern, point) {
        (
            Attach::Tracepoint { category, event },
            Attach::Tracepoint {
                category: of,
                event: name,
            },
        ) => matches(category, of) && matches(event, name),
        (Attach::RawTracepoint { event }, Attach::RawTracepoint { event: name }) => {
            matches(event, name)
        }
        (
            Attach::Kprobe { function, offset },
            Attach::Kprobe {
                function: name,
                offset: at,
            },
        ) => offset == at && matches(function, name),
        (Attach::Kretprobe { function }, Attach::Kretprobe { function: name }) => {
            matches(function, name)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kscope_script::catalogue::TextCatalogue;
    use kscope_script::plan::{Config, PLAN_VERSION, ProbePlan, ServiceMaps};
    use kscope_spec::ProgramId;

    const HERE: &str = "\
kscope catalogue 1
tracepoint sched:sched_switch
tracepoint sched:sched_wakeup
tracepoint sched:sched_new
rawtracepoint sched_switch
function vfs_read
function vfs_new
";

    fn tracepoint(event: &str) -> Attach {
        Attach::Tracepoint {
            category: "sched".to_owned(),
            event: event.to_owned(),
        }
    }

    fn kprobe(function: &str) -> Attach {
        Attach::Kprobe {
            function: function.to_owned(),
            offset: 0,
        }
    }

    #[test]
    fn patterns_match_what_is_here() {
        let catalogue = TextCatalogue::parse(HERE).expect("a catalogue");
        let check = |built: &[Attach], patterns: &[Attach], open, expected: &[Attach]| {
            let mut plan = Plan {
                version: PLAN_VERSION,
                sites: Vec::new(),
                maps: Vec::new(),
                probes: vec![ProbePlan {
                    program: ProgramId(0),
                    name: String::new(),
                    attach: built.to_vec(),
                    patterns: patterns.to_vec(),
                    open,
                    when: Vec::new(),
                }],
                options: Vec::new(),
                config: Config::default(),
                service: ServiceMaps::default(),
            };
            expand_again(&mut plan, &catalogue);
            assert_eq!(plan.probes[0].attach, expected);
        };
        let built = [tracepoint("sched_switch"), tracepoint("sched_gone")];
        let new = tracepoint("sched_new");
        let wakeup = tracepoint("sched_wakeup");
        let here = [built[0].clone(), new, wakeup];
        check(&built, &[tracepoint("sched_*")], true, &here);
        // A program that knows where it is attached stays there.
        check(&built, &[tracepoint("sched_*")], false, &here[..1]);
        // What was named is attached, or said to be missing.
        check(&built, &[], true, &built);
        check(&built, &[tracepoint("sched_s*")], true, &built);
        let two = [
            tracepoint("sched_gone"),
            kprobe("vfs_read"),
            kprobe("vfs_old"),
        ];
        let left = [
            tracepoint("sched_gone"),
            kprobe("vfs_read"),
            kprobe("vfs_new"),
        ];
        check(&two, &[kprobe("vfs_*")], true, &left);
        check(&two[2..], &[kprobe("nothing*")], true, &two[2..]);
    }
}
