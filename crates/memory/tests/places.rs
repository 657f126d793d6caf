//! Typed places and walks over memory made by hand.

use std::collections::BTreeMap;

use kscope_btf::{Btf, Encoding, NewMember, write::Builder};
use kscope_memory::{
    FieldAt, Gap, GapAt, MapleLayout, Memory, Object, ObjectError, PerCpu, VirtAddr, WalkError,
    XarrayLayout, hlist, list, rbtree,
};

/// Where the memory of the tests begins.
const AT: u64 = 0xffff_8880_0000_0000;

/// Bytes by address; all others are gaps.
#[derive(Default)]
struct Bytes(BTreeMap<u64, u8>);

impl Bytes {
    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0.extend((at..).zip(bytes.iter().copied()));
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        for (i, word) in words.iter().enumerate() {
            self.put(at + 8 * i as u64, &word.to_le_bytes());
        }
    }
}

impl Memory for Bytes {
    fn read(&self, addr: VirtAddr, buf: &mut [u8]) -> Result<(), GapAt> {
        for (at, byte) in (addr.0..).zip(buf) {
            let gap = GapAt {
                addr: VirtAddr(at),
                len: 1,
                why: Gap::Excluded,
            };
            *byte = *self.0.get(&at).ok_or(gap)?;
        }
        Ok(())
    }
}

/// Types: `struct thing { int number; unsigned low:3, high:5; struct { char name[4]; }; struct
/// thing *next; struct inner parts[2]; }`, `struct inner { long a; short b; }`.
fn types() -> Btf {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let unsigned = b.add_int("unsigned int", 4, Encoding::Unsigned);
    let long = b.add_int("long", 8, Encoding::Signed);
    let short = b.add_int("short", 2, Encoding::Signed);
    let char_ = b.add_int("char", 1, Encoding::Signed);
    let name = b.add_array(char_, unsigned, 4);
    let anonymous = b.add_struct("", 4, &[NewMember::new("name", name, 0)]);
    let inner = b.add_struct(
        "inner",
        16,
        &[NewMember::new("a", long, 0), NewMember::new("b", short, 64)],
    );
    let parts = b.add_array(inner, unsigned, 2);
    let pointer = b.add_ptr(inner);
    b.add_struct(
        "thing",
        64,
        &[
            NewMember::new("number", int, 0),
            NewMember {
                bitfield: Some(3),
                ..NewMember::new("low", unsigned, 32)
            },
            NewMember {
                bitfield: Some(5),
                ..NewMember::new("high", int, 35)
            },
            NewMember::new("", anonymous, 64),
            NewMember::new("next", pointer, 128),
            NewMember::new("parts", parts, 192),
        ],
    );
    Btf::parse(b.finish()).expect("types")
}

#[test]
fn members_pointers_arrays_and_bitfields() {
    let btf = types();
    let mut memory = Bytes::default();
    memory.put(AT, &(-7i32).to_le_bytes());
    memory.put(AT + 4, &[0b1011_0101, 0, 0, 0]);
    memory.put(AT + 8, b"abcd");
    memory.words(AT + 16, &[AT + 0x100, 11, 12, 21, 0xffff_ffff_ffff_8001]);
    memory.words(AT + 0x100, &[99, 3]);
    let thing = Object::named(&memory, &btf, "thing", VirtAddr(AT)).expect("a thing");
    let signed = |path: &str| thing.member(path).and_then(|m| m.signed());
    for (path, expected) in [
        ("number", -7),
        ("low", 0b101),
        ("high", -10),
        ("parts[0].a", 11),
        ("parts[1].a", 21),
        ("parts[1].b", -32767),
    ] {
        assert_eq!(signed(path), Ok(expected), "{path}");
    }
    assert_eq!(
        thing
            .member("next")
            .expect("next")
            .member("a")
            .expect("a")
            .value(),
        Ok(99)
    );
    assert_eq!(
        thing.member("name").expect("a name").text(16),
        Ok(b"abcd".to_vec())
    );
    assert_eq!(thing.size(), Ok(64));
    let part = thing
        .member("parts")
        .expect("parts")
        .index(1)
        .expect("a part");
    assert_eq!(part.member("a").expect("a").value(), Ok(21));
    assert_eq!(
        part.member("a")
            .expect("a")
            .container("inner", "a")
            .expect("one")
            .addr(),
        part.addr()
    );
    assert_eq!(
        FieldAt::of(&btf, "thing", "parts[1].b").expect("b").offset,
        24 + 16 + 8
    );

    for (path, member) in [
        ("nothing", "nothing"),
        ("parts[2].a", "parts[2]"),
        ("parts[x]", "parts[x]"),
        ("number.a", "a"),
    ] {
        let error = thing.member(path).expect_err(path);
        assert!(
            matches!(&error, ObjectError::NoMember { member: m, .. } if m == member),
            "{error:?}"
        );
    }
    assert!(matches!(
        thing.value(),
        Err(ObjectError::NotA { what: "number", .. })
    ));
    assert!(matches!(
        thing.deref(),
        Err(ObjectError::NotA {
            what: "pointer",
            ..
        })
    ));
    let gone = Object::named(&memory, &btf, "thing", VirtAddr(AT + 0x1000)).expect("a thing");
    assert!(matches!(
        gone.member("number").expect("a place").value(),
        Err(ObjectError::Gap(_))
    ));
    assert_eq!(
        Object::named(&memory, &btf, "none", VirtAddr(AT))
            .expect_err("no type")
            .to_string(),
        "this kernel has no type none"
    );
}

