//! Paths of files of a kernel built by code: what is in no directory, and what of that was mounted.

mod recipe;

use std::sync::Arc;

use kscope_btf::{Encoding, NewMember, TypeId, write::Builder};
use kscope_dump::{Bytes, Dump, DumpOptions, Kernel};
use kscope_memory::VirtAddr;
use recipe::kernel::{SHAPE, Tiny};
use recipe::{Kdump, Pack, tasks};

/// Where objects are, 256 bytes each.
const OBJECTS: u64 = 0xffff_8880_0030_0000;

fn at(index: u64) -> u64 {
    OBJECTS + index * 0x100
}

/// Directory entries: the root, what is looked for, the root of its file system.
const ROOT: u64 = 0;
const LEAF: u64 = 1;
const OWN_ROOT: u64 = 2;
const PLACE: u64 = 3;
/// Mounts: the first, one where something is mounted, one that is nowhere.
const MOUNT: u64 = 4;
const BOUND: u64 = 5;
const NOWHERE: u64 = 6;
const SUPER: u64 = 7;
const TYPE: u64 = 8;
const OPERATIONS: u64 = 9;
const INODE: u64 = 10;
const SPACE: u64 = 11;
const SPACE_OPERATIONS: u64 = 12;
const BUFFER: u64 = 13;
/// Texts.
const NAMES: u64 = 14;

/// Adds a structure of pointers: each member is 8 bytes behind the one before.
fn pointers(b: &mut Builder, name: &str, members: &[(&str, TypeId)]) -> TypeId {
    let members: Vec<NewMember<'_>> = members
        .iter()
        .zip(0..)
        .map(|((name, ty), index)| NewMember::new(name, *ty, 64 * index))
        .collect();
    b.add_struct(name, 8 * members.len() as u32, &members)
}

fn types() -> Builder {
    let mut b = tasks::types();
    let long = b.add_int("u64", 8, Encoding::Unsigned);
    let char_ = b.add_int("s8", 1, Encoding::Signed);
    let text = b.add_ptr(char_);
    let kind = pointers(&mut b, "file_system_type", &[("name", text)]);
    let kind = b.add_ptr(kind);
    let sb = pointers(&mut b, "super_block", &[("s_type", kind)]);
    let sb = b.add_ptr(sb);
    let inode = pointers(&mut b, "inode", &[("i_ino", long), ("i_private", long)]);
    let inode = b.add_ptr(inode);
    let ops = pointers(&mut b, "dentry_operations", &[("d_dname", long)]);
    let ops = b.add_ptr(ops);
    let space = pointers(&mut b, "proc_ns_operations", &[("name", text)]);
    let space = b.add_ptr(space);
    pointers(&mut b, "ns_common", &[("ops", space)]);
    pointers(&mut b, "dma_buf", &[("name", text)]);
    let hash = pointers(&mut b, "hlist_bl_node", &[("next", long), ("pprev", long)]);
    let name = pointers(&mut b, "qstr", &[("hash", long), ("name", text)]);
    // The type that follows is the one that pointers refer to before it is there.
    let dentry = b.next_id();
    let dentry = b.add_ptr(TypeId(dentry.0 + 1));
    let members = [
        NewMember::new("d_parent", dentry, 0),
        NewMember::new("d_hash", hash, 64),
        NewMember::new("d_name", name, 64 * 3),
        NewMember::new("d_inode", inode, 64 * 5),
        NewMember::new("d_op", ops, 64 * 6),
        NewMember::new("d_sb", sb, 64 * 7),
        NewMember::new("d_fsdata", long, 64 * 8),
    ];
    b.add_struct("dentry", 72, &members);
    let vfs = pointers(&mut b, "vfsmount", &[("mnt_root", dentry)]);
    let mount = b.next_id();
    let mount = b.add_ptr(TypeId(mount.0 + 1));
    let members = [
        ("mnt_parent", mount),
        ("mnt_mountpoint", dentry),
        ("mnt", vfs),
    ];
    pointers(&mut b, "mount", &members);
    b
}

