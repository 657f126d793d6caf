//! Wall-clock time as text. There is no clock and no time zone here: the caller gives both.

use std::fmt::Write;

/// A moment as a clock on the wall shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WallTime {
    /// Seconds since 1970-01-01 00:00 UTC, negative before.
    pub seconds: i64,
    /// Nanoseconds of the second, below 10^9.
    pub nanoseconds: u32,
    /// The time zone's distance from UTC at that moment, in seconds, positive to the east.
    pub offset: i32,
    /// The time zone's abbreviation at that moment, `UTC` for example.
    pub zone: String,
}

impl WallTime {
    /// Makes a moment in UTC from nanoseconds since 1970.
    #[must_use]
    pub fn utc(nanoseconds: u64) -> WallTime {
        WallTime {
            seconds: (nanoseconds / 1_000_000_000) as i64,
            nanoseconds: u32::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
            offset: 0,
            zone: "UTC".to_owned(),
        }
    }
}

/// Which letters mean what in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The function `time`: C's `strftime` in the C locale with GNU's extensions, and `%f` for
    /// microseconds.
    Time,
    /// The function `strftime`: as `Time`, but `%k` is nanoseconds and `%l` milliseconds.
    Strftime,
}

/// Formats a moment as `strftime` does; a conversion it does not know stays as it is.
#[must_use]
pub fn format_time(format: &str, time: &WallTime, dialect: Dialect) -> String {
    let mut out = String::new();
    write_time(&mut out, format, &Civil::new(time), dialect);
    out
}

/// Largest width of a conversion.
const MAX_WIDTH: usize = 1024;

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A moment taken apart.
struct Civil<'a> {
    time: &'a WallTime,
    year: i64,
    /// From 0.
    month: i64,
    /// From 1.
    day: i64,
    /// From 0.
    year_day: i64,
    /// From 0, Sunday.
    week_day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil<'_> {
    fn new(time: &WallTime) -> Civil<'_> {
        let local = time.seconds.saturating_add(i64::from(time.offset));
        let days = local.div_euclid(86_400);
        let second = local.rem_euclid(86_400);
        // Days are counted in eras of 400 years that begin on March 1st, so that the leap day
        // is the last of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let era_day = shifted.rem_euclid(146_097);
        let era_year = (era_day - era_day / 1_460 + era_day / 36_524 - era_day / 146_096) / 365;
        let march_day = era_day - (365 * era_year + era_year / 4 - era_year / 100);
        let march_month = (5 * march_day + 2) / 153;
        let month = (march_month + 2) % 12;
        let year = era * 400 + era_year + i64::from(month < 2);
        let before = if month < 2 {
            march_day - 306
        } else {
            march_day + 59 + leap(year)
        };
        Civil {
            time,
            year,
            month,
            day: march_day - (153 * march_month + 2) / 5 + 1,
            year_day: before,
            week_day: (days + 4).rem_euclid(7),
            hour: second / 3_600,
            minute: second / 60 % 60,
            second: second % 60,
        }
    }

    /// Gives year and week by ISO 8601.
    fn iso_week(&self) -> (i64, i64) {
        let monday_based = (self.week_day + 6) % 7;
        let week = (self.year_day - monday_based + 10) / 7;
        if week < 1 {
            (self.year - 1, iso_weeks(self.year - 1))
        } else if week > iso_weeks(self.year) {
            (self.year + 1, 1)
        } else {
            (self.year, week)
        }
    }
}

/// Gives 1 in a leap year, else 0.
fn leap(year: i64) -> i64 {
    i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
}

/// Gives the number of ISO weeks of a year.
fn iso_weeks(year: i64) -> i64 {
    let last_day = |year: i64| {
        (year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400)).rem_euclid(7)
    };
    if last_day(year) == 4 || last_day(year - 1) == 3 {
        53
    } else {
        52
    }
}

/// Flags and width between `%` and the letter.
#[derive(Default)]
struct Style {
    /// `_`, `-` or `0`, the last one given.
    pad: Option<char>,
    /// `^`.
    upper: bool,
    /// `#`.
    swap: bool,
    width: Option<usize>,
}

