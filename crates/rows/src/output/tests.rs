use super::*;
use crate::data_type::DataType;
use crate::resolve::Unresolved;
use crate::value::{Bucket, Histogram, Scale};

fn word(text: &str) -> Value {
    Value::Str(text.as_bytes().to_vec())
}

fn histogram(counts: &[u64], scale: Scale) -> Value {
    let bucket = |&count| Bucket {
        min: Some(0),
        max: Some(0),
        count,
    };
    Value::Histogram(Histogram {
        buckets: counts.iter().map(bucket).collect(),
        scale,
    })
}

const LOG2: Scale = Scale::Log2 { bits: 0 };
const LINEAR: Scale = Scale::Linear { step: 1 };

fn stats(average: i64, signed: bool) -> Value {
    Value::Stats {
        count: 1,
        total: 100,
        average,
        signed,
    }
}

/// Sorts the values under the keys a, b, c … and checks the order the keys come out in.
fn check(ty: &MapValueType, values: Vec<Value>, top: u32, expected: &str) {
    let keys = ('a'..='z').map(|letter| word(&letter.to_string()));
    let output = MapOutput::keyed("@m".into(), ty, keys.zip(values).collect(), top, 0);
    let MapContent::Keyed(entries) = output.content else {
        panic!("not keyed");
    };
    let found: Vec<u8> = entries
        .iter()
        .flat_map(|(key, _)| {
            if let Value::Str(key) = key {
                key.clone()
            } else {
                vec![]
            }
        })
        .collect();
    assert_eq!(String::from_utf8_lossy(&found), expected, "{ty:?}");
}

#[test]
fn sorts_as_bpftrace_prints() {
    use Value::{Int, Uint};
    let int = MapValueType::Plain(DataType::Int {
        bytes: 8,
        signed: true,
    });
    let text = MapValueType::Plain(DataType::Str { capacity: 8 });
    let signed = true;
    check(&int, vec![Int(3), Int(-1), Int(2)], 0, "bca");
    check(&int, vec![Int(1), Int(1), Int(0)], 0, "cab");
    check(&int, vec![Int(3), Int(-1), Int(2)], 2, "ca");
    check(&int, vec![Int(3), Int(-1), Int(2)], 9, "bca");
    check(&MapValueType::Count, vec![Uint(u64::MAX), Uint(1)], 0, "ba");
    check(
        &MapValueType::Min { signed },
        vec![Int(5), Int(-5)],
        0,
        "ba",
    );
    check(&MapValueType::Avg { signed }, vec![Int(9), Int(8)], 0, "ba");
    check(&text, vec![word("z"), word("a")], 0, "ab");
    let ty = MapValueType::Stats { signed };
    check(&ty, vec![stats(1, true), stats(-1, true)], 0, "ba");
    check(&ty, vec![stats(1, false), stats(-1, false)], 0, "ab");
    let hist = MapValueType::Hist { bits: 0 };
    check(
        &hist,
        vec![histogram(&[2, 2], LOG2), histogram(&[3], LOG2)],
        1,
        "a",
    );
}

#[test]
fn divides() {
    let cases = [
        (Value::Int(-7), 2, Value::Int(-3)),
        (Value::Int(7), 0, Value::Int(7)),
        (Value::Int(7), u64::MAX, Value::Int(0)),
        (Value::Uint(7), 2, Value::Uint(3)),
        (word("7"), 2, word("7")),
        (Value::Pointer(8), 2, Value::Pointer(8)),
        (
            Value::Tuple(vec![Value::Int(8)]),
            2,
            Value::Tuple(vec![Value::Int(4)]),
        ),
        (
            Value::Array(vec![Value::Uint(8)]),
            2,
            Value::Array(vec![Value::Uint(4)]),
        ),
        (stats(9, true), 2, stats(4, true)),
        (stats(-2, false), 2, stats(i64::MAX, false)),
        (histogram(&[9, 1], LOG2), 2, histogram(&[4, 0], LOG2)),
        (histogram(&[9, 1], LINEAR), 2, histogram(&[9, 1], LINEAR)),
    ];
    for (value, div, expected) in cases {
        let shown = format!("{value:?} / {div}");
        assert_eq!(divide(value, div), expected, "{shown}");
    }
}

#[test]
fn empty_scalars_are_zero() {
    let empty = |ty| MapOutput::empty_scalar("@".into(), &ty, &Unresolved).map(|map| map.content);
    let signed = true;
    assert_eq!(
        empty(MapValueType::Count),
        Some(MapContent::Scalar(Value::Uint(0)))
    );
    let zero = Value::Stats {
        count: 0,
        total: 0,
        average: 0,
        signed,
    };
    assert_eq!(
        empty(MapValueType::Stats { signed }),
        Some(MapContent::Scalar(zero))
    );
    assert_eq!(empty(MapValueType::Hist { bits: 0 }), None);
}
