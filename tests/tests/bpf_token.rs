//! BPF tokens: a process in a user namespace does what the BPF file system of that namespace delegates.

use std::io::{BufRead, BufReader, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use kscope_bpf::spec::{AttachKind, MapKind, ProgramType};
use kscope_bpf::sys::real_kernel;
use kscope_bpf::{Denial, Error, Loader, Object, Token};
use kscope_tests::assembly::{Assembly, kernel_types};
use kscope_tests::{kernel_or_skip, skip};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount,
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

/// Tells this program, run again, that it is inside of a user namespace.
const INSIDE: &str = "KSCOPE_TEST_INSIDE";

/// What the file system delegates.
const DELEGATED: [(&str, &str); 4] = [
    ("delegate_cmds", "map_create:prog_load:btf_load"),
    ("delegate_maps", "array"),
    ("delegate_progs", "xdp"),
    ("delegate_attachs", "any"),
];

/// Opens a BPF file system in this namespace, which a process outside mounts and gives back.
fn mounted() -> OwnedFd {
    let context = fsopen("bpf", FsOpenFlags::FSOPEN_CLOEXEC).expect("Linux 5.2");
    println!("context {}", context.as_raw_fd());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let outside = std::io::stdin();
    recvmsg(&outside, &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC).expect("a socket");
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.expect("a descriptor came")
}

/// Mounts what the process inside has opened, and gives it back.
fn mount(context: BorrowedFd<'_>, inside: &UnixStream) {
    fsconfig_create(context).expect("as it was set");
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let mount = fsmount(context, flags, MountAttrFlags::empty()).expect("created");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [mount.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
    let bytes = [IoSlice::new(b"m")];
    sendmsg(inside, &bytes, &mut control, SendFlags::empty()).expect("it waits");
}

/// Loads an array and a program of a kind with the given loader.
fn load(loader: &Loader<'_>, map: MapKind, kind: ProgramType) -> Result<Object, Error> {
    let text = "r1 = map_value(hits) + 0 ll\nr2 = 7\n*(u64 *)(r1 + 0) = r2\nr0 = 2\nexit";
    let hits = Assembly::new().map("hits", MapKind::Array, (4, 8), 1);
    let assembly = match map {
        MapKind::Array => hits,
        other => hits.map("other", other, (4, 8), 1),
    };
    let assembly = assembly.program("first", kind, AttachKind::None, text);
    loader.load(&assembly.spec)
}

/// Gives the one delegation that is missing.
#[track_caller]
fn missing(error: &Error) -> String {
    match error {
        Error::Permission {
            cause: Denial::Delegation { option, .. },
            ..
        } => option.clone(),
        other => panic!("{other}"),
    }
}

/// What is done inside of the namespace.
fn inside() {
    let kernel = real_kernel();
    let loader = || {
        Loader::new(kernel.clone())
            .btf(kernel_types())
            .all_or_nothing()
    };
    let mount = mounted();
    let xdp = |loader: &Loader<'_>| load(loader, MapKind::Array, ProgramType::Xdp);
    let refused = xdp(&loader()).expect_err("nothing is mounted yet");
    assert!(matches!(refused, Error::Permission { .. }), "{refused}");
    // By the descriptor of what is mounted nowhere.
    let (flags, mode) = (OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let root = openat(mount.as_fd(), ".", flags, mode).expect("a directory");
    let token = Token::of(&kernel, root.as_fd()).expect("it delegates");
    xdp(&loader().token(&token)).expect("with the token");
    // By its usual place, without being asked.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount.as_fd(), "", CWD, "/sys/fs/bpf", flags).expect("our own namespace");
    let refused = xdp(&loader().without_token()).expect_err("no capability outside");
    assert!(matches!(refused, Error::Permission { .. }), "{refused}");
    let object = xdp(&loader()).expect("with the token that was found");
    assert_eq!(object.types_refused(), None, "types are delegated as well");
    let hits = object.map_named("hits").expect("made");
    hits.update(&[0; 4], &[1; 8], kscope_bpf::UpdateMode::Any)
        .expect("ours");
    // What is not delegated is named.
    let token = Token::create(&kernel, "/sys/fs/bpf").expect("it delegates");
    let with = loader().token(&token);
    let refused = load(&with, MapKind::Hash, ProgramType::Xdp).expect_err("no hashes");
    assert_eq!(missing(&refused), "delegate_maps=hash");
    let refused = load(&with, MapKind::Array, ProgramType::Kprobe).expect_err("no kprobes");
    assert_eq!(missing(&refused), "delegate_progs=kprobe");
    println!("all done");
}

#[test]
fn a_user_namespace_loads_what_is_delegated_to_it() {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let kernel = kernel_or_skip!();
    match Token::create(&kernel, "/sys/fs/bpf") {
        Err(error @ Error::Unsupported { .. }) => skip!("token", "{error}"),
        // Out here a token is of no use.
        other => assert!(matches!(other, Err(Error::Invalid { .. })), "{other:?}"),
    }
    let test = "a_user_namespace_loads_what_is_delegated_to_it";
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let child = Command::new("unshare")
        .args(["-U", "-r", "-m"])
        .arg(std::env::current_exe().expect("a path"))
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        skip!("unshare", "there is no program unshare");
    };
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let number = lines.find_map(|line| {
        let line = line.expect("text");
        let (_, number) = line.split_once("context ")?;
        number.parse().ok()
    });
    let Some(number) = number else {
        let status = child.wait().expect("ours");
        skip!("user_namespaces", "no user namespace: {status}");
    };
    let pid = Pid::from_child(&child);
    let process = pidfd_open(pid, PidfdFlags::empty()).expect("Linux 5.3");
    let context = pidfd_getfd(process, number, PidfdGetfdFlags::empty()).expect("Linux 5.6");
    let set = |&(key, value): &(&str, &str)| fsconfig_set_string(context.as_fd(), key, value);
    DELEGATED
        .iter()
        .try_for_each(set)
        .expect("the kernel has tokens");
    mount(context.as_fd(), &ours);
    let said: Vec<String> = lines.map(|line| line.expect("text")).collect();
    assert!(child.wait().expect("ours").success(), "{said:#?}");
    assert!(
        said.iter().any(|line| line.contains("all done")),
        "{said:#?}"
    );
    assert!(kernel.delegated().is_none());
}
