//! Maps of a script: read, cleared, zeroed.

use std::sync::Arc;

use kscope_bpf::{Map, Snapshot, UpdateMode};
use kscope_rows::{
    MapKind, MapOutput, MapValueType, Resolve, Value, align_series, decode, decode_map_value,
};
use kscope_script::plan::{MapPlan, Plan, SET_MARK};
use kscope_sys::Errno;

use crate::error::Error;

/// The one key of the array that holds a map without a key.
const SCALAR_KEY: [u8; 4] = [0; 4];

/// When a map is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The script asks for it: one that is not set reads as zero.
    Asked,
    /// The end: only those that are set are of interest.
    End,
}

/// What a map holds, as the kernel gives it.
pub(crate) enum Content {
    /// Of a map without a key.
    Scalar(Vec<u8>),
    Keyed(Snapshot),
    /// Keys and values, each of one CPU alone.
    Listed(Vec<(Vec<u8>, Vec<u8>)>),
}

/// What becomes of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Stays,
    /// The map is emptied: of a map with keys nothing is lost that is stored meanwhile.
    Cleared,
    /// Values become zero.
    Zeroed,
}

/// Gives the maps in the order in which they are printed at the end.
pub(crate) fn by_name(plan: &Plan) -> Vec<&MapPlan> {
    let mut order: Vec<_> = plan.maps.iter().collect();
    order.sort_by(|left, right| left.name.cmp(&right.name));
    order
}

/// Reads what a map holds.
pub(crate) fn read(plan: &MapPlan, map: &Map, then: Then) -> Result<Content, Error> {
    let keyed = plan.key.is_some();
    let content = match (keyed, then) {
        (false, _) => Content::Scalar(map.lookup(&SCALAR_KEY)?.unwrap_or_default()),
        (true, Then::Cleared) => Content::Keyed(map.take_all()?),
        (true, _) => Content::Keyed(map.snapshot()?),
    };
    // At once, so that little comes in between.
    match then {
        Then::Cleared if !keyed => clear(map)?,
        Then::Zeroed => zero(plan, map)?,
        _ => {}
    }
    Ok(content)
}

/// Makes of what a map held what is printed of it, sorted; none where that is nothing.
pub(crate) fn show(
    plan: &MapPlan,
    content: &Content,
    (top, div): (u32, u64),
    moment: Moment,
    resolve: &dyn Resolve,
) -> Option<MapOutput> {
    let name: Arc<str> = format!("@{}", plan.name).into();
    let at_end = moment == Moment::End;
    // Statistics are told of at the end though there are none.
    let none = || {
        let empty = || MapOutput::keyed(name.clone(), &plan.value, Vec::new(), 0, 0);
        (MapKind::of(&plan.value) == MapKind::Stats).then(empty)
    };
    let mut entries = Vec::new();
    match (&plan.key, content) {
        (Some(key_type), Content::Keyed(snapshot)) => {
            entries.reserve(snapshot.len());
            for entry in snapshot.entries() {
                let key = decode(key_type, entry.key, resolve);
                entries.push((key, entry.values().flatten().copied().collect()));
            }
        }
        (Some(key_type), Content::Listed(listed)) => {
            for (key, value) in listed {
                let key = decode(key_type, key, resolve);
                entries.push((key, value.clone()));
            }
        }
        (_, Content::Keyed(_) | Content::Listed(_)) => return None,
        (_, Content::Scalar(bytes)) => {
            let set = bytes.iter().any(|byte| *byte != 0);
            // What nobody set names no stack that could be read.
            if !set && at_end {
                return none();
            }
            let value = decode_map_value(&plan.value, &without_marks(plan, bytes), resolve);
            // An array always has a value; a histogram needs a bucket to be shown, a series a point.
            if !set && matches!(value, Value::Histogram(_) | Value::Series(_)) {
                return None;
            }
            if matches!(value, Value::None) {
                return None;
            }
            let mut entry = [(Value::None, value)];
            align_series(&plan.value, &mut entry, resolve);
            let [(_, value)] = entry;
            return Some(MapOutput::scalar(name, &plan.value, value, div));
        }
    }
    if entries.is_empty() && at_end {
        return none();
    }
    let entries = merge_equal(&plan.value, entries).into_iter();
    let decoded = |bytes: &[u8]| decode_map_value(&plan.value, bytes, resolve);
    let mut entries: Vec<_> = entries.map(|(key, v)| (key, decoded(&v))).collect();
    align_series(&plan.value, &mut entries, resolve);
    Some(MapOutput::keyed(name, &plan.value, entries, top, div))
}

