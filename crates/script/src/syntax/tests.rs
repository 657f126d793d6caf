//! One line per thing that is understood, or not.

use super::{Positional, dump, parameters, parse, tree::Script};
use crate::diagnostic::{Diagnostic, Severity};

fn parsed(source: &str) -> (Script, Vec<Diagnostic>) {
    parse(source, &Positional::default())
}

/// Checks the dump of an expression's tree.
#[track_caller]
fn expr(source: &str, expected: &str) {
    let script = format!("begin {{ f({source}); }}");
    let (tree, found) = parsed(&script);
    assert_eq!(found, [], "{source}");
    let statement = dump::script(&tree);
    let statement = statement.trim_start_matches("(probe [begin]").trim();
    assert_eq!(statement, format!("(call f {expected}))"), "{source}");
}

/// Checks the dump of a probe's statements, on one line.
#[track_caller]
fn body(source: &str, expected: &str) {
    let (tree, found) = parsed(&format!("begin {{ {source} }}"));
    assert_eq!(found, [], "{source}");
    assert_eq!(inside(&tree), expected, "{source}");
}

/// Gives the dump of a script's one probe without its head, on one line.
fn inside(tree: &Script) -> String {
    let text = dump::script(tree);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let text = lines.join(" ");
    let text = text.strip_prefix("(probe [begin]").unwrap_or(&text);
    text.strip_suffix(')').unwrap_or(text).trim().to_owned()
}

/// Checks a whole script's dump, on one line.
#[track_caller]
fn script(source: &str, expected: &str) {
    let (tree, found) = parsed(source);
    assert_eq!(found, [], "{source}");
    let text = dump::script(&tree);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines.join(" "), expected, "{source}");
}

/// Checks the findings: the text they point at, and what they say.
#[track_caller]
fn errors(source: &str, expected: &[(&str, &str)]) {
    let (_, found) = parsed(source);
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|one| (&source[one.span.range()], one.message.as_str()))
        .collect();
    assert_eq!(found, expected, "{source}");
}

/// Checks the hint of the only finding.
#[track_caller]
fn hint(source: &str, expected: &str) {
    let (_, found) = parsed(source);
    let hints: Vec<Option<&str>> = found.iter().map(|one| one.hint.as_deref()).collect();
    assert_eq!(hints, [Some(expected)], "{source}");
}

#[test]
fn integers() {
    expr("0", "0");
    expr("42", "42");
    expr("0x1F", "31");
    expr("0XffUL", "255");
    expr("0755", "493");
    expr("1_000_000", "1000000");
    expr("0xff_ff", "65535");
    expr("1e6", "1000000");
    expr("3e0", "3");
    expr("0e99", "0");
    expr("1ns, 1us, 1ms, 1s", "1 1000 1000000 1000000000");
    expr("2m, 1h, 1d", "120000000000 3600000000000 86400000000000");
    expr("5u, 5l, 5ul, 5ULL, 5ll", "5 5 5 5 5");
    expr("18446744073709551615", "18446744073709551615");
    errors(
        "begin { f(18446744073709551616); }",
        &[(
            "18446744073709551616",
            "integer literal does not fit in 64 bits (the largest is 18446744073709551615)",
        )],
    );
    errors(
        "begin { f(12abc); }",
        &[("abc", "invalid integer suffix `abc`")],
    );
    errors(
        "begin { f(1_); f(1e2_); }",
        &[
            ("_", "trailing underscore in an integer literal"),
            ("_", "trailing underscore in an integer literal"),
        ],
    );
    errors(
        "begin { f(018); }",
        &[(
            "8",
            "`8` and `9` are no octal digits (a leading zero means octal)",
        )],
    );
    errors("begin { f(0x); }", &[("0x", "no digits after `0x`")]);
    errors("begin { f(1e); }", &[("e", "invalid integer suffix `e`")]);
}

