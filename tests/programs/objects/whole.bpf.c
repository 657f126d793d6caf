/* One of everything that the loader does for an object. */
#include "bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* Globals of every section. */
const volatile u32 threshold = 7;
const volatile char label[8] = "none";
u64 hits;
u32 answer = 40;
u8 small SEC(".data.own") = 9;
static volatile u32 hidden = 5;

/* Kinds of types that not all kernels know. */
struct tagged {
	double ratio;
	int __attribute__((btf_type_tag("kscope"))) *pointer;
	int number __attribute__((btf_decl_tag("kscope")));
} tagged;

/* Build options and facts. */
extern u32 LINUX_KERNEL_VERSION __kconfig;
extern bool CONFIG_BPF_SYSCALL __kconfig;
extern enum libbpf_tristate CONFIG_NET __kconfig;
extern u64 CONFIG_NR_CPUS __kconfig __weak;
extern bool CONFIG_NO_SUCH_THING __kconfig __weak;

/* Symbols. */
extern const void schedule __ksym __weak;
extern const void kscope_no_such_symbol __ksym __weak;
extern int kscope_no_such_function(int) __ksym __weak;

struct locked {
	struct bpf_spin_lock lock;
	u32 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct locked);
} locks SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &first, [3] = &second },
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1000);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, u32);
	__type(value, u32);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 4);
	__type(value, u32);
} queue SEC(".maps");

int tail(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, int(void *));
} programs SEC(".maps") = {
	.values = { [2] = (void *)&tail },
};

static __noinline int triple(u32 x)
{
	return x * 3 + hidden;
}

/* The kernel's, as much of it as is asked for. */
struct task_struct {
	int pid;
	int tgid;
	struct task_struct *group_leader;
} __relocated;

struct task_struct___other {
	int kscope_no_such_member;
} __relocated;

struct kscope_no_such_type {
	int x;
} __relocated;

SEC("raw_tp/sched_switch")
int globals(void *ctx)
{
	__sync_fetch_and_add(&hits, 1);
	return answer + threshold + small + triple(1);
}

SEC("raw_tp/sched_switch")
int options(void *ctx)
{
	u32 found = 0;

	if (LINUX_KERNEL_VERSION >= 0x050a00)
		found |= 1;
	if (CONFIG_BPF_SYSCALL)
		found |= 2;
	if (CONFIG_NET == TRI_YES)
		found |= 4;
	if (CONFIG_NR_CPUS > 0)
		found |= 8;
	if (CONFIG_NO_SUCH_THING)
		found |= 16;
	return found;
}

SEC("raw_tp/sched_switch")
int symbols(void *ctx)
{
	u32 found = 0;

	if (&schedule)
		found |= 1;
	if (&kscope_no_such_symbol)
		found |= 2;
	if (kscope_no_such_function) {
		found |= 4;
		kscope_no_such_function(1);
	}
	return found;
}

SEC("raw_tp/sched_switch")
int inside(void *ctx)
{
	u32 key = 3, zero = 0;
	u32 *value;
	void *map = map_lookup(&outer, &key);

	if (!map)
		return 1;
	value = map_lookup(map, &zero);
	if (!value)
		return 2;
	*value = 77;
	return 0;
}

SEC("tc")
int locked(void *ctx)
{
	u32 key = 1;
	struct locked zero = {}, *value;

	map_update(&locks, &key, &zero, 0);
	value = map_lookup(&locks, &key);
	if (!value)
		return 0;
	spin_lock(&value->lock);
	value->count += 2;
	spin_unlock(&value->lock);
	return value->count;
}

SEC("socket")
int tail(void *ctx)
{
	return 123;
}

SEC("socket")
int jump(void *ctx)
{
	tail_call(ctx, &programs, 2);
	return 1;
}

SEC("raw_tp/sched_switch")
int relocated(void *ctx)
{
	struct task_struct *task = (void *)current_task(), *leader = 0;
	struct task_struct___other *other = (void *)task;
	int pid = 0, nothing = 0;

	read_kernel(&leader, sizeof(leader), &task->group_leader);
	read_kernel(&pid, sizeof(pid), &leader->pid);
	if (field_exists(other->kscope_no_such_member))
		read_kernel(&nothing, sizeof(nothing), &other->kscope_no_such_member);
	if (type_exists(struct kscope_no_such_type))
		pid = -1;
	return pid;
}

SEC("raw_tp/sched_switch")
int missing(void *ctx)
{
	struct task_struct___other *other = (void *)current_task();
	int x = 0;

	read_kernel(&x, sizeof(x), &other->kscope_no_such_member);
	return x;
}

SEC("?raw_tp/sched_switch")
int asked_for(void *ctx)
{
	return 11;
}

SEC("no_such_section")
int strange(void *ctx)
{
	return 0;
}

SEC("freplace/triple")
int replaced(u32 x)
{
	return 0;
}
