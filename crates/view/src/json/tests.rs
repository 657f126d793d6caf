use kscope_rows::{HelperFailure, MapValueType, StackMode};

use super::*;
use crate::test_values::{
    enumerator, format, hist, int, lhist, record, row, stack, stats, text, tuple,
};

fn check(output: &Output, expected: &str) {
    let mut out = Vec::new();
    JsonView
        .write(output, &mut out)
        .expect("a vector takes all");
    let newline = if expected.is_empty() { "" } else { "\n" };
    assert_eq!(
        String::from_utf8_lossy(&out),
        format!("{expected}{newline}"),
        "{output:?}"
    );
}

fn check_value(value: Value, expected: &str) {
    check(
        &Output::Value(value),
        &format!("{{\"type\": \"value\", \"data\": {expected}}}"),
    );
}

fn scalar(kind: MapKind, name: &str, value: Value) -> Output {
    Output::Map(MapOutput {
        name: name.into(),
        kind,
        content: MapContent::Scalar(value),
    })
}

fn keyed(kind: MapKind, name: &str, entries: Vec<(Value, Value)>) -> Output {
    Output::Map(MapOutput {
        name: name.into(),
        kind,
        content: MapContent::Keyed(entries),
    })
}

#[test]
fn values() {
    check_value(int(5), "5");
    check_value(int(-5), "-5");
    check_value(Value::None, "null");
    check_value(
        tuple(&[Value::Bool(true), Value::Bool(false)]),
        "[true,false]",
    );
    check_value(enumerator(333, Some("FOO")), "333");
    check_value(Value::Pointer(50), "50");
    check_value(
        tuple(&[int(1), int(2), text("string"), tuple(&[int(4)])]),
        "[1,2,\"string\",[4]]",
    );
    check_value(
        record(&[("m", int(2)), ("n", int(3))]),
        "{\"m\": 2, \"n\": 3}",
    );
    let nested = record(&[("y", Value::Array(vec![int(2), int(3)]))]);
    check_value(tuple(&[int(0), nested]), "[0,{\"y\": [2,3]}]");
    check_value(record(&[]), "{}");
    check_value(Value::Array(vec![]), "[]");
    check_value(Value::Buffer(vec![1, 0xff]), "[1,-1]");
    check_value(Value::Text("root".to_owned()), "\"root\"");
    let arguments = Value::Arguments(vec![b"a".to_vec(), b"b c".to_vec()]);
    check_value(arguments, "[\"a\",\"b c\"]");
    let stack = stack(StackMode::Bpftrace, false);
    check_value(stack, "\"\\n        do_sys_open+23\\n        0x55aa\\n\"");
}

#[test]
fn integers_that_a_double_cannot_hold() {
    check_value(int(1 << 53), "9007199254740992");
    check_value(int((1 << 53) + 1), "\"9007199254740993\"");
    check_value(int((1 << 53) + 2), "9007199254740994");
    check_value(int(i64::MIN), "-9223372036854775808");
    check_value(int(i64::MAX), "\"9223372036854775807\"");
    check_value(Value::Uint(u64::MAX), "\"18446744073709551615\"");
    check_value(Value::Uint(1 << 63), "9223372036854775808");
    check_value(
        Value::Pointer(0xffff_ffff_8100_0000),
        "18446744071578845184",
    );
    check_value(
        Value::Pointer(0xffff_ffff_8100_0001),
        "\"18446744071578845185\"",
    );
}

#[test]
fn strings() {
    check_value(text("a \"b\" \\ c"), "\"a \\\"b\\\" \\\\ c\"");
    check_value(text("\r\n\t"), "\"\\r\\n\\t\"");
    check_value(text("\u{1}\u{1f}\u{7f}"), "\"\\u0001\\u001f\u{7f}\"");
    check_value(text("é"), "\"é\"");
    check_value(
        Value::Str(vec![b'a', 0xff, 0xfe, b'b']),
        "\"a\u{fffd}\u{fffd}b\"",
    );
}

#[test]
fn maps() {
    use MapKind::{Plain, Stats};
    check(
        &scalar(Plain, "@scalar", int(5)),
        r#"{"type": "map", "data": {"@scalar": 5}}"#,
    );
    check(
        &scalar(Plain, "@", text("a b \n d e")),
        r#"{"type": "map", "data": {"@": "a b \n d e"}}"#,
    );
    let entries = vec![(text("key1"), int(2)), (text("key2"), int(3))];
    check(
        &keyed(Plain, "@map", entries),
        r#"{"type": "map", "data": {"@map": {"key1": 2, "key2": 3}}}"#,
    );
    let entries = vec![(tuple(&[text("bpftrace"), int(2)]), int(5))];
    check(
        &keyed(Plain, "@complex", entries),
        r#"{"type": "map", "data": {"@complex": {"bpftrace,2": 5}}}"#,
    );
    check(
        &keyed(Plain, "@", vec![(text("a b"), int(5))]),
        r#"{"type": "map", "data": {"@": {"ab": 5}}}"#,
    );
    check(&keyed(Plain, "@", vec![]), "");
    check(
        &scalar(Stats, "@st", stats(2, 12, 6)),
        r#"{"type": "stats", "data": {"@st": {"count": 2, "average": 6, "total": 12}}}"#,
    );
    let entries = vec![(text("c"), int(3)), (text("d"), int(4))];
    check(
        &keyed(Stats, "@", entries),
        r#"{"type": "stats", "data": {"@": {"c": 3, "d": 4}}}"#,
    );
    assert_eq!(MapKind::of(&MapValueType::Avg { signed: true }), Stats);
}

