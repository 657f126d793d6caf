//! The project's own chores: `cargo xtask vm`, `cargo xtask test`, ….

mod arguments;
mod bench;
mod cargo;
mod check;
mod chroot;
mod constants;
mod deadline;
mod features;
mod kernels;
mod outcome;
mod portability;
mod runner;
mod setup;
mod suites;
mod vm;

use std::process::ExitCode;

use arguments::Arguments;

const USAGE: &str = "\
cargo xtask vm KERNEL… [options] [-- TEST…]   runs the kernel-facing tests in guests
    KERNEL           5.10, 6.1, 6.12, 7.x, next, or the path of a bzImage
    TEST             part of \"suite::test\"; all when absent
    --kscope FILE    a static kscope; the release build when absent
    --debug          builds kscope in debug mode
    --bin FILE       one more static program for the guest's /bin (repeatable)
    --module NAME    one more kernel module, loaded before the tests (repeatable)
    --seconds N      time limit of a boot (900)
    --test-seconds N time limit of a test (180)
    --memory MIB     memory of a guest (1536)
    --jobs N         boots at a time (2)
    --ignored        runs #[ignore]d tests as well
    --output         prints what passing tests printed
    --refresh        fetches the kernels again
    --keep-dumps     keeps the dumps of guests, and says where
cargo xtask kdump KERNEL… [options]           crashes guests, and reads what their capture kernels saved
    --ssh            over ssh to this machine, not to the guest's disk
    --kscope FILE    a static kscope; the release build when absent
    --debug          builds kscope in debug mode
    --keep           keeps what was saved, and says where
cargo xtask test [--ignored] [--only SUITE]…  every suite, with a table and the sum at the end
cargo xtask bench [options]                   figures beside those of the installed bpftrace; needs root
    --peers          beside those of Debian sid's bpftrace and crash, and of drgn, fetched into folders of their own
    --only GROUP     library, dump, save, startup, size, btf, tool, events or printf (repeatable)
    --runs N         runs whose median counts (9)
    --calls N        traced calls per run (300000)
    --seconds N      how long a rate of printf must hold (5)
    --kscope FILE    a kscope to measure; the release build when absent
cargo xtask ci                                the suites that need neither root nor guests
cargo xtask kernels [--check]                 writes docs/KERNELS.md of what the last runs in guests said
cargo xtask constants                         writes the constants of headers that scripts know, of this machine's
cargo xtask portability                       builds with the oldest Rust that is promised, and for aarch64
cargo xtask check-release FILE                fails unless FILE is static and at most 8 MB
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let arguments = Arguments::new(words);
    let result = match command.as_str() {
        "vm" => vm::run(arguments),
        "kdump" => vm::kdump::run(arguments),
        "bench" => bench::run(arguments),
        "bench-one" => bench::one(arguments),
        "test" => suites::run(arguments),
        "ci" => suites::run_unprivileged(arguments),
        "constants" => constants::run(arguments),
        "kernels" => kernels::run(arguments),
        "portability" => portability::run(arguments),
        "check-release" => check::run(arguments),
        _ => Err(USAGE.to_string()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}
