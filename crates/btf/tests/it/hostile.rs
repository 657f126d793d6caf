//! Blobs that no compiler wrote: errors with their place, and no panic or endless loop whatever
//! is asked.

use kscope_btf::{Btf, Error, TypeId};
use kscope_testkit::btf::{BtfWriter, Order, ask_everything, read_any};

use crate::sample::{btf, writer};

/// A small generator of numbers, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }
}

#[test]
fn mutated_blobs() {
    let mut numbers = Numbers(1);
    let (mut read, mut refused) = (0, 0);
    for round in 0..2000 {
        let order = if round % 2 == 0 {
            Order::Little
        } else {
            Order::Big
        };
        let mut blob = writer(order).blob();
        for _ in 0..=numbers.below(6) {
            let at = numbers.below(blob.len());
            match numbers.below(6) {
                0 => blob.truncate(at.max(1)),
                1 => blob[at] = 0,
                2 => blob[at] = 0xff,
                3 => blob[at] ^= 1 << numbers.below(8),
                4 => blob[at] = numbers.below(64) as u8,
                _ => blob.insert(at, numbers.below(256) as u8),
            }
        }
        match Btf::parse(blob.clone()) {
            Ok(_) => {
                read += 1;
                assert!(read_any(&blob));
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    // Both outcomes have to be common, else the test looks at nothing.
    assert!(
        read > 300 && refused > 300,
        "{read} read, {refused} refused"
    );
}

#[test]
fn every_truncation() {
    let blob = writer(Order::Little).blob();
    for len in 0..blob.len() {
        assert!(Btf::parse(blob[..len].to_vec()).is_err(), "{len} bytes");
    }
    assert!(Btf::parse(blob).is_ok());
}

#[test]
fn faults_and_their_place() {
    fn check<T>(build: impl Fn(&mut BtfWriter) -> T, expected: &str) {
        let mut w = BtfWriter::new(Order::Little);
        build(&mut w);
        let error = Btf::parse(w.blob()).and_then(|b| b.validate()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let kind_21 = "BTF type of unknown kind 21 at byte 24";
    check(|w| w.header(0, 21, false, 0, 0), kind_21);
    check(
        |w| w.header(0, 0, false, 0, 0),
        "BTF type of unknown kind 0 at byte 24",
    );
    check(
        |w| w.header(0, 4, false, 1, 4),
        "malformed BTF: type at byte 24",
    );
    check(
        |w| w.header(0, 1, false, 0, 4),
        "malformed BTF: type at byte 24",
    );
    check(|w| w.words(&[1]), "malformed BTF: type at byte 24");
    check(
        |w| w.header(99, 2, false, 0, 0),
        "malformed BTF: name of a type at byte 24",
    );
    check(
        |w| {
            w.int("int", 4, 1);
            w.header(0, 4, false, 1, 4);
            w.words(&[4000, 1, 0]);
        },
        "malformed BTF: name of a member at byte 40",
    );
    check(
        |w| w.ptr(2),
        "BTF type 1 refers to type 2, which does not exist",
    );
    check(
        |w| w.structure("s", 4, &[("a", 77, 0, 0)]),
        "BTF type 1 refers to type 77, which does not exist",
    );
    check(
        |w| {
            let f = w.forward("f", false);
            w.function("g", f, 0);
        },
        "malformed BTF: prototype of a function at byte 36",
    );
    check(
        |w| w.typedef("t", 1),
        "BTF type 1 begins a chain without end",
    );
    check(
        |w| w.array(1, 1, 2),
        "BTF type 1 begins a chain without end",
    );
}

#[test]
fn headers_refused() {
    fn check(change: impl Fn(&mut Vec<u8>), expected: &Error) {
        let mut blob = writer(Order::Little).blob();
        change(&mut blob);
        assert_eq!(Btf::parse(blob).err().as_ref(), Some(expected));
    }
    let malformed = |what, offset| Error::Malformed { what, offset };
    check(Vec::clear, &Error::NotBtf);
    check(|b| b[0] = 0x7f, &Error::NotBtf);
    check(|b| b[2] = 2, &Error::Version(2));
    check(|b| b.truncate(6), &malformed("header", 4));
    check(|b| b[4] = 23, &malformed("length of the header", 4));
    check(|b| b[7] = 1, &malformed("length of the header", 4));
    check(|b| b[11] = 0xff, &malformed("place of the types", 8));
    check(|b| b[15] = 0xff, &malformed("place of the types", 8));
    check(|b| b[19] = 0xff, &malformed("place of the strings", 16));
    let end = writer(Order::Little).blob().len();
    check(
        |b| *b.last_mut().unwrap() = b'x',
        &malformed("end of strings", end),
    );
    let base = btf(Order::Little);
    let split = BtfWriter::split(&writer(Order::Big)).blob();
    assert_eq!(
        Btf::parse_split(split, &base).err(),
        Some(Error::EndianOfBase)
    );
}

#[test]
fn endless_types_end() {
    let mut w = BtfWriter::new(Order::Little);
    // A structure whose anonymous members are itself, twice; a pointer, a typedef, an array and a
    // prototype of themselves.
    let s = w.structure("s", 8, &[("", 1, 0, 0), ("", 1, 0, 0), ("x", 1, 0, 0)]);
    let p = w.ptr(2);
    let t = w.typedef("t", 3);
    let a = w.array(4, 4, 3);
    let f = w.prototype(5, &[("f", 5), ("g", 5)]);
    let n = w.structure("", 8, &[("", 6, 0, 0), ("a", 6, 64, 0), ("b", 6, 0, 0)]);
    let btf = Btf::parse(w.blob()).unwrap();
    ask_everything(&btf);
    assert_eq!(btf.size_of(TypeId(a)), None);
    assert_eq!(btf.resolve(TypeId(t)), None);
    assert_eq!(btf.member(TypeId(s), "x").map(|f| f.bit_offset), Some(0));
    for id in [p, f, n] {
        assert!(btf.print_c(TypeId(id)).contains("/* ... */"), "{}", id);
    }
}

#[test]
fn sizes_at_the_end_of_the_numbers_are_written() {
    let mut w = BtfWriter::new(Order::Little);
    let byte = w.int("u8", 1, 0);
    let word = w.int("u64", 8, 0);
    // Together 2^64 - 1.
    let lengths = [6_700_417, 641, 65_537, 65_535];
    let huge = lengths.iter().fold(byte, |of, &len| w.array(of, byte, len));
    w.structure("s", 16, &[("a", word, 0, 0), ("b", huge, 64, 0)]);
    w.structure("t", 16, &[("b", huge, 0, 0), ("a", word, 0, 0)]);
    w.union("u", 16, &[("a", word, 0, 0), ("b", huge, 0, 0)]);
    let btf = Btf::parse(w.blob()).unwrap();
    assert_eq!(btf.size_of(TypeId(huge)), Some(u64::MAX));
    ask_everything(&btf);
    let rust = btf.write_rust();
    for name in ["struct s", "struct t", "union u"] {
        assert!(rust.contains(name), "{rust}");
    }
}

#[test]
fn names_that_share_a_megabyte_are_indexed_in_time() {
    let mut writer = BtfWriter::new(Order::Little);
    let long = writer.string(&"x".repeat(1 << 20));
    // Kind 7 is a declaration. Read whole, these names are ten thousand megabytes.
    for i in 0..10_000 {
        writer.header(long + i, 7, false, 0, 0);
    }
    let end = long + (1 << 20);
    let longest = writer.header(end - 4096, 7, false, 0, 0);
    let longer = writer.header(end - 4097, 7, false, 0, 0);
    let btf = Btf::parse(writer.blob()).unwrap();
    let longest_name = "x".repeat(4096);
    assert_eq!(btf.find_all("xx").next(), None);
    assert_eq!(btf.find_all(&longest_name).next(), Some(TypeId(longest)));
    assert_eq!(btf.name(TypeId(longest)), Some(longest_name.as_str()));
    assert_eq!(btf.name(TypeId(longer)), None);
    assert!(btf.validate().is_err());
}

#[test]
fn text_of_names_that_are_shared_is_bounded() {
    const MANY: u32 = 1_000;
    let long = "x".repeat(4000);
    let check = |what: &str, build: &dyn Fn(&mut BtfWriter, u32, u32)| {
        let mut w = BtfWriter::new(Order::Little);
        let name = w.string(&long);
        let int = w.int("int", 4, 1);
        build(&mut w, name, int);
        let btf = Btf::parse(w.blob()).unwrap();
        let limit = btf.text_limit();
        assert!(
            limit < MANY as usize * long.len(),
            "{what}: nothing is too long"
        );
        let json: Vec<String> = btf.ids().map(|id| btf.write_json(id)).collect();
        let c: Vec<String> = btf.ids().map(|id| btf.print_c(id)).collect();
        for text in c
            .iter()
            .chain(&json)
            .chain([&btf.write_c(), &btf.write_rust()])
        {
            assert!(text.len() < limit + limit / 4, "{what}: {}", text.len());
        }
        let is_one = btf.type_count() < MANY;
        let said = [
            (
                !is_one || c.iter().any(|text| text.contains("/* ... */")),
                "C",
            ),
            (
                !is_one || json.iter().any(|text| text.contains("\"left_out\":")),
                "JSON",
            ),
        ];
        for (said, language) in said {
            assert!(said, "{what} in {language}");
        }
        (btf.write_c(), btf.write_rust())
    };
    // Kinds 4 to 8: structure, union, enumeration, declaration, typedef; 19 has constants of 64 bits.
    for (kind, words) in [(4, 3), (5, 3), (6, 2), (19, 3)] {
        let (c, rust) = check(&format!("members of kind {kind}"), &|w, name, int| {
            w.header(name, kind, false, MANY, 4);
            for place in 0..MANY {
                w.words(&[name, int, place * 32][..words]);
            }
        });
        assert!(c.contains("/* ... */"), "kind {kind}");
        assert!(rust.contains("What follows is left out"), "kind {kind}");
    }
    check("parameters", &|w, name, int| {
        w.header(0, 13, false, MANY, 0);
        for _ in 0..MANY {
            w.words(&[name, int]);
        }
        w.header(name, 8, false, 0, 2);
    });
    for kind in [4, 5, 7, 8] {
        let (c, rust) = check(&format!("types of kind {kind}"), &|w, name, int| {
            for _ in 0..MANY {
                w.header(name, kind, false, 0, int);
            }
        });
        for text in [c, rust] {
            assert!(text.contains("What follows is left out"), "kind {kind}");
        }
    }
    let sound = btf(Order::Little);
    for text in [sound.write_c(), sound.write_rust()] {
        assert!(
            !text.contains("left out") && !text.contains("/* ... */"),
            "{text}"
        );
    }
}

#[test]
fn members_of_one_name_are_each_given_another_in_time() {
    let mut w = BtfWriter::new(Order::Little);
    let (name, int) = (w.string("a"), w.int("int", 4, 1));
    w.header(name, 5, false, 50_000, 4);
    for _ in 0..50_000 {
        w.words(&[name, int, 0]);
    }
    for _ in 0..30_000 {
        w.header(name, 4, false, 0, 0);
    }
    let rust = Btf::parse(w.blob()).unwrap().write_rust();
    assert!(rust.contains("    pub a___50000: i32,"));
    assert!(rust.contains("pub struct a___30001 {"));
}
