//! Wildcards of a script that was built on another kernel.

use std::collections::HashSet;

use kscope_script::catalogue::{Catalogue, Lookup, matches};
use kscope_script::plan::{Attach, Plan};

use crate::error::Error;

/// Attaches the programs of patterns to what matches them on this kernel, in place of what did
/// where the script was built. What cannot be looked up stays.
///
/// # Errors
///
/// [`Error::TooManyProbes`] where that is more than the script's `max_probes`.
pub fn expand_again(plan: &mut Plan, catalogue: &dyn Catalogue) -> Result<(), Error> {
    for probe in &mut plan.probes {
        for pattern in &probe.patterns {
            let Some(found) = look_up(pattern, catalogue) else {
                continue;
            };
            let open = probe.open;
            let here: HashSet<&Attach> = found.iter().collect();
            probe
                .attach
                .retain(|point| !is_match(pattern, point) || here.contains(point));
            if open {
                let known: HashSet<&Attach> = probe.attach.iter().collect();
                let is_new = |point: &&Attach| !known.contains(point);
                let new: Vec<Attach> = found.iter().filter(is_new).cloned().collect();
                probe.attach.extend(new);
            }
        }
    }
    let found = plan.probes.iter().map(|probe| probe.attach.len()).sum();
    let most = plan.config.max_probes;
    match found > most as usize && plan.probes.iter().any(|probe| !probe.patterns.is_empty()) {
        true => Err(Error::TooManyProbes { found, most }),
        false => Ok(()),
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
        Attach::Uprobe { .. }
        | Attach::Uretprobe { .. }
        | Attach::Usdt { .. }
        | Attach::Begin
        | Attach::End
        | Attach::Signal
        | Attach::Interval { .. }
        | Attach::KprobeAddress { .. }
        | Attach::FunctionEntry { .. }
        | Attach::FunctionExit { .. }
        | Attach::PerfEvent { .. }
        | Attach::Iterator { .. }
        | Attach::Watchpoint { .. }
        | Attach::Test { .. }
        | Attach::Bench { .. }
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

    fn plan(built: &[Attach], patterns: &[Attach], open: bool) -> Plan {
        Plan {
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
        }
    }

    #[test]
    fn there_are_no_more_than_the_script_allows() {
        let catalogue = TextCatalogue::parse(HERE).expect("a catalogue");
        let check = |most, expected: Option<usize>| {
            let mut plan = plan(&[], &[tracepoint("*")], true);
            plan.config.max_probes = most;
            let found = match expand_again(&mut plan, &catalogue) {
                Ok(()) => None,
                Err(Error::TooManyProbes { found, .. }) => Some(found),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(found, expected, "{most}");
        };
        check(3, None);
        check(2, Some(3));
    }

    #[test]
    fn many_are_expanded_in_no_time() {
        const MANY: usize = 200_000;
        let mut text = "kscope catalogue 1\n".to_owned();
        for number in 0..MANY {
            text += &format!("function f{number}\n");
        }
        let catalogue = TextCatalogue::parse(&text).expect("a catalogue");
        let built: Vec<Attach> = (0..MANY).map(|n| kprobe(&format!("f{n}"))).collect();
        let mut plan = plan(&built, &[kprobe("f*")], true);
        plan.config.max_probes = 1 << 20;
        // Comparing each with each would take minutes.
        let begin = std::time::Instant::now();
        expand_again(&mut plan, &catalogue).expect("as many as there may be");
        assert_eq!(plan.probes[0].attach.len(), MANY);
        assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    }

    #[test]
    fn patterns_match_what_is_here() {
        let catalogue = TextCatalogue::parse(HERE).expect("a catalogue");
        let check = |built: &[Attach], patterns: &[Attach], open, expected: &[Attach]| {
            let mut plan = plan(built, patterns, open);
            expand_again(&mut plan, &catalogue).expect("few");
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
