/* How TCP sockets change their states, by a tracepoint whose record is the kernel's own layout. */
#include "tools.h"

struct trace_event_raw_inet_sock_set_state {
	int oldstate;
	int newstate;
	u16 sport;
	u16 dport;
	u16 family;
	u16 protocol;
	u8 saddr[4];
	u8 daddr[4];
} __relocated;

struct event {
	u32 pid;
	u32 from;
	u32 to;
	u16 local;
	u16 remote;
	u8 address[4];
};

RING(events);

SEC("tracepoint/sock/inet_sock_set_state")
int changed(struct trace_event_raw_inet_sock_set_state *ctx)
{
	struct event *event;

	/* AF_INET, and TCP. */
	if (ctx->family != 2 || ctx->protocol != 6)
		return 0;
	event = ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->pid = current_pid_tgid() >> 32;
	event->from = ctx->oldstate;
	event->to = ctx->newstate;
	event->local = ctx->sport;
	event->remote = ctx->dport;
	read_kernel(event->address, sizeof(event->address), ctx->daddr);
	ringbuf_submit(event, 0);
	return 0;
}
