/* How long tasks wait for a CPU, as a histogram of powers of two of microseconds; typed tracepoints. */
#include "tools.h"

/* The name since Linux 5.14. */
struct task_struct___new {
	u32 __state;
} __relocated;

struct task_struct___old {
	long state;
} __relocated;

struct histogram {
	u32 slots[32];
};

const volatile u32 only_tgid;

HASH(starts, 4096, u32, u64);
HASH(histograms, 64, u32, struct histogram);

static const struct histogram nothing;

static __always_inline void queued(u32 tgid, u32 pid)
{
	u64 now;

	if (!pid || (only_tgid && only_tgid != tgid))
		return;
	now = ktime_get_ns();
	map_update(&starts, &pid, &now, 0);
}

static __always_inline bool is_running(struct task_struct *task)
{
	struct task_struct___new *new = (void *)task;
	struct task_struct___old *old = (void *)task;

	if (field_exists(new->__state))
		return get(new, __state) == 0;
	return get(old, state) == 0;
}

SEC("tp_btf/sched_wakeup")
int woken(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	queued(task->tgid, task->pid);
	return 0;
}

SEC("tp_btf/sched_wakeup_new")
int begun(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	queued(task->tgid, task->pid);
	return 0;
}

SEC("tp_btf/sched_switch")
int switched(u64 *ctx)
{
	struct task_struct *before = (void *)ctx[1], *after = (void *)ctx[2];
	u32 pid = after->pid, tgid = after->tgid, slot;
	struct histogram *histogram;
	u64 *start;

	/* Whoever was pushed off the CPU waits again. */
	if (is_running(before))
		queued(before->tgid, before->pid);
	start = map_lookup(&starts, &pid);
	if (!start)
		return 0;
	map_update(&histograms, &tgid, &nothing, 1);
	histogram = map_lookup(&histograms, &tgid);
	if (histogram) {
		slot = log2((ktime_get_ns() - *start) / 1000);
		if (slot < 32)
			__sync_fetch_and_add(&histogram->slots[slot], 1);
	}
	map_delete(&starts, &pid);
	return 0;
}
