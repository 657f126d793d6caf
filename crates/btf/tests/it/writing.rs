//! The builder, read back and compared with the test kit's writer.

use kscope_btf::write::{Builder, FuncInfo, LineInfo};
use kscope_btf::{Btf, Encoding, Endian, Linkage, NewMember, TypeId};
use kscope_testkit::btf::{BtfWriter, Order};

/// Gives every type as C, by id.
fn listing(blob: Vec<u8>) -> Vec<String> {
    let btf = Btf::parse(blob).unwrap();
    btf.validate().unwrap();
    btf.ids()
        .map(|id| format!("{:?} {}", btf.kind(id), btf.print_c(id)))
        .collect()
}

#[test]
fn both_writers_say_the_same() {
    for (endian, order) in [(Endian::Little, Order::Little), (Endian::Big, Order::Big)] {
        let mut b = Builder::with_endian(endian);
        let int = b.add_int("int", 4, Encoding::Signed);
        let ptr = b.add_ptr(int);
        b.add_array(ptr, int, 7);
        let rows = [
            NewMember::new("a", int, 0),
            NewMember {
                name: "b",
                type_id: int,
                bit_offset: 32,
                bitfield: Some(5),
            },
        ];
        let s = b.add_struct("s", 8, &rows);
        b.add_union("u", 4, &rows[..1]);
        b.add_enum("e", 4, &[("X", -1), ("Y", 2)]);
        b.add_enum64("e64", &[("BIG", 1 << 40)]);
        b.add_fwd("f", true);
        let t = b.add_typedef("t", s);
        let c = b.add_const(t);
        b.add_volatile(c);
        b.add_restrict(ptr);
        let p = b.add_func_proto(int, &[("x", ptr), ("", TypeId::VOID)]);
        let f = b.add_func("run", p, Linkage::Global);
        let v = b.add_var("counter", int, Linkage::Static);
        b.add_datasec(".bss", 4, &[(v, 0, 4)]);
        b.add_float("double", 8);
        b.add_decl_tag("tag", f, Some(0));
        b.add_type_tag("user", int);

        let mut w = BtfWriter::new(order);
        let int = w.int("int", 4, 1);
        let ptr = w.ptr(int);
        w.array(ptr, int, 7);
        let s = w.structure("s", 8, &[("a", int, 0, 0), ("b", int, 32, 5)]);
        w.union("u", 4, &[("a", int, 0, 0)]);
        w.enumeration("e", 4, true, &[("X", u32::MAX), ("Y", 2)]);
        w.enumeration64("e64", false, &[("BIG", 1 << 40)]);
        w.forward("f", true);
        let t = w.typedef("t", s);
        let c = w.constant(t);
        w.volatile(c);
        w.restrict(ptr);
        let p = w.prototype(int, &[("x", ptr), ("", 0)]);
        let f = w.function("run", p, 1);
        let v = w.variable("counter", int, 0);
        w.section(".bss", 4, &[[v, 0, 4]]);
        w.float("double", 8);
        w.decl_tag("tag", f, 0);
        w.type_tag("user", int);

        assert_eq!(listing(b.finish()), listing(w.blob()));
    }
}

#[test]
fn strings_are_shared() {
    let mut b = Builder::new();
    assert_eq!(b.add_string(""), 0);
    let first = b.add_string("opensnoop.bt");
    let second = b.add_string("tracepoint:syscalls:sys_enter_open");
    assert_eq!(b.add_string("opensnoop.bt"), first);
    assert_eq!(b.add_string("opensnoop.bt\0hidden"), first);
    let btf = Btf::parse(b.finish()).unwrap();
    assert_eq!(btf.string(first), Some("opensnoop.bt"));
    assert_eq!(
        btf.string(second),
        Some("tracepoint:syscalls:sys_enter_open")
    );
    assert_eq!(btf.string(first + 4), Some("snoop.bt"));
    assert_eq!(btf.string(1 << 20), None);
}

#[test]
fn records() {
    let funcs = [
        FuncInfo {
            insn: 0,
            type_id: TypeId(3),
        },
        FuncInfo {
            insn: 9,
            type_id: TypeId(5),
        },
    ];
    let bytes = FuncInfo::records(&funcs, Endian::Little);
    assert_eq!(bytes, [0, 0, 0, 0, 3, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0]);
    assert_eq!(bytes.len(), 2 * FuncInfo::SIZE as usize);

    let line = LineInfo {
        insn: 2,
        file: 1,
        text: 14,
        line: 3,
        column: 5,
    };
    let bytes = LineInfo::records(&[line], Endian::Big);
    assert_eq!(bytes, [0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 14, 0, 0, 0x0c, 5]);
    assert_eq!(bytes.len(), LineInfo::SIZE as usize);

    let far = LineInfo {
        insn: 0,
        file: 0,
        text: 0,
        line: u32::MAX,
        column: u32::MAX,
    };
    assert_eq!(LineInfo::records(&[far], Endian::Big)[12..], [0xff; 4]);
}

#[test]
fn more_elements_than_a_type_has_room_for_are_an_error() {
    use kscope_btf::{Error, Kind};
    let check = |count: usize, add: &dyn Fn(&mut Builder, usize) -> TypeId| {
        let mut b = Builder::new();
        b.add_int("int", 4, Encoding::Signed);
        let id = add(&mut b, count);
        b.add_typedef("after", id);
        let whole = b.clone().try_finish();
        // What is left is sound.
        let btf = Btf::parse(b.finish()).unwrap();
        btf.validate().unwrap();
        assert_eq!(btf.find("after", Kind::Typedef), Some(TypeId(3)));
        match count > 65_535 {
            false => assert_eq!(whole.as_deref(), Ok(btf.bytes())),
            true => assert_eq!(whole, Err(Error::TooManyElements { offset: 16, count })),
        }
    };
    let int = TypeId(1);
    for count in [65_535, 65_536, 65_537] {
        check(count, &|b, n| {
            b.add_struct("s", 4, &vec![NewMember::new("a", int, 0); n])
        });
        check(count, &|b, n| b.add_enum("e", 4, &vec![("A", 1); n]));
        check(count, &|b, n| b.add_enum64("e", &vec![("A", 1); n]));
        check(count, &|b, n| b.add_func_proto(int, &vec![("a", int); n]));
        check(count, &|b, n| {
            b.add_datasec(".data", 4, &vec![(int, 0, 4); n])
        });
    }
}
