//! Files that scripts import: found, read, and put behind the script's text.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use kscope_script::syntax;
use kscope_script::types::import::is_library;

use crate::error::Failure;
use crate::tracing::{Part, Source};

/// Most files that one script imports.
const FILES: usize = 256;
/// The largest file that is imported.
const SIZE: u64 = 1 << 20;

/// Puts the text of imported files behind the script's, what another file needs before it.
///
/// # Errors
///
/// Where a file is not there, or is none that can be imported.
pub(crate) fn resolve(source: &mut Source, of: &Path) -> Result<(), Failure> {
    let found = imports_of(&source.text);
    if found.paths.is_empty() {
        return Ok(());
    }
    let mut imports = Imports::default();
    let folder = of.parent().unwrap_or(Path::new(""));
    imports.all(&found.paths, folder, &source.name)?;
    for (name, text) in imports.texts {
        if !source.text.ends_with('\n') {
            source.text.push('\n');
        }
        let start = source.text.len();
        source.text.push_str(&text);
        source.parts.push(Part { name, start });
    }
    source.imported = imports.names;
    Ok(())
}

/// What a file imports, and whether it has a configuration.
struct Found {
    paths: Vec<String>,
    config: bool,
}

fn imports_of(text: &str) -> Found {
    // Most scripts import nothing, and need no second look.
    if !text.contains("import") && !text.contains("config") {
        return Found {
            paths: Vec::new(),
            config: false,
        };
    }
    let (script, _) = syntax::parse(text, &syntax::Positional::default());
    Found {
        paths: script.imports.into_iter().map(|name| name.text).collect(),
        config: !script.config.is_empty(),
    }
}

#[derive(Default)]
struct Imports {
    /// Files that are read or being read.
    seen: Vec<PathBuf>,
    /// What they are called, and their text.
    texts: Vec<(String, String)>,
    /// All names as written.
    names: Vec<String>,
}

impl Imports {
    fn all(&mut self, names: &[String], folder: &Path, by: &str) -> Result<(), Failure> {
        for name in names {
            let path = folder.join(name);
            if !path.exists() {
                if is_library(name) {
                    continue;
                }
                let message = format!(
                    "{by} imports \"{name}\", and there is no {}",
                    path.display()
                );
                return Err(Failure::new(message)
                    .hint("imports are looked for in the folder of the file that has them"));
            }
            self.names.push(name.clone());
            self.import(&path, by)?;
        }
        Ok(())
    }

    fn import(&mut self, path: &Path, by: &str) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        for checked in [path, parent.unwrap_or(Path::new("."))] {
            refuse_writable(checked, path, by)?;
        }
        if !path.is_dir() {
            return self.file(path, by);
        }
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            entries.push(entry.map_err(failed)?.path());
        }
        entries.sort();
        for entry in entries.iter().filter(|entry| entry.is_file()) {
            if kind(entry).is_some() {
                refuse_writable(entry, path, by)?;
                self.file(entry, by)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, by: &str) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
        let shown = path.display().to_string();
        match kind(path) {
            Some(Kind::Text) => {}
            Some(Kind::Code) => {
                let message = format!("{by} imports {shown}, which is C for eBPF or an object");
                return Err(Failure::new(message).hint(
                    "kscope has no C compiler in it: write the function as `fn name($a : type) : type { … }`",
                ));
            }
            None => {
                let message = format!("{by} imports {shown}, and only .bt and .h files can be");
                return Err(Failure::new(message));
            }
        }
        let real = path.canonicalize().map_err(failed)?;
        if self.seen.contains(&real) {
            return Ok(());
        }
        self.seen.push(real);
        if self.seen.len() > FILES {
            let message = format!("{by} imports more than {FILES} files");
            return Err(Failure::new(message));
        }
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        // A pipe and a device tell no size.
        let read = file.take(SIZE + 1).read_to_string(&mut text);
        if read.map_err(failed)? as u64 > SIZE {
            return Err(Failure::new(format!("{shown} has more than {SIZE} bytes")));
        }
        // Only a whole source begins with a mark, or says what it is run by: here that is a comment.
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        if text.starts_with("#!") {
            text.replace_range(..2, "//");
        }
        let found = imports_of(&text);
        if found.config {
            let message = format!("{shown} is imported and has a config block");
            return Err(Failure::new(message).hint("put it into the script itself"));
        }
        let folder = path.parent().unwrap_or(Path::new(""));
        self.all(&found.paths, folder, &shown)?;
        self.texts.push((shown, text));
        Ok(())
    }
}

/// Refuses what `by` imports where everybody may write to a part of it.
fn refuse_writable(part: &Path, imported: &Path, by: &str) -> Result<(), Failure> {
    let about = std::fs::metadata(part)
        .map_err(|error| Failure::new(format!("{}: {error}", part.display())))?;
    if about.permissions().mode() & 0o002 == 0 {
        return Ok(());
    }
    let message = format!(
        "{by} imports {}, and everybody may write to {}",
        imported.display(),
        part.display()
    );
    Err(Failure::new(message).hint("chmod o-w it"))
}

enum Kind {
    /// What is read as part of the script.
    Text,
    /// What needs a compiler of C.
    Code,
}

fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?;
    match name.rsplit_once('.')?.1 {
        "bt" | "h" => Some(Kind::Text),
        "c" | "o" if name.ends_with(".bpf.c") || name.ends_with(".bpf.o") => Some(Kind::Code),
        _ => None,
    }
}
