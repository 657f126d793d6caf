//! The modules of a kernel: which files, in which order, as depmod(8) wrote it down.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::root::Root;

/// The most bytes of a module that are unpacked.
const LARGEST: u64 = 256 << 20;

/// What depmod says of the modules of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Modules {
    folder: PathBuf,
    /// Files by name, below the folder, with the names they depend on, nearest first.
    files: BTreeMap<String, (String, Vec<String>)>,
    builtin: BTreeSet<String>,
    /// What a module asks for that is no symbol of it, before and after.
    soft: BTreeMap<String, (Vec<String>, Vec<String>)>,
    /// Names without patterns that stand for modules.
    aliases: BTreeMap<String, Vec<String>>,
    /// Patterns of what devices say they are, and modules that drive them.
    patterns: Vec<(String, String)>,
}

/// A module as it goes into an initial file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// Its file, as seen from the root.
    pub path: PathBuf,
    /// Whether what needs it can do without it.
    pub optional: bool,
}

/// Gives the name that the kernel has for a module's file or name.
fn canonical(name: &str) -> String {
    let file = name.rsplit('/').next().unwrap_or(name);
    let stem = file.split(".ko").next().unwrap_or(file);
    stem.replace('-', "_")
}

impl Modules {
    /// Reads what depmod wrote for a release.
    ///
    /// # Errors
    /// Where there is no `modules.dep`.
    pub fn load(root: &Root, release: &str) -> Result<Modules, Error> {
        let folder = Path::new("/lib/modules").join(release);
        let text = |name: &str| root.text(folder.join(name)).unwrap_or_default();
        let dep = root.text(folder.join("modules.dep")).map_err(|why| {
            Error::missing(
                format!("{}: {why}", folder.join("modules.dep").display()),
                format!("install the modules of that kernel, or run `depmod {release}`"),
            )
        })?;
        let mut modules = Modules {
            builtin: text("modules.builtin").lines().map(canonical).collect(),
            ..Modules::default()
        };
        for (file, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            let needs = needs.split_whitespace().map(canonical).collect();
            let entry = (file.to_owned(), needs);
            modules.files.insert(canonical(file), entry);
        }
        for line in text("modules.softdep").lines() {
            modules.soft_line(line);
        }
        for line in text("modules.alias").lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["alias", alias, name] = words.as_slice() {
                if alias.contains(['*', '?', '[']) {
                    let pattern = ((*alias).to_owned(), canonical(name));
                    modules.patterns.push(pattern);
                } else {
                    let names = modules.aliases.entry(canonical(alias)).or_default();
                    names.push(canonical(name));
                }
            }
        }
        modules.folder = folder;
        Ok(modules)
    }

    fn soft_line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        if words.next() != Some("softdep") {
            return;
        }
        let name = canonical(words.next().unwrap_or_default());
        let (before, after) = self.soft.entry(name).or_default();
        let mut side: Option<&mut Vec<String>> = None;
        for word in words {
            match word {
                "pre:" => side = Some(&mut *before),
                "post:" => side = Some(&mut *after),
                name => {
                    if let Some(side) = &mut side {
                        side.push(canonical(name));
                    }
                }
            }
        }
    }

    /// Tells whether a module is part of the kernel's image.
    #[must_use]
    pub fn is_builtin(&self, name: &str) -> bool {
        self.builtin.contains(&canonical(name))
    }

    /// Tells whether the kernel has a module, as a file or in its image.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let name = canonical(name);
        self.builtin.contains(&name) || self.files.contains_key(&name)
    }

    /// Tells whether some module drives what says that it is this.
    pub(crate) fn knows(&self, alias: &str) -> bool {
        !self.that_drive(alias).is_empty()
    }

    /// Gives the modules that a name stands for: one that a module has beside its own, or what a
    /// device says it is.
    fn that_drive(&self, alias: &str) -> Vec<&str> {
        let named = self.aliases.get(&canonical(alias)).into_iter().flatten();
        let fits = |(pattern, _): &&(String, String)| matches(pattern, alias);
        let fitting = self.patterns.iter().filter(fits).map(|(_, name)| name);
        let mut names: Vec<&str> = Vec::new();
        for name in named.chain(fitting) {
            if !names.contains(&&**name) && self.has(name) {
                names.push(name);
            }
        }
        names
    }

    /// Gives the modules and what they depend on, each after what it needs; what is part of the
    /// kernel's image is left out.
    ///
    /// # Errors
    /// Where the kernel has no such module.
    pub fn in_order<'n>(
        &self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Vec<ModuleFile>, Error> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            let alias = name;
            let name = canonical(name);
            if !self.has(&name) {
                let drivers = self.that_drive(alias);
                // Of several the kernel takes what fits.
                let optional = drivers.len() > 1;
                for driver in &drivers {
                    self.add(driver, optional, &mut seen, &mut order);
                }
                if !drivers.is_empty() {
                    continue;
                }
                return Err(Error::missing(
                    format!(
                        "the kernel has no module {name} in {}",
                        self.folder.display()
                    ),
                    "install the package with that module, or take it out of `modules`",
                ));
            }
            self.add(&name, false, &mut seen, &mut order);
        }
        Ok(order)
    }

    fn add(
        &self,
        name: &str,
        optional: bool,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<ModuleFile>,
    ) {
        let Some((file, needs)) = self.files.get(name) else {
            // What it stands for may be several modules, of which the processor takes some.
            for known in self.aliases.get(name).into_iter().flatten() {
                if known != name && seen.insert(format!("alias {known}")) {
                    self.add(known, true, seen, order);
                }
            }
            return;
        };
        if !seen.insert(name.to_owned()) {
            return;
        }
        let soft = self.soft.get(name);
        for before in soft.iter().flat_map(|(before, _)| before) {
            self.add(before, true, seen, order);
        }
        // Each module's list has all that it needs, the deepest last.
        for need in needs.iter().rev() {
            self.add(need, optional, seen, order);
        }
        order.push(ModuleFile {
            name: name.to_owned(),
            path: self.folder.join(file),
            optional,
        });
        for after in soft.iter().flat_map(|(_, after)| after) {
            self.add(after, true, seen, order);
        }
    }
}

