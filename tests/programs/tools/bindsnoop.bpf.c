/* Which process binds which port, and with which options: those are bits of their own up to Linux 6.5, and of one
 * word of flags from 6.6 on. */
#include "tools.h"

struct sock_common {
	u32 skc_rcv_saddr;
	unsigned char skc_reuse : 4;
	unsigned char skc_reuseport : 1;
} __relocated;

struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
} __relocated;

struct socket {
	struct sock *sk;
} __relocated;

struct inet_sock {
	struct sock sk;
	u16 inet_sport;
} __relocated;

struct inet_sock___old {
	u8 freebind : 1;
} __relocated;

struct inet_sock___new {
	unsigned long inet_flags;
} __relocated;

#define FREEBIND_BIT 11

struct event {
	u32 pid;
	u32 address;
	int result;
	u16 port;
	u16 protocol;
	u8 freebind;
	u8 reuse;
	char comm[COMM];
};

HASH(sockets, 1024, u32, struct socket *);
RING(events);

/* Reads a bitfield of the kernel's, wherever it lies in whatever word. */
#define get_bits(from, member)                                                              \
	({                                                                                  \
		u64 __bits = 0;                                                             \
		read_kernel(&__bits, __builtin_preserve_field_info((from)->member, 1) & 15, \
			    (void *)(from) + __builtin_preserve_field_info((from)->member, 0)); \
		__bits <<= __builtin_preserve_field_info((from)->member, 4);                \
		__bits >> __builtin_preserve_field_info((from)->member, 5);                 \
	})

static __always_inline u8 freebind_of(struct inet_sock *inet)
{
	struct inet_sock___old *old = (void *)inet;
	struct inet_sock___new *new = (void *)inet;

	if (field_exists(new->inet_flags))
		return get(new, inet_flags) >> FREEBIND_BIT & 1;
	return get_bits(old, freebind);
}

SEC("kprobe/inet_bind")
int enter(struct pt_regs *ctx)
{
	u32 tid = current_pid_tgid();
	struct socket *socket = (void *)ARGUMENT1(ctx);

	map_update(&sockets, &tid, &socket, 0);
	return 0;
}

SEC("kretprobe/inet_bind")
int leave(struct pt_regs *ctx)
{
	u64 both = current_pid_tgid();
	u32 tid = both;
	struct socket **socket = map_lookup(&sockets, &tid);
	struct inet_sock *inet;
	struct event *event;

	if (!socket)
		return 0;
	event = ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		inet = (void *)get(*socket, sk);
		event->pid = both >> 32;
		event->result = RESULT(ctx);
		event->address = get(inet, sk.__sk_common.skc_rcv_saddr);
		event->port = get(inet, inet_sport);
		event->protocol = get(inet, sk.sk_protocol);
		event->freebind = freebind_of(inet);
		event->reuse = get_bits(inet, sk.__sk_common.skc_reuse);
		current_comm(event->comm, sizeof(event->comm));
		ringbuf_submit(event, 0);
	}
	map_delete(&sockets, &tid);
	return 0;
}
