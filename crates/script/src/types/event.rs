//! Counters of perf: `software` and `hardware` probes.

use super::provider::plain_number;
use crate::near::nearest;
use crate::plan::Attach;

/// An event that perf counts.
struct Event {
    name: &'static str,
    alias: &'static str,
    /// `PERF_COUNT_SW_*`, `PERF_COUNT_HW_*`
    number: u64,
    /// How many make the program run once, where the script does not say.
    count: u64,
}

const fn event(name: &'static str, alias: &'static str, number: u64, count: u64) -> Event {
    Event {
        name,
        alias,
        number,
        count,
    }
}

const SOFTWARE: [Event; 11] = [
    event("alignment-faults", "", 7, 1),
    event("bpf-output", "", 10, 1),
    event("context-switches", "cs", 3, 1_000),
    event("cpu-clock", "cpu", 0, 1_000_000),
    event("cpu-migrations", "", 4, 1),
    event("dummy", "", 9, 1),
    event("emulation-faults", "", 8, 1),
    event("major-faults", "", 6, 1),
    event("minor-faults", "", 5, 100),
    event("page-faults", "faults", 2, 100),
    event("task-clock", "", 1, 1),
];

const HARDWARE: [Event; 10] = [
    event("backend-stalls", "", 8, 1_000_000),
    event("branch-instructions", "branches", 4, 100_000),
    event("branch-misses", "", 5, 100_000),
    event("bus-cycles", "", 6, 100_000),
    event("cache-misses", "", 3, 1_000_000),
    event("cache-references", "", 2, 1_000_000),
    event("cpu-cycles", "cycles", 0, 1_000_000),
    event("frontend-stalls", "", 7, 1_000_000),
    event("instructions", "", 1, 1_000_000),
    event("ref-cycles", "", 9, 1_000_000),
];

/// Gives the names of the events of a provider, `software` or `hardware`, aliases among them, in order.
pub fn events(provider: &str) -> impl Iterator<Item = &'static str> {
    let events = table(provider).iter();
    let mut names: Vec<&str> = events.flat_map(|event| [event.name, event.alias]).collect();
    names.retain(|name| !name.is_empty());
    // As lists of probes have them, a colon after each.
    names.sort_by_key(|name| format!("{name}:"));
    names.into_iter()
}

fn table(provider: &str) -> &'static [Event] {
    match provider {
        "software" => &SOFTWARE,
        _ => &HARDWARE,
    }
}

/// Reads `event` or `event:count`.
pub(super) fn perf_event(provider: &str, parts: &[&str]) -> Result<Attach, String> {
    let (name, count) = match parts {
        [name] | [name, ""] => (*name, None),
        [name, count] => match plain_number(count).filter(|count| *count > 0) {
            Some(count) => (*name, Some(count)),
            None => return Err(format!("Invalid count for {provider} probe: {count}")),
        },
        _ => {
            return Err(format!(
                "{provider} probes are written {provider}:event or {provider}:event:count"
            ));
        }
    };
    let table = table(provider);
    let named = |event: &&Event| event.name == name || (event.alias == name && !name.is_empty());
    let Some(event) = table.iter().find(named) else {
        let near = nearest(name, events(provider), 3);
        let near = match near.is_empty() {
            true => format!(
                "they are {}",
                events(provider).collect::<Vec<_>>().join(", ")
            ),
            false => format!("did you mean {}?", near.join(", ")),
        };
        return Err(format!("{name} is not a {provider} event: {near}"));
    };
    Ok(Attach::PerfEvent {
        hardware: provider == "hardware",
        event: event.number,
        count: count.unwrap_or(event.count),
    })
}
