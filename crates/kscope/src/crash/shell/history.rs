//! The lines that were typed, kept in the user's state folder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

/// Most lines that are kept.
pub(super) const LINES: usize = 1000;

/// The file that keeps the lines.
pub(super) struct History {
    file: Option<PathBuf>,
}

impl History {
    /// Finds the file; without a home nothing is kept.
    pub(super) fn of_user() -> History {
        let folder = |name: &str| {
            let value = std::env::var_os(name).map(PathBuf::from);
            value.filter(|path| path.is_absolute())
        };
        let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
        History {
            file: state.map(|state| state.join("kscope/crash_history")),
        }
    }

    /// Gives the last lines, oldest first, and makes a file short that has many more.
    pub(super) fn load(&self) -> Vec<String> {
        let text = self.file.as_ref().and_then(|file| fs::read(file).ok());
        let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let kept = lines[lines.len().saturating_sub(LINES)..].to_vec();
        if let (true, Some(file)) = (lines.len() > 2 * LINES, &self.file) {
            // One that cannot be written stays long.
            let _ = fs::write(file, kept.join("\n") + "\n");
        }
        kept
    }

    /// Adds a line.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub(super) fn add(&self, line: &str) -> std::io::Result<()> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        // Lines may have names of what is secret.
        let mut options = OpenOptions::new();
        let mut out = options.append(true).create(true).mode(0o600).open(file)?;
        writeln!(out, "{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::{History, LINES};

    #[test]
    fn lines_are_kept_up_to_a_number() {
        let folder = std::env::temp_dir().join(format!("kscope-history-{}", std::process::id()));
        let file = folder.join("state/history");
        let history = History {
            file: Some(file.clone()),
        };
        assert!(history.load().is_empty());
        for number in 0..2 * LINES + 1 {
            history.add(&number.to_string()).expect("written");
        }
        let lines = history.load();
        assert_eq!((lines.len(), &*lines[0]), (LINES, "1001"));
        let left = std::fs::read_to_string(&file).expect("a file");
        assert_eq!(left.lines().count(), LINES);
        std::fs::remove_dir_all(&folder).expect("removed");
        assert!(History { file: None }.add("x").is_ok());
    }
}
