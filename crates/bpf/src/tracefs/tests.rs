//! Where tracefs is, and is not.

use kscope_sys::{Call, FakeKernel, FileIdentity, Reply};

use super::*;

/// Answers for `events` directories at the two places, and for mounts.
fn find(places: [Result<(), Errno>; 2], mount: Result<(), Errno>) -> Result<PathBuf, String> {
    let mut mounted = false;
    let fake = FakeKernel::new(move |call| match call {
        Call::Identity(path) => {
            let first = path == Path::new("/sys/kernel/tracing/events");
            if !(first && mounted) {
                places[usize::from(!first)]?;
            }
            Ok(Reply::Identity(FileIdentity {
                major: 0,
                minor: 0,
                inode: 1,
            }))
        }
        Call::Mount { kind, target } => {
            assert_eq!(
                (kind, target),
                ("tracefs", Path::new("/sys/kernel/tracing"))
            );
            mount?;
            mounted = true;
            Ok(Reply::Done)
        }
        Call::Capabilities => Ok(Reply::Number(0)),
        other => panic!("{other:?}"),
    });
    let found = Tracefs::find_or_mount(&fake);
    found
        .map(|tracefs| tracefs.root().to_owned())
        .map_err(|error| error.to_string())
}

#[test]
fn it_is_found_where_it_is_or_mounted() {
    let none = Err(Errno::NOENT);
    let check = |places, mount, expected: &str| {
        assert_eq!(find(places, mount), Ok(expected.into()));
    };
    check([Ok(()), Ok(())], none, "/sys/kernel/tracing");
    check([none, Ok(())], none, "/sys/kernel/debug/tracing");
    check(
        [Err(Errno::ACCES), Ok(())],
        none,
        "/sys/kernel/debug/tracing",
    );
    check([none, none], Ok(()), "/sys/kernel/tracing");
}

#[test]
fn what_stands_in_the_way_is_said() {
    let none = Err(Errno::NOENT);
    let check = |places, mount, expected: &str| {
        assert_eq!(find(places, mount), Err(expected.to_owned()));
    };
    check(
        [Err(Errno::ACCES), none],
        none,
        "open is not permitted: /sys/kernel/tracing is closed to this user",
    );
    check(
        [none, none],
        Err(Errno::NODEV),
        "this kernel has no tracefs (it comes with CONFIG_TRACING)",
    );
    check(
        [none, none],
        Err(Errno::PERM),
        "mount is not permitted: the process lacks CAP_SYS_ADMIN",
    );
    check(
        [none, none],
        Err(Errno::BUSY),
        "tracefs is not mounted (mount it: mount -t tracefs tracefs /sys/kernel/tracing)",
    );
}

#[test]
fn names_cannot_leave_the_directory() {
    let fake = FakeKernel::new(|call| match call {
        // For near names.
        Call::ReadFile(path) if path == Path::new("/t/available_events") => Err(Errno::NOENT),
        other => panic!("{other:?}"),
    });
    let tracefs = Tracefs { root: "/t".into() };
    for (category, name) in [
        ("..", "x"),
        ("a", ".."),
        ("a/b", "c"),
        ("", "c"),
        ("a", "c\0"),
    ] {
        let id = tracefs.tracepoint_id(&fake, category, name);
        assert!(
            matches!(
                id,
                Err(Error::NotFound {
                    what: "tracepoint",
                    ..
                })
            ),
            "{id:?}"
        );
    }
}

#[test]
fn an_id_is_a_number() {
    let id = |text: &'static str| {
        let fake = FakeKernel::new(move |call| match call {
            Call::ReadFile(path) if path == Path::new("/t/events/a/b/id") => {
                Ok(Reply::Bytes(text.into()))
            }
            other => panic!("{other:?}"),
        });
        Tracefs { root: "/t".into() }.tracepoint_id(&fake, "a", "b")
    };
    assert_eq!(id("12\n"), Ok(12));
    assert!(matches!(id("twelve"), Err(Error::Os { .. })));
}

#[test]
fn near_names_are_told() {
    #[track_caller]
    fn check(category: &str, name: &str, expected: &str) {
        let fake = FakeKernel::new(|call| match call {
            Call::ReadFile(path) if path.ends_with("available_events") => Ok(Reply::Bytes(
                "sched:sched_switch\nsched:sched_waking\nirq:softirq_entry\nnet:napi_poll\n".into(),
            )),
            Call::ReadFile(_) => Err(Errno::NOENT),
            other => panic!("{other:?}"),
        });
        let error = Tracefs { root: "/t".into() }.tracepoint_id(&fake, category, name);
        let error = error.expect_err("it is not there");
        assert_eq!(error.to_string(), expected);
        assert!(error.way_out().expect("one").contains("available_events"));
    }
    check(
        "sched",
        "sched_swich",
        "there is no tracepoint sched:sched_swich; did you mean sched:sched_switch?",
    );
    check(
        "network",
        "napi_poll",
        "there is no tracepoint network:napi_poll; did you mean net:napi_poll?",
    );
    check("x", "y", "there is no tracepoint x:y");
}
