use super::*;

#[track_caller]
fn check_match(pattern: &str, name: &str, expected: bool) {
    assert_eq!(matches(pattern, name), expected, "{pattern} and {name}");
}

#[test]
fn patterns() {
    check_match("", "", true);
    check_match("*", "", true);
    check_match("*", "vfs_read", true);
    check_match("vfs_*", "vfs_read", true);
    check_match("vfs_*", "vf_read", false);
    check_match("*read", "vfs_read", true);
    check_match("*read", "vfs_readv", false);
    check_match("*_*_*", "a_b_c", true);
    check_match("*_*_*", "a_b", false);
    check_match("a*b*c", "aXXbYYbZZc", true);
    check_match("a?c", "abc", true);
    check_match("a?c", "ac", false);
    check_match("a[bx]c", "axc", true);
    check_match("a[b-y]c", "axc", true);
    check_match("a[b-y]c", "azc", false);
    check_match("a[b", "a[b", false);
    check_match("abc", "abcd", false);
    check_match("abcd", "abc", false);
    check_match(&"*a".repeat(50), &"a".repeat(49), false);
    assert!(is_pattern("a*") && is_pattern("a?") && !is_pattern("a_b"));
}

#[track_caller]
fn check_field(line: &str, expected: &str) {
    let format = parse_format(line);
    let shown: Vec<String> = format
        .fields
        .iter()
        .map(|f| format!("{}|{}|{}|{}|{}", f.ty, f.name, f.offset, f.size, f.signed))
        .collect();
    assert_eq!(shown.join(";"), expected, "{line}");
}

#[test]
fn fields_of_tracefs() {
    check_field(
        "\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;",
        "const char *|filename|24|8|false",
    );
    check_field(
        "\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;",
        "char[16]|prev_comm|8|16|false",
    );
    check_field(
        "\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;",
        "__data_loc char[]|filename|8|4|false",
    );
    check_field(
        "\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;",
        "pid_t|pid|12|4|true",
    );
    check_field(
        "\tfield:struct a *b;\toffset:16;\tsize:8;\tsigned:0;",
        "struct a *|b|16|8|false",
    );
    check_field("name: sched_switch", "");
    check_field("print fmt: \"x\"", "");
    check_field("\tfield:;\toffset:1;\tsize:1;", "");
    check_field("\tfield:int x;\toffset:y;\tsize:1;", "");
    check_field("\tfield:int x;\toffset:99999999999;\tsize:1;", "");
    check_field("\tfield:[;\toffset:1;\tsize:1;", "");
}

#[test]
fn system_calls_of_the_table() {
    let names = |event: &str| {
        let format = syscalls::format(event)?;
        let named: Vec<String> = format
            .fields
            .iter()
            .filter(|f| f.offset >= 16)
            .map(|f| format!("{} {}@{}", f.ty, f.name, f.offset))
            .collect();
        Some(named.join(", "))
    };
    assert_eq!(
        names("sys_enter_openat").as_deref(),
        Some("int dfd@16, const char * filename@24, int flags@32, umode_t mode@40")
    );
    assert_eq!(names("sys_exit_openat").as_deref(), Some("long ret@16"));
    assert_eq!(names("sys_enter_getpid").as_deref(), Some(""));
    assert_eq!(names("sys_enter_nothing"), None);
    assert_eq!(names("sys_exit_nothing"), None);
    assert_eq!(names("openat"), None);
    let events = syscalls::events("sys_*_openat");
    let events: Vec<&str> = events.iter().map(|e| e.event.as_str()).collect();
    assert_eq!(events, ["sys_enter_openat", "sys_exit_openat"]);
    // Every line of the table has names and types that read as C.
    for event in syscalls::events("sys_enter_*") {
        let format = syscalls::format(&event.event).expect("it is in the table");
        for (i, field) in format.fields.iter().filter(|f| f.offset >= 16).enumerate() {
            assert_eq!(field.offset, 16 + 8 * i as u32);
            assert!(!field.name.contains(['*', ' ']), "{event}: {field:?}");
            let known = kscope_btf::CType::parse(&field.ty, None);
            let unknown = matches!(known, Err(kscope_btf::CTypeError::Unknown { .. }));
            assert!(known.is_ok() || unknown, "{event}: {field:?}");
        }
    }
}

