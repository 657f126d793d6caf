/* Tables of functions for the kernel to call, and an arena. */
#include "read.h"

struct tcp_congestion_ops___mine {
	void (*init)(void *sk);
	u32 (*ssthresh)(void *sk);
	u32 flags;
	char name[16];
};

SEC("struct_ops/start") void start(u64 *ctx) {}

SEC("struct_ops.s") u32 threshold(u64 *ctx)
{
	return 5;
}

SEC(".struct_ops") struct tcp_congestion_ops___mine first = {
	.init = (void *)start,
	.ssthresh = (void *)threshold,
	.name = "first",
};

SEC("struct_ops") u32 again(u64 *ctx)
{
	return 6;
}

SEC("?.struct_ops.link") struct tcp_congestion_ops___mine second = {
	.ssthresh = (void *)again,
	.flags = 2,
};

struct {
	__uint(type, 33);
	__uint(map_flags, 1024);
	__uint(max_entries, 100);
} arena SEC(".maps");

u32 shared SEC(".addr_space.1") = 77;

SEC("syscall") int run(void *ctx)
{
	lookup(&arena, 0);
	return shared;
}

static int f(void)
{
	return 1;
}

static int g(void)
{
	return 2;
}

int (*const choice[])(void) = { f, g };

SEC("raw_tp") int chooses(void *ctx)
{
	return (u64)choice[pid_tgid() & 1] > 5;
}
