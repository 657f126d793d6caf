//! One-line cases: what is accepted, and what is refused with which words.

use super::fixture::{Setup, checked, findings};
use kscope_script::types::dump;

/// Checks that a script is accepted without any finding.
#[track_caller]
fn accept(source: &str) {
    let (_, found) = checked(source, &Setup::default());
    assert_eq!(findings(source, &found), "", "{source}");
}

/// Checks that a body of `BEGIN` is accepted without any finding.
#[track_caller]
fn body(source: &str) {
    accept(&format!("BEGIN {{ {source} }}"));
}

/// Checks that a script gives an error, and that the findings' text has all of these words.
#[track_caller]
pub(crate) fn refuse(source: &str, words: &[&str]) {
    let (_, found) = checked(source, &Setup::default());
    let found = findings(source, &found);
    assert!(found.contains("ERROR"), "{source} is accepted: {found}");
    for word in words {
        assert!(found.contains(word), "{source}: no `{word}` in\n{found}");
    }
}

/// Checks that a body of `BEGIN` gives one error and no second one.
#[track_caller]
pub(crate) fn wrong(source: &str, words: &[&str]) {
    let source = format!("BEGIN {{ {source} }}");
    refuse(&source, words);
    let (_, found) = checked(&source, &Setup::default());
    let found = findings(&source, &found);
    assert_eq!(found.matches("ERROR").count(), 1, "{source}: {found}");
}

/// Checks that a body of `BEGIN` compiles with a warning.
#[track_caller]
fn warned(source: &str, words: &[&str]) {
    let source = format!("BEGIN {{ {source} }}");
    let (_, found) = checked(&source, &Setup::default());
    let found = findings(&source, &found);
    assert!(!found.contains("ERROR"), "{source}: {found}");
    for word in words {
        assert!(found.contains(word), "{source}: no `{word}` in\n{found}");
    }
}

/// Checks the type that an expression gets when it is printed.
#[track_caller]
pub(crate) fn typed(expression: &str, ty: &str) {
    let source = format!("kretprobe:vfs_read {{ $v = {expression}; }}");
    let (program, found) = checked(&source, &Setup::default());
    assert!(
        !findings(&source, &found).contains("ERROR"),
        "{source}: {found:?}"
    );
    let text = dump::program(&program);
    assert!(
        text.contains(&format!("$v: {ty}\n")),
        "{expression} is no {ty}:\n{text}"
    );
}

#[test]
fn types_of_expressions() {
    typed("1", "int8");
    typed("-1", "int8");
    typed("128", "int16");
    typed("65535", "int32");
    typed("0xffffffff", "int64");
    typed("0xffffffffffffffff", "uint64");
    typed("1 + 1", "int8");
    typed("1 << 40", "int64");
    typed("true", "bool");
    typed("!1", "bool");
    typed("pid", "uint32");
    typed("pid + 1", "uint64");
    typed("pid - 1", "int64");
    typed("-pid", "int64");
    typed("~pid", "uint32");
    typed("~(uint8)1", "uint8");
    typed("~1", "uint64");
    typed("nsecs / 1000", "uint64");
    typed("nsecs - elapsed", "int64");
    typed("retval", "uint64");
    typed("(int32)retval", "int32");
    typed("(int32)retval + 1", "int64");
    typed("(int32)retval << 1", "int64");
    typed("pid == 1", "bool");
    typed("pid && tid", "bool");
    typed("pid ? 1 : 300", "int16");
    typed("pid ? pid : 1", "uint32");
    typed("pid ?: 1", "uint32");
    typed("comm", "string[16]");
    typed("\"abc\"", "string[4]");
    typed("pid == 1 ? \"a\" : comm", "string[16]");
    typed("str(retval)", "string[1024]");
    typed("str(retval, 10)", "string[11]");
    typed("str(retval, pid)", "string[1024]");
    typed("(1, pid, \"a\")", "(int8,uint32,string[2])");
    typed("(a=1, b=comm)", "record { .a = int8, .b = string[16] }");
    typed("(1, (2, 3)).1.0", "int8");
    typed("(a=(x=1)).a.x", "int8");
    typed("kstack", "kstack");
    typed("func", "ksym");
    typed("ksym(retval)", "ksym");
    typed("strftime(\"%H\", nsecs)", "timestamp");
    typed("username", "username");
    typed("curtask", "struct task_struct *");
    typed("curtask->comm", "string[16]");
    typed("curtask->comm[0]", "int8");
    typed("curtask->pid", "int32");
    typed("curtask->in_iowait", "uint32");
    typed("curtask->on_cpu", "bool");
    typed("curtask->real_parent->real_parent", "struct task_struct *");
    typed("*curtask", "struct task_struct");
    typed("(*curtask).pid", "int32");
    typed("((struct file *)retval)->f_color", "enum color");
    typed("((struct file *)retval)->f_numbers", "uint32[4]");
    typed(
        "((struct file *)retval)->f_path.dentry->d_name.hash_len",
        "uint64",
    );
    typed("(struct file *)retval + 1", "struct file *");
    typed("((struct file *)retval)[1].f_flags", "uint32");
    typed("*(uint16 *)retval", "uint16");
    typed("*retval", "uint64");
    typed("((uint8 *)retval)[3]", "uint8");
    typed("(string[8])retval", "string[8]");
    typed("(uint64)curtask", "uint64");
    typed("(bool)pid", "bool");
    typed("(enum color)1", "enum color");
    typed("BLUE", "enum color");
    typed("NAMELESS", "enum (unnamed, with NAMELESS)");
    typed("NAMELESS + 1", "uint64");
    typed("BLUE + 1", "uint64");
    typed("sizeof(struct file)", "uint64");
    typed("sizeof(uint16)", "uint64");
    typed("offsetof(struct file, f_path.dentry)", "uint64");
    typed("bswap((uint32)retval)", "uint32");
    typed("strncmp(comm, \"ab\", 2)", "uint64");
    typed("strcontains(comm, \"ab\")", "bool");
    typed("getopt(\"a\")", "bool");
    typed("getopt(\"a\", 5)", "int64");
    typed("getopt(\"a\", \"x\")", "string[128]");
    typed("getopt(\"a\", \"x\", \"\", \"x|y\")", "string[128]");
    typed("getopt(\"a\", 0, \"\", \"duration\")", "int64");
    typed("$1", "int16");
    typed("$9", "int8");
    typed("str($2)", "string[5]");
    typed("$#", "int8");
    typed("pid()", "uint32");
    typed("nsecs(monotonic)", "uint64");
    typed("ppid", "uint32");
    typed("uptr(retval)", "void *");
    typed("{ let $z = 5; $z + 1 }", "int64");
    typed("if (pid) { 1 } else { 2 }", "int8");
    typed("(pid_t)retval", "int32");
    typed("(u64)retval", "uint64");
    typed("kaddr(\"jiffies\")", "uint64");
    typed("fullpath(pid, -100, 1, 2, comm)", "fullpath");
}

