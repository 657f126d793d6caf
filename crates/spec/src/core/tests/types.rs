use super::*;
use crate::object::CoreKind::{
    EnumValue, EnumValueExists, TypeExists, TypeIdLocal, TypeIdTarget, TypeMatches, TypeSize,
};

const LOCAL: &str = "
    i int int 4 signed
    u int unsigned 4 unsigned
    l int long 8 signed
    fs fwd far
    fp ptr fs
    in struct inner 8 x:i@0 y:i@32
    ip ptr in
    a array i 4
    o proto i ip u
    op ptr o
    v variadic i u
    e enum color 4 RED=0 BLUE=5 NEG=-3
    w enum64 wide BIG=4294967296 LOW=-2
    s struct sample 64 a:i@0 p:ip@64 in:in@128 arr:a@192 far:fp@320
    n union either 8 a:i@0 l:l@0
    t typedef name_t s
    ft typedef callback_t op
    vt typedef variadic_t v
    at typedef row_t a
    pt typedef handle_t ip
    k struct keep 16 e:e@0 f:op@64
    anon struct - 4 a:i@0
    it typedef num_t i
";

fn check(kind: CoreKind, target: &str, access: &str, insn: &str, expected: &str) {
    let target =
        format!("i int int 4 signed\n u int unsigned 4 unsigned\n l int long 8 signed\n{target}");
    let found = relocated(kind, LOCAL, &target, access, insn);
    assert_eq!(found, expected, "{kind:?} {access} {target}");
}

#[test]
fn existence_size_and_id() {
    let target = "x ptr i\n s struct sample 40\n t typedef name_t s\n f fwd far";
    check(TypeExists, target, "s 0", "mov 1", "imm 1");
    check(TypeExists, target, "t 0", "mov 1", "imm 1");
    check(TypeExists, target, "n 0", "mov 1", "imm 0");
    check(TypeExists, target, "fs 0", "mov 1", "imm 1");
    check(TypeExists, target, "l 0", "mov 1", "imm 1");
    check(TypeSize, target, "s 0", "mov 64", "imm 40");
    check(TypeSize, target, "t 0", "mov 64", "imm 40");
    check(TypeSize, target, "n 0", "mov 8", "imm 0");
    // Ids go wherever they stand: linkers number types anew.
    check(TypeIdTarget, target, "s 0", "wide 12345", "wide 5");
    check(TypeIdTarget, target, "n 0", "mov 12345", "imm 0");
    check(TypeIdLocal, target, "n 0", "mov 12345", "imm 15");
    check(TypeIdLocal, target, "anon 0", "wide 1", "wide 22");
    check(TypeSize, "f fwd sample", "s 0", "mov 64", "imm 0");
}

#[test]
fn typedefs_pointers_and_prototypes() {
    let exists =
        |target: &str, access, expected| check(TypeExists, target, access, "mov 1", expected);
    // Names behind the first do not count, kinds do.
    exists(
        "q struct other 1\n qp ptr q\n o proto l qp i\n op ptr o\n ft typedef callback_t op",
        "ft 0",
        "imm 1",
    );
    exists(
        "q union other 1\n qp ptr q\n o proto l qp i\n op ptr o\n ft typedef callback_t op",
        "ft 0",
        "imm 0",
    );
    exists(
        "q struct other 1\n qp ptr q\n o proto l qp\n op ptr o\n ft typedef callback_t op",
        "ft 0",
        "imm 0",
    );
    exists(
        "o proto void\n op ptr o\n ft typedef callback_t op",
        "ft 0",
        "imm 0",
    );
    exists("v variadic l u\n vt typedef variadic_t v", "vt 0", "imm 1");
    exists("v proto l u u\n vt typedef variadic_t v", "vt 0", "imm 0");
    exists("a array l 99\n at typedef row_t a", "at 0", "imm 1");
    exists(
        "p ptr i\n a array p 4\n at typedef row_t a",
        "at 0",
        "imm 0",
    );
    exists(
        "q struct other 1\n qp ptr q\n pt typedef handle_t qp",
        "pt 0",
        "imm 1",
    );
    exists("q struct other 1\n pt typedef handle_t q", "pt 0", "imm 0");
    exists("s union sample 4 a:i@0", "s 0", "imm 0");
    exists("f fwd sample", "s 0", "imm 0");
}

