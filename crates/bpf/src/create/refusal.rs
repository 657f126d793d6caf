//! Why a map is refused.

use kscope_spec::{MapKind, MapSpec};
use kscope_sys::{Errno, Kernel, MapCreate, MapShape, page_size};

use crate::denial::{Denial, Needs, explain, used_up};
use crate::error::{Error, MapNumber};
#[cfg(feature = "token")]
use crate::token::{Wanted, missing};

/// The version that brought a kind, of those younger than the oldest kernel supported or nearly so.
pub(crate) fn since(kind: MapKind) -> Option<&'static str> {
    Some(match kind {
        MapKind::StructOps => "Linux 5.6",
        MapKind::RingBuf => "Linux 5.8",
        MapKind::InodeStorage => "Linux 5.10",
        MapKind::TaskStorage => "Linux 5.11",
        MapKind::BloomFilter => "Linux 5.16",
        MapKind::UserRingBuf => "Linux 6.1",
        MapKind::CgrpStorage => "Linux 6.2",
        MapKind::Arena => "Linux 6.9",
        MapKind::InsnArray => "Linux 6.19",
        _ => return None,
    })
}

/// A map of this kind without types that is surely right; none where there is no such thing.
pub(crate) fn surely_right(kind: MapKind) -> Option<(MapShape, u32)> {
    const NO_PREALLOC: u32 = 1;
    const MMAPABLE: u32 = 1 << 10;
    let page = u32::try_from(page_size()).unwrap_or(4096);
    let (key_size, value_size, max_entries, flags) = match kind {
        MapKind::RingBuf | MapKind::UserRingBuf => (0, 0, page, 0),
        MapKind::StackTrace => (4, 8 * 16, 1, 0),
        MapKind::LpmTrie => (8, 4, 1, NO_PREALLOC),
        MapKind::Queue | MapKind::Stack | MapKind::BloomFilter => (0, 4, 1, 0),
        MapKind::CgroupStorage | MapKind::PerCpuCgroupStorage => (8, 4, 0, 0),
        MapKind::ReuseportSockArray => (4, 8, 1, 0),
        MapKind::Arena => (0, 0, 1, MMAPABLE),
        // These need types, or a map inside.
        MapKind::SkStorage
        | MapKind::InodeStorage
        | MapKind::TaskStorage
        | MapKind::CgrpStorage
        | MapKind::StructOps
        | MapKind::ArrayOfMaps
        | MapKind::HashOfMaps
        | MapKind::InsnArray
        | MapKind::Unspec => return None,
        _ => (4, 4, 1, 0),
    };
    let shape = MapShape {
        kind: kind as u32,
        key_size,
        value_size,
        max_entries,
    };
    Some((shape, flags))
}

/// Finds out why a map was refused.
pub(super) fn refusal(kernel: &dyn Kernel, spec: &MapSpec, errno: Errno) -> Error {
    if matches!(errno, Errno::INVAL | Errno::TOO_BIG | Errno::NOTSUPP) {
        if let Some(why) = nonsense(spec) {
            return Error::invalid(format!("map {}: {why}", spec.name));
        }
        // A kind unknown to the kernel is EINVAL, like a wrong size; tell them apart by a map of
        // that kind that is surely right.
        if let Some((shape, flags)) = surely_right(spec.kind) {
            let probe = kernel.map_create(MapCreate {
                shape,
                flags,
                name: "probe",
                ..MapCreate::default()
            });
            if matches!(probe, Err(Errno::INVAL | Errno::NOTSUPP)) {
                return Error::Unsupported {
                    feature: format!("map type {:?}", spec.kind),
                    since: since(spec.kind),
                };
            }
        }
    }
    if matches!(errno, Errno::TOO_BIG | Errno::NOMEM) {
        if let Some(number) = too_large(kernel, spec) {
            return Error::TooLarge {
                map: spec.name.clone(),
                number,
                key_size: spec.key_size,
                value_size: spec.value_size,
                max_entries: spec.max_entries,
                errno,
            };
        }
    }
    #[cfg(feature = "token")]
    let undelegated = || missing(kernel, Wanted::Map(spec.kind));
    #[cfg(not(feature = "token"))]
    let undelegated = || None;
    if let Some(cause) = (errno == Errno::PERM).then(undelegated).flatten() {
        let call = "BPF_MAP_CREATE";
        return Error::permission(call, cause);
    }
    let error = explain(
        kernel,
        Needs::Bpf,
        "BPF_MAP_CREATE",
        errno,
        format!("map {}", spec.name),
    );
    match error {
        Error::Permission {
            call,
            cause: Denial::Kernel | Denial::Lockdown { .. },
            ..
        } if errno == Errno::PERM => match used_up(kernel) {
            Some(cause) => Error::permission(call, cause),
            None => error,
        },
        error => error,
    }
}

