//! The libraries that a program needs, out of its ELF file: what `ldd` says, without running it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::root::Root;

/// The most bytes of a program or library.
const LARGEST: u64 = 256 << 20;
/// The most libraries of a program.
const MOST: usize = 512;

/// What an ELF file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The program that loads it; none for a static one.
    pub interpreter: Option<String>,
    /// Libraries by name.
    pub libraries: Vec<String>,
    /// Folders to look in first.
    pub folders: Vec<String>,
}

/// Reads what a 64-bit little-endian ELF file asks for.
///
/// # Errors
/// Where it is no such file, or ends early.
pub fn needs(bytes: &[u8]) -> Result<Needs, &'static str> {
    const LOAD: u32 = 1;
    const DYNAMIC: u32 = 2;
    const INTERPRETER: u32 = 3;
    if bytes.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("no 64-bit ELF file of this byte order");
    }
    let short = "the ELF file ends early";
    let u16_at = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let (table, size) = (u64_at(32).ok_or(short)?, u16_at(54).ok_or(short)?);
    let mut segments = Vec::new();
    for index in 0..u64::from(u16_at(56).ok_or(short)?) {
        let at = table.saturating_add(index * u64::from(size)) as usize;
        let number = |offset: usize| u64_at(at.saturating_add(offset)).ok_or(short);
        let kind = u32_at(at).ok_or(short)?;
        segments.push((kind, number(8)?, number(16)?, number(32)?));
    }
    let part = |offset: u64, length: u64| {
        let end = offset.checked_add(length)?;
        bytes.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
    };
    let text = |bytes: &[u8]| {
        let end = bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    };
    let offset_of = |address: u64| {
        let holds = |&&(kind, _, start, length): &&(u32, u64, u64, u64)| {
            kind == LOAD && address >= start && address - start < length
        };
        let (_, offset, start, _) = segments.iter().find(holds)?;
        offset.checked_add(address - start)
    };
    let mut needs = Needs::default();
    let of_kind = |wanted: u32| segments.iter().find(|(kind, ..)| *kind == wanted);
    if let Some((_, offset, _, length)) = of_kind(INTERPRETER) {
        needs.interpreter = Some(text(part(*offset, *length).ok_or(short)?));
    }
    let Some((_, offset, _, length)) = of_kind(DYNAMIC) else {
        return Ok(needs);
    };
    let entries = part(*offset, *length).ok_or(short)?.chunks_exact(16);
    let entries = entries.filter_map(|entry| {
        let number = |at: usize| Some(u64::from_le_bytes(*entry.get(at..)?.first_chunk()?));
        Some((number(0)?, number(8)?))
    });
    // DT_NULL 0, DT_NEEDED 1, DT_STRTAB 5, DT_RPATH 15, DT_RUNPATH 29.
    let entries: Vec<(u64, u64)> = entries.take_while(|(tag, _)| *tag != 0).collect();
    let strings = entries.iter().find(|(tag, _)| *tag == 5);
    let strings = strings.and_then(|(_, address)| offset_of(*address));
    let string = |at: u64| {
        let start = strings?.checked_add(at)?;
        bytes.get(usize::try_from(start).ok()?..).map(text)
    };
    for (tag, value) in &entries {
        match tag {
            1 => needs.libraries.push(string(*value).ok_or(short)?),
            15 | 29 => {
                let folders = string(*value).ok_or(short)?;
                needs.folders.extend(folders.split(':').map(str::to_owned));
            }
            _ => {}
        }
    }
    Ok(needs)
}

/// Gives a program's files: itself, its loader and all libraries, as they are named where they are.
///
/// # Errors
/// Where a library is not there.
pub(crate) fn files_of(root: &Root, program: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut todo = vec![program.to_path_buf()];
    let known = known_folders(root);
    while let Some(path) = todo.pop() {
        if !seen.insert(path.clone()) || seen.len() > MOST {
            continue;
        }
        let bytes = root
            .bytes(&path, LARGEST)
            .map_err(Error::file("read", &path))?;
        let needs = needs(&bytes)
            .map_err(|what| Error::malformed(format!("{}: {what}", path.display())))?;
        todo.extend(needs.interpreter.map(PathBuf::from));
        let origin = path
            .parent()
            .unwrap_or(Path::new("/"))
            .display()
            .to_string();
        let own = needs
            .folders
            .iter()
            .map(|folder| PathBuf::from(folder.replace("$ORIGIN", &origin)));
        let folders: Vec<PathBuf> = own.chain(known.iter().cloned()).collect();
        for library in needs.libraries {
            let mut places = folders.iter().map(|folder| folder.join(&library));
            let place = places.find(|place| root.exists(place));
            todo.push(place.ok_or_else(|| {
                Error::missing(
                    format!("{} needs {library}, which is not there", path.display()),
                    "install the package that brings it; `ldd` shows what else is missing",
                )
            })?);
        }
        files.push((path, bytes));
    }
    Ok(files)
}

/// Gives the folders that the loader looks in, those of /etc/ld.so.conf first.
fn known_folders(root: &Root) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    let mut read = |text: String| {
        let lines = text.lines().map(str::trim);
        folders.extend(
            lines
                .filter(|line| line.starts_with('/'))
                .map(PathBuf::from),
        );
    };
    read(root.text("/etc/ld.so.conf").unwrap_or_default());
    for name in root.names("/etc/ld.so.conf.d") {
        read(
            root.text(Path::new("/etc/ld.so.conf.d").join(name))
                .unwrap_or_default(),
        );
    }
    let usual = [
        "/lib/x86_64-linux-gnu",
        "/usr/lib/x86_64-linux-gnu",
        "/lib/aarch64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/lib64",
        "/usr/lib64",
        "/lib",
        "/usr/lib",
    ];
    folders.extend(usual.iter().map(PathBuf::from));
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ldd_says_of_a_program() {
        let root = Root::default();
        let program = Path::new("/bin/sh");
        let Ok(files) = files_of(&root, program) else {
            panic!("no files of {}", program.display());
        };
        let names: Vec<String> = files
            .iter()
            .map(|(path, _)| {
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        let said = std::process::Command::new("ldd").arg(program).output();
        let Ok(said) = said else {
            println!("SKIP: what_ldd_says_of_a_program: ldd is not installed");
            return;
        };
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        for line in said.lines().filter(|line| line.contains('/')) {
            let library = line.split_whitespace().next().unwrap_or_default();
            let library = library.rsplit('/').next().unwrap_or_default();
            assert!(
                names.iter().any(|name| name == library),
                "{library}: {names:?}"
            );
        }
    }

    #[test]
    fn any_bytes_are_read() {
        let own = std::fs::read("/proc/self/exe").expect("this program");
        assert!(needs(&own).is_ok());
        let start = &own[..4096.min(own.len())];
        for cut in 0..start.len() {
            let _ = needs(&start[..cut]);
        }
        for at in 0..start.len() {
            let mut bytes = start.to_vec();
            bytes[at] ^= 0xff;
            let _ = needs(&bytes);
        }
        assert!(needs(b"#!/bin/sh").is_err());
    }
}
