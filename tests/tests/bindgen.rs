//! Skeletons of objects: the text of one beside a golden file, which is compiled here as well.
//! `BLESS=1` writes it anew.

use kscope_bindgen::{Options, generate};
use kscope_bpf::plain::{Plain, Text};
use kscope_bpf::spec::Spec;
use kscope_tests::{object_or_skip, objects, skip};

#[path = "../skeletons/bindgen.rs"]
mod skeleton;

const GOLDEN: &str = include_str!("../skeletons/bindgen.rs");

fn options() -> Options {
    Options {
        name: "bindgen".to_owned(),
        ..Options::default()
    }
}

#[test]
fn a_skeleton_is_the_golden_file() {
    let spec: Spec = object_or_skip!("bindgen");
    let text = generate(&spec, &options()).expect("a skeleton");
    assert_eq!(generate(&spec, &options()).expect("the same"), text);
    if std::env::var_os("BLESS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/skeletons/bindgen.rs");
        std::fs::write(path, text).expect("the golden file");
        return;
    }
    for (number, (found, expected)) in (1..).zip(text.lines().zip(GOLDEN.lines())) {
        assert_eq!(found, expected, "line {number} (BLESS=1 accepts it)");
    }
    assert_eq!(text.lines().count(), GOLDEN.lines().count());
}

#[test]
fn a_skeleton_is_as_rustfmt_leaves_it() {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let spec: Spec = object_or_skip!("bindgen");
    let text = generate(&spec, &options()).expect("a skeleton");
    let rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--check", "--color", "never"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut rustfmt) = rustfmt else {
        skip!("rustfmt", "there is no rustfmt");
    };
    let mut input = rustfmt.stdin.take().expect("its input");
    input.write_all(text.as_bytes()).expect("it reads");
    drop(input);
    let output = rustfmt.wait_with_output().expect("it ends");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// What the compiler put into the object is what the skeleton reads of it.
