//! Processes whose addresses maps hold: they are looked at while they run, so that their addresses
//! have names when the maps are printed.

use std::time::{Duration, Instant};

use kscope_rows::{DataType, MapValueType};
use kscope_script::plan::{MapPlan, Plan};

use super::Session;
use crate::error::Error;

/// How often maps are looked through.
const PERIOD: Duration = Duration::from_millis(50);
/// Looking through takes at most one part in so many of the time.
const SHARE: u32 = 50;

/// Where in maps the ids of processes stand.
#[derive(Debug)]
pub(super) struct ProcessesInMaps {
    /// Index of the map in the plan, with offsets in bytes in its keys and in its values.
    maps: Vec<(usize, Vec<usize>, Vec<usize>)>,
    next: Instant,
    /// Whether anything that the plan prints has addresses of processes.
    any: bool,
}

impl ProcessesInMaps {
    pub(super) fn new(plan: &Plan) -> ProcessesInMaps {
        let maps = plan.maps.iter().enumerate().filter_map(|(index, map)| {
            let (keys, values) = places(map);
            (!keys.is_empty() || !values.is_empty()).then_some((index, keys, values))
        });
        let maps: Vec<_> = maps.collect();
        let mut printed = plan.sites.iter().flat_map(|site| &site.fields);
        let has_some = |ty: &DataType| {
            let mut found = Vec::new();
            find(ty, 0, &mut found);
            !found.is_empty()
        };
        ProcessesInMaps {
            any: !maps.is_empty() || printed.any(|field| has_some(&field.ty)),
            maps,
            next: Instant::now(),
        }
    }
}

fn places(map: &MapPlan) -> (Vec<usize>, Vec<usize>) {
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    if let Some(key) = &map.key {
        find(key, 0, &mut keys);
    }
    if let MapValueType::Plain(value) = &map.value {
        find(value, 0, &mut values);
    }
    (keys, values)
}

/// Finds where ids of processes stand in a value.
fn find(ty: &DataType, at: usize, found: &mut Vec<usize>) {
    match ty {
        DataType::UserStack { .. } | DataType::UserSymbol => found.push(at + 8),
        DataType::Tuple(fields) | DataType::Record { fields, .. } => {
            for field in fields.iter() {
                find(&field.ty, at + field.offset as usize, found);
            }
        }
        _ => {}
    }
}

fn pids<'a>(bytes: &'a [u8], places: &'a [usize]) -> impl Iterator<Item = u32> + 'a {
    places.iter().filter_map(|at| {
        let word = bytes.get(*at..)?.first_chunk::<4>()?;
        Some(u32::from_ne_bytes(*word)).filter(|pid| *pid > 0)
    })
}

impl Session {
    /// Looks at the one process that is traced, which may end right after what it is traced for.
    pub(super) fn see_watched(&self) {
        if let Some(pid) = self.watched.filter(|_| self.processes_in_maps.any) {
            self.processes.see(pid);
        }
    }

    /// Looks at processes that maps have addresses of.
    pub(super) fn see_processes(&mut self) -> Result<(), Error> {
        let begin = Instant::now();
        if self.processes_in_maps.maps.is_empty() || begin < self.processes_in_maps.next {
            return Ok(());
        }
        for (index, keys, values) in &self.processes_in_maps.maps {
            let Some(plan) = self.plan.maps.get(*index) else {
                continue;
            };
            let Some(map) = self.object.map(plan.map) else {
                continue;
            };
            if plan.key.is_none() {
                let bytes = map.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
                pids(&bytes, values).for_each(|pid| self.processes.see(pid));
                continue;
            }
            let snapshot = map.snapshot()?;
            for entry in snapshot.entries() {
                pids(entry.key, keys).for_each(|pid| self.processes.see(pid));
                for value in entry.values() {
                    pids(value, values).for_each(|pid| self.processes.see(pid));
                }
            }
        }
        let took = begin.elapsed();
        self.processes_in_maps.next = Instant::now() + PERIOD.max(took.saturating_mul(SHARE));
        Ok(())
    }
}
