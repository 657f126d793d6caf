//! Objects attached by their sections, and probes in user programs.
//@ symbols

use std::path::{Path, PathBuf};
use std::process::Command;

use kscope_bpf::btf::{Kind, Type};
use kscope_bpf::spec::{MapKind, ProgramId, section};
use kscope_bpf::sys::SharedKernel;
use kscope_bpf::{
    AttachOutcome, Error, Executable, IterOver, LinkKind, Loader, Object, PerfDetails, UprobePlace,
    Usdt,
};
use kscope_tests::assembly::{Assembly, kernel_types, writes_of_tasks};
use kscope_tests::program::{Folder, c_program};
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

/// Counts runs in the entry of its own of a shared array.
fn counting(index: usize) -> String {
    format!(
        "r1 = map_value(hits) + {} ll\nr2 = 1\nlock *(u64 *)(r1 + 0) += r2\nr0 = 0\nexit",
        index * 8
    )
}

/// An object with a counting program in each of these sections.
fn object(kernel: &SharedKernel, sections: &[&str]) -> Object {
    let size = u32::try_from(sections.len() * 8).expect("few");
    let mut assembly = Assembly::new().map("hits", MapKind::Array, (4, size), 1);
    for (index, name) in sections.iter().enumerate() {
        let known = section::lookup(name).expect("a known section");
        let program = format!("p{index}");
        let attach = known.attach_kind(name);
        assembly = assembly.program(&program, known.kind, attach, &counting(index));
        let spec = assembly.spec.programs.last_mut().expect("just added");
        (spec.section, spec.flags) = ((*name).to_owned(), known.flags);
    }
    assembly
        .load(kernel)
        .unwrap_or_else(|error| panic!("{error}"))
}

fn hits(object: &Object) -> Vec<u64> {
    let map = object.map_named("hits").expect("there");
    let value = map.lookup(&[0; 4]).expect("readable").expect("there");
    let words = value.chunks_exact(8);
    words
        .map(|word| u64::from_ne_bytes(word.try_into().expect("eight bytes")))
        .collect()
}

fn act() {
    let _ = std::fs::metadata("/");
    assert_eq!(kscope_test_probed(1), 2);
}

/// A function of ours that a uprobe can sit on.
#[inline(never)]
extern "C" fn kscope_test_probed(number: u64) -> u64 {
    std::hint::black_box(number) + 1
}

/// This program's file, and where in it the function above is.
fn probed() -> (PathBuf, u64) {
    let path = std::fs::read_link("/proc/self/exe").expect("proc");
    let address = kscope_test_probed as *const () as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("proc");
    let hex = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
    let offset = maps.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (first, last) = words.next()?.split_once('-')?;
        let inside = (hex(first)..hex(last)).contains(&address);
        inside.then(|| address - hex(first) + hex(words.nth(1).expect("an offset")))
    });
    (path, offset.expect("mapped"))
}

/// The name that the function above has in this program's file; none where names are stripped.
fn probed_name() -> Option<String> {
    let (path, offset) = probed();
    let bytes = std::fs::read(path).expect("readable");
    let file = Executable::parse(&bytes).expect("an executable");
    let function = file
        .functions()
        .find(|function| function.offset == offset)?;
    Some(String::from_utf8(function.name.to_vec()).expect("text"))
}

/// Gives the path and name of the function above, or skips the test.
macro_rules! name_or_skip {
    () => {
        match probed_name() {
            Some(name) => (probed().0, name),
            None => skip!("symbols", "this program has no names"),
        }
    };
}

/// Attaches one program by its section, and expects it to run.
#[track_caller]
fn fires(kernel: &SharedKernel, section: &str) {
    let object = object(kernel, &[section]);
    let Ok(program) = object.program(ProgramId(0)) else {
        let why = object.failures().next().expect("not loaded");
        skip!(section.split('/').next().unwrap_or_default(), "{why}");
    };
    let link = match object.attach_program(program) {
        AttachOutcome::Attached(link) => link,
        AttachOutcome::Failed(error @ (Error::Unsupported { .. } | Error::Permission { .. })) => {
            skip!(
                section.split('/').next().unwrap_or_default(),
                "{section}: {error}"
            );
        }
        other => panic!("{section}: {other}"),
    };
    act();
    assert!(hits(&object)[0] > 0, "{section} did not fire");
    drop(link);
    let before = hits(&object)[0];
    act();
    assert_eq!(hits(&object)[0], before, "{section} still fires");
}