/// Finds which number of a map is too large, by making it with smaller ones; none where none is.
fn too_large(kernel: &dyn Kernel, spec: &MapSpec) -> Option<MapNumber> {
    let (right, _) = surely_right(spec.kind)?;
    let made = |shape: MapShape| {
        let map = MapCreate {
            shape,
            flags: spec.flags,
            name: "kscope_probe",
            ..MapCreate::default()
        };
        kernel.map_create(map).is_ok()
    };
    let few = MapShape {
        kind: spec.kind as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries.min(right.max_entries),
    };
    let small_value = MapShape {
        value_size: spec.value_size.min(right.value_size),
        ..few
    };
    let small_key = MapShape {
        key_size: spec.key_size.min(right.key_size),
        ..few
    };
    // What is as large as the map itself says nothing of why that was refused.
    if few.max_entries < spec.max_entries && made(few) {
        return Some(MapNumber::Entries);
    }
    if small_value.value_size < spec.value_size && made(small_value) {
        return Some(MapNumber::Value);
    }
    (small_key.key_size < spec.key_size && made(small_key)).then_some(MapNumber::Key)
}

/// A rule of the kernel's that it does not tell: which maps break it, and what is said of them.
type Rule = (fn(&MapSpec) -> bool, fn(&MapSpec) -> String);

/// The rules, those that tell more first.
const RULES: [Rule; 10] = [
    (
        |map| is_storage(map) && map.max_entries != 0,
        |map| {
            format!(
                "map type {:?} has room for whatever owns the storage; its max_entries must be 0, \
                 not {}",
                map.kind, map.max_entries
            )
        },
    ),
    (
        |map| !is_storage(map) && map.max_entries == 0 && map.kind != MapKind::StructOps,
        |_| "it has no max_entries (in C: __uint(max_entries, N), or set before load)".to_owned(),
    ),
    (
        |map| is_keyless(map) && map.key_size != 0,
        |map| {
            format!(
                "map type {:?} has no keys; its key_size must be 0, not {}",
                map.kind, map.key_size
            )
        },
    ),
    (
        |map| is_by_index(map) && map.key_size != 4,
        |map| {
            format!(
                "keys of map type {:?} are numbers of 4 bytes, not {}",
                map.kind, map.key_size
            )
        },
    ),
    (
        |map| (is_of_maps(map) || is_of_descriptors(map)) && map.value_size != 4,
        |map| {
            format!(
                "values of map type {:?} are descriptors of 4 bytes, not {}",
                map.kind, map.value_size
            )
        },
    ),
    (
        |map| is_of_maps(map) && map.inner.is_none(),
        |_| {
            "it does not say what the maps inside look like (in C: __array(values, struct …))"
                .to_owned()
        },
    ),
    (
        |map| (is_storage_of_object(map) || map.kind == MapKind::LpmTrie) && map.flags & 1 == 0,
        |map| format!("map type {:?} needs the flag BPF_F_NO_PREALLOC", map.kind),
    ),
    (
        |map| !is_keyless(map) && map.key_size == 0,
        |_| "it has no key (in C: __type(key, T) or __uint(key_size, N))".to_owned(),
    ),
    (
        |map| is_valueless(map) && map.value_size != 0,
        |map| {
            format!(
                "map type {:?} has no values; its value_size must be 0, not {}",
                map.kind, map.value_size
            )
        },
    ),
    (
        |map| !is_valueless(map) && map.value_size == 0,
        |_| "it has no value (in C: __type(value, T) or __uint(value_size, N))".to_owned(),
    ),
];

