//! What the kernel's `struct page` says of a page, by the layout that VMCOREINFO gives.

use kscope_btf::{Btf, Kind};

use super::level::PageKind;
use crate::Error;
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::facts::vmcoreinfo::Vmcoreinfo;

/// Largest order of a block of pages that is believed: 16 GB.
const ORDERS: u64 = 22;
/// Largest `struct page`.
const LARGEST: u64 = 256;
/// Bits of `page.mapping` that say that it is anonymous (`PAGE_MAPPING_ANON`).
const ANON: u64 = 1;

/// Where the order of a compound page is, in the second of its `struct page`s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OrderAt {
    /// A byte at an offset, before Linux 6.6.
    Byte(usize),
    /// The lowest byte of the flags (`folio._flags_1`).
    Flags,
}

/// How a compound page says that it is of hugetlbfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hugetlb {
    Unknown,
    /// The destructor, a byte in the second `struct page`, before Linux 6.6.
    Destructor {
        at: usize,
        value: u8,
    },
    /// A bit of the second one's flags, from 6.6 to 6.8.
    SecondFlag(u64),
    /// The type of the page, since 6.9.
    Type(u32),
}

/// The layout of `struct page` and what its numbers mean.
#[derive(Clone, Debug)]
pub(crate) struct PageLayout {
    pub(crate) size: usize,
    flags: usize,
    mapping: usize,
    mapcount: usize,
    private: usize,
    compound_head: usize,
    lru: u64,
    private_flag: u64,
    swap_cache: u64,
    swap_backed: u64,
    poisoned: u64,
    head: u64,
    slab_flag: u64,
    slab: Option<u32>,
    buddy: u32,
    offline: Option<u32>,
    unaccepted: Option<u32>,
    orders: u64,
    order_at: Option<OrderAt>,
    hugetlb: Hugetlb,
}

/// A page, or a block of pages that share a fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: PageKind,
    /// Number of pages, a power of two.
    pub(crate) pages: u64,
}

