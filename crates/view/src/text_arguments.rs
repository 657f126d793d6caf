//! The arguments of a program as a command line.

use crate::text_value::write_display;

/// Writes arguments with blanks between them, on one line and such that a shell reads the same
/// ones: what is not plain stands in quotes, control characters and bytes that are no text in
/// `$'…'`.
pub(crate) fn write_arguments(out: &mut Vec<u8>, parts: &[Vec<u8>]) {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        match std::str::from_utf8(part) {
            Ok(text) if !text.is_empty() && text.chars().all(is_plain) => {
                out.extend_from_slice(part);
            }
            Ok(text) if !text.chars().any(|c| c.is_control() || c == '\'') => {
                out.push(b'\'');
                out.extend_from_slice(part);
                out.push(b'\'');
            }
            Ok(text)
                if !text
                    .chars()
                    .any(|c| c.is_control() || "\"$`\\!".contains(c)) =>
            {
                out.push(b'"');
                out.extend_from_slice(part);
                out.push(b'"');
            }
            _ => write_escaped(out, part),
        }
    }
}

/// Says whether no shell takes the character for anything but itself.
fn is_plain(c: char) -> bool {
    match c {
        '%' | '+' | ',' | '-' | '.' | '/' | ':' | '=' | '@' | '_' => true,
        c if c.is_ascii() => c.is_ascii_alphanumeric(),
        c => c.is_alphanumeric(),
    }
}

fn write_escaped(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(b"$'");
    for chunk in part.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => out.extend_from_slice(b"\\n"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\'' | '\\' => write_display(out, &format_args!("\\{c}")),
                c if c.is_control() => {
                    let mut bytes = [0; 4];
                    write_octal(out, c.encode_utf8(&mut bytes).as_bytes());
                }
                c => write_display(out, &c),
            }
        }
        write_octal(out, chunk.invalid());
    }
    out.push(b'\'');
}

/// Writes bytes by three octal digits each, so that digits that follow are not taken for theirs.
fn write_octal(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        write_display(out, &format_args!("\\{byte:03o}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parts: &[&[u8]], expected: &str) {
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let mut out = Vec::new();
        write_arguments(&mut out, &parts);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn arguments_are_a_command_line() {
        check(&[], "");
        check(&[b"/bin/true"], "/bin/true");
        check(&[b"sh", b"-c", b"exit 0"], "sh -c 'exit 0'");
        check(&[b"a", b"", b"b"], "a '' b");
        check(&[b"grep", b"--color=auto", b"^#"], "grep --color=auto '^#'");
        check(&[b"find", b".", b"*.rs"], "find . '*.rs'");
        check(&["größer".as_bytes(), "日本".as_bytes()], "größer 日本");
        check(&["no\u{a0}break".as_bytes()], "'no\u{a0}break'");
        check(&[b"it's", b"it's $5"], "\"it's\" $'it\\'s $5'");
        check(&[b"back\\slash"], "'back\\slash'");
        check(&[b"two\nlines\t\\ \r"], "$'two\\nlines\\t\\\\ \\r'");
        check(&[b"\x1b[31m", b"\xff1"], "$'\\033[31m' $'\\3771'");
    }
}
