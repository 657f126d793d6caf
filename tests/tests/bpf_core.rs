//! CO-RE on the running kernel: every question, answered as the kernel's types say.

use kscope_bpf::btf::{Btf, Kind};
use kscope_bpf::spec::core::minimize;
use kscope_bpf::spec::{CoreKind, Spec};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{Absent, Error, Loader, Object, TestInput};
use kscope_tests::assembly::kernel_types;
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

/// Gives the numbers that the program `asks` left, after a run of it and of `element`.
fn asked(object: &Object, spec: &Spec) -> (Vec<u64>, u32) {
    let run = |name: &str| {
        let program = object.program_named(name).expect(name);
        program
            .test_run(&TestInput::default())
            .expect("runs")
            .result
    };
    assert_eq!(run("asks"), 0);
    let letter = run("element");
    let seen = spec.variable_named("seen").expect("described");
    let map = object.map(seen.map).expect("made");
    let value = map.lookup(&0u32.to_ne_bytes()).expect("an array");
    let value = value.expect("an array");
    let from = seen.offset as usize;
    let words = value[from..from + seen.size as usize].chunks_exact(8);
    let words = words.map(|word| u64::from_ne_bytes(word.try_into().expect("eight")));
    (words.collect(), letter)
}

/// What the kernel's types say, as the program `asks` is to find it.
fn expected(types: &Btf) -> Vec<u64> {
    let task = types.find("task_struct", Kind::Struct).expect("there");
    let tasks = types.member(task, "tasks").expect("there");
    let list = types.member(tasks.type_id, "next").expect("there");
    let place = tasks.byte_offset() + list.byte_offset();
    let constant = types.enumerator("PIDTYPE_TGID").expect("there");
    let sigval = types.find("sigval_t", Kind::Typedef).is_some();
    vec![
        place.into(),
        16,
        1,
        1,
        0,
        task.0.into(),
        1 + 2 * u64::from(sigval),
        types.size_of(task).expect("known"),
        1,
        constant.value as u64,
        1,
        std::process::id().into(),
    ]
}

fn load(kernel: &SharedKernel, spec: &Spec, target: &Btf) -> Object {
    let loader = Loader::new(kernel.clone())
        .btf(kernel_types())
        .target(target);
    loader.load(spec).expect("some programs load")
}

#[test]
fn every_question_is_answered() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("core");
    let Some(types) = kernel_types() else {
        skip!("btf", "the kernel has no BTF");
    };
    let kinds = spec.programs.iter().flat_map(|program| &program.core);
    let mut kinds: Vec<u32> = kinds.map(|relocation| relocation.kind as u32).collect();
    kinds.sort_unstable();
    kinds.dedup();
    // Compilers since clang 15 ask the last as well.
    assert_eq!(kinds, Vec::from_iter(0..CoreKind::TypeMatches as u32));

    let letter = std::fs::read_to_string("/proc/thread-self/comm").expect("there");
    let letter = u32::from(letter.as_bytes()[1]);
    let (found, element) = asked(&load(&kernel, &spec, types), &spec);
    let mut expected = expected(types);
    assert_eq!(found[..expected.len()], expected);
    assert_eq!(element, letter);

    // As little of the types as the object needs gives the same answers, but for the id.
    let small =
        Btf::parse(minimize(&[&spec], types, "vmlinux").expect("fits").types).expect("types");
    assert!(small.type_count() < 40, "{small:?}");
    let task = small.find("task_struct", Kind::Struct).expect("kept");
    let (found, element) = asked(&load(&kernel, &spec, &small), &spec);
    expected[5] = task.0.into();
    assert_eq!(found[..expected.len()], expected);
    assert_eq!(element, letter);
}

#[test]
fn what_is_missing_is_told() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("core");
    let Some(types) = kernel_types() else {
        skip!("btf", "the kernel has no BTF");
    };
    let object = load(&kernel, &spec, types);
    let failures: Vec<_> = object.failures().collect();
    let [failed] = failures.as_slice() else {
        panic!("{failures:?}");
    };
    let Error::Unresolved { absent, .. } = &failed.error else {
        panic!("{}", failed.error);
    };
    let Absent::Relocation(failure) = &**absent else {
        panic!("{absent}");
    };
    let task = types.find("task_struct", Kind::Struct).expect("there");
    let line = failure.source.as_ref().expect("told");
    assert!(line.file.ends_with("core.bpf.c"), "{}", line.file);
    // The compiler may count the sum of address and offset among the lines before.
    let text = line.text.as_deref().expect("told");
    assert!(text.contains("nothing"), "{text}");
    let told = format!(
        "the offset of struct task_struct.no_such_member (0:0) ({}:{}, instruction {}): no type of \
         the target fits: struct task_struct (given BTF type {task}) has no member `no_such_member`",
        line.file, line.line, failure.insn
    );
    assert_eq!(failure.to_string(), told);
}
