/* Calls a function of a module: the connections that nf_conntrack knows (Linux 5.18). */
#include "bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct xdp_md;
struct nf_conn;

struct bpf_sock_tuple {
	u32 saddr, daddr;
	u16 sport, dport;
};

struct bpf_ct_opts {
	s32 netns_id;
	s32 error;
	u8 l4proto;
	u8 dir;
	u8 reserved[2];
};

extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *ctx, struct bpf_sock_tuple *tuple, u32 size,
					 struct bpf_ct_opts *opts, u32 opts_size) __ksym;
extern void bpf_ct_release(struct nf_conn *connection) __ksym;

s32 error;

SEC("xdp")
int looks_up(struct xdp_md *ctx)
{
	/* TCP, in the namespace of the packet. */
	struct bpf_ct_opts opts = { .netns_id = -1, .l4proto = 6 };
	struct bpf_sock_tuple tuple = { .saddr = 0x01000002, .daddr = 0x02000002, .sport = 1, .dport = 2 };
	struct nf_conn *connection;

	connection = bpf_xdp_ct_lookup(ctx, &tuple, sizeof(tuple), &opts, sizeof(opts));
	if (connection)
		bpf_ct_release(connection);
	error = opts.error;
	return 2;
}
