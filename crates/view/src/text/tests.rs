use kscope_rows::{MapKind, MapOutput, Output, StackMode, Value};

use super::*;
use crate::test_values::{
    enumerator, format, hist, int, lhist, record, row, stack, stats, text, tuple,
};

/// Renders an output and gives what went to standard output and to standard error.
fn render_both(output: &Output) -> (String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    TextView::default()
        .write(output, &mut out, &mut err)
        .expect("vectors take all");
    (
        String::from_utf8_lossy(&out).into_owned(),
        String::from_utf8_lossy(&err).into_owned(),
    )
}

fn check(output: &Output, expected: &str) {
    assert_eq!(
        render_both(output),
        (expected.to_owned(), String::new()),
        "{output:?}"
    );
}

fn check_value(value: Value, expected: &str) {
    check(&Output::Value(value), &format!("{expected}\n"));
}

fn scalar(name: &str, value: Value) -> Output {
    let content = MapContent::Scalar(value);
    Output::Map(MapOutput {
        name: name.into(),
        kind: MapKind::Plain,
        content,
    })
}

fn keyed(name: &str, entries: Vec<(Value, Value)>) -> Output {
    let content = MapContent::Keyed(entries);
    Output::Map(MapOutput {
        name: name.into(),
        kind: MapKind::Plain,
        content,
    })
}

#[test]
fn values() {
    check_value(int(-5), "-5");
    check_value(Value::Uint(5), "5");
    check_value(Value::Bool(true), "true");
    check_value(Value::None, "null");
    check_value(Value::Pointer(0), "0x0");
    check_value(Value::Pointer(0xffff_8880_1234_5678), "0xffff888012345678");
    check_value(enumerator(2, Some("TWO")), "TWO");
    check_value(enumerator(-3, None), "-3");
    check_value(text("a\tb"), "a\tb");
    check_value(
        tuple(&[int(1), text("two"), tuple(&[int(3), int(4)])]),
        "(1, two, (3, 4))",
    );
    let row = |numbers: &[i64]| Value::Array(numbers.iter().map(|n| int(*n)).collect());
    check_value(row(&[4, 3, 2, 1]), "[4,3,2,1]");
    check_value(
        Value::Array(vec![row(&[5, 6]), row(&[7, 8])]),
        "[[5,6],[7,8]]",
    );
    check_value(
        record(&[("m", int(2)), ("n", int(3))]),
        "{ .m = 2, .n = 3 }",
    );
    check_value(
        record(&[("a", record(&[("b", text(""))]))]),
        "{ .a = { .b =  } }",
    );
    check_value(record(&[]), "{}");
    check_value(Value::Buffer(vec![1, b'a']), "\\x01a");
    check_value(stats(2, 12, 6), "{ .count = 2, .average = 6, .total = 12 }");
    let unsigned = Value::Stats {
        count: 1,
        total: -1,
        average: -2,
        signed: false,
    };
    check_value(
        unsigned,
        "{ .count = 1, .average = 18446744073709551614, .total = 18446744073709551615 }",
    );
}

#[test]
fn stacks() {
    let perf = "\n\tffffffff81234567 do_sys_open+23\n\t55aa 0x55aa\n";
    let user = "\n\tffffffff81234567 do_sys_open+23 (/bin/true)\n\t55aa 0x55aa ([unknown])\n";
    check_value(
        stack(StackMode::Bpftrace, false),
        "\n        do_sys_open+23\n        0x55aa\n",
    );
    check_value(stack(StackMode::Perf, false), perf);
    check_value(stack(StackMode::Perf, true), user);
    check_value(stack(StackMode::Raw, false), "\nffffffff81234567\n55aa\n");
    let key = stack(StackMode::Bpftrace, false);
    let expected = "@[\n        do_sys_open+23\n        0x55aa\n]: 1\n";
    check(&keyed("@", vec![(key.clone(), int(1))]), expected);
    let expected = "@[\n        do_sys_open+23\n        0x55aa\n, sh]: 1\n";
    check(
        &keyed("@", vec![(tuple(&[key, text("sh")]), int(1))]),
        expected,
    );
}

#[test]
fn maps() {
    check(&scalar("@a", int(1)), "@a: 1\n");
    check(&scalar("@", text("a b \n d e")), "@: a b \n d e\n");
    check(&scalar("@", tuple(&[int(1), text("x")])), "@: (1, x)\n");
    check(
        &scalar("@s", stats(0, 0, 0)),
        "@s: { .count = 0, .average = 0, .total = 0 }\n",
    );
    check(&keyed("@e", vec![]), "");
    check(
        &keyed("@c", vec![(tuple(&[text("x"), int(3)]), text("str"))]),
        "@c[x, 3]: str\n",
    );
    check(
        &keyed(
            "@",
            vec![(tuple(&[tuple(&[int(1), int(2)]), int(3)]), int(4))],
        ),
        "@[(1, 2), 3]: 4\n",
    );
    check(&keyed("@", vec![(text("(a)"), int(4))]), "@[a]: 4\n");
    let two = vec![(text("c"), int(3)), (text("d"), int(4))];
    check(&keyed("@m", two), "@m[c]: 3\n@m[d]: 4\n");
    let keyed_stats = keyed("@m", vec![(text("zsh"), stats(1, 10, 10))]);
    check(
        &keyed_stats,
        "@m[zsh]: { .count = 1, .average = 10, .total = 10 }\n",
    );
}

