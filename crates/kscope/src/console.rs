//! Writing to the two standard streams, either of which may be closed at any time.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a line to standard error; where that cannot be written there is nobody to tell.
pub(crate) fn tell(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes text to standard output at once.
pub(crate) fn say(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    out.flush()
}

/// Makes a panic, of whatever thread, say that it is a bug of this program and end it with code 101, whether or not the
/// build unwinds.
pub(crate) fn tell_of_bugs() {
    std::panic::set_hook(Box::new(|panic| {
        let version = env!("CARGO_PKG_VERSION");
        tell(format_args!(
            "ERROR: this is a bug of kscope {version}: {panic}"
        ));
        tell("HINT: please report it, with the script and the output of `kscope doctor`");
        std::process::exit(101);
    }));
}
