/* Mistakes that people make, one a program. What is told of each is in tests/errors. */
#include "bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile u32 constant = 1;
u32 counter;

struct value {
	u32 numbers[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct value);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct locked {
	struct bpf_spin_lock lock;
	u32 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct locked);
} locks SEC(".maps");

/* Map descriptions. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, u32);
	__type(value, u32);
} no_entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, u32);
} wide_key SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u32);
} no_value SEC(".maps");

struct {
	__uint(type, 999);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} no_such_kind SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 300000000);
	__type(key, u32);
	__type(value, u32);
} many_entries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__uint(value_size, 1 << 20);
} long_value SEC(".maps");

#define USES(map)                                  \
	SEC("?raw_tp/sched_switch")                \
	int map_##map(void *ctx)                   \
	{                                          \
		u32 key[2] = {};                   \
		return map_lookup(&map, key) != 0; \
	}

USES(no_entries)
USES(wide_key)
USES(no_value)
USES(no_such_kind)
USES(many_entries)
USES(long_value)

struct xdp_md {
	u32 data;
	u32 data_end;
};

struct raw_args {
	u64 args[2];
};

static void *(*const reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const submit)(void *record, u64 flags) = (void *)132;
static long (*const redirect)(u32 interface, u64 flags) = (void *)23;
static long (*const from_the_future)(void) = (void *)9999;
static u64 (*const now)(void) = (void *)5;

#define MISTAKE(section, name, context) \
	SEC("?" section) int name(context *ctx)

MISTAKE("raw_tp/sched_switch", null_not_checked, void)
{
	u32 key = 0;
	struct value *value = map_lookup(&hash, &key);

	return value->numbers[0];
}

MISTAKE("raw_tp/sched_switch", index_not_checked, struct raw_args)
{
	u32 key = 0;
	struct value *value = map_lookup(&hash, &key);

	return value ? value->numbers[ctx->args[0]] : 0;
}

MISTAKE("raw_tp/sched_switch", index_off_by_one, struct raw_args)
{
	u32 key = 0;
	struct value *value = map_lookup(&hash, &key);
	u64 index = ctx->args[0];

	if (!value || index > 4)
		return 0;
	return value->numbers[index];
}

MISTAKE("raw_tp/sched_switch", kernel_pointer_followed, struct raw_args)
{
	return *(u32 *)ctx->args[1];
}

MISTAKE("xdp", packet_not_checked, struct xdp_md)
{
	u8 *data = (u8 *)(long)ctx->data;

	return data[12] == 8 ? 1 : 2;
}

MISTAKE("raw_tp/sched_switch", record_not_submitted, void)
{
	u32 *record = reserve(&ring, 4, 0);

	if (!record)
		return 0;
	*record = 1;
	return 1;
}

MISTAKE("raw_tp/sched_switch", record_used_after_submit, void)
{
	u32 *record = reserve(&ring, 4, 0);

	if (!record)
		return 0;
	*record = 1;
	submit(record, 0);
	return *(volatile u32 *)record;
}

MISTAKE("raw_tp/sched_switch", context_at_variable_offset, struct raw_args)
{
	u64 index = ctx->args[0] & 7;

	return *(u64 *)((char *)ctx + index * 8) != 0;
}

MISTAKE("raw_tp/sched_switch", endless_loop, void)
{
	volatile u32 i = 0;

	while (1)
		i++;
	return 0;
}

MISTAKE("raw_tp/sched_switch", too_many_steps, struct raw_args)
{
	u64 sum = 0;

	for (u64 i = 0; i < 10000000; i++) {
		__asm__ volatile("%0 ^= %1" : "+r"(sum) : "r"(i));
	}
	return sum;
}

MISTAKE("raw_tp/sched_switch", helper_of_networking, void)
{
	return redirect(1, 0);
}

MISTAKE("raw_tp/sched_switch", helper_that_is_nowhere, void)
{
	return from_the_future();
}

MISTAKE("tp_btf/sched_switch", context_too_far, struct raw_args)
{
	return ctx[20].args[1] != 0;
}

MISTAKE("cgroup_skb/egress", return_out_of_range, void)
{
	return 42;
}

MISTAKE("raw_tp/sched_switch", constant_written, void)
{
	*(volatile u32 *)&constant = 2;
	return 0;
}

MISTAKE("tc", lock_not_released, void)
{
	u32 key = 0;
	struct locked *value = map_lookup(&locks, &key);

	if (!value)
		return 0;
	spin_lock(&value->lock);
	value->count++;
	return 0;
}

MISTAKE("tc", call_under_lock, void)
{
	u32 key = 0;
	struct locked *value = map_lookup(&locks, &key);

	if (!value)
		return 0;
	spin_lock(&value->lock);
	value->count += now();
	spin_unlock(&value->lock);
	return 0;
}

MISTAKE("raw_tp/sched_switch", number_for_pointer, struct raw_args)
{
	return map_lookup(&hash, (void *)ctx->args[0]) != 0;
}

MISTAKE("raw_tp/sched_switch", negative_size, struct raw_args)
{
	s64 size = ctx->args[0];
	char buffer[16] = {};

	__asm__ volatile("" : : "r"(buffer) : "memory");
	if (size > 16)
		return 0;
	return ringbuf_output(&ring, buffer, size, 0);
}

/* CO-RE. */
struct task_struct {
	int pid;
	int pidd;
	struct kscope_no_such_type *nowhere;
} __relocated;

