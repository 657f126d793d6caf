/* Functions of every kind, and what the target defines. */
#include "read.h"

enum libbpf_tristate { TRI_NO, TRI_YES, TRI_MODULE };

extern u32 LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF __kconfig;
extern enum libbpf_tristate CONFIG_EXT4_FS __kconfig __weak;
extern char CONFIG_DEFAULT_HOSTNAME[20] __kconfig __weak;
extern const int typed __ksym;
extern const void untyped __ksym __weak;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_gone___old(void) __ksym __weak;

struct task_struct {
	int pid;
	struct task_struct *real_parent;
} __core;

struct {
	__uint(type, 1);
	__uint(max_entries, 10);
	__type(key, u32);
	__type(value, u32);
} map SEC(".maps");

u32 total;

static __noinline int small(int x)
{
	total += x;
	return x * total;
}

__noinline int seen(int x)
{
	return small(x) + small(x + 1);
}

__weak __noinline int perhaps(int x)
{
	total -= x;
	return x + 3;
}

__hidden __noinline int unseen(int x)
{
	total *= x;
	return total;
}

SEC("mine") __noinline int apart(int x)
{
	total ^= x;
	return seen(x);
}

static int one(void *map, u32 *key, u32 *value, void *data)
{
	total += *value;
	return 0;
}

SEC("kprobe/do_exit") int calls(void *ctx)
{
	return seen(1) + perhaps(2) + unseen(3) + apart(4);
}

SEC("?tp/sched/sched_switch") int callback(void *ctx)
{
	return each(&map, one, 0, 0);
}

SEC("fentry.s/do_exit") int outside(void *ctx)
{
	int sum = LINUX_KERNEL_VERSION + CONFIG_BPF + CONFIG_EXT4_FS + CONFIG_DEFAULT_HOSTNAME[2];

	bpf_rcu_read_lock();
	if (bpf_gone___old)
		bpf_gone___old();
	return sum + typed + (&untyped != 0);
}

SEC("tp_btf/sched_switch") int fits(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[1];

	return task->real_parent->pid;
}

SEC("kprobe_multi/x") int misnamed(void *ctx)
{
	return 0;
}

int nowhere(int x);

SEC("xdp") int lost(void *ctx)
{
	return nowhere(1);
}