impl PageLayout {
    /// Reads the layout from VMCOREINFO, and from the types that `btf` gives what is not there.
    ///
    /// # Errors
    /// Where something is in neither.
    pub(crate) fn new<'b>(
        info: &Vmcoreinfo,
        btf: impl Fn() -> Option<&'b Btf>,
    ) -> Result<PageLayout, Error> {
        let size = info.size("page").or_else(|| size_of(btf()?, "page"));
        let size = size.filter(|size| (32..=LARGEST).contains(size));
        let size = size.ok_or(Error::Missing("SIZE(page) in VMCOREINFO"))?;
        let inside = |at: u64| (at + 8 <= size).then_some(at as usize);
        let told = |name: &'static str| info.offset(&format!("page.{name}")).and_then(inside);
        let member = |name: &'static str| {
            let in_types = || offset_of(btf()?, "page", name).and_then(inside);
            told(name).or_else(in_types)
        };
        let need = |name| member(name).ok_or(Error::Missing("layout of struct page in VMCOREINFO"));
        let bit = |name: &str| {
            let said = info.number(&format!("PG_{name}"));
            let said = said.or_else(|| constant(btf()?, &format!("PG_{name}")));
            said.filter(|bit| (0..64).contains(bit)).map(|bit| 1 << bit)
        };
        let need_bit = |name| bit(name).ok_or(Error::Missing("flags of pages in VMCOREINFO"));
        let number = |name: &str| info.number(name).map(|value| value as u32);
        let hugetlb_type = number("PAGE_HUGETLB_MAPCOUNT_VALUE");
        let hugetlb_flag = info
            .number("PG_hugetlb")
            .filter(|bit| (0..64).contains(bit));
        let order_at = if hugetlb_type.is_some() || hugetlb_flag.is_some() {
            Some(OrderAt::Flags)
        } else {
            member("compound_order").map(OrderAt::Byte)
        };
        let destructor = || {
            let at = member("compound_dtor")?;
            let value = info.number("HUGETLB_PAGE_DTOR")? as u8;
            Some(Hugetlb::Destructor { at, value })
        };
        let hugetlb = match (hugetlb_type, hugetlb_flag) {
            (Some(kind), _) => Hugetlb::Type(kind),
            (None, Some(bit)) => Hugetlb::SecondFlag(1 << bit),
            (None, None) => destructor().unwrap_or(Hugetlb::Unknown),
        };
        // Before the types are asked, for either name: those take longer than all the rest.
        let compound_head = told("compound_head")
            .or_else(|| told("compound_info"))
            .or_else(|| member("compound_head"))
            .or_else(|| member("compound_info"));
        let slab = number("PAGE_SLAB_MAPCOUNT_VALUE");
        let buddy = number("PAGE_BUDDY_MAPCOUNT_VALUE");
        let head = info.number("PG_head_mask").map(|mask| mask as u64);
        Ok(PageLayout {
            size: size as usize,
            flags: need("flags")?,
            mapping: need("mapping")?,
            mapcount: info
                .offset("page._mapcount")
                .filter(|at| at + 4 <= size)
                .ok_or(Error::Missing("OFFSET(page._mapcount) in VMCOREINFO"))?
                as usize,
            private: need("private")?,
            compound_head: compound_head
                .ok_or(Error::Missing("OFFSET(page.compound_head) in VMCOREINFO"))?,
            lru: need_bit("lru")?,
            private_flag: need_bit("private")?,
            swap_cache: need_bit("swapcache")?,
            swap_backed: bit("swapbacked").unwrap_or(0),
            // A kernel that has no such flag does not tell of it.
            poisoned: info
                .number("PG_hwpoison")
                .filter(|bit| (0..64).contains(bit))
                .map_or(0, |bit| 1 << bit),
            head: head
                .or_else(|| bit("head"))
                .ok_or(Error::Missing("NUMBER(PG_head_mask) in VMCOREINFO"))?,
            slab_flag: match slab {
                Some(_) => 0,
                None => bit("slab").unwrap_or(0),
            },
            slab,
            buddy: buddy.ok_or(Error::Missing(
                "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE) in VMCOREINFO",
            ))?,
            offline: number("PAGE_OFFLINE_MAPCOUNT_VALUE"),
            unaccepted: number("PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
            orders: info.length("zone.free_area").unwrap_or(11).min(ORDERS),
            order_at,
            hugetlb,
        })
    }

    /// Says what the page of frame `pfn` is; `raw` begins with its `struct page`, behind which are
    /// those that follow as far as they were read.
    pub(crate) fn block(&self, pfn: u64, raw: &[u8]) -> Block {
        let one = |kind| Block { kind, pages: 1 };
        // A tail whose head was not seen, such as one before the first frame that is memory.
        if u64_at(raw, self.compound_head) & 1 != 0 {
            return one(PageKind::Kept);
        }
        let flags = u64_at(raw, self.flags);
        let mapcount = u32_at(raw, self.mapcount);
        let is_slab = match self.slab {
            Some(slab) => mapcount == slab,
            None => flags & self.slab_flag != 0,
        };
        if !is_slab && mapcount == self.buddy {
            let order = u64_at(raw, self.private);
            return match order < self.orders && self.fits(pfn, order) {
                true => Block {
                    kind: PageKind::Free,
                    pages: 1 << order,
                },
                false => one(PageKind::Kept),
            };
        }
        if !is_slab && self.unaccepted == Some(mapcount) {
            return match self.fits(pfn, self.orders - 1) {
                true => Block {
                    kind: PageKind::Free,
                    pages: 1 << (self.orders - 1),
                },
                false => one(PageKind::Kept),
            };
        }
        let (pages, is_hugetlb) = self.compound(pfn, flags, mapcount, raw);
        let is_cache = flags & self.lru != 0
            || (flags & self.swap_cache != 0
                && (self.swap_backed == 0 || flags & self.swap_backed != 0));
        let is_anon = !is_slab && u64_at(raw, self.mapping) & ANON != 0;
        let kind = if flags & self.poisoned != 0 {
            PageKind::Poisoned
        } else if is_anon || is_hugetlb {
            PageKind::User
        } else if is_cache && flags & self.private_flag != 0 {
            PageKind::CachePrivate
        } else if is_cache {
            PageKind::Cache
        } else if !is_slab && self.offline == Some(mapcount) {
            PageKind::Offline
        } else {
            PageKind::Kept
        };
        Block { kind, pages }
    }

    /// Tells whether a block of an order can begin at a frame.
    fn fits(&self, pfn: u64, order: u64) -> bool {
        order <= ORDERS && pfn & ((1 << order) - 1) == 0
    }

    /// Gives how many pages a page has as a compound, and whether it is of hugetlbfs.
    fn compound(&self, pfn: u64, flags: u64, mapcount: u32, raw: &[u8]) -> (u64, bool) {
        let single = (1, false);
        if flags & self.head == 0 {
            return single;
        }
        // The head of a compound is never the last of an aligned block of them.
        let Some(second) = raw.get(self.size..2 * self.size) else {
            return single;
        };
        if u64_at(second, self.compound_head) & 1 == 0 {
            return single;
        }
        let order = match self.order_at {
            None => return single,
            Some(OrderAt::Byte(at)) => u64::from(u16_at(second, at) as u8),
            Some(OrderAt::Flags) => u64_at(second, self.flags) & 0xff,
        };
        if !self.fits(pfn, order) {
            return single;
        }
        let is_hugetlb = match self.hugetlb {
            Hugetlb::Unknown => false,
            Hugetlb::Destructor { at, value } => u16_at(second, at) as u8 == value,
            Hugetlb::SecondFlag(bit) => u64_at(second, self.flags) & bit != 0,
            Hugetlb::Type(kind) => mapcount == kind,
        };
        (1 << order, is_hugetlb)
    }
}

fn size_of(btf: &Btf, name: &str) -> Option<u64> {
    btf.size_of(btf.find(name, Kind::Struct)?)
}

fn offset_of(btf: &Btf, name: &str, member: &str) -> Option<u64> {
    let field = btf.member(btf.find(name, Kind::Struct)?, member)?;
    Some(field.byte_offset().into())
}

fn constant(btf: &Btf, name: &str) -> Option<i64> {
    btf.enumerator(name).map(|found| found.value)
}
