//! Types printed as C.

use kscope_btf::{Btf, TypeId};
use kscope_testkit::btf::{BtfWriter, Order};

use crate::sample::{btf, id};

#[test]
fn whole_types() {
    fn check(name: &str, expected: &str) {
        for order in [Order::Little, Order::Big] {
            let btf = btf(order);
            assert_eq!(btf.print_c(id(&btf, name)), expected);
        }
    }
    check(
        "task",
        "struct task {
\tpid_t pid;
\tint on: 1;
\tint prio: 7;
\tunion {
\t\tlong unsigned int whole;
\t\tstruct {
\t\t\tint low;
\t\t\tint high;
\t\t};
\t};
\tchar comm[16];
\tstruct list links;
\tconst char *name;
\tint grid[2][3];
\t_Bool alive;
\tdouble load;
\tu32 rest[0];
};",
    );
    check("list", "struct list {\n\tstruct list *next;\n};");
    check(
        "color",
        "enum color {\n\tRED = 0,\n\tGREEN = 5,\n\tLOUD = 4294967295,\n};",
    );
    check("sign", "enum sign {\n\tMINUS = -1,\n\tPLUS = 1,\n};");
    check(
        "wide",
        "enum wide {\n\tALL = 18446744073709551615ULL,\n\tBIG = 1099511627776ULL,\n};",
    );
    check("hidden", "struct hidden;");
    check("hidden_union", "union hidden_union;");
    check("pid_t", "typedef u32 pid_t;");
    check(
        "trace",
        "int trace(struct task *task, const char * restrict format, ...);",
    );
    check("current", "struct task *current;");
    check(
        ".data..percpu",
        "SEC(\".data..percpu\") {\n\tstruct task *current;\n};",
    );
    check(
        "ops",
        "struct ops {
\tint (*open)(struct task *task, const char * restrict format, ...);
\tstruct task *task;
};",
    );
    check("double", "double;");
}

/// Builds a type and gives how it declares `x`.
fn declare(build: impl Fn(&mut BtfWriter, u32) -> u32) -> String {
    let mut w = BtfWriter::new(Order::Little);
    let int = w.int("int", 4, 1);
    let built = build(&mut w, int);
    let btf = Btf::parse(w.blob()).unwrap();
    btf.declaration(TypeId(built), "x")
}

#[test]
fn declarators() {
    fn check(build: impl Fn(&mut BtfWriter, u32) -> u32, expected: &str) {
        assert_eq!(declare(build), expected);
    }
    check(|_, int| int, "int x");
    check(|_, _| 0, "void x");
    check(BtfWriter::ptr, "int *x");
    check(
        |w, int| {
            let p = w.ptr(int);
            w.ptr(p)
        },
        "int **x",
    );
    check(
        |w, int| {
            let c = w.constant(int);
            let v = w.volatile(c);
            w.ptr(v)
        },
        "const volatile int *x",
    );
    check(
        |w, int| {
            let p = w.ptr(int);
            w.constant(p)
        },
        "int * const x",
    );
    check(
        |w, int| {
            let p = w.ptr(int);
            let c = w.constant(p);
            w.ptr(c)
        },
        "int * const *x",
    );
    check(
        |w, int| {
            let p = w.ptr(int);
            w.array(p, int, 3)
        },
        "int *x[3]",
    );
    check(
        |w, int| {
            let a = w.array(int, int, 3);
            w.ptr(a)
        },
        "int (*x)[3]",
    );
    check(
        |w, int| {
            let c = w.constant(int);
            let a = w.array(c, int, 3);
            w.constant(a)
        },
        "const int x[3]",
    );
    check(
        |w, int| {
            let f = w.prototype(int, &[]);
            w.ptr(f)
        },
        "int (*x)(void)",
    );
    check(
        |w, int| {
            let f = w.prototype(int, &[("", 0)]);
            w.ptr(f)
        },
        "int (*x)(void)",
    );
    check(
        |w, int| {
            let f = w.prototype(0, &[("", int), ("b", int)]);
            let p = w.ptr(f);
            w.array(p, int, 4)
        },
        "void (*x[4])(int, int b)",
    );
    check(
        |w, int| {
            let p = w.ptr(int);
            let f = w.prototype(p, &[]);
            w.ptr(f)
        },
        "int * (*x)(void)",
    );
    check(
        |w, int| {
            let f = w.prototype(int, &[]);
            let p = w.ptr(f);
            let g = w.prototype(p, &[]);
            w.ptr(g)
        },
        "int (* (*x)(void))(void)",
    );
    check(
        |w, int| {
            let t = w.type_tag("rcu", int);
            w.ptr(t)
        },
        "int *x",
    );
    check(
        |w, int| {
            let s = w.structure("", 4, &[("a", int, 0, 0)]);
            w.ptr(s)
        },
        "struct {...} *x",
    );
    check(
        |w, _| w.enumeration("", 4, false, &[("A", 1)]),
        "enum {...} x",
    );
}

#[test]
fn padding_and_packing() {
    fn check(build: impl Fn(&mut BtfWriter, [u32; 3]) -> u32, expected: &str) {
        let mut w = BtfWriter::new(Order::Little);
        let (c, i, l) = (
            w.int("char", 1, 1),
            w.int("int", 4, 1),
            w.int("long int", 8, 1),
        );
        let built = build(&mut w, [c, i, l]);
        let btf = Btf::parse(w.blob()).unwrap();
        assert_eq!(
            btf.print_c(TypeId(built))
                .replace("\n\t", " ")
                .replace('\n', " "),
            expected
        );
    }
    check(
        |w, [c, i, _]| w.structure("s", 8, &[("a", c, 0, 0), ("b", i, 32, 0)]),
        "struct s { char a; int b; };",
    );
    check(
        |w, [c, i, _]| w.structure("s", 5, &[("a", c, 0, 0), ("b", i, 8, 0)]),
        "struct s { char a; int b; } __attribute__((packed));",
    );
    check(
        |w, [c, i, _]| w.structure("s", 12, &[("a", c, 0, 0), ("b", i, 64, 0)]),
        "struct s { char a; char: 8; short: 16; int: 32; int b; };",
    );
    check(
        |w, [_, i, l]| w.structure("s", 64, &[("a", i, 0, 0), ("b", l, 128, 0)]),
        "struct s { int a; int: 32; long: 64; long int b; long: 64; long: 64; long: 64; long: 64; long: 64; };",
    );
    check(
        |w, [_, i, l]| w.structure("s", 4104, &[("a", i, 0, 0), ("b", l, 32768, 0)]),
        "struct s { int a; char __pad_4[4092]; long int b; };",
    );
    check(
        |w, [_, i, _]| w.structure("s", 4, &[("a", i, 0, 3), ("b", i, 5, 4), ("c", i, 16, 8)]),
        "struct s { int a: 3; char: 2; int b: 4; char: 7; int c: 8; };",
    );
    check(
        |w, [_, i, _]| w.structure("s", 8, &[("a", i, 0, 20), ("b", i, 32, 20)]),
        "struct s { int a: 20; int b: 20; };",
    );
    check(|w, _| w.structure("s", 0, &[]), "struct s {};");
    check(
        |w, _| w.enumeration("e", 1, false, &[("A", 1)]),
        "enum e { A = 1, } __attribute__((mode(byte)));",
    );
    check(|w, _| w.enumeration("e", 4, false, &[]), "enum e;");
}
