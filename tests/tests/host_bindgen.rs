//! Skeletons on a kernel, and the example programs.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use kscope_bpf::{TestInput, UpdateMode};
use kscope_tests::workspace::built;
use kscope_tests::{kernel_or_skip, objects, skip};

#[path = "../skeletons/bindgen.rs"]
mod skeleton;

#[test]
fn a_skeleton_loads_with_types() {
    let _ = kernel_or_skip!();
    let bytes = match objects::bytes("bindgen") {
        Ok(bytes) => bytes,
        Err(reason) => skip!("clang", "{reason}"),
    };
    let mut open = skeleton::Open::read(bytes).expect("the object");
    open.globals.defaults.octet = 40;
    open.globals.r#type = 2;
    open.globals.flags.set_flag(false);
    let loaded = open.load().unwrap_or_else(|error| panic!("{error}"));
    assert!(loaded.programs.left_out.is_none());

    let (maps, globals) = (&loaded.maps, &loaded.globals);
    let key = skeleton::KeyT {
        key: 1,
        ..Default::default()
    };
    let value = skeleton::ValueT { count: 2 };
    maps.typed.insert(&key, &value).expect("room");
    assert!(maps.typed.update(&key, &value, UpdateMode::Create).is_err());
    assert_eq!(maps.typed.lookup(&key), Ok(Some(value)));
    assert_eq!(maps.typed.entries(), Ok(vec![(key, value)]));
    assert_eq!(maps.typed.take(&key), Ok(Some(value)));
    assert_eq!(maps.typed.delete(&key), Ok(false));
    let many: Vec<_> = (0..9)
        .map(|n| {
            let key = skeleton::KeyT {
                key: n,
                ..Default::default()
            };
            (
                key,
                skeleton::ValueT {
                    count: u64::from(n) * 3,
                },
            )
        })
        .collect();
    assert_eq!(maps.typed.insert_many(&many), Ok(9));
    let mut all = maps.typed.drain().expect("entries");
    all.sort_by_key(|(key, _)| key.key);
    assert_eq!(all, many);
    assert_eq!(maps.typed.max_entries(), 16);

    let mut unions = skeleton::Unions::default();
    unions.set_second(5);
    maps.by_cpu
        .update(&3, &[unions], UpdateMode::Any)
        .expect("room");
    let by_cpu = maps.by_cpu.lookup(&3).expect("a lookup").expect("the key");
    assert_eq!(
        (by_cpu[0].second(), by_cpu.len()),
        (5, maps.by_cpu.zero_cpus().expect("CPUs").cpus())
    );
    assert_eq!(maps.by_cpu.entries().expect("entries").len(), 1);

    maps.queue
        .push(&skeleton::Point { x: 1, y: 2 })
        .expect("room");
    assert_eq!(maps.queue.pop(), Ok(Some(skeleton::Point { x: 1, y: 2 })));
    assert_eq!(maps.queue.peek(), Ok(None));
    maps.filter.add(&8).expect("room");
    assert_eq!(maps.filter.may_contain(&8), Ok(true));
    assert_eq!(maps.untyped.lookup(&[0; 4]), Ok(None));

    // The program adds the constant to the variable, and copies `hidden` into a bitfield.
    assert_eq!(globals.r#type.get(), Ok(2));
    let input = TestInput {
        context: &[0; 16],
        ..TestInput::default()
    };
    loaded.programs.match_.test_run(&input).expect("a run");
    assert_eq!(globals.r#type.get(), Ok(42));
    assert!(globals.flags.get().expect("flags").flag());
    assert_eq!(globals.defaults.get().expect("a constant").octet, 40);
    globals.r#type.set(&1).expect("a variable");
    loaded.programs.match_.test_run(&input).expect("a run");
    assert_eq!(globals.r#type.get(), Ok(41));

    let links = loaded.attach().expect("a raw tracepoint");
    assert!(links.match_.is_some() && links.left_out.is_none());
}

/// Builds an example, and starts it.
fn start(package: &str, arguments: &[&str]) -> Child {
    Command::new(built(package))
        .args(arguments)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example")
}

/// A shell that becomes `true` when it is told to.
fn patient() -> Child {
    Command::new("sh")
        .args(["-c", "read go; exec true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell")
}

fn tell(mut child: Child) {
    let mut input = child.stdin.take().expect("its input");
    input.write_all(b"go\n").expect("it reads");
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn the_example_of_a_skeleton_prints_typed_events() {
    let _ = kernel_or_skip!();
    if let Err(reason) = objects::bytes("bindgen") {
        skip!("clang", "{reason}");
    }
    let watched = patient();
    let pid = watched.id();
    let mut example = start("execsnoop-skeleton", &["0.5", &pid.to_string()]);
    let mut output = BufReader::new(example.stdout.take().expect("its output"));
    let mut header = String::new();
    output.read_line(&mut header).expect("a line");
    assert_eq!(header, "TIME(ns) PID UID CALLER COMM\n");
    tell(watched);
    tell(patient());
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("its output");
    assert!(example.wait().expect("it ends").success());
    let lines: Vec<&str> = rest.lines().collect();
    let [event, user, lost] = lines[..] else {
        panic!("{rest}");
    };
    assert!(
        event.ends_with(&format!(" {pid} 0 CALLER_ROOT true")),
        "{event}"
    );
    assert_eq!(
        user,
        format!("user 0: 1 executions, the last of process {pid}")
    );
    assert_eq!(lost, "0 events found no room");
}

#[test]
fn the_example_of_a_script_takes_rows_as_structures() {
    let _ = kernel_or_skip!();
    let watched = Command::new("sh")
        .args(["-c", "read go; read name < /etc/hostname"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let pid = watched.id();
    let mut example = start("script-in-process", &[&pid.to_string(), "0.5"]);
    let mut output = BufReader::new(example.stdout.take().expect("its output"));
    let mut first = String::new();
    output.read_line(&mut first).expect("a line");
    assert_eq!(first, "attached\n");
    tell(watched);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("its output");
    assert!(example.wait().expect("it ends").success());
    let expected =
        format!("sh ({pid}) opens /etc/hostname with flags 0o0\n@opens of sh: 1\n0 events lost\n");
    assert_eq!(rest, expected);
}
