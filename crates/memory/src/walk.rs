//! Walks over the kernel's lists and trees. Each has a bound, notices cycles, and gives a gap in
//! its place: what was found before it is good.

use core::fmt;
use std::collections::HashSet;

use crate::{GapAt, Memory, VirtAddr};

/// Why a walk ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WalkError {
    /// A link cannot be read.
    Gap(GapAt),
    /// A link leads to where the walk had been.
    Cycle(VirtAddr),
    /// There is more than the walk was to give.
    Bound(usize),
    /// A link leads to no kernel address.
    Astray(VirtAddr),
}

impl fmt::Display for WalkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WalkError::Gap(gap) => gap.fmt(f),
            WalkError::Cycle(at) => write!(f, "the walk comes back to {at}"),
            WalkError::Bound(most) => write!(f, "the walk has more than {most} elements"),
            WalkError::Astray(at) => write!(f, "the walk leads to {at}, no kernel address"),
        }
    }
}

impl std::error::Error for WalkError {}

impl From<GapAt> for WalkError {
    fn from(gap: GapAt) -> WalkError {
        WalkError::Gap(gap)
    }
}

/// Elements of a walk, one by one; after an error none.
///
/// The addresses are those of the links; [`crate::Object::container`] or an offset leads from them
/// to the structures that they are in.
pub struct Walk<'m> {
    memory: &'m dyn Memory,
    kind: Kind,
    seen: HashSet<VirtAddr>,
    most: usize,
    done: bool,
}

enum Kind {
    /// A list whose last link leads to the head, or to nothing; and the address of the next link.
    List {
        head: Option<VirtAddr>,
        link: VirtAddr,
    },
    /// Nodes of a red-black tree that are yet to be left, the next on top.
    Tree {
        path: Vec<VirtAddr>,
        from: Option<VirtAddr>,
    },
}

/// Walks a `struct list_head` from its head, which is not given.
#[must_use]
pub fn list(memory: &dyn Memory, head: VirtAddr, most: usize) -> Walk<'_> {
    let kind = Kind::List {
        head: Some(head),
        link: head,
    };
    Walk::new(memory, kind, most)
}

/// Walks a `struct hlist_head` or `struct llist_head`, whose last link is null. The lowest bit of
/// a link that ends a `hlist_nulls` counts as null; that of the head of a `hlist_bl` says that the
/// list is locked.
#[must_use]
pub fn hlist(memory: &dyn Memory, head: VirtAddr, most: usize) -> Walk<'_> {
    let kind = Kind::List {
        head: None,
        link: head,
    };
    Walk::new(memory, kind, most)
}

/// Walks a `struct rb_root` in order; of a `struct rb_root_cached`, the root is its first member.
#[must_use]
pub fn rbtree(memory: &dyn Memory, root: VirtAddr, most: usize) -> Walk<'_> {
    let kind = Kind::Tree {
        path: Vec::new(),
        from: Some(root),
    };
    Walk::new(memory, kind, most)
}

/// Deepest path in a red-black tree: twice the bits of its size.
const DEEPEST: usize = 128;
/// Offsets in `struct rb_node`, after the parent with the colour.
const RIGHT: u64 = 8;
const LEFT: u64 = 16;

impl<'m> Walk<'m> {
    fn new(memory: &'m dyn Memory, kind: Kind, most: usize) -> Walk<'m> {
        Walk {
            memory,
            kind,
            seen: HashSet::new(),
            most,
            done: false,
        }
    }

    /// Takes the next element, if there is one.
    fn advance(&mut self) -> Result<Option<VirtAddr>, WalkError> {
        match &mut self.kind {
            Kind::List { head, link } => {
                let mut next = VirtAddr(self.memory.read_u64(*link)?);
                let bare = VirtAddr(next.0 & !1);
                let is_first = head.is_none() && self.seen.is_empty();
                // The head of an empty `hlist_nulls` has a number with the bit, or its own address.
                if is_first && bare != *link && bare.is_kernel() {
                    next = bare;
                }
                let end = match head {
                    Some(head) => next == *head,
                    None => next.0 == 0 || next.0 & 1 != 0,
                };
                if end {
                    return Ok(None);
                }
                *link = next;
                admit(&mut self.seen, next, self.most).map(Some)
            }
            Kind::Tree { path, from } => {
                // To the leftmost below where the walk goes on.
                if let Some(link) = from.take() {
                    let mut node = VirtAddr(self.memory.read_u64(link)?);
                    while node.0 != 0 {
                        admit(&mut self.seen, node, self.most)?;
                        if path.len() >= DEEPEST {
                            return Err(WalkError::Bound(DEEPEST));
                        }
                        path.push(node);
                        node = VirtAddr(self.memory.read_u64(offset(node, LEFT)?)?);
                    }
                }
                let Some(node) = path.pop() else {
                    return Ok(None);
                };
                *from = Some(offset(node, RIGHT)?);
                Ok(Some(node))
            }
        }
    }
}

fn offset(node: VirtAddr, bytes: u64) -> Result<VirtAddr, WalkError> {
    node.checked_add(bytes).ok_or(WalkError::Astray(node))
}

/// Lets an element in that is new, an address, and within the bound.
fn admit(seen: &mut HashSet<VirtAddr>, node: VirtAddr, most: usize) -> Result<VirtAddr, WalkError> {
    if !node.is_kernel() {
        return Err(WalkError::Astray(node));
    }
    if seen.len() >= most {
        return Err(WalkError::Bound(most));
    }
    if !seen.insert(node) {
        return Err(WalkError::Cycle(node));
    }
    Ok(node)
}

impl Iterator for Walk<'_> {
    type Item = Result<VirtAddr, WalkError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

impl fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Walk")
            .field("seen", &self.seen.len())
            .field("most", &self.most)
            .finish_non_exhaustive()
    }
}
