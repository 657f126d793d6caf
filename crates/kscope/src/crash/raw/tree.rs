//! `kscope crash VMCORE tree`

use clap::Args;
use kscope_btf::{Btf, TypeId};
use kscope_memory::{VirtAddr, WalkError, XarrayLayout, rbtree};

use super::address;
use super::elements::{Element, ElementArgs};
use super::types;
use crate::crash::analysis::{Analysis, Ask, Need};
use crate::crash::failed;
use crate::error::Failure;

/// Deepest path in a red-black tree.
const DEEPEST: usize = 128;

/// Go through a red-black tree of the kernel, or an array by index (xarray, idr)
///
/// With a member a red-black tree, in its order; without one a struct xarray, idr or radix tree,
/// whose entries are pointers to such structures, or numbers.
#[derive(Args, Debug)]
pub(in crate::crash) struct TreeArgs {
    /// Where the root is: a struct rb_root, rb_root_cached, xarray or idr
    #[arg(value_name = "ROOT")]
    root: String,
    /// The structure that the elements are
    #[arg(value_name = "TYPE")]
    what: String,
    /// Its member that is, or begins with, the node of a red-black tree
    #[arg(value_name = "MEMBER")]
    member: Option<String>,
    #[command(flatten)]
    elements: ElementArgs,
}

/// Tells whether a type is a node of a tree, or begins with one as struct rb_node_linked does (Linux 7.1).
fn begins_with_node(btf: &Btf, id: TypeId) -> bool {
    let mut id = id;
    for _ in 0..DEEPEST {
        let Some(composite) = btf.composite(id) else {
            return false;
        };
        if composite.name == "rb_node" {
            return true;
        }
        let first = composite.members().next();
        let Some(first) = first.filter(|first| first.bit_offset == 0) else {
            return false;
        };
        id = first.type_id;
    }
    false
}

impl Analysis for TreeArgs {
    fn needs(&self) -> &'static [Need] {
        &[Need::Types]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let named = types::find(ask.kernel, &self.what)?;
        let root = address::parse(ask.kernel, &self.root)?;
        let most = self.elements.most();
        let mut found = Vec::new();
        let mut fault = None;
        match &self.member {
            Some(member) => {
                let node = types::inside(&named, member)?;
                if !begins_with_node(&named.btf, node.id) {
                    let is = types::type_name(&named.btf, node.id);
                    let failure = Failure::new(format!("{member} is a {is}, no struct rb_node"));
                    return Err(failure.hint("`list` goes through lists"));
                }
                // On the way to its first element a walk sees others.
                for link in rbtree(ask.kernel, root, most.saturating_add(DEEPEST)) {
                    match link {
                        Ok(_) if found.len() >= most => {
                            fault = Some(WalkError::Bound(most));
                            break;
                        }
                        Ok(at) => {
                            let at = at.0.wrapping_sub(node.bit_offset / 8);
                            found.push(Element::At(VirtAddr(at)));
                        }
                        Err(error) => fault = Some(error),
                    }
                }
            }
            None => {
                let layout = ask.kernel.btf();
                let layout = layout.and_then(|btf| Ok(XarrayLayout::of(btf)?));
                let layout = layout.map_err(|error| failed("cannot read arrays", &error))?;
                let (entries, error) = layout.entries(ask.kernel, root, most);
                found.extend(entries.into_iter().map(|(index, entry)| match entry & 1 {
                    0 => Element::Indexed(index, VirtAddr(entry & !3)),
                    _ => Element::Number(index, entry >> 1),
                }));
                fault = error;
            }
        }
        self.elements.show(ask, &named, &found, fault)
    }
}
