//! A process whose threads wait for each other, see tests/programs/stuck.c.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::program::{Folder, PATIENCE, c_program};

/// A process that holds locks, for which its threads wait.
#[derive(Debug)]
pub struct Stuck(Child);

impl Stuck {
    /// Starts it and gives what it made; none where the machine that built the tests had no C compiler.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start(folder: &Folder) -> Option<(Stuck, String)> {
        let mut child = Command::new(c_program("stuck", folder)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let made: Vec<String> = lines
            .map(|line| line.expect("text"))
            .take_while(|line| line != "ready")
            .collect();
        Some((Stuck(child), made.join("\n")))
    }

    /// Has it let everything go.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn end(mut self) {
        drop(self.0.stdin.take());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.0.try_wait().expect("its status") {
                assert!(status.success(), "{status}");
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        panic!("what was stuck was not let go");
    }
}
