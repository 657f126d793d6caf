//! Debian packages of any release, from the mirror this machine's own apt sources name, without touching apt's state.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// One entry of an apt source list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Entry {
    uri: String,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

/// Where Debian's packages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mirror {
    uri: String,
    signed_by: Option<String>,
}

impl Mirror {
    /// Gives its address.
    pub(crate) fn uri(&self) -> &str {
        &self.uri
    }

    /// Gives the archive of security updates beside it.
    pub(crate) fn security(&self) -> Mirror {
        Mirror {
            uri: format!("{}-security", self.uri.trim_end_matches('/')),
            signed_by: self.signed_by.clone(),
        }
    }
}

/// Gives the mirrors to try: those of `KSCOPE_VM_MIRROR` (separated by spaces), then the machine's own.
pub(crate) fn mirrors() -> Vec<Mirror> {
    let named = std::env::var("KSCOPE_VM_MIRROR").unwrap_or_default();
    let named = named.split_whitespace().map(|uri| Mirror {
        uri: uri.to_string(),
        signed_by: None,
    });
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .unwrap_or_default();
    named
        .chain(main_archive(&machine_entries(), codename))
        .collect()
}

/// Picks the entry that serves whole releases, not their updates; on a machine that is not Debian there is none.
fn main_archive(entries: &[Entry], codename: &str) -> Option<Mirror> {
    const NAMES: [&str; 5] = ["oldstable", "stable", "testing", "unstable", "sid"];
    let serves = |entry: &&Entry| {
        let whole = |suite: &String| {
            (suite == codename && !codename.is_empty()) || NAMES.contains(&suite.as_str())
        };
        let debian = entry
            .signed_by
            .as_ref()
            .is_none_or(|key| key.contains("debian-archive"))
            && entry.uri.trim_end_matches('/').ends_with("debian");
        debian
            && entry.suites.iter().any(whole)
            && entry.components.iter().any(|name| name == "main")
    };
    let entry = entries.iter().find(serves)?;
    Some(Mirror {
        uri: entry.uri.clone(),
        signed_by: entry.signed_by.clone(),
    })
}

fn machine_entries() -> Vec<Entry> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(folder) = std::fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<PathBuf> = folder
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        more.sort();
        files.extend(more);
    }
    let mut entries = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => entries.extend(text.lines().filter_map(one_line)),
            Some("sources") => entries.extend(deb822(&text)),
            _ => {}
        }
    }
    entries
}

/// Reads `deb [options] uri suite component…`.
fn one_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    let rest = rest.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_string);
    Some(Entry {
        uri: words.next()?,
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_string),
    })
}

/// Reads paragraphs of `Field: value` lines; a stanza with several URIs gives several entries.
fn deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            entries.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_lowercase(), value.trim().to_string()));
        }
    }
    entries
}

fn stanza(fields: &[(String, String)]) -> Vec<Entry> {
    let words = |name: &str| -> Vec<String> {
        let value = fields
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value);
        value.split_whitespace().map(str::to_string).collect()
    };
    let disabled = words("enabled").first().is_some_and(|value| value == "no");
    if disabled || !words("types").iter().any(|kind| kind == "deb") {
        return Vec::new();
    }
    // A key may stand in the stanza itself; only paths are taken over.
    let signed_by = words("signed-by")
        .into_iter()
        .find(|word| word.starts_with('/'));
    let entry = |uri| Entry {
        uri,
        suites: words("suites"),
        components: words("components"),
        signed_by: signed_by.clone(),
    };
    words("uris").into_iter().map(entry).collect()
}

/// A release of the archive, indexed into a private folder.
pub(crate) struct Archive {
    folder: PathBuf,
}

impl Archive {
    /// Fetches the package index of a release into `folder`.
    pub(crate) fn open(mirror: &Mirror, suite: &str, folder: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        for part in ["lists/partial", "cache/archives/partial", "empty"] {
            std::fs::create_dir_all(folder.join(part)).map_err(failed)?;
        }
        let keyrings = [
            "/usr/share/keyrings/debian-archive-keyring.gpg",
            "/usr/share/keyrings/debian-archive-keyring.pgp",
        ];
        let keyring = mirror
            .signed_by
            .as_deref()
            .or_else(|| keyrings.into_iter().find(|path| Path::new(path).exists()));
        let options = keyring.map_or(String::new(), |path| {
            format!("[arch=amd64 signed-by={path}] ")
        });
        let source = format!("deb {options}{} {suite} main\n", mirror.uri);
        std::fs::write(folder.join("sources.list"), source).map_err(failed)?;
        std::fs::write(folder.join("status"), "").map_err(failed)?;
        let archive = Self {
            folder: folder.to_path_buf(),
        };
        archive.run("apt-get", &["update", "-q", "--error-on=any"])?;
        Ok(archive)
    }