#[test]
fn histograms() {
    let expected = "\
@:
(..., 0)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |
[0]                    0 |                                                    |
[1]                    0 |                                                    |
[2, 4)                 2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|
[4, 8)                 1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |
[8, 16)                0 |                                                    |
[16, 32)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |

";
    check(&scalar("@", hist(0, &[-1, 2, 3, 5, 17])), expected);
    let expected = "\
@x[k]:
[1]                    2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|

@x[l]:
[0]                    1 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|

";
    let entries = vec![(text("k"), hist(0, &[1, 1])), (text("l"), hist(0, &[0]))];
    check(&keyed("@x", entries), expected);
    check(&scalar("@h", hist(0, &[])), "@h:\n\n");
    let expected = "\
@:
(..., 0)               1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |
[0, 2)                 0 |                                                    |
[2, 4)                 2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|
[4, 6)                 0 |                                                    |
[6, 8)                 1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |
[8, 10)                0 |                                                    |
[10, ...)              1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |

";
    check(&scalar("@", lhist(0, 10, 2, &[-1, 2, 3, 6, 10])), expected);
}

/// Checks the bounds of the one bucket a value falls into.
fn check_bounds(histogram: Value, expected: &str) {
    let (out, _) = render_both(&scalar("@", histogram));
    let line = out.lines().nth(1).unwrap_or_default();
    let header = line.split_once("  ").map_or("", |(header, _)| header);
    assert_eq!(header, expected, "{out}");
}

#[test]
fn bounds_of_buckets() {
    let cases = [
        (0, 2, "[2, 4)"),
        (0, 512, "[512, 1K)"),
        (0, 1024, "[1K, 2K)"),
        (0, 1 << 19, "[512K, 1M)"),
        (0, 10_000_000_000, "[8G, 16G)"),
        (0, 1 << 45, "[32T, 64T)"),
        (0, 1 << 52, "[4P, 8P)"),
        (0, 1 << 62, "[4E, 8E)"),
        (3, 15, "[15]"),
        (3, 16, "[16, 18)"),
        (3, 1000, "[960, 1024)"),
        (3, 8191, "[7680, 8K)"),
        (3, 9000, "[8K, 9K)"),
        (5, 63, "[63]"),
        (5, 64, "[64, 66)"),
        (2, -7, "(..., 0)"),
    ];
    for (bits, value, expected) in cases {
        check_bounds(hist(bits, &[value]), expected);
    }
    let cases = [
        ((610_000, 670_000, 10_000), 640_001, "[640000, 650000)"),
        ((0, 5 * 1024, 1024), 0, "[0, 1K)"),
        ((0, 5 * 1024, 1024), 1024, "[1K, 2K)"),
        ((0, 2 << 20, 512 * 1024), 1 << 20, "[1M, 1536K)"),
        ((1, 3 * 1024, 1024), 2, "[1, 1025)"),
        ((0, 100, 10), 1000, "[100, ...)"),
        ((10, 110, 10), 1, "(..., 10)"),
        ((0, 10, 1), 3, "[3]"),
        ((-2048, 0, 1024), -1500, "[-2K, -1K)"),
    ];
    for ((min, max, step), value, expected) in cases {
        check_bounds(lhist(min, max, step, &[value]), expected);
    }
}

#[test]
fn long_bounds_touch_the_count() {
    let low = 1_000_000_000;
    let (out, _) = render_both(&scalar("@", lhist(low, low + 100, 10, &[low])));
    let line = out.lines().nth(1).unwrap_or_default();
    assert!(
        line.starts_with("[1000000000, 1000000010)       1 |@"),
        "{line}"
    );
}

#[test]
fn other_outputs() {
    let printf = Output::Printf {
        format: format("%s=%d\n"),
        values: vec![text("a"), int(1)],
    };
    check(&printf, "a=1\n");
    check(&Output::Time("12:00:00\n".to_owned()), "12:00:00\n");
    check(&Output::Cat(b"0.1 0.2".to_vec()), "0.1 0.2");
    check(&Output::Join(b"ls -l".to_vec()), "ls -l\n");
    check(&Output::System(b"a\n".to_vec()), "a\n\n");
    check(&Output::End, "\n\n");
    let ty = kscope_rows::DataType::Int {
        bytes: 4,
        signed: true,
    };
    let (schema, row) = row(&[("pid", ty.clone(), int(7)), ("fd", ty, int(-1))]);
    check(&Output::Row { schema, row }, "{ .pid = 7, .fd = -1 }\n");
}

#[test]
fn about_the_run() {
    let check_err = |output: Output, expected: &str| {
        assert_eq!(render_both(&output), (String::new(), expected.to_owned()));
    };
    check_err(Output::AttachedProbes(1), "Attached 1 probe\n");
    check_err(Output::AttachedProbes(0), "Attached 0 probes\n");
    check_err(Output::AttachedProbes(12), "Attached 12 probes\n");
    check_err(Output::Lost(7), "Lost 7 events\n");
    let place = Place {
        file: "stdin".to_owned(),
        line: 1,
        column: 9,
        text: "stdin:1:9-62".to_owned(),
        context: vec!["begin { x }".to_owned(), "        ~".to_owned()],
    };
    let place = std::sync::Arc::new(place);
    let message = |severity| Output::Message {
        severity,
        place: place.clone(),
        format: format("bad: %d\n"),
        values: vec![int(10)],
    };
    check_err(message(Severity::Error), "stdin:1:9-62: ERROR: bad: 10\n");
    check_err(
        message(Severity::Warning),
        "stdin:1:9-62: WARNING: bad: 10\n",
    );
    let helper = HelperFailure {
        name: "probe_read_user".to_owned(),
        code: -14,
        error: "Its text".to_owned(),
    };
    let failure = RuntimeFailure {
        place: place.clone(),
        message: "Bad address".to_owned(),
        helper: Some(helper),
    };
    let expected = "stdin:1:9-62: WARNING: Bad address\n\
                    Additional Info - helper: probe_read_user, retcode: -14\n\
                    begin { x }\n        ~\n";
    check_err(Output::Failure(failure), expected);
}
