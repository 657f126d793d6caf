//! Programs in assembler, and the slots of them that no way leads to.

use super::*;
use crate::asm;
use crate::object::{FuncInfo, MapSpec};

/// A map `data` of constants, 1, 0, 0, 0 and then -2, and one of the same bytes that may change.
fn spec() -> Spec {
    let map = |name: &str, frozen, section: &str| MapSpec {
        name: name.to_owned(),
        kind: MapKind::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        initial: Some(vec![1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]),
        frozen,
        section: section.to_owned(),
        ..MapSpec::default()
    };
    Spec {
        maps: vec![
            map("data", true, ".rodata"),
            map("variables", false, ".data"),
            map("config", true, ".kconfig"),
        ],
        ..Spec::default()
    }
}

fn left_out(text: &str, funcs: &[u32]) -> String {
    let text = text.replace(" / ", "\n");
    let spec = spec();
    let done = asm::assemble(&text, &spec).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let of = |&insn: &u32| FuncInfo {
        insn,
        ..FuncInfo::default()
    };
    let program = ProgramSpec {
        insns: done.insns,
        relocs: done.relocs,
        funcs: funcs.iter().map(of).collect(),
        ..ProgramSpec::default()
    };
    let reached = reached(&spec, &program, &program.insns);
    let out = reached.iter().enumerate().filter(|(_, reached)| !**reached);
    let out: Vec<String> = out.map(|(slot, _)| slot.to_string()).collect();
    out.join(" ")
}

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(left_out(text, &[]), expected, "{text}");
}

#[test]
fn branches_on_constants() {
    check("r1 = 0 / if r1 == 0 goto a / call 1 / a: exit", "2");
    check("r1 = 1 / if r1 == 0 goto a / call 1 / a: exit", "");
    check("r1 = 1 / if r1 != 0 goto a / call 1 / a: exit", "2");
    check("r1 = -1 / if r1 s< 0 goto a / call 1 / a: exit", "2");
    check("w1 = -1 / if r1 s< 0 goto a / call 1 / a: exit", "");
    check("w1 = -1 / if w1 s< 0 goto a / call 1 / a: exit", "2");
    check("r1 = 6 / if r1 & 4 goto a / call 1 / a: exit", "2");
    check(
        "r1 = 1 / r1 <<= 32 / r1 s>>= 32 / if r1 == 1 goto a / call 1 / a: exit",
        "4",
    );
    check(
        "r1 = 0x100000000 ll / if r1 > 7 goto a / call 1 / a: exit",
        "3",
    );
    check("if r1 == 0 goto a / call 1 / a: exit", "");
    // Nothing is known of the register, and yet of its bits.
    check("r1 &= 0 / if r1 == 0 goto a / call 1 / a: exit", "2");
    // Of divisions verifiers make no number.
    check(
        "r1 = 6 / r1 /= 3 / if r1 == 2 goto a / call 1 / a: exit",
        "",
    );
    // What a comparison tells.
    check(
        "if r1 != 3 goto b / if r1 == 3 goto b / call 1 / b: exit",
        "2",
    );
}

#[test]
fn where_ways_meet() {
    let text = |one: i32, other: i32| {
        format!(
            "r6 = {one} / if r1 == 7 goto a / r6 = {other} / a: if r6 == 0 goto b / call 1 / b: exit"
        )
    };
    check(&text(0, 0), "4");
    check(&text(0, 1), "");
    // A loop in which it changes.
    check(
        "r6 = 0 / a: if r6 == 9 goto b / r6 += 1 / goto a / b: call 1 / exit",
        "",
    );
    // One in which it does not.
    check(
        "r6 = 0 / a: if r6 != 0 goto b / call 5 / goto a / b: call 1 / exit",
        "4 5",
    );
}

#[test]
fn calls() {
    // The arguments' registers are gone after a call, the others stay.
    check("r2 = 0 / call 5 / if r2 == 0 goto a / call 1 / a: exit", "");
    check(
        "r7 = 0 / call 5 / if r7 == 0 goto a / call 1 / a: exit",
        "3",
    );
    // A function that is only called where no way leads to.
    check(
        "r6 = 0 / if r6 == 0 goto a / call b / a: exit / b: r0 = 0 / exit",
        "2 4 5",
    );
    check(
        "r6 = 1 / if r6 == 0 goto a / call b / a: exit / b: r0 = 0 / exit",
        "",
    );
    // The kernel calls what nothing refers to.
    let text = "r6 = 0 / if r6 == 0 goto a / exit / a: exit / b: r0 = 0 / exit";
    assert_eq!(left_out(text, &[0, 4]), "2");
    assert_eq!(left_out(text, &[0]), "2 4 5");
}

#[test]
fn functions_of_the_kernel() {
    use crate::object::{ExternId, Reloc};
    let done = asm::assemble(
        "r6 = 0\na: call a\nif r6 == 0 goto b\ncall 1\nb: exit",
        &spec(),
    );
    let program = ProgramSpec {
        insns: done.expect("fine").insns,
        relocs: vec![Reloc {
            insn: 1,
            kind: RelocKind::Extern(ExternId(0)),
        }],
        ..ProgramSpec::default()
    };
    let reached = reached(&spec(), &program, &program.insns);
    assert_eq!(reached, [true, true, true, false, true]);
}

