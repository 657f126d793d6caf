//! More than one relocation: what is poisoned, what is told, what is ruled out.

use super::*;
use crate::object::CoreKind::{FieldByteOffset, FieldByteSize, FieldExists, TypeExists};
use crate::object::SourceText;
use std::collections::BTreeMap;

const LOCAL: &str = "i int int 4 signed\n s struct sample 12 a:i@0 b:i@32 c:i@64";

fn relocation(insn: u32, kind: CoreKind, access: &str) -> CoreReloc {
    CoreReloc {
        insn,
        kind,
        type_id: 2,
        access: path(access),
    }
}

#[test]
fn a_failure_poisons_its_instruction_alone() {
    let local = Btf::parse(types(LOCAL).0).unwrap();
    let target =
        Btf::parse(types("i int int 4 signed\n s struct sample 8 z:i@0 a:i@32").0).unwrap();
    let mut insns = insn("wide 4");
    insns.extend(insn("ldx4 0"));
    insns.extend(insn("mov 4"));
    let spec = Spec {
        files: vec![SourceFile {
            name: "x.bpf.c".to_owned(),
            text: SourceText::Lines(BTreeMap::from([(7, "return s->b;".to_owned())])),
        }],
        ..Spec::default()
    };
    let line = |insn, line| LineInfo {
        insn,
        file: 0,
        line,
        column: 1,
    };
    let program = ProgramSpec {
        insns,
        core: vec![
            relocation(0, FieldByteOffset, "0:1"),
            relocation(2, FieldByteOffset, "0:0"),
            relocation(3, FieldByteSize, "0:0"),
        ],
        lines: vec![line(0, 7), line(2, 8)],
        ..ProgramSpec::default()
    };
    let done = relocate(&spec, &program, &local, &Target::new(&target));
    let text: Vec<String> = [&done.insns[..2], &done.insns[2..3], &done.insns[3..]]
        .map(said)
        .into();
    assert_eq!(text, ["poison", "off 4 size 4", "imm 4"]);
    assert_eq!(done.failures.len(), 1);
    let failure = done.failure_at(0).unwrap();
    assert_eq!(
        failure.to_string(),
        "the offset of struct sample.b (0:1) (x.bpf.c:7, instruction 0): no type of the target \
         fits: struct sample (vmlinux type 2) has no member `b`"
    );
    let source = failure.source.as_ref().unwrap();
    assert_eq!(source.text.as_deref(), Some("return s->b;"));
    assert_eq!((failure.relocation, failure.kind.name()), (0, "byte_off"));
    assert!(done.refusal().is_none() && done.failure_at(2).is_none());
    // A wide instruction without its second slot, and no instruction at all.
    let cut = ProgramSpec {
        insns: insn("wide 4")[..1].to_vec(),
        core: vec![
            relocation(0, FieldByteOffset, "0:0"),
            relocation(9, FieldByteOffset, "0:0"),
        ],
        ..ProgramSpec::default()
    };
    let done = relocate(&spec, &cut, &local, &Target::new(&target));
    assert_eq!(said(&done.insns), "poison");
    let reasons: Vec<_> = done.failures.iter().map(|f| f.reason.clone()).collect();
    assert_eq!(reasons, [Reason::Instruction, Reason::Instruction]);
    assert_eq!(done.refusal(), done.failures.first());
}

#[test]
fn what_one_relocation_rules_out_stays_out() {
    let local = Btf::parse(types(LOCAL).0).unwrap();
    let target = "i int int 4 signed
        s struct sample___1 12 a:i@32 b:i@64
        t struct sample___2 12 a:i@0";
    let target = Btf::parse(types(target).0).unwrap();
    let one = |kind, access| ProgramSpec {
        insns: insn(if kind == FieldExists {
            "mov 1"
        } else {
            "mov 0"
        }),
        core: vec![relocation(0, kind, access)],
        ..ProgramSpec::default()
    };
    let spec = Spec::default();
    let whole = Target::new(&target);
    let a = one(FieldByteOffset, "0:0");
    assert!(relocate(&spec, &a, &local, &whole).refusal().is_some());
    // Only one of the types has `b`, so it is the one meant.
    let b = one(FieldExists, "0:1");
    assert_eq!(said(&relocate(&spec, &b, &local, &whole).insns), "imm 1");
    assert_eq!(said(&relocate(&spec, &a, &local, &whole).insns), "imm 4");
    // None has `c`; nothing is ruled out by that.
    let c = one(FieldExists, "0:2");
    assert_eq!(said(&relocate(&spec, &c, &local, &whole).insns), "imm 0");
    assert_eq!(said(&relocate(&spec, &a, &local, &whole).insns), "imm 4");
    // Another object's types begin anew.
    let other = Btf::parse(types(LOCAL).0).unwrap();
    assert!(relocate(&spec, &a, &other, &whole).refusal().is_some());
}

#[test]
fn modules_come_after_the_kernel() {
    use kscope_testkit::btf::{BtfWriter, Order};
    let local = "i int int 4 signed\n s struct sample 12 a:i@0\n m struct mine 4 m:i@0";
    let local = Btf::parse(types(local).0).unwrap();
    let mut kernel = BtfWriter::new(Order::Little);
    let int = kernel.int("int", 4, 1);
    kernel.structure("sample", 8, &[("z", int, 0, 0), ("a", int, 32, 0)]);
    let base = Btf::parse(kernel.blob()).unwrap();
    let module = |name: &str, at: u32| {
        let mut w = BtfWriter::split(&kernel);
        w.structure("sample", 8, &[("a", int, 0, 0)]);
        w.structure("mine", 32, &[("m", int, at, 0)]);
        Module {
            name: name.to_owned(),
            btf: Btf::parse_split(w.blob(), &base).unwrap(),
        }
    };
    let check = |type_id, kind, modules: &[(&str, u32)], expected: &str| {
        let program = ProgramSpec {
            insns: insn(if kind == TypeExists { "mov 1" } else { "mov 0" }),
            core: vec![CoreReloc {
                insn: 0,
                kind,
                type_id,
                access: path(if kind == TypeExists { "0" } else { "0:0" }),
            }],
            ..ProgramSpec::default()
        };
        let asked = core::cell::Cell::new(0);
        let target = Target::new(&base).with_modules(|| {
            asked.set(asked.get() + 1);
            modules.iter().map(|&(name, at)| module(name, at)).collect()
        });
        let spec = Spec::default();
        let first = relocate(&spec, &program, &local, &target);
        let again = relocate(&spec, &program, &local, &target);
        assert_eq!(first, again);
        let found = match first.failures.first() {
            Some(failure) => failure.to_string(),
            None => said(&first.insns),
        };
        assert_eq!(found, expected);
        asked.get()
    };
    // The kernel has one: modules are not asked.
    assert_eq!(check(2, FieldByteOffset, &[("m1", 64)], "imm 4"), 0);
    assert_eq!(check(3, FieldByteOffset, &[("m1", 64)], "imm 8"), 1);
    assert_eq!(check(3, TypeExists, &[("m1", 64)], "imm 1"), 1);
    assert_eq!(check(3, TypeExists, &[], "imm 0"), 1);
    assert_eq!(
        check(3, FieldByteOffset, &[("m1", 64), ("m2", 64)], "imm 8"),
        1
    );
    let ambiguous = "the offset of struct mine.m (0:0) (instruction 0): the target has more than \
                     one type of this name, with the member at bit 64 and at bit 96";
    check(3, FieldByteOffset, &[("m1", 64), ("m2", 96)], ambiguous);
}
