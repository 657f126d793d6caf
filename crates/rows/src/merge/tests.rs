use super::*;
use crate::resolve::Unresolved;
use crate::value::{Bucket, Scale};

fn words(words: &[i64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "cases read better without a borrow"
)]
fn check(ty: &MapValueType, parts: &[i64], expected: Value) {
    assert_eq!(
        decode_map_value(ty, &words(parts), &Unresolved),
        expected,
        "{ty:?} {parts:?}"
    );
}

#[test]
fn aggregations() {
    use MapValueType::{Avg, Count, Max, Min, Stats, Sum};
    let stats = |count, total, average, signed| Value::Stats {
        count,
        total,
        average,
        signed,
    };
    check(&Count, &[1, 2, 3], Value::Uint(6));
    check(&Count, &[], Value::Uint(0));
    check(&Sum { signed: true }, &[-1, -2], Value::Int(-3));
    check(&Sum { signed: false }, &[-1, 2], Value::Uint(1));
    check(&Sum { signed: false }, &[-1], Value::Uint(u64::MAX));
    check(&Min { signed: true }, &[5, 1, -7, 1, -9, 0], Value::Int(-7));
    check(&Min { signed: false }, &[5, 1, -7, 1, 2, 0], Value::Uint(5));
    check(&Max { signed: true }, &[5, 1, -7, 1, 9, 0], Value::Int(5));
    check(&Max { signed: true }, &[-5, 1, -7, 1, 0, 0], Value::Int(-5));
    check(
        &Max { signed: false },
        &[5, 1, -1, 1],
        Value::Uint(u64::MAX),
    );
    check(&Max { signed: true }, &[3, 0, 4, 0], Value::Int(0));
    check(&Avg { signed: true }, &[10, 2, -3, 1], Value::Int(2));
    check(&Avg { signed: true }, &[-7, 2], Value::Int(-3));
    check(&Avg { signed: false }, &[7, 2], Value::Uint(3));
    check(&Avg { signed: true }, &[0, 0], Value::Int(0));
    check(
        &Stats { signed: true },
        &[2, 1, 10, 1],
        stats(2, 12, 6, true),
    );
    check(
        &Stats { signed: false },
        &[-2, 2],
        stats(2, -2, i64::MAX, false),
    );
}

#[test]
fn plain_values() {
    let plain = |bytes| {
        MapValueType::Plain(DataType::Int {
            bytes,
            signed: true,
        })
    };
    check(&plain(8), &[-4], Value::Int(-4));
    check(&plain(8), &[-4, 6], Value::Int(2));
    check(&plain(4), &[1, 2, 3], Value::Int(6));
    check(&plain(1), &[127, 1], Value::Int(-128));
    check(&plain(8), &[], Value::None);
    let two = decode_map_value(&plain(2), &7i16.to_ne_bytes(), &Unresolved);
    assert_eq!(two, Value::Int(7));
    let text = MapValueType::Plain(DataType::Str { capacity: 16 });
    let found = decode_map_value(&text, b"first\0\0\0\0\0\0\0\0\0\0\0second", &Unresolved);
    assert_eq!(found, Value::Str(b"first".to_vec()));
}

/// Checks which values fall into the one bucket of this number.
fn check_bucket(ty: &MapValueType, index: usize, min: Option<i64>, max: Option<i64>) {
    let mut counts = vec![0; ty.buckets() as usize];
    counts[index] = 3;
    let found = Histogram::new(ty, &counts).expect("a histogram");
    assert_eq!(
        found.buckets,
        [Bucket { min, max, count: 3 }],
        "{ty:?} bucket {index}"
    );
}

#[test]
fn log2_buckets() {
    let hist = |bits| MapValueType::Hist { bits };
    for bits in 0..=5 {
        check_bucket(&hist(bits), 0, None, Some(-1));
        check_bucket(&hist(bits), 1, Some(0), Some(0));
    }
    let cases: [(u8, usize, i64, i64); 11] = [
        (0, 2, 1, 1),
        (0, 3, 2, 3),
        (0, 4, 4, 7),
        (0, 12, 1024, 2047),
        (0, 34, 8_589_934_592 / 2, 8_589_934_591),
        (0, 64, 1 << 62, i64::MAX),
        (3, 16, 15, 15),
        (3, 17, 16, 17),
        (3, 18, 18, 19),
        (3, 25, 32, 35),
        (2, 24, 28 << 2, (32 << 2) - 1),
    ];
    for (bits, index, min, max) in cases {
        check_bucket(&hist(bits), index, Some(min), Some(max));
    }
}

#[test]
fn log2_buckets_follow_the_rule_of_numbering() {
    for bits in 0..=5u32 {
        let ty = MapValueType::Hist {
            bits: u8::try_from(bits).unwrap_or(0),
        };
        for n in (0..5000u64).chain([1 << 20, (1 << 33) + 12345, i64::MAX as u64]) {
            let index = if n < 2 << bits {
                1 + n
            } else {
                let power = u64::from(n.ilog2());
                let part = (n >> (power - u64::from(bits))) & ((1 << bits) - 1);
                1 + ((power - u64::from(bits) + 1) << bits) + part
            };
            let n = n as i64;
            let mut counts = vec![0; ty.buckets() as usize];
            counts[usize::try_from(index).expect("small")] = 1;
            let bucket = Histogram::new(&ty, &counts).expect("a histogram").buckets[0];
            assert!(
                bucket.min <= Some(n) && Some(n) <= bucket.max,
                "{n} in {bucket:?}"
            );
        }
    }
}

#[test]
fn linear_buckets() {
    let lhist = MapValueType::Lhist {
        min: 0,
        max: 100,
        step: 10,
    };
    check_bucket(&lhist, 0, None, Some(-1));
    check_bucket(&lhist, 1, Some(0), Some(9));
    check_bucket(&lhist, 10, Some(90), Some(99));
    check_bucket(&lhist, 11, Some(100), None);
    let uneven = MapValueType::Lhist {
        min: -5,
        max: 6,
        step: 3,
    };
    check_bucket(&uneven, 1, Some(-5), Some(-3));
    check_bucket(&uneven, 3, Some(1), Some(3));
    check_bucket(&uneven, 4, Some(4), None);
}

#[test]
fn histograms_add_cpus_and_trim() {
    let lhist = MapValueType::Lhist {
        min: 0,
        max: 2,
        step: 1,
    };
    let bucket = |min: i64, count| Bucket {
        min: Some(min),
        max: Some(min),
        count,
    };
    let buckets = vec![bucket(0, 3), bucket(1, 1)];
    let expected = Histogram {
        buckets,
        scale: Scale::Linear { step: 1 },
    };
    assert_eq!(expected.total(), 4);
    check(
        &lhist,
        &[0, 1, 0, 0, 0, 2, 1, 0],
        Value::Histogram(expected),
    );
    let empty = Histogram {
        buckets: vec![],
        scale: Scale::Linear { step: 1 },
    };
    check(&lhist, &[0, 0, 0, 0], Value::Histogram(empty.clone()));
    check(&lhist, &[], Value::Histogram(empty));
}
