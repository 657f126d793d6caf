/* A table of functions for the kernel: a way of TCP to do with congestion that does nothing. */
#include "bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct sock;

/* As much of the kernel's as is filled, in another order. */
struct tcp_congestion_ops {
	char name[16];
	u32 (*ssthresh)(struct sock *sk);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	void (*kscope_no_such_member)(void);
};

SEC("struct_ops/ssthresh")
u32 ssthresh(u64 *ctx)
{
	return 2;
}

SEC("struct_ops/undo_cwnd")
u32 undo_cwnd(u64 *ctx)
{
	return 2;
}

SEC("struct_ops/cong_avoid")
void cong_avoid(u64 *ctx)
{
}

SEC(".struct_ops")
struct tcp_congestion_ops kscope_cc = {
	.name = "kscope_cc",
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)cong_avoid,
};