/// Builds links `from → to` in steps of 0x100, and compares what a walk gives, the error last.
fn check(
    walk: impl Fn(&Bytes) -> Vec<Result<VirtAddr, WalkError>>,
    words: &[(u64, &[u64])],
    expected: &[u64],
    error: Option<WalkError>,
) {
    let mut memory = Bytes::default();
    for (place, words) in words {
        let words: Vec<u64> = words
            .iter()
            .map(|&w| if w == 0 { 0 } else { AT + w * 0x100 })
            .collect();
        memory.words(AT + place * 0x100, &words);
    }
    let found = walk(&memory);
    let good: Vec<u64> = found
        .iter()
        .filter_map(|f| f.ok())
        .map(|a| (a.0 - AT) / 0x100)
        .collect();
    assert_eq!(good, expected);
    assert_eq!(found.iter().find_map(|f| f.err()), error);
    assert!(
        found.iter().rev().skip(1).all(Result::is_ok),
        "an error is the last"
    );
}

fn node(number: u64) -> VirtAddr {
    VirtAddr(AT + number * 0x100)
}

#[test]
fn lists() {
    let walk = |memory: &Bytes| list(memory, node(1), 4).collect();
    check(walk, &[(1, &[1])], &[], None);
    check(walk, &[(1, &[2]), (2, &[3]), (3, &[1])], &[2, 3], None);
    check(
        walk,
        &[(1, &[2]), (2, &[3]), (3, &[2])],
        &[2, 3],
        Some(WalkError::Cycle(node(2))),
    );
    check(
        walk,
        &[(1, &[2]), (2, &[3]), (3, &[4]), (4, &[5]), (5, &[6])],
        &[2, 3, 4, 5],
        Some(WalkError::Bound(4)),
    );
    check(
        walk,
        &[(1, &[2]), (2, &[0])],
        &[2],
        Some(WalkError::Astray(VirtAddr(0))),
    );
    let gap = GapAt {
        addr: node(2),
        len: 1,
        why: Gap::Excluded,
    };
    check(walk, &[(1, &[2])], &[2], Some(WalkError::Gap(gap)));
}

#[test]
fn lists_that_end_in_null() {
    let walk = |memory: &Bytes| hlist(memory, node(1), 4).collect();
    check(walk, &[(1, &[0])], &[], None);
    check(walk, &[(1, &[2]), (2, &[3]), (3, &[0])], &[2, 3], None);
    check(
        walk,
        &[(1, &[2]), (2, &[2])],
        &[2],
        Some(WalkError::Cycle(node(2))),
    );
}

