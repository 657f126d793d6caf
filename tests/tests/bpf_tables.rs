//! Functions of other programs, tables of functions, values of the kernel's objects, values with
//! locks: what needs an object with types.

use std::net::UdpSocket;
use std::os::fd::AsFd;

use kscope_bpf::spec::Spec;
use kscope_bpf::sys::{Errno, SharedKernel};
use kscope_bpf::{AttachOutcome, Error, LinkKind, Loader, Object, TestInput, UpdateMode};
use kscope_tests::assembly::has_wide_exchange;
use kscope_tests::assembly::kernel_types;
use kscope_tests::{kernel_or_skip, object_or_skip, skip};

/// Loads an object; programs and maps that the kernel refuses are left out.
fn load(kernel: &SharedKernel, spec: &Spec) -> Object {
    let loader = Loader::new(kernel.clone()).btf(kernel_types());
    loader.load(spec).expect("what needs nothing new loads")
}

fn why(object: &Object, program: &str) -> String {
    let failed = object.failures().find(|failed| failed.name == program);
    failed.map_or_else(|| "not tried".to_owned(), ToString::to_string)
}

#[test]
fn a_program_takes_the_place_of_a_function() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("links");
    let object = load(&kernel, &spec);
    let caller = object.program_named("caller").expect("an XDP program");
    let packet = [0; 64];
    let run = || {
        let input = TestInput {
            data: &packet,
            ..TestInput::default()
        };
        caller.test_run(&input).expect("runs").result
    };
    assert_eq!(run(), 41);
    let loader = Loader::new(kernel.clone())
        .btf(kernel_types())
        .extends("instead", caller);
    let extended = loader.load(&spec).expect("what needs nothing new loads");
    let Some(instead) = extended.program_named("instead") else {
        skip!("freplace", "{}", why(&extended, "instead"));
    };
    let link = match extended.attach_program(instead) {
        AttachOutcome::Attached(link) => link,
        other => panic!("{other}"),
    };
    assert_eq!(link.target(), "freplace:replaced");
    assert_eq!(run(), 140);
    let taken = instead.attach_extension();
    assert!(taken.is_err(), "its place is taken");
    drop(link);
    assert_eq!(run(), 41);
    // The same function of another program.
    let third = load(&kernel, &spec);
    let other = third.program_named("caller").expect("an XDP program");
    let link = instead
        .attach_extension_to(other, "replaced")
        .expect("of the same prototype");
    assert_eq!(run(), 41);
    drop(link);
    let absent = instead.attach_extension_to(other, "no_such_function");
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
}

/// The ways to control congestion that the kernel has now.
fn ways() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control")
        .expect("every kernel")
}

#[test]
fn the_kernel_uses_a_table_of_functions() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("links");
    let object = load(&kernel, &spec);
    if object.program_named("ssthresh").is_none() {
        skip!("struct_ops", "{}", why(&object, "ssthresh"));
    }
    assert!(!ways().contains("kscope_plain"));
    let attached = object.attach();
    let table = attached
        .iter()
        .find(|attachment| attachment.program == "registered")
        .expect("tables attach too");
    assert!(
        matches!(table.outcome, AttachOutcome::Attached(_)),
        "{}",
        table.outcome
    );
    assert!(ways().contains("kscope_plain"));
    drop(attached);
    assert!(!ways().contains("kscope_plain"));
}

