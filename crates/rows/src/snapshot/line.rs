//! Lines of a kernel's log without what their many writers put before the text.

/// A line of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// What the kernel said.
    pub(super) text: &'a str,
    /// When, in microseconds of the kernel's clock, where the line says that.
    pub(super) at: Option<u64>,
    /// Which thread or CPU said it (`T145`, `C1`), on kernels that say that.
    pub(super) caller: Option<&'a str>,
}

/// Most things before the text.
const PARTS: usize = 8;

impl<'a> Line<'a> {
    /// Takes a line apart: the prefixes of printk, dmesg (`-T`, `-x`, `--time-format iso`),
    /// journalctl, syslog and /dev/kmsg.
    pub(super) fn of(line: &'a str) -> Line<'a> {
        let mut found = Line {
            text: line.trim_end(),
            ..Line::default()
        };
        for _ in 0..PARTS {
            let before = found.text;
            found.strip();
            if found.text.len() == before.len() {
                break;
            }
        }
        found.text = found.text.trim();
        found
    }

    fn strip(&mut self) {
        let text = self.text;
        let rest = level(text)
            .or_else(|| self.bracket(text))
            .or_else(|| self.record(text))
            .or_else(|| facility(text))
            .or_else(|| date(text))
            .or_else(|| host(text));
        if let Some(rest) = rest {
            self.text = rest;
        }
    }

    /// `[    9.770380]`, `[  T145]`, `[Mon Nov 23 18:00:00 2026]`.
    fn bracket(&mut self, text: &'a str) -> Option<&'a str> {
        let (inside, rest) = text.trim_start().strip_prefix('[')?.split_once(']')?;
        let inside = inside.trim();
        if let Some((seconds, fraction)) = inside.split_once('.') {
            if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
                return None;
            }
            let fraction: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
            let seconds: u64 = seconds.parse().ok()?;
            self.at = seconds.checked_mul(1_000_000)?.checked_add(fraction);
            return Some(rest);
        }
        if let Some(number) = inside.strip_prefix(['T', 'C']) {
            self.caller = Some(inside);
            return is_number(number).then_some(rest);
        }
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let is_date = DAYS.iter().any(|day| inside.starts_with(day)) && inside.contains(':');
        is_date.then_some(rest)
    }

    /// A record of /dev/kmsg: `6,1234,9770380,-,caller=T145;text`.
    fn record(&mut self, text: &'a str) -> Option<&'a str> {
        let (head, rest) = text.split_once(';')?;
        let mut parts = head.split(',');
        let (level, number, at) = (parts.next()?, parts.next()?, parts.next()?);
        if ![level, number, at].iter().all(|part| is_number(part)) {
            return None;
        }
        self.at = at.parse().ok();
        self.caller = parts.find_map(|part| part.strip_prefix("caller="));
        Some(rest)
    }
}

/// `<6>`.
fn level(text: &str) -> Option<&str> {
    let (level, rest) = text.strip_prefix('<')?.split_once('>')?;
    is_number(level).then_some(rest)
}

/// `kern  :info  : `.
fn facility(text: &str) -> Option<&str> {
    let (facility, rest) = text.split_once(':')?;
    let (level, rest) = rest.split_once(':')?;
    const LEVELS: [&str; 8] = [
        "emerg", "alert", "crit", "err", "warn", "notice", "info", "debug",
    ];
    (facility.trim_end() == "kern" && LEVELS.contains(&level.trim_end())).then_some(rest)
}

/// `2026-11-23T18:00:00,123456+00:00` or `Nov 23 18:00:00`.
fn date(text: &str) -> Option<&str> {
    let text = text.trim_start();
    let (word, rest) = text.split_once(' ')?;
    let digit = |at: usize| word.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let is = |at: usize, byte: u8| word.as_bytes().get(at) == Some(&byte);
    if digit(0) && digit(3) && is(4, b'-') && is(7, b'-') && is(10, b'T') && digit(11) {
        return Some(rest);
    }
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    if !MONTHS.contains(&word) {
        return None;
    }
    let (day, rest) = rest.trim_start().split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    let is_time = time.split(':').count() == 3 && time.starts_with(|c: char| c.is_ascii_digit());
    (is_number(day) && is_time).then_some(rest)
}

/// `host kernel: `, or `kernel: ` alone.
fn host(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix("kernel: ") {
        return Some(rest);
    }
    let (_, rest) = text.split_once(' ')?;
    rest.strip_prefix("kernel: ")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn what_writers_put_before_the_text_is_taken_off() {
        let check = |line: &str, at: Option<u64>, caller: Option<&str>| {
            let found = Line::of(line);
            assert_eq!(found.text, "schedule+0x27/0xc0", "{line}");
            assert_eq!((found.at, found.caller), (at, caller), "{line}");
        };
        check("schedule+0x27/0xc0", None, None);
        check(
            "[    9.790888]  schedule+0x27/0xc0\r",
            Some(9_790_888),
            None,
        );
        check("<4>[    9.5]  schedule+0x27/0xc0", Some(9_500_000), None);
        check(
            "[1.25][  T145]  schedule+0x27/0xc0",
            Some(1_250_000),
            Some("T145"),
        );
        check(
            "[1.25][    C1]  schedule+0x27/0xc0",
            Some(1_250_000),
            Some("C1"),
        );
        check("[Mon Nov 23 18:00:00 2026]  schedule+0x27/0xc0", None, None);
        check(
            "2026-11-23T18:00:00,123456+00:00  schedule+0x27/0xc0",
            None,
            None,
        );
        check(
            "Nov 23 18:00:00 box kernel:  schedule+0x27/0xc0",
            None,
            None,
        );
        check(
            "Nov  3 18:00:00 box kernel: [ 2.5]  schedule+0x27/0xc0",
            Some(2_500_000),
            None,
        );
        check(
            "2026-11-23T18:00:00+0000 box kernel:  schedule+0x27/0xc0",
            None,
            None,
        );
        check(
            "[    2.500000] box kernel:  schedule+0x27/0xc0",
            Some(2_500_000),
            None,
        );
        check("6,1234,9770380,-;schedule+0x27/0xc0", Some(9_770_380), None);
        check("6,1,2,-,caller=T7; schedule+0x27/0xc0", Some(2), Some("T7"));
        check(
            "kern  :info  : [    9.770380]  schedule+0x27/0xc0",
            Some(9_770_380),
            None,
        );
    }

    #[test]
    fn text_that_looks_like_a_prefix_stays() {
        let check = |line: &str| assert_eq!(Line::of(line).text, line);
        check("[<ffffffff81000000>] schedule+0x27/0xc0");
        check("<TASK>");
        check("Mem-Info:");
        check("active_anon:1604 inactive_anon:0");
        check("Mar ten");
        check("[99999999999999999999999.1] x");
    }
}
