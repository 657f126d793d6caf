//! Walks that a script asks for, over what the kernel links.

use kscope_dump::{Error, Kernel};
use kscope_memory::{MapleLayout, Walk, WalkError, XarrayLayout};
use kscope_memory::{VirtAddr, hlist, rbtree};
use kscope_script::interpret::{self as script, WalkKind};

/// Most elements of one walk: the kernel has no more processes.
const MOST: usize = 1 << 22;

/// Gives the addresses of the links below a root, or what the entries of an array are, and why
/// there may be more.
pub(super) fn links(kernel: &Kernel, kind: WalkKind, root: VirtAddr) -> script::Walk {
    let (found, fault) = match kind {
        WalkKind::Hlist => all(hlist(kernel, root, MOST)),
        WalkKind::Rbtree => all(rbtree(kernel, root, MOST)),
        WalkKind::Xarray | WalkKind::Maple => match entries(kernel, kind, root) {
            Ok(found) => found,
            Err(error) => {
                return script::Walk {
                    found: Vec::new(),
                    fault: Some(error.to_string()),
                };
            }
        },
    };
    let what = match kind {
        WalkKind::Hlist => "list",
        WalkKind::Rbtree => "tree",
        WalkKind::Xarray => "array",
        WalkKind::Maple => "tree of ranges",
    };
    let fault = fault.map(|fault| format!("there may be more in the {what} at {root}: {fault}"));
    script::Walk { found, fault }
}

fn all(walk: Walk<'_>) -> (Vec<u64>, Option<WalkError>) {
    let mut found = Vec::new();
    let mut fault = None;
    for link in walk {
        match link {
            Ok(link) => found.push(link.0),
            Err(error) => fault = Some(error),
        }
    }
    (found, fault)
}

/// Gives the entries of an array or a tree of ranges that are pointers.
fn entries(
    kernel: &Kernel,
    kind: WalkKind,
    root: VirtAddr,
) -> Result<(Vec<u64>, Option<WalkError>), Error> {
    let btf = kernel.btf()?;
    let (found, fault) = match kind {
        WalkKind::Maple => MapleLayout::of(btf)?.entries(kernel, root, MOST),
        _ => XarrayLayout::of(btf)?.entries(kernel, root, MOST),
    };
    let pointers = found.into_iter().map(|(_, entry)| entry);
    let pointers = pointers.filter(|entry| VirtAddr(*entry).is_kernel());
    Ok((pointers.collect(), fault))
}