#[test]
fn histograms() {
    let kind = MapKind::Histogram;
    check(
        &scalar(kind, "@h", hist(0, &[2, 8])),
        "{\"type\": \"hist\", \"data\": {\"@h\": [{\"min\": 2, \"max\": 3, \"count\": 1},\
         {\"min\": 4, \"max\": 7, \"count\": 0},{\"min\": 8, \"max\": 15, \"count\": 1}]}}",
    );
    check(
        &scalar(kind, "@", hist(0, &[-1, 0])),
        "{\"type\": \"hist\", \"data\": {\"@\": [{\"max\": -1, \"count\": 1},\
         {\"min\": 0, \"max\": 0, \"count\": 1}]}}",
    );
    check(
        &scalar(kind, "@", hist(0, &[1 << 33])),
        "{\"type\": \"hist\", \"data\": {\"@\": [{\"min\": 8589934592, \
         \"max\": 17179869183, \"count\": 1}]}}",
    );
    check(
        &keyed(
            kind,
            "@",
            vec![(tuple(&[text("curl"), int(3)]), hist(3, &[960]))],
        ),
        "{\"type\": \"hist\", \"data\": {\"@\": {\"curl,3\": \
         [{\"min\": 960, \"max\": 1023, \"count\": 1}]}}}",
    );
    check(
        &scalar(kind, "@h", lhist(0, 100, 10, &[95, 1000])),
        "{\"type\": \"hist\", \"data\": {\"@h\": [{\"min\": 90, \"max\": 99, \"count\": 1},\
         {\"min\": 100, \"count\": 1}]}}",
    );
    check(
        &scalar(kind, "@h", hist(0, &[])),
        "{\"type\": \"hist\", \"data\": {\"@h\": []}}",
    );
}

#[test]
fn other_outputs() {
    let values = vec![int(5)];
    let printf = Output::Printf {
        format: format("test %d \"\n"),
        values,
    };
    check(&printf, r#"{"type": "printf", "data": "test 5 \"\n"}"#);
    check(
        &Output::Time("12:00:00\n".to_owned()),
        r#"{"type": "time", "data": "12:00:00\n"}"#,
    );
    check(
        &Output::Cat(b"x".to_vec()),
        r#"{"type": "cat", "data": "x"}"#,
    );
    check(
        &Output::Join(b"ls,-l".to_vec()),
        r#"{"type": "join", "data": "ls,-l"}"#,
    );
    check(
        &Output::System(b"a b c\n".to_vec()),
        r#"{"type": "syscall", "data": "a b c\n"}"#,
    );
    check(
        &Output::AttachedProbes(3),
        r#"{"type": "attached_probes", "count": 3, "data": {"probes": 3}}"#,
    );
    check(
        &Output::Lost(9),
        r#"{"type": "lost_events", "count": 9, "data": {"events": 9}}"#,
    );
    check(&Output::End, "");
    let ty = kscope_rows::DataType::Int {
        bytes: 4,
        signed: true,
    };
    let (schema, row) = row(&[("pid", ty.clone(), int(7)), ("fd", ty, int(-1))]);
    check(
        &Output::Row { schema, row },
        r#"{"type": "value", "data": {"pid": 7, "fd": -1}}"#,
    );
}

#[test]
fn messages() {
    let place = Place {
        file: "stdin".to_owned(),
        line: 1,
        column: 87,
        text: "stdin:1:87-90".to_owned(),
        context: vec!["source".to_owned()],
    };
    let place = std::sync::Arc::new(place);
    let message = |severity| Output::Message {
        severity,
        place: place.clone(),
        format: format("bad: %d\n"),
        values: vec![int(10)],
    };
    check(
        &message(Severity::Error),
        r#"{"type": "errorf", "msg": "bad: 10\n", "filename": "stdin", "line": 1, "col": 87}"#,
    );
    check(
        &message(Severity::Warning),
        r#"{"type": "warnf", "msg": "bad: 10\n", "filename": "stdin", "line": 1, "col": 87}"#,
    );
    let helper = HelperFailure {
        name: "probe_read_user".to_owned(),
        code: -14,
        error: "Bad address".to_owned(),
    };
    let failure = |helper| {
        let place = place.clone();
        Output::Failure(RuntimeFailure {
            place,
            message: "It went wrong".to_owned(),
            helper,
        })
    };
    check(
        &failure(Some(helper)),
        "{\"type\": \"helper_error\", \"msg\": \"Bad address\", \"helper\": \
         \"probe_read_user\", \"retcode\": -14, \"filename\": \"stdin\", \"line\": 1, \
         \"col\": 87}",
    );
    check(
        &failure(None),
        "{\"type\": \"runtime_error\", \"msg\": \"It went wrong\", \"filename\": \"stdin\", \
         \"line\": 1, \"col\": 87}",
    );
}
