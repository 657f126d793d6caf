//! C type names read.

use kscope_btf::{Btf, CBase, CType, CTypeError, Encoding};
use kscope_testkit::btf::Order;

use crate::sample::btf;

/// Writes what was read the way the cases below do.
fn show(ty: &CType, btf: Option<&Btf>) -> String {
    let base = match ty.base {
        CBase::Void => "void".into(),
        CBase::Func => "func".into(),
        CBase::Float(size) => format!("f{}", size * 8),
        CBase::Type(id) => format!("<{}>", btf.map_or(String::new(), |b| b.type_name(id))),
        CBase::Int(int) => {
            let letter = match int.encoding {
                Encoding::Unsigned => 'u',
                Encoding::Signed => 's',
                Encoding::Char => 'c',
                Encoding::Bool => 'b',
            };
            format!("{letter}{}", int.size * 8)
        }
    };
    let dims: String = ty.dims.iter().map(|d| format!("[{d}]")).collect();
    base + &"*".repeat(ty.pointers as usize) + &dims
}

#[test]
fn known_without_btf() {
    fn check(text: &str, expected: &str) {
        let read = CType::parse(text, None).map(|t| show(&t, None));
        assert_eq!(read.as_deref(), Ok(expected), "{text}");
    }
    check("int", "s32");
    check("unsigned", "u32");
    check("unsigned int", "u32");
    check("long", "s64");
    check("unsigned long", "u64");
    check("long unsigned int", "u64");
    check("unsigned long long", "u64");
    check("long long int", "s64");
    check("short", "s16");
    check("short unsigned int", "u16");
    check("char", "c8");
    check("signed char", "s8");
    check("unsigned char", "u8");
    check("bool", "b8");
    check("_Bool", "b8");
    check("float", "f32");
    check("double", "f64");
    check("__int128 unsigned", "u128");
    check("void", "void");
    check("void *", "void*");
    check("const void * const *", "void**");
    check("const char *", "c8*");
    check("char const*", "c8*");
    check("char[16]", "c8[16]");
    check("char [ 16 ]", "c8[16]");
    check("unsigned long[2][3]", "u64[2][3]");
    check("char *[4]", "c8*[4]");
    check("__data_loc char[]", "c8[0]");
    check("u8", "u8");
    check("__le32", "u32");
    check("s64", "s64");
    check("size_t", "u64");
    check("pid_t", "s32");
    check("umode_t", "u16");
    check("  int  ", "s32");
    check("int (*)(int, long)", "func*");
    check("void (*)(struct nowhere *)", "func*");
    check("const char __user *", "c8*");
    check("volatile unsigned char", "u8");
}

#[test]
fn known_with_btf() {
    fn check(text: &str, expected: &str) {
        let btf = btf(Order::Little);
        let read = btf.find_c_type(text).map(|t| show(&t, Some(&btf)));
        assert_eq!(read.as_deref(), Ok(expected), "{text}");
    }
    check("struct task", "<struct task>");
    check("const struct task *", "<struct task>*");
    check("struct task * const [4]", "<struct task>*[4]");
    check("struct hidden *", "<struct hidden>*");
    check("union hidden_union *", "<union hidden_union>*");
    check("enum color", "<enum color>");
    check("enum wide", "<enum wide>");
    check("pid_t", "<pid_t>");
    check("u32 *", "<u32>*");
    check("u64", "u64");
    check("unsigned int", "u32");
}

#[test]
fn refused() {
    fn check(text: &str, expected: &str) {
        let error = btf(Order::Little).find_c_type(text).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
    check("", "not a C type from byte 0 on");
    check("struct", "not a C type from byte 6 on");
    check("struct nope", "unknown type struct nope");
    check("union task", "unknown type union task");
    check("struct color", "unknown type struct color");
    check("union hidden", "unknown type union hidden");
    check("nope_t *", "unknown type nope_t");
    check("task", "unknown type task");
    check("int int2", "not a C type from byte 4 on");
    check("int x", "not a C type from byte 4 on");
    check("char[", "not a C type from byte 5 on");
    check("char[99999999999]", "not a C type from byte 5 on");
    check("char[-1]", "not a C type from byte 5 on");
    check("int (", "not a C type from byte 5 on");
    check("int ()", "not a C type from byte 5 on");
    check("int (*)(", "not a C type from byte 8 on");
    check("long long long", "not a C type from byte 0 on");
    check("short char", "not a C type from byte 0 on");
    check("short bool *", "not a C type from byte 0 on");
    check("int * ä", "not a C type from byte 6 on");
    check("*", "not a C type from byte 0 on");
    check("3", "not a C type from byte 0 on");
}

#[test]
fn shapes() {
    fn check(text: &str, expected: Option<(u32, bool)>) {
        let btf = btf(Order::Little);
        let shape = btf.find_c_type(text).unwrap().int_shape(Some(&btf));
        assert_eq!(shape.map(|s| (s.size, s.signed)), expected, "{text}");
    }
    check("pid_t", Some((4, true)));
    check("enum sign", Some((4, true)));
    check("enum wide", Some((8, false)));
    check("struct task *", Some((8, false)));
    check("char", Some((1, true)));
    check("struct task", None);
    check("int[2]", None);
    check("void", None);
    check("double", None);
}

#[test]
fn names_read_back() {
    let btf = btf(Order::Little);
    for id in btf.ids() {
        let name = btf.type_name(id);
        if name.contains(['{', '(', '.']) {
            continue;
        }
        match btf.find_c_type(&name) {
            Ok(read) => assert_eq!(read.size_of(Some(&btf)), btf.size_of(id), "{name}"),
            Err(CTypeError::Unknown { .. }) => {
                // What is no type: functions, variables, sections, tags.
                assert!(btf.int_shape(id).is_none(), "{name}");
            }
            Err(error) => panic!("{name}: {error}"),
        }
    }
}