#[test]
fn names() {
    wrong("print(com)", &["[unknown-name]", "`comm`"]);
    wrong("prinft(\"x\")", &["[unknown-function]", "`printf`"]);
    wrong("print($x)", &["[undefined-variable]", "$x"]);
    wrong("$count = 1; print($cuont)", &["`$count`"]);
    wrong("print(@m)", &["[undefined-map]", "@m"]);
    wrong("@count = 1; print(@cuont)", &["`@count`"]);
    wrong("print($x); if (pid) { $x = 1; }", &["[undefined-variable]"]);
    wrong(
        "if (pid) { let $x = 1; } print($x)",
        &["[undefined-variable]"],
    );
    wrong("for ($x : 0..3) { } print($x)", &["[undefined-variable]"]);
    wrong(
        "if (pid) { $x = 1; } else { $x = \"a\"; } print($x)",
        &["[type-mismatch]"],
    );
    wrong("print(curtask->comn)", &["[unknown-field]", "`comm`"]);
    wrong("print((a=1).b)", &["[unknown-field]"]);
    wrong(
        "print((struct fil *)0)",
        &["[unknown-type]", "`struct file`"],
    );
    wrong("print(sizeof(struct fil))", &["[unknown-type]"]);
    wrong("print(cat(\"x\"))", &["[invalid-call]", "cat()"]);
    wrong("system(\"x\")", &["[unsafe]", "system()", "--unsafe"]);
    wrong("print(ustack(fast))", &["[invalid-argument]", "build_id"]);
    wrong("print(uaddr(\"x\"))", &["[invalid-call]", "begin"]);
    wrong("print(retval)", &["[invalid-builtin]", "retval"]);
    wrong("print(arg0)", &["[invalid-builtin]", "arg0"]);
    wrong("print(args.x)", &["[invalid-builtin]", "args"]);
    refuse("kprobe:vfs_read { print(arg6) }", &["arg0 to arg5"]);
    refuse("kprobe:vfs_read { print(args.fd) }", &["use arg0"]);
    refuse(
        "tracepoint:syscalls:sys_enter_openat { print(args.filenam) }",
        &["[unknown-field]", "`filename`"],
    );
    refuse(
        "tracepoint:sched:sched_switch { print(args.xyzzy) }",
        &["its fields are prev_comm"],
    );
    refuse(
        "tracepoint:sched:sched_process_exec { print(args.common_pid) }",
        &["common tracepoint fields"],
    );
}

