use super::*;
use crate::object::CoreKind::{
    FieldByteOffset, FieldByteSize, FieldExists, FieldLeftShift, FieldRightShift, FieldSigned,
};

const INTS: &str = "
    i int int 4 signed
    u int unsigned 4 unsigned
    l int long 8 signed
    ul int ulong 8 unsigned
    c int char 1 char
    b int _Bool 1 bool
    h int short 2 unsigned
";

/// The object reads `sample` as it knows it; the target's is given.
fn check(kind: CoreKind, target: &str, access: &str, insn: &str, expected: &str) {
    let local = "
        p ptr void
        in struct inner 8 x:i@0 y:i@32
        an struct - 8 deep:i@0 low:i@32
        a array i 4
        a2 array a 2
        f array in 0
        e enum color 4 RED=0
        fw fwd other
        d float double 8
        s struct sample 200 a:i@0 u:u@32 p:p@64 in:in@128 :an@192 arr:a@256 two:a2@384 e:e@640 b1:u@672/3 ul:ul@704 d:d@768 fl:f@800
        t typedef sample_t s
        no struct nowhere 4 a:i@0
    ";
    let (local, target) = (format!("{INTS}{local}"), format!("{INTS}{target}"));
    assert_eq!(
        relocated(kind, &local, &target, access, insn),
        expected,
        "{target}"
    );
}

#[test]
fn offsets() {
    let check =
        |target, access, insn, expected| check(FieldByteOffset, target, access, insn, expected);
    let target = "s struct sample 8 z:i@0 a:i@32";
    check(target, "s 0:0", "mov 0", "imm 4");
    check(target, "s 0:0", "ldx4 0", "off 4 size 4");
    check(target, "s 0:0", "stx4 0", "off 4 size 4");
    check(target, "s 0:0", "st4 0", "off 4 size 4");
    check(target, "s 0:0", "wide 0", "wide 4");
    // A pointer as an array: sizes of both sides count.
    check(target, "s 2:0", "mov 400", "imm 20");
    // Anonymous on one side, on the other, on both.
    check(
        "n struct - 8 a:i@0 p:i@32\n s struct sample 16 x:l@0 :n@64",
        "s 0:0",
        "ldx4 0",
        "off 8 size 4",
    );
    check(
        "s struct sample 16 x:l@0 low:i@96",
        "s 0:4:1",
        "ldx4 28",
        "off 12 size 4",
    );
    check(
        "n struct - 8 low:i@0\n m union - 8 :n@32\n s struct sample 16 x:l@0 :m@64",
        "s 0:4:1",
        "ldx4 28",
        "off 12 size 4",
    );
    // Structures and unions mix, typedefs and qualifiers vanish.
    check(
        "n union other 8 q:i@0 y:i@0\n c const n\n t typedef t c\n s struct sample 16 x:l@0 in:t@64",
        "s 0:3:1",
        "ldx4 20",
        "off 8 size 4",
    );
    // Flavours on either side.
    check(
        "s struct sample___old 8 z:i@0 a:i@32",
        "s 0:0",
        "ldx4 0",
        "off 4 size 4",
    );
    // Typedefs are looked for as typedefs.
    check(
        "s struct x 8 z:i@0 a:i@32\n t typedef sample_t s",
        "t 0:0",
        "ldx4 0",
        "off 4 size 4",
    );
    // Declared types, enumerations and numbers.
    check(
        "e enum color___new 4 X=0\n s struct sample 8 z:i@0 e:e@32",
        "s 0:7",
        "ldx4 80",
        "off 4 size 4",
    );
    check(
        "e enum - 4 X=0\n s struct sample 8 z:i@0 e:e@32",
        "s 0:7",
        "ldx4 80",
        "off 4 size 4",
    );
    check(
        "e enum64 color X=0\n s struct sample 8 z:i@0 e:e@64",
        "s 0:7",
        "mov 80",
        "imm 8",
    );
    check(
        "d float float 4\n s struct sample 8 z:i@0 d:d@32",
        "s 0:10",
        "mov 96",
        "imm 4",
    );
}

