/* What attaches to other programs, to tables of the kernel's, and to its objects. */
#include "congestion.h"

char LICENSE[] SEC("license") = "GPL";

struct xdp_md;

/* A function whose place another takes. */
__attribute__((noinline)) int replaced(int number)
{
	asm volatile("" : "+r"(number));
	return number + 1;
}

SEC("xdp")
int caller(struct xdp_md *ctx)
{
	return replaced(40);
}

SEC("freplace/replaced")
int instead(int number)
{
	return number + 100;
}

/* A way to control congestion of TCP, without a link. */
SEC(".struct_ops")
struct tcp_congestion_ops registered = {
	.ssthresh = (void *)ssthresh,
	.cong_avoid = (void *)cong_avoid,
	.undo_cwnd = (void *)undo_cwnd,
	.name = "kscope_plain",
};

/* Values of sockets and tasks. */
struct {
	int (*type)[24];
	int (*map_flags)[1];
	int *key;
	u64 *value;
} of_sockets SEC(".maps");

struct {
	int (*type)[29];
	int (*map_flags)[1];
	int *key;
	u64 *value;
} of_tasks SEC(".maps");
