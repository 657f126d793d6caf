//! What a release binary must be: static and small.

use std::path::Path;

use crate::arguments::Arguments;

/// 8 MB, the most the stripped binary may have.
const LIMIT: u64 = 8 << 20;

/// Fails unless the named file is static and at most 8 MB.
pub(crate) fn run(arguments: Arguments) -> Result<bool, String> {
    let (files, _) = arguments.finish()?;
    let [file] = files.as_slice() else {
        return Err("check-release needs one file".to_string());
    };
    match release(Path::new(file)) {
        Ok(size) => {
            println!("{file}: static, {:.2} MB", size as f64 / f64::from(1 << 20));
            Ok(true)
        }
        Err(why) => {
            eprintln!("{file}: {why}");
            Ok(false)
        }
    }
}

/// Whether a file is an ELF program that needs no dynamic loader.
pub(crate) fn is_static(file: &Path) -> bool {
    std::fs::read(file).is_ok_and(|bytes| has_interpreter(&bytes) == Some(false))
}

/// Gives the size in bytes of a file that is static and small enough.
pub(crate) fn release(file: &Path) -> Result<u64, String> {
    let bytes = std::fs::read(file).map_err(|error| error.to_string())?;
    if has_interpreter(&bytes).ok_or("not a 64-bit little-endian ELF file")? {
        return Err(
            "needs a dynamic loader; it was not built with -C target-feature=+crt-static"
                .to_string(),
        );
    }
    let size = bytes.len() as u64;
    if size > LIMIT {
        Err(format!("{size} bytes, more than the {LIMIT} allowed"))
    } else {
        Ok(size)
    }
}

/// Whether the ELF file has a program header PT_INTERP; `None` when it is no such file.
fn has_interpreter(bytes: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let at = |offset: usize, size: usize| bytes.get(offset..offset.checked_add(size)?);
    let headers = usize::try_from(u64::from_le_bytes(at(32, 8)?.try_into().ok()?)).ok()?;
    let size = usize::from(u16::from_le_bytes(at(54, 2)?.try_into().ok()?));
    let count = usize::from(u16::from_le_bytes(at(56, 2)?.try_into().ok()?));
    for index in 0..count {
        let kind = at(headers.checked_add(index.checked_mul(size)?)?, 4)?;
        if u32::from_le_bytes(kind.try_into().ok()?) == PT_INTERP {
            return Some(true);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::has_interpreter;

    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        bytes[32] = 64;
        bytes[54] = 56;
        bytes[56] = kinds.len() as u8;
        for kind in kinds {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 52]);
        }
        bytes
    }

    #[test]
    fn interpreters_are_seen() {
        assert_eq!(has_interpreter(&elf(&[1, 1])), Some(false));
        assert_eq!(has_interpreter(&elf(&[1, 3])), Some(true));
        assert_eq!(has_interpreter(b"#!/bin/sh"), None);
        assert_eq!(has_interpreter(&elf(&[1, 1])[..100]), None);
    }
}
