//! Tokens of a kernel that a test plays.

use kscope_spec::{AttachKind, ProgramType};
use kscope_sys::{Bpf, Call, FakeKernel, Reply};

use super::*;

/// What is mounted, as a kernel with its types and one without tell.
const MOUNTS: &str = "22 1 0:21 / / rw - ext4 /dev/vda rw\n\
    30 22 0:27 / /sys/fs/bpf rw,nosuid - bpf none rw,mode=700,\
    delegate_cmds=map_create:prog_load,delegate_maps=array:percpu_hash,\
    delegate_progs=0x2:xdp,delegate_attachs=any\n\
    31 22 0:28 / /mnt rw - tmpfs tmpfs rw\n\
    32 22 0:29 / /run/bpf\\040of\\134me rw - bpf none rw,delegate_maps=any\n";

fn fake(answer: Result<(), Errno>, capabilities: u64) -> SharedKernel {
    fake_of(answer, capabilities, Errno::BADF)
}

/// A kernel that answers a request for a token of nothing by `knows`.
fn fake_of(answer: Result<(), Errno>, capabilities: u64, knows: Errno) -> SharedKernel {
    Arc::new(FakeKernel::new(move |call| match call {
        Call::OpenDirectory(path) if path.starts_with("/no") => Err(Errno::NOENT),
        Call::OpenDirectory(_) => FakeKernel::object(),
        Call::ReadFile(path) if path.ends_with("mountinfo") => Ok(Reply::Bytes(MOUNTS.into())),
        Call::ReadFile(_) => Err(Errno::NOENT),
        Call::Capabilities => Ok(Reply::Number(capabilities)),
        Call::Bpf(Bpf::TokenCreate { bpffs: None }) => Err(knows),
        Call::Bpf(Bpf::TokenCreate { .. }) => answer.and_then(|()| FakeKernel::object()),
        Call::Bpf(Bpf::ProgramLoad(_)) => FakeKernel::object(),
        Call::ReadDetached { .. } => Err(Errno::PERM),
        other => panic!("{other:?}"),
    }))
}

#[test]
fn what_keeps_a_token_from_being_made_is_named() {
    #[track_caller]
    fn check(path: &str, answer: Errno, capabilities: u64, expected: &str) {
        let error = Token::create(&fake(Err(answer), capabilities), path).expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
    let all = u64::MAX;
    check("/no", Errno::INVAL, all, "there is no directory /no");
    check(
        "/mnt/",
        Errno::INVAL,
        all,
        "the BPF file system is not mounted (mount it: mount -t bpf bpf /sys/fs/bpf)",
    );
    check(
        "/sys/fs/bpf/below",
        Errno::INVAL,
        all,
        "/sys/fs/bpf/below is not the root of a BPF file system, and a token is made of nothing \
         else: give the folder that it is mounted at",
    );
    // A kernel without tokens says the same of every folder, and of none.
    for path in [USUAL, "/mnt/"] {
        let old = fake_of(Err(Errno::INVAL), all, Errno::INVAL);
        let error = Token::create(&old, path).expect_err("refused");
        let expected = "this kernel has no BPF tokens (it comes with Linux 6.9)";
        assert_eq!(error.to_string(), expected);
    }
    check(
        USUAL,
        Errno::NOENT,
        all,
        "BPF_TOKEN_CREATE is not permitted: the BPF file system at /sys/fs/bpf does not delegate it \
         (any of delegate_cmds, delegate_maps, delegate_progs, delegate_attachs)",
    );
    check(
        USUAL,
        Errno::PERM,
        all,
        "BPF_TOKEN_CREATE is not permitted: the BPF file system at /sys/fs/bpf belongs to another \
         user namespace",
    );
    check(
        USUAL,
        Errno::PERM,
        0,
        "BPF_TOKEN_CREATE is not permitted: the process lacks CAP_BPF",
    );
    check(
        USUAL,
        Errno::OPNOTSUPP,
        all,
        "a BPF token is for a user namespace of its own; the first one needs none",
    );
}

#[test]
fn the_missing_delegation_is_named() {
    let token = Token::create(&fake(Ok(()), u64::MAX), USUAL).expect("made");
    let kernel = token.kernel();
    let check = |wanted: Wanted<'_>, expected: Option<&str>| {
        let option = missing(&*kernel, wanted).map(|denial| match denial {
            Denial::Delegation { option, .. } => option,
            other => panic!("{other:?}"),
        });
        assert_eq!(option.as_deref(), expected, "{wanted:?}");
    };
    let program = |kind| ProgramSpec {
        kind,
        attach: AttachKind::None,
        ..ProgramSpec::default()
    };
    check(Wanted::Map(MapKind::Array), None);
    check(Wanted::Map(MapKind::PerCpuHash), None);
    check(
        Wanted::Map(MapKind::PerCpuArray),
        Some("delegate_maps=percpu_array"),
    );
    check(Wanted::Types, Some("delegate_cmds=btf_load"));
    check(Wanted::Program(&program(ProgramType::Xdp)), None);
    // 0x2 is the set of number 1.
    check(Wanted::Program(&program(ProgramType::SocketFilter)), None);
    check(
        Wanted::Program(&program(ProgramType::Kprobe)),
        Some("delegate_progs=kprobe"),
    );
    assert_eq!(
        missing(&*fake(Ok(()), 0), Wanted::Types),
        None,
        "no token goes along"
    );
}

#[test]
fn mount_points_with_blanks_are_found() {
    let kernel = fake(Ok(()), u64::MAX);
    let found = Mounted::at(&*kernel, "/run/bpf of\\me").expect("it is mounted");
    assert_eq!(
        (&*found.kind, &*found.options),
        ("bpf", "rw,delegate_maps=any")
    );
}
