//! Global variables with their C types, which BTF does not have.

use kscope_memory::Object;

use super::kernel::Kernel;
use crate::Error;

/// A global variable and its type.
pub(crate) struct Global {
    pub(crate) name: &'static str,
    /// The name of a structure, union or typedef; of an array, of its elements.
    type_name: &'static str,
}

const fn global(name: &'static str, type_name: &'static str) -> Global {
    Global { name, type_name }
}

/// The variables. One that a kernel has under another type is left out of what it has.
pub(crate) const GLOBALS: &[Global] = &[
    global("__cpu_online_mask", "cpumask"),
    global("__cpu_possible_mask", "cpumask"),
    global("__cpu_present_mask", "cpumask"),
    global("bdi_list", "list_head"),
    global("boot_cpu_data", "cpuinfo_x86"),
    global("btf_modules", "list_head"),
    global("cgrp_dfl_root", "cgroup_root"),
    global("cpu_info", "cpuinfo_x86"),
    global("cpu_worker_pools", "worker_pool"),
    global("hrtimer_bases", "hrtimer_cpu_base"),
    global("init_files", "files_struct"),
    global("init_fs", "fs_struct"),
    global("init_ipc_ns", "ipc_namespace"),
    global("init_mm", "mm_struct"),
    global("init_net", "net"),
    global("init_nsproxy", "nsproxy"),
    global("init_pid_ns", "pid_namespace"),
    global("init_task", "task_struct"),
    global("init_user_ns", "user_namespace"),
    global("init_uts_ns", "uts_namespace"),
    global("iomem_resource", "resource"),
    global("ioport_resource", "resource"),
    global("kernel_cpustat", "kernel_cpustat"),
    global("kstat", "kernel_stat"),
    global("link_idr", "idr"),
    global("map_idr", "idr"),
    global("modules", "list_head"),
    global("net_namespace_list", "list_head"),
    global("panic_cpu", "atomic_t"),
    global("prog_idr", "idr"),
    global("rcu_data", "rcu_data"),
    global("rcu_state", "rcu_state"),
    global("runqueues", "rq"),
    global("slab_caches", "list_head"),
    global("super_blocks", "list_head"),
    global("tcp_hashinfo", "inet_hashinfo"),
    global("tick_cpu_sched", "tick_sched"),
    global("timer_bases", "timer_base"),
    global("udp_table", "udp_table"),
    global("vm_event_states", "vm_event_state"),
    global("worker_pool_idr", "idr"),
    global("workqueues", "list_head"),
];

/// Other symbols that are asked for: places, and numbers of the machine's width.
pub(crate) const PLACES: &[&str] = &[
    "__per_cpu_offset",
    "linux_banner",
    "saved_command_line",
    "tainted_mask",
    "jiffies_64",
    "_totalram_pages",
    "blockdev_superblock",
    "default_hstate_idx",
    "direct_pages_count",
    "hstates",
    "hugetlb_max_hstate",
    "node_data",
    "nr_node_ids",
    "nr_swap_pages",
    "nr_vmalloc_pages",
    "num_poisoned_pages",
    "pcpu_nr_populated",
    "pcpu_nr_units",
    "sysctl_overcommit_kbytes",
    "sysctl_overcommit_ratio",
    "total_swap_pages",
    "totalcma_pages",
    "totalreserve_pages",
    "vm_committed_as",
    "vm_node_stat",
    "vm_zone_stat",
    "block_class",
    "class_kset",
    "disk_type",
    "delayed_work_timer_fn",
    "wq_barrier_func",
    "tk_core",
    "timekeeper_data",
    "__start_BTF",
    "__stop_BTF",
    "__start_orc_unwind_ip",
    "__stop_orc_unwind_ip",
    "__start_orc_unwind",
    "__stop_orc_unwind",
    "_stext",
    "_etext",
    "_sinittext",
    "_einittext",
    "_end",
];

/// Gives a variable with its type, which must fit before the next symbol.
pub(crate) fn variable<'k>(kernel: &'k Kernel, name: &str) -> Result<Object<'k>, Error> {
    let known = GLOBALS.iter().find(|g| g.name == name);
    let known = known.ok_or_else(|| Error::NoSymbol(name.to_owned()))?;
    let addr = kernel.need(name)?;
    let btf = kernel.btf()?;
    let object = Object::named(kernel, btf, known.type_name, addr)?;
    let size = object.size()?;
    let next = kernel.symbols()?.next_after(addr);
    match next.and_then(|next| next.offset_from(addr)) {
        Some(room) if room < size => Err(Error::Malformed {
            what: "global variable, smaller than its type",
            offset: addr.0,
        }),
        _ => Ok(object),
    }
}
