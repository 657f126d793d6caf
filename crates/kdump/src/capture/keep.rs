//! The names of the folders of crashes, and which of them are too many.

use std::collections::BTreeSet;

/// Names the folder of a crash: date and time (UTC), and the machine. A name that is there is not
/// given again.
pub(crate) fn folder_name(seconds: u64, host: &str, there: &[String]) -> String {
    let name = format!("{}-{host}", stamp(seconds));
    let taken: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    let mut names = (2u32..).map(|count| format!("{}.{count}-{host}", stamp(seconds)));
    match taken.contains(&*name) {
        false => name,
        true => names.find(|name| !taken.contains(&**name)).unwrap_or(name),
    }
}

/// Gives the oldest of a machine's crashes that are more than are to be kept; 0 keeps all. What
/// has a name of another form is never among them, nor is the new one, whatever the clock said.
pub(crate) fn too_many(names: &[String], host: &str, keep: u32, new: &str) -> Vec<String> {
    let mut own: Vec<&String> = names
        .iter()
        .filter(|name| is_crash_of(name, host))
        .collect();
    own.sort_by_key(|name| (name.as_str() == new, *name));
    let count = match keep {
        0 => 0,
        keep => own.len().saturating_sub(keep as usize),
    };
    own.into_iter().take(count).cloned().collect()
}

/// Tells whether a name is that of a crash of a machine.
pub(crate) fn is_crash_of(name: &str, host: &str) -> bool {
    let start = name
        .strip_suffix(host)
        .and_then(|name| name.strip_suffix('-'));
    start.is_some_and(is_stamp)
}

/// Tells whether a name is that of a crash of any machine.
pub(crate) fn is_crash(name: &str) -> bool {
    (17..name.len()).any(|at| name.as_bytes()[at] == b'-' && name.get(..at).is_some_and(is_stamp))
}

fn is_stamp(text: &str) -> bool {
    let (stamp, count) = text.split_once('.').unwrap_or((text, "2"));
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 | 10 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let counted = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    stamp.len() == 17 && counted && stamp.bytes().enumerate().all(shape)
}

/// Writes a time as `2026-11-23-180203`, in UTC.
pub(crate) fn stamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's days_from_civil backwards: years begin in March, eras have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = match month_from_march {
        0..=9 => month_from_march + 3,
        _ => month_from_march - 9,
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |seconds, expected| assert_eq!(stamp(seconds), expected);
        check(0, "1970-01-01-000000");
        check(951_782_399, "2000-02-28-235959");
        check(951_782_400, "2000-02-29-000000");
        check(1_795_456_923, "2026-11-23-180203");
        check(4_107_542_399, "2100-02-28-235959");
        check(4_107_542_400, "2100-03-01-000000");
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn names_are_not_given_twice() {
        let first = folder_name(0, "box", &[]);
        assert_eq!(first, "1970-01-01-000000-box");
        let second = folder_name(0, "box", &names(&[&first]));
        assert_eq!(second, "1970-01-01-000000.2-box");
        let third = folder_name(0, "box", &names(&[&first, &second]));
        assert_eq!(third, "1970-01-01-000000.3-box");
        assert!(
            [first, second, third]
                .iter()
                .all(|name| is_crash_of(name, "box"))
        );
    }

    #[test]
    fn the_oldest_go_and_nothing_else() {
        let there = names(&[
            "2026-01-03-000000-box",
            "2026-01-01-000000-box",
            "2026-01-02-000000-box",
            "2025-01-01-000000-otherbox",
            "2025-01-01-000000-other-box",
            "notes-box",
            "2025-01-01-box",
        ]);
        let newest = "2026-01-03-000000-box";
        let check = |keep, expected: &[&str]| {
            let found = too_many(&there, "box", keep, newest);
            assert_eq!(found, names(expected), "{keep}");
        };
        check(0, &[]);
        check(1, &["2026-01-01-000000-box", "2026-01-02-000000-box"]);
        check(2, &["2026-01-01-000000-box"]);
        check(3, &[]);
        // A clock that stood still makes no dump the oldest that was just written.
        let found = too_many(&there, "box", 1, "2026-01-01-000000-box");
        assert_eq!(found, names(&["2026-01-02-000000-box", newest]));
        assert!(is_crash("2025-01-01-000000-other-box"));
        assert!(!is_crash("notes-box") && !is_crash("2025-01-01-000000"));
    }
}
