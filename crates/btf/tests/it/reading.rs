//! What the reader says of sound blobs.

use kscope_btf::{Btf, EnumConstant, Kind, Linkage, Type, TypeId};
use kscope_testkit::btf::{BtfWriter, Order};

use crate::sample::{btf, id, writer};

const ORDERS: [Order; 2] = [Order::Little, Order::Big];

#[test]
fn members() {
    // Path in `task`, bit offset, bitfield width, type.
    fn check(name: &str, bits: u32, width: Option<u32>, ty: &str) {
        for order in ORDERS {
            let btf = btf(order);
            let field = btf.member(id(&btf, "task"), name).expect(name);
            assert_eq!((field.bit_offset, field.bitfield), (bits, width), "{name}");
            assert_eq!(btf.type_name(field.type_id), ty, "{name}");
        }
    }
    check("pid", 0, None, "pid_t");
    check("on", 32, Some(1), "int");
    check("prio", 33, Some(7), "int");
    check("whole", 64, None, "long unsigned int");
    check("low", 64, None, "int");
    check("high", 96, None, "int");
    check("comm", 128, None, "char[16]");
    check("links", 256, None, "struct list");
    check("name", 320, None, "const char *");
    check("grid", 384, None, "int[2][3]");
    check("alive", 576, None, "_Bool");
    check("load", 640, None, "double");
    check("rest", 704, None, "u32[0]");
}

#[test]
fn members_that_are_not_there() {
    let btf = btf(Order::Little);
    for (ty, name) in [
        ("task", "nope"),
        ("task", ""),
        ("color", "RED"),
        ("pid_t", "pid"),
    ] {
        assert_eq!(btf.member(id(&btf, ty), name), None, "{ty}.{name}");
    }
    assert_eq!(btf.member(TypeId(9999), "pid"), None);
    assert_eq!(btf.near_members(id(&btf, "task"), "hihg", 2), ["high"]);
    assert_eq!(btf.near_names("taks", Kind::Struct, 3), ["task"]);
    assert_eq!(btf.near_enumerators("GREN", 3), ["GREEN"]);
}

#[test]
fn fields_list_what_member_finds() {
    let btf = btf(Order::Little);
    let task = id(&btf, "task");
    let fields = btf.fields(task);
    let names: Vec<&str> = fields.iter().map(|f| f.0).collect();
    let expected = "pid on prio whole low high comm links name grid alive load rest";
    assert_eq!(names.join(" "), expected);
    for (name, field) in fields {
        assert_eq!(btf.member(task, name), Some(field));
    }
}

#[test]
fn old_bitfields_without_the_flag() {
    let mut w = BtfWriter::new(Order::Little);
    let three = w.int_bits("unsigned int", 4, 0, 2, 3);
    let plain = w.int("int", 4, 1);
    let alias = w.typedef("three", three);
    let s = w.structure("old", 8, &[("a", alias, 0, 0), ("b", plain, 32, 0)]);
    let btf = Btf::parse(w.blob()).unwrap();
    let field = |name| {
        btf.member(TypeId(s), name)
            .map(|f| (f.bit_offset, f.bitfield))
    };
    assert_eq!(field("a"), Some((2, Some(3))));
    assert_eq!(field("b"), Some((32, None)));
}

#[test]
fn sizes() {
    fn check(c: &str, size: Option<u64>) {
        let btf = btf(Order::Big);
        assert_eq!(btf.find_c_type(c).unwrap().size_of(Some(&btf)), size, "{c}");
    }
    check("struct task", Some(88));
    check("struct task *", Some(8));
    check("pid_t", Some(4));
    check("struct list[3][2]", Some(48));
    check("enum wide", Some(8));
    check("struct hidden", None);
    check("void", None);
    check("double", Some(8));
    check("char[4294967295][4294967295][4294967295]", None);
    let btf = btf(Order::Little);
    let size = |name| btf.size_of(btf.member(id(&btf, "task"), name)?.type_id);
    assert_eq!(size("grid"), Some(24));
    assert_eq!(size("rest"), Some(0));
    assert_eq!(btf.size_of(id(&btf, "current")), Some(8));
    assert_eq!(btf.size_of(id(&btf, "trace")), None);
}

