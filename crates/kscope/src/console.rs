//! Writing to the two standard streams, either of which may be closed at any time.

use std::cell::RefCell;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;

thread_local! {
    /// Where output goes in place of the standard streams.
    static AWAY: RefCell<Option<Away>> = const { RefCell::new(None) };
}

/// Other places than the standard streams.
struct Away {
    out: File,
    /// What was told; none where that still goes to standard error.
    told: Option<String>,
}

/// Writes how many there are.
pub(crate) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Lets all that `work` writes to standard output go to a file; with `keep_told` what it tells is
/// given back in place of being written to standard error.
pub(crate) fn divert<T>(out: File, keep_told: bool, work: impl FnOnce() -> T) -> (T, String) {
    let told = keep_told.then(String::new);
    let before = AWAY.replace(Some(Away { out, told }));
    let done = work();
    let away = AWAY.replace(before);
    (done, away.and_then(|away| away.told).unwrap_or_default())
}

/// Gives a descriptor of its own of what standard output is for now.
pub(crate) fn output() -> io::Result<File> {
    AWAY.with_borrow(|away| match away {
        Some(away) => away.out.try_clone(),
        None => io::stdout().as_fd().try_clone_to_owned().map(File::from),
    })
}

/// Writes a line to standard error; where that cannot be written there is nobody to tell.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(Errors, "{line}");
}

/// Standard error, or what is in its place.
pub(crate) struct Errors;

impl Write for Errors {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        AWAY.with_borrow_mut(|away| match away {
            Some(Away {
                told: Some(told), ..
            }) => {
                told.push_str(&String::from_utf8_lossy(bytes));
                Ok(())
            }
            _ => io::stderr().write_all(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Writes text to standard output at once.
pub(crate) fn say(text: impl Display) -> io::Result<()> {
    let written = AWAY.with_borrow(|away| {
        let mut out = &away.as_ref()?.out;
        Some(out.write_all(text.to_string().as_bytes()))
    });
    if let Some(written) = written {
        return written;
    }
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Makes a panic, of whatever thread, say that it is a bug of this program and end it with code 101, whether or not the
/// build unwinds.
pub(crate) fn tell_of_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        let version = env!("CARGO_PKG_VERSION");
        // Not by way of what may be in the middle of something.
        let _ = writeln!(
            io::stderr(),
            "ERROR: this is a bug of kscope {version}: {panic}\n\
             HINT: please report it, with the script and the output of `kscope doctor`"
        );
        std::process::exit(101);
    }));
}
