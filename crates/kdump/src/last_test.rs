//! A crash on purpose, and whether its dump was found afterwards.

use std::path::Path;

use crate::Error;
use crate::capture::keep::is_crash;
use crate::config::Config;
use crate::facts::target::reached;
use crate::facts::{DiskFacts, Facts, SshFacts, TargetFacts};
use crate::initrd::replace;
use crate::pairs::value;
use crate::root::Root;
use crate::ssh::{Keys, SSH, ssh};

/// Where the last test is written down.
const FILE: &str = "/var/lib/kscope/kdump/test";
/// What a whole dump is called.
const DUMPS: [&str; 2] = ["vmcore", "vmcore.flat"];
/// The most bytes of a log that are looked through; the test is at its end.
const LARGEST: u64 = 1 << 30;
/// What the log of the crashed kernel says.
const MARK: &str = "kscope kdump test";

/// The last test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastTest {
    /// What the log of the crashed kernel says of it.
    pub id: String,
    /// When it was, in seconds since 1970.
    pub time: u64,
    /// The kernel that crashed.
    pub release: String,
    /// The folder in which its dump was found.
    pub found: Option<String>,
}

impl LastTest {
    pub(crate) fn read(root: &Root) -> Option<LastTest> {
        let text = root.text(FILE).ok()?;
        Some(LastTest {
            id: value(&text, "id")?.to_owned(),
            time: value(&text, "time")?.parse().ok()?,
            release: value(&text, "release")?.to_owned(),
            found: value(&text, "found").map(str::to_owned),
        })
    }

    /// Makes a test of an id.
    #[must_use]
    pub fn new(time: u64, number: u64, release: &str) -> LastTest {
        LastTest {
            id: format!("{time:x}-{number:08x}"),
            time,
            release: release.to_owned(),
            found: None,
        }
    }

    /// Gives the line that the log of the kernel gets before it crashes.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{MARK} {}", self.id)
    }

    /// Writes it down, on disk.
    ///
    /// # Errors
    /// Where that is not possible.
    pub fn write(&self, root: &Root) -> Result<(), Error> {
        let mut text = format!(
            "id = {}\ntime = {}\nrelease = {}\n",
            self.id, self.time, self.release
        );
        if let Some(found) = &self.found {
            text.push_str(&format!("found = {found}\n"));
        }
        replace(&root.path(FILE), text.as_bytes())
    }

    /// Looks for the dump of the test among the crashes, and writes down where it is.
    ///
    /// # Errors
    /// Where there is none, with what to look at.
    pub fn verify(&mut self, root: &Root, config: &Config, facts: &Facts) -> Result<String, Error> {
        let (name, place) = match &facts.target {
            TargetFacts::Disk(disk) => self.on_disk(root, facts, disk)?,
            TargetFacts::Ssh(ssh) => self.over_ssh(root, config, ssh)?,
        };
        self.found = Some(name);
        self.write(root)?;
        Ok(place)
    }

    /// Gives the folder of the test's dump, and where it is.
    fn on_disk(
        &self,
        root: &Root,
        facts: &Facts,
        disk: &DiskFacts,
    ) -> Result<(String, String), Error> {
        let folder = disk.here.clone().ok_or_else(|| {
            Error::missing(
                "the target is not mounted",
                "mount it, to look for the dump",
            )
        })?;
        let mark = self.line();
        let of_test = facts.crashes.iter().rev().find(|crash| {
            let log = folder.join(&crash.name).join("dmesg.txt");
            let log = root.bytes(log, LARGEST);
            log.is_ok_and(|log| String::from_utf8_lossy(&log).contains(&mark))
        });
        let crash = of_test.ok_or_else(|| self.no_crash(&folder.display().to_string()))?;
        let place = folder.join(&crash.name).display().to_string();
        if crash.dump.is_none() {
            return Err(no_dump(&place));
        }
        Ok((crash.name.clone(), place))
    }

    /// The same on another machine, which is asked as the capture asks it.
    fn over_ssh(
        &self,
        root: &Root,
        config: &Config,
        facts: &SshFacts,
    ) -> Result<(String, String), Error> {
        let to = reached(&facts.to, facts.address);
        let (own, hosts) = (
            root.path(&config.ssh_key),
            root.path(&config.ssh_known_hosts),
        );
        let keys = Keys {
            own: &own,
            hosts: &hosts,
        };
        let ask = |words: &str| {
            let output = ssh(&root.path(SSH), &to, keys, words).output();
            output.map_err(Error::file("run", Path::new(SSH)))
        };
        let folder = config.path.display();
        let place = format!("{}:{folder}", to.host);
        let found = ask(&format!(
            "grep -lF '{}' '{folder}'/*/dmesg.txt",
            self.line()
        ))?;
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let name = text.lines().next_back().and_then(|file| {
            let name = Path::new(file).parent()?.file_name()?;
            name.to_str().filter(|name| is_crash(name))
        });
        let Some(name) = name else {
            let said = String::from_utf8_lossy(&found.stderr);
            // What ssh itself says; grep finds nothing with 1.
            return Err(match found.status.code() {
                Some(255) | None => Error::missing(
                    format!("{} cannot be asked: {}", to.host, said.trim()),
                    "`kscope kdump check` says what is wrong with the way there",
                ),
                _ => self.no_crash(&place),
            });
        };
        let place = format!("{place}/{name}");
        let files = ask(&format!("ls -1 '{folder}/{name}'"))?;
        let files = String::from_utf8_lossy(&files.stdout).into_owned();
        match files.lines().any(|file| DUMPS.contains(&file)) {
            true => Ok((name.to_owned(), place)),
            false => Err(no_dump(&place)),
        }
    }

    fn no_crash(&self, place: &str) -> Error {
        Error::missing(
            format!("no crash in {place} is that of the test {}", self.id),
            "the console of the capture says what went wrong; `kscope kdump check` says what it needs",
        )
    }
}

fn no_dump(place: &str) -> Error {
    Error::missing(
        format!("{place} has the log of the test and no whole dump"),
        format!("see {place}/capture.log"),
    )
}

/// Crashes the machine: writes down the test, says its id in the kernel's log, and panics.
///
/// # Errors
/// Where the kernel does not crash.
pub fn crash(root: &Root, test: &LastTest, sync: impl FnOnce()) -> Result<(), Error> {
    test.write(root)?;
    let (log, trigger) = (Path::new("/dev/kmsg"), Path::new("/proc/sysrq-trigger"));
    // Level 0, which reaches the log of every kernel.
    let line = format!("<0>{}\n", test.line());
    std::fs::write(root.path(log), line).map_err(Error::file("write", log))?;
    sync();
    std::fs::write(root.path(trigger), "c").map_err(Error::file("write", trigger))?;
    Err(Error::missing(
        "the kernel has not crashed",
        "CONFIG_MAGIC_SYSRQ=y is needed for a test",
    ))
}

#[cfg(test)]
mod tests;