/// Reads the value of one key, zero where it is not there.
pub(crate) fn read_entry(
    plan: &MapPlan,
    map: &Map,
    key: &[u8],
    resolve: &dyn Resolve,
) -> Result<Value, Error> {
    // The kernel's keys have zeros behind them, up to whole words.
    let mut padded = key.to_vec();
    padded.resize(map.key_size(), 0);
    let bytes = map
        .lookup(&padded)?
        .unwrap_or_else(|| vec![0; map.transfer_size()]);
    Ok(decode_map_value(&plan.value, &bytes, resolve))
}

/// Joins what was aggregated under keys that decode to the same value, as stacks whose ids differ: the
/// parts of one are as those of more CPUs.
fn merge_equal(ty: &MapValueType, mut entries: Vec<(Value, Vec<u8>)>) -> Vec<(Value, Vec<u8>)> {
    if matches!(ty, MapValueType::Plain(_)) {
        return entries;
    }
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    entries.dedup_by(|(key, parts), (last, joined)| {
        let equal = key == last;
        if equal {
            joined.append(parts);
        }
        equal
    });
    entries
}

/// Takes out what follows each CPU's value in a map without a key.
fn without_marks(plan: &MapPlan, bytes: &[u8]) -> Vec<u8> {
    let size = plan.value_size() as usize;
    let parts = bytes.chunks(size + SET_MARK as usize);
    parts
        .flat_map(|part| &part[..part.len().min(size)])
        .copied()
        .collect()
}

/// Deletes all entries; a scalar map becomes zero and is not set any more.
pub(crate) fn clear(map: &Map) -> Result<(), Error> {
    Ok(map.clear()?)
}

