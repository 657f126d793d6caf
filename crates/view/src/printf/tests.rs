use kscope_rows::{StackMode, Value};

use super::*;
use crate::test_values::{enumerator, format, int, record, stack, text, tuple};

fn check(template: &str, values: &[Value], expected: &str) {
    let found = render(&format(template), values);
    assert_eq!(
        String::from_utf8_lossy(&found),
        expected,
        "{template:?} of {values:?}"
    );
}

#[test]
fn integers() {
    let cases: [(&str, Value, &str); 44] = [
        ("%d", int(5), "5"),
        ("%i", int(-5), "-5"),
        ("%d", Value::Uint(u64::MAX), "-1"),
        ("%d", int(0x1_0000_0005), "5"),
        ("%ld", int(0x1_0000_0005), "4294967301"),
        ("%lld", int(i64::MIN), "-9223372036854775808"),
        ("%u", int(-1), "4294967295"),
        ("%lu", int(-1), "18446744073709551615"),
        ("%zu %%", int(7), "7 %"),
        ("%hhx", int(0x0012_3456_78ab_cdef), "ef"),
        ("%hx", int(0x0012_3456_78ab_cdef), "cdef"),
        ("%x", int(0x0012_3456_78ab_cdef), "78abcdef"),
        ("%jx", int(0x0012_3456_78ab_cdef), "12345678abcdef"),
        ("%hhd", int(255), "-1"),
        ("%hd", int(0x8000), "-32768"),
        ("%X", int(0xbeef), "BEEF"),
        ("%o", int(8), "10"),
        ("%#x", int(255), "0xff"),
        ("%#X", int(255), "0XFF"),
        ("%#o", int(8), "010"),
        ("%#.4o", int(42), "0052"),
        ("%#.0o", int(0), "0"),
        ("%#x", int(0), "0"),
        ("%#06x", int(31), "0x001f"),
        ("%5d|", int(42), "   42|"),
        ("%-5d|", int(42), "42   |"),
        ("%05d|", int(42), "00042|"),
        ("%05d|", int(-42), "-0042|"),
        ("%-05d|", int(42), "42   |"),
        ("%+d", int(42), "+42"),
        ("%+d", int(-42), "-42"),
        ("%+u", int(42), "42"),
        ("% d", int(42), " 42"),
        ("%.3d", int(7), "007"),
        ("%6.3d|", int(-7), "  -007|"),
        ("%.0d|", int(0), "|"),
        ("%08.3d|", int(7), "     007|"),
        ("%2d", int(12345), "12345"),
        ("%c", int(0x41), "A"),
        ("%3c|", int(0x41), "  A|"),
        ("%d", Value::Bool(true), "1"),
        ("%d", enumerator(99_999, Some("OTHER")), "99999"),
        ("%d", Value::Pointer(16), "16"),
        (
            "%llx",
            Value::Pointer(0xffff_ffff_8100_0000),
            "ffffffff81000000",
        ),
    ];
    for (template, value, expected) in cases {
        check(template, &[value], expected);
    }
}

#[test]
fn pointers() {
    check(
        "%p",
        &[Value::Pointer(0xffff_8880_0000_1000)],
        "0xffff888000001000",
    );
    check("%p", &[int(255)], "0xff");
    check("%p", &[Value::Uint(0)], "0");
    check("%8p|", &[int(255)], "    0xff|");
    check("%-8p|", &[int(255)], "0xff    |");
}

#[test]
fn texts() {
    let pair = tuple(&[int(1), text("b")]);
    let cases: [(&str, Value, &str); 25] = [
        ("%s", text("abc"), "abc"),
        ("[%5s]", text("abc"), "[  abc]"),
        ("[%-5s]", text("abc"), "[abc  ]"),
        ("[%.2s]", text("abc"), "[ab]"),
        ("[%-5.2s]", text("abc"), "[ab   ]"),
        ("[%-10.10s]", text("a very long name"), "[a very lon]"),
        ("[%2s]", text("abc"), "[abc]"),
        ("%s", int(-5), "-5"),
        ("%5s", int(7), "    7"),
        ("%+s", int(7), "+7"),
        ("%s", Value::Uint(u64::MAX), "18446744073709551615"),
        ("%s", Value::Bool(true), "true"),
        ("[%-6s]", Value::Bool(false), "[false ]"),
        ("%s", Value::Pointer(0xabc), "0xabc"),
        ("[%-5s]", enumerator(0, Some("A")), "[A    ]"),
        ("%s", enumerator(7, None), "7"),
        ("%s", Value::Text("root".to_owned()), "root"),
        ("%s", pair.clone(), "(1, b)"),
        ("[%3s]", pair, "[  (1, b)]"),
        ("[%-3s]", Value::Array(vec![int(1), int(2)]), "[[  1,2]]"),
        ("[%4s]", record(&[("a", int(1))]), "[  { .a = 1 }]"),
        (
            "%s",
            stack(StackMode::Bpftrace, false),
            "\n        do_sys_open+23\n        0x55aa\n",
        ),
        ("%s", Value::Buffer(vec![b'a', 0, 0xff]), "a\\x00\\xff"),
        (
            "[%-7s]",
            Value::Arguments(vec![b"a".to_vec(), b"b c".to_vec()]),
            "[a 'b c']",
        ),
        ("%r", text("no buffer"), "no buffer"),
    ];
    for (template, value, expected) in cases {
        check(template, &[value], expected);
    }
}

#[test]
fn buffers() {
    let buffer = Value::Buffer(vec![b'H', b'i', 0, 0x7f, b'~']);
    check("%r", std::slice::from_ref(&buffer), "Hi\\x00\\x7f~");
    check(
        "%rx",
        std::slice::from_ref(&buffer),
        "\\x48\\x69\\x00\\x7f\\x7e",
    );
    check("%rh", std::slice::from_ref(&buffer), "48 69 00 7f 7e");
    check(
        "[%20r]",
        std::slice::from_ref(&buffer),
        "[         Hi\\x00\\x7f~]",
    );
    check("%gr", &[Value::Int(0xdc0)], "GFP_KERNEL|__GFP_ZERO");
    check("[%14gr]", &[Value::Uint(0xcc0)], "[    GFP_KERNEL]");
    check("[%-14gr]", &[Value::Uint(0xcc0)], "[GFP_KERNEL    ]");
    check("[%-20rh]", &[buffer], "[48 69 00 7f 7e      ]");
    check("[%rh]", &[Value::Buffer(vec![])], "[]");
}

#[test]
fn several_values() {
    let values = [int(1), text("two"), Value::Uint(3)];
    check("%d, %s and %x.\n", &values, "1, two and 3.\n");
    check("%d %d", &[int(1)], "1 ");
    check("none", &values, "none");
    check("%5s %04x", &[text("ba"), int(2)], "   ba 0002");
}

#[test]
fn values_that_do_not_fit() {
    check("%d", &[text("x")], "!{invalid integer conversion: x}");
    check(
        "<%x>",
        &[Value::None],
        "<!{invalid integer conversion: null}>",
    );
}

#[test]
fn strings_are_bytes() {
    let found = render(
        &format("%s|%.1s"),
        &[Value::Str(vec![0xff, b'a']), text("é")],
    );
    assert_eq!(found, [0xff, b'a', b'|', 0xc3]);
}
