use kscope_rows::{MapContent, MapKind, MapOutput, StackMode};

use super::*;
use crate::test_values::{int, row, stack, text};

fn render(view: &mut TableView, outputs: &[Output]) -> String {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    for output in outputs {
        view.write(output, &mut out, &mut err)
            .expect("vectors take all");
    }
    assert_eq!(String::from_utf8_lossy(&err), "");
    String::from_utf8(out).expect("cells are UTF-8")
}

const INT: DataType = DataType::Int {
    bytes: 4,
    signed: true,
};
const COMM: DataType = DataType::Str { capacity: 16 };
const PATH: DataType = DataType::Str { capacity: 256 };

fn open(pid: i64, comm: &str, fd: i64, path: &str) -> Output {
    let columns = [
        ("pid", INT, int(pid)),
        ("comm", COMM, text(comm)),
        ("fd", INT, int(fd)),
        ("path", PATH, text(path)),
    ];
    let (schema, row) = row(&columns);
    Output::Row { schema, row }
}

#[test]
fn rows_stand_under_a_header() {
    let rows = [
        open(1, "systemd", 3, "/etc/passwd"),
        open(4_194_304, "a name longer than sixteen", -2, "/x"),
        open(22, "sh", 4, "/y"),
    ];
    let expected = "   PID COMM                FD PATH\n     \
                       1 systemd              3 /etc/passwd\n\
                    4194304 a name longer than sixteen     -2 /x\n     \
                    22 sh                              4 /y\n";
    assert_eq!(render(&mut TableView::default(), &rows), expected);
}

#[test]
fn a_header_leaves_room_for_a_time_that_is_to_come() {
    let check = |format: &str, expected: &str| {
        let ty = DataType::Timestamp {
            format: format.into(),
        };
        let (schema, _) = row(&[("time", ty, text("")), ("pid", INT, int(1))]);
        let mut out = Vec::new();
        let mut view = TableView::default();
        view.begin(&schema, &mut out).expect("room");
        assert_eq!(String::from_utf8_lossy(&out), expected, "{format}");
    };
    check("%H:%M:%S.%f", "TIME               PID\n");
    check("%s", "TIME    PID\n");
    check("%Y-%m-%d", "TIME          PID\n");
}

#[test]
fn header_returns_only_with_another_schema() {
    let mut view = TableView::default();
    let one = [open(1, "a", 3, "/a")];
    assert_eq!(render(&mut view, &one).lines().count(), 2);
    assert_eq!(render(&mut view, &one).lines().count(), 1);
    let (schema, row) = row(&[("cpu", INT, int(3))]);
    assert_eq!(
        render(&mut view, &[Output::Row { schema, row }]),
        "   CPU\n     3\n"
    );
}

#[test]
fn sites_with_the_same_columns_share_a_header() {
    let check = |ty: DataType, name: &str, expected: usize| {
        let mut view = TableView::default();
        let (schema, first) = row(&[("path", PATH, text("/a"))]);
        let first = Output::Row { schema, row: first };
        let (schema, second) = row(&[(name, ty.clone(), text("/b"))]);
        let second = Output::Row {
            schema,
            row: second,
        };
        let lines = render(&mut view, &[first.clone(), second, first]);
        assert_eq!(lines.lines().count(), expected, "{name}: {ty}");
    };
    check(PATH, "path", 4);
    check(DataType::Str { capacity: 4096 }, "path", 4);
    check(DataType::FullPath { capacity: 4096 }, "path", 4);
    check(PATH, "file", 6);
    check(INT, "path", 6);
}

#[test]
fn units_are_in_the_header() {
    let (schema, row) = row(&[
        ("lat_us", INT, int(3)),
        ("vm_kb", INT, int(2)),
        ("us", INT, int(5)),
        ("size", INT, int(4)),
    ]);
    let schema = (*schema).clone().describe("size", "", Some("KiB"));
    let output = Output::Row {
        schema: Arc::new(schema),
        row,
    };
    let expected = "LAT_US  VM_KB     US SIZE(KiB)\n     3      2      5         4\n";
    assert_eq!(render(&mut TableView::default(), &[output]), expected);
}

#[test]
fn cells_stay_on_their_line() {
    let cases = [
        (text("a\nb\x1b[2Jc\u{9b}"), "a\\x0ab\\x1b[2Jc\\xc2\\x9b"),
        (Value::Str(vec![b'a', 0xff, b'\t']), "a\\xff\\x09"),
        (text("é"), "é"),
        (Value::None, "-"),
        (Value::Pointer(255), "0xff"),
        (Value::Bool(true), "true"),
        (
            Value::Arguments(vec![b"a".to_vec(), b"\n\xff".to_vec()]),
            "a $'\\n\\377'",
        ),
    ];
    for (value, expected) in cases {
        assert_eq!(cell(&value), expected, "{value:?}");
    }
}

#[test]
fn stacks_stand_below_their_row() {
    let stack_type = DataType::KernelStack {
        mode: StackMode::Bpftrace,
        limit: 9,
    };
    let columns = [
        ("pid", INT, int(1)),
        ("stack", stack_type, stack(StackMode::Bpftrace, false)),
    ];
    let (schema, row) = row(&columns);
    let expected = "   PID\n     1\n        do_sys_open+23\n        0x55aa\n";
    let found = render(&mut TableView::default(), &[Output::Row { schema, row }]);
    assert_eq!(found, expected);
}

#[test]
fn all_else_is_text() {
    let content = MapContent::Scalar(int(1));
    let map = MapOutput {
        name: "@a".into(),
        kind: MapKind::Plain,
        content,
    };
    let outputs = [
        Output::AttachedProbes(3),
        Output::Value(int(5)),
        Output::End,
        Output::Map(map),
    ];
    assert_eq!(render(&mut TableView::default(), &outputs), "5\n@a: 1\n");
}

#[test]
fn a_header_can_come_before_the_rows() {
    let Output::Row { schema, row } = open(1, "systemd", 3, "/etc/passwd") else {
        panic!("a row")
    };
    let mut view = TableView::default();
    let mut out = Vec::new();
    view.begin(&schema, &mut out).expect("room");
    let header = String::from_utf8(out.clone()).expect("text");
    assert!(header.contains("PID COMM"), "{header}");
    assert_eq!(header.lines().count(), 1);
    view.begin(&schema, &mut out).expect("room");
    let output = Output::Row { schema, row };
    view.write(&output, &mut out, &mut Vec::new())
        .expect("room");
    let text = String::from_utf8(out).expect("text");
    assert!(text.starts_with(&header), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}
