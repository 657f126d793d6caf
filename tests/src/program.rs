//! The kscope program as tests run it.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::workspace::built;

/// What `kscope` prints when all probes are attached and the environment asks for it.
const ATTACHED: &str = "__BPFTRACE_NOTIFY_PROBES_ATTACHED";

/// How long anything may take; guests are emulated.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Gives the kscope program: `KSCOPE_BIN`, or the one that cargo builds beside this test, anew where
/// a source changed.
///
/// # Panics
///
/// If `KSCOPE_BIN` names no file, or kscope does not build.
#[must_use]
pub fn kscope() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    match std::env::var_os("KSCOPE_BIN") {
        Some(path) => {
            let shown = path.to_string_lossy();
            assert!(Path::new(&path).is_file(), "KSCOPE_BIN is {shown}");
            path.into()
        }
        None => BUILT.get_or_init(|| built("kscope")).clone(),
    }
}

/// Runs kscope to its end, by force after most of a minute; gives code, output and messages.
///
/// # Panics
///
/// If it cannot be started.
#[must_use]
pub fn run(program: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new("timeout");
    let output = command
        .args(["-s", "KILL", "50"])
        .arg(program)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("kscope starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A running kscope whose probes are attached.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

/// What a finished kscope left.
#[derive(Debug)]
pub struct Finished {
    /// Lines of standard output that were not read before.
    pub lines: Vec<String>,
    /// Lines of standard error.
    pub errors: Vec<String>,
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
}

impl Finished {
    /// Gives what was printed, an object of JSON a line.
    ///
    /// # Panics
    ///
    /// If it ended in failure, or a line is no JSON.
    #[must_use]
    pub fn json(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{self:?}");
        let parse = |line: &String| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
        };
        self.lines.iter().map(parse).collect()
    }
}

impl Tracer {
    /// Starts kscope and waits until its probes are attached.
    ///
    /// # Errors
    ///
    /// What it left, where it ended before.
    ///
    /// # Panics
    ///
    /// If it cannot be started or takes too long.
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        program: &Path,
        arguments: &[S],
    ) -> Result<Tracer, Finished> {
        let mut command = Command::new(program);
        command.args(arguments);
        Tracer::of(command)
    }

    /// Starts a command that runs kscope, and waits until its probes are attached.
    ///
    /// # Errors
    ///
    /// What it left, where it ended before.
    ///
    /// # Panics
    ///
    /// If it cannot be started or takes too long.
    pub fn of(mut command: Command) -> Result<Tracer, Finished> {
        let mut child = command
            .env(ATTACHED, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kscope starts");
        let lines = read_lines(child.stdout.take().expect("its output"));
        let errors = read_lines(child.stderr.take().expect("its errors"));
        let tracer = Tracer {
            child,
            lines,
            errors,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match tracer
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line == ATTACHED => return Ok(tracer),
                // What `begin` prints comes first.
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(tracer.finish()),
                Err(RecvTimeoutError::Timeout) => {
                    tracer.signal("KILL");
                    panic!("kscope did not attach in {PATIENCE:?}");
                }
            }
        }
    }

    /// Gives its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Gives the next line of its output.
    ///
    /// # Panics
    ///
    /// If it takes too long.
    pub fn line(&mut self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line in {PATIENCE:?}"),
        }
    }

    /// Sends it a signal by name, for example `INT`.
    ///
    /// # Panics
    ///
    /// If `kill` cannot be run.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(sent.expect("kill").success(), "kill -{name} {pid}");
    }

    /// Interrupts it as Ctrl-C does and gives what it left.
    #[must_use]
    pub fn interrupt(self) -> Finished {
        self.signal("INT");
        self.finish()
    }

    /// Waits for its end and gives what it left.
    ///
    /// # Panics
    ///
    /// If it takes too long.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait().expect("its status") {
                Some(status) => break status,
                None if Instant::now() > deadline => {
                    self.signal("KILL");
                    panic!("kscope did not end in {PATIENCE:?}");
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        Finished {
            lines: self.lines.iter().filter(|line| line != ATTACHED).collect(),
            errors: self.errors.iter().collect(),
            code: status.code(),
        }
    }
}

/// Reads lines in a thread, so that neither pipe fills up.
fn read_lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while from.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes)
                .trim_end_matches('\n')
                .to_owned();
            bytes.clear();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A folder that goes away with the test.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes a folder.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Folder {
        // Tests of one process ask for folders of one name at the same time.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("kscope-{name}-{process}-{number}"));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    /// Gives its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in the temporary one harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Name and bytes of the programs of tests/programs; none where the machine that built the tests
/// could not make them.
const PROGRAMS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/programs.rs"));

/// Puts a program of tests/programs into a folder; none where there was no C compiler for it.
///
/// # Panics
///
/// If it cannot be written.
#[must_use]
pub fn c_program(name: &str, folder: &Folder) -> Option<PathBuf> {
    let (_, bytes) = PROGRAMS.iter().find(|(known, _)| *known == name)?;
    let program = folder.path().join(name);
    // A copy made by another program: a descriptor of ours, inherited by whatever another test starts
    // meanwhile, would keep the kernel from running it (ETXTBSY).
    let mut copy = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(&program)
        .stdin(Stdio::piped())
        .spawn()
        .expect("sh");
    let mut input = copy.stdin.take().expect("piped");
    input.write_all(bytes).expect("it reads");
    drop(input);
    assert!(copy.wait().expect("it ends").success());
    Some(program)
}

/// Gives kscope, or skips the test for want of root.
#[macro_export]
macro_rules! kscope_or_skip {
    () => {{
        let _ = $crate::kernel_or_skip!();
        $crate::program::kscope()
    }};
}
