//! A crash on purpose, and whether its dump was found afterwards.

use std::path::Path;

use crate::Error;
use crate::facts::Facts;
use crate::facts::TargetFacts;
use crate::initrd::replace;
use crate::pairs::value;
use crate::root::Root;

/// Where the last test is written down.
const FILE: &str = "/var/lib/kscope/kdump/test";
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
    pub fn verify(&mut self, root: &Root, facts: &Facts) -> Result<String, Error> {
        let TargetFacts::Disk(disk) = &facts.target else {
            return Err(Error::unsupported(
                "dumps on another machine are not looked through from here",
                format!("there: grep -l '{}' */dmesg.txt", self.line()),
            ));
        };
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
        let crash = of_test.ok_or_else(|| {
            Error::missing(
                format!("no crash in {} is that of the test {}", folder.display(), self.id),
                "the console of the capture says what went wrong; `kscope kdump check` says what it \
                 needs",
            )
        })?;
        if crash.dump.is_none() {
            let place = folder.join(&crash.name);
            return Err(Error::missing(
                format!(
                    "{} has the log of the test and no whole dump",
                    place.display()
                ),
                format!("see {}", place.join("capture.log").display()),
            ));
        }
        self.found = Some(crash.name.clone());
        self.write(root)?;
        Ok(folder.join(&crash.name).display().to_string())
    }
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
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn a_test_is_written_down_before_the_crash() {
        let tree = Tree::new("test");
        tree.write("dev/kmsg", "");
        tree.write("proc/sysrq-trigger", "");
        let test = LastTest::new(0x65, 7, "6.1");
        let root = tree.root();
        let error = crash(&root, &test, || {
            assert_eq!(LastTest::read(&root).as_ref(), Some(&test), "on disk first");
        });
        assert!(error.is_err(), "a file does not crash");
        assert_eq!(root.text("/proc/sysrq-trigger").expect("written"), "c");
        let line = root.text("/dev/kmsg").expect("written");
        assert_eq!(line, "<0>kscope kdump test 65-00000007");
    }
}
