//! What helpers take, as far as the check needs it.
//!
//! Source: the `bpf_func_proto` tables of the kernel, kernel/bpf/helpers.c and
//! kernel/trace/bpf_trace.c.

use crate::helper::{self as h, HelperId};

/// What an argument must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arg {
    /// Anything written.
    Any,
    /// A map.
    Map,
    /// A key of the map before it.
    Key,
    /// A value of the map before it.
    Value,
    /// Bytes the helper reads; the size follows.
    In,
    /// Bytes the helper writes; the size follows.
    Out,
}

/// Gives the arguments of a helper that tracing programs call, or `None` for the others.
pub(super) fn arguments(id: HelperId) -> Option<&'static [Arg]> {
    use Arg::{Any, In, Key, Map, Out, Value};
    let arguments: &[Arg] = match id {
        h::MAP_LOOKUP_ELEM | h::MAP_DELETE_ELEM => &[Map, Key],
        h::MAP_UPDATE_ELEM => &[Map, Key, Value, Any],
        h::MAP_LOOKUP_PERCPU_ELEM => &[Map, Key, Any],
        h::PROBE_READ
        | h::PROBE_READ_STR
        | h::PROBE_READ_KERNEL
        | h::PROBE_READ_KERNEL_STR
        | h::PROBE_READ_USER
        | h::PROBE_READ_USER_STR
        | h::COPY_FROM_USER => &[Out, Any, Any],
        h::KTIME_GET_NS
        | h::KTIME_GET_BOOT_NS
        | h::KTIME_GET_COARSE_NS
        | h::KTIME_GET_TAI_NS
        | h::GET_PRANDOM_U32
        | h::GET_SMP_PROCESSOR_ID
        | h::GET_CURRENT_PID_TGID
        | h::GET_CURRENT_UID_GID
        | h::GET_CURRENT_TASK
        | h::GET_CURRENT_TASK_BTF
        | h::GET_CURRENT_CGROUP_ID
        | h::GET_NUMA_NODE_ID
        | h::JIFFIES64 => &[],
        h::GET_CURRENT_COMM => &[Out, Any],
        h::TRACE_PRINTK => &[In, Any],
        h::PERF_EVENT_OUTPUT => &[Any, Map, Any, In, Any],
        h::PERF_EVENT_READ => &[Map, Any],
        h::PERF_EVENT_READ_VALUE => &[Map, Any, Out, Any],
        h::PERF_PROG_READ_VALUE => &[Any, Out, Any],
        h::GET_STACKID => &[Any, Map, Any],
        h::GET_STACK => &[Any, Out, Any, Any],
        h::GET_TASK_STACK => &[Any, Out, Any, Any],
        h::TAIL_CALL => &[Any, Map, Any],
        h::RINGBUF_OUTPUT => &[Map, In, Any, Any],
        h::RINGBUF_RESERVE => &[Map, Any, Any],
        h::RINGBUF_SUBMIT | h::RINGBUF_DISCARD => &[Any, Any],
        h::RINGBUF_QUERY => &[Map, Any],
        h::STRNCMP => &[In, Any, Any],
        h::STRTOL | h::STRTOUL => &[In, Any, Any, Any],
        h::SNPRINTF => &[Out, Any, Any, In, Any],
        h::SEQ_WRITE => &[Any, In, Any],
        h::SEQ_PRINTF => &[Any, In, Any, In, Any],
        h::D_PATH => &[Any, Out, Any],
        h::GET_NS_CURRENT_PID_TGID => &[Any, Any, Out, Any],
        h::CURRENT_TASK_UNDER_CGROUP => &[Map, Any],
        h::GET_CURRENT_ANCESTOR_CGROUP_ID
        | h::GET_FUNC_IP
        | h::GET_FUNC_ARG_CNT
        | h::GET_ATTACH_COOKIE
        | h::SEND_SIGNAL
        | h::SEND_SIGNAL_THREAD
        | h::TASK_PT_REGS => &[Any],
        h::OVERRIDE_RETURN | h::PER_CPU_PTR => &[Any, Any],
        h::LOOP => &[Any, Any, Any, Any],
        h::FOR_EACH_MAP_ELEM => &[Map, Any, Any, Any],
        h::FIND_VMA => &[Any, Any, Any, Any, Any],
        h::READ_BRANCH_RECORDS => &[Any, Out, Any, Any],
        _ => return None,
    };
    Some(arguments)
}

/// Tells whether the helper writes through pointers that the table calls [`Arg::Any`].
pub(super) fn writes_more(id: HelperId) -> bool {
    matches!(
        id,
        h::LOOP | h::FOR_EACH_MAP_ELEM | h::FIND_VMA | h::STRTOL | h::STRTOUL | h::GET_FUNC_ARG
    )
}

/// Tells whether the helper gives null or a pointer.
pub(super) fn may_be_null(id: HelperId) -> bool {
    matches!(
        id,
        h::MAP_LOOKUP_ELEM
            | h::MAP_LOOKUP_PERCPU_ELEM
            | h::RINGBUF_RESERVE
            | h::PER_CPU_PTR
            | h::TASK_STORAGE_GET
            | h::INODE_STORAGE_GET
            | h::CGRP_STORAGE_GET
            | h::DYNPTR_DATA
    )
}
