//! Types that compilers of today do not write, or no compiler at all.

use kscope_btf::{Btf, TypeId};
use kscope_testkit::btf::{BtfWriter, Order};

use super::{Item, Types};
use crate::text::Text;
use crate::write;

/// Adds a type, and `int`, which is number 1.
fn blob(make: impl FnOnce(&mut BtfWriter) -> u32) -> (Btf, TypeId) {
    let mut writer = BtfWriter::new(Order::Little);
    writer.int("int", 4, 1);
    let id = make(&mut writer);
    (Btf::parse(writer.blob()).expect("a blob"), TypeId(id))
}

fn items(btf: &Btf, id: TypeId) -> Result<Vec<Item>, String> {
    let mut types = Types::new(btf);
    let found = types.ty(id, "hint").map_err(|error| error.to_string());
    found.map(|_| types.into_items())
}

/// Says what is written holds a text.
fn check(expected: &str, make: impl FnOnce(&mut BtfWriter) -> u32) {
    let (btf, id) = blob(make);
    let mut text = Text::default();
    for item in items(&btf, id).expect("types") {
        write::item(&mut text, &item);
    }
    let text = text.into_string();
    assert!(text.contains(expected), "{expected} is not in\n{text}");
}

fn check_refused(why: &str, make: impl FnOnce(&mut BtfWriter) -> u32) {
    check_refused_as("hint", why, make);
}

fn check_refused_as(name: &str, why: &str, make: impl FnOnce(&mut BtfWriter) -> u32) {
    let (btf, id) = blob(make);
    let error = items(&btf, id).expect_err("an error");
    assert_eq!(error, format!("{name} cannot be written in Rust: {why}"));
}

#[test]
fn enumerations_have_their_sign_and_size() {
    check("pub const LOW: Level = Level(-1);", |w| {
        w.enumeration("level", 4, true, &[("LOW", u32::MAX)])
    });
    check("pub const ALL: Level = Level(4294967295);", |w| {
        w.enumeration("level", 4, false, &[("ALL", u32::MAX)])
    });
    check("pub const TOP: Wide = Wide(18446744073709551615);", |w| {
        w.enumeration64("wide", false, &[("TOP", u64::MAX)])
    });
    check("pub struct Wide(pub i64);", |w| {
        w.enumeration64("wide", true, &[("A", 1)])
    });
    check("pub struct Tiny(pub u8);", |w| {
        w.enumeration("tiny", 1, false, &[])
    });
    check("Some(\"A\"),\n            _ => None,", |w| {
        w.enumeration("same", 4, false, &[("A", 1), ("B", 1)])
    });
}

#[test]
fn layouts_that_rust_does_not_choose_are_packed() {
    check("#[repr(C, packed)]", |w| {
        w.structure("s", 5, &[("a", 1, 8, 0)])
    });
    check("#[repr(C, packed)]", |w| {
        w.structure("s", 6, &[("a", 1, 0, 0)])
    });
    check("#[repr(C)]\npub struct S {", |w| {
        w.structure("s", 8, &[("a", 1, 32, 0)])
    });
    check("pub _pad_0: [u8; 4],", |w| {
        w.structure("s", 8, &[("a", 1, 32, 0)])
    });
    check("plain::put(bytes, 1, &{ self.a });", |w| {
        w.structure("s", 5, &[("a", 1, 8, 0)])
    });
}

#[test]
fn names_without_one_come_from_around_them() {
    check("pub struct KeyT {", |w| {
        let anonymous = w.structure("", 4, &[("a", 1, 0, 0)]);
        w.typedef("key_t", anonymous)
    });
    check("pub inner: OuterInner,", |w| {
        let anonymous = w.structure("", 4, &[("a", 1, 0, 0)]);
        w.structure("outer", 4, &[("inner", anonymous, 0, 0)])
    });
    check("pub struct Hint {", |w| {
        w.structure("", 4, &[("a", 1, 0, 0)])
    });
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let overlap = "its members overlap, or lie outside of it";
    check_refused_as("s", overlap, |w| {
        w.structure("s", 8, &[("a", 1, 0, 0), ("b", 1, 16, 0)])
    });
    check_refused_as("s", overlap, |w| w.structure("s", 2, &[("a", 1, 0, 0)]));
    check_refused_as("u.a", "it lies outside", |w| {
        w.union("u", 2, &[("a", 1, 0, 0)])
    });
    check_refused_as("s_a", "it holds itself", |w| {
        w.structure("s", 4, &[("a", 2, 0, 0)])
    });
    check_refused("it is of type void", |w| w.constant(0));
    check_refused("its typedefs have no end", |w| w.constant(2));
    check_refused_as("x", "the object has its name alone", |w| {
        w.forward("x", false)
    });
    check_refused("it has more than 1 GiB", |w| w.array(1, 1, u32::MAX));
    check_refused("it is no type of data", |w| w.prototype(1, &[]));
    check_refused("its type is not there", |w| w.constant(77));
    check_refused_as("s.a", "it is no bitfield of a number", |w| {
        let inner = w.structure("inner", 4, &[("b", 1, 0, 0)]);
        w.structure("s", 4, &[("a", inner, 0, 3)])
    });
}

#[test]
fn bitfields_that_make_no_sense_are_refused() {
    const WIDER: &str = "it is a bitfield wider than its type";
    const OVERLAP: &str = "its bitfields overlap, or go backwards";
    const BETWEEN: &str = "it begins between two bytes";
    check_refused_as("s.a", WIDER, |w| w.structure("s", 8, &[("a", 1, 0, 33)]));
    check_refused_as("u.a", WIDER, |w| w.union("u", 8, &[("a", 1, 0, 40)]));
    check_refused_as("s", OVERLAP, |w| {
        w.structure("s", 4, &[("a", 1, 0, 4), ("b", 1, 3, 4)])
    });
    check_refused_as("s", OVERLAP, |w| {
        w.structure("s", 4, &[("a", 1, 8, 4), ("b", 1, 0, 4)])
    });
    check_refused_as("s.a", BETWEEN, |w| w.structure("s", 8, &[("a", 1, 3, 0)]));
    check_refused_as("u.a", BETWEEN, |w| w.union("u", 8, &[("a", 1, 3, 0)]));
    check_refused_as("s", "its members overlap, or lie outside of it", |w| {
        w.structure("s", 4, &[("a", 1, 24, 16)])
    });
    // In a union they share their bits.
    check("pub fn b(&self)", |w| {
        w.union("u", 4, &[("a", 1, 0, 4), ("b", 1, 0, 8)])
    });
}

/// Each structure has two of the one before: 2^40 members in all.
#[test]
fn nameless_members_are_counted() {
    let (btf, id) = blob(|w| {
        let mut last = 1;
        for _ in 0..40 {
            last = w.structure("", 8, &[("", last, 0, 0), ("", last, 32, 0)]);
        }
        w.structure("s", 8, &[("", last, 0, 0)])
    });
    let error = items(&btf, id).expect_err("an error");
    assert!(error.contains("more than 65,536 members"), "{error}");
}