#[test]
fn arrays() {
    let check =
        |target, access, insn, expected| check(FieldByteOffset, target, access, insn, expected);
    check(
        "a array i 3\n s struct sample 16 z:i@0 arr:a@32",
        "s 0:5:2",
        "ldx4 40",
        "off 12 size 4",
    );
    check(
        "a array i 0\n s struct sample 4 z:i@0 arr:a@32",
        "s 0:5:2",
        "ldx4 40",
        "off 12 size 4",
    );
    check(
        "a array i 5\n b array a 2\n s struct sample 44 z:i@0 two:b@32",
        "s 0:6:1:2",
        "ldx4 72",
        "off 32 size 4",
    );
    check(
        "n struct inner 12 q:l@0 x:i@64\n a array n 0\n s struct sample 4 z:i@0 fl:a@32",
        "s 0:11:3:0",
        "ldx4 124",
        "off 48 size 4",
    );
    // The whole array: its elements' size is that of the load.
    check(
        "a array i 3\n s struct sample 16 z:i@0 arr:a@32",
        "s 0:5",
        "mov 32",
        "imm 4",
    );
    check(
        "a array i 2\n s struct sample 16 z:i@0 arr:a@32",
        "s 0:5:2",
        "ldx4 40",
        "the offset of struct sample.arr[2] (0:5:2) (instruction 0): no type of the target fits: \
         struct sample (vmlinux type 9) has 2 elements, of which 2 is none",
    );
    check(
        "a array i 0\n s struct sample 16 arr:a@0 z:i@32",
        "s 0:5:0",
        "ldx4 32",
        "the offset of struct sample.arr[0] (0:5:0) (instruction 0): no type of the target fits: \
         struct sample (vmlinux type 9) has 0 elements, of which 0 is none",
    );
    check(
        "s struct sample 16 arr:i@0 z:i@32",
        "s 0:5:0",
        "ldx4 32",
        "the offset of struct sample.arr[0] (0:5:0) (instruction 0): no type of the target fits: \
         struct sample (vmlinux type 8) has `arr` of type `int` in place of `int[4]`",
    );
}

#[test]
fn sizes_of_loads() {
    let check =
        |target, access, insn, expected| check(FieldByteOffset, target, access, insn, expected);
    // Unsigned integers may grow and shrink; `char` and `_Bool` count as unsigned.
    check(
        "s struct sample 16 u:ul@64",
        "s 0:1",
        "ldx4 4",
        "off 8 size 8",
    );
    check(
        "s struct sample 16 ul:h@64",
        "s 0:9",
        "ldx8 88",
        "off 8 size 2",
    );
    check(
        "s struct sample 16 ul:c@64",
        "s 0:9",
        "ldx8 88",
        "off 8 size 1",
    );
    check(
        "s struct sample 16 ul:b@64",
        "s 0:9",
        "stx8 88",
        "off 8 size 1",
    );
    check(
        "s struct sample 16 ul:u@64",
        "s 0:9",
        "st8 88",
        "off 8 size 4",
    );
    // An immediate has no size.
    check("s struct sample 16 a:l@64", "s 0:0", "mov 0", "imm 8");
    check(
        "s struct sample 16 a:l@64",
        "s 0:0",
        "ldx4 0",
        "the offset of struct sample.a (0:0) (instruction 0): the target has 8 bytes there, the \
         object 4; only pointers and unsigned integers are read with another size",
    );
    check(
        "s struct sample 16 u:ul@64",
        "s 0:1",
        "ldx2 4",
        "refused: the offset of struct sample.u (0:1) (instruction 0): the instruction takes 2 \
         bytes of a member of 4",
    );
    check(
        "w int wide 16 unsigned\n s struct sample 16 u:w@64",
        "s 0:1",
        "ldx4 4",
        "refused: the offset of struct sample.u (0:1) (instruction 0): the target has 16 bytes \
         there, which no load or store takes",
    );
}