#[test]
fn assignments() {
    body("@a = 1; @a = 2");
    body("@a[1] = 1; @a[pid] = 2");
    body("@a[1, \"x\"] = 1; @a[pid, comm] = 2");
    body("@a = comm; @a = \"a longer text than that\"");
    body("@a = count(); @b = 1; @b = @a");
    body("@a = count(); print((int64)@a)");
    body("$a = (1, 2); $a = (pid, 300)");
    body("let $a : uint16 = 5; $a = 6; $a += pid");
    body("let $a : string = comm");
    body("@a++; @a--; ++@a; @b[pid]--");
    body("@m[curtask] = 1; delete(@m[curtask])");
    body("@m[1] = 1; if (has_key(@m, 1)) { delete(@m, 1); }");
    wrong("@a = 1; @a = comm", &["[type-mismatch]", "note at `@a = 1"]);
    wrong("@a = count(); @a = 1", &["[type-mismatch]", "count_t"]);
    wrong("@a = count(); @a = sum(1)", &["[type-mismatch]", "sum_t"]);
    wrong(
        "@a = lhist(1, 0, 10, 1); @a = lhist(1, 0, 20, 1)",
        &["bounds"],
    );
    wrong(
        "@a = count(); @b = @a",
        &["cannot be assigned from one map", "(int64)@a"],
    );
    wrong(
        "@a = hist(1); @b = @a",
        &["cannot be assigned from one map"],
    );
    wrong("@a = hist(1); print(@a + 1)", &["[invalid-map-use]"]);
    wrong("@a = count(); @a++", &["[type-mismatch]"]);
    wrong("@a[1] = 1; @a = 1", &["[map-keys]"]);
    wrong("@a = 1; @a[1] = 1", &["[map-keys]"]);
    wrong("@a[1] = 1; @a[comm] = 1", &["[type-mismatch]", "arguments"]);
    wrong("@a[1,2] = 1; @a[1] = 1", &["[type-mismatch]"]);
    wrong("$a = 1; $a = comm", &["[type-mismatch]"]);
    wrong("$a = count()", &["must be assigned directly to a map"]);
    wrong("print(count())", &["must be assigned directly to a map"]);
    wrong("$a = printf(\"x\")", &["[invalid-call]"]);
    wrong("let $a = 1; let $a = 2", &["[redeclared]"]);
    wrong("let $a : string[2] = comm", &["[type-mismatch]"]);
    wrong("curtask->pid = 1", &["[invalid-assignment]"]);
    wrong("$t = (1,2); $t.0 = 1", &["[invalid-assignment]"]);
    wrong("@a = lhist(1, 0, 10, 0)", &["step must be >= 1"]);
    wrong("@a = lhist(1, 0, 100000, 1)", &["too many buckets"]);
    wrong("@a = hist(1, 6)", &["0 to 5"]);
    wrong("@a = hist(comm)", &["only supports integer arguments"]);
    wrong("@a = count(1)", &["[argument-count]"]);
}

#[test]
fn operators() {
    body("print(comm == \"bash\"); print(comm != str($2))");
    typed("str($2 + 1)", "string[4]");
    typed("str(2 + $2, 64)", "string[3]");
    typed("str(5 + $2)", "string[1]");
    body("print(curtask == 0); print(curtask != curtask->real_parent)");
    body("print((1,2) == (1,2)); print((1, \"a\") != (pid, comm))");
    body("print(true == false); print(true != 1)");
    body("print(1 < 2 && pid > 3 || !tid)");
    body("$x = 1; $x++; ++$x; $x--; $x <<= 2; $x %= 3");
    wrong("print(comm < \"a\")", &["[invalid-operand]"]);
    wrong("print(comm + 1)", &["[invalid-operand]", "string[16]"]);
    wrong("print(comm == 1)", &["[type-mismatch]"]);
    wrong("print((1,2) == (1,2,3))", &["[type-mismatch]"]);
    wrong("print(curtask * 2)", &["[invalid-operand]"]);
    wrong("print(1 - curtask)", &["[invalid-operand]"]);
    wrong("print(!kstack)", &["[invalid-condition]"]);
    wrong("print(-comm)", &["[invalid-operand]"]);
    wrong("print(*comm)", &["not a pointer"]);
    wrong("if ((1, 2)) { }", &["[invalid-condition]"]);
    refuse("BEGIN { 5++ }", &[]);
    wrong("@a = \"x\"; @a++", &["[invalid-operand]"]);
    wrong("print(pid ? 1 : comm)", &["Branches must return"]);
    wrong("print((int8)comm)", &["[invalid-cast]"]);
    wrong("print(curtask->comm[16])", &["out of bounds"]);
    wrong("print((1,2).2)", &["Invalid tuple index"]);
    wrong("print(((void *)1)[1])", &["unsized"]);
    wrong("print(*(void *)1)", &["size is not known"]);
    warned("print(nsecs == (int64)pid)", &["[implicit-cast]"]);
    warned("@a = nsecs; @a = (int64)-1; @b = @a", &["[implicit-cast]"]);
    warned("print(pid / 0)", &["[division-by-zero]"]);
    warned(
        "@count = 1; print(@cuont + 1)",
        &["[undefined-map]", "`@count`"],
    );
    body("print((bool)comm); if (comm) { } print(!comm)");
    body("print((uint64)((struct file *)1)->f_color); print((int8)(int8[1])\"\")");
    body("if (comptime 0) { print(1 + comm); } else { print(1); }");
    wrong("let $a : uint16 = -1", &["[type-mismatch]"]);
    wrong("let $a : int8; $a = 10000", &["[type-mismatch]"]);
    wrong("$a = -1; $a = 9223372036854775808", &["[type-mismatch]"]);
    wrong("print((string[2])\"hello\")", &["[invalid-cast]"]);
}

