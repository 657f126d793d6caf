/* Which program is started by whom: arguments at the entry of the call, parent and result at its exit. */
#include "tools.h"

struct trace_event_raw_sys_enter {
	u64 args[6];
} __relocated;

struct trace_event_raw_sys_exit {
	long ret;
} __relocated;

#define MOST 8
#define ROOM 32

struct event {
	u32 pid;
	u32 parent;
	int result;
	u32 count;
	char comm[COMM];
	char args[MOST][ROOM];
};

HASH(running, 256, u32, struct event);
RING(events);

static const struct event nothing;
static long (*const read_user)(void *to, u32 size, const void *from) = (void *)112;

SEC("tracepoint/syscalls/sys_enter_execve")
int enter_execve(struct trace_event_raw_sys_enter *ctx)
{
	u64 both = current_pid_tgid();
	u32 tid = both;
	const char *const *args = (void *)ctx->args[1];
	struct event *event;

	if (map_update(&running, &tid, &nothing, 1))
		return 0;
	event = map_lookup(&running, &tid);
	if (!event)
		return 0;
	event->pid = both >> 32;
#pragma unroll
	for (int i = 0; i < MOST; i++) {
		const char *text = 0;

		if (read_user(&text, sizeof(text), &args[i]) || !text)
			break;
		read_user_str(event->args[i], ROOM, text);
		event->count = i + 1;
	}
	return 0;
}

SEC("tracepoint/syscalls/sys_exit_execve")
int exit_execve(struct trace_event_raw_sys_exit *ctx)
{
	u32 tid = current_pid_tgid();
	struct event *event = map_lookup(&running, &tid);
	struct task_struct *task = (void *)current_task(), *parent;

	if (!event)
		return 0;
	parent = get(task, real_parent);
	event->parent = get(parent, tgid);
	event->result = ctx->ret;
	current_comm(event->comm, sizeof(event->comm));
	ringbuf_output(&events, event, sizeof(*event), 0);
	map_delete(&running, &tid);
	return 0;
}
