//! The arguments of programs.

use super::cases::{typed, wrong};

#[test]
fn arguments_have_a_size() {
    typed("argv(retval, 20)", "argv[1024]");
    typed("argv(retval, pid, 20)", "argv[20]");
    typed("argv(curtask, 20, getopt(\"a\", 5))", "argv[1024]");
}

#[test]
fn arguments_are_checked() {
    wrong(
        "print(argv(comm, 1))",
        &["argv() expects an integer or pointer"],
    );
    wrong(
        "print(argv(1, comm))",
        &["argv() expects a number as its length"],
    );
    wrong(
        "print(argv(1, 1, comm))",
        &["argv() expects a number as the most to read"],
    );
    wrong(
        "print(argv(1, 1, 0))",
        &["argv() reads 1 to 1048576 bytes, not 0"],
    );
    wrong("print(argv(1, xyz))", &["[unknown-name]"]);
    wrong("printf(\"%d\", argv(1, 1))", &["argv[1024]"]);
}
