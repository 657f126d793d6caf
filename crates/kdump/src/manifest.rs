//! What an initial file system was made of, kept beside it, and what was loaded.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::Error;
use crate::load::Load;
use crate::pairs::{pairs, value};
use crate::root::Root;

/// A file as it was when it was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
    /// When it was changed last, in nanoseconds since 1970.
    pub changed: u64,
    /// A sum over its content.
    pub sum: u64,
}

/// What an initial file system was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The kernel it is for.
    pub release: String,
    /// Where dumps go, as the capture sees it.
    pub target: String,
    /// The modules in it, in the order in which they are loaded.
    pub modules: Vec<String>,
    /// Bytes of its files, unpacked, each rounded up to pages.
    pub unpacked: u64,
    /// Bytes of the modules in it.
    pub modules_size: u64,
    /// The files it was made of.
    pub sources: Vec<Source>,
}

/// Gives where the manifest of an initial file system is.
pub(crate) fn beside(initrd: &Path) -> PathBuf {
    let mut name = initrd.as_os_str().to_owned();
    name.push(".manifest");
    name.into()
}

impl Source {
    /// Looks at a file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(root: &Root, path: &Path) -> Result<Source, Error> {
        let failed = |why| Error::file("read", path)(why);
        let mut file = std::fs::File::open(root.path(path)).map_err(failed)?;
        let failed = |why| Error::file("read", path)(why);
        let meta = file.metadata().map_err(failed)?;
        let failed = |why| Error::file("read", path)(why);
        Ok(Source {
            path: path.to_path_buf(),
            size: meta.len(),
            changed: changed(&meta),
            sum: sum(&mut file).map_err(failed)?,
        })
    }

    /// Notes that a file was not there: no content has the sum 0 and no bytes.
    pub(crate) fn absent(path: &Path) -> Source {
        Source {
            path: path.to_path_buf(),
            size: 0,
            changed: 0,
            sum: 0,
        }
    }

    /// Says how the file differs from what it was; none where it does not.
    pub(crate) fn difference(&self, root: &Root) -> Option<String> {
        let path = self.path.display();
        let place = root.path(&self.path);
        let was_absent = *self == Source::absent(&self.path);
        let meta = match std::fs::metadata(&place) {
            Ok(_) if was_absent => return Some(format!("{path} is new")),
            Ok(meta) => meta,
            Err(_) if was_absent => return None,
            Err(_) => return Some(format!("{path} is gone")),
        };
        if meta.len() == self.size && changed(&meta) == self.changed {
            return None;
        }
        // Touched and not changed is fine.
        let sum = std::fs::File::open(&place).and_then(|mut file| sum(&mut file));
        let same = meta.len() == self.size && sum.is_ok_and(|sum| sum == self.sum);
        (!same).then(|| format!("{path} has changed"))
    }
}

fn changed(meta: &std::fs::Metadata) -> u64 {
    let time = meta.modified().ok();
    let time = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    time.map_or(0, |time| time.as_nanos() as u64)
}

/// FNV-1a over a file, which tells changes; nobody is to be kept from making two alike.
fn sum(file: &mut std::fs::File) -> std::io::Result<u64> {
    let mut sum = 0xcbf2_9ce4_8422_2325u64;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(sum);
        }
        for byte in &buffer[..n] {
            sum = (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

impl Manifest {
    /// Writes it as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Made by `kscope kdump initrd`; `kscope kdump check` compares it with what is there.\n\
             release = {}\ntarget = {}\nunpacked = {}\nmodules_size = {}\nmodules = {}\n",
            self.release,
            self.target,
            self.unpacked,
            self.modules_size,
            self.modules.join(" ")
        );
        for source in &self.sources {
            text.push_str(&format!("source = {}\n", source.text()));
        }
        text
    }

    /// Reads the text; none where it is no manifest.
    #[must_use]
    pub fn parse(text: &str) -> Option<Manifest> {
        let number = |key| value(text, key)?.parse().ok();
        let words = value(text, "modules")?.split_whitespace();
        let sources = pairs(text)
            .flatten()
            .filter(|pair| pair.key == "source")
            .map(|pair| Source::parse(pair.value));
        Some(Manifest {
            release: value(text, "release")?.to_owned(),
            target: value(text, "target")?.to_owned(),
            unpacked: number("unpacked")?,
            modules_size: number("modules_size")?,
            modules: words.map(str::to_owned).collect(),
            sources: sources.collect::<Option<_>>()?,
        })
    }
}

impl Source {
    fn text(&self) -> String {
        let Source {
            size, changed, sum, ..
        } = self;
        format!("{size} {changed} {sum:016x} {}", self.path.display())
    }

