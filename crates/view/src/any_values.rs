//! Whatever the values are, views neither panic nor break their formats.

use std::sync::Arc;

use kscope_rows::{
    Bits, Bucket, DataType, Field, Frame, Histogram, MapContent, MapKind, MapOutput, Output, Row,
    Scale, Schema, Stack, StackMode, Value,
};

use crate::{JsonView, RowJsonView, TableView, TextView, json_schema};

/// A small generator of pseudo-random numbers, so that a failure repeats.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: u64) -> usize {
        usize::try_from(self.next() % n).unwrap_or(0)
    }

    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => self.next(),
            1 => u64::MAX - self.next() % 3,
            2 => (1 << 63) - 1 + self.next() % 3,
            _ => self.next() % 100,
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let alphabet = b"ab \"\\\n\r\t\x00\x1b\x7f\xc3\xa9\xff(){}[],:";
        (0..self.below(8))
            .map(|_| alphabet[self.below(alphabet.len() as u64)])
            .collect()
    }

    fn name(&mut self) -> Arc<str> {
        String::from_utf8_lossy(&self.bytes()).into()
    }

    fn bound(&mut self) -> Option<i64> {
        (self.below(4) > 0).then(|| self.number() as i64)
    }

    fn value(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 13 } else { 16 };
        match self.below(kinds) {
            0 => Value::None,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::Int(self.number() as i64),
            3 => Value::Uint(self.number()),
            4 => Value::Pointer(self.number()),
            5 => Value::Str(self.bytes()),
            6 => Value::Buffer(self.bytes()),
            7 => Value::Text(self.name().to_string()),
            8 => {
                let name = (self.below(2) == 0).then(|| self.name());
                Value::Enum {
                    value: self.number() as i64,
                    name,
                }
            }
            9 => self.stack(),
            10 => Value::Stats {
                count: self.number(),
                total: self.number() as i64,
                average: self.number() as i64,
                signed: self.below(2) == 0,
            },
            11 => self.histogram(),
            12 => Value::Arguments((0..self.below(4)).map(|_| self.bytes()).collect()),
            13 => Value::Tuple(self.values(depth)),
            14 => Value::Array(self.values(depth)),
            _ => {
                let values = self.values(depth);
                Value::Record(
                    values
                        .into_iter()
                        .map(|value| (self.name(), value))
                        .collect(),
                )
            }
        }
    }

    fn values(&mut self, depth: usize) -> Vec<Value> {
        (0..self.below(4)).map(|_| self.value(depth - 1)).collect()
    }

    fn stack(&mut self) -> Value {
        let modes = [StackMode::Bpftrace, StackMode::Perf, StackMode::Raw];
        let frames = (0..self.below(4)).map(|_| Frame {
            address: self.number(),
            symbol: (self.below(2) == 0).then(|| self.name()),
            offset: self.number(),
            module: (self.below(2) == 0).then(|| self.name()),
        });
        let frames = frames.collect();
        let lost = (self.below(4) == 0).then_some(14);
        Value::Stack(Stack {
            frames,
            lost,
            mode: modes[self.below(3)],
            user: self.below(2) == 0,
        })
    }

    fn histogram(&mut self) -> Value {
        let scale = match self.below(2) {
            0 => Scale::Log2 {
                bits: self.next().to_ne_bytes()[0],
            },
            _ => Scale::Linear {
                step: self.number() as i64,
            },
        };
        let buckets = (0..self.below(4)).map(|_| Bucket {
            min: self.bound(),
            max: self.bound(),
            count: self.number(),
        });
        Value::Histogram(Histogram {
            buckets: buckets.collect(),
            scale,
        })
    }

    fn ty(&mut self, depth: usize) -> DataType {
        match self.below(if depth == 0 { 9 } else { 12 }) {
            0 => DataType::None,
            1 => DataType::Int {
                bytes: self.next().to_ne_bytes()[0],
                signed: true,
            },
            2 => DataType::Int {
                bytes: self.next().to_ne_bytes()[0],
                signed: false,
            },
            3 => DataType::Bool,
            4 => DataType::Pointer,
            5 => DataType::Str { capacity: u32::MAX },
            6 => DataType::Buffer { capacity: 4 },
            7 => DataType::KernelStack {
                mode: StackMode::Raw,
                limit: 9,
            },
            8 => {
                let variants = (0..self.below(3)).map(|_| (0, self.name().to_string()));
                let variants = variants.collect();
                DataType::Enum {
                    bytes: 4,
                    signed: true,
                    name: self.name(),
                    variants,
                }
            }
            9 => DataType::Tuple(self.fields(depth - 1)),
            10 => {
                let fields = self.fields(depth - 1);
                DataType::Record {
                    name: self.name(),
                    fields,
                    size: 8,
                }
            }
            _ => DataType::Array {
                element: Arc::new(self.ty(depth - 1)),
                len: 3,
            },
        }
    }

    fn fields(&mut self, depth: usize) -> Arc<[Field]> {
        let fields = (0..self.below(4)).map(|_| Field {
            name: self.name().to_string(),
            offset: 0,
            ty: self.ty(depth),
            bits: (self.below(4) == 0).then_some(Bits { shift: 1, width: 2 }),
        });
        fields.collect()
    }
}

/// Checks that each of the lines is one JSON value, and that the last one is complete.
fn check_json(lines: &[u8], source: &Output) {
    assert!(lines.is_empty() || lines.ends_with(b"\n"), "{source:?}");
    for line in String::from_utf8_lossy(lines).lines() {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        assert!(
            parsed.is_ok_and(|value| value.is_object()),
            "{line}\nfrom {source:?}"
        );
    }
}

#[test]
fn every_view_takes_any_value() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let mut table = TableView::default();
    for _ in 0..5_000 {
        let fields = random.fields(2);
        let ty = DataType::Record {
            name: "".into(),
            fields,
            size: 8,
        };
        let schema = Schema::of_record(&random.name(), 1, &ty).expect("a record");
        let document = json_schema(&schema);
        let parsed = serde_json::from_str::<serde_json::Value>(&document);
        assert!(parsed.is_ok(), "{document}");

        let values: Vec<Value> = schema.columns.iter().map(|_| random.value(2)).collect();
        let has_stack = values.iter().any(|value| matches!(value, Value::Stack(_)));
        let row = Output::Row {
            schema: Arc::new(schema),
            row: Row { values },
        };
        let keyed = vec![
            (random.value(2), random.value(2)),
            (random.value(1), random.value(1)),
        ];
        let content = MapContent::Keyed(keyed);
        let map = MapOutput {
            name: random.name(),
            kind: MapKind::Plain,
            content,
        };
        for output in [row, Output::Value(random.value(3)), Output::Map(map)] {
            let (mut text, mut json, mut rows) = (Vec::new(), Vec::new(), Vec::new());
            TextView::default()
                .write(&output, &mut text, &mut Vec::new())
                .expect("text");
            assert!(text.ends_with(b"\n"), "{output:?}");
            JsonView.write(&output, &mut json).expect("JSON");
            check_json(&json, &output);
            RowJsonView::default()
                .write(&output, &mut rows)
                .expect("rows as JSON");
            check_json(&rows, &output);
            let mut cells = Vec::new();
            table
                .write(&output, &mut cells, &mut Vec::new())
                .expect("a table");
            if matches!(output, Output::Row { .. }) && !has_stack {
                let lines = cells.iter().filter(|byte| **byte == b'\n').count();
                assert!(lines == 2 || lines == 1, "{lines} lines of {output:?}");
                assert!(!cells.contains(&0x1b), "{output:?}");
            }
        }
    }
}
