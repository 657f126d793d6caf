use super::*;
use crate::write::{Builder, NewMember};
use crate::{Encoding, Type};

/// Merges blobs; gives the result and where the types of each are in it.
fn merged(blobs: Vec<Builder>) -> (Btf, Vec<impl Fn(TypeId) -> TypeId>) {
    let mut merger = Merger::new(Endian::Little);
    let added: Vec<Added> = blobs
        .into_iter()
        .map(|blob| {
            let btf = Btf::parse(blob.finish()).unwrap();
            merger.add(&btf).unwrap()
        })
        .collect();
    let merged = merger.deduplicate();
    let ids = merged.ids.clone();
    let btf = Btf::parse(merged.finish()).unwrap();
    assert_eq!(btf.validate(), Ok(()));
    let places = added.into_iter().map(move |added| {
        let ids = ids.clone();
        move |id: TypeId| ids[added.of(id).0 as usize]
    });
    (btf, places.collect())
}

/// `struct node { struct node *next; int VALUE; }`, and a list of pointers to it.
fn list(value: &str) -> (Builder, TypeId) {
    let mut b = Builder::new();
    let int = b.add_int("int", 4, Encoding::Signed);
    let node = TypeId(b.next_id().0 + 1);
    let next = b.add_ptr(node);
    let members = [
        NewMember::new("next", next, 0),
        NewMember::new(value, int, 64),
    ];
    b.add_struct("node", 16, &members);
    (b, node)
}

#[test]
fn structures_that_refer_to_themselves_are_one() {
    let (one, a) = list("value");
    let (mut two, b) = list("value");
    // The same, described in another order and once unrolled.
    let other = two.add_ptr(b);
    let (btf, at) = merged(vec![one, two]);
    assert_eq!(at[0](a), at[1](b));
    assert_eq!(btf.ids().count(), 3);
    assert!(matches!(btf.get(at[1](other)), Some(Type::Ptr(to)) if to == at[0](a)));
}

#[test]
fn what_differs_anywhere_stays_apart() {
    let (mut one, a) = list("value");
    let (mut two, b) = list("number");
    let over = |builder: &mut Builder, to| {
        let mut to = to;
        for _ in 0..40 {
            to = builder.add_ptr(to);
        }
        to
    };
    let (c, d) = (over(&mut one, a), over(&mut two, b));
    let (btf, at) = merged(vec![one, two]);
    assert_ne!(at[0](a), at[1](b));
    assert_ne!(at[0](c), at[1](d));
    // int is the same; a pointer in each list is that of the member.
    assert_eq!(btf.ids().count(), 1 + 2 * 41);
}

#[test]
fn declarations_become_definitions() {
    // One blob knows inner, the other outer: struct outer { struct inner *to; }, inner the other
    // way round.
    let unit = |full: &str, declared: &str| {
        let mut b = Builder::new();
        let int = b.add_int("int", 4, Encoding::Signed);
        let fwd = b.add_fwd(declared, false);
        let pointer = b.add_ptr(fwd);
        let members = [
            NewMember::new("to", pointer, 0),
            NewMember::new("more", int, 64),
        ];
        let full = b.add_struct(full, 16, &members);
        (b, fwd, full)
    };
    let (one, a_fwd, a) = unit("outer", "inner");
    let (two, b_fwd, b) = unit("inner", "outer");
    let (three, ..) = unit("outer", "inner");
    let (btf, at) = merged(vec![one, two, three]);
    assert_eq!(at[0](a_fwd), at[1](b));
    assert_eq!(at[1](b_fwd), at[0](a));
    assert_eq!(at[2](a), at[0](a));
    // int, two pointers, two structures.
    assert_eq!(btf.ids().count(), 5);
}

#[test]
fn declarations_of_ambiguous_names_stay() {
    let mut one = Builder::new();
    let fwd = one.add_fwd("thing", false);
    let union = one.add_fwd("thing", true);
    let define = |size| {
        let mut b = Builder::new();
        let int = b.add_int("int", size, Encoding::Signed);
        let full = b.add_struct("thing", size, &[NewMember::new("a", int, 0)]);
        (b, full)
    };
    let (two, small) = define(4);
    let (three, large) = define(8);
    let (btf, at) = merged(vec![one, two, three]);
    assert!(matches!(
        btf.get(at[0](fwd)),
        Some(Type::Fwd {
            is_union: false,
            ..
        })
    ));
    assert!(matches!(
        btf.get(at[0](union)),
        Some(Type::Fwd { is_union: true, .. })
    ));
    assert_ne!(at[1](small), at[2](large));
}

#[test]
fn enumerations_that_are_declared_become_defined() {
    let mut one = Builder::new();
    let declared = one.add_enum("state", 4, &[]);
    let mut two = Builder::new();
    let defined = two.add_enum("state", 4, &[("ON", 1), ("OFF", 2)]);
    let (btf, at) = merged(vec![one, two]);
    assert_eq!(at[0](declared), at[1](defined));
    assert_eq!(btf.ids().count(), 1);
}

