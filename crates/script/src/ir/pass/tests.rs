//! What passes do to single functions is in the golden files; here is what holds for all.

use super::{PASSES, optimize, run_pass};
use crate::ir::text;

#[test]
fn there_is_no_other_pass() {
    let mut function = text::read("fn f {\nb0:\nv0: i64 = const 0\nreturn v0\n}").unwrap();
    assert_eq!(run_pass("inline", &mut function), None);
    for (name, _) in PASSES {
        assert_eq!(run_pass(name, &mut function), Some(false), "{name}");
    }
}

#[test]
fn values_are_numbered_anew() {
    let text = "fn f {\nb0:\nv7: i64 = call 7()\nv9: i64 = call 7()\nreturn v9\n}";
    let mut function = text::read(text).unwrap();
    optimize(&mut function);
    assert_eq!(function.values.len(), 1);
    assert_eq!(
        function.to_string(),
        "fn f {\nb0:\n  v0: i64 = call 7()\n  return v0\n}\n"
    );
}

#[test]
fn an_object_is_no_number_though_both_are_one_member() {
    let text = "fn f {\nb0:\nv0: ctx = ctx\nv1: object? = load8u v0 + 24\nv2: i64 = load8u v0 + 24\n\
                v3: i64 = load8u v0 + 24\nv4: i64 = add v2, v3\nifnull v1 then b1 else b2\n\
                b1:\nreturn v4\nb2:\nv5: object = nonnull v1\nv6: i64 = call 7(v5)\nreturn v4\n}";
    let mut function = text::read(text).unwrap();
    assert_eq!(run_pass("cse", &mut function), Some(true));
    let loads = function.to_string().matches("load8u").count();
    assert_eq!(loads, 2, "{function}");
    assert!(super::verify(&function).is_ok(), "{function}");
}
