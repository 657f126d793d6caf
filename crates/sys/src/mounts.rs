//! How the kernel writes paths in its lists of mounts.

/// Gives a path as it is, of a field of `/proc/self/mounts` or `/proc/self/mountinfo`, in which a blank,
/// a tab, a line's end and a backslash are a backslash and three octal digits (proc_pid_mounts(5)).
#[must_use]
pub fn mount_path(field: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let code = match byte {
            b'\\' => after.first_chunk::<3>().and_then(octal),
            _ => None,
        };
        path.push(code.unwrap_or(byte));
        let taken = if code.is_some() { 3 } else { 0 };
        rest = after.get(taken..).unwrap_or_default();
    }
    path
}

fn octal(digits: &[u8; 3]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_digit());
    plain.then(|| u8::from_str_radix(digits, 8).ok())?
}

#[cfg(test)]
mod tests {
    use super::mount_path;

    #[test]
    fn blanks_are_written_in_octal() {
        let check = |field: &[u8], expected: &[u8]| assert_eq!(mount_path(field), expected);
        check(b"/sys/fs/bpf", b"/sys/fs/bpf");
        check(b"/a\\040b\\011c\\012d\\134", b"/a b\tc\nd\\");
        check(b"/\\134040", b"/\\040");
        check(b"/caf\xc3\xa9\\040", b"/caf\xc3\xa9 ");
        check(b"/a\\", b"/a\\");
        check(b"/a\\04", b"/a\\04");
        check(b"/a\\+40\\999", b"/a\\+40\\999");
        check(b"", b"");
    }
}
