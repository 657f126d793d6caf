//! Walks over the kernel's lists, with a bound, that end where the list does or a gap is.

use kscope_memory::{Memory, VirtAddr};

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
/// member at `offset` the links are.
pub(crate) fn list(
    memory: &dyn Memory,
    head: VirtAddr,
    offset: u64,
    most: usize,
) -> Walked<VirtAddr> {
    let mut walked = Walked::default();
    for link in kscope_memory::list(memory, head, most) {
        match link {
            Ok(link) => walked.items.push(VirtAddr(link.0.wrapping_sub(offset))),
            Err(error) => walked.fault = Some(error.into()),
        }
    }
    walked
}
