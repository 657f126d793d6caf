/* Programs that load on some kernels: what they ask for is guarded or not, there or not. */
#include "bpf.h"

char _license[] SEC("license") = "GPL";

struct task_struct {
	int pid;
} __relocated;

struct task_struct___new {
	u64 kscope_no_such_member;
} __relocated;

enum bpf_func_id___new {
	BPF_FUNC_kscope_no_such_helper = 7777,
};

#define CONSTANT *(typeof(enum bpf_func_id___new) *)BPF_FUNC_kscope_no_such_helper

static long (*const no_such_helper)(void) = (void *)2000;

const volatile int use_new = 0;
volatile int may_use_new = 0;
u64 out;

#define NEW(task) ((struct task_struct___new *)(task))->kscope_no_such_member
#define READ_NEW(task) read_kernel(&out, sizeof(out), &NEW(task))

SEC("raw_tp/sched_switch")
int guarded(void *ctx)
{
	struct task_struct *task = (void *)current_task();

	if (field_exists(NEW(task)))
		READ_NEW(task);
	else
		read_kernel(&out, sizeof(task->pid), &task->pid);
	return 0;
}

SEC("raw_tp/sched_switch")
int guarded_by_a_constant(void *ctx)
{
	if (__builtin_preserve_enum_value(CONSTANT, 0))
		out = __builtin_preserve_enum_value(CONSTANT, 1);
	return 0;
}

SEC("raw_tp/sched_switch")
int guarded_by_data(void *ctx)
{
	if (use_new)
		READ_NEW(current_task());
	return 0;
}

SEC("raw_tp/sched_switch")
int guarded_helper(void *ctx)
{
	struct task_struct *task = 0;

	return field_exists(NEW(task)) ? no_such_helper() : 0;
}

static __noinline long read_new(void *task)
{
	return READ_NEW(task);
}

SEC("raw_tp/sched_switch")
int guarded_function(void *ctx)
{
	struct task_struct *task = (void *)current_task();

	return field_exists(NEW(task)) ? read_new(task) : 0;
}

SEC("raw_tp/sched_switch")
int not_guarded(void *ctx)
{
	READ_NEW(current_task());
	return 0;
}

SEC("raw_tp/sched_switch")
int guarded_by_what_may_change(void *ctx)
{
	if (may_use_new)
		READ_NEW(current_task());
	return 0;
}

SEC("raw_tp/sched_switch")
int function_not_guarded(void *ctx)
{
	return read_new((void *)current_task());
}

SEC("raw_tp/sched_switch")
int helper_not_guarded(void *ctx)
{
	return no_such_helper();
}

SEC("raw_tp/sched_switch")
int too_many_arguments(unsigned long long *ctx)
{
	return ctx[11] != 0;
}

#define EMPTY(name)                                                            \
	int name(void *ctx)                                                    \
	{                                                                      \
		return 0;                                                      \
	}

SEC("tp_btf/sched_switch") EMPTY(tracepoint)
SEC("tp_btf/sched_swich") EMPTY(tracepoint_misspelt)
SEC("fentry") EMPTY(function_not_named)
SEC("fentry/vfs_raed") EMPTY(function_misspelt)
SEC("lsm/fil_open") EMPTY(hook_misspelt)
SEC("iter/tsk") EMPTY(iterator_misspelt)

struct tcp_congestion_ops {
	u32 (*ssthresh)(void *sk);
	void (*ssthrehs)(void *sk);
	char name[16];
};

struct tcp_congestion_opps {
	u32 (*ssthresh)(void *sk);
};

SEC("struct_ops/ssthresh") EMPTY(member_misspelt)
SEC("struct_ops/ssthresh") EMPTY(member_of_no_table)
SEC("struct_ops/ssthresh") EMPTY(member_of_nothing)

SEC(".struct_ops")
struct tcp_congestion_ops table = {
	.ssthrehs = (void *)member_misspelt,
	.name = "kscope",
};

SEC(".struct_ops")
struct tcp_congestion_opps no_table = {
	.ssthresh = (void *)member_of_no_table,
};
