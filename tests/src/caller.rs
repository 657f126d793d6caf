//! Runs kscope as somebody with fewer privileges than the tests have, and judges what it left.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, capabilities, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_capabilities_secure_bits,
};

use crate::program::{Folder, kscope};

/// Gives the test its [`Program`], or skips the test for want of root.
#[macro_export]
macro_rules! program_or_skip {
    ($name:expr) => {{
        let _ = $crate::kernel_or_skip!();
        $crate::caller::Program::copied($name)
    }};
}

/// The user id of nobody.
const NOBODY: u32 = 65534;

/// Who runs a program. A test that is root can be any of them.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// Root with everything.
    Root,
    /// Root, with these capabilities out of reach.
    RootWithout(&'a [CapabilitySet]),
    /// The user nobody, without groups, with these capabilities alone.
    NobodyWith(&'a [CapabilitySet]),
}

impl Caller<'_> {
    /// Runs a command to its end.
    ///
    /// # Panics
    ///
    /// If this process may not give up privileges, or the command cannot be run.
    pub fn run(&self, command: &mut Command) -> Left {
        // A child gets the capabilities of the thread that starts it, and they are a thread's own.
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| {
                self.become_it(command);
                Left::of(command)
            });
            ended.join().expect("the command runs")
        })
    }

    fn become_it(&self, command: &mut Command) {
        match self {
            Caller::Root => {}
            // What root gets at exec is bounded.
            Caller::RootWithout(missing) => {
                for &missing in *missing {
                    remove_capability_from_bounding_set(missing).expect("root may");
                }
            }
            // Dropping the user drops the groups and, at exec, the capabilities.
            Caller::NobodyWith([]) => {
                command.uid(NOBODY).gid(NOBODY);
            }
            Caller::NobodyWith(kept) => {
                let mut sets = capabilities(None).expect("ours");
                sets.inheritable |= kept.iter().copied().collect();
                set_capabilities(None, sets).expect("root may");
                for &kept in *kept {
                    configure_capability_in_ambient_set(kept, true).expect("root may");
                }
                // Else a change of the user would take them away again.
                let keep = CapabilitiesSecureBits::NO_SETUID_FIXUP;
                set_capabilities_secure_bits(keep).expect("root may");
                command.uid(NOBODY).gid(NOBODY);
            }
        }
    }
}

/// A copy of kscope that every user can run.
#[derive(Debug)]
pub struct Program {
    folder: Folder,
}

impl Program {
    /// Copies kscope into a folder of this name.
    ///
    /// # Panics
    ///
    /// If it cannot be copied.
    #[must_use]
    pub fn copied(name: &str) -> Program {
        let program = kscope();
        let folder = Folder::new(name);
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open.clone()).expect("ours");
        let copy = folder.path().join("kscope");
        std::fs::copy(program, &copy).expect("a copy");
        std::fs::set_permissions(&copy, open).expect("ours");
        Program { folder }
    }

    /// Gives the path of the copy.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("kscope")
    }

    /// Gives a command that runs kscope with these words. A script that runs where it should have
    /// been refused would never end, so it is killed.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        // Within the limits that xtask sets to a test, which are wider for guests.
        let seconds = std::env::var_os("KSCOPE_GUEST").map_or("50", |_| "170");
        let mut command = Command::new("timeout");
        command
            .args(["-s", "KILL", seconds])
            .arg(self.path())
            .args(words);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, caller: Caller<'_>, words: &[&str]) -> Left {
        caller.run(&mut self.command(words))
    }

    /// Runs it as nobody, without groups and capabilities.
    pub fn as_nobody(&self, words: &[&str]) -> Left {
        self.run(Caller::NobodyWith(&[]), words)
    }

    /// Runs it as root.
    pub fn as_root(&self, words: &[&str]) -> Left {
        self.run(Caller::Root, words)
    }
}

/// What a finished program left.
#[derive(Debug)]
pub struct Left {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Left {
    /// Runs a command that asks nothing to its end, in the root folder.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn of(command: &mut Command) -> Left {
        let output = command
            .current_dir("/")
            .env_remove("BPFTRACE_BTF")
            .stdin(Stdio::null())
            .output()
            .expect("the command starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        Left {
            code: status.code(),
            out: text(&stdout),
            err: text(&stderr),
        }
    }

    /// Demands an exit code and parts of what is said.
    ///
    /// # Panics
    ///
    /// If either is not as demanded.
    #[track_caller]
    pub fn is(self, code: i32, parts: &[&str]) -> Left {
        let Left { out, err, .. } = &self;
        assert_eq!(self.code, Some(code), "{out}\n{err}");
        for part in parts {
            assert!(err.contains(part), "no `{part}` in:\n{err}");
        }
        self
    }

    /// Demands that parts are nowhere in what is said.
    ///
    /// # Panics
    ///
    /// If one is.
    #[track_caller]
    pub fn without(self, parts: &[&str]) -> Left {
        for part in parts {
            assert!(!self.err.contains(part), "`{part}` in:\n{}", self.err);
        }
        self
    }
}
