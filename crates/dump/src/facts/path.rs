//! Names of files, as the kernel would tell them: from a directory entry up to the root.

use kscope_btf::Btf;
use kscope_memory::{FieldAt, Object, VirtAddr};

use super::kernel::Kernel;
use crate::Error;

/// Most directories and mounts above a file.
const LEVELS: usize = 4096;
/// Most bytes of a name of a directory entry (`NAME_MAX`).
const NAME: usize = 255;
/// Longest path that is told.
const PATH: usize = 64 << 10;

/// Gives the name of what a `struct path` leads to.
pub(crate) fn of_path(kernel: &Kernel, path: VirtAddr) -> Result<Vec<u8>, Error> {
    let path = kernel.object("path", path)?;
    let dentry = path.member("dentry")?.pointer()?;
    let mount = path.member("mnt")?.pointer()?;
    of_dentry(kernel, dentry, Some(mount))
}

/// Gives the name of a directory entry below the root of the mounts of a `struct vfsmount`; in its
/// own file system where none is given.
pub(crate) fn of_dentry(
    kernel: &Kernel,
    dentry: VirtAddr,
    mount: Option<VirtAddr>,
) -> Result<Vec<u8>, Error> {
    let btf = kernel.btf()?;
    let dentry = kernel.object("dentry", dentry)?;
    let mut mount = mount
        .map(|mount| mount_of(kernel, btf, mount))
        .transpose()?;
    if let Some(mount) = &mount {
        if let Some(name) = made_name(kernel, &dentry, mount)? {
            return Ok(name);
        }
    }
    let links = Links::of(btf)?;
    let is_deleted = dentry.member("d_hash.pprev")?.pointer()?.0 == 0 && !is_root(&dentry)?;
    // The names from the file to the root.
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut bytes = 0;
    let mut at = dentry;
    for _ in 0..LEVELS {
        if let Some(here) = mount {
            let root = here.member("mnt.mnt_root")?.pointer()?;
            if root == at.addr() {
                let above = here.member("mnt_parent")?.deref()?;
                if above.addr() == here.addr() {
                    return Ok(joined(&names, is_deleted));
                }
                at = here.member("mnt_mountpoint")?.deref()?;
                mount = Some(above);
                continue;
            }
        }
        let parent = at.field(links.parent)?.deref()?;
        if parent.addr() == at.addr() {
            return Ok(joined(&names, is_deleted));
        }
        let name = at.field(links.name)?.text(NAME)?;
        bytes += name.len() + 1;
        if bytes > PATH {
            break;
        }
        names.push(name);
        at = parent;
    }
    Err(Error::TooMany {
        what: "the path of a file",
    })
}

/// What is read of each directory.
struct Links {
    parent: FieldAt,
    name: FieldAt,
}

impl Links {
    fn of(btf: &Btf) -> Result<Links, Error> {
        Ok(Links {
            parent: FieldAt::of(btf, "dentry", "d_parent")?,
            name: FieldAt::of(btf, "dentry", "d_name.name")?,
        })
    }
}

/// Gives the name of a buffer that devices share, behind that of its directory entry
/// (`dmabuffs_dname`).
fn dma_buf(kernel: &Kernel, dentry: &Object<'_>, name: &[u8]) -> Result<Vec<u8>, Error> {
    let buffer = dentry.member("d_fsdata")?.pointer()?;
    let own = kernel.object("dma_buf", buffer)?.member("name")?;
    let own = match own.pointer()?.0 {
        0 => Vec::new(),
        _ => own.text(NAME)?,
    };
    Ok([b"/", name, b":", own.as_slice()].concat())
}

/// Says whether a directory entry is the root of its file system, or of none.
fn is_root(dentry: &Object<'_>) -> Result<bool, Error> {
    Ok(dentry.member("d_parent")?.pointer()? == dentry.addr())
}

fn mount_of<'k>(kernel: &'k Kernel, btf: &'k Btf, mount: VirtAddr) -> Result<Object<'k>, Error> {
    let inside = FieldAt::of(btf, "mount", "mnt")?;
    let addr = VirtAddr(mount.0.wrapping_sub(inside.offset));
    kernel.object("mount", addr)
}

fn joined(names: &[Vec<u8>], is_deleted: bool) -> Vec<u8> {
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    if is_deleted {
        path.extend(b" (deleted)");
    }
    path
}

/// Gives the name of what is in no directory: a socket, a pipe, a namespace, a file that never had
/// another name.
fn made_name(
    kernel: &Kernel,
    dentry: &Object<'_>,
    mount: &Object<'_>,
) -> Result<Option<Vec<u8>>, Error> {
    let ops = dentry.member("d_op")?;
    if ops.pointer()?.0 == 0 || ops.member("d_dname")?.pointer()?.0 == 0 {
        return Ok(None);
    }
    // What was mounted somewhere, as `ip netns` does with namespaces, is called after that place.
    if is_root(dentry)? && mount.member("mnt.mnt_root")?.pointer()? == dentry.addr() {
        return Ok(None);
    }
    let inode = dentry.member("d_inode")?.deref()?;
    let number = || -> Result<u64, Error> { Ok(inode.member("i_ino")?.value()?) };
    let name = || -> Result<Vec<u8>, Error> { Ok(dentry.member("d_name.name")?.text(NAME)?) };
    let kind = dentry
        .member("d_sb")?
        .deref()?
        .member("s_type")?
        .deref()?
        .member("name")?
        .text(NAME)?;
    let numbered = |what: &[u8]| -> Result<Vec<u8>, Error> {
        let mut text = what.to_vec();
        text.extend(format!(":[{}]", number()?).bytes());
        Ok(text)
    };
    Ok(Some(match kind.as_slice() {
        b"sockfs" => numbered(b"socket")?,
        b"pipefs" => numbered(b"pipe")?,
        b"nsfs" => {
            let space = inode.member("i_private")?.pointer()?;
            let space = kernel.object("ns_common", space)?;
            let ops = space.member("ops")?.deref()?;
            let ops = ops.member("name")?.text(NAME)?;
            numbered(&ops)?
        }
        // pidfs_dname(), since Linux 6.9.
        b"pidfs" => b"anon_inode:[pidfd]".to_vec(),
        b"dmabuf" => dma_buf(kernel, dentry, &name()?)?,
        b"anon_inodefs" => [b"anon_inode:", name()?.as_slice()].concat(),
        // simple_dname()
        _ => [b"/", name()?.as_slice(), b" (deleted)"].concat(),
    }))
}
