//! One blob with every kind of type.

use kscope_btf::{Btf, TypeId};
use kscope_testkit::btf::{BtfWriter, Order};

/// The sample's writer, for tests that continue or break it.
pub(crate) fn writer(order: Order) -> BtfWriter {
    let mut w = BtfWriter::new(order);
    let int = w.int("int", 4, 1);
    let char = w.int("char", 1, 1);
    let ulong = w.int("long unsigned int", 8, 0);
    let bool = w.int("_Bool", 1, 4);
    let double = w.float("double", 8);
    let const_char = w.constant(char);
    let text = w.ptr(const_char);
    let comm = w.array(char, ulong, 16);
    let u32_ = w.typedef("u32", int);
    let pid = w.typedef("pid_t", u32_);
    let flex = w.array(u32_, ulong, 0);
    // struct list { struct list *next; }, a type that refers to itself.
    let list_ptr = w.ptr(int_of(&w) + 1);
    let list = w.structure("list", 8, &[("next", list_ptr, 0, 0)]);
    assert_eq!(list, list_ptr + 1);
    let inner = w.structure("", 8, &[("low", int, 0, 0), ("high", int, 32, 0)]);
    let both = w.union("", 8, &[("whole", ulong, 0, 0), ("", inner, 0, 0)]);
    let row = w.array(int, ulong, 3);
    let grid = w.array(row, ulong, 2);
    let task = w.structure(
        "task",
        88,
        &[
            ("pid", pid, 0, 0),
            ("on", int, 32, 1),
            ("prio", int, 33, 7),
            ("", both, 64, 0),
            ("comm", comm, 128, 0),
            ("links", list, 256, 0),
            ("name", text, 320, 0),
            ("grid", grid, 384, 0),
            ("alive", bool, 576, 0),
            ("load", double, 640, 0),
            ("rest", flex, 704, 0),
        ],
    );
    let task_ptr = w.ptr(task);
    w.enumeration(
        "color",
        4,
        false,
        &[("RED", 0), ("GREEN", 5), ("LOUD", u32::MAX)],
    );
    w.enumeration("sign", 4, true, &[("MINUS", u32::MAX), ("PLUS", 1)]);
    w.enumeration64("wide", false, &[("ALL", u64::MAX), ("BIG", 1 << 40)]);
    w.forward("hidden", false);
    let hidden_union = w.forward("hidden_union", true);
    w.volatile(hidden_union);
    let restrict = w.restrict(text);
    let proto = w.prototype(int, &[("task", task_ptr), ("format", restrict), ("", 0)]);
    let func = w.function("trace", proto, 1);
    let var = w.variable("current", task_ptr, 0);
    w.section(".data..percpu", 8, &[[var, 16, 8]]);
    w.decl_tag("kfunc", func, -1);
    w.decl_tag("arg", func, 1);
    let user = w.type_tag("user", char);
    w.ptr(user);
    let callback = w.ptr(proto);
    w.structure(
        "ops",
        16,
        &[("open", callback, 0, 0), ("task", task_ptr, 64, 0)],
    );
    w
}

/// Gives the number of the next type, by writing one into a copy.
fn int_of(w: &BtfWriter) -> u32 {
    w.clone().ptr(0)
}

/// The sample, read.
pub(crate) fn btf(order: Order) -> Btf {
    let btf = Btf::parse(writer(order).blob()).expect("the sample is sound");
    btf.validate().expect("the sample is sound");
    btf
}

/// Gives the id of a type that there is once.
pub(crate) fn id(btf: &Btf, name: &str) -> TypeId {
    let found: Vec<TypeId> = btf.find_all(name).collect();
    assert_eq!(found.len(), 1, "{name}");
    found[0]
}
