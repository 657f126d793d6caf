//! Constants of C headers, which types do not tell: `AF_INET`, `O_CREAT`, `SIGKILL`.
//!
//! `cargo xtask constants` writes the table; what another processor has otherwise stands in a
//! table of its own.

const X86_64: &str = include_str!("../constants/x86_64.txt");
const AARCH64: &str = include_str!("../constants/aarch64.txt");

/// Gives the value of a constant of C headers: `SIGKILL`, `CAP_KILL`.
#[must_use]
pub fn value(name: &str) -> Option<i64> {
    let own = if cfg!(target_arch = "aarch64") {
        find(AARCH64, name)
    } else {
        None
    };
    own.or_else(|| find(X86_64, name))
}

/// Gives the names of all constants of C headers that have a value here, for those that are near.
pub fn names<'a>() -> impl Iterator<Item = &'a str> {
    X86_64.lines().filter_map(|line| line.split(' ').next())
}

fn find(table: &str, name: &str) -> Option<i64> {
    let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    table.lines().find_map(line)
}

#[cfg(test)]
mod tests {
    use super::{AARCH64, X86_64, find, names};

    #[test]
    fn tables_are_numbers_in_order() {
        let of_table = |table: &'static str| table.lines().map(|l| l.split(' ').next());
        for table in [X86_64, AARCH64] {
            for line in table.lines() {
                let number = line.split_once(' ').map(|(_, n)| n.parse::<i64>());
                assert!(matches!(number, Some(Ok(_))), "{line}");
            }
            assert!(of_table(table).is_sorted());
        }
        assert!(names().count() > 3000);
    }

    #[test]
    fn constants_have_values() {
        let check = |name, expected| assert_eq!(find(X86_64, name), expected, "{name}");
        check("AF_INET", Some(2));
        check("AF_INET6", Some(10));
        check("TASK_RUNNING", Some(0));
        check("SIGKILL", Some(9));
        check("O_CREAT", Some(0o100));
        check("O_LARGEFILE", Some(0o100_000));
        check("S_IFMT", Some(0o170_000));
        check("ECONNREFUSED", Some(111));
        check("IPPROTO_UDP", Some(17));
        check("MSG_DONTWAIT", Some(64));
        check("CLONE_NEWNET", Some(0x4000_0000));
        check("PROT_EXEC", Some(4));
        check("MAP_ANONYMOUS", Some(32));
        check("AF_INE", None);
        assert_eq!(find(AARCH64, "O_DIRECT"), Some(65536));
    }
}
