//! One broken rule per case.

use super::verify;
use crate::ir::text;

fn check(body: &str, expected: &str) {
    let text = format!("fn test {{\n  slot s0: 16 align 8\n{body}\n}}\n");
    let function = text::read(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = match verify(&function) {
        Ok(()) => String::new(),
        Err(errors) => errors[0].to_string(),
    };
    assert_eq!(found, expected, "{text}");
}

#[test]
fn definitions() {
    check("b0:\nv0: i64 = const 1\nreturn v0", "");
    check("b0(v0: i64):\nreturn v0", "b0: the entry has parameters");
    check(
        "b0:\nv0: i64 = const 1\nv0: i64 = const 2\nreturn v0",
        "b0, instruction 1: v0 is defined a second time",
    );
    check("b0:\nreturn v0", "b0: there is no v0");
    check("b0:\nv0: i64 = const 1\njump b7", "b0: there is no b7");
    check(
        "b0:\nv0: i64 = extend1u v1\nv1: i64 = const 1\nreturn v0",
        "b0, instruction 0: v1 is not defined on every way here",
    );
    check(
        "b0:\nv0: i64 = const 1\nif eq v0, v0 then b1 else b2\nb1:\nv1: i64 = const 1\njump b2\nb2:\nreturn v1",
        "b2: v1 is not defined on every way here",
    );
    // What nothing reaches is not looked at.
    check("b0:\nv0: i64 = const 1\nreturn v0\nb1:\nreturn v0", "");
}

#[test]
fn types() {
    check(
        "b0:\nv0: ctx = ctx\nv1: i64 = add v0, v0\nreturn v1",
        "b0, instruction 1: v0 is no number",
    );
    check("b0:\nv0: ctx = ctx\nreturn v0", "b0: v0 is no number");
    check(
        "b0:\nv0: i64 = ctx\nreturn v0",
        "b0, instruction 0: the result has another type",
    );
    check(
        "b0:\nv0: s1 = slot s1\njump b0",
        "b0, instruction 0: there is no s1",
    );
    check(
        "b0:\nv0: i64 = const 1\njump b1(v0)\nb1:\nreturn v0",
        "b0: the number of arguments is wrong",
    );
    check(
        "b0:\nv0: ctx = ctx\njump b1(v0)\nb1(v1: i64):\nreturn v1",
        "b0: v0 has another type than the parameter",
    );
    check(
        "b0:\nv0: i64 = const 1\nv1: i64 = load8u v0 + 0\nreturn v0",
        "b0, instruction 1: v0 cannot be used like this",
    );
    check(
        "b0:\nv0: ctx = ctx\nv1: i64 = const 1\nstore8 v0 + 0, v1\nreturn v1",
        "b0, instruction 2: v0 cannot be used like this",
    );
}

#[test]
fn null() {
    let lookup = "b0:\nv0: map0 = map 0\nv1: s0 = slot s0\nv2: value0? = call 1(v0, v1)\nv3: i64 = const 0\n";
    let check = |rest: &str, expected: &str| check(&format!("{lookup}{rest}"), expected);
    check(
        "ifnull v2 then b2 else b1\nb1:\nv4: value0 = nonnull v2\nv5: i64 = load8u v4 + 0\njump b2\nb2:\nreturn v3",
        "",
    );
    check(
        "v4: i64 = load8u v2 + 0\nreturn v3",
        "b0, instruction 4: v2 may be null",
    );
    check("call 1(v2)\nreturn v3", "b0, instruction 4: v2 may be null");
    check(
        "v4: value0 = nonnull v2\nreturn v3",
        "b0, instruction 4: v2 is not known to be other than null",
    );
    check(
        "ifnull v2 then b1 else b2\nb1:\nv4: value0 = nonnull v2\njump b2\nb2:\nreturn v3",
        "b1, instruction 0: v2 is not known to be other than null",
    );
    check(
        "ifnull v2 then b1 else b1\nb1:\nv4: value0 = nonnull v2\nreturn v3",
        "b1, instruction 0: v2 is not known to be other than null",
    );
    check(
        "ifnull v3 then b1 else b1\nb1:\nreturn v3",
        "b0: v3 cannot be used like this",
    );
}

#[test]
fn bounds() {
    let start = "b0:\nv0: s0 = slot s0\nv1: i64 = const 8\nv2: i64 = call 14()\n";
    let check = |rest: &str, expected: &str| {
        check(&format!("{start}{rest}\nreturn v1"), expected);
    };
    check("store8 v0 + 8, v1", "");
    check(
        "store8 v0 + 9, v1",
        "b0, instruction 3: bytes 9 to 17 of 16",
    );
    check(
        "store1 v0 + -1, v1",
        "b0, instruction 3: bytes -1 to 0 of 16",
    );
    check("zero v0 + 0, 17", "b0, instruction 3: bytes 0 to 17 of 16");
    check("v3: s0 = ptradd v0, v1 max 8\nstore8 v3 + 0, v1", "");
    check("v3: s0 = ptradd v0, v1 max 8\nstore8 v3 + -8, v1", "");
    // A constant above the bound is code that never runs.
    check("v3: s0 = ptradd v0, v1 max 7\nstore8 v3 + 0, v1", "");
    check(
        "v3: s0 = ptradd v0, v2 max 9\nstore8 v3 + 0, v1",
        "b0, instruction 4: bytes 0 to 17 of 16",
    );
    check(
        "v3: ctx = ctx\nv4: ctx = ptradd v3, v2 max 9",
        "b0, instruction 4: v3 cannot be used like this",
    );
}

#[test]
fn what_the_kernel_types() {
    let check = |rest: &str, expected: &str| {
        check(&format!("b0:\nv0: task = call 158()\n{rest}"), expected);
    };
    check("v1: i64 = load4u v0 + 8\nreturn v1", "");
    check(
        "v1: cred = load8u v0 + 8\nv2: i64 = load4u v1 + 4\nreturn v2",
        "",
    );
    check(
        "v1: i64 = const 1\nstore8 v0 + 0, v1\nreturn v1",
        "b0, instruction 2: v0 cannot be used like this",
    );
    check(
        "v1: i64 = ptrtoint v0\nreturn v1",
        "b0, instruction 1: v0 cannot be used like this",
    );
    check(
        "v1: task = call 35()\nv2: i64 = const 1\nreturn v2",
        "b0, instruction 1: the result has another type",
    );
    check(
        "v1: cred = load4u v0 + 8\nv2: i64 = const 1\nreturn v2",
        "b0, instruction 1: the result has another type",
    );
}

/// A function that gives a helper a callback, whose body is `inside`.
fn check_callback(inside: &str, outside: &str, expected: &str) {
    let round = format!("fn round(i64, captured16) {{\n{inside}\n}}\n");
    let text = format!(
        "fn test {{\n{round}slot s0: 16 align 8\nslot s1: 8 align 8\nb0:\nv0: i64 = const 0\nv1: s0 = slot s0\n\
         v2: callback0 = callback 0\n{outside}\n}}\n"
    );
    let function = text::read(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let found = match verify(&function) {
        Ok(()) => String::new(),
        Err(errors) => errors[0].to_string(),
    };
    assert_eq!(found, expected, "{text}");
}

#[test]
fn callbacks() {
    let round = "b0:\nv0: i64 = const 0\nreturn v0";
    let call = "v3: i64 = call 181(v0, v2, v1, v0)\nreturn v0";
    check_callback(round, call, "");
    // What is wrong inside is told as well.
    let inside = |inside: &str, expected: &str| check_callback(inside, call, expected);
    inside("b0:\nreturn v0", "b0: there is no v0");
    let given = "b0:\nv0: i64 = const 0\nv1: captured16 = argument 1\n";
    inside(
        &format!("{given}v2: outer8 = load8u v1 + 8\nstore8 v2 + 0, v0\nreturn v0"),
        "",
    );
    inside(
        &format!("{given}store8 v1 + 16, v0\nreturn v0"),
        "b0, instruction 2: bytes 16 to 24 of 16",
    );
    inside(
        &format!("{given}v2: outer8 = load8u v1 + 8\nv3: i64 = load8u v2 + 4\nreturn v3"),
        "b0, instruction 3: bytes 4 to 12 of 8",
    );
    inside(
        &format!("{given}v2: task = load8u v1 + 8\nreturn v0"),
        "b0, instruction 2: the result has another type",
    );
    inside(
        "b0:\nv0: i64 = argument 7\nreturn v0",
        "b0, instruction 0: the number of arguments is wrong",
    );
    // And what is wrong where it is given to the helper.
    let outside = |outside: &str, expected: &str| check_callback(round, outside, expected);
    outside(
        "v3: callback1 = callback 1\nreturn v0",
        "b0, instruction 3: there is no callback 1",
    );
    outside(
        "v3: s1 = slot s1\nv4: i64 = call 181(v0, v2, v3, v0)\nreturn v0",
        "b0, instruction 4: v3 has another type than the parameter",
    );
    outside(
        "v3: s1 = slot s1\nstore8 v1 + 8, v3\nv4: i64 = call 181(v0, v2, v1, v0)\nreturn v0",
        "",
    );
    outside(
        "v3: s1 = slot s1\nstore4 v1 + 8, v3\nreturn v0",
        "b0, instruction 4: v3 is no number",
    );
    outside(
        "store8 v2 + 0, v0\nreturn v0",
        "b0, instruction 3: v2 cannot be used like this",
    );
}
