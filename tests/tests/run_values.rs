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
