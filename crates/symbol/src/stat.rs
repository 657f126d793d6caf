//! `/proc/PID/stat`: what the kernel says of a process or thread in one line.

/// The line of a process or thread (proc_pid_stat(5)), from its state on. What a short read left out is none.
#[derive(Clone, Copy, Debug)]
pub struct ProcessStat<'a>(&'a str);

impl<'a> ProcessStat<'a> {
    /// Takes the line apart; none where it has no name, which stands in parentheses and may have any bytes in it.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<ProcessStat<'a>> {
        let name_end = line.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
        Some(ProcessStat(rest))
    }

    /// Gives a field by its number in proc_pid_stat(5), 3 or more.
    fn field(self, number: usize) -> Option<&'a str> {
        self.0.split_ascii_whitespace().nth(number.checked_sub(3)?)
    }

    fn number(self, number: usize) -> Option<u64> {
        self.field(number)?.parse().ok()
    }

    /// Gives the state, `R`, `S`, `Z` and so on: of a process, that of its first thread.
    #[must_use]
    pub fn state(self) -> Option<u8> {
        self.field(3)?.bytes().next()
    }

    /// Says whether the thread has ended, or the first one of the process has.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self.state(), Some(b'Z' | b'X'))
    }

    /// Gives the id of the parent.
    #[must_use]
    pub fn parent(self) -> Option<u32> {
        self.number(4)?.try_into().ok()
    }

    /// Gives the number of threads that have not been reaped.
    #[must_use]
    pub fn threads(self) -> Option<u64> {
        self.number(20)
    }

    /// Gives when it began, in ticks of the clock since boot.
    #[must_use]
    pub fn began(self) -> Option<u64> {
        self.number(22)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_manual() {
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        for name in [&b"sh"[..], b"a) b (c", b"a) Z 1", b"\xff)\n"] {
            let line = [b"7 (", name, b") S ", fields.join(" ").as_bytes(), b"\n"].concat();
            let stat = ProcessStat::parse(&line).expect("a line");
            assert_eq!((stat.state(), stat.parent()), (Some(b'S'), Some(4)));
            assert_eq!((stat.threads(), stat.began()), (Some(20), Some(22)));
            assert!(!stat.has_ended());
        }
        let own = std::fs::read("/proc/self/stat").expect("there is one");
        let own = ProcessStat::parse(&own).expect("a line");
        assert_eq!(own.parent(), Some(std::os::unix::process::parent_id()));
        assert!(own.began().is_some_and(|ticks| ticks > 0));
    }

    #[test]
    fn what_is_not_there_is_none() {
        for line in ["", "7 (a", "7"] {
            assert!(ProcessStat::parse(line.as_bytes()).is_none(), "{line}");
        }
        let short = ProcessStat::parse(b"7 (a)").expect("a name");
        assert_eq!((short.state(), short.parent()), (None, None));
        let short = ProcessStat::parse(b"7 (a) X").expect("a name");
        assert!(short.has_ended() && short.began().is_none());
    }
}