#[test]
fn constants() {
    fn check(name: &str, ty: &str, value: i64, signed: bool) {
        for order in ORDERS {
            let btf = btf(order);
            let type_id = id(&btf, ty);
            let expected = EnumConstant {
                type_id,
                value,
                signed,
            };
            assert_eq!(btf.enumerator(name), Some(expected), "{name}");
            let Some(Type::Enum(e)) = btf.get(type_id) else {
                panic!("{ty} is an enumeration")
            };
            assert_eq!(e.name_of(value), Some(name));
        }
    }
    check("RED", "color", 0, false);
    check("GREEN", "color", 5, false);
    check("LOUD", "color", 0xffff_ffff, false);
    check("MINUS", "sign", -1, true);
    check("ALL", "wide", -1, false);
    check("BIG", "wide", 1 << 40, false);
    assert_eq!(btf(Order::Little).enumerator("red"), None);
}

#[test]
fn kinds_by_name() {
    fn check(name: &str, kind: Kind, found: bool) {
        let btf = btf(Order::Little);
        assert_eq!(btf.find(name, kind).is_some(), found, "{name} {kind:?}");
    }
    check("task", Kind::Struct, true);
    check("task", Kind::Union, false);
    check("wide", Kind::Enum64, true);
    check("wide", Kind::Enum, true);
    check("color", Kind::Enum64, false);
    check("hidden", Kind::Fwd, true);
    check("trace", Kind::Func, true);
    check("current", Kind::Var, true);
    check(".data..percpu", Kind::DataSec, true);
    check("double", Kind::Float, true);
    check("kfunc", Kind::DeclTag, false);
    check("", Kind::Struct, false);
    check("tas", Kind::Struct, false);
    check("tasks", Kind::Struct, false);
}

#[test]
fn functions_variables_sections_tags() {
    let btf = btf(Order::Big);
    let trace = id(&btf, "trace");
    let Some(Type::Func {
        name: "trace",
        linkage: Linkage::Global,
        proto,
    }) = btf.get(trace)
    else {
        panic!("trace is a global function");
    };
    let p = btf.prototype(trace).unwrap();
    assert_eq!(btf.prototype(proto).map(|p| p.len()), Some(2));
    assert!(p.is_variadic());
    let params: Vec<String> = p
        .params()
        .map(|p| btf.declaration(p.type_id, p.name))
        .collect();
    assert_eq!(
        params,
        ["struct task *task", "const char * restrict format"]
    );
    assert_eq!(btf.type_name(p.result), "int");

    let Some(Type::DataSec(section)) = btf.get(id(&btf, ".data..percpu")) else {
        panic!("a section");
    };
    let var = section.vars().next().unwrap();
    assert_eq!(
        (btf.name(var.type_id), var.offset, var.size),
        (Some("current"), 16, 8)
    );

    let tags: Vec<_> = btf
        .ids()
        .filter_map(|id| match btf.get(id)? {
            Type::DeclTag {
                name,
                component,
                to,
                attribute: false,
            } => Some((name, component, btf.name(to)?)),
            _ => None,
        })
        .collect();
    assert_eq!(tags, [("kfunc", None, "trace"), ("arg", Some(1), "trace")]);
}