#[test]
fn bitfields() {
    let target = "s struct sample 16 z:l@0 b1:u@69/5";
    check(FieldByteOffset, target, "s 0:8", "ldx4 999", "off 8 size 4");
    check(FieldByteSize, target, "s 0:8", "mov 999", "imm 4");
    check(FieldLeftShift, target, "s 0:8", "mov 999", "imm 54");
    check(FieldRightShift, target, "s 0:8", "mov 61", "imm 59");
    check(FieldSigned, target, "s 0:8", "mov 0", "imm 0");
    check(FieldExists, target, "s 0:8", "mov 1", "imm 1");
    // Across a word: a longer load.
    let target = "s struct sample 16 z:l@0 b1:u@90/12";
    check(FieldByteOffset, target, "s 0:8", "mov 999", "imm 8");
    check(FieldByteSize, target, "s 0:8", "mov 999", "imm 8");
    check(FieldLeftShift, target, "s 0:8", "mov 999", "imm 26");
    check(FieldRightShift, target, "s 0:8", "mov 61", "imm 52");
    // No bitfield in the target.
    let target = "s struct sample 16 z:l@0 b1:i@64";
    check(FieldByteOffset, target, "s 0:8", "mov 999", "imm 8");
    check(FieldSigned, target, "s 0:8", "mov 0", "imm 1");
    check(FieldLeftShift, target, "s 0:8", "mov 999", "imm 32");
    check(
        FieldByteOffset,
        target,
        "s 0:8",
        "ldx4 84",
        "the offset of struct sample.b1 (0:8) (instruction 0): the target has 4 bytes there, the \
         object 0; only pointers and unsigned integers are read with another size",
    );
    check(
        FieldByteSize,
        "s struct sample 16 b1:ul@60/40",
        "s 0:8",
        "mov 999",
        "refused: the size of struct sample.b1 (0:8) (instruction 0): the bitfield lies across \
         more than eight bytes of one load",
    );
    // The sign and the right shift are known for certain.
    check(
        FieldRightShift,
        target,
        "s 0:8",
        "mov 60",
        "refused: the bits of struct sample.b1 (0:8) (instruction 0): the instruction has 60 where \
         the object's types give 61",
    );
}

#[test]
fn other_questions() {
    let target = "s struct sample 16 z:l@0 a:ul@64";
    check(FieldByteSize, target, "s 0:0", "mov 4", "imm 8");
    check(FieldSigned, target, "s 0:0", "mov 1", "imm 0");
    check(FieldLeftShift, target, "s 0:0", "mov 32", "imm 0");
    check(FieldRightShift, target, "s 0:0", "mov 32", "imm 0");
    check(FieldExists, target, "s 0:0", "mov 1", "imm 1");
    check(FieldExists, target, "s 0:1", "mov 1", "imm 0");
    check(FieldExists, target, "no 0:0", "mov 1", "imm 0");
    check(
        FieldExists,
        "s struct sample 16 a:s2@64".replace("s2", "l").as_str(),
        "s 0:0",
        "wide 1",
        "wide 1",
    );
    check(
        FieldByteSize,
        "n array i 6\n s struct sample 32 arr:n@0",
        "s 0:5",
        "mov 16",
        "imm 24",
    );
    check(
        FieldByteSize,
        "n array l 4\n s struct sample 32 arr:n@0",
        "s 0:5:1",
        "mov 4",
        "imm 8",
    );
    let e = "e enum color 4 RED=-1\n s struct sample 4 e:e@0";
    check(FieldSigned, e, "s 0:7", "mov 0", "imm 1");
    check(
        FieldSigned,
        "n array i 6\n s struct sample 32 arr:n@0",
        "s 0:5:1",
        "mov 1",
        "refused: the sign of struct sample.arr[1] (0:5:1) (instruction 0): only offset and size \
         can be asked of an array's element",
    );
}

#[test]
fn what_does_not_fit_says_why() {
    let check =
        |target, access, insn, expected| check(FieldByteOffset, target, access, insn, expected);
    check(
        "",
        "no 0:0",
        "mov 0",
        "the offset of struct nowhere.a (0:0) (instruction 0): the target has no type of this name",
    );
    check(
        "s union sample 4 a:i@0",
        "s 0:0",
        "mov 0",
        "the offset of struct sample.a (0:0) (instruction 0): the target has no type of this name",
    );
    check(
        "s struct sample 4 ars:i@0",
        "s 0:5",
        "mov 32",
        "the offset of struct sample.arr (0:5) (instruction 0): no type of the target fits: struct \
         sample (vmlinux type 8) has no member `arr`, but `ars`",
    );
    check(
        "in struct inner 4 z:i@0\n s struct sample 4 in:in@0",
        "s 0:3:0",
        "mov 16",
        "the offset of struct sample.in.x (0:3:0) (instruction 0): no type of the target fits: \
         struct sample (vmlinux type 9) has no member `x` in struct inner",
    );
    check(
        "s struct sample 4 in:i@0",
        "s 0:3:0",
        "mov 16",
        "the offset of struct sample.in.x (0:3:0) (instruction 0): no type of the target fits: \
         struct sample (vmlinux type 8) has `in` of type `int` in place of `struct inner`",
    );
    check(
        "e enum colour 4 X=0\n s struct sample 8 e:e@32",
        "s 0:7",
        "mov 80",
        "the offset of struct sample.e (0:7) (instruction 0): no type of the target fits: struct \
         sample (vmlinux type 9) has `e` of type `enum colour` in place of `enum color`",
    );
    check(
        "s struct sample___one 4 z:i@0\n r struct sample___two 4 y:i@0",
        "s 0:2",
        "mov 8",
        "the offset of struct sample.p (0:2) (instruction 0): no type of the target fits: struct \
         sample___one (vmlinux type 8) has no member `p`; struct \
         sample___two (vmlinux type 9) has no member `p`",
    );
}

