//! Files that get their name when they are whole.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What follows the name of a file that is being written.
const SUFFIX: &str = "-incomplete";

/// A file that is written under its name and `-incomplete`, and renamed at the end.
///
/// However the writing ends, there is never a part of a file under the final name; what was
/// written stays under the other. Its owner alone may read it: memory has keys and passwords in it.
#[derive(Debug)]
pub struct Unfinished {
    file: File,
    path: PathBuf,
    whole: PathBuf,
    replace: bool,
}

impl Unfinished {
    /// Gives the name that a file has until it is whole.
    #[must_use]
    pub fn path_of(whole: &Path) -> PathBuf {
        let mut name = OsString::from(whole);
        name.push(SUFFIX);
        PathBuf::from(name)
    }

    /// Begins a file. Unless `replace`, neither it nor an unfinished one may be there.
    ///
    /// # Errors
    /// Where the file cannot be made; with [`io::ErrorKind::AlreadyExists`] where there is one.
    pub fn create(path: &Path, replace: bool) -> io::Result<Unfinished> {
        let unfinished = Unfinished::path_of(path);
        if !replace && path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        match replace {
            true => options.create(true).truncate(true),
            false => options.create_new(true),
        };
        Ok(Unfinished {
            file: options.open(&unfinished)?,
            path: unfinished,
            whole: path.to_owned(),
            replace,
        })
    }

    /// Gives the file to write to.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the name that the file has for now.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has the disk take what was written, and gives the file its name.
    ///
    /// # Errors
    /// Where the disk does not take it, or, with [`io::ErrorKind::AlreadyExists`], where a file has
    /// come to have the name that was not to be replaced: the file keeps the name that it has.
    pub fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        self.rename()?;
        let folder = match self.whole.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // Not every folder can be opened or synced: the file has its name all the same.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }

    fn rename(&self) -> io::Result<()> {
        if self.replace {
            return std::fs::rename(&self.path, &self.whole);
        }
        // A second name is never given in place of one that is there, as renaming would.
        match std::fs::hard_link(&self.path, &self.whole) {
            Ok(()) => std::fs::remove_file(&self.path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system on which files have but one name.
            Err(_) if self.whole.symlink_metadata().is_ok() => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Err(_) => std::fs::rename(&self.path, &self.whole),
        }
    }
}
