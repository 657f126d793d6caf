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
