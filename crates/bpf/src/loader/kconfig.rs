//! The kernel's build options, and how an object's `.kconfig` variables are written.

use std::path::Path;

use kscope_spec::ConfigType;
use kscope_sys::Kernel;

use crate::named::Named;
use crate::search::around;

/// Larger than any kernel's configuration.
#[cfg(feature = "gzip")]
const LARGEST: usize = 4 << 20;

/// The build options of a kernel, as its configuration file has them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KernelConfig {
    values: Named<String>,
}

impl KernelConfig {
    /// Reads the running kernel's: `/proc/config.gz`, else the file of its release in `/boot`.
    pub(crate) fn open(kernel: &dyn Kernel, wanted: &[&str]) -> Option<KernelConfig> {
        let packed = kernel.read_file(Path::new("/proc/config.gz")).ok();
        let text = packed.and_then(|bytes| gunzip(&bytes)).or_else(|| {
            let path = format!("/boot/config-{}", release(kernel)?);
            kernel.read_file(Path::new(&path)).ok()
        })?;
        Some(KernelConfig::parse(&text, wanted))
    }

    /// Takes the wanted options out of a configuration file.
    pub(crate) fn parse(text: &[u8], wanted: &[&str]) -> KernelConfig {
        let mut values = Named::default();
        for line in text.split(|&byte| byte == b'\n') {
            if !line.starts_with(b"CONFIG_") {
                continue;
            }
            let Some((name, value)) = std::str::from_utf8(line)
                .ok()
                .and_then(|line| line.split_once('='))
            else {
                continue;
            };
            if wanted.contains(&name) {
                values.insert(name.to_owned(), value.trim_end().to_owned());
            }
        }
        KernelConfig { values }
    }

    /// Gives an option as it is written in the file.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

/// Gives a build option as the bytes of a variable of this type and size, out of a configuration
/// file as the kernel has it (`/proc/config.gz`) or a distribution (`/boot/config-…`); none where
/// the file does not set it.
///
/// # Errors
/// Why its value is none of that type.
pub fn build_option(
    file: &[u8],
    name: &str,
    config: ConfigType,
    size: u32,
) -> Result<Option<Vec<u8>>, String> {
    let unpacked = gunzip(file);
    let text = unpacked.as_deref().unwrap_or(file);
    let found = KernelConfig::parse(text, &[name]);
    found
        .get(name)
        .map(|text| option(text, config, size))
        .transpose()
}

/// Gives the running kernel's release, for example `6.1.0-18-amd64`.
fn release(kernel: &dyn Kernel) -> Option<String> {
    let bytes = kernel
        .read_file(Path::new("/proc/sys/kernel/osrelease"))
        .ok()?;
    let text = String::from_utf8(bytes).ok()?.trim().to_owned();
    (!text.is_empty() && !text.contains('/')).then_some(text)
}

/// Gives `LINUX_VERSION_CODE`, as `KERNEL_VERSION(a, b, c)` of the release; Debian and Ubuntu keep
/// the stable release's number elsewhere, since theirs ends in 0.
pub(crate) fn version_code(kernel: &dyn Kernel) -> Option<u32> {
    let file = |path: &str| {
        let bytes = kernel.read_file(Path::new(path)).ok()?;
        String::from_utf8(bytes).ok()
    };
    // "Ubuntu 5.15.0-91.101-generic 5.15.131"
    let ubuntu = || {
        let text = file("/proc/version_signature")?;
        version(text.split_whitespace().last()?)
    };
    // "#1 SMP PREEMPT_DYNAMIC Debian 6.1.76-1 (2024-02-01)"
    let debian = || {
        let text = file("/proc/sys/kernel/version")?;
        version(around(&text, "Debian ")?.1)
    };
    ubuntu()
        .or_else(debian)
        .or_else(|| version(&release(kernel)?))
}

/// Reads `6.1.76-1` as `KERNEL_VERSION(6, 1, 76)`.
fn version(text: &str) -> Option<u32> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let mut parts = text.get(..end)?.split('.');
    let major: u32 = parts.next()?.parse().ok()?;
    let minor: u32 = parts.next()?.parse().ok()?;
    let patch: u32 = parts.next().map_or(Some(0), |part| part.parse().ok())?;
    let fits = major < 1 << 16 && minor < 256;
    fits.then(|| (major << 16) | (minor << 8) | patch.min(255))
}