#[test]
fn types_that_match() {
    let matches =
        |target: &str, access, expected| check(TypeMatches, target, access, "mov 1", expected);
    let inner = "in struct inner 8 x:i@0 y:i@32 z:i@64\n ip ptr in\n a array i 4\n fs fwd far\n fp ptr fs\n";
    let all = "s struct sample 99 z:l@0 p:ip@64 a:i@128 in:in@192 arr:a@256 far:fp@384";
    matches(&format!("{inner}{all}"), "s 0", "imm 1");
    matches(
        &format!("{inner}{all}\n t typedef name_t s"),
        "t 0",
        "imm 1",
    );
    // One member less, of another type, of another sign, length, name of a structure.
    for (from, to) in [
        ("a:i@128", "b:i@128"),
        ("a:i@128", "a:l@128"),
        ("a:i@128", "a:u@128"),
        ("in:in@192", "in:ip@192"),
        ("far:fp@384", "far:ip@384"),
    ] {
        matches(&format!("{inner}{}", all.replace(from, to)), "s 0", "imm 0");
    }
    matches(
        &format!("{}{all}", inner.replace("array i 4", "array i 5")),
        "s 0",
        "imm 0",
    );
    matches(
        &format!("{}{all}", inner.replace("y:i@32", "yy:i@32")),
        "s 0",
        "imm 0",
    );
    // Behind a pointer a declared structure is enough, of the same name and kind.
    let declared = |kind: &str| {
        format!(
            "in struct inner 8 x:i@0 y:i@32\n far {kind}\n fp ptr far\n d fwd inner\n ip ptr d\n a array i 4\n {all}"
        )
    };
    matches(&declared("struct far 4 a:i@0"), "s 0", "imm 1");
    matches(&declared("union far 4 a:i@0"), "s 0", "imm 0");
    matches(&declared("struct further 4 a:i@0"), "s 0", "imm 0");
    matches(&declared("fwd_union far"), "s 0", "imm 0");
    matches("n union either 8 l:l@0 a:i@0", "n 0", "imm 1");
    matches("n union either 8 l:l@0", "n 0", "imm 0");
    // Constants by name, values do not count; the size does.
    matches("e enum color 4 BLUE=1 RED=2 NEG=3 MORE=4", "e 0", "imm 1");
    matches("e enum color 4 BLUE___x=1 RED=2 NEG=3", "e 0", "imm 1");
    matches("e enum color 4 BLUE=1 RED=2", "e 0", "imm 0");
    matches("e enum color 4 BLUE=1 RED=2 MORE=3", "e 0", "imm 0");
    matches("e enum color 2 BLUE=1 RED=2 NEG=3", "e 0", "imm 0");
    matches("e enum64 color BLUE=1 RED=2 NEG=3", "e 0", "imm 0");
    matches("e enum wide 8 BIG=1 LOW=2", "w 0", "imm 1");
    // Functions, with their parameters' types and number.
    let callback =
        "in struct inner 8\n ip ptr in\n o proto i ip u\n op ptr o\n ft typedef callback_t op";
    matches(callback, "ft 0", "imm 1");
    matches(&callback.replace("i ip u", "i ip i"), "ft 0", "imm 0");
    matches(&callback.replace("i ip u", "u ip u"), "ft 0", "imm 0");
    matches(&callback.replace("i ip u", "i ip"), "ft 0", "imm 0");
    matches("v variadic i u\n vt typedef variadic_t v", "vt 0", "imm 1");
    matches("it typedef num_t i", "it 0", "imm 1");
    matches("it typedef num_t u", "it 0", "imm 0");
}