    fn parse(text: &str) -> Option<Source> {
        let mut parts = text.splitn(4, ' ');
        let mut next = || parts.next();
        Some(Source {
            size: next()?.parse().ok()?,
            changed: next()?.parse().ok()?,
            sum: u64::from_str_radix(next()?, 16).ok()?,
            path: next()?.into(),
        })
    }
}

/// What `kscope kdump load` loaded last since the machine started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The kernel image.
    pub image: Source,
    /// The initial file system.
    pub initrd: Source,
    /// The command line.
    pub command_line: String,
}

/// Where that is kept; it is gone when the machine starts again, as what was loaded is.
pub(crate) const LOADED: &str = "/run/kscope/kdump.loaded";

impl Loaded {
    pub(crate) fn text(&self) -> String {
        format!(
            "image = {}\ninitrd = {}\ncommand_line = {}\n",
            self.image.text(),
            self.initrd.text(),
            self.command_line
        )
    }

    pub(crate) fn parse(text: &str) -> Option<Loaded> {
        Some(Loaded {
            image: Source::parse(value(text, "image")?)?,
            initrd: Source::parse(value(text, "initrd")?)?,
            command_line: value(text, "command_line")?.to_owned(),
        })
    }

    /// Says how what was loaded differs from what would be loaded now.
    pub(crate) fn other(&self, plan: &Load) -> Vec<String> {
        let paths = [
            (&self.image.path, &plan.image),
            (&self.initrd.path, &plan.initrd),
        ];
        let mut other: Vec<String> = paths
            .iter()
            .filter(|(loaded, now)| loaded != now)
            .map(|(loaded, now)| format!("it is {}, not {}", loaded.display(), now.display()))
            .collect();
        if self.command_line != plan.command_line {
            let words = |line: &str| -> Vec<String> {
                line.split_whitespace().map(str::to_owned).collect()
            };
            let (had, has) = (words(&self.command_line), words(&plan.command_line));
            let only = |these: &[String], those: &[String]| {
                let only = these.iter().filter(|word| !those.contains(word));
                only.cloned().collect::<Vec<_>>().join(" ")
            };
            other.push(match (only(&had, &has), only(&has, &had)) {
                (gone, new) if gone.is_empty() && new.is_empty() => {
                    "its command line has another order".to_owned()
                }
                (gone, new) if gone.is_empty() => format!("its command line lacks {new}"),
                (gone, new) if new.is_empty() => format!("its command line has {gone}"),
                (gone, new) => format!("its command line has {gone}, not {new}"),
            });
        }
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn what_is_written_is_read_again() {
        let tree = Tree::new("manifest");
        tree.write("a b", "text");
        let source = Source::of(&tree.root(), Path::new("/a b")).expect("it is there");
        let manifest = Manifest {
            release: "6.1".to_owned(),
            target: "uuid:1".to_owned(),
            modules: vec!["a".to_owned(), "b".to_owned()],
            unpacked: 12,
            modules_size: 4,
            sources: vec![source.clone()],
        };
        assert_eq!(Manifest::parse(&manifest.text()), Some(manifest));
        assert_eq!(Manifest::parse("release = 1"), None);
        let loaded = Loaded {
            image: source.clone(),
            initrd: source,
            command_line: "a=1 b".to_owned(),
        };
        assert_eq!(Loaded::parse(&loaded.text()), Some(loaded.clone()));
        let check = |image: &str, line: &str, expected: &[&str]| {
            let plan = Load {
                image: image.into(),
                initrd: loaded.initrd.path.clone(),
                command_line: line.to_owned(),
            };
            assert_eq!(loaded.other(&plan), expected);
        };
        check("/a b", "a=1 b", &[]);
        check("/c", "a=1 b", &["it is /a b, not /c"]);
        check("/a b", "b a=1", &["its command line has another order"]);
        check("/a b", "a=2 b", &["its command line has a=1, not a=2"]);
        check("/a b", "a=1 b c", &["its command line lacks c"]);
        check("/a b", "b", &["its command line has a=1"]);
    }

    #[test]
    fn changes_are_told_from_touches() {
        let tree = Tree::new("sources");
        tree.write("f", "text");
        let root = tree.root();
        let mut source = Source::of(&root, Path::new("/f")).expect("it is there");
        assert_eq!(source.difference(&root), None);
        source.changed -= 5;
        assert_eq!(source.difference(&root), None, "touched");
        tree.write("f", "test");
        assert_eq!(source.difference(&root), Some("/f has changed".to_owned()));
        tree.remove("f");
        assert_eq!(source.difference(&root), Some("/f is gone".to_owned()));
        let absent = Source::absent(Path::new("/f"));
        assert_eq!(absent.difference(&root), None);
        tree.write("f", "");
        assert_eq!(absent.difference(&root), Some("/f is new".to_owned()));
    }
}