/// Unpacks nothing, as this build was made without the feature `gzip`.
#[cfg(not(feature = "gzip"))]
fn gunzip(_: &[u8]) -> Option<Vec<u8>> {
    None
}

/// Gives the bytes of a gzip file; none where it is none, or absurdly large.
#[cfg(feature = "gzip")]
fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const CHECKSUM: u8 = 2;
    let (header, mut rest) = bytes.split_at_checked(10)?;
    if !header.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    let flags = *header.get(3)?;
    if flags & EXTRA != 0 {
        let (length, after) = rest.split_first_chunk::<2>()?;
        rest = after.get(usize::from(u16::from_le_bytes(*length))..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = rest.iter().position(|&byte| byte == 0)?;
            rest = rest.get(end + 1..)?;
        }
    }
    if flags & CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    miniz_oxide::inflate::decompress_to_vec_with_limit(rest, LARGEST).ok()
}

/// Gives a fact that is no build option as a variable's bytes; none where it does not fit.
pub(crate) fn fact(value: u64, config: ConfigType, size: u32) -> Result<Vec<u8>, String> {
    match config {
        ConfigType::Bool if value > 1 => Err(format!("{value} is no bool")),
        ConfigType::Bool | ConfigType::Integer { .. } => sized(value, size),
        ConfigType::Tristate | ConfigType::Text => Err("it is a number".to_owned()),
    }
}

/// Gives a build option as a variable's bytes, or why it cannot be one.
pub(crate) fn option(text: &str, config: ConfigType, size: u32) -> Result<Vec<u8>, String> {
    let no = |what: &str| Err(format!("its value {text} is {what}"));
    let tristate = match text {
        "n" => Some(0),
        "y" => Some(1),
        "m" => Some(2),
        _ => None,
    };
    match (config, tristate) {
        (ConfigType::Bool, Some(value @ (0 | 1))) => sized(value, size),
        (ConfigType::Bool, _) => no("no bool"),
        (ConfigType::Tristate, Some(value)) => sized(value, size),
        (ConfigType::Tristate, None) => no("not y, m or n"),
        (
            ConfigType::Integer {
                character: true, ..
            },
            Some(_),
        ) => Ok(text.as_bytes().to_vec()),
        (ConfigType::Integer { .. }, Some(_)) => no("no number"),
        (ConfigType::Integer { signed, .. }, None) => match number(text) {
            Some(value) if fits(value, signed, size) => sized(value as u128 as u64, size),
            Some(_) => no(&format!("too large for {size} bytes")),
            None => no("no number"),
        },
        (ConfigType::Text, _) => {
            let inner = text
                .strip_prefix('"')
                .and_then(|rest| rest.strip_suffix('"'));
            let Some(inner) = inner else {
                return no("no text");
            };
            let mut bytes = inner.as_bytes().to_vec();
            bytes.truncate((size as usize).saturating_sub(1));
            bytes.resize(size as usize, 0);
            Ok(bytes)
        }
    }
}