#[test]
fn calls() {
    body("printf(\"%d %s %x %p %c %% %-5u|%05d\\n\", 1, comm, pid, curtask, 65, 2, 3)");
    body("printf(\"%s %s %s\", pid, (1,2), kstack)");
    body("time(); time(\"%s\"); if (pid) { exit(); } exit(1)");
    body("@a[1] = 1; clear(@a); zero(@a); print(@a); print(@a, 1); print(@a, 1, 2); print(@a[1])");
    body("errorf(\"%d\", 1); warnf(\"x\")");
    body("print(kstack(3)); print(kstack(perf)); print(kstack(raw, 2)); print(kstack())");
    wrong(
        "printf(\"%d %d\", 1)",
        &["[invalid-format]", "not enough arguments"],
    );
    wrong("printf(\"%d\", 1, 2)", &["too many arguments"]);
    wrong("printf(\"%d\", comm)", &["[invalid-format]", "string"]);
    wrong("printf(\"%f\", 1)", &["[invalid-format]"]);
    wrong("printf(comm)", &["string literal"]);
    wrong("printf()", &["[argument-count]"]);
    wrong("exit(comm)", &["exit() only supports int"]);
    wrong("exit(1, 2)", &["[argument-count]"]);
    wrong("clear(1)", &["expects a map"]);
    wrong("@a[1] = 1; clear(@a[1])", &["whole map"]);
    wrong("print(1, 2)", &["only takes 1 argument"]);
    wrong("str(comm, -1)", &["negative length"]);
    wrong("print(str((1,2)))", &["str() expects"]);
    wrong("print(has_key(1, 2))", &["expects a map"]);
    wrong("print(strftime(\"x\", comm))", &["strftime() expects"]);
    wrong("print(strftime(\"x\", nsecs(monotonic)))", &["monotonic"]);
    body("print((nsecs(tai), nsecs(sw_tai), strlen(comm), strerror(-2), ntop(AF_INET, 1)));");
    typed("pid(init)", "uint32");
    wrong(
        "print(comm(1))",
        &["comm(PID) can not be used with 'begin' probes"],
    );
    refuse(
        "interval:s:1 { print(comm(1)); }",
        &["needs the kernel's function bpf_task_from_pid", "Linux 6.2"],
    );
    wrong("print(path(1))", &["path can not be used with"]);
    wrong(
        "print(socket_cookie(1))",
        &["socket_cookie can not be used with"],
    );
    typed("len(kstack)", "int64");
    typed("stack_len(ustack(3))", "int64");
    wrong(
        "$s = kstack; print(len($s))",
        &["that was kept", "$frames = len(kstack)"],
    );
    wrong("print(stack_len(1))", &["expects a map or stack"]);
    wrong("write_user(1, \"a\", 2)", &["--unsafe"]);
    wrong("print(pid(foo))", &["(expects: curr_ns or init)"]);
    wrong("print(tid(1))", &["curr_ns, init"]);
    typed("(uint8[6])0", "uint8[6]");
    wrong("print((uint8[9])0)", &["Cannot cast"]);
    wrong("print((uint8[3])66051)", &["Cannot cast"]);
    wrong("print(nsecs(tia))", &["[invalid-argument]", "tai"]);
    wrong("print(pton(\"1.2.3\"))", &["[invalid-argument]", "1.2.3"]);
    wrong(
        "print(strerror(\"x\"))",
        &["[invalid-argument]", "an integer"],
    );
    wrong(
        "static_assert(1 > 2, \"too few\")",
        &["[failed]", "too few"],
    );
    wrong("print(reg(\"ip\"))", &["[invalid-builtin]", "reg"]);
    refuse(
        "kprobe:vfs_read { print(reg(\"pi\")) }",
        &["[invalid-argument]", "`ip`"],
    );
    refuse("kprobe:vfs_read { override(1) }", &["[unsafe]", "--unsafe"]);
    wrong("print(nsecs(xyz))", &["Invalid timestamp mode"]);
    wrong("print(kstack(xyz))", &["no mode"]);
    wrong("print(kstack(500))", &["0 to 127"]);
    wrong("print(strncmp(comm, \"a\", pid))", &["literal"]);
    wrong("print(bswap(comm))", &["bswap() expects"]);
    wrong("print(getopt(pid))", &["string literal"]);
    wrong("print(getopt(\"json\"))", &["[reserved-option]"]);
    wrong("print(getopt(\"a b\"))", &["[invalid-option]"]);
    wrong(
        "print(getopt(\"a\", 1, \"\", \"errrno\"))",
        &["[invalid-option]", "did you mean errno?"],
    );
    wrong(
        "print(getopt(\"a\", false, \"\", \"errno\"))",
        &["[invalid-option]", "a bool"],
    );
    wrong(
        "print(getopt(\"a\", \"x\", \"\", \"y|z\"))",
        &["[invalid-option]", "none of the choices"],
    );
    wrong(
        "print(getopt(\"a\", 1, \"\", \"errno\")); print(getopt(\"a\", 1, \"\", \"user\"))",
        &["[option-mismatch]"],
    );
    wrong(
        "print(getopt(\"a\", 1)); print(getopt(\"a\", 2))",
        &["[option-mismatch]"],
    );
    wrong("print($2)", &["used numerically"]);
    wrong(
        "print(fullpath(pid, comm, 1, 2, comm))",
        &["fullpath() expects an integer"],
    );
    wrong(
        "print(fullpath(pid, 1, 1, 2, 1))",
        &["fullpath() expects a string"],
    );
    wrong("print(fullpath(xyz, 1, 1, 2, comm))", &["[unknown-name]"]);
    warned("print(str(curtask, 5000))", &["[too-long]"]);
}

