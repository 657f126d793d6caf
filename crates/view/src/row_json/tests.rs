use kscope_rows::{DataType, MapContent, MapKind, MapOutput, StackMode};

use super::*;
use crate::json_schema::json_schema;
use crate::test_values::{enumerator, hist, int, record, row, stack, stats, text, tuple};

fn render(output: &Output) -> String {
    let mut out = Vec::new();
    RowJsonView::default()
        .write(output, &mut out)
        .expect("a vector takes all");
    String::from_utf8(out).expect("JSON is UTF-8")
}

/// Checks the member that a value becomes.
fn check(value: Value, expected: &str) {
    let (schema, row) = row(&[("v", DataType::None, value)]);
    let expected = format!("{{\"schema_version\":3,\"v\":{expected}}}\n");
    assert_eq!(render(&Output::Row { schema, row }), expected);
}

#[test]
fn values() {
    check(int(-5), "-5");
    check(Value::Uint(u64::MAX), "18446744073709551615");
    check(Value::Bool(true), "true");
    check(Value::None, "null");
    check(text("/tmp/\"x\"\n"), "\"/tmp/\\\"x\\\"\\n\"");
    check(Value::Text("root".to_owned()), "\"root\"");
    check(
        Value::Pointer(0xffff_ffff_8100_0001),
        "\"0xffffffff81000001\"",
    );
    check(Value::Buffer(vec![1, 0xab]), "\"01ab\"");
    let words = vec![b"sh".to_vec(), Vec::new(), b"a \"b\"".to_vec()];
    check(Value::Arguments(words), "[\"sh\",\"\",\"a \\\"b\\\"\"]");
    check(enumerator(2, Some("TWO")), "\"TWO\"");
    check(enumerator(2, None), "2");
    check(tuple(&[int(1), text("a")]), "[1,\"a\"]");
    check(record(&[("a", int(1)), ("b", int(2))]), "{\"a\":1,\"b\":2}");
    check(stats(2, 12, 6), "{\"count\":2,\"average\":6,\"total\":12}");
    check(
        hist(0, &[-1, 0]),
        "[{\"max\":-1,\"count\":1},{\"min\":0,\"max\":0,\"count\":1}]",
    );
    check(
        stack(StackMode::Bpftrace, true),
        "[{\"address\":\"0xffffffff81234567\",\"symbol\":\"do_sys_open\",\"offset\":23,\
         \"module\":\"/bin/true\"},{\"address\":\"0x55aa\"}]",
    );
    check(
        Value::Stack(Stack {
            lost: Some(17),
            ..Stack::default()
        }),
        "null",
    );
}

#[test]
fn rows_hold_all_columns() {
    let ty = DataType::Int {
        bytes: 4,
        signed: true,
    };
    let (schema, row) = row(&[("pid", ty.clone(), int(7)), ("fd", ty, int(-1))]);
    let found = render(&Output::Row { schema, row });
    assert_eq!(found, "{\"schema_version\":3,\"pid\":7,\"fd\":-1}\n");
}

#[test]
fn all_else_is_the_schema_of_scripts() {
    let content = MapContent::Scalar(int(1));
    let map = MapOutput {
        name: "@a".into(),
        kind: MapKind::Plain,
        content,
    };
    assert_eq!(
        render(&Output::Map(map)),
        "{\"type\": \"map\", \"data\": {\"@a\": 1}}\n"
    );
    assert_eq!(render(&Output::AttachedProbes(1)), "");
}

#[test]
fn schema_document() {
    let variants = vec![(1, "ONE".to_owned())].into();
    let part = |name: &str, ty| (name.to_owned(), ty);
    let (fields, size) = DataType::lay_out(vec![part("x", DataType::Bool)]);
    let int8 = DataType::Int {
        bytes: 1,
        signed: true,
    };
    let tuple = DataType::Tuple(DataType::lay_out(vec![part("0", DataType::Bool)]).0);
    let columns = [
        (
            "pid",
            DataType::Int {
                bytes: 4,
                signed: false,
            },
            int(0),
        ),
        (
            "lat_us",
            DataType::Int {
                bytes: 8,
                signed: true,
            },
            int(0),
        ),
        ("path", DataType::Str { capacity: 9 }, text("")),
        (
            "kind",
            DataType::Enum {
                bytes: 4,
                signed: false,
                name: "k".into(),
                variants,
            },
            int(1),
        ),
        ("at", DataType::Pointer, int(0)),
        ("data", DataType::Buffer { capacity: 4 }, int(0)),
        (
            "list",
            DataType::Array {
                element: int8.into(),
                len: 2,
            },
            int(0),
        ),
        ("pair", tuple, int(0)),
        (
            "inner",
            DataType::Record {
                name: "".into(),
                fields,
                size,
            },
            int(0),
        ),
    ];
    let (schema, _) = row(&columns);
    let schema = (*schema)
        .clone()
        .describe("pid", "The process \"id\".", None);
    let expected = r#"{
  "$schema": "https://json-schema.org/draft/2020-12/schema",
  "title": "opensnoop",
  "type": "object",
  "properties": {
    "schema_version": {"const":3},
    "pid": {"type":"integer","minimum":0,"maximum":4294967295,"description":"The process \"id\"."},
    "lat_us": {"type":"integer","minimum":-9223372036854775808,"maximum":9223372036854775807,"unit":"us"},
    "path": {"type":"string"},
    "kind": {"anyOf":[{"enum":["ONE"]},{"type":"integer"}]},
    "at": {"type":"string","pattern":"^0x[0-9a-f]+$"},
    "data": {"type":"string","pattern":"^([0-9a-f]{2})*$"},
    "list": {"type":"array","items":{"type":"integer","minimum":-128,"maximum":127}},
    "pair": {"type":"array","prefixItems":[{"type":"boolean"}]},
    "inner": {"type":"object","properties":{"x":{"type":"boolean"}}}
  },
  "required": ["schema_version", "pid", "lat_us", "path", "kind", "at", "data", "list", "pair", "inner"]
}
"#;
    assert_eq!(json_schema(&schema), expected);
}

#[test]
fn keys_of_maps_that_differ_stay_two() {
    let key = |comm: &str| tuple(&[int(7), text(comm)]);
    let entries = vec![
        (key("a b"), int(1)),
        (key("ab"), int(2)),
        (text("(sd-pam)"), int(3)),
        (text("sd-pam"), int(4)),
        (tuple(&[tuple(&[int(1), int(2)]), int(3)]), int(5)),
    ];
    let map = MapOutput {
        name: "@a".into(),
        kind: MapKind::Plain,
        content: MapContent::Keyed(entries),
    };
    assert_eq!(
        render(&Output::Map(map)),
        "{\"type\": \"map\", \"data\": {\"@a\": {\"7,a b\": 1, \"7,ab\": 2, \"(sd-pam)\": 3, \
         \"sd-pam\": 4, \"(1, 2),3\": 5}}}\n"
    );
    let none = MapOutput {
        name: "@a".into(),
        kind: MapKind::Plain,
        content: MapContent::Keyed(Vec::new()),
    };
    assert_eq!(render(&Output::Map(none)), "");
}
