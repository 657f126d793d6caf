//! Where the kernel lists its tracepoints.

use std::path::{Path, PathBuf};

#[cfg(feature = "explain")]
use kscope_btf::nearest;
use kscope_sys::{Errno, Kernel};

use crate::denial::{Denial, Needs, cause};
use crate::error::Error;

/// Where tracefs is mounted by custom: on its own, and below debugfs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// How a person mounts it.
pub(crate) const WAY_OUT: &str = "mount -t tracefs tracefs /sys/kernel/tracing";

/// The mounted tracefs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracefs {
    root: PathBuf,
}

impl Tracefs {
    /// Finds where tracefs is mounted.
    ///
    /// # Errors
    ///
    /// [`Error::NotMounted`], [`Error::Permission`] where it is closed to
    /// this user.
    pub fn find(kernel: &dyn Kernel) -> Result<Tracefs, Error> {
        let mut denied = None;
        for place in PLACES {
            match kernel.identity(&Path::new(place).join("events")) {
                Ok(_) => return Ok(Tracefs { root: place.into() }),
                Err(Errno::ACCES | Errno::PERM) => denied = denied.or(Some(place)),
                Err(_) => {}
            }
        }
        Err(match denied {
            Some(place) => Error::permission(
                "open",
                Denial::File {
                    path: place.to_owned(),
                },
            ),
            None => Error::NotMounted {
                kind: "tracefs",
                way_out: WAY_OUT,
            },
        })
    }

    /// Finds tracefs, or mounts it at `/sys/kernel/tracing`.
    ///
    /// # Errors
    ///
    /// As [`Tracefs::find`]; [`Error::Unsupported`] for a kernel built without tracing.
    pub fn find_or_mount(kernel: &dyn Kernel) -> Result<Tracefs, Error> {
        let error = match Tracefs::find(kernel) {
            Err(error @ Error::NotMounted { .. }) => error,
            other => return other,
        };
        let [place, _] = PLACES;
        match kernel.mount("tracefs", Path::new(place)) {
            Ok(()) => Tracefs::find(kernel),
            Err(Errno::NODEV) => Err(Error::unsupported("tracefs", "CONFIG_TRACING")),
            Err(Errno::PERM | Errno::ACCES) => {
                Err(Error::permission("mount", cause(kernel, Needs::Admin)))
            }
            Err(_) => Err(error),
        }
    }

    /// Gives the directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Gives the id of a tracepoint, by which perf events name it.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] for a tracepoint that is not there.
    pub fn tracepoint_id(
        &self,
        kernel: &dyn Kernel,
        category: &str,
        name: &str,
    ) -> Result<u64, Error> {
        let plain = |part: &str| !part.is_empty() && !part.contains(['/', '\0']) && part != "..";
        let missing = || self.no_tracepoint(kernel, category, name);
        if !plain(category) || !plain(name) {
            return Err(missing());
        }
        let path = self
            .root
            .join("events")
            .join(category)
            .join(name)
            .join("id");
        let bytes = kernel.read_file(&path).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR => missing(),
            Errno::ACCES | Errno::PERM => Error::permission(
                "open",
                Denial::File {
                    path: path.display().to_string(),
                },
            ),
            errno => Error::os("read", errno, path.display().to_string()),
        })?;
        let text = String::from_utf8_lossy(&bytes);
        text.trim().parse().map_err(|_| {
            Error::os(
                "read",
                Errno::IO,
                format!("{} (not a number)", path.display()),
            )
        })
    }
}

#[cfg(not(feature = "explain"))]
impl Tracefs {
    fn no_tracepoint(&self, _: &dyn Kernel, category: &str, name: &str) -> Error {
        Error::not_found("tracepoint", format!("{category}:{name}"))
    }
}

#[cfg(feature = "explain")]
impl Tracefs {
    fn no_tracepoint(&self, kernel: &dyn Kernel, category: &str, name: &str) -> Error {
        let wanted = format!("{category}:{name}");
        let list = kernel.read_file(&self.root.join("available_events"));
        let list = String::from_utf8_lossy(&list.unwrap_or_default()).into_owned();
        let near = near_events(&list, &wanted, name);
        Error::not_found_near("tracepoint", wanted, near)
    }
}

#[cfg(all(feature = "check", feature = "inspect"))]
impl Tracefs {
    /// Gives the size in bytes of a tracepoint's record, as programs see it: where its last field
    /// ends. None where that is not to be read.
    pub(crate) fn record_size(
        &self,
        kernel: &dyn Kernel,
        category: &str,
        name: &str,
    ) -> Option<u64> {
        let path = self.root.join("events").join(category).join(name);
        let format = kernel.read_file(&path.join("format")).ok()?;
        let format = String::from_utf8_lossy(&format);
        // "	field:int prev_pid;	offset:24;	size:4;	signed:1;"
        let ends = format.lines().filter_map(|line| {
            let line = line.trim_start();
            let mut parts = line.strip_prefix("field:")?.split(';').map(str::trim);
            let mut number = |head| parts.find_map(|part| part.strip_prefix(head))?.parse().ok();
            let (offset, size): (u64, u64) = (number("offset:")?, number("size:")?);
            offset.checked_add(size)
        });
        ends.max()
    }
}

/// Gives tracepoints of a list whose names are near, or else those of another category that have
/// this very name.
#[cfg(feature = "explain")]
fn near_events<'a>(list: &'a str, wanted: &str, name: &str) -> Vec<&'a str> {
    const MOST: usize = 3;
    let near = nearest(wanted, list.lines(), MOST);
    match near.is_empty() {
        false => near,
        true => list
            .lines()
            .filter(|event| event.split_once(':').is_some_and(|(_, last)| last == name))
            .take(MOST)
            .collect(),
    }
}

#[cfg(test)]
mod tests;
