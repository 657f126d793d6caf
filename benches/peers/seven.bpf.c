// The object that is loaded to compare libraries: seven programs of seven types, maps, globals, field accesses that are
// relocated, and a subprogram. Only what can be loaded on any kernel from 5.10 on that has BTF.

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct mm_struct {
	unsigned long start_code;
	unsigned long end_code;
};
struct cred {
	struct {
		unsigned int val;
	} uid;
};
struct task_struct {
	int pid;
	int tgid;
	unsigned int flags;
	char comm[16];
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	const struct cred *cred;
	struct mm_struct *mm;
	int prio;
	unsigned long long start_time;
};
struct seq_file {
	unsigned long count;
};
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};
#pragma clang attribute pop

struct event {
	__u64 time;
	__u32 pid;
	__u32 parent;
	char comm[16];
	__u64 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct event);
} by_pid SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u64);
} seen SEC(".maps");

const volatile __u32 only_pid = 0;
__u64 number;

static __attribute__((noinline)) int count(__u32 key)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		*value += 1;
	return key;
}

static __always_inline void describe(struct event *event)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	event->time = bpf_ktime_get_ns();
	event->pid = BPF_CORE_READ(task, tgid);
	event->parent = BPF_CORE_READ(task, real_parent, tgid);
	event->number = __sync_fetch_and_add(&number, 1);
	BPF_CORE_READ_STR_INTO(&event->comm, task, comm);
}

SEC("tracepoint/syscalls/sys_enter_getpgid")
int tp_getpgid(void *ctx)
{
	struct event *event;

	if (only_pid && bpf_get_current_pid_tgid() >> 32 != only_pid)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->time = bpf_ktime_get_ns();
	event->number = __sync_fetch_and_add(&number, 1);
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("raw_tracepoint/sched_process_exit")
int raw_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct event event = {};

	describe(&event);
	bpf_map_update_elem(&by_pid, &event.pid, &event, BPF_ANY);
	return count(0);
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(btf_fork, struct task_struct *parent, struct task_struct *child)
{
	struct event event = {};

	event.pid = child->tgid;
	event.parent = parent->tgid;
	event.number = child->start_time + BPF_CORE_READ(child, cred, uid.val);
	bpf_map_update_elem(&by_pid, &event.pid, &event, BPF_ANY);
	return count(1);
}

SEC("socket")
int socket_length(struct __sk_buff *packet)
{
	__u64 key = packet->len, one = 1;

	bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
	return count(2);
}

SEC("xdp")
int xdp_count(struct xdp_md *packet)
{
	void *data = (void *)(long)packet->data, *end = (void *)(long)packet->data_end;

	if (data + 14 > end)
		return XDP_DROP;
	count(3);
	return XDP_PASS;
}

SEC("perf_event")
int perf_sample(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u64 key = BPF_CORE_READ(task, mm, start_code), value;

	value = BPF_CORE_READ(task, mm, end_code) - key + BPF_CORE_READ(task, group_leader, prio);
	if (bpf_core_field_exists(task->flags))
		value += BPF_CORE_READ(task, flags);
	bpf_map_update_elem(&seen, &key, &value, BPF_ANY);
	return count(4);
}

SEC("iter/task")
int iter_task(struct bpf_iter__task *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *task = ctx->task;
	static const char format[] = "%d %d\n";
	__u64 values[2];

	if (!task)
		return 0;
	values[0] = task->pid;
	values[1] = task->real_parent->tgid;
	bpf_seq_printf(seq, format, sizeof(format), values, sizeof(values));
	return 0;
}