#[test]
fn types_of_one_name_must_agree() {
    let check = |kind, target, insn, expected| check(kind, target, "s 0:0", insn, expected);
    let same = "s struct sample___1 8 z:i@0 a:i@32\n t struct sample___2 8 y:i@0 a:i@32\n u struct sample 4 z:i@0";
    check(FieldByteOffset, same, "ldx4 0", "off 4 size 4");
    let other = "s struct sample___1 8 z:i@0 a:i@32\n t struct sample___2 8 y:l@0 a:i@64";
    check(
        FieldByteOffset,
        other,
        "ldx4 0",
        "refused: the offset of struct sample.a (0:0) (instruction 0): the target has more than \
         one type of this name, with the member at bit 32 and at bit 64",
    );
    let size = "s struct sample___1 8 a:i@0\n t struct sample___2 8 a:l@0";
    check(
        FieldByteSize,
        size,
        "mov 4",
        "refused: the size of struct sample.a (0:0) (instruction 0): the target has more than one \
         type of this name, for which the value is 4 and 8",
    );
    check(FieldExists, size, "mov 1", "imm 1");
}

#[test]
fn instructions_are_checked() {
    let check = |target: &str, insn: &str, expected: &str| {
        check(FieldByteOffset, target, "s 0:0", insn, expected);
    };
    let target = "s struct sample 8 z:i@0 a:i@32";
    let refused =
        |why: &str| format!("refused: the offset of struct sample.a (0:0) (instruction 0): {why}");
    let mismatch = |found: &str| {
        refused(&format!(
            "the instruction has {found} where the object's types give 0"
        ))
    };
    check(target, "mov 3", &mismatch("3"));
    check(target, "ldx4 -8", &mismatch("-8"));
    check(target, "wide 7", &mismatch("7"));
    let none = refused("the instruction is none that can be relocated");
    check(target, "movr 0", &none);
    check(target, "ja 0", &none);
    check(
        "s struct sample 99999 a:i@524288",
        "ldx4 0",
        &refused("offset 65536 is too large for a load or store"),
    );
    check("s struct sample 99999 a:i@524288", "mov 0", "imm 65536");
}

#[test]
fn pointers_have_the_target_s_size() {
    let local = "p ptr void\n l int long 8 signed\n s struct sample 16 a:p@0 b:p@64";
    let check = |target: &str, kind, access, insn, expected: &str| {
        assert_eq!(
            relocated(kind, local, target, access, insn),
            expected,
            "{target}"
        );
    };
    // The size of `long` tells it, in any of its spellings; 64 bits where there is none.
    for long in ["long", "long~unsigned~int"] {
        let target = format!("p ptr void\n l int {long} 4 signed\n s struct sample 8 a:p@0 b:p@32");
        check(&target, FieldByteOffset, "s 0:1", "ldx8 8", "off 4 size 4");
        check(&target, FieldByteSize, "s 0:1", "mov 8", "imm 4");
        check(&target, FieldRightShift, "s 0:1", "mov 0", "imm 32");
    }
    let target = "p ptr void\n l int other 4 signed\n s struct sample 16 a:p@0 b:p@128";
    check(target, FieldByteOffset, "s 0:1", "ldx8 8", "off 16 size 8");
}

#[test]
fn shifts_depend_on_the_byte_order() {
    let text = "u int unsigned 4 unsigned\n s struct sample 8 a:u@3/5 b:u@32";
    let (bytes, labels) = types(text);
    let types = Btf::parse(bytes).unwrap();
    let check = |byte_order, access: &str, old: &str, expected: &str| {
        let spec = Spec {
            byte_order,
            ..Spec::default()
        };
        let program = program(FieldLeftShift, &labels, access, old);
        let done = relocate(&spec, &program, &types, &Target::new(&types));
        assert_eq!(said(&done.insns), expected, "{:?}", done.failures);
    };
    check(ByteOrder::Little, "s 0:0", "mov 0", "imm 56");
    check(ByteOrder::Big, "s 0:0", "mov 0", "imm 35");
    check(ByteOrder::Little, "s 0:1", "mov 32", "imm 32");
    check(ByteOrder::Big, "s 0:1", "mov 32", "imm 32");
}
