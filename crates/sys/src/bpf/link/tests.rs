//! The bytes of `BPF_LINK_CREATE` and its kin, at the offsets of include/uapi/linux/bpf.h.

use std::os::fd::AsFd;

use super::*;
use crate::bpf::{AttachTarget, Bpf, ProgramAttach, ProgramDetach, ProgramQuery};

/// Some descriptor.
fn null() -> std::fs::File {
    std::fs::File::open("/dev/null").expect("every machine")
}

/// Encodes a command and compares its number, its size and fields of 32 bits.
#[track_caller]
fn check(mut bpf: Bpf<'_>, command: u32, size: usize, fields: &[(usize, u32)]) {
    let attr = bpf.attr().expect("well formed");
    assert_eq!((attr.command, attr.size), (command, size), "{bpf:?}");
    for &(at, value) in fields {
        assert_eq!(attr.get_u32(at), value, "{bpf:?} at {at}");
    }
    let past = (size.next_multiple_of(4)..128).step_by(4);
    assert!(past.into_iter().all(|at| attr.get_u32(at) == 0), "{bpf:?}");
}

/// Compares a link whose program is `program`.
#[track_caller]
fn link(target: LinkTarget<'_>, size: usize, fields: &[(usize, u32)]) {
    let file = null();
    let create = LinkCreate {
        program: file.as_fd(),
        attach_type: 46,
        target,
    };
    let mut all = vec![(0, file.as_raw_fd() as u32), (8, 46)];
    all.extend(fields);
    check(Bpf::LinkCreate(create), 28, size, &all);
}

#[test]
fn every_target_has_its_place() {
    let file = null();
    let (fd, raw) = (file.as_fd(), file.as_raw_fd() as u32);
    link(LinkTarget::StructOps, 16, &[(4, 0)]);
    link(
        LinkTarget::Function {
            program: fd,
            btf_id: 9,
            cookie: 0,
        },
        20,
        &[(4, raw), (16, 9)],
    );
    link(
        LinkTarget::Function {
            program: fd,
            btf_id: 9,
            cookie: 5,
        },
        32,
        &[(4, raw), (16, 9), (24, 5)],
    );
    link(LinkTarget::Descriptor(fd), 16, &[(4, raw)]);
    link(
        LinkTarget::Xdp {
            interface: 3,
            flags: 2,
        },
        16,
        &[(4, 3), (12, 2)],
    );
    link(
        LinkTarget::Netfilter {
            family: 2,
            hook: 1,
            priority: -5,
            flags: 1,
        },
        32,
        &[(16, 2), (20, 1), (24, u32::MAX - 4), (28, 1)],
    );
    let unsaid = LinkTarget::Cgroup {
        cgroup: fd,
        order: Order::Unsaid,
    };
    link(unsaid, 16, &[(4, raw), (12, 0)]);
    let last = LinkTarget::Cgroup {
        cgroup: fd,
        order: Order::Last,
    };
    link(last, 32, &[(4, raw), (12, 1 << 4), (16, 0)]);
}

#[test]
fn orders_are_flags_and_a_neighbour() {
    let file = null();
    let (fd, raw) = (file.as_fd(), file.as_raw_fd() as u32);
    for (order, flags, peer) in [
        (Order::Unsaid, 0, 0),
        (Order::First, 1 << 3, 0),
        (Order::Last, 1 << 4, 0),
        (Order::Before(Peer::Program(fd)), 1 << 3, raw),
        (Order::After(Peer::ProgramId(7)), 1 << 4 | 1 << 5, 7),
        (Order::Before(Peer::Link(fd)), 1 << 3 | 1 << 13, raw),
        (Order::After(Peer::LinkId(8)), 1 << 4 | 1 << 5 | 1 << 13, 8),
    ] {
        let interface = LinkTarget::Interface {
            interface: 2,
            order,
        };
        link(interface, 32, &[(4, 2), (12, flags), (16, peer)]);
    }
}

#[test]
fn many_places_are_lists_of_one_length() {
    let (offsets, cookies) = ([1u64, 2], [3u64, 4]);
    let low = |list: &[u64]| list.as_ptr() as u64 as u32;
    let uprobes = |cookies| LinkTarget::UprobeMulti {
        path: c"/bin/sh",
        offsets: &offsets,
        counters: &[],
        cookies,
        pid: 77,
        returns: true,
    };
    link(
        uprobes(&cookies),
        60,
        &[
            (24, low(&offsets)),
            (32, 0),
            (40, low(&cookies)),
            (48, 2),
            (52, 1),
            (56, 77),
        ],
    );
    let kprobes = LinkTarget::KprobeMulti {
        names: &[],
        addresses: &offsets,
        cookies: &[],
        returns: false,
    };
    link(
        kprobes,
        48,
        &[(16, 0), (20, 2), (24, 0), (32, low(&offsets))],
    );
    let functions = LinkTarget::TracingMulti {
        btf_ids: &[7, 8],
        cookies: &cookies,
    };
    link(functions, 36, &[(24, low(&cookies)), (32, 2)]);
    let file = null();
    for target in [
        uprobes(&cookies[..1]),
        LinkTarget::KprobeMulti {
            names: &[c"f".to_owned()],
            addresses: &offsets,
            cookies: &[],
            returns: false,
        },
    ] {
        let create = LinkCreate {
            program: file.as_fd(),
            attach_type: 0,
            target,
        };
        assert_eq!(create.attr().err(), Some(Errno::INVAL), "{target:?}");
    }
}

