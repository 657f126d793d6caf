//! Values of options as people write them: names of errors and users, flags, times.

use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use kscope_script::near::near;
use kscope_script::plan::OptionMeaning;
use kscope_script::types::{constant_names, constant_value};
use kscope_symbol::UserNames;
use kscope_sys::{Errno, mount_path};

/// Reads a number as its meaning allows it to be written.
pub(crate) fn value(text: &str, meaning: &OptionMeaning) -> Result<i64, String> {
    match meaning {
        OptionMeaning::Plain | OptionMeaning::Choice(_) | OptionMeaning::Command => number(text),
        OptionMeaning::Count => {
            let value = number(text)?;
            (value >= 0)
                .then_some(value)
                .ok_or_else(|| format!("{text} is negative"))
        }
        OptionMeaning::Errno => errno(text),
        OptionMeaning::OpenFlags => {
            let flags = text.split('|').try_fold(0, |flags, word| {
                let word = word.trim();
                Ok::<i64, String>(flags | number(word).or_else(|_| open_flag(word))?)
            })?;
            within(flags, 0..=i64::MAX, "flags are", text)
        }
        OptionMeaning::User => match (number(text), UserNames::new().uid(text)) {
            (Ok(id), _) => within(id, 0..=i64::from(u32::MAX) - 1, "users are", text),
            (Err(_), Some(uid)) => Ok(i64::from(uid)),
            (Err(_), None) => Err(format!("there is no user `{text}`")),
        },
        OptionMeaning::Cgroup => match number(text) {
            Ok(id) => within(id, 1..=i64::MAX, "cgroups are", text),
            Err(_) => cgroup(text),
        },
        OptionMeaning::Duration => duration(text),
        OptionMeaning::Disk => disk(text),
        OptionMeaning::Range { least, most } => {
            within(number(text)?, *least..=*most, "it is", text)
        }
        OptionMeaning::Signal => named(text, "signal", "SIG", 1..=64),
        OptionMeaning::Capability => named(text, "capability", "CAP_", 0..=63),
        OptionMeaning::Process => {
            let id = within(number(text)?, 1..=LAST_PROCESS, "processes are", text)?;
            // Threads are there as well, though they are not listed.
            match Path::new("/proc").join(id.to_string()).exists() {
                true => Ok(id),
                false => Err(format!("there is no process {id}")),
            }
        }
    }
}

/// The largest id that Linux gives a process (include/linux/threads.h).
const LAST_PROCESS: i64 = 4 << 20;

/// Most bytes of a command's name.
const COMMAND_BYTES: usize = 15;

/// Refuses a number that can never be met.
fn within(number: i64, range: RangeInclusive<i64>, what: &str, text: &str) -> Result<i64, String> {
    if range.contains(&number) {
        return Ok(number);
    }
    Err(format!(
        "{text} is out of range: {what} {} to {}",
        range.start(),
        range.end()
    ))
}

/// Reads a number in a range, or the constant that has it, with or without what its name begins with.
fn named(text: &str, what: &str, prefix: &str, range: RangeInclusive<i64>) -> Result<i64, String> {
    if let Ok(number) = number(text) {
        return within(number, range, "they are", text);
    }
    let upper = text.to_ascii_uppercase();
    let whole = match upper.starts_with(prefix) {
        true => upper,
        false => format!("{prefix}{upper}"),
    };
    // SIG_BLOCK and SIGEV_NONE are no signals; CAP_NET_RAW and CAP_SYS_ADMIN are capabilities.
    let is_one = |name: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| prefix.ends_with('_') || !rest.contains('_'))
            && constant_value(name).is_some_and(|value| range.contains(&value))
    };
    match constant_value(&whole).filter(|_| is_one(&whole)) {
        Some(value) => Ok(value),
        None => {
            let names = constant_names().filter(|name| is_one(name));
            let rests = names.filter_map(|name| name.strip_prefix(prefix));
            let rests: Vec<&str> = rests.collect();
            // What all begin with is no likeness.
            let wanted = whole.strip_prefix(prefix).unwrap_or(&whole);
            let near = near(wanted, rests.iter());
            let missing = format!("there is no {what}");
            Err(match near {
                Some(near) => unknown(&missing, text, Some(format!("{prefix}{near}"))),
                None => format!("{missing} `{text}`: they are {}", rests.join(", ")),
            })
        }
    }
}