#[test]
fn lists_whose_links_have_a_bit() {
    let check = |first: u64, last: u64, expected: &[u64]| {
        let mut memory = Bytes::default();
        memory.words(node(1).0, &[first]);
        memory.words(node(2).0, &[last]);
        let expected: Vec<_> = expected.iter().map(|&number| Ok(node(number))).collect();
        let found: Vec<_> = hlist(&memory, node(1), 4).collect();
        assert_eq!(found, expected, "{first:#x} {last:#x}");
    };
    // Locked, with an element and without.
    check(node(2).0 | 1, 0, &[2]);
    check(1, 0, &[]);
    // They end in a number, or in the address of their head.
    check(node(2).0, 7, &[2]);
    check(node(2).0, node(1).0 | 1, &[2]);
    check(7, 0, &[]);
    check(node(1).0 | 1, 0, &[]);
}

#[test]
fn trees() {
    let walk = |memory: &Bytes| rbtree(memory, node(1), 9).collect();
    // Parent, right, left.
    check(walk, &[(1, &[0])], &[], None);
    check(
        walk,
        &[
            (1, &[4]),
            (4, &[0, 6, 2]),
            (2, &[4, 3, 0]),
            (3, &[2, 0, 0]),
            (6, &[4, 7, 5]),
            (5, &[6, 0, 0]),
            (7, &[6, 0, 0]),
        ],
        &[2, 3, 4, 5, 6, 7],
        None,
    );
    check(
        walk,
        &[(1, &[4]), (4, &[0, 4, 0])],
        &[4],
        Some(WalkError::Cycle(node(4))),
    );
    check(
        walk,
        &[(1, &[4]), (4, &[0, 0, 4])],
        &[],
        Some(WalkError::Cycle(node(4))),
    );
}

#[test]
fn arrays_by_index() {
    let mut b = Builder::new();
    let char_ = b.add_int("unsigned char", 1, Encoding::Unsigned);
    let int = b.add_int("unsigned int", 4, Encoding::Unsigned);
    let pointer = b.add_ptr(char_);
    let slots = b.add_array(pointer, int, 4);
    b.add_struct("xarray", 16, &[NewMember::new("xa_head", pointer, 64)]);
    b.add_struct(
        "xa_node",
        48,
        &[
            NewMember::new("shift", char_, 0),
            NewMember::new("slots", slots, 64),
        ],
    );
    let layout = XarrayLayout::of(&Btf::parse(b.finish()).expect("types")).expect("a layout");
    let tag = |number: u64| node(number).0 | 2;
    let build = |head: u64, nodes: &[(u64, u64, [u64; 4])]| {
        let mut memory = Bytes::default();
        memory.words(node(1).0, &[0, head]);
        for (number, shift, slots) in nodes {
            memory.words(node(*number).0, &[*shift]);
            memory.words(node(*number).0 + 8, slots);
        }
        layout.entries(&memory, node(1), 5)
    };
    assert_eq!(build(0, &[]), (vec![], None));
    // One entry at 0 needs no node.
    assert_eq!(build(0x1001, &[]), (vec![(0, 0x1001)], None));
    let two = [
        // The second slot is a sibling of the first, which is no entry of its own.
        (2, 2, [tag(3), 0x2, tag(4), 0]),
        (3, 0, [0, 11, 0, 13]),
        (4, 0, [20, 0, 0, 0]),
    ];
    assert_eq!(build(tag(2), &two), (vec![(1, 11), (3, 13), (8, 20)], None));
    let circle = [(2, 2, [tag(2), 0, 0, 0])];
    assert_eq!(build(tag(2), &circle).1, Some(WalkError::Cycle(node(2))));
    let full = [
        (2, 2, [tag(3), tag(4), 0, 0]),
        (3, 0, [1, 1, 1, 1]),
        (4, 0, [1, 1, 0, 0]),
    ];
    let (found, fault) = build(tag(2), &full);
    assert_eq!((found.len(), fault), (5, Some(WalkError::Bound(5))));
}