    /// Gives the packages that a package depends on directly.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>, String> {
        let text = self.run("apt-cache", &["depends", package])?;
        Ok(text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .map(str::to_string)
            .collect())
    }

    /// Downloads a package and unpacks it into a folder.
    pub(crate) fn unpack(&self, package: &str, into: &Path) -> Result<(), String> {
        let mut unpack = Command::new("dpkg-deb");
        self.with_package(package, |file| {
            unpack.arg("-x").arg(file).arg(into).output()
        })
    }

    /// Downloads a package and writes one file of it.
    pub(crate) fn unpack_file(&self, package: &str, file: &str, to: &Path) -> Result<(), String> {
        const PICK: &str = "dpkg-deb --fsys-tarfile \"$0\" | tar xO \"./$1\" > \"$2\"";
        let mut unpack = Command::new("sh");
        self.with_package(package, |package| {
            let words = [package.as_os_str(), file.as_ref(), to.as_os_str()];
            unpack.args(["-c", PICK]).args(words).output()
        })
    }

    /// Downloads a package, has something done with it, and removes it.
    fn with_package(
        &self,
        package: &str,
        work: impl FnOnce(&Path) -> std::io::Result<Output>,
    ) -> Result<(), String> {
        self.run("apt-get", &["download", "-q", package])?;
        let folder = std::fs::read_dir(&self.folder).map_err(|error| error.to_string())?;
        let mut files = folder.filter_map(|entry| Some(entry.ok()?.path()));
        let start = format!("{package}_");
        let is_it = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(&start))
        };
        let file = files
            .find(is_it)
            .ok_or_else(|| format!("apt-get download {package} left no file"))?;
        let unpacked = work(&file);
        let output = unpacked.map_err(|error| format!("dpkg-deb: {error}"))?;
        let _ = std::fs::remove_file(&file);
        if output.status.success() {
            Ok(())
        } else {
            Err(cause(&output.stderr, "dpkg-deb failed"))
        }
    }

    /// Runs apt on the private state. Releases no longer maintained have an index that expired, which is no harm here.
    fn run(&self, program: &str, words: &[&str]) -> Result<String, String> {
        let option =
            |name: &str, part: &str| format!("{name}={}", self.folder.join(part).display());
        let mut command = Command::new(program);
        for setting in [
            option("Dir::State", ""),
            option("Dir::State::lists", "lists"),
            option("Dir::State::status", "status"),
            option("Dir::Cache", "cache"),
            option("Dir::Etc::sourcelist", "sources.list"),
            option("Dir::Etc::sourceparts", "empty"),
            option("Dir::Etc::preferencesparts", "empty"),
            "APT::Architecture=amd64".to_string(),
            "APT::Architectures::=amd64".to_string(),
            "APT::Sandbox::User=root".to_string(),
            "Acquire::Check-Valid-Until=false".to_string(),
            "Acquire::Languages=none".to_string(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_string(),
            "Acquire::IndexTargets::deb::DEP-11-icons-small::DefaultEnabled=false".to_string(),
            "Acquire::IndexTargets::deb::DEP-11-icons::DefaultEnabled=false".to_string(),
            "Acquire::Retries=2".to_string(),
            "Acquire::http::Timeout=30".to_string(),
        ] {
            command.arg("-o").arg(setting);
        }
        let output = command
            .args(words)
            .current_dir(&self.folder)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!(
            "{program} {}: {}",
            words.join(" "),
            cause(&output.stderr, "failed")
        ))
    }
}

/// The line of an error output that tells the cause: apt sums up after it.
fn cause(stderr: &[u8], otherwise: &str) -> String {
    let text = String::from_utf8_lossy(stderr);
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().find_map(|line| line.strip_prefix("E: "));
    first
        .or_else(|| lines.next_back())
        .unwrap_or(otherwise)
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::{Entry, deb822, main_archive, one_line};

    fn check(entries: &[Entry], expected: &[&str]) {
        let texts: Vec<String> = entries
            .iter()
            .map(|entry| {
                let key = entry.signed_by.as_deref().unwrap_or("-");
                format!(
                    "{} {} {} {key}",
                    entry.uri,
                    entry.suites.join(","),
                    entry.components.join(",")
                )
            })
            .collect();
        assert_eq!(texts, expected);
    }

    fn lines(text: &str) -> Vec<Entry> {
        text.lines().filter_map(one_line).collect()
    }

    #[test]
    fn one_line_format() {
        check(
            &lines("deb http://m.test/debian trixie main contrib # all"),
            &["http://m.test/debian trixie main,contrib -"],
        );
        check(
            &lines("deb [arch=amd64 signed-by=/k/a.gpg] http://m.test/debian sid main"),
            &["http://m.test/debian sid main /k/a.gpg"],
        );
        check(
            &lines(
                "# deb http://m.test/debian sid main\ndeb-src http://m.test/debian sid main\ndeb http://m.test",
            ),
            &[],
        );
    }

    #[test]
    fn deb822_format() {
        check(
            &deb822(
                "# kept by hand\nTypes: deb deb-src\nURIs: http://a.test/debian http://b.test/debian\nSuites: trixie\n  \
                 trixie-updates\nComponents: main\nSigned-By: /k/debian.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://c.test\n\n\
                 Types: deb-src\nURIs: http://d.test\nSuites: sid\nComponents: main\n",
            ),
            &[
                "http://a.test/debian trixie,trixie-updates main /k/debian.gpg",
                "http://b.test/debian trixie,trixie-updates main /k/debian.gpg",
            ],
        );
        check(
            &deb822(
                "Types: deb\nURIs: http://a.test/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n abc\n",
            ),
            &["http://a.test/debian sid main -"],
        );
    }

    #[test]
    fn the_main_archive_is_picked() {
        let pick = |text: &str, codename: &str| {
            main_archive(&lines(text), codename).map(|mirror| mirror.uri)
        };
        let list = "deb http://s.test/debian-security trixie-security main\ndeb http://m.test/debian trixie-updates main\n\
                    deb http://n.test/nodes trixie main\ndeb http://m.test/debian trixie main";
        assert_eq!(
            pick(list, "trixie").as_deref(),
            Some("http://m.test/debian")
        );
        assert_eq!(
            pick("deb http://m.test/debian/ stable main", "").as_deref(),
            Some("http://m.test/debian/")
        );
        assert_eq!(pick("deb http://u.test/ubuntu noble main", "noble"), None);
        assert_eq!(
            pick("deb http://m.test/debian trixie contrib", "trixie"),
            None
        );
    }
}