#[test]
fn tracepoints_attach_by_section() {
    let kernel = kernel_or_skip!();
    for section in [
        "tracepoint/raw_syscalls/sys_enter",
        "tp/raw_syscalls/sys_exit",
        "raw_tp/sys_enter",
        "raw_tracepoint/sys_exit",
    ] {
        fires(&kernel, section);
    }
    if kernel_types().is_some() {
        fires(&kernel, "tp_btf/sys_enter");
    }
}

#[test]
fn user_functions_attach_by_section() {
    let kernel = kernel_or_skip!();
    let (path, offset) = probed();
    let path = path.display();
    fires(&kernel, &format!("uprobe/{path}:{offset:#x}"));
    fires(&kernel, &format!("uretprobe/{path}:{offset}"));
    let (_, name) = name_or_skip!();
    fires(&kernel, &format!("uprobe/{path}:{name}"));
    fires(&kernel, &format!("uprobe/{path}:{name}+0x0"));
}

#[test]
fn user_functions_attach_in_mass_by_section() {
    let kernel = kernel_or_skip!();
    let (path, _) = name_or_skip!();
    let path = path.display();
    fires(
        &kernel,
        &format!("uprobe.multi/{path}:*kscope_test_prob??*"),
    );
}

#[test]
fn user_functions_attach_in_mass_on_return_by_section() {
    let kernel = kernel_or_skip!();
    let (path, _) = name_or_skip!();
    let path = path.display();
    fires(
        &kernel,
        &format!("uretprobe.multi/{path}:*kscope_test_probed*"),
    );
}

#[test]
fn user_functions_attach_as_session_by_section() {
    let kernel = kernel_or_skip!();
    let (path, _) = name_or_skip!();
    let path = path.display();
    fires(
        &kernel,
        &format!("uprobe.session/{path}:*kscope_test_probed*"),
    );
}

#[test]
fn kernel_functions_attach_by_section() {
    let kernel = kernel_or_skip!();
    for section in ["kprobe/vfs_statx", "kretprobe/vfs_statx", "ksyscall/statx"] {
        fires(&kernel, section);
    }
}

#[test]
fn kernel_functions_attach_in_mass_by_section() {
    let kernel = kernel_or_skip!();
    fires(&kernel, "kprobe.multi/vfs_stat*");
}

#[test]
fn kernel_functions_attach_as_session_by_section() {
    let kernel = kernel_or_skip!();
    fires(&kernel, "kprobe.session/vfs_stat*");
}

#[test]
fn function_entries_attach_by_section() {
    let kernel = kernel_or_skip!();
    for section in ["fentry/vfs_statx", "fexit/vfs_statx"] {
        fires(&kernel, section);
    }
}

#[test]
fn what_a_section_does_not_name_is_said() {
    let kernel = kernel_or_skip!();
    let sections = [
        "xdp",
        "tc",
        "cgroup_skb/egress",
        "kprobe",
        "tracepoint/no/such",
        "raw_tp/no_such",
        "socket",
        "uprobe/missing-colon",
        "uprobe//no/such/file:main",
        "tracepoint/raw_syscalls/sys_enter",
    ];
    let object = object(&kernel, &sections);
    let said: Vec<String> = object
        .attach()
        .iter()
        .map(|attachment| format!("{}: {}", attachment.section, attachment.outcome))
        .collect();
    let expected = [
        "xdp: its section does not name a network interface: Program::attach_xdp does",
        "tc: its section does not name a network interface: Program::attach_tc does",
        "cgroup_skb/egress: its section does not name a cgroup: Program::attach_cgroup does",
        "kprobe: its section does not name a kernel function: Program::attach_kprobe does",
        "tracepoint/no/such: there is no tracepoint no:such",
        "raw_tp/no_such: there is no raw tracepoint no_such",
        "socket: its section does not name a socket: Program::attach_socket does",
        "uprobe/missing-colon: section uprobe/missing-colon of program p7 is not \
         uprobe/path:function+offset",
        "uprobe//no/such/file:main: there is no file /no/such/file",
        "tracepoint/raw_syscalls/sys_enter: attached to tracepoint:raw_syscalls:sys_enter",
    ];
    assert_eq!(said, expected);
}