/// Refuses a part of a command's name that no name has room for.
pub(crate) fn command(text: &str) -> Result<(), String> {
    match text.len() {
        0..=COMMAND_BYTES => Ok(()),
        more => Err(format!(
            "the text has {more} bytes, but the kernel keeps only {COMMAND_BYTES} of a command's name"
        )),
    }
}

/// Says whether a text is one of the choices, with the near one where it is not.
pub(crate) fn choose(text: &str, choices: &[String]) -> Result<(), String> {
    if choices.iter().any(|choice| choice == text) {
        return Ok(());
    }
    Err(match near(text, choices) {
        Some(near) => format!("`{text}` is none of its values; did you mean {near}?"),
        None => format!("`{text}` is none of its values: {}", choices.join(", ")),
    })
}

fn errno(text: &str) -> Result<i64, String> {
    if let Ok(number) = number(text) {
        let positive = number.saturating_abs();
        return match positive {
            0 => Err("0 is no errno: errors are 1 to 4095".to_owned()),
            _ => within(positive, 1..=4095, "errors are", text),
        };
    }
    // Two names that people know stand for numbers with another one.
    let wanted = match text.to_ascii_uppercase().as_str() {
        "EWOULDBLOCK" => "EAGAIN".to_owned(),
        "ENOTSUP" => "EOPNOTSUPP".to_owned(),
        "EDEADLOCK" => "EDEADLK".to_owned(),
        other => other.to_owned(),
    };
    let mut all = Errno::all();
    if let Some((errno, _)) = all.find(|(_, name)| *name == wanted) {
        return Ok(i64::from(errno.0));
    }
    let names = Errno::all().map(|(_, name)| name);
    Err(unknown("there is no error", text, near(&wanted, names)))
}

/// Gives the number of a flag of `open(2)`, in the numbering of this processor. The mask of the ways of
/// access is no flag.
fn open_flag(text: &str) -> Result<i64, String> {
    let is_flag = |name: &&str| match *name {
        "O_ACCMODE" => false,
        name => name.starts_with("O_") || name == "FASYNC",
    };
    let wanted = text.to_ascii_uppercase();
    let long = format!("O_{wanted}");
    let mut names = [&*wanted, &*long].into_iter().filter(is_flag);
    if let Some(flag) = names.find_map(constant_value) {
        return Ok(flag);
    }
    let names = constant_names().filter(is_flag);
    Err(unknown("there is no flag", text, near(&wanted, names)))
}

fn unknown(what: &str, text: &str, near: Option<String>) -> String {
    match near {
        Some(near) => format!("{what} `{text}`; did you mean {near}?"),
        None => format!("{what} `{text}`"),
    }
}

/// Nanoseconds of the units of time.
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a time in nanoseconds: seconds, or a number with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`).
///
/// # Errors
///
/// A sentence that says what is wrong.
///
/// # Examples
///
/// ```
/// assert_eq!(kscope_runtime::duration("2.5"), Ok(2_500_000_000));
/// assert_eq!(kscope_runtime::duration("500ms"), Ok(500_000_000));
/// assert!(kscope_runtime::duration("soon").is_err());
/// ```
pub fn duration(text: &str) -> Result<i64, String> {
    let bad = || format!("`{text}` is no time: 10, 2.5, 500ms, 2m, 1h");
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" => 1_000_000_000,
        unit => {
            let known = UNITS.iter().find(|(name, _)| *name == unit);
            known.map(|(_, nanoseconds)| *nanoseconds).ok_or_else(bad)?
        }
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() {
        return Err(bad());
    }
    let whole: u64 = match whole {
        "" => 0,
        whole => whole.parse().map_err(|_| bad())?,
    };
    let mut total = whole.checked_mul(unit).ok_or_else(bad)?;
    let mut weight = unit;
    for digit in part.bytes() {
        weight /= 10;
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10);
        let digit = u64::from(digit.ok_or_else(bad)?);
        total = total.checked_add(digit * weight).ok_or_else(bad)?;
    }
    i64::try_from(total).map_err(|_| bad())
}