struct kscope_no_such_type {
	int x;
} __relocated;

MISTAKE("raw_tp/sched_switch", member_misspelt, void)
{
	struct task_struct *task = (void *)current_task();
	int pid = 0;

	read_kernel(&pid, sizeof(pid), &task->pidd);
	return pid;
}

/* No mistake, but under a licence that is not free. */
MISTAKE("raw_tp/sched_switch", member_that_is_there, void)
{
	struct task_struct *task = (void *)current_task();
	int pid = 0;

	read_kernel(&pid, sizeof(pid), &task->pid);
	return pid;
}

MISTAKE("raw_tp/sched_switch", type_that_is_nowhere, void)
{
	struct kscope_no_such_type *type = (void *)current_task();
	int x = 0;

	read_kernel(&x, sizeof(x), &type->x);
	return x;
}

/* Sections and attach points. */
MISTAKE("kprob/vfs_read", section_misspelt, void)
{
	return 0;
}

MISTAKE("tp_btf/sched_swich", tracepoint_misspelt, void)
{
	return 0;
}

MISTAKE("fentry/kscope_no_such_function", function_that_is_nowhere, void)
{
	return 0;
}

MISTAKE("lsm/no_such_hook", hook_that_is_nowhere, void)
{
	return 0;
}

MISTAKE("iter/no_such_iterator", iterator_that_is_nowhere, void)
{
	return 0;
}

MISTAKE("lsm/file_opne", hook_misspelt, void)
{
	return 0;
}

MISTAKE("iter/task_vmaa", iterator_misspelt, void)
{
	return 0;
}

MISTAKE("fentry", attach_point_not_named, void)
{
	return 0;
}

MISTAKE("freplace/triple", program_to_extend_not_given, void)
{
	return 0;
}

/* Symbols. */
extern const void kscope_no_such_symbol __ksym;
extern int kscope_no_such_function(int) __ksym;
extern int kscope_optional_function(int) __ksym __weak;
extern u32 CONFIG_KSCOPE_NO_SUCH_THING __kconfig;
extern int somewhere_else(int);

MISTAKE("raw_tp/sched_switch", symbol_that_is_nowhere, void)
{
	return (u32)(long)&kscope_no_such_symbol;
}

MISTAKE("raw_tp/sched_switch", kfunc_that_is_nowhere, void)
{
	return kscope_no_such_function(1);
}

MISTAKE("raw_tp/sched_switch", weak_kfunc_not_checked, void)
{
	return kscope_optional_function(1);
}

MISTAKE("raw_tp/sched_switch", option_that_is_not_set, void)
{
	return CONFIG_KSCOPE_NO_SUCH_THING;
}

MISTAKE("raw_tp/sched_switch", function_of_another_object, void)
{
	return somewhere_else(1);
}

static long (*const copy_from_user)(void *to, u32 size, const void *from) = (void *)148;
static void *(*const ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;

MISTAKE("raw_tp/sched_switch", helper_that_sleeps, u64)
{
	u64 value = 0;

	copy_from_user(&value, sizeof(value), (void *)ctx[0]);
	return 0;
}

MISTAKE("raw_tp/sched_switch", two_that_are_reserved, void)
{
	u64 *one = ringbuf_reserve(&ring, 8, 0), *two;

	if (!one)
		return 0;
	two = ringbuf_reserve(&ring, 8, 0);
	if (two)
		map_update(&hash, one, two, 0);
	return 0;
}

MISTAKE("freplace", replacement_of_nothing, void)
{
	return 0;
}