#[test]
fn statements() {
    body("for $i : 0..5 { print($i); }");
    body("for ($i : 0..(pid)) { if ($i == 2) { continue; } break; }");
    body("unroll(5) { @a++; }");
    warned("$i = 0; while ($i < 5) { $i++; }", &["deprecated"]);
    body("if (pid == 1) { return; } else if (pid == 2) { exit(); } else { print(1); }");
    body("_ = str(curtask); return 1");
    warned("pid + 1", &["[discarded-value]"]);
    warned("@a[1] = 1; has_key(@a, 1)", &["[discarded-value]"]);
    body("@a[1] = 1; delete(@a, 1); @b++");
    wrong("break", &["[outside-loop]"]);
    wrong("continue", &["[outside-loop]"]);
    refuse(
        "BEGIN { @m[1, comm] = pid; for ($kv : @m) { print($kv.0.1 == \"x\"); print($kv.1 + 1); print($kv.2); nosuch; continue; } }",
        &["Invalid tuple index: 2", "Unknown identifier: 'nosuch'"],
    );
    wrong(
        "@m = pid; for ($kv : @m) { print($kv.0); @n = $kv.1; }",
        &["@m has no explicit keys (scalar map), and cannot be used for iteration"],
    );
    wrong(
        "@h[1] = hist(pid); for ($kv : @h) { print($kv); }",
        &["Loop expression does not support type: hist_t"],
    );
    wrong("unroll(0) { }", &["1 to 100"]);
    wrong("unroll(pid) { }", &["literal"]);
    wrong("for $i : 0..comm { }", &["integer for the end"]);
    wrong("return comm", &["only be integers"]);
    wrong("print({ $x = 1; })", &["no value"]);
}

#[test]
fn probes() {
    accept("begin { } end { } BEGIN { } END { }");
    accept(
        "t:sched:sched_switch { } k:vfs_read { } kr:vfs_read { } rt:sched_switch { print(arg0) }",
    );
    accept("i:s:1 { } interval:100ms { } p:hz:99 { } profile:us:100 { } profile:1ms { }");
    accept("tracepoint:sched:* { } kprobe:vfs_* { } kprobe:vfs_read+0x10 { }");
    accept("tracepoint:syscalls:sys_enter_* { @[probe] = count(); print(args.filename) }");
    refuse(
        "uretprobe:libc:malloc+4 { }",
        &["[invalid-probe]", "offset"],
    );
    refuse(
        "uprobe:libc { }",
        &["[invalid-probe]", "uprobe:path:function"],
    );
    refuse("uprobe:a:b:c { }", &["[invalid-probe]", "`b`"]);
    refuse("usdt:libc { }", &["[invalid-probe]", "usdt:path"]);
    refuse(
        "uprobe:libc:malloc { print(retval) }",
        &["[invalid-builtin]"],
    );
    refuse("uprobe:libc:malloc { print(arg6) }", &["arg0 to arg5"]);
    refuse("kprobee:vfs_read { }", &["kprobe"]);
    refuse("kprobe:vfs_raed { }", &["[unknown-probe]", "`vfs_read`"]);
    refuse("kprobe:xyz* { }", &["No matches"]);
    refuse(
        "t:sched:sched_swich { }",
        &["`tracepoint:sched:sched_switch`"],
    );
    refuse(
        "t:shed:sched_switch { }",
        &["`tracepoint:sched:sched_switch`"],
    );
    refuse("t:sched { }", &["category:event"]);
    refuse("rt:xyz { }", &["[unknown-probe]"]);
    refuse("interval:s:0 { }", &["positive integer"]);
    refuse("interval:y:1 { }", &["not an accepted unit"]);
    refuse("interval:5 { }", &["Minimum is 1000"]);
    refuse("kretprobe:vfs_read+1 { }", &["offset"]);
    refuse("BEGIN:x { }", &["take no arguments"]);
    accept("config = { missing_probes = ignore } kprobe:nothing { } BEGIN { }");
    // What it would give has no type, and needs none.
    accept(
        "config = { missing_probes = ignore } macro show(x) { if (x == 1) { print(x) } } \
         tracepoint:sched:nothing { $x = args.what; show($x); print(args.other + $x) } BEGIN { }",
    );
    // A pattern may match nothing beside others, a name may not.
    accept("kprobe:vfs_read, kprobe:nothing* { @ = count(); }");
    refuse(
        "kprobe:nothing* { }",
        &["No matches for kernel function nothing*"],
    );
    refuse(
        "kprobe:vfs_read, kprobe:nothing { }",
        &["not found: nothing"],
    );
}

