//! Updates that full maps refused: each told where it was made, as far as anybody can read that.

use std::sync::Arc;

use kscope_rows::{Output, Place, RuntimeFailure};
use kscope_script::plan::{Counter, Plan};
use kscope_sys::Errno;

use crate::error::Error;
use crate::event::helper_failure;
use crate::session::Sink;

/// Most refusals of one place that are told one by one at a time; the others are told as a number.
const MOST: u64 = 1000;

/// What a CPU counted at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// How many updates were refused so far.
    pub(crate) seen: u64,
    /// What the helper returned for the last of them; 0 where that was not kept.
    pub(crate) code: i32,
}

/// A map that was full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullMap {
    /// Its name, with `@`.
    pub name: String,
    /// How many updates were refused.
    pub refused: u64,
    /// How many of them were told one by one.
    pub told: u64,
}

/// The places that update maps, with what became of it.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    places: Vec<Refused>,
    /// Whether they are told one by one.
    each: bool,
}

#[derive(Debug)]
struct Refused {
    map: u32,
    place: Arc<Place>,
    /// By CPU.
    seen: Vec<u64>,
    told: u64,
}

impl Refusals {
    pub(crate) fn new(places: impl Iterator<Item = (u32, Arc<Place>)>, each: bool) -> Refusals {
        let places = places.map(|(map, place)| Refused {
            map,
            place,
            seen: Vec::new(),
            told: 0,
        });
        Refusals {
            places: places.collect(),
            each,
        }
    }

    /// Looks at the counters and tells what is new.
    pub(crate) fn look(
        &mut self,
        counter: impl Fn(Counter) -> Result<Vec<Count>, Error>,
        sink: &mut dyn Sink,
    ) -> Result<(), Error> {
        for (index, place) in self.places.iter_mut().enumerate() {
            let counts = counter(Counter::MapFull(index as u32))?;
            place.seen.resize(counts.len().max(place.seen.len()), 0);
            let mut left = if self.each { MOST } else { 0 };
            for (seen, now) in place.seen.iter_mut().zip(counts) {
                let told = now.seen.saturating_sub(*seen).min(left);
                *seen = now.seen;
                left -= told;
                place.told += told;
                for _ in 0..told {
                    let failure = failure(&place.place, now.code);
                    sink.output(failure).map_err(Error::Output)?;
                }
            }
        }
        Ok(())
    }

    /// Gives the maps that were full, in the plan's order.
    pub(crate) fn maps(&self, plan: &Plan) -> Vec<FullMap> {
        let full = plan.maps.iter().zip(0..).map(|(map, number)| {
            let places = self.places.iter().filter(|place| place.map == number);
            let (refused, told) = places.fold((0, 0), |(refused, told), place| {
                (refused + place.seen.iter().sum::<u64>(), told + place.told)
            });
            FullMap {
                name: format!("@{}", map.name),
                refused,
                told,
            }
        });
        full.filter(|map| map.refused > 0).collect()
    }
}

fn failure(place: &Arc<Place>, code: i32) -> Output {
    // A plan made before does not keep the code; maps refuse for want of room.
    let errno = match code.checked_neg() {
        Some(errno) if errno > 0 => Errno(errno),
        _ => Errno::TOO_BIG,
    };
    let failure = helper_failure("map_update_elem", errno);
    let message = match errno {
        Errno::TOO_BIG => "Map full; can't update element. Try increasing max_map_keys config or \
                           manually setting the max entries in a map declaration e.g. \
                           `let @a = hash(5000)`"
            .to_owned(),
        _ => failure.error.clone(),
    };
    Output::Failure(RuntimeFailure {
        place: place.clone(),
        message,
        helper: Some(failure),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Lines(Vec<u32>);

    impl Sink for Lines {
        fn output(&mut self, output: Output) -> std::io::Result<()> {
            let Output::Failure(failure) = output else {
                panic!("{output:?}")
            };
            self.0.push(failure.place.line);
            Ok(())
        }

        fn pause(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_is_told_once_and_floods_are_counted() {
        let place = |line| {
            Arc::new(Place {
                file: "stdin".to_owned(),
                line,
                column: 1,
                text: String::new(),
                context: Vec::new(),
            })
        };
        let check = |each, looks: &[[u64; 2]], expected: &[u32], left: [(u64, u64); 2]| {
            let places = [(0, place(1)), (0, place(2))];
            let mut refusals = Refusals::new(places.into_iter(), each);
            let mut lines = Lines::default();
            for counts in looks {
                let counter = |counter: Counter| {
                    let seen = counts[counter.index() as usize - FIRST];
                    // Half of them on another CPU.
                    let half = seen / 2;
                    let count = |seen| Count { seen, code: -7 };
                    Ok(vec![count(seen - half), count(half)])
                };
                refusals.look(counter, &mut lines).expect("it writes");
            }
            assert_eq!(lines.0, expected, "{looks:?}");
            let places = refusals.places.iter();
            let found: Vec<_> = places
                .map(|place| (place.seen.iter().sum(), place.told))
                .collect();
            assert_eq!(found, left);
        };
        const FIRST: usize = 2;
        check(true, &[[0, 0], [0, 0]], &[], [(0, 0); 2]);
        check(true, &[[1, 2], [1, 3]], &[1, 2, 2, 2], [(1, 1), (3, 3)]);
        check(false, &[[1, 2]], &[], [(1, 0), (2, 0)]);
        let flood = vec![1; 1000];
        check(true, &[[5000, 0]], &flood, [(5000, 1000), (0, 0)]);
    }

    #[test]
    fn what_the_helper_returned_is_told() {
        let place = Arc::new(Place {
            file: "stdin".to_owned(),
            line: 1,
            column: 1,
            text: String::new(),
            context: Vec::new(),
        });
        let check = |code, expected: (i32, &str), message: &str| {
            let Output::Failure(RuntimeFailure {
                message: found,
                helper: Some(helper),
                ..
            }) = failure(&place, code)
            else {
                panic!("{code}: no failure of a helper")
            };
            assert_eq!((helper.code, helper.error.as_str()), expected);
            assert!(found.starts_with(message), "{code}: {found}");
        };
        check(-7, (-7, "Argument list too long"), "Map full; ");
        check(
            -12,
            (-12, "Cannot allocate memory"),
            "Cannot allocate memory",
        );
        check(
            -16,
            (-16, "Device or resource busy"),
            "Device or resource busy",
        );
        check(0, (-7, "Argument list too long"), "Map full; ");
    }
}
