//! The blob read back, and the rules that the kernel holds the records to.

use kscope_btf::Kind;
use kscope_spec::{AttachKind, Insn, ProgramType, SourceFile};

use super::*;

fn spec(funcs: &[(u32, &str)], lines: &[(u32, u32)]) -> Spec {
    let program = ProgramSpec {
        name: "main".to_owned(),
        kind: ProgramType::Kprobe,
        attach: AttachKind::None,
        insns: vec![Insn::default(); 20],
        relocs: Vec::new(),
        lines: lines
            .iter()
            .map(|&(insn, line)| kscope_spec::LineInfo {
                insn,
                file: 0,
                line,
                column: 3,
            })
            .collect(),
        funcs: funcs
            .iter()
            .map(|&(insn, name)| kscope_spec::FuncInfo {
                insn,
                name: name.to_owned(),
                ..kscope_spec::FuncInfo::default()
            })
            .collect(),
        flags: 0,
        ..ProgramSpec::default()
    };
    let file = SourceFile {
        name: "a.bt".to_owned(),
        text: SourceText::Whole("one\ntwo\r\n\nfour".to_owned()),
    };
    Spec {
        programs: vec![program],
        files: vec![file],
        ..Spec::default()
    }
}

type Function = (u32, String);
type Line = (u32, u32, String);

/// Gives functions by name, and lines as slot, number and text.
fn read(spec: &Spec) -> (Vec<Function>, Vec<Line>) {
    let built = ObjectBtf::build(spec, None, &Takes::everything());
    let btf = Btf::parse(built.blob.clone()).expect("well formed");
    btf.validate().expect("well formed");
    let words = |bytes: &[u8]| -> Vec<u32> {
        let (words, rest) = bytes.as_chunks();
        assert!(rest.is_empty());
        words.iter().map(|word| u32::from_ne_bytes(*word)).collect()
    };
    let records = built.records(0).expect("one program");
    let functions = words(&records.functions);
    let functions = functions.chunks(2).map(|record| {
        let id = TypeId(record[1]);
        assert_eq!(btf.kind(id), Some(Kind::Func));
        (record[0], btf.name(id).expect("named").to_owned())
    });
    let lines = words(&records.lines);
    let lines = lines.chunks(4).map(|record| {
        assert_eq!(btf.string(record[1]), Some("a.bt"));
        assert_eq!(record[3] & 0x3ff, 3);
        (
            record[0],
            record[3] >> 10,
            btf.string(record[2]).expect("a string").to_owned(),
        )
    });
    (functions.collect(), lines.collect())
}

#[test]
fn lines_are_quoted() {
    let (functions, lines) = read(&spec(&[(0, "main")], &[(0, 1), (3, 2), (4, 4), (9, 77)]));
    assert_eq!(functions, [(0, "main".to_owned())]);
    let expected = [(0, 1, "one"), (3, 2, "two"), (4, 4, "four"), (9, 77, "")];
    assert_eq!(
        lines,
        expected.map(|(insn, line, text)| (insn, line, text.to_owned()))
    );
}

#[test]
fn every_function_begins_with_a_line() {
    let starts = |funcs: &[(u32, &str)], lines: &[(u32, u32)]| -> Vec<(u32, u32)> {
        read(&spec(funcs, lines))
            .1
            .into_iter()
            .map(|(insn, line, _)| (insn, line))
            .collect()
    };
    let funcs = [(0, "main"), (6, "f"), (9, "g")];
    assert_eq!(
        starts(&funcs, &[(2, 1), (7, 2)]),
        [(0, 1), (2, 1), (6, 1), (7, 2), (9, 2)]
    );
    assert_eq!(
        starts(&funcs, &[(0, 1), (6, 2), (9, 4)]),
        [(0, 1), (6, 2), (9, 4)]
    );
    // Not ascending: what the kernel would refuse is left out.
    assert_eq!(
        starts(&[(0, "main")], &[(0, 1), (5, 2), (5, 4), (3, 1)]),
        [(0, 1), (5, 2)]
    );
    assert_eq!(starts(&funcs, &[]), []);
}

#[test]
fn functions_have_c_names() {
    let name = |name: &str| read(&spec(&[(0, name)], &[])).0[0].1.clone();
    assert_eq!(name("kprobe:vfs_*"), "kprobe_vfs__");
    assert_eq!(name("1st"), "_1st");
    assert_eq!(name(""), "_");
    assert_eq!(name(&"x".repeat(500)).len(), 127);
    // A program that names no functions is one.
    assert_eq!(read(&spec(&[], &[])).0, [(0, "main".to_owned())]);
}
