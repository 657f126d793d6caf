//! Values that several views' tests share.

use std::sync::Arc;

use kscope_rows::{
    DataType, Format, Frame, Histogram, MapValueType, Row, Schema, Stack, StackMode, Value,
};

pub(crate) fn text(text: &str) -> Value {
    Value::Str(text.as_bytes().to_vec())
}

pub(crate) fn int(number: i64) -> Value {
    Value::Int(number)
}

pub(crate) fn tuple(values: &[Value]) -> Value {
    Value::Tuple(values.to_vec())
}

pub(crate) fn record(fields: &[(&str, Value)]) -> Value {
    Value::Record(
        fields
            .iter()
            .map(|(name, value)| (Arc::from(*name), value.clone()))
            .collect(),
    )
}

pub(crate) fn enumerator(value: i64, name: Option<&str>) -> Value {
    Value::Enum {
        value,
        name: name.map(Arc::from),
    }
}

pub(crate) fn stats(count: u64, total: i64, average: i64) -> Value {
    Value::Stats {
        count,
        total,
        average,
        signed: true,
    }
}

pub(crate) fn format(text: &str) -> Arc<Format> {
    Arc::new(Format::parse(text).expect("a format"))
}

/// Makes the `hist` of the values, counted by the rule of `MapValueType::buckets`.
pub(crate) fn hist(bits: u8, values: &[i64]) -> Value {
    let ty = MapValueType::Hist { bits };
    let k = u32::from(bits);
    count(&ty, values, |value| {
        if value < 0 {
            0
        } else if value < 2 << k {
            1 + value
        } else {
            let power = value.ilog2();
            1 + (i64::from(power - k + 1) << k) + ((value >> (power - k)) & ((1 << k) - 1))
        }
    })
}

/// Makes the `lhist` of the values.
pub(crate) fn lhist(min: i64, max: i64, step: i64, values: &[i64]) -> Value {
    let ty = MapValueType::Lhist { min, max, step };
    count(&ty, values, |value| {
        if value < min {
            0
        } else {
            1 + (value.min(max) - min) / step
        }
    })
}

fn count(ty: &MapValueType, values: &[i64], bucket: impl Fn(i64) -> i64) -> Value {
    let mut counts = vec![0; ty.buckets() as usize];
    for value in values {
        counts[usize::try_from(bucket(*value)).expect("a bucket")] += 1;
    }
    Value::Histogram(Histogram::new(ty, &counts).expect("a histogram"))
}

/// Makes a stack of two frames, the second without a name.
pub(crate) fn stack(mode: StackMode, user: bool) -> Value {
    let frames = vec![
        Frame {
            address: 0xffff_ffff_8123_4567,
            symbol: Some("do_sys_open".into()),
            offset: 23,
            module: user.then(|| Arc::from("/bin/true")),
        },
        Frame {
            address: 0x55aa,
            symbol: None,
            offset: 0,
            module: None,
        },
    ];
    Value::Stack(Stack {
        frames,
        lost: None,
        mode,
        user,
    })
}

/// Makes a schema of columns, and a row of values for it.
pub(crate) fn row(columns: &[(&str, DataType, Value)]) -> (Arc<Schema>, Row) {
    let parts = columns
        .iter()
        .map(|(name, ty, _)| ((*name).to_owned(), ty.clone()));
    let (fields, size) = DataType::lay_out(parts.collect());
    let ty = DataType::Record {
        name: "".into(),
        fields,
        size,
    };
    let schema = Schema::of_record("opensnoop", 3, &ty).expect("a record");
    let values = columns.iter().map(|(_, _, value)| value.clone()).collect();
    (Arc::new(schema), Row { values })
}