#[test]
fn sections_that_came_late_are_attached_or_refused_by_name() {
    let kernel = kernel_or_skip!();
    let Some(types) = kernel_types() else {
        skip!("btf", "the kernel has no BTF");
    };
    let known = |constant: &str| {
        let kinds = types.find("bpf_attach_type", Kind::Enum);
        match kinds.and_then(|id| types.get(id)) {
            Some(Type::Enum(kinds)) => kinds.enumerators().any(|one| one.name == constant),
            _ => false,
        }
    };
    let check = |name: &str, constant: &str, since: &str| {
        let object = object(&kernel, &[name]);
        let head = name.split('/').next().unwrap_or_default();
        let failed = object.failures().next().map(|f| f.error.to_string());
        if !known(constant) {
            let said = format!(
                "this kernel has no {head} programs, one of which is p0 (it comes with {since})"
            );
            assert_eq!(failed, Some(said));
        } else if constant.ends_with("_MULTI") {
            assert_eq!(failed, None);
            let said = object.attach().remove(0).outcome.to_string();
            assert!(said.starts_with("attached to "), "{said}");
            assert!(said.ends_with(" functions"), "{said}");
        }
    };
    check("fsession/vfs_statx", "BPF_TRACE_FSESSION", "Linux 7.0");
    check("fentry.multi/vfs_*", "BPF_TRACE_FENTRY_MULTI", "Linux 7.2");
    check("fexit.multi/vfs_*", "BPF_TRACE_FEXIT_MULTI", "Linux 7.2");
    check(
        "fsession.multi/vfs_*",
        "BPF_TRACE_FSESSION_MULTI",
        "Linux 7.2",
    );
}

#[test]
fn many_uprobes_have_a_cookie_each() {
    let kernel = kernel_or_skip!();
    let (path, offset) = probed();
    let text =
        "call get_attach_cookie\nr1 = map_value(seen) + 0 ll\n*(u64 *)(r1 + 0) = r0\nr0 = 0\nexit";
    let known = section::lookup("uprobe.multi").expect("known");
    let object = Assembly::new()
        .map("seen", MapKind::Array, (4, 8), 1)
        .program(
            "cookie",
            known.kind,
            known.attach_kind("uprobe.multi"),
            text,
        )
        .load(&kernel)
        .expect("maps");
    let Ok(program) = object.program(ProgramId(0)) else {
        skip!("uprobe_multi", "no such programs (Linux 6.6)");
    };
    let place = UprobePlace {
        cookie: 0xbeef,
        ..UprobePlace::at(offset)
    };
    let own = Some(std::process::id());
    let link = match program.attach_uprobe_multi(&path, &[place], false, own) {
        Err(error @ Error::Unsupported { .. }) => skip!("uprobe_multi", "{error}"),
        other => other.expect("attached"),
    };
    act();
    let seen = object.map_named("seen").expect("there").lookup(&[0; 4]);
    assert_eq!(seen, Ok(Some(0xbeefu64.to_ne_bytes().to_vec())));
    match link.details().expect("a link").kind {
        LinkKind::UprobeMulti {
            path: told,
            count,
            on_return,
            ..
        } => {
            assert_eq!((Path::new(&told), count, on_return), (&*path, 1, false));
        }
        other => panic!("{other}"),
    }
    let absent = program.attach_uprobe_multi(Path::new("/no/such"), &[place], false, None);
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    let none = program.attach_uprobe_multi(&path, &[], false, None);
    assert!(matches!(none, Err(Error::Invalid { .. })), "{none:?}");
}

