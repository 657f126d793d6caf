//! Nothing in a source makes the parser panic, recurse without bound or take long.

use super::tree::Script;
use super::{MAX_DEPTH, MAX_FINDINGS, MAX_SOURCE, Positional, dump, parse};
use crate::diagnostic::Diagnostic;

fn parse_plain(source: &str) -> (Script, Vec<Diagnostic>) {
    parse(source, &Positional::default())
}

#[test]
fn depth_and_size_are_bounded() {
    let many = 100_000;
    let deep = [
        format!("begin {{ f({}", "(".repeat(many)),
        format!("begin {{ f({}", "-".repeat(many)),
        format!("begin {{ f({}", "- ".repeat(many)),
        format!("begin {{ f(1{}", "+1".repeat(many)),
        format!("begin {{ f(1{}", " ? 1 : 1".repeat(many)),
        format!("begin {{ f($x{}", ".x".repeat(many)),
        format!("begin {{ f($x{}", "[0]".repeat(many)),
        format!("begin {{ f({}", "@[".repeat(many)),
        format!("begin {{ {}", "{".repeat(many)),
        format!("begin {{ {}", "if x {".repeat(many)),
        format!("begin {{ if x {{}} {}", "else if x {}".repeat(many / 2)),
        format!("begin {{ f({}", "(typeof(".repeat(many)),
        format!("begin {{ f({}", "sizeof(".repeat(many)),
        format!("begin {{ f((int{}", "*".repeat(many)),
        format!("struct a {{ {}", "struct {".repeat(many)),
        format!("begin {{ f({}", "if (if ".repeat(many / 2)),
        "#if 1\n".repeat(many),
    ];
    for source in &deep {
        let (tree, found) = parse_plain(source);
        assert!(!found.is_empty(), "{source:.40}");
        assert!(found.len() <= MAX_FINDINGS + 1, "{source:.40}");
        assert!(dump::script(&tree).len() < 1 << 20, "{source:.40}");
    }
    let long = " ".repeat(MAX_SOURCE + 1);
    assert_eq!(parse_plain(&long).1[0].id, "too-large");
    let fits = format!("begin {{ f(1{}); }}", "+1".repeat(MAX_DEPTH as usize - 10));
    assert_eq!(parse_plain(&fits).1, []);
}

#[test]
fn macros_cannot_explode() {
    let mut source = "#define A0 1 + 1\n".to_owned();
    for level in 1..31 {
        source += &format!("#define A{level} A{} + A{}\n", level - 1, level - 1);
    }
    source += "begin { f(A30); }";
    let (_, found) = parse_plain(&source);
    assert_eq!(found[0].id, "too-deep");
}

/// What mutations begin from: every kind of syntax.
const SAMPLES: &[&str] = &[
    "#!/usr/bin/env bpftrace\n#ifndef BPFTRACE_HAVE_BTF\n#include <x.h>\n#else\n#define AF_INET 2\n#endif\nstruct a { int x:3; struct { u8 b[4]; } c; } __attribute__((packed));\nenum e { A, B = 1 };\n",
    "config = { missing_probes = warn; x = \"y\" }\nlet @m = lruhash(4096);\nmacro f(a, $v, @m) { @m[a] = $v; if a { 1 } else { 2 } }\n",
    "BEGIN { printf(\"%d\\n\\x41\", (uint8)1); }\nk:a, uprobe:/bin/sh:\"f g\" /pid == $1 && (comm != \"x\") / 2/ {\n  @a[pid, comm] = count(); $x = args->y.z[1]; $x++; --@b; delete(@a[1]);\n}\n",
    "interval:1s { for ($kv : @a) { print($kv.0); } for $i : 0..10 { if $i > 5 { break; } else if comptime (x) { continue } } while (1) { return; } unroll(3) { _ = f(); } }\n",
    "end { let $r : struct s * = (a=1, b=(1, \"x\",)); print(sizeof(struct a) + offsetof(a_t, b.c) ?: $#); $y = { 1 }; $z = if a { 1 } else { 2 }; @ <<= ~!*$p; } /* é */ // ü\n",
];

#[test]
fn no_mutation_panics_or_hangs() {
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 1).unwrap_or(0) % below.max(1)
    };
    let whole = SAMPLES.concat();
    let interesting = b"(){}[]/*\"'\\$@#,;:.=+-<>?0aA_ \n\xff";
    for round in 0..600 {
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(4) {
                0 => bytes[at] = interesting[random(interesting.len())],
                1 => bytes.insert(at, interesting[random(interesting.len())]),
                2 => drop(bytes.drain(at..(at + random(20)).min(bytes.len()))),
                _ => {
                    let end = (at + random(60)).min(bytes.len());
                    let piece = bytes[at..end].to_vec();
                    let to = random(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                break;
            }
        }
        if round % 3 == 0 {
            bytes.truncate(random(bytes.len()));
        }
        let source = String::from_utf8_lossy(&bytes);
        let (tree, found) = parse_plain(&source);
        for one in &found {
            assert!(
                source.get(one.span.range()).is_some(),
                "{one:?} in {source}"
            );
        }
        let _ = dump::script(&tree);
    }
}

#[test]
fn every_truncation_parses() {
    let whole = SAMPLES.concat();
    assert_eq!(parse_plain(&whole).1, []);
    for (end, _) in whole.char_indices() {
        let (_, found) = parse_plain(&whole[..end]);
        assert!(
            found.len() <= 3,
            "{found:?} at {:?}",
            &whole[end.saturating_sub(30)..end]
        );
    }
}

/// A parser that looks at anything once more per line or per byte would take hours over these.
#[test]
fn long_sources_take_linear_time() {
    let fill = |piece: &str| piece.repeat(MAX_SOURCE / piece.len() / 8);
    let sources = [
        fill("/* "),
        fill("#define A 1\n"),
        format!("{}begin {{ {}", fill("#define A 1\n"), fill("f(A);")),
        fill("#endif\n"),
        fill("#if 1\n"),
        fill("\"\n"),
        fill("k:f,"),
        fill("k:f { "),
        fill("uprobe:/*\n"),
        format!("begin {{ f(({}", fill("a=1,")),
        format!("begin {{ f({}", fill("(a)")),
        format!("begin {{ f({}", fill("(a *)-")),
        format!("begin {{ f({}", fill("1,")),
        format!("begin {{ f({}", fill("sizeof(a[1]) + 1, ")),
        format!("begin {{ {}", fill("$x = 1;")),
        format!("begin {{ {}", fill("f() ")),
        format!("begin {{ {}", fill("{ } ")),
        format!("struct a {{ {}", fill("int a, b; ")),
        format!("macro m({}", fill("a,")),
    ];
    for source in &sources {
        let (tree, found) = parse_plain(source);
        assert!(found.len() <= MAX_FINDINGS + 1, "{source:.40}");
        assert!(dump::script(&tree).len() < 8 * MAX_SOURCE, "{source:.40}");
    }
}
