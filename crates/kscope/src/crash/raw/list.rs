//! `kscope crash VMCORE list`

use std::collections::HashSet;

use clap::Args;
use kscope_btf::{Btf, TypeId};
use kscope_memory::{Memory, VirtAddr, WalkError, hlist, list};

use super::address;
use super::elements::{Element, ElementArgs};
use super::types;
use crate::crash::analysis::{Analysis, Ask, Need};
use crate::error::Failure;

/// The lock in the head of a `struct hlist_bl_head` (include/linux/list_bl.h).
const LOCK: u64 = 1;

/// Go through a list of the kernel
///
/// What kind of list it is the type of the member says: `struct list_head`, `struct hlist_node`,
/// `struct llist_node`, or a pointer to the next. Where a list is broken, what is before that is
/// printed, and why there may be more.
#[derive(Args, Debug)]
pub(in crate::crash) struct ListArgs {
    /// Where the head is, which is no element itself
    #[arg(value_name = "HEAD")]
    head: String,
    /// The structure that the elements are
    #[arg(value_name = "TYPE")]
    what: String,
    /// Its member that links them
    #[arg(value_name = "MEMBER")]
    member: String,
    #[command(flatten)]
    elements: ElementArgs,
}

/// How elements are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    /// In a ring with its head.
    Ring,
    /// From link to link, the last of which is null.
    Chain,
    /// The same, with a lock in the lowest bit of the head.
    Locked,
    /// From the begin of an element to the begin of the next.
    Pointers,
}

impl Analysis for ListArgs {
    fn needs(&self) -> &'static [Need] {
        &[Need::Types]
    }

    fn run(&self, ask: &Ask<'_>) -> Result<(), Failure> {
        let named = types::find(ask.kernel, &self.what)?;
        let link = types::inside(&named, &self.member)?;
        let offset = link.bit_offset / 8;
        let links = links(&named.btf, named.id, link.id)?;
        let head = address::parse(ask.kernel, &self.head)?;
        let most = self.elements.most();
        let mut found = Vec::new();
        let mut fault = None;
        let mut push = |link: Result<VirtAddr, WalkError>, offset: u64| match link {
            Ok(at) => found.push(Element::At(VirtAddr(at.0.wrapping_sub(offset)))),
            Err(error) => fault = Some(error),
        };
        match links {
            Links::Ring => list(ask.kernel, head, most).for_each(|link| push(link, offset)),
            Links::Chain => hlist(ask.kernel, head, most).for_each(|link| push(link, offset)),
            Links::Locked => {
                let (links, error) = chain(ask.kernel, head, 0, LOCK, most);
                links.into_iter().for_each(|at| push(Ok(at), offset));
                fault = error;
            }
            Links::Pointers => {
                let (elements, error) = chain(ask.kernel, head, offset, 0, most);
                elements.into_iter().for_each(|at| push(Ok(at), 0));
                fault = error;
            }
        }
        self.elements.show(ask, &named, &found, fault)
    }
}

/// Tells how elements are linked by the type of the member that links them.
fn links(btf: &Btf, of: TypeId, link: TypeId) -> Result<Links, Failure> {
    let to = btf.pointee(link).and_then(|to| btf.resolve(to));
    if to.is_some() && to == btf.resolve(of) {
        return Ok(Links::Pointers);
    }
    let name = btf.composite(link).map(|c| c.name);
    match name {
        Some("list_head") => Ok(Links::Ring),
        Some("hlist_node" | "hlist_nulls_node" | "llist_node" | "callback_head") => {
            Ok(Links::Chain)
        }
        Some("hlist_bl_node") => Ok(Links::Locked),
        _ => {
            let is = types::type_name(btf, link);
            let failure = Failure::new(format!("a {is} links no list"));
            Err(failure.hint(
                "struct list_head, hlist_node and llist_node do, and a pointer to the same structure; \
                 `tree` goes through a struct rb_node",
            ))
        }
    }
}

/// Walks from a pointer to an element, and on by the pointer at an offset in each; `flags` are no part
/// of the address in a pointer.
fn chain(
    memory: &dyn Memory,
    head: VirtAddr,
    offset: u64,
    flags: u64,
    most: usize,
) -> (Vec<VirtAddr>, Option<WalkError>) {
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut link = head;
    loop {
        let next = match memory.read_u64(link).map(|next| next & !flags) {
            Ok(0) => return (found, None),
            Ok(next) => VirtAddr(next),
            Err(gap) => return (found, Some(gap.into())),
        };
        let fault = match next.is_kernel() {
            false => Some(WalkError::Astray(next)),
            true if found.len() >= most => Some(WalkError::Bound(most)),
            true if !seen.insert(next) => Some(WalkError::Cycle(next)),
            true => None,
        };
        if fault.is_some() {
            return (found, fault);
        }
        found.push(next);
        link = VirtAddr(next.0.wrapping_add(offset));
    }
}

#[cfg(test)]
mod tests {
    use super::{LOCK, Memory, VirtAddr, WalkError, chain};
    use kscope_memory::{Gap, GapAt};

    /// Words from an address on.
    struct Words(u64, Vec<u64>);

    impl Memory for Words {
        fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
            let len = buf.len() as u64;
            let why = Gap::Lost;
            let word = addr.0.checked_sub(self.0);
            let word = word.and_then(|at| self.1.get(at as usize / 8));
            buf.copy_from_slice(&word.ok_or(GapAt { addr, len, why })?.to_le_bytes());
            Ok(())
        }
    }

    #[test]
    fn pointers_from_one_to_the_next() {
        const START: u64 = 0xffff_8880_0000_0000;
        // A head, then elements of two words whose second leads on.
        let check = |words: &[u64], expected: &[u64], fault: Option<WalkError>| {
            let words = words.iter().map(|&word| match word {
                0..100 if word > 0 => START + word * 8,
                word => word,
            });
            let memory = Words(START, words.collect());
            let (found, why) = chain(&memory, VirtAddr(START), 8, 0, 3);
            let found: Vec<u64> = found.iter().map(|at| (at.0 - START) / 8).collect();
            assert_eq!((&*found, why), (expected, fault));
        };
        let at = |word: u64| VirtAddr(START + word * 8);
        check(&[0], &[], None);
        check(&[1, 7, 3, 7, 0], &[1, 3], None);
        check(&[1, 7, 3, 7, 1], &[1, 3], Some(WalkError::Cycle(at(1))));
        check(&[1, 7, 500], &[1], Some(WalkError::Astray(VirtAddr(500))));
        check(
            &[1, 7, 3, 7, 5, 7, 7, 7, 0],
            &[1, 3, 5],
            Some(WalkError::Bound(3)),
        );
        let addr = at(41);
        let gap = GapAt {
            addr,
            len: 8,
            why: Gap::Lost,
        };
        check(&[40], &[40], Some(WalkError::Gap(gap)));
        // A head that is locked, and an empty one.
        for (head, found) in [(at(1).0, vec![at(1)]), (0, Vec::new())] {
            let memory = Words(START, vec![head | LOCK, 0]);
            assert_eq!(chain(&memory, VirtAddr(START), 0, LOCK, 3), (found, None));
        }
    }
}