#[test]
fn links_on_events_tell_what_they_sit_on() {
    let kernel = kernel_or_skip!();
    let (path, offset) = probed();
    let section = format!("uretprobe/{}:{offset:#x}", path.display());
    let object = object(&kernel, &["tp/raw_syscalls/sys_enter", &section]);
    let links: Vec<_> = object
        .attach()
        .into_iter()
        .filter_map(|attachment| attachment.outcome.link())
        .collect();
    let Ok(details) = links[0].details() else {
        skip!("perf_link", "no links on perf events (Linux 5.15)");
    };
    match details.kind {
        LinkKind::PerfEvent(PerfDetails::Unknown) => {}
        LinkKind::PerfEvent(PerfDetails::Tracepoint { name }) => assert_eq!(name, "sys_enter"),
        other => panic!("{other}"),
    }
    match links[1].details().expect("a link").kind {
        LinkKind::PerfEvent(PerfDetails::Unknown) => {}
        LinkKind::PerfEvent(PerfDetails::Uprobe {
            path: told,
            on_return,
            ..
        }) => assert_eq!((Path::new(&told), on_return), (&*path, true)),
        other => panic!("{other}"),
    }
}

#[test]
fn iterators_walk_over_one_process() {
    let kernel = kernel_or_skip!();
    let Some(types) = kernel_types() else {
        skip!("btf", "the kernel has no BTF");
    };
    let text = writes_of_tasks(types, "tgid");
    let known = section::lookup("iter/task").expect("known");
    let object = Assembly::new()
        .program("tasks", known.kind, known.attach_kind("iter/task"), &text)
        .load_all(&kernel);
    let program = object.program(ProgramId(0)).expect("loaded");
    let own = std::process::id();
    let link = match program.attach_iterator_over(IterOver::Process(own)) {
        Err(error @ Error::Unsupported { .. }) => {
            assert!(error.to_string().contains("Linux 6.1"), "{error}");
            skip!("iterator_parameters", "{error}");
        }
        other => other.expect("attached"),
    };
    for _ in 0..2 {
        let bytes = link
            .walk()
            .expect("opened")
            .read_all(1 << 20)
            .expect("read");
        let ids: Vec<_> = bytes
            .chunks_exact(4)
            .map(|id| u32::from_ne_bytes(id.try_into().expect("four bytes")))
            .collect();
        assert!(
            !ids.is_empty() && ids.iter().all(|&id| id == own),
            "{ids:?}"
        );
    }
    let over_map = program.attach_iterator_over(IterOver::Map(std::os::fd::AsFd::as_fd(program)));
    assert!(
        matches!(over_map, Err(Error::Invalid { .. })),
        "tasks are in no map"
    );
}

#[test]
fn usdt_probes_fire_with_semaphore_and_arguments() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("usdt");
    let folder = Folder::new("usdt");
    let Some(path) = c_program("probed", &folder) else {
        skip!("cc", "no C compiler made the probed program");
    };
    let object = Loader::new(kernel.clone())
        .btf(kernel_types())
        .load(&spec)
        .expect("maps");
    let Some(program) = object.program_named("probed") else {
        let failed = object.failures().next().expect("not loaded");
        panic!("{failed}: {:#?}", failed.error);
    };
    let run = || {
        let status = Command::new(&path).status().expect("runs");
        status.code().expect("exits")
    };
    let seen = |name| -> u64 { object.global(name).expect("there").get().expect("readable") };
    assert_eq!(run(), 0, "nobody listens");
    let probe = Usdt {
        path: &path,
        provider: "app",
        name: "work",
        pid: None,
        cookie: 0x51,
    };
    let link = object.attach_usdt(program, &probe).expect("attached");
    assert!(run() > 0, "the semaphore is raised");
    assert_eq!(seen("hits"), 2, "both places");
    // The last place: cookie, number of arguments, one in a register and a constant.
    let all = ["cookie", "count", "first", "second"].map(seen);
    assert_eq!(all, [0x51, 2, 4712, 8]);
    drop(link);
    assert_eq!(run(), 0, "nobody listens any more");
    assert_eq!(seen("hits"), 2);
    // The same places again take no more entries.
    let specs = object.map_named("__bpf_usdt_specs").expect("there");
    let used = || {
        let all = specs.snapshot().expect("readable");
        all.entries()
            .filter(|entry| entry.value()[200] != 0)
            .count()
    };
    assert_eq!(used(), 2);
    drop(object.attach_usdt(program, &probe).expect("attached"));
    assert_eq!(used(), 2);
    let absent = object.attach_usdt(
        program,
        &Usdt {
            name: "rest",
            ..probe
        },
    );
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}
