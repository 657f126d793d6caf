//! How many keys a map holds whose values are large.

use kscope_script::plan::Plan;
use kscope_spec::{MapSpec, Spec};

/// Bytes that a map may take before it has entries, unless the script says how many keys it has.
const ROOM: u64 = 64 << 20;
/// Keys that a map has room for in any case.
const LEAST: u64 = 64;
/// About what the kernel needs for an entry beside key and value.
const OVERHEAD: u64 = 64;
/// `BPF_F_NO_PREALLOC`
const NO_PREALLOC: u32 = 1;

/// Gives maps that are allocated at once fewer keys than usual where all of them would not fit.
///
/// Allocating large values as they come loses those that come in a burst; a map that is full says so
/// at the end, and `max_map_keys` makes it larger.
pub(crate) fn fit(spec: &mut Spec, plan: &Plan, cpus: usize) {
    let usual = plan
        .maps
        .iter()
        .filter(|map| map.key.is_some() && !map.sized);
    for map in usual {
        let Some(spec) = spec.maps.get_mut(map.map.0 as usize) else {
            continue;
        };
        if spec.flags & NO_PREALLOC == 0 {
            let copies = if map.per_cpu { cpus.max(1) as u64 } else { 1 };
            spec.max_entries = keys(spec, copies);
        }
    }
}

fn keys(spec: &MapSpec, copies: u64) -> u32 {
    let value = u64::from(spec.value_size).next_multiple_of(8);
    let rest = u64::from(spec.key_size) + OVERHEAD;
    let entry = value.saturating_mul(copies).saturating_add(rest);
    let fitting = (ROOM / entry).max(LEAST);
    u32::try_from(fitting).map_or(spec.max_entries, |most| spec.max_entries.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_have_fewer_keys() {
        let check = |value_size, copies, expected| {
            let spec = MapSpec {
                key_size: 8,
                value_size,
                max_entries: 4096,
                ..MapSpec::default()
            };
            assert_eq!(keys(&spec, copies), expected, "{value_size} x {copies}");
        };
        check(8, 1, 4096);
        check(8, 512, 4096);
        check(528, 16, 4096);
        check(528, 64, 1981);
        check(15368, 1, 4096);
        check(15368, 2, 2178);
        check(15368, 16, 272);
        check(15368, 512, 64);
        check(u32::MAX, u64::MAX, 64);
    }
}