#[test]
fn a_table_without_a_member_is_told_which() {
    let kernel = kernel_or_skip!();
    let mut spec = object_or_skip!("links");
    let id = spec.map_named("registered").expect("a table");
    let table = spec.maps[id.0 as usize].struct_ops.as_mut();
    let members = &mut table.expect("functions").programs;
    let whole = members.len();
    members.retain(|member| member.name != "undo_cwnd");
    assert_eq!(members.len(), whole - 1);
    let object = load(&kernel, &spec);
    if object.program_named("ssthresh").is_none() {
        skip!("struct_ops", "{}", why(&object, "ssthresh"));
    }
    let error = object.attach_table(id).expect_err("it is not complete");
    let expected = "struct tcp_congestion_ops is not complete: the kernel wants undo_cwnd";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_kernel_uses_a_table_by_a_link() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("links_new");
    let object = load(&kernel, &spec);
    let (Some(one), Some(two)) = (
        spec.map_named("linked")
            .filter(|&id| object.map(id).is_some()),
        spec.map_named("other")
            .filter(|&id| object.map(id).is_some()),
    ) else {
        skip!("struct_ops_link", "no such maps (Linux 6.4)");
    };
    if object.program_named("ssthresh").is_none() {
        skip!("struct_ops", "{}", why(&object, "ssthresh"));
    }
    let link = object.attach_table(one).expect("attached");
    assert!(ways().contains("kscope_linked"));
    let map = object.map(one).expect("there").details().expect("there").id;
    assert_eq!(
        link.details().expect("a link").kind,
        LinkKind::StructOps { map }
    );
    // One of the same name in its place; a second beside it is refused.
    let second = object.attach_table(two);
    assert!(second.is_err(), "the name is taken");
    link.update_struct_ops(object.map(two).expect("there"))
        .expect("of the same type and name");
    let map = object.map(two).expect("there").details().expect("there").id;
    assert_eq!(
        link.details().expect("a link").kind,
        LinkKind::StructOps { map }
    );
    drop(link);
    assert!(!ways().contains("kscope_linked"));
    // A table that was attached before is attached again.
    let again = object.attach_table(one).expect("it is ready");
    assert!(ways().contains("kscope_linked"));
    drop(again);
    assert!(!ways().contains("kscope_linked"));
}

#[test]
fn sockets_have_values_of_their_own() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("links");
    let object = load(&kernel, &spec);
    let Some(map) = object.map_named("of_sockets") else {
        skip!("sk_storage", "the kernel takes no types of maps");
    };
    let (one, two) = (
        UdpSocket::bind("127.0.0.1:0").expect("a port"),
        UdpSocket::bind("127.0.0.1:0").expect("a port"),
    );
    let value = 7u64.to_ne_bytes();
    match map.update_for(one.as_fd(), &value, UpdateMode::Any) {
        Err(error) if error.errno() == Some(Errno::NOMEM) && !has_wide_exchange() => skip!(
            "cmpxchg16b",
            "kernels that take this memory without locks need a CPU with cmpxchg16b"
        ),
        stored => stored.expect("a socket"),
    }
    assert_eq!(map.lookup_for(one.as_fd()), Ok(Some(value.to_vec())));
    assert_eq!(map.lookup_for(two.as_fd()), Ok(None));
    assert_eq!(map.delete_for(one.as_fd()), Ok(true));
    assert_eq!(map.delete_for(one.as_fd()), Ok(false));
    let null = std::fs::File::open("/dev/null").expect("there");
    let wrong = map.update_for(null.as_fd(), &value, UpdateMode::Any);
    assert!(matches!(wrong, Err(Error::Os { .. })), "{wrong:?}");
    assert!(matches!(map.snapshot(), Err(Error::Invalid { .. })));
}

#[test]
fn values_are_read_and_written_under_their_lock() {
    let kernel = kernel_or_skip!();
    let spec = object_or_skip!("whole");
    let object = load(&kernel, &spec);
    let Some(map) = object.map_named("locks") else {
        skip!("map_types", "the kernel takes no types of maps");
    };
    let key = 3u32.to_ne_bytes();
    assert_eq!(map.lookup_locked(&key), Ok(None));
    let value = [9u32.to_ne_bytes(), 5u32.to_ne_bytes()].concat();
    map.update(&key, &value, UpdateMode::Any).expect("room");
    let changed = [9u32.to_ne_bytes(), 6u32.to_ne_bytes()].concat();
    map.update_locked(&key, &changed, UpdateMode::Replace)
        .expect("there is a lock");
    // The lock itself is not told.
    let told = [0u32.to_ne_bytes(), 6u32.to_ne_bytes()].concat();
    assert_eq!(map.lookup_locked(&key), Ok(Some(told)));
}