#[test]
fn the_stack() {
    let check = |before: &str, expected: &str| {
        let before = &format!("r7 = 3 / {before}");
        let text =
            format!("{before} / r6 = *(u64 *)(r10 - 8) / if r6 == 3 goto a / call 1 / a: exit");
        let lines = before.split(" / ").count();
        // The instruction behind the branch.
        let expected = match expected {
            "left out" => (lines + 2).to_string(),
            _ => String::new(),
        };
        assert_eq!(left_out(&text, &[]), expected, "{text}");
    };
    check("*(u64 *)(r10 - 8) = r7", "left out");
    // Older verifiers forget it.
    check("*(u64 *)(r10 - 8) = 3", "");
    check("r2 = 3 / *(u64 *)(r10 - 8) = r2", "left out");
    check("*(u64 *)(r10 - 8) = r7 / *(u8 *)(r10 - 1) = 1", "");
    check("*(u64 *)(r10 - 8) = r7 / *(u8 *)(r10 - 9) = 1", "left out");
    check("r2 = r10 / r2 += -8 / *(u64 *)(r2 + 0) = r7", "left out");
    check("*(u64 *)(r10 - 8) = r7 / *(u64 *)(r1 + 0) = 4", "left out");
    check("*(u64 *)(r10 - 8) = r7 / lock *(u64 *)(r10 - 8) += r1", "");
    // Through a pointer of which not all is known, or that a helper has.
    check(
        "*(u64 *)(r10 - 8) = r7 / r2 = r10 / r2 += r1 / *(u64 *)(r2 + 0) = 4",
        "",
    );
    check("*(u64 *)(r10 - 8) = r7 / r1 = r10 / r1 += -8 / call 4", "");
    check("*(u64 *)(r10 - 8) = r7 / r1 = r10 / r1 += -4 / call 4", "");
    check("*(u64 *)(r10 - 8) = r7 / r1 = 0 / call 4", "left out");
    check("*(u64 *)(r10 - 8) = r7 / r1 = r10 / call 4", "left out");
    // Through one that was stored elsewhere.
    check(
        "r2 = r10 / *(u64 *)(r1 + 0) = r2 / *(u64 *)(r10 - 8) = r7 / call 4",
        "",
    );
}

#[test]
fn functions_write_on_both_sides_of_a_pointer() {
    check(
        "r7 = 3 / *(u64 *)(r10 - 16) = r7 / r1 = r10 / r1 += -8 / call b / r6 = *(u64 *)(r10 - 16) / \
         if r6 == 3 goto a / call 1 / a: exit / b: *(u64 *)(r1 - 8) = 4 / r0 = 0 / exit",
        "",
    );
}

#[test]
fn of_the_stack_as_much_is_known_as_verifiers_keep() {
    let check = |size: &str, off: u32, number: u32, expected: &str| {
        let place = format!("*({size} *)(r10 - {off})");
        let text = format!(
            "r7 = {number} / {place} = r7 / r6 = {place} / if r6 == {number} goto a / call 1 / a: exit"
        );
        assert_eq!(left_out(&text, &[]), expected, "{text}");
    };
    check("u64", 8, 3, "4");
    // Since Linux 5.16 alone.
    check("u32", 8, 3, "");
    check("u32", 4, 3, "");
    check("u32", 4, 0, "4");
    // A part that is zero of a register that is not, and a zero without a register.
    for store in [
        "r7 = 0x100000000 ll / *(u32 *)(r10 - 4) = r7",
        "*(u32 *)(r10 - 4) = 0",
    ] {
        let text =
            format!("{store} / r6 = *(u32 *)(r10 - 4) / if r6 == 0 goto a / call 1 / a: exit");
        assert_eq!(left_out(&text, &[]), "", "{text}");
    }
    // Not of more places than there is room for.
    let stores = (2..=PLACES + 1).map(|i| format!("*(u64 *)(r10 - {}) = r7 / ", 8 * i));
    let stores = stores.collect::<String>();
    for (first, expected) in [("", "67"), ("*(u64 *)(r10 - 8) = r7 / ", "")] {
        let last = format!(
            "r6 = *(u64 *)(r10 - {}) / if r6 == 1 goto a / call 1 / a: exit",
            8 * (PLACES + 1)
        );
        assert_eq!(
            left_out(&format!("r7 = 1 / {first}{stores}{last}"), &[]),
            expected
        );
    }
}

#[test]
fn data() {
    let check = |map: &str, load: &str, expected: &str| {
        let text =
            format!("r1 = map_value({map}) + 0 ll / {load} / if r2 == 1 goto a / call 1 / a: exit");
        assert_eq!(left_out(&text, &[]), expected, "{text}");
    };
    check("data", "r2 = *(u32 *)(r1 + 0)", "4");
    check("data", "r2 = *(u8 *)(r1 + 0)", "4");
    check("data", "r2 = *(u64 *)(r1 + 0)", "");
    check("data", "r2 = *(u32 *)(r1 + 6)", "");
    check("variables", "r2 = *(u32 *)(r1 + 0)", "");
    check("config", "r2 = *(u32 *)(r1 + 0)", "");
    let text = "r1 = map_value(data) + 2 ll / r1 += 2 / r2 = *(s32 *)(r1 + 0) / if r2 == -2 goto a / call 1 / a: exit";
    assert_eq!(left_out(text, &[]), "5");
}

#[test]
fn what_cannot_be_followed_is_reached() {
    let bad = Insn {
        code: 0xff,
        ..Insn::default()
    };
    let insns = [
        asm::insns("r0 = 0\ngoto a\ncall 1\na: exit").expect("fine"),
        vec![bad],
    ]
    .concat();
    let program = ProgramSpec::default();
    assert_eq!(reached(&spec(), &program, &insns), [true; 5]);
    assert_eq!(
        reached(&spec(), &program, &insns[..4]),
        [true, true, false, true]
    );
    assert!(reached(&spec(), &program, &[]).is_empty());
}
