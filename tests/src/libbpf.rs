//! What libbpf says of an object, through a program of a few lines of C that has it inside.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::libbpf_tools::Size;
use crate::program::{Folder, c_program};

/// How long libbpf may take for one object, and the verifier with it.
const LIMIT: Duration = Duration::from_secs(120);

/// The program that loads an object with libbpf.
#[derive(Debug)]
pub struct Libbpf {
    program: PathBuf,
    /// Its version, as it says it.
    pub version: String,
    _folder: Folder,
}

/// What came of loading and attaching one program with libbpf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The program's name; nothing where the object could not be opened.
    pub program: String,
    /// Why not, where it was not attached.
    pub failure: Option<String>,
}

impl Libbpf {
    /// Finds the program.
    ///
    /// # Errors
    ///
    /// The reason to skip: it was not made for want of libbpf or of a compiler.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    pub fn find() -> Result<Libbpf, String> {
        let folder = Folder::new(&format!("libbpf-{:?}", std::thread::current().id()));
        let program = c_program("libbpf_load", &folder)
            .ok_or("the machine that built the tests has no libbpf.a, libelf.a or cc")?;
        let output = Command::new(&program).output().expect("it runs");
        let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Libbpf {
            program,
            version,
            _folder: folder,
        })
    }

    /// Loads an object; maps get these sizes.
    ///
    /// # Errors
    ///
    /// What libbpf said where it did not load whole.
    pub fn load(&self, object: &Path, sizes: &[Size]) -> Result<(), String> {
        self.run(&[], object, sizes).map(drop)
    }

    /// Loads and attaches each program of an object, by itself where the object does not load whole.
    ///
    /// # Errors
    ///
    /// Why the program that has libbpf inside did not end well.
    pub fn attach_each(&self, object: &Path, sizes: &[Size]) -> Result<Vec<Attempt>, String> {
        let said = self.run(&["-e"], object, sizes)?;
        let attempt = |line: &str| {
            let mut words = line.splitn(3, '\t');
            let mut word = || words.next().unwrap_or_default().to_owned();
            let (program, step, why) = (word(), word(), word());
            let failure = (step != "attached").then(|| format!("{step}: {why}"));
            Attempt { program, failure }
        };
        Ok(said.lines().map(attempt).collect())
    }

    fn run(&self, options: &[&str], object: &Path, sizes: &[Size]) -> Result<String, String> {
        let sizes = sizes.iter().map(|size| {
            let Size {
                map,
                max_entries,
                value_size,
            } = size;
            format!("{map}={max_entries}:{value_size}")
        });
        let child = Command::new(&self.program)
            .args(options)
            .arg(object)
            .args(sizes)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.map_err(|error| error.to_string())?;
        let until = Instant::now() + LIMIT;
        while child.try_wait().is_ok_and(|ended| ended.is_none()) {
            if Instant::now() >= until {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not loaded within {} s", LIMIT.as_secs()));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let output = child.wait_with_output();
        let output = output.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.success() {
            true => Ok(said),
            false => Err(said),
        }
    }
}
