//! Types that never end, and those that lead nowhere.

use super::*;
use crate::core::view::Budget;
use crate::object::CoreKind::{EnumValue, FieldByteOffset, FieldExists, TypeExists, TypeMatches};
use crate::object::SourceText;
use std::collections::BTreeMap;

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

const EXHAUSTED: &str = "is not looked at: the object's relocations before it took all of the 16 million \
                         steps that they may take together; split the object into several";

/// A sixteenth of what objects may take.
const BUDGET: usize = 1 << 20;

/// Relocates many instructions alike.
fn many(count: usize, kind: CoreKind, local: &str, target: &str, access: &str) -> Relocated {
    let (bytes, labels) = types(local);
    let local = Btf::parse(bytes).expect("the object's types");
    let target = Btf::parse(types(target).0).expect("the target's types");
    let mut program = program(kind, &labels, access, "mov 1");
    let text = "x".repeat(4000);
    let spec = Spec {
        files: vec![SourceFile {
            name: "x.bpf.c".to_owned(),
            text: SourceText::Lines(BTreeMap::from([(1, text)])),
        }],
        ..Spec::default()
    };
    program.insns = vec![program.insns[0]; count];
    let all = (0..count as u32).map(|insn| CoreReloc {
        insn,
        ..program.core[0].clone()
    });
    program.core = all.collect();
    program.lines = vec![LineInfo {
        insn: 0,
        file: 0,
        line: 1,
        column: 1,
    }];
    let mut whole = Target::new(&target);
    whole.budget = Budget::of(BUDGET);
    let done = relocate(&spec, &program, &local, &whole);
    // Another object is not held back by this one.
    let other = Btf::parse(local.bytes().to_vec()).expect("the same types");
    let one = ProgramSpec {
        core: vec![program.core[0].clone()],
        ..program
    };
    let again = relocate(&spec, &one, &other, &whole);
    let first = done.failures.first();
    assert_eq!(again.failures.first(), first.filter(|f| f.relocation == 0));
    done
}

#[test]
fn all_relocations_of_an_object_end() {
    let local = "i int int 4 signed\n s struct sample 4 a:i@0";
    let done = many(100, FieldExists, local, &tree(40), "s 0:0");
    let (first, last) = (&done.failures[0], &done.failures[99]);
    assert!(first.to_string().ends_with("is nested too deep"), "{first}");
    assert!(last.to_string().ends_with(EXHAUSTED), "{last}");
    assert!(done.refusal().is_some());
    let constants: String = (0..20_000).map(|n| format!(" C{n}=1")).collect();
    let local = format!("e enum numbers 4{constants}");
    let done = many(100, EnumValue, &local, &local, "e 19999");
    let last = done.failures.last().expect("a failure");
    assert!(last.to_string().ends_with(EXHAUSTED), "{last}");
    assert!(done.failures.len() < 60, "{}", done.failures.len());
    // More than objects have: thousands of looks at a structure of hundreds of members.
    let members: String = (0..300).map(|n| format!(" m{n}:i@{}", n * 32)).collect();
    let local = format!("i int int 4 signed\n s struct sample 1200{members}");
    let done = many(1000, FieldExists, &local, &local, "s 0:299");
    assert_eq!(done.failures.first(), None);
}

#[test]
fn texts_of_failed_relocations_are_bounded() {
    const COUNT: usize = 200;
    let long = "y".repeat(4000);
    let mut local = "i int int 4 signed\n s0 struct - 4 x:i@0\n".to_owned();
    for level in 1..60 {
        let before = level - 1;
        local += &format!("s{level} struct here_{level} 4 {long}:s{before}@0\n");
    }
    let path = format!("s59 {}", vec!["0"; 60].join(":"));
    let none = "i int int 4 signed";
    assert_eq!(
        many(COUNT, FieldExists, &local, none, &path)
            .failures
            .first(),
        None
    );
    let failures = many(COUNT, FieldByteOffset, &local, none, &path).failures;
    assert_eq!(failures.len(), COUNT);
    assert!(failures[0].access.len() > 59 * 4000);
    let told = |failure: &Failure| {
        let text = failure.source.as_ref().and_then(|line| line.text.as_ref());
        failure.to_string().len() + text.map_or(0, String::len)
    };
    let told: usize = failures.iter().map(told).sum();
    assert!(told < BUDGET + (1 << 19) + COUNT * 300, "{told}");
    let last = &failures[COUNT - 1];
    assert_eq!(last.reason, Reason::NoCandidate);
    assert!(last.access.starts_with("type 61 (0:0:"), "{}", last.access);
}
