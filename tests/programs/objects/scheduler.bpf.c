/* A scheduler (Linux 6.12): tasks run in the order of the kernel's own queue, and are counted. */
#include "bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct task_struct;

struct sched_ext_ops {
	void (*running)(struct task_struct *task);
	char name[128];
} __relocated;

u64 runs;

SEC("struct_ops/running")
void running(u64 *ctx)
{
	__sync_fetch_and_add(&runs, 1);
}

SEC(".struct_ops.link")
struct sched_ext_ops counting = {
	.running = (void *)running,
	.name = "kscope_counting",
};