/// Sets all values to zero and keeps the keys; a scalar map that is set stays so.
pub(crate) fn zero(plan: &MapPlan, map: &Map) -> Result<(), Error> {
    let mut zeros = vec![0u8; map.transfer_size()];
    if plan.key.is_none() {
        let bytes = map.lookup(&SCALAR_KEY)?.unwrap_or_default();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let mark = plan.value_size() as usize;
        if let Some(mark) = zeros.get_mut(mark..mark + SET_MARK as usize) {
            mark.copy_from_slice(&1u64.to_ne_bytes());
        }
        return Ok(map.update(&SCALAR_KEY, &zeros, UpdateMode::Any)?);
    }
    let snapshot = map.snapshot()?;
    for entry in snapshot.entries() {
        match map.update(entry.key, &zeros, UpdateMode::Replace) {
            // The script has deleted it meanwhile, and it stays so.
            Err(error) if error.errno() == Some(Errno::NOENT) => {}
            done => done?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use kscope_rows::{DataType, Histogram, Unresolved};
    use kscope_spec::{MapId, MapKind as Kind, MapSpec};
    use kscope_sys::{Bpf, Call, FakeKernel, MapFd, Reply, SharedKernel};

    use super::*;

    const EXIST: u64 = 2;

    #[test]
    fn equal_keys_are_one_entry() {
        let signed = false;
        let check = |ty: MapValueType, words: [&[u64]; 2], expected: Value| {
            let bytes = |words: &[u64]| words.iter().flat_map(|w| w.to_ne_bytes()).collect();
            let entry = |key: &str, words| (Value::Text(key.to_owned()), bytes(words));
            let entries = vec![entry("a", words[0]), entry("b", &[]), entry("a", words[1])];
            let merged = merge_equal(&ty, entries);
            assert_eq!(merged.len(), 2, "{ty:?}");
            let found = decode_map_value(&ty, &merged[0].1, &Unresolved);
            assert_eq!(found, expected, "{ty:?}");
        };
        // Of two CPUs each.
        check(MapValueType::Count, [&[1, 2], &[3, 4]], Value::Uint(10));
        check(
            MapValueType::Sum { signed },
            [&[1, 2], &[3, 4]],
            Value::Uint(10),
        );
        let pairs: [&[u64]; 2] = [&[9, 1, 0, 0], &[4, 1, 7, 1]];
        check(MapValueType::Min { signed }, pairs, Value::Uint(4));
        check(MapValueType::Max { signed }, pairs, Value::Uint(9));
        let pairs: [&[u64]; 2] = [&[9, 2, 0, 0], &[3, 1, 8, 1]];
        check(MapValueType::Avg { signed }, pairs, Value::Uint(5));
        let stats = Value::Stats {
            count: 4,
            total: 20,
            average: 5,
            signed,
        };
        check(MapValueType::Stats { signed }, pairs, stats);
        let ty = MapValueType::Lhist {
            min: 0,
            max: 2,
            step: 1,
        };
        let both = Histogram::new(&ty, &[5, 7, 9, 11]).map(Value::Histogram);
        let words: [&[u64]; 2] = [&[1, 2, 3, 4], &[4, 5, 6, 7]];
        check(ty, words, both.expect("a histogram"));
        // Of other values none says what both are.
        let plain = MapValueType::Plain(DataType::Bool);
        let entry = || (Value::Int(1), vec![1]);
        assert_eq!(merge_equal(&plain, vec![entry(), entry()]).len(), 2);
    }

    #[test]
    fn what_is_deleted_meanwhile_is_not_brought_back() {
        // It has the keys 1 to 3, of which 2 is deleted once all have been read.
        let updates = Arc::new(Mutex::new(Vec::new()));
        let seen = updates.clone();
        let word = |bytes: &[u8]| {
            bytes
                .first_chunk()
                .map_or(0, |key| u64::from_ne_bytes(*key))
        };
        let kernel = FakeKernel::new(move |call| match call {
            Call::Bpf(Bpf::MapCreate(map)) => Ok(Reply::Map(MapFd::fake(map.shape, 1)?)),
            Call::Bpf(Bpf::MapNextKey { key, next, .. }) => {
                match key.map_or(1, |key| word(key) + 1) {
                    key @ 1..=3 => {
                        next.copy_from_slice(&key.to_ne_bytes());
                        Ok(Reply::Done)
                    }
                    _ => Err(Errno::NOENT),
                }
            }
            Call::Bpf(Bpf::MapLookup { .. }) => Ok(Reply::Done),
            Call::Bpf(Bpf::MapUpdate { key, flags, .. }) => {
                seen.lock().expect("no panic").push((word(key), flags));
                match (word(key), flags) {
                    (2, EXIST) => Err(Errno::NOENT),
                    _ => Ok(Reply::Done),
                }
            }
            _ => Err(Errno::NOTSUPP),
        });
        let kernel: SharedKernel = Arc::new(kernel);
        let spec = MapSpec {
            name: "m".to_owned(),
            kind: Kind::Hash,
            key_size: 8,
            value_size: 8,
            max_entries: 4,
            ..MapSpec::default()
        };
        let map = Map::create(&kernel, &spec).expect("a map");
        let number = DataType::Int {
            bytes: 8,
            signed: false,
        };
        let plan = MapPlan {
            name: "m".to_owned(),
            map: MapId(0),
            key: Some(number.clone()),
            value: MapValueType::Plain(number),
            per_cpu: false,
            sized: true,
        };
        zero(&plan, &map).expect("all that is there");
        let updates = updates.lock().expect("no panic").clone();
        assert_eq!(updates, [(1, EXIST), (2, EXIST), (3, EXIST)]);
    }
}
