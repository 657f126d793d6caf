//! Symbols that the target defines.

use kscope_btf::{Encoding, Linkage, TypeId};
use kscope_spec::elf::Binding;

use crate::check;
use crate::object::{ADDRESS, CALL, NOTHING, Object};

/// Declares an external variable.
fn variable(o: &mut Object, section: &str, name: &str, ty: TypeId, binding: Binding) -> usize {
    o.variable(section, name, ty, (0, 0), Linkage::Extern);
    o.undefined(name, binding)
}

/// Declares an external function.
fn function(o: &mut Object, section: Option<&str>, name: &str, binding: Binding) -> usize {
    let int = o.int();
    let proto = o.types.add_func_proto(int, &[("", int)]);
    let func = o.types.add_func(name, proto, Linkage::Extern);
    if let Some(section) = section {
        o.entry(section, func, (0, 0));
    }
    o.undefined(name, binding)
}

/// Adds a program that takes the address of a symbol.
fn takes(o: &mut Object, symbol: usize) {
    o.global(
        "tp/a/b",
        "p",
        &[ADDRESS[0], ADDRESS[1], NOTHING[0], NOTHING[1]],
    );
    o.relocate("tp/a/b", 0, symbol);
}

#[test]
fn variables_of_the_kernel() {
    check(
        |o| {
            let int = o.int();
            let ty = o.types.add_const(int);
            let symbol = variable(o, ".ksyms", "runqueues", ty, Binding::Global);
            takes(o, symbol);
        },
        &["extern runqueues variable", "  reloc 0 extern runqueues"],
    );
    check(
        |o| {
            let ty = o.types.add_const(TypeId::VOID);
            let symbol = variable(o, ".ksyms", "bpf_link_fops", ty, Binding::Weak);
            takes(o, symbol);
        },
        &[
            "extern bpf_link_fops address weak",
            "  reloc 0 extern bpf_link_fops",
        ],
    );
}

#[test]
fn functions_of_the_kernel() {
    check(
        |o| {
            let symbol = function(o, Some(".ksyms"), "bpf_rcu_read_lock", Binding::Global);
            o.global("tc", "p", &[CALL, NOTHING[0], NOTHING[1]]);
            o.relocate("tc", 0, symbol);
        },
        &[
            "extern bpf_rcu_read_lock function",
            "program p tc SchedCls 3 slots",
            "  reloc 0 extern bpf_rcu_read_lock",
        ],
    );
    check(
        |o| {
            let symbol = function(o, Some(".ksyms"), "bpf_new___v2", Binding::Weak);
            takes(o, symbol);
        },
        &["extern bpf_new function weak", "  reloc 0 extern bpf_new"],
    );
}

#[test]
fn build_options() {
    check(
        |o| {
            let bool = o.types.add_int("_Bool", 1, Encoding::Bool);
            let char = o.types.add_int("char", 1, Encoding::Signed);
            let int = o.int();
            let long = o.types.add_int("unsigned long", 8, Encoding::Unsigned);
            let text = o.types.add_array(char, int, 10);
            let tristate = o.types.add_enum("libbpf_tristate", 4, &[("TRI_NO", 0)]);
            variable(o, ".kconfig", "CONFIG_BOOL", bool, Binding::Weak);
            variable(o, ".kconfig", "CONFIG_CHAR", char, Binding::Global);
            variable(o, ".kconfig", "CONFIG_INT", int, Binding::Global);
            variable(o, ".kconfig", "CONFIG_LONG", long, Binding::Global);
            variable(o, ".kconfig", "CONFIG_TEXT", text, Binding::Global);
            let symbol = variable(o, ".kconfig", "CONFIG_TRI", tristate, Binding::Global);
            takes(o, symbol);
        },
        &[
            "map sample.kconfig .kconfig Array 4->28 *1 flags 0x480 value-typed frozen",
            "extern CONFIG_BOOL config sample.kconfig+16 size 1 Bool weak",
            "extern CONFIG_CHAR config sample.kconfig+17 size 1 Integer { signed: true, character: true }",
            "extern CONFIG_INT config sample.kconfig+8 size 4 Integer { signed: true, character: false }",
            "extern CONFIG_LONG config sample.kconfig+0 size 8 Integer { signed: false, character: false }",
            "extern CONFIG_TEXT config sample.kconfig+18 size 10 Text",
            "extern CONFIG_TRI config sample.kconfig+12 size 4 Tristate",
            "  reloc 0 extern CONFIG_TRI",
        ],
    );
    check(
        |o| {
            let int = o.int();
            let ty = o.types.add_typedef("__u32", int);
            variable(o, ".kconfig", "LINUX_KERNEL_VERSION", ty, Binding::Global);
        },
        &[
            "extern LINUX_KERNEL_VERSION config sample.kconfig+0 size 4 Integer { signed: true, character: false }",
        ],
    );
}

#[test]
fn what_is_nowhere_refuses_who_uses_it() {
    check(
        |o| {
            let symbol = o.undefined("gone", Binding::Global);
            o.global("tc", "user", &[CALL, NOTHING[0], NOTHING[1]]);
            o.relocate("tc", 0, symbol);
            o.global("tc", "other", &NOTHING);
        },
        &[
            "program user tc SchedCls 3 slots",
            "  refused: function 'gone' is called and defined nowhere: link the object that defines it, or declare a kernel's function with __ksym",
            "program other tc SchedCls 2 slots",
        ],
    );
    check(
        |o| {
            let symbol = function(o, None, "elsewhere", Binding::Global);
            takes(o, symbol);
        },
        &[
            "  refused: function 'elsewhere' is called and defined nowhere: link the object that defines it, or declare a kernel's function with __ksym",
        ],
    );
    check(
        |o| {
            let int = o.int();
            let symbol = variable(o, ".mine", "x", int, Binding::Global);
            takes(o, symbol);
        },
        &[
            "  refused: external symbol 'x' of section '.mine' is defined nowhere: link the object that defines it, or declare it with __ksym or __kconfig",
        ],
    );
    check(
        |o| {
            let int = o.int();
            let pair = o
                .types
                .add_struct("pair", 4, &[kscope_btf::NewMember::new("a", int, 0)]);
            let symbol = variable(o, ".kconfig", "CONFIG_X", pair, Binding::Global);
            takes(o, symbol);
        },
        &[
            "  refused: 'CONFIG_X' in .kconfig is of no type that a build option has: bool, char, an integer, enum libbpf_tristate or char[]",
        ],
    );
    check(
        |o| {
            let symbol = function(o, Some(".kconfig"), "CONFIG_F", Binding::Global);
            takes(o, symbol);
        },
        &["  refused: function 'CONFIG_F' cannot be in .kconfig: declare it with __ksym"],
    );
}