#[test]
fn initial_values_are_those_of_c() {
    let bytes = match objects::bytes("bindgen") {
        Ok(bytes) => bytes,
        Err(reason) => skip!("clang", "{reason}"),
    };
    let globals = skeleton::Open::read(bytes).expect("the object").globals;
    let expected = skeleton::Numbers {
        truth: true,
        tiny: -2,
        octet: 3,
        letter: b'x' as i8,
        wide: -4,
        widest: 5,
        text: Text::new("text"),
        bytes: [6, 7, 8],
        lines: [Text::new("ab"), Text::new("cd")],
        matrix: [[1, 2, 3], [4, 5, 6]],
        corners: [
            skeleton::Point { x: 1, y: -1 },
            skeleton::Point { x: 2, y: -2 },
        ],
        verdict: skeleton::Verdict::DROP,
        levels: [skeleton::Level::LOW, skeleton::Level::HIGH],
        words: skeleton::Words::crate_,
        ..Default::default()
    };
    assert_eq!(globals.defaults, expected);
    assert_eq!(globals.defaults.verdict.name(), Some("DROP"));

    let flags = globals.flags;
    assert_eq!((flags.before, flags.after), (1, 9));
    assert_eq!((flags.low(), flags.high()), (5, 0xabcde));
    assert_eq!((flags.negative(), flags.flag()), (-3, true));
    assert_eq!(flags.verdict(), skeleton::Verdict::SAME);
    assert_eq!((flags.whole(), flags.last()), (u64::MAX, 0x7f_ffff));

    let close = globals.close;
    assert_eq!(({ close.b }, { close.c }.y, close.d()), (2, 4, 257));
    assert_eq!((globals.ratios.single, globals.ratios.twice), (0.5, 0.25));
    assert_eq!((globals.r#type, globals.own), (3, 4));
}

#[test]
fn structures_are_written_as_they_are_read() {
    let mut unions = skeleton::Unions::default();
    unions.set_number(0x1122_3344_5566_7788);
    unions.from.set_v4(7);
    unions.set_or(Text::new("ab"));
    unions.nested.deep = 9;
    let again = skeleton::Unions::from_bytes(&unions.to_bytes()).expect("its own bytes");
    assert_eq!(again, unions);
    assert_eq!(again.first(), 0x5566_7788);
    assert_eq!(again.second(), 0x1122_3344);
    assert_eq!(again.nibble(), 8);
    assert_eq!(again.from.v6()[0], 7);
    assert_eq!(again.or(), "ab");

    let mut bits = skeleton::Bits::default();
    bits.set_negative(-1);
    bits.set_verdict(skeleton::Verdict(0xff));
    assert_eq!((bits.negative(), bits.verdict().0), (-1, 15));
    assert_eq!((bits.flag(), bits.high(), bits.whole()), (false, 0, 0));
    assert_eq!(
        skeleton::Flexible::from_bytes(&[5, 0, 0, 0, 1]).map(|f| f.length),
        Some(5)
    );
    assert_eq!(skeleton::Unions::from_bytes(&[0; 47]), None);
}

#[test]
fn values_are_shown_by_their_names() {
    let check = |value: &dyn std::fmt::Debug, expected: &str| {
        assert_eq!(format!("{value:?}"), expected);
    };
    check(&skeleton::Verdict::PASS, "PASS");
    check(&skeleton::Verdict(99), "Verdict(99)");
    check(&skeleton::Point { x: 1, y: -1 }, "Point { x: 1, y: -1 }");
    check(&skeleton::Empty {}, "Empty");
    let key = skeleton::KeyT {
        key: 1,
        padded: 2,
        _pad_5: [3; 3],
    };
    check(&key, "KeyT { key: 1, padded: 2 }");
    let close = skeleton::Packed::default();
    check(
        &close,
        "Packed { a: 0, b: 0, c: Point { x: 0, y: 0 }, d: 0 }",
    );
}

#[test]
fn large_variables_are_left_out() {
    let spec: Spec = object_or_skip!("bindgen");
    let is_there = |name: &str| spec.variables.iter().any(|variable| variable.name == name);
    assert!(is_there("large") && is_there("some_map"));
    assert!(GOLDEN.contains("pub some_map:") && !GOLDEN.contains("pub large:"));
}

#[test]
fn what_cannot_be_said_is_refused_by_name() {
    let spec: Spec = object_or_skip!("bindgen");
    let check = |spec: &Spec, event: &str, expected: &str| {
        let events = vec![event.to_owned()];
        let options = Options {
            events,
            ..options()
        };
        let error = generate(spec, &options).expect_err("an error");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(
        &spec,
        "no_such_event",
        "const struct no_such_event *unused_no_such_event",
    );
    check(&spec, "pont", "did you mean point?");
    check(&spec, "union point", "no type point");
    let untyped = Spec {
        types: Vec::new(),
        ..spec.clone()
    };
    check(&untyped, "point", "compile it with -g");
    let malformed = Spec {
        types: vec![1, 2, 3],
        ..spec
    };
    check(&malformed, "point", "the object's types");
}

/// Objects are foreign bytes: no mutation of them makes the generator panic, or run for long.
#[test]
fn mutated_types_give_errors_or_text() {
    let spec: Spec = object_or_skip!("bindgen");
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut written, mut refused) = (0, 0);
    for _ in 0..300 {
        let mut spec = spec.clone();
        for _ in 0..=random(4) {
            let at = 24 + random(spec.types.len() - 24);
            spec.types[at] = random(256) as u8;
        }
        match generate(&spec, &options()) {
            Ok(_) => written += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(
        written > 20 && refused > 20,
        "{written} written, {refused} refused"
    );
}

/// A source with libbpf's header for USDT probes, which takes headers of the processor.
#[test]
fn sources_with_headers_of_the_processor_compile() {
    if !std::path::Path::new("/usr/include/bpf/usdt.bpf.h").exists() {
        skip!("libbpf-headers", "there is no bpf/usdt.bpf.h");
    }
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("usdt-source");
    std::fs::create_dir_all(&folder).expect("a folder");
    let source = folder.join("probe.bpf.c");
    let text = "#include <linux/ptrace.h>\n#include <linux/bpf.h>\n#include <stdbool.h>\n\
        #include <bpf/bpf_helpers.h>\n#include <bpf/usdt.bpf.h>\n\
        SEC(\"usdt\") int probe(struct pt_regs *ctx) { return bpf_usdt_arg_cnt(ctx) > 0; }\n\
        char LICENSE[] SEC(\"license\") = \"GPL\";\n";
    std::fs::write(&source, text).expect("written");
    let built = kscope_bindgen::Builder::new(&source)
        .out_dir(&folder)
        .build();
    match built {
        Err(error) if error.is_missing_compiler() => skip!("clang", "{error}"),
        built => {
            let built = built.expect("a skeleton");
            let text = std::fs::read_to_string(built.skeleton).expect("written");
            assert!(text.contains("pub probe: "), "{text}");
        }
    }
}

/// Ten thousand static variables beside as many others.
#[test]
fn many_variables_take_little_time() {
    use kscope_bpf::spec::{MapId, MapSpec, Variable};
    use kscope_testkit::btf::{BtfWriter, Order};
    const COUNT: u32 = 10_000;
    let mut types = BtfWriter::new(Order::Little);
    let int = types.int("int", 4, 1);
    let mut spec = Spec::default();
    let mut places = Vec::new();
    for index in 0..COUNT * 2 {
        let is_static = index % 2 == 0;
        let name = format!("{}{index}", if is_static { "own" } else { "shared" });
        let id = types.variable(&name, int, u32::from(!is_static));
        places.push([id, index * 4, 4]);
        spec.variables.push(Variable {
            name,
            map: MapId(0),
            offset: index * 4,
            size: 4,
            type_id: int,
        });
    }
    types.section(".data", COUNT * 8, &places);
    spec.types = types.blob();
    spec.maps.push(MapSpec {
        name: "x.data".to_owned(),
        section: ".data".to_owned(),
        value_size: COUNT * 8,
        ..MapSpec::default()
    });
    let start = std::time::Instant::now();
    let text = generate(&spec, &options()).expect("a skeleton");
    let took = start.elapsed();
    assert!(text.contains("shared19999") && !text.contains("own19998"));
    assert!(took < std::time::Duration::from_secs(5), "{took:?}");
}
