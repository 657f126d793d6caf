//! `struct page`s of a small kernel, laid out as kernels of several times do.

use super::kernel::Tiny;

/// Where the `struct page`s are.
const VMEMMAP: u64 = 0xffff_ea00_0000_0000;
/// Where the table of sections is.
const SECTIONS: u64 = 0xffff_8880_1000_0000;
const SIZE: u64 = 64;
const LRU: u64 = 1 << 5;
const HEAD: u64 = 1 << 6;
const SLAB: u64 = 1 << 9;
const SWAP_CACHE: u64 = 1 << 10;
const PRIVATE: u64 = 1 << 13;
const SWAP_BACKED: u64 = 1 << 19;
const POISONED: u64 = 1 << 21;
const HUGETLB: u64 = 1 << 24;

/// How a kernel lays out what matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Era {
    /// A byte each for the order and the destructor of a compound page, as of 6.1.
    Destructor,
    /// Order and hugetlbfs in the flags of the second page, as of 6.6.
    Flags,
    /// Types of pages in the count of mappings, as of 6.12.
    Types,
}

pub(crate) const ERAS: [Era; 3] = [Era::Destructor, Era::Flags, Era::Types];

/// What a block of pages is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    Kernel,
    /// Of the slab allocator, whose own words look like an anonymous mapping.
    Slab,
    Cache,
    CachePrivate,
    SwapCache,
    Anonymous,
    /// Anonymous, as one compound page.
    Huge,
    Hugetlb,
    /// A compound page of the cache.
    Folio,
    Free,
    /// Free, of an order that does not fit to where it is.
    FreeDamaged,
    Poisoned,
    Offline,
}

impl Use {
    /// Gives the bits of levels that leave it out: any of them does.
    pub(crate) fn bits(self) -> u8 {
        match self {
            Use::Kernel | Use::Slab | Use::FreeDamaged => 0,
            Use::Cache | Use::SwapCache | Use::Folio => 2 | 4,
            Use::CachePrivate => 4,
            Use::Anonymous | Use::Huge | Use::Hugetlb => 8,
            Use::Free => 16,
            Use::Poisoned | Use::Offline => 2 | 4 | 8 | 16,
        }
    }
}

/// Writes the `struct page`s of frames from 0 on: uses, each of `1 << order` pages.
pub(crate) fn write(tiny: &mut Tiny, era: Era, uses: &[(Use, u32)]) {
    let mut pfn = 0;
    for &(what, order) in uses {
        block(tiny, era, pfn, what, order);
        pfn += 1 << order;
    }
    // One root of 256 sections, of which the first has a map.
    tiny.write(SECTIONS, &(SECTIONS + 0x1000).to_le_bytes());
    tiny.write(SECTIONS + 0x1000, &(VMEMMAP | 0x17).to_le_bytes());
    for line in LINES {
        tiny.line((*line).to_owned());
    }
    tiny.line(format!("SYMBOL(mem_section)={SECTIONS:x}"));
    let of_era: &[&str] = match era {
        Era::Destructor => &[
            "OFFSET(page.compound_dtor)=16",
            "OFFSET(page.compound_order)=17",
            "NUMBER(HUGETLB_PAGE_DTOR)=2",
            "NUMBER(PG_slab)=9",
            "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-129",
            "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-257",
        ],
        Era::Flags => &[
            "NUMBER(PG_hugetlb)=24",
            "NUMBER(PG_slab)=9",
            "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=-129",
            "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=-257",
        ],
        Era::Types => &[
            "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)=4110417920",
            "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)=4093640704",
            "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)=4026531840",
            "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)=4043309056",
        ],
    };
    of_era.iter().for_each(|line| tiny.line((*line).to_owned()));
}

