//! Golden files of the passes: `ir/*.txt` hold functions, each followed by what becomes of it.
//!
//! `# pass NAME` before a function runs one pass once, `# optimize` all of them. `BLESS=1`
//! rewrites the files.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

mod golden;

use kscope_script::ir::{self, Function};

#[test]
fn files() {
    golden::check("ir", |directive, function| {
        let mut function: Function = function;
        match directive.split_once(' ') {
            Some(("pass", name)) => {
                ir::run_pass(name, &mut function).unwrap_or_else(|| panic!("no pass {name}"));
            }
            None if directive == "optimize" => ir::optimize(&mut function),
            _ => panic!("what is {directive:?}?"),
        }
        if let Err(errors) = ir::verify(&function) {
            panic!("{}\n{function}", errors[0]);
        }
        function.to_string()
    });
}
