//! `/etc/ld.so.cache`: where the dynamic linker finds libraries.

/// Begin of the format that the C library has written since 1999; before it may stand an older one.
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Begin of the older format.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0\0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
/// Magic, number of entries, bytes of strings, flags, offset of extensions, three unused words.
const HEADER: usize = 48;
/// Flags, name, path, version, capabilities.
const ENTRY: usize = 24;

/// `FLAG_ELF_LIBC6` and the flag of what this program is built for (sysdeps/generic/ldconfig.h).
#[cfg(target_arch = "x86_64")]
const OWN_FLAGS: i32 = 0x0303;
#[cfg(target_arch = "aarch64")]
const OWN_FLAGS: i32 = 0x0a03;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OWN_FLAGS: i32 = 0x0003;

/// Gives names and paths of the libraries for this machine, in the order of the file. Bytes that are
/// no such file give none.
pub(super) fn libraries(bytes: &[u8]) -> Vec<(String, String)> {
    let Some(cache) = current(bytes) else {
        return Vec::new();
    };
    let Some(count) = word(cache, MAGIC.len()) else {
        return Vec::new();
    };
    let entries = cache.get(HEADER..).unwrap_or_default();
    let entries = entries.chunks_exact(ENTRY).take(count as usize);
    let library = |entry: &[u8]| {
        let flags = word(entry, 0)? as i32;
        let text = |at: usize| text(cache, word(entry, at)? as usize);
        (flags & 0xffff == OWN_FLAGS).then_some(())?;
        Some((text(4)?, text(8)?))
    };
    entries.filter_map(library).collect()
}

/// Finds the part of the file in the newer format; its offsets count from there.
fn current(bytes: &[u8]) -> Option<&[u8]> {
    if bytes.starts_with(MAGIC) {
        return Some(bytes);
    }
    if !bytes.starts_with(OLD_MAGIC) {
        return None;
    }
    let count = word(bytes, 12)? as usize;
    let end = OLD_HEADER.checked_add(count.checked_mul(OLD_ENTRY)?)?;
    let rest = bytes.get(end.checked_next_multiple_of(8)?..)?;
    rest.starts_with(MAGIC).then_some(rest)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_ne_bytes(*word))
}

fn text(bytes: &[u8], at: usize) -> Option<String> {
    let rest = bytes.get(at..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    String::from_utf8(rest.get(..end)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, &str, &str)]) -> Vec<u8> {
        let mut strings = Vec::new();
        let mut table = Vec::new();
        let base = HEADER + entries.len() * ENTRY;
        for (flags, name, path) in entries {
            table.extend(flags.to_ne_bytes());
            for text in [name, path] {
                table.extend(((base + strings.len()) as u32).to_ne_bytes());
                strings.extend(text.as_bytes());
                strings.push(0);
            }
            table.extend([0; 12]);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend((entries.len() as u32).to_ne_bytes());
        bytes.extend((strings.len() as u32).to_ne_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend(table);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn libraries_of_this_machine_are_found() {
        let own = OWN_FLAGS;
        let bytes = cache(&[
            (own, "libssl.so.3", "/lib/a/libssl.so.3"),
            (0x0003, "libssl.so.3", "/lib32/libssl.so.3"),
            (own, "libc.so.6", "/lib/a/libc.so.6"),
        ]);
        let expected = [
            ("libssl.so.3", "/lib/a/libssl.so.3"),
            ("libc.so.6", "/lib/a/libc.so.6"),
        ];
        let expected = expected.map(|(name, path)| (name.to_owned(), path.to_owned()));
        assert_eq!(libraries(&bytes), expected);
        let mut old = OLD_MAGIC.to_vec();
        old.extend(1u32.to_ne_bytes());
        old.resize(OLD_HEADER + OLD_ENTRY, 7);
        old.resize(old.len().next_multiple_of(8), 0);
        old.extend(&bytes);
        assert_eq!(libraries(&old), expected);
    }

    #[test]
    fn foreign_bytes_give_none_or_some() {
        let bytes = cache(&[(OWN_FLAGS, "libc.so.6", "/lib/libc.so.6")]);
        for cut in 0..bytes.len() {
            assert!(libraries(&bytes[..cut]).is_empty(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            libraries(&changed);
        }
        assert!(libraries(b"").is_empty());
    }

    #[test]
    fn this_machine_has_a_c_library() {
        let Ok(bytes) = std::fs::read("/etc/ld.so.cache") else {
            return;
        };
        let found = libraries(&bytes);
        let libc = found.iter().find(|(name, _)| name.starts_with("libc.so"));
        assert!(libc.is_some_and(|(_, path)| std::path::Path::new(path).exists()));
    }
}