#[test]
fn strings() {
    expr(r#""""#, r#""""#);
    expr(r#""a b\n\t\r\"\\""#, r#""a b\n\t\r\"\\""#);
    expr(r#""\101\x42\0""#, r#""AB\x00""#);
    expr("\"é\"", r#""\xc3\xa9""#);
    errors(
        r#"begin { f("a\qb"); }"#,
        &[("\\q", "unknown escape `\\q`")],
    );
    errors("begin { f(\"\\é\"); }", &[("\\é", "unknown escape `\\é`")]);
    errors(
        r#"begin { f("\400"); }"#,
        &[(
            "\\400",
            "octal escape is out of range (the largest is `\\377`)",
        )],
    );
    errors(
        r#"begin { f("\xg"); }"#,
        &[("\\x", "no hexadecimal digits after `\\x`")],
    );
    errors(
        "begin { printf(\"abc); }\nend { f(1); }",
        &[("\"abc); }", "unterminated string")],
    );
}

#[test]
fn names_and_parameters() {
    expr("$x, @m, @, pid, true, false", "$x @m @ pid true false");
    expr("$1, $#, str($2)", "$1 $# (call str $2)");
    expr(
        "@m[1], @[1, \"a\"], @m [ (1, 2) ]",
        "(@m 1) (@ (tuple 1 \"a\")) (@m (tuple 1 2))",
    );
    expr("@a[@b[1]]", "(@a (@b 1))");
    expr(
        "comm(), comm(3), nsecs(monotonic)",
        "(call comm) (call comm 3) (call nsecs monotonic)",
    );
    errors(
        "begin { f($0); }",
        &[("$0", "positional parameter `$0` is out of range")],
    );
}

#[test]
fn precedence() {
    expr("1 + 2 * 3", "(+ 1 (* 2 3))");
    expr("(1 + 2) * 3", "(* (+ 1 2) 3)");
    expr("1 - 2 - 3", "(- (- 1 2) 3)");
    expr("1 || 2 && 3 | 4 ^ 5 & 6 == 7 < 8 << 9 + 10 * 11", {
        "(|| 1 (&& 2 (| 3 (^ 4 (& 5 (== 6 (< 7 (<< 8 (+ 9 (* 10 11))))))))))"
    });
    expr("a % b / c", "(/ (% a b) c)");
    expr(
        "a >> 1 >= b != c <= d > e",
        "(!= (>= (>> a 1) b) (> (<= c d) e))",
    );
    expr("!a && ~b", "(&& (! a) (~ b))");
    expr("-1 - -2", "(- (neg 1) (neg 2))");
    expr("- - 1", "(neg (neg 1))");
    expr("*$p + *$q", "(+ (deref $p) (deref $q))");
    expr("**$p", "(deref (deref $p))");
    expr("*$p.x", "(deref (. $p x))");
    expr("-$a[1]", "(neg (index $a 1))");
    expr("&$x, &@m", "(addr $x) (addr @m)");
    expr("$a & $b && $c", "(&& (& $a $b) $c)");
}

#[test]
fn ternaries() {
    expr("a ? b : c", "(? a b c)");
    expr("a ? b : c ? d : e", "(? a b (? c d e))");
    expr("a ? b ? c : d : e", "(? a (? b c d) e)");
    expr("a ?: b", "(?: a b)");
    expr("a || b ? 1 : 2", "(? (|| a b) 1 2)");
    body("pid == 1 ? f() : g();", "(? (== pid 1) (call f) (call g))");
}

#[test]
fn members() {
    expr("args.fd, args->fd", "(. args fd) (-> args fd)");
    expr("$t.0.1", "(. (. $t 0) 1)");
    expr("$p->a.b[1]->c", "(-> (index (. (-> $p a) b) 1) c)");
    expr("curtask.config.if", "(. (. curtask config) if)");
    expr("(1, 2).0", "(. (tuple 1 2) 0)");
    expr("f(1).x", "(. (call f 1) x)");
}

#[test]
fn steps() {
    body(
        "$x++; ++$x; @m[1]--; --@;",
        "(post++ $x) (pre++ $x) (post-- (@m 1)) (pre-- @)",
    );
    body("$x++\n $y = 1;", "(post++ $x) (= $y 1)");
    expr("$a-- - --$b", "(- (post-- $a) (pre-- $b))");
    errors("begin { 5++; }", &[("5", "`++` needs a variable or a map")]);
    errors(
        "begin { --pid; }",
        &[("pid", "`--` needs a variable or a map")],
    );
    errors(
        "begin { f(&pid); }",
        &[(
            "pid",
            "`&` takes the address of a variable, of a map, or of what is read of memory",
        )],
    );
}

#[test]
fn casts() {
    expr("(uint8)1", "(cast uint8 1)");
    expr("(struct foo *)arg0", "(cast struct foo* arg0)");
    expr("((struct foo *)arg0)->x", "(-> (cast struct foo* arg0) x)");
    expr("(struct foo *)$p->x", "(cast struct foo* (-> $p x))");
    expr("(uint8[8])x", "(cast uint8[8] x)");
    expr("(int8[])\"str\"", "(cast int8[] \"str\")");
    expr("(int32*[4]*)p", "(cast int32*[4]* p)");
    expr("(foo_t)-1", "(cast foo_t (neg 1))");
    expr("(unsigned long)x", "(cast unsigned long x)");
    expr("(const char *)x", "(cast char* x)");
    expr("(enum e)1", "(cast enum e 1)");
    expr("(typeof($a))$b", "(cast typeof($a) $b)");
    expr("(typeof(uint8))$b", "(cast typeof((type uint8)) $b)");
    expr("(string[64])p", "(cast string[64] p)");
    expr("(uint64)$a + 1", "(+ (cast uint64 $a) 1)");
    expr("(uint8)(uint16)1", "(cast uint8 (cast uint16 1))");
    expr("(__be16)-1", "(cast __be16 (neg 1))");
    expr("(sock *)*$p", "(cast sock* (deref $p))");
}

#[test]
fn parentheses_that_are_no_casts() {
    expr("(pid) - 1", "(- pid 1)");
    expr("(A) * 2", "(* A 2)");
    expr("(A) & 2", "(& A 2)");
    expr("(A) + 2", "(+ A 2)");
    expr("(A * B)", "(* A B)");
    expr("($a)", "$a");
    expr("(nsecs - @a) / 1000", "(/ (- nsecs @a) 1000)");
    expr("(A)", "A");
}

#[test]
fn tuples_and_records() {
    expr("(1, \"a\")", "(tuple 1 \"a\")");
    expr("(1,)", "(tuple 1)");
    expr("()", "(tuple)");
    expr("(1, (2, 3),)", "(tuple 1 (tuple 2 3))");
    expr("(a=1, b=(c=2))", "(record a=1 b=(record c=2))");
    expr("(pid=pid, comm=comm)", "(record pid=pid comm=comm)");
    expr("(a == 1)", "(== a 1)");
    errors(
        "begin { f((a=1, a=2)); }",
        &[("a", "the record has a field `a` already")],
    );
}

#[test]
fn types_as_arguments() {
    expr("sizeof(struct foo)", "(sizeof (type struct foo))");
    expr("sizeof(uint64)", "(sizeof (type uint64))");
    expr("sizeof(foo *)", "(sizeof (type foo*))");
    expr("sizeof(foo)", "(sizeof foo)");
    expr("sizeof($x)", "(sizeof $x)");
    expr("sizeof(a * b)", "(sizeof (* a b))");
    expr(
        "offsetof(struct foo, a.b)",
        "(offsetof (type struct foo) a.b)",
    );
    expr("offsetof(*$p, a)", "(offsetof (deref $p) a)");
    expr("container_of($p, typeof(struct foo), m)", {
        "(call container_of $p (type typeof((type struct foo))) m)"
    });
    expr("typeinfo(struct foo)", "(call typeinfo (type struct foo))");
}

#[test]
fn statements() {
    body(
        "$x = 1; @m = 2; @m[1] = 3;",
        "(= $x 1) (= @m 2) (= (@m 1) 3)",
    );
    body(
        "$x += 1; $x <<= 2; @a[1] |= 4",
        "(+= $x 1) (<<= $x 2) (|= (@a 1) 4)",
    );
    body(
        "$x -= 1; $x *= 1; $x /= 1; $x %= 1;",
        "(-= $x 1) (*= $x 1) (/= $x 1) (%= $x 1)",
    );
    body(
        "$x &= 1; $x ^= 1; $x >>= 1;",
        "(&= $x 1) (^= $x 1) (>>= $x 1)",
    );
    body("let $x; let $y = 1; let $z : uint8 = 2;", {
        "(let $x) (let $y = 1) (let $z : uint8 = 2)"
    });
    body("let $x : struct foo *;", "(let $x : struct foo*)");
    body("_ = f();", "(discard (call f))");
    body("return; ", "(return)");
    body("return 1 + 2", "(return (+ 1 2))");
    body(";;f();;", "(call f)");
    body("{ f(); }", "(block (call f))");
    body("1", "1");
    body("@[comm] = count()", "(= (@ comm) (call count))");
    body("@x = count(@y)", "(= @x (call count @y))");
    body("delete(@m[1, 2])", "(call delete (@m (tuple 1 2)))");
}

#[test]
fn control_flow() {
    body("if (a) { f(); }", "(if a (then (call f)))");
    body(
        "if $x { f() } else { g() }",
        "(if $x (then (call f)) (else (call g)))",
    );
    body("if $x == 1 { f() }", "(if (== $x 1) (then (call f)))");
    body("if (a) && (b) { f() }", "(if (&& a b) (then (call f)))");
    body(
        "if (uint8)x == 3 { f() }",
        "(if (== (cast uint8 x) 3) (then (call f)))",
    );
    body(
        "if a {} else if b {} else {}",
        "(if a (then) (else (if b (then) (else))))",
    );
    body("if comptime (x) { f() }", "(if-comptime x (then (call f)))");
    body("if (a) { 1 } else { 2 }", "(if a (then 1) (else 2))");
    body(
        "$x = if (a) { 1 } else { 2 };",
        "(= $x (if a {=> 1} {=> 2}))",
    );
    body(
        "$x = { let $y = 1; $y + 1 };",
        "(= $x {(let $y = 1) => (+ $y 1)})",
    );
    body(
        "for ($kv : @m) { f($kv.0) }",
        "(for $kv @m (call f (. $kv 0)))",
    );
    body("for $kv : @m { }", "(for $kv @m)");
    body(
        "for ($i : 0..10) { continue; }",
        "(for $i 0 .. 10 (continue))",
    );
    body(
        "for $i : $a..(b + 1) { break; }",
        "(for $i $a .. (+ b 1) (break))",
    );
    body(
        "for $i : (uint64)0..(uint64)n { }",
        "(for $i (cast uint64 0) .. (cast uint64 n))",
    );
    body("while (1) { break; }", "(while 1 (break))");
    body("while $i < 10 { $i++ }", "(while (< $i 10) (post++ $i))");
    body("unroll (3) { f(); }", "(unroll 3 (call f))");
    body("unroll $1 { f(); }", "(unroll $1 (call f))");
}

#[test]
fn attach_points() {
    script("BEGIN{}END{}", "(probe [BEGIN]) (probe [END])");
    script("k:f, kr:f { }", "(probe [k|f] [kr|f])");
    script("k:a,\nk:b, { }", "(probe [k|a] [k|b])");
    script("k:f /pid/ { }", "(probe [k|f] (when pid))");
    script("k:f/pid == 1/{ }", "(probe [k|f] (when (== pid 1)))");
    script("BEGIN /1/ { }", "(probe [BEGIN] (when 1))");
    script("BEGIN// comment\n{ }", "(probe [BEGIN])");
    script(
        "uprobe:/bin/sh:f /pid/ { }",
        "(probe [uprobe|/bin/sh|f] (when pid))",
    );
    script("uprobe:/usr/*/x:f* { }", "(probe [uprobe|/usr/*/x|f*])");
    script(
        r#"uprobe:"/a b:c":"n::f(int, x)" { }"#,
        "(probe [uprobe|/a b:c|n::f(int, x)])",
    );
    script("t:sys*:sys_enter_* { }", "(probe [t|sys*|sys_enter_*])");
    script(
        "interval:1s { } profile:hz:99 { }",
        "(probe [interval|1s]) (probe [profile|hz|99])",
    );
    script("lab = k:f { }", "(probe lab= [k|f])");
    script("k:f /10 / 2 / { }", "(probe [k|f] (when (/ 10 2)))");
    script(
        "k:f /(a / b) > 1/\n{ }",
        "(probe [k|f] (when (> (/ a b) 1)))",
    );
    script("k:f+0x10 { }", "(probe [k|f+0x10])");
}

#[test]
fn positional_parameters_in_attach_points() {
    let inputs = Positional::new(vec!["sh:readline".to_owned(), "x y".to_owned()]);
    let (tree, found) = parse("uprobe:/bin/$1, k:$2a\"$1\" { }", &inputs);
    assert_eq!(found, []);
    let texts: Vec<&str> = tree.probes[0]
        .attach_points
        .iter()
        .map(|point| point.text.as_str())
        .collect();
    assert_eq!(texts, ["uprobe:/bin/sh:readline", "k:x ya\"$1\""]);
    assert_eq!(
        dump::script(&tree),
        "(probe [uprobe|/bin/sh|readline] [k|x ya$1])\n"
    );
    let (_, found) = parse("k:$3 { }", &inputs);
    assert_eq!(found[0].id, "missing-positional");
    assert_eq!(found[0].severity, Severity::Warning);
    errors(
        "k:$x { }",
        &[("$", "`$` begins a positional parameter here, such as `$1`")],
    );
}

#[test]
fn items() {
    script("config = { a = 1; b = \"x\"; c = perf; d = true }", {
        "(config a 1) (config b \"x\") (config c perf) (config d true)"
    });
    script("let @m = lruhash(1_000);", "(map @m lruhash 1000)");
    script("let @m = hash()", "(map @m hash)");
    script(
        "macro f(a, $v, @m) { a + 1 }",
        "(macro f (a $v @m) => (+ a 1))",
    );
    script("macro f() { }", "(macro f ())");
    script(
        "macro f { } begin { f!() }",
        "(macro f ()) (probe [begin] (call f))",
    );
    script(
        "macro f(a) { if (a) { 1 } else { 2 } }",
        "(macro f (a) => (if a {=> 1} {=> 2}))",
    );
    script(
        "macro f(a) { if (a) { 1 } }",
        "(macro f (a) (if a (then 1)))",
    );
    script("#!/usr/bin/env bpftrace\nbegin { }", "(probe [begin])");
    script("\u{feff}begin { }", "(probe [begin])");
    script("/* a */ begin // b\n{ /* } */ }", "(probe [begin])");
}

#[test]
fn c_definitions() {
    script(
        "struct a { int x; char *p; u8 b[16]; };",
        "(struct a (x int) (p char*) (b u8[16]))",
    );
    script(
        "struct a { int x, *y; unsigned z : 3; }",
        "(struct a (x int) (y int*) (z unsigned :3))",
    );
    script("struct a { int x }", "(struct a (x int))");
    script("struct a { int m[2][3]; }", "(struct a (m int[3][2]))");
    script(
        "union u { const struct a *p; void (*f)(int, char); }",
        "(union u (p struct a*) (f void*))",
    );
    script("struct a { struct { int x; }; struct b { int y; } c; }", {
        "(struct a::0 (x int)) (struct b (y int)) (struct a (_ struct a::0) (c struct b))"
    });
    script(
        "enum e { A, B = 3, C = B + 1, };",
        "(enum e A (B 3) (C (+ B 1)))",
    );
    script(
        "struct a { int x; } __attribute__((packed, aligned(8)));",
        "(struct a packed aligned=8 (x int))",
    );
    script(
        "struct __attribute__((packed)) a { int x; };",
        "(struct a packed (x int))",
    );
    script("struct a; begin { }", "(probe [begin])");
    script(
        "struct a { int x; } begin { }",
        "(struct a (x int)) (probe [begin])",
    );
}

#[test]
fn the_preprocessor() {
    let tools = "#ifndef BPFTRACE_HAVE_BTF\n#include <net/sock.h>\nstruct a { broken\n#else\n#define AF_INET /* IPv4 */ 2\n#endif\nbegin { f(AF_INET); }";
    script(tools, "(probe [begin] (call f 2))");
    script(
        "#if 0\n@\n#elif defined(X) || 1\nbegin { }\n#else\n@\n#endif\n",
        "(probe [begin])",
    );
    script(
        "#if !defined(BPFTRACE_HAVE_BTF) && 1\n@\n#endif\nbegin { }",
        "(probe [begin])",
    );
    script(
        "#undef BPFTRACE_HAVE_BTF\n#ifdef BPFTRACE_HAVE_BTF\n@\n#endif\nbegin { }",
        "(probe [begin])",
    );
    script("#define A 1 \\\r\n + 2\r\nbegin { f(A); }", {
        "(probe [begin] (call f (+ 1 2)))"
    });
    script("#define A B + \\\n 1\n#define B 2\nbegin { f(A * A); }", {
        "(probe [begin] (call f (+ (+ 2 (* 1 2)) 1)))"
    });
    script(
        "#define A A + 1\nbegin { f(A); }",
        "(probe [begin] (call f (+ A 1)))",
    );
    script("#define x y\nbegin { f(args.x, x, \"x\", $x, @x); }", {
        "(probe [begin] (call f (. args x) y \"x\" $x @x))"
    });
    script(
        "#define x y\n#undef x\nk:x { f(x); }",
        "(probe [k|x] (call f x))",
    );
    script(
        "#define E\nbegin { f(E 1 E); E }",
        "(probe [begin] (call f 1))",
    );
    script("#define S struct foo *\nbegin { f((S)1); }", {
        "(probe [begin] (call f (cast struct foo* 1)))"
    });
    script(
        "#define N 16\nstruct a { char x[N]; };",
        "(struct a (x char[16]))",
    );
    errors(
        "#if 1\nbegin { }",
        &[("#if 1", "this `#if` has no `#endif`")],
    );
    errors("#endif\nbegin { }", &[("#endif", "`#endif` without `#if`")]);
    errors(
        "#define F(x) x\nbegin { }",
        &[(
            "#define F(x) x",
            "macro `F` with parameters is not supported",
        )],
    );
    hint("#endfi\n", "did you mean `#endif`?");
}

#[test]
fn a_macro_is_blamed_where_it_is_used() {
    let source = "#define BAD 1 +\nbegin { f(BAD); }";
    errors(source, &[(")", "expected an expression, found `)`")]);
    let source = "#define BAD \"\\q\"\nbegin { f(BAD); }";
    errors(source, &[("BAD", "unknown escape `\\q`")]);
}

#[test]
fn several_errors_in_one_run() {
    errors(
        "begin { f(; g(1); h(]); }\nend { $x = ; f(1) g(2); }\nk:f { @ }",
        &[
            (";", "expected an expression, found `;`"),
            ("]", "expected an expression, found `]`"),
            (";", "expected an expression, found `;`"),
            ("g", "expected `;`, found `g`"),
        ],
    );
    errors(
        "begin { printf(\"a\")\n printf(\"b\"); f(1 }\n",
        &[
            (")", "expected `;` after this"),
            ("}", "expected `,` or `)`, found `}`"),
        ],
    );
    errors(
        "begin { if (x == ) { f(]); } else { g(); } h([); }",
        &[
            (")", "expected an expression, found `)`"),
            ("]", "expected an expression, found `]`"),
            ("[", "expected an expression, found `[`"),
        ],
    );
}

#[test]
fn one_mistake_is_one_error() {
    errors(
        "begin { f(1",
        &[("", "expected `,` or `)`, found the end of the script")],
    );
    errors(
        "begin { $x = (1, 2; }",
        &[(";", "expected `,` or `)`, found `;`")],
    );
    errors(
        "begin { f(1);\nend { g(); }",
        &[("end", "expected `}`, found `end`")],
    );
    errors(
        "begin { if (x) {\n f(1);\nk:f { g(); }",
        &[("k", "expected `}`, found `k`")],
    );
    errors(
        "k:f /pid == / { f(); }",
        &[("/", "expected an expression, found `/`")],
    );
    errors(
        "k:f { } }",
        &[(
            "}",
            "expected an attach point, for example `kprobe:vfs_read`, found `}`",
        )],
    );
    errors(
        "{ f(); } begin { }",
        &[(
            "{",
            "expected an attach point, for example `kprobe:vfs_read`, found `{`",
        )],
    );
    errors("begin { /* x }", &[("/*", "unterminated comment")]);
    errors("begin { f('a'); }", &[("'", "unexpected character `'`")]);
    errors(
        "begin { f(日本); }",
        &[("日本", "unexpected character `日本`")],
    );
    errors("begin { 1 = 2; }", &[("1", "this cannot be assigned to")]);
    errors(
        "let @m = hash(1",
        &[("", "expected `)`, found the end of the script")],
    );
    errors(
        "config = { a 1 } begin { }",
        &[("1", "expected `=`, found `1`")],
    );
    errors(
        "begin { for (x : @m) { } }",
        &[("x", "expected a variable after `for`, found `x`")],
    );
    errors(
        "begin { for ($x : 1) { } }",
        &[("1", "expected a map or a range `a..b` to go through")],
    );
    errors(
        "struct a { int; }; begin { }",
        &[(";", "expected the name of a member, found `;`")],
    );
    errors(
        "begin { else { } }",
        &[("else", "expected an expression, found `else`")],
    );
}

#[test]
fn hints() {
    hint("marco f(a) { a }", "did you mean `macro`?");
    hint("begin { esle { f(); } }", "did you mean `else`?");
    hint(
        "begin { for ($x : tree(1)) { } }",
        "what the kernel links is gone through with one of list, hlist, llist, rbtree, xarray, maple",
    );
    hint("begin { wihle (1) { f(); } }", "did you mean `while`?");
    hint("begin { let x = 1; }", "variables begin with `$`: `$x`");
    hint(
        "begin { if (x) f(); }",
        "a body stands in braces, even if it is one statement",
    );
    hint(
        "begin { f('a'); }",
        "strings are written with double quotes",
    );
    hint("begin { if ($x = 1) { } }", "comparison is written `==`");
    hint("begin { if (pid = 1) { } }", "comparison is written `==`");
    hint(
        "let $x = 1;",
        "outside probes `let` declares maps: `let @name = hash(1024);`",
    );
    hint(
        "fn f($a : int8) { return 1; }",
        "write its type behind the parameters: `fn name($a : int64) : int64 { … }`",
    );
    hint("fn f() : int8 { return; }", "for example `return 0;`");
    hint("fn f() { if (1) { break; } }", "`return` leaves a function");
    hint(
        "fn f() { while (1) { break; } continue; }",
        "`return` leaves a function",
    );
    hint("begin { import \"y\"; }", "write it before the first probe");
}

#[test]
fn imports_are_kept_as_written() {
    let (tree, found) = parsed("import \"x.bt\";\nimport \"dir\"\nbegin { f(1); }");
    let names: Vec<&str> = tree.imports.iter().map(|one| one.text.as_str()).collect();
    assert_eq!((names, found.len()), (vec!["x.bt", "dir"], 0));
}

#[test]
fn a_function_is_a_macro_whose_returns_leave_a_loop() {
    let check = |source: &str, expected: &str| {
        let (tree, found) = parsed(source);
        assert!(found.is_empty(), "{source}: {found:?}");
        let text = dump::script(&tree);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.starts_with(expected), "{source}\n{text}");
    };
    check(
        "fn f($a : int8) { print($a); } begin { }",
        "(macro f ($a) (let $a : int8 = $a) (block (call print $a)))",
    );
    check(
        "fn f($a : int8) : int8 { return $a + 1; } begin { }",
        "(macro f ($a) (let $a : int8 = $a) (let $fn result : int8) (unroll 1 (= $fn result (+ $a 1)) (break)) => $fn result)",
    );
    check(
        "fn f() { for ($i : 0..9) { if ($i) { return; } } } begin { }",
        "(macro f () (unroll 1 (let $fn returned = false)",
    );
}

#[test]
fn a_return_inside_of_an_expression_is_refused() {
    for body in [
        "print({ return 1; 5 }); return 2;",
        "$x = 1 + { return 1; 5 }; return $x;",
    ] {
        let source = format!("fn f() : int8 {{ {body} }} begin {{ }}");
        let (_, found) = parsed(&source);
        assert_eq!(found.len(), 1, "{source}: {found:?}");
        assert_eq!(found[0].id, "invalid-return");
        assert!(source[found[0].span.range()].starts_with("return 1"));
    }
}

#[test]
fn an_unclosed_block_says_where_it_begins() {
    let source = "begin { f(1);\nk:f { }";
    let (_, found) = parsed(source);
    let note = &found[0].notes[0];
    assert_eq!(
        (&source[note.0.range()], note.1.as_str()),
        ("{", "the block begins here")
    );
}

#[test]
fn spans_cover_what_they_name() {
    let source = "begin { f((1 + 2) * $x->y[0]); }";
    let (tree, _) = parsed(source);
    let statement = &tree.probes[0].body.statements[0];
    assert_eq!(&source[statement.span.range()], "f((1 + 2) * $x->y[0])");
    assert_eq!(&source[tree.probes[0].span.range()], source);
    let super::tree::StatementKind::Expr(call) = &statement.kind else {
        panic!("a call");
    };
    let super::tree::ExprKind::Call { args, name } = &call.kind else {
        panic!("a call");
    };
    assert_eq!(&source[name.span.range()], "f");
    assert_eq!(&source[args[0].span.range()], "(1 + 2) * $x->y[0]");
}

#[test]
fn parameters_are_counted() {
    let check = |source: &str, expected| assert_eq!(parameters(source), expected, "{source}");
    check("", 0);
    check("begin { print($x + $# + @1); }", 0);
    check("begin { print($1 + $12); }", 12);
    check("kprobe:$2 { /* $7 */ print(\"$8\"); // $9\n}", 2);
    check("uprobe:$1:f, uprobe:/bin/$3:g { }", 3);
    check("begin { $99999999999999", 0);
    check("\"$1", 0);
    check("/* $1", 0);
}