fn is_keyless(map: &MapSpec) -> bool {
    is_valueless(map)
        || matches!(
            map.kind,
            MapKind::Queue | MapKind::Stack | MapKind::BloomFilter
        )
}

fn is_valueless(map: &MapSpec) -> bool {
    matches!(
        map.kind,
        MapKind::RingBuf | MapKind::UserRingBuf | MapKind::Arena
    )
}

fn is_storage(map: &MapSpec) -> bool {
    is_storage_of_object(map)
        || matches!(
            map.kind,
            MapKind::CgroupStorage | MapKind::PerCpuCgroupStorage
        )
}

/// Tells whether the values are made when a program asks for those of an object.
fn is_storage_of_object(map: &MapSpec) -> bool {
    matches!(
        map.kind,
        MapKind::SkStorage | MapKind::InodeStorage | MapKind::TaskStorage | MapKind::CgrpStorage
    )
}

fn is_of_maps(map: &MapSpec) -> bool {
    matches!(map.kind, MapKind::ArrayOfMaps | MapKind::HashOfMaps)
}

fn is_of_descriptors(map: &MapSpec) -> bool {
    matches!(
        map.kind,
        MapKind::ProgArray | MapKind::PerfEventArray | MapKind::CgroupArray
    )
}

fn is_by_index(map: &MapSpec) -> bool {
    is_of_descriptors(map)
        || matches!(
            map.kind,
            MapKind::Array
                | MapKind::PerCpuArray
                | MapKind::ArrayOfMaps
                | MapKind::DevMap
                | MapKind::SockMap
                | MapKind::CpuMap
                | MapKind::XskMap
                | MapKind::ReuseportSockArray
                | MapKind::StackTrace
        )
}

/// Says what is wrong with a description by the kernel's own rules.
fn nonsense(spec: &MapSpec) -> Option<String> {
    let broken = RULES.iter().find(|(breaks, _)| breaks(spec));
    broken.map(|(_, says)| says(spec))
}

#[cfg(test)]
mod tests {
    use kscope_sys::{Bpf, Call, FakeKernel, MapFd, Reply};

    use super::*;

    /// Plays a kernel that takes keys of 512 bytes, values of 1 MiB and a million entries.
    #[track_caller]
    fn check(key: u32, value: u32, entries: u32, expected: &str) {
        let fake = FakeKernel::new(|call| match call {
            Call::Bpf(Bpf::MapCreate(map)) => {
                let MapShape {
                    key_size,
                    value_size,
                    max_entries,
                    ..
                } = map.shape;
                match key_size > 512 || value_size > 1 << 20 || max_entries > 1_000_000 {
                    true => Err(Errno::TOO_BIG),
                    false => MapFd::fake(map.shape, 1).map(Reply::Map),
                }
            }
            other => panic!("{other:?}"),
        });
        let spec = MapSpec {
            name: "m".to_owned(),
            kind: MapKind::Hash,
            key_size: key,
            value_size: value,
            max_entries: entries,
            ..MapSpec::default()
        };
        let error = refusal(&fake, &spec, Errno::TOO_BIG).to_string();
        assert!(error.contains(expected), "{error}");
        assert!(
            error.starts_with("map m: ") || expected.starts_with("BPF_"),
            "{error}"
        );
    }

    #[test]
    fn the_number_that_is_too_large_is_named() {
        check(4, 8, 2_000_000, "lower max_entries (E2BIG");
        check(4, 2 << 20, 10, "values of 2097152 bytes");
        check(4, 2 << 20, 2_000_000, "values of 2097152 bytes");
        check(513, 8, 10, "keys of 513 bytes");
        // Each alone would do.
        check(4, 8, 10, "more than the kernel makes room for");
        // None can be smaller: it was something else.
        check(4, 4, 1, "BPF_MAP_CREATE of map m: E2BIG");
    }
}