/// A file system with one file, which is mounted at `/place` as well.
fn kernel(kind: &str, name: &str, is_mounted: bool) -> Kernel {
    let mut tiny = Tiny::new(SHAPE);
    tiny.functions = 16;
    tasks::write_types(&mut tiny, types());
    let text = |tiny: &mut Tiny, index: u64, text: &str| {
        let at = at(NAMES + index);
        tiny.write(at, format!("{text}\0").as_bytes());
        at
    };
    let empty = text(&mut tiny, 0, "/");
    let place = text(&mut tiny, 1, "place");
    let name = text(&mut tiny, 2, name);
    let kind = text(&mut tiny, 3, kind);
    let shared = text(&mut tiny, 4, "frames");
    let space = text(&mut tiny, 5, "net");
    let mut dentry = |index: u64, parent: u64, name: u64, made: bool| {
        let ops = if made { at(OPERATIONS) } else { 0 };
        let words = [
            at(parent),
            0,
            1,
            0,
            name,
            at(INODE),
            ops,
            at(SUPER),
            at(BUFFER),
        ];
        tasks::words(&mut tiny, at(index), &words);
    };
    dentry(ROOT, ROOT, empty, false);
    dentry(PLACE, ROOT, place, false);
    dentry(OWN_ROOT, OWN_ROOT, empty, false);
    dentry(LEAF, LEAF, name, true);
    let mounts = [
        (MOUNT, MOUNT, ROOT, ROOT),
        (
            BOUND,
            MOUNT,
            PLACE,
            if is_mounted { LEAF } else { OWN_ROOT },
        ),
        (NOWHERE, NOWHERE, OWN_ROOT, OWN_ROOT),
    ];
    for (index, parent, place, root) in mounts {
        tasks::words(&mut tiny, at(index), &[at(parent), at(place), at(root)]);
    }
    for (index, words) in [
        (SUPER, [at(TYPE), 0]),
        (TYPE, [kind, 0]),
        (OPERATIONS, [0xffff_ffff_8100_0000, 0]),
        (INODE, [4_026_531_840, at(SPACE)]),
        (SPACE, [at(SPACE_OPERATIONS), 0]),
        (SPACE_OPERATIONS, [space, 0]),
        (BUFFER, [shared, 0]),
    ] {
        tasks::words(&mut tiny, at(index), &words);
    }
    let file = Kdump::new(Pack::Raw).write(&tiny.finish());
    let files: Vec<Arc<dyn Bytes>> = vec![Arc::new(file)];
    let dump = Dump::from_bytes(files, DumpOptions::default()).expect("a dump");
    Kernel::open(dump).expect("a kernel")
}

#[test]
fn what_is_in_no_directory_has_the_kernels_name_for_it() {
    let check = |kind: &str, name: &str, expected: &str| {
        let kernel = kernel(kind, name, false);
        // `mnt` is the third member of a mount.
        let mount = VirtAddr(at(NOWHERE) + 16);
        let path = kernel.dentry_path(VirtAddr(at(LEAF)), Some(mount));
        let path = path.expect("a path");
        assert_eq!(String::from_utf8_lossy(&path), expected, "{kind}");
    };
    check("sockfs", "", "socket:[4026531840]");
    check("pipefs", "", "pipe:[4026531840]");
    check("nsfs", "", "net:[4026531840]");
    check("pidfs", "", "anon_inode:[pidfd]");
    check("dmabuf", "dmabuf", "/dmabuf:frames");
    check("anon_inodefs", "[eventfd]", "anon_inode:[eventfd]");
    check("tmpfs", "memfd:x", "/memfd:x (deleted)");
}

#[test]
fn a_namespace_that_is_mounted_is_called_after_its_place() {
    let check = |is_mounted: bool, expected: &str| {
        let kernel = kernel("nsfs", "", is_mounted);
        let mount = VirtAddr(at(BOUND) + 16);
        let path = kernel.dentry_path(VirtAddr(at(LEAF)), Some(mount));
        let path = path.expect("a path");
        assert_eq!(String::from_utf8_lossy(&path), expected);
    };
    check(true, "/place");
    check(false, "net:[4026531840]");
}