#[test]
fn variables_and_their_sections_stay_apart() {
    let unit = || {
        let mut b = Builder::new();
        let int = b.add_int("int", 4, Encoding::Signed);
        let var = b.add_var("counter", int, Linkage::Static);
        b.add_datasec(".bss", 4, &[(var, 0, 4)]);
        (b, var)
    };
    let ((one, a), (two, b)) = (unit(), unit());
    let (btf, at) = merged(vec![one, two]);
    assert_ne!(at[0](a), at[1](b));
    assert_eq!(btf.ids().count(), 5);
}

#[test]
fn aliases_linkage_and_what_is_removed() {
    let unit = |linkage| {
        let mut b = Builder::new();
        let int = b.add_int("int", 4, Encoding::Signed);
        let proto = b.add_func_proto(int, &[("a", int)]);
        let func = b.add_func("f", proto, linkage);
        let tag = b.add_decl_tag("kind", func, None);
        let var = b.add_var("v", int, linkage);
        let section = b.add_datasec(".bss", 4, &[(var, 0, 4)]);
        (Btf::parse(b.finish()).unwrap(), [func, tag, var, section])
    };
    let (one, [f, tag, v, section]) = unit(Linkage::Extern);
    let (two, _) = unit(Linkage::Global);
    let mut merger = Merger::new(Endian::Big);
    let (a, b) = (merger.add(&one).unwrap(), merger.add(&two).unwrap());
    merger.alias(a.of(f), b.of(f));
    merger.alias(b.of(f), a.of(f));
    merger.remove(a.of(section));
    merger.remove(b.of(section));
    merger.set_linkage(a.of(v), Linkage::Static);
    let made = merger.add_datasec(".data", 8, &[(a.of(v), 0, 4), (b.of(v), 4, 4)]);
    let mut merged = merger.deduplicate();
    assert_eq!(merged.id(a.of(tag)), merged.id(b.of(tag)));
    assert_eq!(merged.id(a.of(section)), TypeId::VOID);
    let (f, v, made) = (merged.id(a.of(f)), merged.id(a.of(v)), merged.id(made));
    let text = merged.add_string("return 0;");
    let btf = Btf::parse(merged.finish()).unwrap();
    assert_eq!(
        (btf.validate(), btf.string(text)),
        (Ok(()), Some("return 0;"))
    );
    let Some(Type::Func { linkage, .. }) = btf.get(f) else {
        panic!("{btf:?}");
    };
    assert_eq!(linkage, Linkage::Global);
    let Some(Type::Var { linkage, .. }) = btf.get(v) else {
        panic!("{btf:?}");
    };
    assert_eq!(linkage, Linkage::Static);
    let Some(Type::DataSec(section)) = btf.get(made) else {
        panic!("{btf:?}");
    };
    assert_eq!(section.vars().len(), 2);
    // int, prototype, function, tag, two variables, section.
    assert_eq!(btf.ids().count(), 7);
}

#[test]
fn a_long_chain_takes_no_long_time() {
    // Each pointer is told from the others by how far from void it is.
    let unit = || {
        let mut b = Builder::new();
        let mut to = TypeId::VOID;
        for _ in 0..100_000 {
            to = b.add_ptr(to);
        }
        b.add_fwd("end", false);
        b
    };
    let mut merger = Merger::new(Endian::Little);
    for _ in 0..2 {
        let mut btf = unit();
        btf.add_typedef("t", TypeId(1));
        // Chains this long are what Btf::validate takes: pointers do not count.
        merger.add(&Btf::parse(btf.finish()).unwrap()).unwrap();
    }
    let btf = Btf::parse(merger.deduplicate().finish()).unwrap();
    assert_eq!(btf.ids().count(), 100_002);
}

#[test]
fn split_blobs_and_strings_that_overlap_are_refused() {
    let base = Btf::parse(list("value").0.finish()).unwrap();
    // Without strings of its own.
    let mut split = Builder::new().finish();
    split[20..24].fill(0);
    split.pop();
    let split = Btf::parse_split(split, &base).unwrap();
    let mut merger = Merger::new(Endian::Little);
    assert_eq!(merger.add(&split), Err(Error::Split));

    let mut b = Builder::new();
    let long = b.add_string(&"x".repeat(4000));
    for _ in 0..4000 {
        b.add_fwd("y", false);
    }
    let mut blob = b.finish();
    // The name of each begins one byte behind that of the one before.
    for (number, header) in (0..4000).zip(blob[24..].chunks_exact_mut(12)) {
        header[..4].copy_from_slice(&(long + number).to_le_bytes());
    }
    let error = merger.add(&Btf::parse(blob).unwrap()).unwrap_err();
    let expected = "malformed BTF: strings, which overlap, at byte";
    assert!(error.to_string().starts_with(expected), "{error}");
}
