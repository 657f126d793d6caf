/* Which process connects where: kprobe and kretprobe of one function, joined by the thread. */
#include "tools.h"

struct sock_common {
	u16 skc_dport;
	u32 skc_daddr;
} __relocated;

struct sock {
	struct sock_common __sk_common;
} __relocated;

struct event {
	u32 pid;
	u32 address;
	u16 port;
	char comm[COMM];
};

HASH(sockets, 1024, u32, struct sock *);
RING(events);

SEC("kprobe/tcp_v4_connect")
int enter(struct pt_regs *ctx)
{
	u32 tid = current_pid_tgid();
	struct sock *sock = (void *)ARGUMENT1(ctx);

	map_update(&sockets, &tid, &sock, 0);
	return 0;
}

SEC("kretprobe/tcp_v4_connect")
int leave(struct pt_regs *ctx)
{
	u64 both = current_pid_tgid();
	u32 tid = both;
	struct sock **sock = map_lookup(&sockets, &tid);
	struct event *event;

	if (!sock)
		return 0;
	if ((int)RESULT(ctx) == 0 && (event = ringbuf_reserve(&events, sizeof(*event), 0))) {
		event->pid = both >> 32;
		event->address = get(*sock, __sk_common.skc_daddr);
		event->port = get(*sock, __sk_common.skc_dport);
		current_comm(event->comm, sizeof(event->comm));
		ringbuf_submit(event, 0);
	}
	map_delete(&sockets, &tid);
	return 0;
}
