//! In place of what finds out why a map is refused, in a build that looks for no causes.

use kscope_spec::MapSpec;
use kscope_sys::{Errno, Kernel};

use crate::denial::{Needs, explain};
use crate::error::Error;

pub(super) fn refusal(kernel: &dyn Kernel, spec: &MapSpec, errno: Errno) -> Error {
    let about = format!("map {}", spec.name);
    explain(kernel, Needs::Bpf, "BPF_MAP_CREATE", errno, about)
}
