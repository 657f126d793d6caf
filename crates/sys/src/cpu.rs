//! Lists of CPUs as sysfs writes them.

use std::path::Path;

use crate::errno::Errno;
use crate::kernel::Kernel;

/// Which CPUs are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CpuSet {
    /// CPUs that could ever be there; per-CPU map values have one entry for each.
    Possible,
    /// CPUs that run now; perf events are opened on these.
    Online,
}

/// The largest CPU number believed; the kernel's own limit is 8192.
const MAX_CPU: u32 = 65_535;

/// Parses `0-3,8,10-11`; `None` where the text is not such a list.
///
/// # Examples
///
/// ```
/// assert_eq!(kscope_sys::parse_cpu_list("0-2,5\n"), Some(vec![0, 1, 2, 5]));
/// assert_eq!(kscope_sys::parse_cpu_list("2-1"), None);
/// ```
pub fn parse_cpu_list(text: &str) -> Option<Vec<u32>> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first > last || last > MAX_CPU {
            return None;
        }
        cpus.extend(first..=last);
    }
    if cpus.is_empty() || !cpus.is_sorted_by(|a, b| a < b) {
        return None;
    }
    Some(cpus)
}

impl dyn Kernel + '_ {
    /// Lists CPUs, ascending.
    ///
    /// # Errors
    ///
    /// Where sysfs is not mounted, or its text is not a list (`EIO`).
    pub fn cpus(&self, set: CpuSet) -> Result<Vec<u32>, Errno> {
        let path = match set {
            CpuSet::Possible => "/sys/devices/system/cpu/possible",
            CpuSet::Online => "/sys/devices/system/cpu/online",
        };
        let bytes = self.read_file(Path::new(path))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Errno::IO)?;
        parse_cpu_list(text).ok_or(Errno::IO)
    }
}