/// Gives the bytes of a module, unpacked.
///
/// # Errors
/// Where they cannot be read, or unpacked.
pub(crate) fn unpacked(root: &Root, path: &Path) -> Result<Vec<u8>, Error> {
    let packed = root
        .bytes(path, LARGEST)
        .map_err(Error::file("read", path))?;
    let broken = |why: &dyn std::fmt::Display| {
        Error::malformed(format!("cannot unpack {}: {why}", path.display()))
    };
    let limited = |reader: &mut dyn std::io::Read| {
        let mut bytes = Vec::new();
        match reader.take(LARGEST).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(why) => Err(broken(&why)),
        }
    };
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => limited(&mut lzma_rust2::XzReader::new(&*packed, true)),
        Some("zst") => {
            let decoder = ruzstd::decoding::StreamingDecoder::new(&*packed);
            limited(&mut decoder.map_err(|why| broken(&why))?)
        }
        Some("gz") => gunzip(&packed).map_err(|why| broken(&why)),
        _ => Ok(packed),
    }
}

/// Unpacks a gzip file of one member.
pub(crate) fn gunzip(packed: &[u8]) -> Result<Vec<u8>, String> {
    let header = packed.get(..10).ok_or("it ends early")?;
    if header[..3] != [0x1f, 0x8b, 8] {
        return Err("it is no gzip file".to_owned());
    }
    let (flags, mut at) = (header[3], 10usize);
    if flags & 4 != 0 {
        let size = packed.get(at..).and_then(<[u8]>::first_chunk);
        at += 2 + usize::from(u16::from_le_bytes(*size.ok_or("it ends early")?));
    }
    // A name and a comment, each with a zero at its end.
    for _ in [8, 16].iter().filter(|flag| flags & **flag != 0) {
        let rest = packed.get(at..).ok_or("it ends early")?;
        let length = rest.iter().position(|byte| *byte == 0);
        at += length.ok_or("it ends early")? + 1;
    }
    if flags & 2 != 0 {
        at += 2;
    }
    let body = packed.get(at..).ok_or("it ends early")?;
    let most = LARGEST as usize;
    miniz_oxide::inflate::decompress_to_vec_with_limit(body, most).map_err(|why| why.to_string())
}

/// Tells whether a text is as a pattern of fnmatch(3) says: `*`, `?`, `[a-b]`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last `*` must take one more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (pattern.get(p), text.get(t)) {
            (Some(b'*'), _) => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            (None, None) => return true,
            (Some(b'?'), Some(_)) => Some(p + 1),
            (Some(b'['), Some(byte)) => in_set(pattern, p + 1, *byte),
            (Some(wanted), Some(byte)) if wanted == byte => Some(p + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((after, from))) if from < text.len() => {
                star = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Tells whether a byte is in a set, and gives where the pattern goes on.
fn in_set(pattern: &[u8], start: usize, byte: u8) -> Option<usize> {
    let length = pattern.get(start..)?.iter().position(|b| *b == b']')?;
    let mut set = &pattern[start..start + length];
    let mut found = false;
    while let [first, rest @ ..] = set {
        (found, set) = match rest {
            [b'-', last, rest @ ..] => (found || (*first..=*last).contains(&byte), rest),
            _ => (found || *first == byte, rest),
        };
    }
    found.then_some(start + length + 1)
}

#[cfg(test)]
mod tests;
