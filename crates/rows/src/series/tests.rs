use crate::data_type::{MapValueType, SeriesFunction};
use crate::resolve::Unresolved;
use crate::value::Value;
use crate::{align_series, decode_map_value};

/// Checks what becomes of buckets (value, word beside, interval) of two CPUs.
#[track_caller]
fn check(function: SeriesFunction, cpus: [[[i64; 3]; 2]; 2], expected: &[(u64, Value)]) {
    let ty = MapValueType::Series {
        interval: 1_000_000_000,
        buckets: 2,
        function,
        signed: true,
    };
    let words = cpus.into_iter().flatten().flatten();
    let bytes: Vec<u8> = words.flat_map(i64::to_ne_bytes).collect();
    let mut entry = [(Value::None, decode_map_value(&ty, &bytes, &Unresolved))];
    align_series(&ty, &mut entry, &Unresolved);
    let [(_, Value::Series(series))] = entry else {
        panic!("not a series: {entry:?}");
    };
    let points = series.points.into_iter().map(|p| (p.number, p.value));
    assert_eq!(points.collect::<Vec<_>>(), expected);
}

#[test]
fn intervals_of_several_cpus() {
    let cpus = [[[4, 1, 8], [-5, 1, 9]], [[6, 3, 8], [7, 2, 9]]];
    let two = |a, b| [(8, Value::Int(a)), (9, Value::Int(b))];
    check(SeriesFunction::Last, cpus, &two(6, 7));
    check(SeriesFunction::Sum, cpus, &two(10, 2));
    check(SeriesFunction::Avg, cpus, &two(2, 0));
    check(SeriesFunction::Min, cpus, &two(4, -5));
    check(SeriesFunction::Max, cpus, &two(6, 7));
    // What is older than the intervals that are kept is dropped; an unused bucket is none.
    let old = [[[4, 1, 2], [0, 0, 0]], [[0, 0, 0], [7, 2, 9]]];
    check(SeriesFunction::Sum, old, &[(9, Value::Int(7))]);
}
