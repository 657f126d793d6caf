//! What is loaded in a kernel, whoever loaded it: programs, maps and types by id.

mod map;
mod program;
mod types;

use kscope_sys::{Errno, Kernel, SharedKernel};

use crate::denial::{Needs, explain};
use crate::error::Error;

pub use map::LoadedMap;
pub use program::{LoadedProgram, Naming};
pub use types::LoadedTypes;

/// Walks the ids of one kind of object, ascending. Those that come or go meanwhile may or may not
/// be among them.
fn ids(
    kernel: &SharedKernel,
    call: &'static str,
    next: impl Fn(&(dyn Kernel + 'static), u32) -> Result<u32, Errno>,
) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    let mut last = 0;
    loop {
        match next(&**kernel, last) {
            // Ascending, so that the walk ends.
            Ok(id) if id > last => {
                ids.push(id);
                last = id;
            }
            Ok(_) | Err(Errno::NOENT) => return Ok(ids),
            Err(errno) => return Err(explain(&**kernel, Needs::Admin, call, errno, "")),
        }
    }
}

/// Says why an object could not be opened by its id.
fn not_opened(
    kernel: &SharedKernel,
    what: &'static str,
    call: &'static str,
    id: u32,
    errno: Errno,
) -> Error {
    match errno {
        Errno::NOENT => Error::not_found(what, id.to_string()),
        errno => explain(&**kernel, Needs::Admin, call, errno, format!("{what} {id}")),
    }
}

/// Gives a name that ends at the first NUL.
fn text(name: &[u8]) -> String {
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}