#[test]
fn probes_with_typed_arguments() {
    accept("fentry:vfs_read { print((args.inode, args.task.pid, args.flags + 1, func)) }");
    accept("f:vmlinux:vfs_read { } kfunc:vfs_* { } fexit:vfs_read { @ = retval; } fr:vfs_* { }");
    accept("kretfunc:vfs_read { print(args.flags + retval) } fentry:vfs_read { print(args->buf) }");
    accept("rt:sched_switch { print((args.prev.comm, args.next.pid, arg0)) }");
    accept(
        "fexit:vfs_read { print(args); @[args] = 1; } rt:sched_switch { $r = args; print($r.next) }",
    );
    accept(
        "t:sched:sched_process_exec { print(*args); @ = args; print((1, args)); print(@.filename) }",
    );
    refuse("k:vfs_read { print(args) }", &["[invalid-builtin]", "args"]);
    for event in [
        "k:vfs_read { print(arg0",
        "kr:vfs_read { print(retval",
        "fentry:vfs_read { print(args.buf",
    ] {
        let inside = event.replacen("print", "@a[1] = 1; for ($k : @a) { print", 1);
        refuse(
            &format!("{inside}) }} }}"),
            &["not allowed in a for-loop", "before the loop"],
        );
        accept(&format!(
            "{}) }}",
            event.replacen("print", "for ($k : 0..2) { } print", 1)
        ));
    }
    refuse(
        "t:sched:sched_process_exec { $r = args; print($r.common_pid) }",
        &["common_pid"],
    );
    accept("rt:vmlinux:sched_switch { } iter:task { print(ctx.task.comm) } it:task { print(pid) }");
    accept("config = { missing_probes = ignore } fentry:no*, fentry:vfs_read { } iter:nothing { }");
    refuse("fentry:vfs_raed { }", &["fentry not found", "`vfs_read`"]);
    refuse("fentry:vfs_open { }", &["[unknown-probe]"]);
    refuse("fexit:xyz:vfs_read { }", &["xyz:vfs_read"]);
    refuse("fentry:a:b:c { }", &["fentry:module:function"]);
    refuse(
        "fentry:vfs_read { print(args.falgs) }",
        &["parameter 'falgs'", "`flags`"],
    );
    refuse(
        "fentry:vfs_read { print(args.nothing) }",
        &["inode, buf, flags, task"],
    );
    refuse(
        "fentry:vfs_read { print(retval) }",
        &["can not be used with 'fentry'"],
    );
    refuse("fexit:vfs_write { print(retval) }", &["void"]);
    refuse("fentry:vfs_read { print(arg0) }", &["can not be used"]);
    refuse(
        "rt:sys_enter { print(args.id) }",
        &["types of the arguments", "arg0"],
    );
    refuse("iter:tsak { }", &["no such iterator", "`task`"]);
    refuse("iter:ta* { }", &["wildcards"]);
    refuse("iter:task:pin { }", &["pinned"]);
    refuse("iter:task { print(ctx.nothing) }", &["nothing"]);
    refuse("begin { print(func) }", &["func"]);
}

#[test]
fn counters_of_perf() {
    accept("software:cpu-clock:100000 { } s:faults { } software:cs:1e3 { } hardware:cycles { }");
    accept("h:branch-misses:10 { print(probe) } hardware:instructions: { }");
    refuse(
        "software:cpu-clok:1 { }",
        &["not a software event", "cpu-clock"],
    );
    refuse(
        "hardware:xyzzy { }",
        &["not a hardware event", "ref-cycles"],
    );
    refuse("software:cs:0 { }", &["Invalid count"]);
    refuse("software { }", &["software:event:count"]);
    accept("kprobe:0xffffffff81000000 { print(arg0) }");
    refuse("kretprobe:0x1234 { }", &["address"]);
}

#[test]
fn configuration() {
    accept(
        "config = { max_strlen = 10; BPFTRACE_MAX_MAP_KEYS = 5; stack_mode = perf; license = \"GPL\" } BEGIN { }",
    );
    refuse(
        "config = { max_strln = 10 } BEGIN { }",
        &["[unknown-config]", "`max_strlen`"],
    );
    refuse(
        "config = { strlen = 10 } BEGIN { }",
        &["[renamed-config]", "max_strlen"],
    );
    refuse(
        "config = { max_strlen = \"x\" } BEGIN { }",
        &["[invalid-config]"],
    );
    refuse(
        "config = { missing_probes = maybe } BEGIN { }",
        &["error, warn or ignore"],
    );
    refuse(
        "config = { btf = \"x\" } BEGIN { }",
        &["environment variable"],
    );
    refuse(
        "config = { max_probes = 1 } k:vfs_* { }",
        &[
            "[too-many-probes]",
            ": 3 attach points, more than max_probes, which is 1",
        ],
    );
    refuse(
        "config = { max_probes = 5 } k:vfs_*, k:vfs_* { @ = 1 + \"a\"; }",
        &[
            "[too-many-probes]",
            ": 6 attach points, more",
            "ERROR [invalid-operand]",
        ],
    );
    // What is too much is not looked up further, however much more is written.
    let begin = std::time::Instant::now();
    let many = format!("{} {{ }}", vec!["k:vfs_*"; 100_000].join(","));
    let (_, found) = checked(&many, &Setup::default());
    let messages: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
    let expected = "at least 1026 attach points, more than max_probes, which is 1024";
    assert_eq!(messages, [expected]);
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    let setup = Setup {
        environment: vec![
            ("BPFTRACE_MAX_STRLEN".to_owned(), "99".to_owned()),
            ("BPFTRACE_BTF".to_owned(), "/file".to_owned()),
            ("BPFTRACE_SOMETHING_ELSE".to_owned(), "1".to_owned()),
        ],
        ..Setup::default()
    };
    let (program, found) = checked("config = { max_strlen = 10 } BEGIN { }", &setup);
    assert!(found.is_empty(), "{found:?}");
    assert_eq!(program.config.max_strlen, 99);
    for (key, value, id) in [
        ("BPFTRACE_MAX_STRLN", "1", "unknown-config"),
        ("BPFTRACE_MAX_STRLEN", "x", "invalid-config"),
    ] {
        let setup = Setup {
            environment: vec![(key.to_owned(), value.to_owned())],
            ..Setup::default()
        };
        let (_, found) = checked("BEGIN { }", &setup);
        assert_eq!(found[0].id, id, "{found:?}");
    }
}

