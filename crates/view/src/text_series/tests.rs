use kscope_rows::{Point, Series, Value};

use super::write_series;

/// Checks the graph of values that are `interval` nanoseconds apart; `-` is none.
#[track_caller]
fn check(interval: u64, values: &[Option<i64>], expected: &str) {
    let points = (0u64..).zip(values).map(|(index, value)| Point {
        number: index,
        start: index * interval,
        time: format!("12:00:{:02}", index * interval / 1_000_000_000),
        value: value.map_or(Value::None, Value::Int),
    });
    let mut out = Vec::new();
    let points = points.collect();
    write_series(&mut out, &Series { points });
    assert_eq!(String::from_utf8_lossy(&out), expected);
}

#[test]
fn graphs() {
    check(1, &[], "<no data>");
    check(
        100_000_000,
        &[Some(0), None, Some(5)],
        "             0                                                   5
hh:mm:ss.ms  |___________________________________________________|
12:00:00.000 *                                                   | 0
12:00:00.100 |                                                   | -
12:00:00.200 |                                                   * 5
             v___________________________________________________v
             0                                                   5
",
    );
    check(
        2_000_000_000,
        &[Some(-5), Some(-4), Some(0), Some(5)],
        "         -5                                                  5
hh:mm:ss |___________________________________________________|
12:00:00 *                         .                         | -5
12:00:02 |    *                    .                         | -4
12:00:04 |                         *                         | 0
12:00:06 |                         .                         * 5
         v___________________________________________________v
         -5                                                  5
",
    );
    check(
        1,
        &[Some(9)],
        "                   8                                                  10
hh:mm:ss.ns        |___________________________________________________|
12:00:00.000000000 |                         *                         | 9
                   v___________________________________________________v
                   8                                                  10
",
    );
}