/// Gives the id of the cgroup at a path.
pub(crate) fn cgroup_id(path: &str) -> Result<u64, Error> {
    let found = cgroup(path).map_err(|why| Error::NoCgroup { why })?;
    Ok(found as u64)
}

/// Gives the number of a block device as the kernel has it: the major one above 20 bits of the minor.
fn disk(name: &str) -> Result<i64, String> {
    if let Ok(number) = number(name) {
        return within(number, 1..=i64::from(u32::MAX), "disks are", name);
    }
    let class = Path::new("/sys/class/block");
    let is_name = !name.is_empty() && !name.contains('/') && !name.starts_with('.');
    let file = class.join(name).join("dev");
    let text = is_name
        .then(|| std::fs::read_to_string(file).ok())
        .flatten();
    let device = text.as_deref().and_then(|text| {
        let (major, minor) = text.trim().split_once(':')?;
        let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
        Some(i64::from(major) << 20 | i64::from(minor))
    });
    device.ok_or_else(|| {
        let entries = std::fs::read_dir(class).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let names: Vec<String> = names.collect();
        let missing = format!("there is no disk `{name}`");
        match near(name, names.iter().map(String::as_str)) {
            Some(near) => format!("{missing}: did you mean `{near}`?"),
            None => missing,
        }
    })
}

/// Gives the id of a cgroup, which is the inode number of its folder; paths may begin where
/// cgroups of version 2 are mounted.
fn cgroup(path: &str) -> Result<i64, String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = cgroup_mounts(&mounts);
    let relative = path.trim_start_matches('/');
    let below = mounts.iter().map(|mount| mount.join(relative));
    let mut found = Err(String::new());
    for candidate in below.chain([PathBuf::from(path)]) {
        match std::fs::metadata(&candidate) {
            Ok(metadata) => {
                found = Ok((candidate, metadata));
                break;
            }
            Err(error) => found = Err(format!("{path}: {error}")),
        }
    }
    let (folder, metadata) = found?;
    if !metadata.is_dir() {
        return Err(format!("{path} is no folder, as cgroups are"));
    }
    let mut roots = mounts
        .iter()
        .filter_map(|root| std::fs::metadata(root).ok());
    if !roots.any(|root| root.dev() == metadata.dev()) {
        let why = match mounts.first() {
            Some(root) => format!("cgroups are below {}", root.display()),
            None => "no filesystem cgroup2 is mounted".to_owned(),
        };
        return Err(format!("{} is no cgroup: {why}", folder.display()));
    }
    Ok(metadata.ino() as i64)
}

/// Gives where cgroups of version 2 are mounted (proc_pid_mountinfo(5)).
fn cgroup_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let is_cgroup = after.split(' ').next() == Some("cgroup2");
        let point = before.split(' ').nth(4).filter(|_| is_cgroup)?;
        let point = mount_path(point.as_bytes());
        Some(PathBuf::from(OsString::from_vec(point)))
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Reads a decimal, hexadecimal or octal number.
fn number(text: &str) -> Result<i64, String> {
    let bad = || format!("`{text}` is not a number");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let value = if let Some(hex) = digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        u64::from_str_radix(hex, 16)
            .map(|number| number as i64)
            .map_err(|_| bad())?
    } else if digits.len() > 1 && digits.starts_with('0') {
        i64::from_str_radix(digits, 8).map_err(|_| bad())?
    } else {
        digits.parse().map_err(|_| bad())?
    };
    Ok(if negative {
        value.wrapping_neg()
    } else {
        value
    })
}