fn number(text: &str) -> Option<i128> {
    let (minus, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let hex = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let value = match hex {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None if digits.len() > 1 && digits.starts_with('0') => {
            u64::from_str_radix(digits, 8).ok()?
        }
        None => digits.parse().ok()?,
    };
    Some(if minus {
        -i128::from(value)
    } else {
        value.into()
    })
}

fn fits(value: i128, signed: bool, size: u32) -> bool {
    let bits = size.clamp(1, 8) * 8;
    if signed {
        let half = 1i128 << (bits - 1);
        (-half..half).contains(&value)
    } else {
        (0..1i128 << bits).contains(&value)
    }
}

/// The lowest bytes of a number, in the machine's order.
fn sized(value: u64, size: u32) -> Result<Vec<u8>, String> {
    Ok(match size {
        1 => (value as u8).to_ne_bytes().to_vec(),
        2 => (value as u16).to_ne_bytes().to_vec(),
        4 => (value as u32).to_ne_bytes().to_vec(),
        8 => value.to_ne_bytes().to_vec(),
        size => return Err(format!("a variable of {size} bytes is no number")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT: ConfigType = ConfigType::Integer {
        signed: true,
        character: false,
    };
    const UNSIGNED: ConfigType = ConfigType::Integer {
        signed: false,
        character: false,
    };
    const CHAR: ConfigType = ConfigType::Integer {
        signed: true,
        character: true,
    };

    #[test]
    fn options_become_bytes() {
        let check = |text: &str, config, size, expected: &[u8]| {
            assert_eq!(option(text, config, size), Ok(expected.to_vec()), "{text}");
        };
        check("y", ConfigType::Bool, 1, &[1]);
        check("n", ConfigType::Bool, 1, &[0]);
        check("m", ConfigType::Tristate, 4, &2u32.to_ne_bytes());
        check("m", CHAR, 1, b"m");
        check("42", CHAR, 1, &[42]);
        check("1000", INT, 4, &1000i32.to_ne_bytes());
        check("-1", INT, 2, &[0xff, 0xff]);
        check("0x10", UNSIGNED, 8, &16u64.to_ne_bytes());
        check("010", UNSIGNED, 1, &[8]);
        check("0xffffffffffffffff", UNSIGNED, 8, &[0xff; 8]);
        check("\"gcc 15\"", ConfigType::Text, 8, b"gcc 15\0\0");
        check("\"gcc 15\"", ConfigType::Text, 4, b"gcc\0");
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let check = |text: &str, config, size, expected: &str| {
            assert_eq!(option(text, config, size), Err(expected.to_owned()));
        };
        check("m", ConfigType::Bool, 1, "its value m is no bool");
        check("7", ConfigType::Tristate, 4, "its value 7 is not y, m or n");
        check("y", INT, 4, "its value y is no number");
        check("\"x\"", INT, 4, "its value \"x\" is no number");
        check("300", UNSIGNED, 1, "its value 300 is too large for 1 bytes");
        check("-1", UNSIGNED, 4, "its value -1 is too large for 4 bytes");
        check("y", ConfigType::Text, 4, "its value y is no text");
        assert!(fact(7, ConfigType::Bool, 1).is_err());
        assert_eq!(fact(7, UNSIGNED, 4), Ok(7u32.to_ne_bytes().to_vec()));
    }

    #[test]
    fn only_wanted_options_are_kept() {
        let text = b"# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=\"a=b\"\nCONFIG_D=1\n\xff\n";
        let config = KernelConfig::parse(text, &["CONFIG_A", "CONFIG_C", "CONFIG_D"]);
        assert_eq!(config.get("CONFIG_A"), None);
        assert_eq!(config.get("CONFIG_B"), None);
        assert_eq!(config.get("CONFIG_C"), Some("\"a=b\""));
        assert_eq!(config.get("CONFIG_D"), Some("1"));
    }

    #[test]
    #[cfg(feature = "gzip")]
    fn packed_files_are_unpacked() {
        // A stored block of "CONFIG_X=y\n", with a file name.
        let mut bytes = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
        bytes.extend(b"name\0");
        bytes.extend([1, 11, 0, 0xf4, 0xff]);
        bytes.extend(b"CONFIG_X=y\n");
        assert_eq!(gunzip(&bytes).as_deref(), Some(&b"CONFIG_X=y\n"[..]));
        for cut in 0..bytes.len() {
            assert_eq!(gunzip(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn releases_become_version_codes() {
        let check = |text, expected| assert_eq!(version(text), expected, "{text}");
        check("6.1.76-1 (2024-02-01)", Some(0x06_01_4c));
        check("6.18.44-fc", Some(0x06_12_2c));
        check("5.10", Some(0x05_0a_00));
        check("4.19.325", Some(0x04_13_ff));
        check("next", None);
        check("6.x", None);
    }
}
