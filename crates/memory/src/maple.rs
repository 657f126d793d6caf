//! The kernel's maps of ranges: `struct maple_tree` (Linux 6.1), which keep the mappings of a
//! process and, since 6.5, the interrupts.

use std::collections::HashSet;

use kscope_btf::{Btf, Type};

use crate::{FieldAt, Memory, ObjectError, VirtAddr, WalkError};

/// Deepest tree: a node has at least four entries, an index 64 bits.
const DEEPEST: u32 = 32;
/// Most entries of a node.
const SLOTS: u64 = 64;
/// Bits of an entry that refers to a node, beside its address (`MAPLE_NODE_MASK`).
const NODE_BITS: u64 = 255;
/// Where the kind of a node is in them.
const KIND_SHIFT: u32 = 3;
const KIND_BITS: u64 = 15;

/// Where the kernel keeps what in a tree.
#[derive(Clone, Copy, Debug)]
pub struct MapleLayout {
    root: u64,
    dense: NodeLayout,
    range: NodeLayout,
    arange: NodeLayout,
}

/// Where a kind of node has its entries, and the last index of each but the last.
#[derive(Clone, Copy, Debug)]
struct NodeLayout {
    pivots: (u64, u64),
    slots: (u64, u64),
}

/// A node that is yet to be looked at, and the indices that it is for.
struct Below {
    entry: u64,
    first: u64,
    last: u64,
    depth: u32,
}

impl MapleLayout {
    /// Finds the members of this kernel.
    ///
    /// # Errors
    /// Where one of them does not exist.
    pub fn of(btf: &Btf) -> Result<MapleLayout, ObjectError> {
        let array = |of: &str, member: &str| -> Result<(u64, u64), ObjectError> {
            let field = FieldAt::of(btf, of, member)?;
            let len = match btf.get_resolved(field.type_id) {
                Some(Type::Array(array)) => u64::from(array.len),
                _ => 0,
            };
            Ok((field.offset, len.min(SLOTS)))
        };
        let node = |of: &str| -> Result<NodeLayout, ObjectError> {
            Ok(NodeLayout {
                pivots: array(of, "pivot")?,
                slots: array(of, "slot")?,
            })
        };
        Ok(MapleLayout {
            root: FieldAt::of(btf, "maple_tree", "ma_root")?.offset,
            dense: NodeLayout {
                pivots: (0, 0),
                slots: array("maple_node", "slot")?,
            },
            range: node("maple_range_64")?,
            arange: node("maple_arange_64")?,
        })
    }

    /// Gives the entries of a tree with the first index of each, in order, and why there may be
    /// more.
    #[must_use]
    pub fn entries(
        &self,
        memory: &dyn Memory,
        tree: VirtAddr,
        most: usize,
    ) -> (Vec<(u64, u64)>, Option<WalkError>) {
        let mut found = Vec::new();
        let fault = self.walk(memory, tree, most, &mut found).err();
        (found, fault)
    }

    fn walk(
        &self,
        memory: &dyn Memory,
        tree: VirtAddr,
        most: usize,
        found: &mut Vec<(u64, u64)>,
    ) -> Result<(), WalkError> {
        let root = tree.checked_add(self.root);
        let root = memory.read_u64(root.ok_or(WalkError::Astray(tree))?)?;
        let mut seen = HashSet::new();
        // The next on top.
        let mut left = vec![Below {
            entry: root,
            first: 0,
            last: u64::MAX,
            depth: 0,
        }];
        while let Some(below) = left.pop() {
            // What refers to a node ends in the bits 10; at the root may be the entry of index 0.
            if below.entry & 3 != 2 {
                admit(found, (below.first, below.entry), most)?;
                continue;
            }
            self.node(memory, &below, most, &mut seen, found, &mut left)?;
        }
        Ok(())
    }

    fn node(
        &self,
        memory: &dyn Memory,
        below: &Below,
        most: usize,
        seen: &mut HashSet<u64>,
        found: &mut Vec<(u64, u64)>,
        left: &mut Vec<Below>,
    ) -> Result<(), WalkError> {
        let node = VirtAddr(below.entry & !NODE_BITS);
        if !node.is_kernel() {
            return Err(WalkError::Astray(node));
        }
        if !seen.insert(node.0) || below.depth >= DEEPEST {
            return Err(WalkError::Cycle(node));
        }
        if seen.len() > most {
            return Err(WalkError::Bound(most));
        }
        // enum maple_type: dense, leaf_64, range_64, arange_64.
        let (layout, is_leaf) = match below.entry >> KIND_SHIFT & KIND_BITS {
            0 => (&self.dense, true),
            1 => (&self.range, true),
            2 => (&self.range, false),
            3 => (&self.arange, false),
            _ => return Err(WalkError::Astray(VirtAddr(below.entry))),
        };
        let word = |offset: u64, index: u64| -> Result<u64, WalkError> {
            let at = node.checked_add(offset + index * 8);
            Ok(memory.read_u64(at.ok_or(WalkError::Astray(node))?)?)
        };
        let mut first = below.first;
        let mut children = Vec::new();
        for index in 0..layout.slots.1 {
            let last = match layout.pivots {
                // Each entry is for one index.
                (_, 0) => first,
                (offset, count) if index < count => match word(offset, index)? {
                    0 if index > 0 => below.last,
                    pivot => pivot.min(below.last),
                },
                _ => below.last,
            };
            let entry = word(layout.slots.0, index)?;
            if is_leaf {
                if entry != 0 && entry & 3 != 2 {
                    admit(found, (first, entry), most)?;
                }
            } else if entry != 0 {
                children.push(Below {
                    entry: entry | 2,
                    first,
                    last,
                    depth: below.depth + 1,
                });
            }
            if last >= below.last || last < first {
                break;
            }
            first = last + 1;
        }
        left.extend(children.into_iter().rev());
        Ok(())
    }
}

fn admit(found: &mut Vec<(u64, u64)>, entry: (u64, u64), most: usize) -> Result<(), WalkError> {
    if entry.1 == 0 {
        return Ok(());
    }
    if found.len() >= most {
        return Err(WalkError::Bound(most));
    }
    found.push(entry);
    Ok(())
}