#[test]
fn split_continues_types_and_strings() {
    for order in ORDERS {
        let base_writer = writer(order);
        let base = btf(order);
        let task = id(&base, "task");
        let mut w = BtfWriter::split(&base_writer);
        let ptr = w.ptr(task.0);
        let own = w.structure("module_task", 8, &[("owner", ptr, 0, 0)]);
        w.structure("task", 1, &[]);
        w.enumeration("more", 4, false, &[("EXTRA", 7)]);
        let split = Btf::parse_split(w.blob(), &base).unwrap();
        split.validate().unwrap();

        assert_eq!(own, base.type_count() + 1);
        assert_eq!(split.own_ids().next(), Some(TypeId(base.type_count())));
        let owner = split.member(TypeId(own), "owner").unwrap();
        assert_eq!(split.type_name(owner.type_id), "struct task *");
        let pid = split
            .member(split.pointee(owner.type_id).unwrap(), "pid")
            .unwrap();
        assert_eq!(split.type_name(pid.type_id), "pid_t");
        // The base's types come first, as in the kernel.
        assert_eq!(split.find("task", Kind::Struct), Some(task));
        assert_eq!(split.find_all("task").count(), 2);
        assert_eq!(split.enumerator("EXTRA").map(|e| e.value), Some(7));
        assert_eq!(split.enumerator("GREEN").map(|e| e.value), Some(5));
        assert_eq!(base.find("module_task", Kind::Struct), None);
        assert_eq!(base.get(TypeId(own)).map(|t| t.name()), None);
    }
}

#[test]
fn newer_kinds_are_stepped_over_where_the_layout_tells_their_size() {
    let mut w = BtfWriter::new(Order::Little);
    w.int("int", 4, 1);
    let new = w.header(0, 20, false, 2, 0);
    w.words(&[1, 2, 3]);
    let last = w.forward("after", false);
    assert!(Btf::parse(w.blob()).is_err());
    let mut sizes = vec![(0, 0); 20];
    sizes.push((4, 4));
    w.layout(&sizes);
    let btf = Btf::parse(w.blob()).unwrap();
    assert!(matches!(
        btf.get(TypeId(new)),
        Some(Type::Other { kind: 20 })
    ));
    assert_eq!(btf.name(TypeId(last)), Some("after"));
}

#[test]
fn many_members_as_since_linux_7_2() {
    let mut w = BtfWriter::new(Order::Little);
    let rows: Vec<(String, u32)> = (0..70_000).map(|i| (format!("E{i}"), i)).collect();
    let rows: Vec<(&str, u32)> = rows.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    w.enumeration("large", 4, false, &rows);
    let btf = Btf::parse(w.blob()).unwrap();
    assert_eq!(btf.enumerator("E69999").map(|e| e.value), Some(69_999));
}

#[test]
fn attributes_are_told_from_tags() {
    for order in ORDERS {
        let mut w = BtfWriter::new(order);
        let int = w.int("int", 4, 1);
        let name = w.typedef("number_t", int);
        let (aligned, space) = (w.string("aligned(8)"), w.string("address_space(1)"));
        let tag = w.decl_tag("tag", name, 0);
        let attribute = w.header(aligned, 17, true, 0, name);
        w.words(&[u32::MAX]);
        let type_tag = w.type_tag("user", int);
        let type_attribute = w.header(space, 18, true, 0, int);
        let btf = Btf::parse(w.blob()).unwrap();
        btf.validate().unwrap();
        let kept = btf.ids().map(|id| (id, kscope_btf::Kept::Whole)).collect();
        let small = Btf::parse(btf.subset(&kept)).unwrap();
        for btf in [btf, small] {
            let is_attribute = |id| match btf.get(TypeId(id)) {
                Some(Type::DeclTag { attribute, .. } | Type::TypeTag { attribute, .. }) => {
                    attribute
                }
                other => panic!("{other:?}"),
            };
            let found = [tag, attribute, type_tag, type_attribute].map(is_attribute);
            assert_eq!(found, [false, true, false, true]);
            assert_eq!(
                btf.print_c(TypeId(tag)),
                "__attribute__((btf_decl_tag(\"tag\")));"
            );
            assert_eq!(
                btf.print_c(TypeId(attribute)),
                "__attribute__((aligned(8)));"
            );
            assert_eq!(btf.print_c(TypeId(type_attribute)), "int;");
            assert_eq!(
                btf.write_json(TypeId(attribute)),
                "{\"id\":4,\"kind\":\"DECL_TAG\",\"name\":\"aligned(8)\",\"type_id\":2,\"attribute\":true}"
            );
            assert!(
                btf.write_json(TypeId(type_attribute))
                    .ends_with(",\"attribute\":true}")
            );
            assert!(!btf.write_json(TypeId(type_tag)).contains("attribute"));
        }
    }
}