#[test]
fn iterators_pass_what_their_kernel_knows() {
    let file = null();
    let (fd, raw) = (file.as_fd(), file.as_raw_fd() as u32);
    let check = |over: IterOver<'_>, size: usize, words: [u32; 4]| {
        let (length, info) = over.encode();
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(
            (length, info.as_slice()),
            (size, words.as_slice()),
            "{over:?}"
        );
        let sizes: &[(usize, u32)] = if size == 0 { &[] } else { &[(24, size as u32)] };
        link(
            LinkTarget::Iterator(over),
            if size == 0 { 16 } else { 28 },
            sizes,
        );
    };
    check(IterOver::All, 0, [0; 4]);
    check(IterOver::Map(fd), 4, [raw, 0, 0, 0]);
    check(
        IterOver::Cgroup {
            cgroup: fd,
            order: 1,
        },
        16,
        [1, raw, 0, 0],
    );
    check(IterOver::Thread(5), 12, [5, 0, 0, 0]);
    check(IterOver::Process(6), 12, [0, 6, 0, 0]);
    check(IterOver::ProcessFd(fd), 12, [0, 0, raw, 0]);
}

#[test]
fn links_are_changed_and_asked_for() {
    let (one, two, three) = (null(), null(), null());
    let raw = |file: &std::fs::File| file.as_raw_fd() as u32;
    check(
        Bpf::LinkUpdate {
            link: one.as_fd(),
            new: two.as_fd(),
            old: Some(three.as_fd()),
        },
        29,
        16,
        &[(0, raw(&one)), (4, raw(&two)), (8, 4), (12, raw(&three))],
    );
    let plain = Bpf::LinkUpdate {
        link: one.as_fd(),
        new: two.as_fd(),
        old: None,
    };
    check(plain, 29, 16, &[(8, 0), (12, 0)]);
    check(
        Bpf::LinkDetach { link: one.as_fd() },
        34,
        4,
        &[(0, raw(&one))],
    );
    check(Bpf::LinkNextId { after: 7 }, 31, 12, &[(0, 7)]);
    check(Bpf::LinkById { id: 7 }, 30, 12, &[(0, 7)]);
    check(Bpf::MapNextId { after: 7 }, 12, 12, &[(0, 7)]);
    check(Bpf::MapById { id: 7 }, 14, 12, &[(0, 7)]);
    let path = c"/sys/fs/bpf/x";
    let (low, high) = (
        path.as_ptr() as u64 as u32,
        (path.as_ptr() as u64 >> 32) as u32,
    );
    let pin = Bpf::Pin {
        path,
        object: one.as_fd(),
    };
    check(pin, 6, 12, &[(0, low), (4, high), (8, raw(&one))]);
    check(Bpf::Pinned { path }, 7, 12, &[(0, low), (4, high)]);
}

#[test]
fn attachments_without_links_have_flags() {
    let (one, two, three) = (null(), null(), null());
    let raw = |file: &std::fs::File| file.as_raw_fd() as u32;
    let attach = |replace, order| {
        Bpf::ProgramAttach(ProgramAttach {
            target: AttachTarget::Descriptor(one.as_fd()),
            program: two.as_fd(),
            attach_type: 1,
            flags: 2,
            replace,
            order,
        })
    };
    let both = [(0, raw(&one)), (4, raw(&two)), (8, 1)];
    check(attach(None, Order::Unsaid), 8, 20, &both);
    check(attach(None, Order::Unsaid), 8, 20, &[(12, 2), (16, 0)]);
    check(
        attach(Some(three.as_fd()), Order::Unsaid),
        8,
        20,
        &[(12, 2 | 4), (16, raw(&three))],
    );
    check(
        attach(None, Order::After(Peer::ProgramId(9))),
        8,
        32,
        &[(12, 2 | 1 << 4 | 1 << 5), (20, 9)],
    );
    let detach = ProgramDetach {
        target: AttachTarget::Interface(3),
        program: None,
        attach_type: 46,
    };
    check(
        Bpf::ProgramDetach(detach),
        9,
        20,
        &[(0, 3), (4, 0), (8, 46)],
    );
    let mut ids = [0; 5];
    let low = ids.as_mut_ptr() as u64 as u32;
    let query = ProgramQuery {
        target: AttachTarget::Interface(3),
        attach_type: 46,
        flags: 1,
        ids: &mut ids,
    };
    let fields = [(0, 3), (4, 46), (8, 1), (16, low), (24, 5)];
    check(Bpf::ProgramQuery(query), 16, 64, &fields);
}

#[test]
fn what_the_kernel_tells_is_read_at_its_offset() {
    let mut bytes = [0; LinkInfo::SIZE];
    for (at, value) in [(0, 11u32), (4, 5), (8, 6), (16, 3), (20, 46)] {
        bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }
    let info = LinkInfo::decode(&bytes, b"name\0rest");
    assert_eq!((info.kind, info.id, info.program), (11, 5, 6));
    assert_eq!(info.text, b"name");
    assert_eq!((info.u32(16), info.u32(20), info.u32(62)), (3, 46, 0));
    assert_eq!((info.u64(16), info.u64(60)), (46 << 32 | 3, 0));
    let place = |kind: u8, event: u8| {
        let mut bytes = [0; LinkInfo::SIZE];
        (bytes[0], bytes[16]) = (kind, event);
        LinkInfo::text_place(&bytes)
    };
    assert_eq!(place(1, 0), Some((16, 24)));
    assert_eq!(place(4, 0), Some((16, 24)));
    assert_eq!(place(7, 0), None, "before Linux 6.6");
    assert_eq!(place(7, 5), Some((24, 32)));
    assert_eq!(place(7, 6), None, "no name");
    assert_eq!(place(12, 0), Some((16, 48)));
    assert_eq!(place(8, 0), None, "addresses, no text");
}
