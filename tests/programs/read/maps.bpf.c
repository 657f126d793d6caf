/* Maps of every form, and global variables of every section. */
#include "read.h"

struct key {
	u32 pid;
	char name[12];
};

struct {
	__uint(type, 1);
	__uint(max_entries, 100);
	__uint(map_flags, 1);
	__uint(pinning, 1);
	__type(key, struct key);
	__type(value, u64);
} counts SEC(".maps");

typedef struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
} ring_t;

ring_t events SEC(".maps");

struct {
	__uint(type, 30);
	__uint(max_entries, 10);
	__uint(value_size, 4);
	__ulong(map_extra, 3);
} bloom SEC(".maps");

struct inner {
	__uint(type, 2);
	__uint(max_entries, 1);
	__uint(numa_node, 0);
	__type(key, u32);
	__type(value, u32);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, 12);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { [1] = &inner_a, [3] = &inner_b },
};

int tail(void *ctx);

struct {
	__uint(type, 3);
	__uint(max_entries, 3);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = { [2] = (void *)&tail },
};

SEC("socket") int tail(void *ctx)
{
	return 7;
}

u32 written = 5;
u64 zero;
u64 zeros[1000];
const volatile u32 constant = 9;
static volatile u32 own = 1;
u32 elsewhere SEC(".data.mine") = 3;
const volatile u8 table[3] SEC(".rodata.mine") = { 1, 2, 3 };
__hidden u32 unseen SEC(".data.hidden") = 4;

SEC("socket") int entry(void *ctx)
{
	struct key key = { .pid = pid_tgid() >> 32 };
	u64 *found = lookup(&counts, &key);
	void *slot = lookup(&outer, &written);

	if (found)
		*found += constant + own;
	if (slot)
		zeros[written & 127]++;
	zero++;
	tail_call(ctx, &jumps, 2);
	return elsewhere + table[written & 1] + unseen;
}
