//! The checker: golden files (`types/*.txt` hold a script, what it became and the findings, each
//! after a line of dashes; `BLESS=1` writes what the checker gives now) and one-line cases.
#![allow(
    clippy::disallowed_methods,
    reason = "a test reads its golden files and BLESS"
)]

#[path = "types/argv.rs"]
mod argv;
#[path = "types/cases.rs"]
mod cases;
#[path = "types/fixture.rs"]
mod fixture;
mod golden;
#[path = "types/warnings.rs"]
mod warnings;
#[path = "types/whole.rs"]
mod whole;

use fixture::{Setup, checked, findings};
use golden::SEPARATOR;
use kscope_script::types::dump;

#[test]
fn golden_files_hold() {
    golden::scripts("types", 8, |source| {
        let source = source.trim_end();
        let (program, found) = checked(source, &Setup::default());
        let program = dump::program(&program);
        let found = findings(source, &found);
        format!("{source}{SEPARATOR}{program}----\n{found}")
    });
}
