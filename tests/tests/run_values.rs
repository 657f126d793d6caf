//! Values, loops and maps as data: what one-line scripts print that only some kernels can run.

use kscope_bpf::Features;
use kscope_bpf::spec::{HelperId, ProgramType};
use kscope_bpf::sys::SharedKernel;
use kscope_tests::assembly::kernel_types;
use kscope_tests::language::{check, run};
use kscope_tests::program::kscope;
use kscope_tests::{kernel_or_skip, skip};

const FOR_EACH_MAP_ELEM: HelperId = HelperId(164);
const LOOP: HelperId = HelperId(181);
const LOOKUP_PERCPU: HelperId = HelperId(195);

fn has(kernel: SharedKernel, helper: HelperId) -> bool {
    Features::new(kernel, kernel_types())
        .helper(ProgramType::RawTracepoint, helper)
        .is_available()
}

#[test]
fn loops_over_maps() {
    let kernel = kernel_or_skip!();
    let program = kscope();
    if !has(kernel, FOR_EACH_MAP_ELEM) {
        let script = "begin { @a[1] = 1; for ($kv : @a) { print($kv); } }";
        let ran = run(&program, &["run", "-e", script]);
        assert_eq!(ran.code, Some(1));
        for said in ["bpf_for_each_map_elem", "Linux 5.13"] {
            assert!(ran.err.contains(said), "{}", ran.err);
        }
        skip!("for_each_map_elem", "needs Linux 5.13");
    }
    let told = check(&program, include_str!("../scripts/language/loops.txt"));
    assert!(!told.contains("ERROR"), "{told}");
}

#[test]
fn values() {
    let _kernel = kernel_or_skip!();
    let told = check(&kscope(), include_str!("../scripts/language/values.txt"));
    assert!(!told.contains("ERROR"), "{told}");
}

#[test]
fn more_maps_than_a_program_can_use() {
    let _kernel = kernel_or_skip!();
    let sets: Vec<String> = (0..70).map(|n| format!("@m{n} = 1;")).collect();
    let ran = run(
        &kscope(),
        &["run", "-e", &format!("begin {{ {} }}", sets.join(" "))],
    );
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("the kernel lets a program use 64"),
        "{}",
        ran.err
    );
}

#[test]
fn loops_over_aggregations() {
    let kernel = kernel_or_skip!();
    let program = kscope();
    if !has(kernel, LOOKUP_PERCPU) {
        skip!("lookup_percpu_elem", "needs Linux 5.19");
    }
    check(
        &program,
        include_str!("../scripts/language/loops-merged.txt"),
    );
}

#[test]
fn long_ranges() {
    let kernel = kernel_or_skip!();
    let program = kscope();
    if !has(kernel, LOOP) {
        let script = "begin { $n = 2000; $i = 0; for $j : 0..$n { $i = $j; } print($i); }";
        let ran = run(&program, &["run", "-e", script]);
        assert_eq!(ran.out, "1023\n\n\n", "{}", ran.err);
        let said = "stdin:1:28-55: WARNING: for over a range ended after 1024 rounds";
        assert!(ran.err.contains(said), "{}", ran.err);
        skip!("bpf_loop", "needs Linux 5.17");
    }
    check(&program, include_str!("../scripts/language/loops-long.txt"));
}

#[test]
fn attributes_of_structures() {
    let _kernel = kernel_or_skip!();
    let script = "struct bar { int x; char y; int z; } __attribute__((packed))
        struct b2 { char a; struct bar b; }
        struct b3 { char a; int z; } __attribute__((aligned(16)))
        struct b4 { char c; struct b3 d; }
        struct p { unsigned int a:3; unsigned int b:7; unsigned int c:30; } __attribute__((packed));
        begin { print(sizeof(struct bar)); print(sizeof(struct b2)); print(sizeof(struct b3));
        print(sizeof(struct b4)); print(offsetof(struct b4, d)); print(offsetof(struct bar, z));
        $v = (uint64)0x123456789a; print(sizeof(struct p)); print(*(struct p *)&$v); }";
    let ran = run(&kscope(), &["run", "-e", script]);
    let out = "9\n10\n16\n32\n16\n5\n5\n{ .a = 2, .b = 19, .c = 76354974 }\n\n\n";
    assert_eq!(ran.out, out, "{}", ran.err);
}