#[test]
fn maple_trees() {
    let mut b = Builder::new();
    let unsigned = b.add_int("unsigned int", 4, Encoding::Unsigned);
    let long = b.add_int("unsigned long", 8, Encoding::Unsigned);
    let void = b.add_int("char", 1, Encoding::Signed);
    let pointer = b.add_ptr(void);
    let mut array = |of, len| b.add_array(of, unsigned, len);
    let (three, four, all) = (array(long, 3), array(pointer, 4), array(pointer, 7));
    b.add_struct("maple_tree", 16, &[NewMember::new("ma_root", pointer, 64)]);
    b.add_struct("maple_node", 64, &[NewMember::new("slot", all, 64)]);
    for name in ["maple_range_64", "maple_arange_64"] {
        let members = [
            NewMember::new("pivot", three, 64),
            NewMember::new("slot", four, 256),
        ];
        b.add_struct(name, 64, &members);
    }
    let layout = MapleLayout::of(&Btf::parse(b.finish()).expect("types")).expect("a layout");
    let node = |number: u64| AT + 256 * number;
    // A pointer to a node has its kind in it, that at the root one more bit.
    let (leaf, range) = (|n: u64| node(n) | 1 << 3 | 4, |n: u64| node(n) | 2 << 3 | 4);
    let arange = |n: u64| node(n) | 3 << 3 | 4;
    let build = |root: u64, nodes: &[(u64, [u64; 7])]| {
        let mut memory = Bytes::default();
        memory.words(node(1), &[0, root]);
        for (number, words) in nodes {
            memory.words(node(*number) + 8, words);
        }
        layout.entries(&memory, VirtAddr(node(1)), 5)
    };
    assert_eq!(build(0, &[]), (vec![], None));
    assert_eq!(build(0x1000, &[]), (vec![(0, 0x1000)], None));
    // Three pivots, four entries: from 10 on is one, from 20 on nothing, and the rest.
    let one = [(2, [9, 19, 29, 0, 0x20, 0, 0x40])];
    let expected = (vec![(10, 0x20), (30, 0x40)], None);
    assert_eq!(build(leaf(2) | 2, &one), expected);
    // Unused pivots are 0: what stands behind them is no entry.
    let short = [(2, [9, 0, 0, 0x10, 0x20, 0x30, 0x40])];
    let expected = (vec![(0, 0x10), (10, 0x20)], None);
    assert_eq!(build(leaf(2) | 2, &short), expected);
    let two = [
        (2, [9, 0, 0, leaf(3), leaf(4), 0, 0]),
        (3, [4, 9, 0, 0, 0x10, 0, 0]),
        (4, [19, 0, 0, 0x20, 0, 0, 0]),
    ];
    let expected = (vec![(5, 0x10), (10, 0x20)], None);
    assert_eq!(build(range(2) | 2, &two), expected);
    assert_eq!(build(arange(2) | 2, &two), expected);
    let circle = [(2, [9, 0, 0, range(2), 0, 0, 0])];
    let gone = Some(WalkError::Cycle(VirtAddr(node(2))));
    assert_eq!(build(range(2) | 2, &circle).1, gone);
    let missing = build(range(2) | 2, &[(2, [9, 0, 0, leaf(3), leaf(9), 0, 0])]);
    assert!(matches!(missing, (found, Some(WalkError::Gap(_))) if found.is_empty()));
    // Nodes of plain entries have one for each index.
    let dense = [(2, [0x10, 0, 0x30, 0, 0, 0, 0])];
    assert_eq!(
        build(node(2) | 6, &dense),
        (vec![(0, 0x10), (2, 0x30)], None)
    );
    let full = [
        (2, [9, 0, 0, leaf(3), leaf(4), 0, 0]),
        (3, [1, 2, 9, 1, 1, 1, 0]),
        (4, [10, 11, 12, 1, 1, 1, 0]),
    ];
    let (found, fault) = build(range(2) | 2, &full);
    assert_eq!((found.len(), fault), (5, Some(WalkError::Bound(5))));
    assert_eq!(
        build(0x1000_0000_0000 | 2 << 3 | 6, &[]).1,
        Some(WalkError::Astray(VirtAddr(0x1000_0000_0000)))
    );
}

#[test]
fn per_cpu_variables() {
    let mut memory = Bytes::default();
    memory.words(AT, &[0x1000, 0u64.wrapping_sub(0x10)]);
    let per_cpu = PerCpu::new(VirtAddr(AT));
    assert_eq!(
        per_cpu.address(&memory, VirtAddr(0x20), 0),
        Ok(VirtAddr(0x1020))
    );
    assert_eq!(
        per_cpu.address(&memory, VirtAddr(0x20), 1),
        Ok(VirtAddr(0x10))
    );
    assert!(per_cpu.address(&memory, VirtAddr(0x20), 2).is_err());
}