#[test]
fn definitions() {
    accept(
        "struct point { int x; int y; char name[8]; struct point *next; } BEGIN { $p = (struct point *)1; print($p->next->y); print($p->name); }",
    );
    accept("enum state { OFF, ON = 5, LAST } BEGIN { print(LAST == 6); print((enum state)1); }");
    accept(
        "union u { uint8 b[4]; uint32 w; } BEGIN { print(sizeof(union u)); print((*(union u *)1).b[2]); }",
    );
    refuse(
        "struct a { struct nothing x; } BEGIN { }",
        &["[unknown-type]"],
    );
    refuse(
        "struct a { int x; } struct a { int y; } BEGIN { }",
        &["[redefined]"],
    );
    refuse(
        "struct a { int x; union { int y; int x; }; } BEGIN { }",
        &["[duplicate-field]"],
    );
    refuse(
        "struct a { int x; struct a y[2]; } BEGIN { }",
        &["[incomplete-type]", "itself"],
    );
    // Each is made of two of the one before.
    let structures =
        (1..40).map(|i| format!("struct s{i} {{ struct s{0} a; struct s{0} b; }}; ", i - 1));
    let source = format!(
        "struct s0 {{ int x; }}; {} BEGIN {{ }}",
        structures.collect::<String>()
    );
    refuse(&source, &["[too-large]", "16384 parts"]);
    let tuples = (1..40).map(|i| format!("$t{i} = ($t{0}, (a = $t{0}, b = 1)); ", i - 1));
    let source = format!("BEGIN {{ $t0 = (1, ()); {} }}", tuples.collect::<String>());
    refuse(&source, &["[too-large]", "16384 parts"]);
    let source = "struct u { int a; union { uint8 by[4]; struct { uint16 lo; uint16 : 4; uint16 hi; }; }; } BEGIN { print(offsetof(struct u, by)); print(offsetof(struct u, hi)); print(sizeof(struct u)); }";
    constants(source, &["[4:uint64]", "[8:uint64]", "[12:uint64]"]);
    let source = "struct b { uint8 a : 3; uint8 b : 6; uint16 c; uint64 d; } BEGIN { print(offsetof(struct b, c)); print(offsetof(struct b, d)); print(sizeof(struct b)); }";
    constants(source, &["[2:uint64]", "[8:uint64]", "[16:uint64]"]);
}

/// Checks that a script is accepted and has these constants.
#[track_caller]
fn constants(source: &str, wanted: &[&str]) {
    let (program, found) = checked(source, &Setup::default());
    assert!(found.is_empty(), "{found:?}");
    let text = dump::program(&program);
    for constant in wanted {
        assert!(text.contains(constant), "{constant} in {text}");
    }
}

#[test]
fn macros() {
    accept("macro add(a, b) { a + b } BEGIN { print(add(1, 2)); print(add(pid, tid)); }");
    accept("macro set($v, x) { $v = x; } BEGIN { $a = 1; set($a, 5); }");
    accept(
        "macro one() { 1 } macro one(x) { x } BEGIN { print(one); print(one()); print(one(2)); }",
    );
    refuse(
        "macro a(x) { a(x) } BEGIN { print(a(1)); }",
        &["[macro-recursion]"],
    );
    refuse(
        "macro a($x) { $x } BEGIN { print(a(1)); }",
        &["[macro-arguments]", "($x)"],
    );
    refuse(
        "macro a() { @m = 1; } BEGIN { a(); }",
        &["[unhygienic-macro]"],
    );
    refuse(
        "macro a() { $x } BEGIN { $x = 1; print(a()); }",
        &["[undefined-variable]"],
    );
    refuse(
        "macro a(x) { x + comm } BEGIN { print(a(1)); }",
        &["expanded from the call of a"],
    );
    refuse(
        "macro a(x) { x + x } BEGIN { print(a(a(a(a(a(a(a(a(a(a(a(a(a(a(a(a(a(1)))))))))))))))))); }",
        &["[too-many-macros]"],
    );
    refuse(
        "macro a(x) { b(x) } macro b(x) { a(x) } BEGIN { print(a(1)); }",
        &["[macro-recursion]"],
    );
    refuse(
        "macro b(x) { x } macro a(x) { b(a(x)) } BEGIN { print(a(1)); }",
        &["[macro-recursion]"],
    );
    // The one stands in the other's argument, not in its text.
    accept(
        "macro a(x) { x + 1 } macro b(x) { a(x) * 2 } BEGIN { print(a(b(1))); print(b(a(1))); }",
    );
    accept(
        "macro a(x) { x + x } macro b(x) { a(a(x)) } macro c(x) { b(b(x)) } BEGIN { print(c(1)); }",
    );
}

