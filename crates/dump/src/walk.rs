//! Walks over the kernel's lists and arrays, with a bound, that end where they do or a gap is.

use std::collections::HashSet;

use kscope_btf::Btf;
use kscope_memory::{Memory, VirtAddr, XarrayLayout};

use crate::Error;

/// What a walk found, and why it ended early if it did.
#[derive(Clone, Debug)]
pub struct Walked<T> {
    /// What was found.
    pub items: Vec<T>,
    /// Why there may be more; none where the walk came to its end.
    pub fault: Option<Error>,
}

impl<T> Default for Walked<T> {
    fn default() -> Walked<T> {
        Walked {
            items: Vec::new(),
            fault: None,
        }
    }
}

/// Walks a `struct list_head` from its head and gives the addresses of the structures whose
/// member at `offset` the links are. Where a link is missing, what is behind it is taken from the
/// other end.
pub(crate) fn list(
    memory: &dyn Memory,
    head: VirtAddr,
    offset: u64,
    most: usize,
) -> Walked<VirtAddr> {
    let mut links = Vec::new();
    let mut fault = None;
    for link in kscope_memory::list(memory, head, most) {
        match link {
            Ok(link) => links.push(link),
            Err(error) => fault = Some(error.into()),
        }
    }
    if fault.is_some() {
        links.extend(backwards(memory, head, &links, most));
    }
    let items = links.into_iter();
    Walked {
        items: items.map(|l| VirtAddr(l.0.wrapping_sub(offset))).collect(),
        fault,
    }
}

/// Gives the entries of a `struct xarray`, in the order of their indices.
pub(crate) fn array(
    memory: &dyn Memory,
    btf: &Btf,
    array: VirtAddr,
    most: usize,
) -> Result<Walked<VirtAddr>, Error> {
    let (entries, fault) = XarrayLayout::of(btf)?.entries(memory, array, most);
    let items = entries.into_iter();
    Ok(Walked {
        items: items.map(|(_, entry)| VirtAddr(entry)).collect(),
        fault: fault.map(Error::from),
    })
}

/// Walks from the last link to the first as far as that goes and gives those not known, in the
/// order of the list.
fn backwards(
    memory: &dyn Memory,
    head: VirtAddr,
    known: &[VirtAddr],
    most: usize,
) -> Vec<VirtAddr> {
    const PREVIOUS: u64 = 8;
    let mut seen: HashSet<VirtAddr> = known.iter().copied().collect();
    let mut found = Vec::new();
    let mut at = head;
    while seen.len() < most {
        let previous = at.checked_add(PREVIOUS);
        let Some(Ok(link)) = previous.map(|p| memory.read_u64(p)) else {
            break;
        };
        at = VirtAddr(link);
        if at == head || !at.is_kernel() || !seen.insert(at) {
            break;
        }
        found.push(at);
    }
    found.reverse();
    found
}