#[test]
fn constants() {
    let target = "e enum color 4 GREEN=0 RED___old=7 NEG=-9\n w enum64 wide BIG=8589934592 LOW=-7";
    check(EnumValue, target, "e 0", "mov 0", "imm 7");
    check(EnumValue, target, "e 0", "wide 0", "wide 7");
    check(EnumValue, target, "e 2", "mov -3", "imm -9");
    check(EnumValue, target, "e 2", "wide -3", "wide -9");
    check(
        EnumValue,
        target,
        "w 0",
        "wide 4294967296",
        "wide 8589934592",
    );
    check(EnumValue, target, "w 1", "wide -2", "wide -7");
    check(EnumValueExists, target, "e 0", "mov 1", "imm 1");
    check(EnumValueExists, target, "e 1", "mov 1", "imm 0");
    check(EnumValueExists, "", "e 1", "mov 1", "imm 0");
    // 32-bit and 64-bit constants mix.
    check(
        EnumValue,
        "e enum64 color RED=8589934592",
        "e 0",
        "wide 0",
        "wide 8589934592",
    );
    check(
        EnumValue,
        target,
        "e 1",
        "wide 5",
        "the value of enum color::BLUE (1) (instruction 0): no type of the target fits: enum color \
         (vmlinux type 4) has no constant `BLUE`",
    );
    check(
        EnumValue,
        "e enum color___1 4 RED=1\n f enum color___2 4 RED=2",
        "e 0",
        "mov 0",
        "refused: the value of enum color::RED (0) (instruction 0): the target has more than one \
         type of this name, for which the value is 1 and 2",
    );
    check(
        EnumValue,
        target,
        "e 0",
        "mov 4",
        "refused: the value of enum color::RED (0) (instruction 0): the instruction has 4 where \
         the object's types give 0",
    );
    // A typedef may lead to anything.
    check(
        EnumValueExists,
        "t typedef color_t i",
        "e 0",
        "mov 1",
        "imm 0",
    );
}

#[test]
fn malformed_objects_are_refused() {
    let refused = |kind, access, expected: &str| {
        check(
            kind,
            "s struct sample 4 a:i@0",
            access,
            "mov 0",
            &format!("refused: {expected}"),
        );
    };
    refused(
        TypeExists,
        "s 1",
        "the existence of struct sample (1) (instruction 0): the object is malformed: its type has nothing with number 1",
    );
    refused(
        EnumValue,
        "e 3",
        "the value of enum color (3) (instruction 0): the object is malformed: its type has nothing with number 3",
    );
    refused(
        EnumValue,
        "e 0:0",
        "the value of enum color (0:0) (instruction 0): the object is malformed: its type has nothing with number 0",
    );
    refused(
        EnumValue,
        "s 0",
        "the value of struct sample (0) (instruction 0): the object is malformed: its type is `struct sample`, no enumeration",
    );
    refused(
        CoreKind::FieldExists,
        "s 0:9",
        "the existence of struct sample (0:9) (instruction 0): the object is malformed: its type has nothing with number 9",
    );
    refused(
        CoreKind::FieldExists,
        "s 0:0:0",
        "the existence of struct sample (0:0:0) (instruction 0): the object is malformed: its type has `int`, which has no members",
    );
    refused(
        CoreKind::FieldExists,
        "s 0:3:4",
        "the existence of struct sample (0:3:4) (instruction 0): the object is malformed: its type has 4 elements, of which 4 is none",
    );
    refused(
        CoreKind::FieldExists,
        "anon 0:0",
        "the existence of struct {...}.a (0:0) (instruction 0): the object's type has no name to look for",
    );
    refused(
        CoreKind::FieldExists,
        "fs 0",
        "the existence of struct far (0) (instruction 0): the object is malformed: its type leads to type 4, whose size is not known",
    );
    refused(
        TypeSize,
        "fs 0",
        "the size of struct far (instruction 0): the object is malformed: its type leads to type 4, whose size is not known",
    );
}