const TEXT: &str = "\
kscope catalogue 1
tracepoint a:b
 8 4 s int x
 12 4 u __data_loc char[] name
tracepoint a:c
rawtracepoint b
function f
function g
";

#[test]
fn text_reads_back() {
    let catalogue = TextCatalogue::parse(TEXT).expect("it is well formed");
    assert_eq!(catalogue.to_string(), TEXT);
    let commented = TEXT.replace("function f\n", "\n# a comment\nfunction f\n");
    assert_eq!(TextCatalogue::parse(&commented).as_ref(), Ok(&catalogue));
    let empty = "kscope catalogue 1\nno tracepoints\nno rawtracepoints\nno functions\n";
    let none = TextCatalogue::parse(empty).expect("it is well formed");
    assert_eq!(none.to_string(), empty);
    assert_eq!(none.functions("*"), Lookup::NotFound);
    let unknown = TextCatalogue::parse("kscope catalogue 1\n").expect("it is well formed");
    assert!(matches!(unknown.functions("*"), Lookup::Unavailable(_)));
    assert!(matches!(
        unknown.tracepoints("*", "*"),
        Lookup::Unavailable(_)
    ));
    assert!(matches!(unknown.format("a", "b"), Lookup::Unavailable(_)));
}

#[test]
fn text_answers() {
    let c = TextCatalogue::parse(TEXT).expect("it is well formed");
    let all = ["f".to_owned(), "g".to_owned()];
    assert_eq!(c.functions("*"), Lookup::Found(all.to_vec()));
    assert_eq!(c.functions("g"), Lookup::Found(all[1..].to_vec()));
    assert_eq!(c.functions("h"), Lookup::NotFound);
    assert_eq!(c.raw_tracepoints("b"), Lookup::Found(vec!["b".to_owned()]));
    assert_eq!(c.tracepoints("x", "b"), Lookup::NotFound);
    let Lookup::Found(found) = c.tracepoints("a", "*") else {
        panic!("a has two events");
    };
    assert_eq!(found.len(), 2);
    let Lookup::Found(format) = c.format("a", "b") else {
        panic!("a:b has a format");
    };
    assert_eq!(format.fields[1].ty, "__data_loc char[]");
    assert_eq!(c.format("a", "z"), Lookup::NotFound);
}

#[track_caller]
fn check_fault(text: &str, line: usize, what: &str) {
    let error = TextCatalogue::parse(text).expect_err("it is malformed");
    assert_eq!(error.line, line, "{text}: {error}");
    assert!(error.what.contains(what), "{text}: {error}");
}

#[test]
fn faults_of_the_text() {
    check_fault("", 1, "kscope catalogue 1");
    check_fault("kscope catalogue 2\n", 1, "kscope catalogue 1");
    let check = |rest: &str, line, what| {
        check_fault(&format!("kscope catalogue 1\n{rest}"), line, what);
    };
    check("x\n", 2, "a kind and a name");
    check("probe x\n", 2, "expected tracepoint");
    check("tracepoint x\n", 2, "category:event");
    check(" 1 2 s int x\n", 2, "before any tracepoint");
    check("function f\n 1 2 s int x\n", 3, "before any tracepoint");
    check("tracepoint a:b\n x 2 s int x\n", 3, "offset");
    check("tracepoint a:b\n 1 x s int x\n", 3, "size");
    check("tracepoint a:b\n 1 2 y int x\n", 3, "sign");
    check("tracepoint a:b\n 1 2 s x\n", 3, "type and a name");
    check("tracepoint a:b\n 1 2\n", 3, "expected offset");
}