#[cfg(test)]
mod tests {
    use super::{OptionMeaning, cgroup_mounts, choose, command, duration, number, value};

    #[test]
    fn numbers() {
        let check = |text, expected: Option<i64>| assert_eq!(number(text).ok(), expected, "{text}");
        check("0", Some(0));
        check("12", Some(12));
        check("-12", Some(-12));
        check("0x1f", Some(31));
        check("017", Some(15));
        check("", None);
        check("-", None);
        check("1x", None);
        check("99999999999999999999", None);
    }

    #[test]
    fn times() {
        let check = |text, expected: Option<i64>| {
            assert_eq!(duration(text).ok(), expected, "{text}");
        };
        check("10", Some(10_000_000_000));
        check("0", Some(0));
        check("2.5", Some(2_500_000_000));
        check(".5s", Some(500_000_000));
        check("500ms", Some(500_000_000));
        check("1.5 ms", Some(1_500_000));
        check("3us", Some(3_000));
        check("7ns", Some(7));
        check("0.0000000001", Some(0));
        check("2m", Some(120_000_000_000));
        check("1h", Some(3_600_000_000_000));
        check("", None);
        check(".", None);
        check("s", None);
        check("-1", None);
        check("1.2.3", None);
        check("1d", None);
        check("9999999999999", None);
        check("99999999999999999999", None);
    }

    #[test]
    fn names() {
        let check = |meaning, text: &str, expected| {
            assert_eq!(value(text, &meaning), Ok(expected), "{text}");
        };
        check(OptionMeaning::Errno, "ENOENT", 2);
        check(OptionMeaning::Errno, "enoent", 2);
        check(OptionMeaning::Errno, "-2", 2);
        check(OptionMeaning::Errno, "EWOULDBLOCK", 11);
        check(OptionMeaning::Errno, "ELOOP", 40);
        check(OptionMeaning::OpenFlags, "O_CREAT|O_TRUNC", 0o1100);
        check(OptionMeaning::OpenFlags, "creat | 0x1", 0o101);
        check(OptionMeaning::OpenFlags, "0", 0);
        check(OptionMeaning::OpenFlags, "FASYNC", 0o20000);
        check(OptionMeaning::OpenFlags, "sync", 0o4_010_000);
        // Processors number these otherwise than others.
        let directory = super::constant_value("O_DIRECTORY").expect("a flag");
        check(OptionMeaning::OpenFlags, "O_DIRECTORY", directory);
        check(OptionMeaning::User, "0", 0);
        check(OptionMeaning::User, "root", 0);
        check(OptionMeaning::User, "4294967294", 4_294_967_294);
        check(OptionMeaning::Errno, "4095", 4095);
        let own = std::process::id();
        let own_text = own.to_string();
        check(OptionMeaning::Process, &own_text, i64::from(own));
        check(OptionMeaning::Count, "7", 7);
        check(OptionMeaning::Disk, "0x800010", 0x80_0010);
        check(OptionMeaning::Cgroup, "3", 3);
        check(OptionMeaning::Signal, "KILL", 9);
        check(OptionMeaning::Signal, "sigusr1", 10);
        check(OptionMeaning::Signal, "64", 64);
        check(OptionMeaning::Capability, "CAP_KILL", 5);
        check(OptionMeaning::Capability, "bpf", 39);
        check(OptionMeaning::Capability, "0", 0);
        check(PORT, "65535", 65535);
    }

    const PORT: OptionMeaning = OptionMeaning::Range {
        least: 1,
        most: 65535,
    };

