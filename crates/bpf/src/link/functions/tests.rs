//! Which functions are asked for, and what refusals mean.

use std::sync::{Arc, Mutex};

use kscope_btf::write::Builder;
use kscope_btf::{Encoding, Linkage};
use kscope_spec::ProgramType;
use kscope_sys::{Bpf, Call, FakeKernel, FileIdentity, Reply};

use super::*;

const LIST: &str = "plain\nplain_two\ntwice\ntwice\nwide\nrest\nmany\ngone\nplain_of [nice]\n";

/// Types of a kernel whose functions of one argument are `plain` and `plain_two`; the others cannot be
/// traced. The number of `plain` is [`PLAIN`].
fn types() -> Vec<u8> {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let large = b.add_struct("large", 24, &[]);
    let one = b.add_func_proto(int, &[("a", int)]);
    let nothing = b.add_func_proto(TypeId::VOID, &[]);
    let by_value = b.add_func_proto(int, &[("a", large)]);
    let rest = b.add_func_proto(int, &[("a", int), ("", TypeId::VOID)]);
    let many = b.add_func_proto(int, &[("a", int); 13]);
    let result = b.add_func_proto(large, &[]);
    for (name, proto) in [
        ("plain", one),
        ("plain_two", nothing),
        ("twice", one),
        ("wide", by_value),
        ("rest", rest),
        ("many", many),
        ("gives_structure", result),
    ] {
        b.add_func(name, proto, Linkage::Static);
    }
    b.finish()
}

/// The number of the first function of [`types`].
const PLAIN: u32 = 9;

/// Attaches, and gives the functions that the kernel was asked for with their cookies, or the error.
fn attached(
    section: &str,
    refused: Option<Errno>,
    attach: impl Fn(&Program) -> Result<Link, Error>,
) -> String {
    let asked = Arc::new(Mutex::new(String::new()));
    let seen = asked.clone();
    let fake = FakeKernel::new(move |call| match call {
        Call::ReadFile(path) => match path.to_str().unwrap_or_default() {
            "/sys/kernel/btf/vmlinux" => Ok(Reply::Bytes(types())),
            "/sys/kernel/tracing/available_filter_functions" => Ok(Reply::Bytes(LIST.into())),
            _ => Err(Errno::NOENT),
        },
        Call::Identity(_) => Ok(Reply::Identity(FileIdentity {
            major: 0,
            minor: 1,
            inode: 2,
        })),
        Call::Bpf(Bpf::LinkCreate(link)) => {
            if let LinkTarget::TracingMulti { btf_ids, cookies } = link.target {
                let from_plain = btf_ids.iter().map(|id| id - PLAIN);
                let ids: Vec<u32> = from_plain.collect();
                *seen.lock().expect("no panic") =
                    format!("{} {ids:?} {cookies:?}", link.attach_type);
            }
            refused.map_or_else(FakeKernel::object, Err)
        }
        _ => Err(Errno::NOENT),
    });
    let known = section::lookup(section).expect("a known section");
    let program = Program::fake(
        fake,
        ProgramType::Tracing,
        known.attach_kind(section),
        section,
    );
    match attach(&program) {
        Ok(_) => asked.lock().expect("no panic").clone(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn functions_are_found_by_name() {
    let check = |names: &[&str], cookies: &[u64], expected: &str| {
        let attach = |program: &Program| program.attach_functions(names, cookies);
        assert_eq!(
            attached("fentry.multi", None, attach),
            expected,
            "{names:?}"
        );
    };
    check(&["plain"], &[], "59 [0] []");
    check(&["twice", "plain"], &[7, 8], "59 [2, 0] [7, 8]");
    check(
        &["plain"],
        &[7, 8],
        "there must be one cookie for each function, or none",
    );
    check(&[], &[], "no function to trace");
    check(
        &["plian"],
        &[],
        "there is no function plian; did you mean plain?",
    );
    let untraceable = |name: &str| {
        format!("function {name} has arguments or a result that programs cannot be given")
    };
    for name in ["wide", "rest", "many", "gives_structure"] {
        check(&["plain", name], &[], &untraceable(name));
    }
}

#[test]
fn functions_are_found_by_pattern() {
    let check = |section: &str, pattern: &str, expected: &str| {
        let attach = |program: &Program| program.attach_functions_matching(pattern);
        assert_eq!(attached(section, None, attach), expected, "{pattern}");
    };
    check("fexit.multi", "plain*", "60 [0, 1] []");
    check("fsession.multi.s", "pl*o", "61 [1] []");
    // What cannot be traced, what has a name twice and what has no type is left out.
    check("fexit.multi", "*", "60 [0, 1] []");
    check(
        "fexit.multi",
        "twice",
        "there is no function matching twice",
    );
    check(
        "fexit.multi",
        "nice:plain*",
        "program p was not loaded for functions of module nice: its section names the module, as in \
         SEC(\"fentry.multi/nice:*\")",
    );
    check(
        "fexit/plain",
        "plain",
        "program p of type Tracing cannot be attached to many functions' entries or exits",
    );
}

#[test]
fn refusals_are_told_apart() {
    let check = |errno, expected: &str| {
        let attach = |program: &Program| program.attach_functions(&["plain"], &[]);
        assert_eq!(attached("fentry.multi", Some(errno), attach), expected);
    };
    check(
        Errno::OPNOTSUPP,
        "this kernel has no BPF trampoline (fentry, fexit) (it comes with \
         CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS)",
    );
    check(
        Errno::INVAL,
        "one of the 1 functions cannot be traced by program p; those that cannot sleep need a section \
         without .s",
    );
}
