/* Programs whose sections name what is there, what is not, and nothing. */
#include "bpf.h"

char _license[] SEC("license") = "GPL";

#define PROGRAM(section, name) \
	SEC(section) int name(u64 *ctx) { return 0; }

PROGRAM("raw_tp/sys_enter", raw)
PROGRAM("raw_tp/sys_enterr", raw_misspelt)
PROGRAM("raw_tracepoint/nope_nope", raw_nowhere)
PROGRAM("raw_tp.w/nope_nope", writable_nowhere)
PROGRAM("raw_tp/sched/sched_switch", raw_with_category)
PROGRAM("tp/sched/sched_switch", point)
PROGRAM("tp/sched/sched_swich", point_misspelt)
PROGRAM("tp_btf/sched_switch", typed)
PROGRAM("syscall", of_a_caller)
PROGRAM("tp", point_unnamed)
PROGRAM("raw_tp", raw_unnamed)
PROGRAM("uprobe", function_unnamed)
PROGRAM("xdp", of_an_interface)
PROGRAM("socket", of_a_socket)

SEC("tp/syscalls/sys_enter_read")
int within(u64 *ctx)
{
	return ctx[4];
}

SEC("tp/syscalls/sys_enter_read")
int beyond(u64 *ctx)
{
	return ctx[40];
}
