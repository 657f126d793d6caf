//! Maps of a script: read, cleared, zeroed.

use kscope_bpf::{Map, UpdateMode};
use kscope_rows::{MapOutput, MapValueType, Resolve, Value, decode, decode_map_value};
use kscope_script::plan::MapPlan;

use crate::error::Error;

/// Reads a map, sorted as it is printed; none for a keyed map without entries.
pub(crate) fn read(
    plan: &MapPlan,
    map: &Map,
    top: u32,
    div: u64,
    resolve: &dyn Resolve,
) -> Result<Option<MapOutput>, Error> {
    let name = format!("@{}", plan.name).into();
    let Some(key_type) = &plan.key else {
        let bytes = map.lookup(&0u32.to_ne_bytes())?.unwrap_or_default();
        let value = decode_map_value(&plan.value, &bytes, resolve);
        if matches!(value, Value::None) || is_empty_histogram(&value) {
            return Ok(None);
        }
        return Ok(Some(MapOutput::scalar(name, &plan.value, value, div)));
    };
    let snapshot = map.snapshot()?;
    let mut entries = Vec::with_capacity(snapshot.len());
    for entry in snapshot.entries() {
        let key = decode(key_type, entry.key, resolve);
        let bytes: Vec<u8> = entry.values().flatten().copied().collect();
        entries.push((key, decode_map_value(&plan.value, &bytes, resolve)));
    }
    let entries = merge_equal(&plan.value, entries);
    Ok(Some(MapOutput::keyed(name, &plan.value, entries, top, div)))
}

/// Reads the value of one key, zero where it is not there.
pub(crate) fn read_entry(
    plan: &MapPlan,
    map: &Map,
    key: &[u8],
    resolve: &dyn Resolve,
) -> Result<Value, Error> {
    let bytes = map
        .lookup(key)?
        .unwrap_or_else(|| vec![0; map.transfer_size()]);
    Ok(decode_map_value(&plan.value, &bytes, resolve))
}

/// Adds up the counts of keys that decode to the same value: stacks whose ids differ.
fn merge_equal(ty: &MapValueType, mut entries: Vec<(Value, Value)>) -> Vec<(Value, Value)> {
    if !matches!(ty, MapValueType::Count | MapValueType::Sum { .. }) {
        return entries;
    }
    entries.sort_by(|(left, _), (right, _)| left.cmp(right));
    let mut merged: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        match merged.last_mut() {
            Some((last, total)) if *last == key => match (total, value) {
                (Value::Uint(total), Value::Uint(value)) => *total = total.wrapping_add(value),
                (Value::Int(total), Value::Int(value)) => *total = total.wrapping_add(value),
                _ => {}
            },
            _ => merged.push((key, value)),
        }
    }
    merged
}

fn is_empty_histogram(value: &Value) -> bool {
    matches!(value, Value::Histogram(histogram) if histogram.total() == 0)
}

/// Deletes all entries; a scalar map becomes zero.
pub(crate) fn clear(map: &Map) -> Result<(), Error> {
    Ok(map.clear()?)
}

/// Sets all values to zero and keeps the keys.
pub(crate) fn zero(map: &Map) -> Result<(), Error> {
    let zeros = vec![0u8; map.transfer_size()];
    let snapshot = map.snapshot()?;
    for entry in snapshot.entries() {
        map.update(entry.key, &zeros, UpdateMode::Any)?;
    }
    Ok(())
}
