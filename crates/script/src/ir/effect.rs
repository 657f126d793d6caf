//! What helpers do beside giving a result.

use kscope_spec::HelperId;
use kscope_spec::helper as h;

/// Helpers without arguments that give the same answer during one run of a program: a second
/// call may take the first one's result. Clocks do not: a script may measure itself.
const SAME_DURING_RUN: &[HelperId] = &[
    h::GET_CURRENT_PID_TGID,
    h::GET_CURRENT_UID_GID,
    h::GET_SMP_PROCESSOR_ID,
    h::GET_NUMA_NODE_ID,
    h::GET_CURRENT_TASK,
    h::GET_CURRENT_TASK_BTF,
    h::GET_CURRENT_CGROUP_ID,
];

/// Helpers without arguments that only give a value, another one at each call.
const CHANGING: &[HelperId] = &[
    h::KTIME_GET_NS,
    h::KTIME_GET_BOOT_NS,
    h::KTIME_GET_TAI_NS,
    h::JIFFIES64,
    h::GET_PRANDOM_U32,
];

/// Says whether the call may be left out when nobody uses its result.
#[must_use]
pub fn only_looks(helper: u32) -> bool {
    is_same_during_run(helper) || CHANGING.iter().any(|h| h.0 == helper)
}

/// Says whether a second call without arguments may take the first one's result.
#[must_use]
pub fn is_same_during_run(helper: u32) -> bool {
    SAME_DURING_RUN.iter().any(|h| h.0 == helper)
}