    #[test]
    fn commands_have_short_names() {
        assert_eq!(command("fifteen_letters"), Ok(()));
        let why = command("sixteen__letters").expect_err("too long");
        assert!(why.contains("16 bytes"), "{why}");
    }

    #[test]
    fn cgroups_are_where_they_are_mounted() {
        let text = "25 24 0:23 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                    26 24 0:24 / /sys/fs/cgroup/unified rw shared:1 - cgroup2 cgroup2 rw\n\
                    27 24 0:24 / /mnt/my\\040groups rw shared:1 - cgroup2 cgroup2 rw\n\
                    odd line\n";
        let found = cgroup_mounts(text);
        let expected = ["/sys/fs/cgroup/unified", "/mnt/my groups"];
        assert_eq!(found, expected.map(std::path::PathBuf::from));
    }

    #[test]
    fn mistakes_are_named() {
        let check = |meaning, text, part: &str| {
            let why = value(text, &meaning).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
        };
        check(
            PORT,
            "99999999",
            "99999999 is out of range: it is 1 to 65535",
        );
        check(PORT, "0", "out of range");
        check(PORT, "http", "not a number");
        check(OptionMeaning::Signal, "KIL", "did you mean SIGKILL?");
        check(OptionMeaning::Signal, "sigtrem", "did you mean SIGTERM?");
        check(
            OptionMeaning::Signal,
            "FOO",
            "no signal `FOO`: they are ABRT, ALRM, ",
        );
        check(OptionMeaning::Signal, "65", "1 to 64");
        check(OptionMeaning::Signal, "SIG_BLOCK", "there is no signal");
        check(
            OptionMeaning::Capability,
            "CAP_KIL",
            "did you mean CAP_KILL?",
        );
        check(OptionMeaning::Errno, "ENOENTT", "did you mean ENOENT?");
        check(OptionMeaning::Errno, "zzzzzzzz", "no error `zzzzzzzz`");
        check(OptionMeaning::OpenFlags, "O_CRAET", "did you mean O_CREAT?");
        check(OptionMeaning::OpenFlags, "O_CREAT|", "no flag ``");
        check(OptionMeaning::OpenFlags, "O_ACCMODE", "no flag `O_ACCMODE`");
        check(OptionMeaning::OpenFlags, "PROT_EXEC", "no flag `PROT_EXEC`");
        check(OptionMeaning::User, "no such user", "no user");
        check(OptionMeaning::Count, "-1", "negative");
        check(OptionMeaning::Disk, "../no", "there is no disk `../no`");
        check(OptionMeaning::Disk, "0", "out of range");
        check(OptionMeaning::Cgroup, "/no/such/cgroup", "No such file");
        check(OptionMeaning::Cgroup, "/proc", "/proc is no cgroup: ");
        check(OptionMeaning::Cgroup, "/proc/mounts", "is no folder");
        check(OptionMeaning::Cgroup, "0", "out of range");
        check(OptionMeaning::User, "-1", "users are 0 to 4294967294");
        check(OptionMeaning::User, "4294967295", "out of range");
        check(OptionMeaning::Errno, "0", "0 is no errno");
        check(OptionMeaning::Errno, "4096", "errors are 1 to 4095");
        check(OptionMeaning::OpenFlags, "-1", "out of range");
        check(OptionMeaning::Process, "0", "processes are 1 to 4194304");
        check(OptionMeaning::Process, "99999999", "out of range");
        check(OptionMeaning::Process, "4194304", "there is no process");
        check(OptionMeaning::Plain, "x", "not a number");
        let choices = ["tracepoint".to_owned(), "kprobe".to_owned()];
        assert_eq!(choose("kprobe", &choices), Ok(()));
        let why = choose("kprobes", &choices).expect_err("no choice");
        assert!(why.contains("did you mean kprobe?"), "{why}");
        let why = choose("x", &choices).expect_err("no choice");
        assert!(why.contains("tracepoint, kprobe"), "{why}");
    }
}