impl Style {
    /// Reads them off the start of `text` and gives what follows.
    fn read(text: &str) -> (Style, &str) {
        let mut style = Style::default();
        let mut rest = text;
        while let Some(flag) = rest.chars().next() {
            match flag {
                '_' | '-' | '0' => style.pad = Some(flag),
                '^' => style.upper = true,
                '#' => style.swap = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 {
            style.width = Some(rest[..digits].parse().unwrap_or(MAX_WIDTH).min(MAX_WIDTH));
        }
        // Modifiers that mean nothing in the C locale.
        let rest = &rest[digits..];
        (style, rest.strip_prefix(['E', 'O']).unwrap_or(rest))
    }

    fn number(&self, out: &mut String, value: i64, digits: usize, pad: char) {
        let pad = self.pad.unwrap_or(pad);
        let width = self.width.unwrap_or(if pad == '-' { 0 } else { digits });
        let text = value.unsigned_abs().to_string();
        let sign = if value < 0 { "-" } else { "" };
        let missing = width.saturating_sub(text.len() + sign.len());
        match pad {
            '_' | ' ' => {
                out.extend(std::iter::repeat_n(' ', missing));
                out.push_str(sign);
            }
            _ => {
                out.push_str(sign);
                out.extend(std::iter::repeat_n('0', missing));
            }
        }
        out.push_str(&text);
    }

    fn text(&self, out: &mut String, text: &str) {
        let width = self.width.unwrap_or(0);
        let pad = if self.pad == Some('0') { '0' } else { ' ' };
        out.extend(std::iter::repeat_n(
            pad,
            width.saturating_sub(text.chars().count()),
        ));
        if self.upper || self.swap {
            out.push_str(&text.to_uppercase());
        } else {
            out.push_str(text);
        }
    }
}

fn write_time(out: &mut String, format: &str, civil: &Civil<'_>, dialect: Dialect) {
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        let tail = &rest[percent + 1..];
        let (style, after) = Style::read(tail);
        let letter = after.chars().next();
        let length = 1 + tail.len() - after.len() + letter.map_or(0, char::len_utf8);
        let known = letter.is_some_and(|letter| conversion(out, letter, &style, civil, dialect));
        if !known {
            out.push_str(&rest[percent..percent + length]);
        }
        rest = &rest[percent + length..];
    }
    out.push_str(rest);
}

/// Writes one conversion; false for a letter that is none.
fn conversion(
    out: &mut String,
    letter: char,
    style: &Style,
    civil: &Civil<'_>,
    dialect: Dialect,
) -> bool {
    let nanoseconds = civil.time.nanoseconds;
    let twelve = if civil.hour % 12 == 0 {
        12
    } else {
        civil.hour % 12
    };
    let nth = |names: &[&'static str], index: i64| -> &'static str {
        usize::try_from(index)
            .ok()
            .and_then(|index| names.get(index))
            .copied()
            .unwrap_or("?")
    };
    let day = nth(&DAYS, civil.week_day);
    let month = nth(&MONTHS, civil.month);
    let composed = |out: &mut String, format: &str| {
        let mut text = String::new();
        write_time(&mut text, format, civil, Dialect::Time);
        style.text(out, &text);
    };
    let extended = dialect == Dialect::Strftime;
    match letter {
        'k' if extended => style.number(out, i64::from(nanoseconds), 9, '0'),
        'l' if extended => style.number(out, i64::from(nanoseconds / 1_000_000), 3, '0'),
        'f' => style.number(out, i64::from(nanoseconds / 1_000), 6, '0'),
        'a' => style.text(out, &day[..3.min(day.len())]),
        'A' => style.text(out, day),
        'b' | 'h' => style.text(out, &month[..3.min(month.len())]),
        'B' => style.text(out, month),
        'c' => composed(out, "%a %b %e %H:%M:%S %Y"),
        'C' => style.number(out, civil.year.div_euclid(100), 2, '0'),
        'd' => style.number(out, civil.day, 2, '0'),
        'D' | 'x' => composed(out, "%m/%d/%y"),
        'e' => style.number(out, civil.day, 2, '_'),
        'F' => composed(out, "%Y-%m-%d"),
        'g' => style.number(out, civil.iso_week().0.rem_euclid(100), 2, '0'),
        'G' => style.number(out, civil.iso_week().0, 4, '0'),
        'H' => style.number(out, civil.hour, 2, '0'),
        'I' => style.number(out, twelve, 2, '0'),
        'j' => style.number(out, civil.year_day + 1, 3, '0'),
        'k' => style.number(out, civil.hour, 2, '_'),
        'l' => style.number(out, twelve, 2, '_'),
        'm' => style.number(out, civil.month + 1, 2, '0'),
        'M' => style.number(out, civil.minute, 2, '0'),
        'n' => style.text(out, "\n"),
        'p' if style.swap => out.push_str(if civil.hour < 12 { "am" } else { "pm" }),
        'p' => style.text(out, if civil.hour < 12 { "AM" } else { "PM" }),
        'P' => style.text(out, if civil.hour < 12 { "am" } else { "pm" }),
        'r' => composed(out, "%I:%M:%S %p"),
        'R' => composed(out, "%H:%M"),
        's' => style.number(out, civil.time.seconds, 1, '0'),
        'S' => style.number(out, civil.second, 2, '0'),
        't' => style.text(out, "\t"),
        'T' | 'X' => composed(out, "%H:%M:%S"),
        'u' => style.number(
            out,
            if civil.week_day == 0 {
                7
            } else {
                civil.week_day
            },
            1,
            '0',
        ),
        'U' => style.number(out, (civil.year_day - civil.week_day + 7) / 7, 2, '0'),
        'V' => style.number(out, civil.iso_week().1, 2, '0'),
        'w' => style.number(out, civil.week_day, 1, '0'),
        'W' => {
            style.number(
                out,
                (civil.year_day - (civil.week_day + 6) % 7 + 7) / 7,
                2,
                '0',
            );
        }
        'y' => style.number(out, civil.year.rem_euclid(100), 2, '0'),
        'Y' => style.number(out, civil.year, 1, '0'),
        'z' => {
            let minutes = civil.time.offset / 60;
            let sign = if civil.time.offset < 0 { '-' } else { '+' };
            let (hours, minutes) = (minutes.abs() / 60, minutes.abs() % 60);
            // Writing to a string cannot fail.
            let _ = write!(out, "{sign}{hours:02}{minutes:02}");
        }
        'Z' if style.swap => out.push_str(&civil.time.zone.to_lowercase()),
        'Z' => style.text(out, &civil.time.zone),
        '%' => style.text(out, "%"),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests;
