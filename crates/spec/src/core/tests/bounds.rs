//! Types that never end, and those that lead nowhere.

use super::*;
use crate::object::CoreKind::{FieldByteOffset, FieldExists, TypeExists, TypeMatches};

fn check(kind: CoreKind, local: &str, target: &str, access: &str, why: &str) {
    let found = relocated(kind, local, target, access, "mov 0");
    assert!(
        found.starts_with("refused: ") && found.ends_with(why),
        "{found}"
    );
}

/// Structures that each hold the one before twice, without a name.
fn tree(depth: u32) -> String {
    let mut text = "i int int 4 signed\n s0 struct - 4 x:i@0\n".to_owned();
    for level in 1..=depth {
        let name = if level == depth { "sample" } else { "-" };
        let before = level - 1;
        text += &format!("s{level} struct {name} 8 :s{before}@0 :s{before}@32\n");
    }
    text
}

#[test]
fn searches_end() {
    let local = "i int int 4 signed\n s struct sample 4 a:i@0";
    check(FieldExists, local, &tree(40), "s 0:0", "is nested too deep");
    check(FieldExists, local, &tree(70), "s 0:0", "is nested too deep");
    // A structure that holds itself, by number.
    let itself = "i int int 4 signed\n s struct sample 4 :2@0 a:i@0";
    check(FieldExists, local, itself, "s 0:0", "is nested too deep");
}

#[test]
fn comparisons_end() {
    let ring = "p ptr 1\n t typedef ring_t p";
    check(TypeExists, ring, ring, "t 0", "is nested too deep");
    check(TypeMatches, ring, ring, "t 0", "is nested too deep");
    let typedefs = "t typedef name_t 1";
    check(
        TypeExists,
        typedefs,
        typedefs,
        "t 0",
        "leads to type 1, which leads nowhere",
    );
    let protos = "o proto 1 1 1 1\n t typedef name_t o";
    check(TypeExists, protos, protos, "t 0", "is nested too deep");
    check(TypeMatches, protos, protos, "t 0", "is nested too deep");
    let members = "s struct sample 8 a:1@0 b:1@0 c:1@0";
    check(TypeMatches, members, members, "s 0", "is nested too deep");
    let arrays = "i int int 4 signed\n a array 2 4\n s struct sample 4 a:a@0";
    check(FieldExists, arrays, arrays, "s 0:0", "is nested too deep");
    check(
        FieldByteOffset,
        arrays,
        arrays,
        "s 0:0:1",
        "whose size is not known",
    );
}

#[test]
fn dangling_types_are_refused() {
    let local = "i int int 4 signed\n s struct sample 4 a:i@0";
    check(
        FieldExists,
        local,
        "s struct sample 4 a:99@0",
        "s 0:0",
        "leads to type 99, which leads nowhere",
    );
    check(
        FieldExists,
        "s struct sample 4 a:99@0",
        local,
        "s 0:0",
        "leads to type 99, which leads nowhere",
    );
    check(
        TypeExists,
        "t typedef t 99",
        "t typedef t 99",
        "t 0",
        "leads to type 1, which leads nowhere",
    );
    check(
        FieldExists,
        "t typedef t 1",
        local,
        "t 0:0",
        "leads to type 1, which leads nowhere",
    );
    check(
        FieldExists,
        local,
        local,
        "nobody 0:0",
        "leads to type 999, which leads nowhere",
    );
    let long = vec!["0"; 65].join(":");
    check(
        FieldExists,
        local,
        local,
        &format!("s {long}"),
        "is nested too deep",
    );
    check(
        FieldExists,
        local,
        local,
        "s 4294967295",
        "has nothing with number 4294967295",
    );
    check(
        FieldExists,
        "s struct sample 4294967295 a:1@0",
        local,
        "s 9",
        "whose size is not known",
    );
}