#[test]
fn declared_maps() {
    refuse(
        "let @a = percpuhash(10); BEGIN { @a[1] = 1; }",
        &["[map-kind]"],
    );
    refuse(
        "let @a = hash(10); BEGIN { @a[1] = count(); }",
        &["[map-kind]"],
    );
    accept("let @a = lruhash(10); BEGIN { @a[1] = 1; }");
    accept("let @a = percpuhash(10); BEGIN { @a[1] = count(); }");
    refuse(
        "let @a = hsh(10); BEGIN { @a[1] = 1; }",
        &["[unknown-map-kind]", "`hash`"],
    );
    refuse(
        "let @a = hash(0); BEGIN { @a[1] = 1; }",
        &["[invalid-map-size]"],
    );
    refuse(
        "let @a = hash(4000000000); BEGIN { @a[1] = 1; }",
        &["[invalid-map-size]", "1 to 268435456"],
    );
    accept("BEGIN { $t = \"a\"; for ($i : 0..5) { $t = str_concat($t, \"b\"); } print($t); }");
    refuse(
        &format!("BEGIN {{ {}1{}; }}", "(".repeat(300), ")".repeat(300)),
        &[
            "[too-deep]",
            "256 levels",
            "variables, macros and functions",
        ],
    );
    let (program, found) = checked("let @a = lruhash(10); BEGIN { }", &Setup::default());
    assert!(found.iter().any(|d| d.id == "unused-map"), "{found:?}");
    assert_eq!(program.maps[0].max_entries, 10);
}

#[test]
fn values_over_time() {
    body("@ = tseries(pid, 1s, 10); @k[1] = tseries(-1, 500ms, 3, \"sum\"); print(@);");
    body(
        "@a = tseries(1, 1s, 4, \"min\"); @b = tseries(1, 5, 1000, \"max\"); @c = tseries(1, 1, 1, \"avg\");",
    );
    for (call, said) in [
        ("tseries(1, 2)", "requires at least 3 arguments"),
        (
            "tseries(1, 1s, 0)",
            "num_intervals must be >= 1 (0 provided)",
        ),
        (
            "tseries(1, 1s, 1000001)",
            "must be < 1000000 (1000001 provided)",
        ),
        ("tseries(1, 1s, 5000)", "at most 1000 intervals"),
        ("tseries(1, 0, 10)", "interval_ns must be >= 1 (0 provided)"),
        ("tseries(1, pid, 10)", "must be non-negative literal"),
        (
            "tseries(1, 1s, 10, \"foo\")",
            "avg, max, min, sum (\"foo\" provided)",
        ),
        ("tseries(\"a\", 1s, 10)", "only supports int"),
        (
            "tseries(1, 1s, 10); @ = tseries(1, 1s, 11)",
            "Different tseries bounds",
        ),
        ("tseries(1, 1s, 10); $y = @", "tseries"),
        (
            "1; @k[1] = tseries(1, 1s, 3); print(@k[1])",
            "individual keys",
        ),
    ] {
        refuse(&format!("begin {{ @ = {call}; }}"), &[said]);
    }
}

#[test]
fn literal_strings_have_an_order() {
    let check = |comparison: &str, expected: &str| {
        let source = format!("BEGIN {{ $v = {comparison}; }}");
        let (program, found) = checked(&source, &Setup::default());
        assert_eq!(findings(&source, &found), "", "{source}");
        let text = dump::program(&program);
        assert!(text.contains(expected), "{source}:\n{text}");
    };
    check(r#""a" < "b""#, "$v#0 = 1:bool");
    check(r#""b" <= "a""#, "$v#0 = 0:bool");
    check(r#""ab" >= "a""#, "$v#0 = 1:bool");
    wrong(
        r#"$x = "a"; print($x < "b");"#,
        &["< operator can not be used"],
    );
}

#[test]
fn what_is_too_much_is_named_with_its_limit() {
    refuse(
        "config = { max_strlen = 40000; } BEGIN { @[str(1), str(2)] = 1; }",
        &["bytes, a map takes at most 65536", "max_strlen"],
    );
    let long = format!("print({}1);", "1+".repeat(5000));
    wrong(&long, &["more than 256 operators in a row", "variables"]);
    wrong(
        "$a = (uint99)1;",
        &["did you mean `uint8`, `uint16`, `uint32` or `uint64`?"],
    );
    wrong("@a = 5; $p = &@a; print(*$p);", &["its value is `@m`"]);
    refuse(
        "uprobe:/bin/sh:main { print(args.x); }",
        &["have no names here", "arg0 to arg5"],
    );
}
