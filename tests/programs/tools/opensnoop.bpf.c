/* Which process opens which file, with what result: entry and exit of the call, joined by the thread, and
 * a perf buffer. */
#include "tools.h"

struct trace_event_raw_sys_enter {
	long id;
	u64 args[6];
} __relocated;

struct trace_event_raw_sys_exit {
	long id;
	long ret;
} __relocated;

struct entered {
	const char *path;
	int flags;
};

struct event {
	u32 pid;
	int flags;
	long result;
	char comm[COMM];
	char path[128];
};

const volatile u32 only_pid;
const volatile bool failed_only;

HASH(starts, 1024, u32, struct entered);

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

static __always_inline int enter(const char *path, int flags)
{
	u64 both = current_pid_tgid();
	u32 tid = both;
	struct entered entered = { .path = path, .flags = flags };

	if (only_pid && only_pid != both >> 32)
		return 0;
	map_update(&starts, &tid, &entered, 0);
	return 0;
}

static __always_inline int leave(void *ctx, long result)
{
	u64 both = current_pid_tgid();
	u32 tid = both;
	struct entered *entered = map_lookup(&starts, &tid);
	struct event event = {};

	if (!entered)
		return 0;
	if (!failed_only || result < 0) {
		event.pid = both >> 32;
		event.flags = entered->flags;
		event.result = result;
		current_comm(event.comm, sizeof(event.comm));
		read_user_str(event.path, sizeof(event.path), entered->path);
		perf_output(ctx, &events, CURRENT_CPU, &event, sizeof(event));
	}
	map_delete(&starts, &tid);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_openat")
int enter_openat(struct trace_event_raw_sys_enter *ctx)
{
	return enter((const char *)ctx->args[1], ctx->args[2]);
}

SEC("tracepoint/syscalls/sys_exit_openat")
int exit_openat(struct trace_event_raw_sys_exit *ctx)
{
	return leave(ctx, ctx->ret);
}