const LINES: [&str; 17] = [
    "NUMBER(SECTION_SIZE_BITS)=27",
    "LENGTH(mem_section)=2048",
    "SIZE(mem_section)=16",
    "OFFSET(mem_section.section_mem_map)=0",
    "SIZE(page)=64",
    "OFFSET(page.flags)=0",
    "OFFSET(page.compound_head)=8",
    "OFFSET(page.mapping)=24",
    "OFFSET(page.private)=40",
    "OFFSET(page._mapcount)=48",
    "NUMBER(PG_lru)=5",
    "NUMBER(PG_private)=13",
    "NUMBER(PG_swapcache)=10",
    "NUMBER(PG_swapbacked)=19",
    "NUMBER(PG_hwpoison)=21",
    "NUMBER(PG_head_mask)=64",
    "LENGTH(zone.free_area)=11",
];

fn block(tiny: &mut Tiny, era: Era, pfn: u64, what: Use, order: u32) {
    let types = era == Era::Types;
    let kind = |old: u32, new: u32| if types { new } else { old };
    let (mut flags, mapping, private, mut mapcount): (u64, u64, u64, u32) = match what {
        Use::Kernel => (0, 0, 0, u32::MAX),
        Use::Slab if types => (0, 1, 0, 0xf500_0000),
        Use::Slab => (SLAB, 1, 0, u32::MAX),
        Use::Cache | Use::Folio => (LRU, 0xffff_8880_0000_1000, 0, u32::MAX),
        Use::CachePrivate => (LRU | PRIVATE, 0xffff_8880_0000_1000, 7, u32::MAX),
        Use::SwapCache => (SWAP_CACHE | SWAP_BACKED, 0xffff_8880_0000_1000, 7, 0),
        Use::Anonymous | Use::Huge => (LRU | SWAP_BACKED, 0xffff_8880_0000_2001, 0, 0),
        Use::Hugetlb => (0, 0, 0, 0),
        Use::Free | Use::FreeDamaged => (0, 0, u64::from(order), kind(0xffff_ff7f, 0xf000_0000)),
        Use::Poisoned => (POISONED | LRU, 0xffff_8880_0000_1000, 0, u32::MAX),
        Use::Offline => (0, 0, 0, kind(0xffff_feff, 0xf100_0000)),
    };
    let private = if what == Use::FreeDamaged {
        10
    } else {
        private
    };
    let compounds = [Use::Slab, Use::Folio, Use::Huge, Use::Hugetlb];
    let is_compound = order > 0 && compounds.contains(&what);
    if is_compound {
        flags |= HEAD;
    }
    if what == Use::Hugetlb && types {
        mapcount = 0xf400_0000;
    }
    for index in 0..1u64 << order {
        let mut page = [0; SIZE as usize];
        let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
        if index == 0 || !is_compound {
            // Of a free block the first alone says so; of others each page does.
            let plain = index > 0 && what == Use::Free;
            put(0, &(if plain { 0 } else { flags }).to_le_bytes());
            put(24, &mapping.to_le_bytes());
            put(40, &private.to_le_bytes());
            put(48, &(if plain { u32::MAX } else { mapcount }).to_le_bytes());
        } else {
            let head = VMEMMAP + pfn * SIZE + 1;
            put(8, &head.to_le_bytes());
            // Tails have words that mean other things.
            put(24, &0xdead_0000_0000_0401u64.to_le_bytes());
            put(48, &u32::MAX.to_le_bytes());
            if index == 1 {
                let hugetlb = what == Use::Hugetlb;
                match era {
                    Era::Destructor => put(16, &[if hugetlb { 2 } else { 1 }, order as u8]),
                    Era::Flags => {
                        let bit = if hugetlb { HUGETLB } else { 0 };
                        put(0, &(u64::from(order) | bit | LRU << 20).to_le_bytes());
                    }
                    Era::Types => put(0, &(u64::from(order) | 0x300).to_le_bytes()),
                }
            }
        }
        tiny.write(VMEMMAP + (pfn + index) * SIZE, &page);
    }
}
