/* Which process ends, how old and how. */
#include "tools.h"

struct event {
	u64 age;
	u32 pid;
	u32 parent;
	u32 code;
	char comm[COMM];
};

RING(events);

SEC("tracepoint/sched/sched_process_exit")
int on_exit(void *ctx)
{
	struct task_struct *task = (void *)current_task();
	u64 both = current_pid_tgid();
	struct event *event;

	/* The last thread is the process. */
	if (both >> 32 != (u32)both)
		return 0;
	event = ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->age = ktime_get_ns() - get(task, start_time);
	event->pid = both >> 32;
	event->parent = get(get(task, real_parent), tgid);
	event->code = get(task, exit_code);
	current_comm(event->comm, sizeof(event->comm));
	ringbuf_submit(event, 0);
	return 0;
}
