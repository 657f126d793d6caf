//! How large maps are: how many keys those hold whose values are large, and what is too large.

use kscope_bpf::{Error as Kernel, MapNumber};
use kscope_script::plan::{MapPlan, Plan};
use kscope_spec::{MapSpec, Spec};

use crate::error::Error;

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

/// Says of a map that is too large what the script calls it, and what makes it smaller there.
pub(crate) fn in_words_of_the_script(error: Kernel, spec: &Spec, maps: &[MapPlan]) -> Error {
    let Kernel::TooLarge {
        map,
        number,
        key_size,
        value_size,
        max_entries,
        errno,
    } = &error
    else {
        return error.into();
    };
    let is_it = |plan: &&MapPlan| {
        let spec = spec.maps.get(plan.map.0 as usize);
        spec.is_some_and(|spec| spec.name == *map)
    };
    let Some(plan) = maps.iter().find(is_it) else {
        return error.into();
    };
    let errno = errno.name().unwrap_or("refused");
    let why = match number {
        MapNumber::Entries => format!(
            "{max_entries} entries, keys of {key_size} bytes and values of {value_size}, are more than the \
             kernel has room for ({errno}): lower max_map_keys, or the number where the map is declared"
        ),
        MapNumber::Key => format!(
            "keys of {key_size} bytes are more than the kernel takes ({errno}): lower max_strlen, or use \
             fewer or shorter parts"
        ),
        MapNumber::Value => format!(
            "values of {value_size} bytes are more than the kernel takes ({errno}): lower max_strlen, or \
             keep less in each"
        ),
    };
    Error::MapTooLarge {
        map: format!("@{}", plan.name),
        why,
    }
}

#[cfg(test)]
mod tests {
    use kscope_rows::MapValueType;
    use kscope_spec::MapId;
    use kscope_sys::Errno;

    use super::*;

    #[test]
    fn maps_that_are_too_large_have_the_names_of_the_script() {
        let maps = [MapPlan {
            name: String::new(),
            map: MapId(1),
            key: None,
            value: MapValueType::Count,
            per_cpu: false,
            sized: true,
        }];
        let named = |name: &str| MapSpec {
            name: name.to_owned(),
            ..MapSpec::default()
        };
        let spec = Spec {
            maps: vec![named("counters"), named("anonymous")],
            ..Spec::default()
        };
        let check = |map: &str, number, expected: &str| {
            let error = Kernel::TooLarge {
                map: map.to_owned(),
                number,
                key_size: 8,
                value_size: 16,
                max_entries: 32,
                errno: Errno::TOO_BIG,
            };
            let told = in_words_of_the_script(error, &spec, &maps).to_string();
            assert!(told.contains(expected), "{told}");
        };
        check(
            "anonymous",
            MapNumber::Entries,
            "map @: 32 entries, keys of 8 bytes and values of 16",
        );
        check("anonymous", MapNumber::Entries, "lower max_map_keys");
        check("anonymous", MapNumber::Key, "map @: keys of 8 bytes");
        check("anonymous", MapNumber::Value, "lower max_strlen");
        // It is none of the script's.
        check("counters", MapNumber::Entries, "map counters: 32 entries");
    }

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
