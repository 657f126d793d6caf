//! What is printed can be read, and what cannot be read is refused at its line.

use super::{print, read};

const ALL: &str = "\
fn all {
fn round(map1, key1, value1, captured16) {
b0:
  v0: captured16 = argument 3
  v1: outer8 = load8u v0 + 8
  v2: i64 = load8u v1 + 0
  return v2
}
  slot s0: 16 align 8
  slot s1: 4 align 4
b0:
  v0: s0 = slot s0
  v1: i64 = const -7 @3..9
  v2: i64 = late 3
  v3: ctx = ctx
  v4: map2 = map 2
  v5: value1 = mapvalue 1 + 24
  v6: s0 = ptradd v0, v1 max 8
  v7: value2? = call 1(v4, v0)
  v8: i64 = ptrtoint v0
  v9: i64 = sdiv v1, v2
  v10: i64 = sge v1, v9
  v11: i64 = extend2s v9
  v12: i64 = extend4u v9
  v13: i64 = swap8 v9
  v14: i64 = load4s v3 + 12
  v15: i64 = load8u v3 + 16
  store2 v0 + 2, v1
  zero v0 + 0, 16
  copy v0 + 0, v3 + 8, 16
  v16: record64? = call 131(v4, v1, v1)
  v21: callback0 = callback 0
  call 6()
  ifnull v7 then b1(v9, v1) else b2 @10..12
b1(v17: i64, v18: i64):
  if slt v17, v18 then b1(v18, v17) else b3
b2:
  v19: value2 = nonnull v7
  atomicadd8 v19 + 0, v1
  v20: i64 = atomicfetchadd8 v19 + 8, v1
  jump b3
b3:
  return v1 @1..2
}
";

#[test]
fn round_trip() {
    assert_eq!(print(&read(ALL).unwrap()), ALL);
}

#[test]
fn positions_are_left_out_on_request() {
    let text = read(ALL).unwrap().to_string();
    assert!(!text.contains('@'));
    assert_eq!(read(&text).unwrap().to_string(), text);
}

#[test]
fn errors() {
    let check = |text: &str, expected: &str| {
        assert_eq!(read(text).unwrap_err().to_string(), expected, "{text}");
    };
    check("", "line 0: expected }");
    check("f", "line 1: expected fn");
    check("fn x {\nb1:", "line 2: expected blocks in order");
    check("fn x {\nb0:\n  v0: i65 = ctx", "line 3: expected a type");
    check(
        "fn x {\nb0:\n  v0: i64 = load3u v1 + 0",
        "line 3: expected an operation",
    );
    check(
        "fn x {\nb0:\n  v9999999: i64 = const 1",
        "line 3: expected a smaller number",
    );
    check(
        "fn x {\nb0:\n  return v1 v2",
        "line 3: expected the end of the line",
    );
    check("fn x {\nb0:\n}", "line 3: expected the end of the block");
    check(
        "fn x {\n}\nb",
        "line 3: expected nothing after the function",
    );
    check(
        "fn x {\nb0:\n  v0: i64 = const 9223372036854775808",
        "line 3: expected a number",
    );
}
