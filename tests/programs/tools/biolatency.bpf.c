/* How long block devices take, as a histogram of powers of two of microseconds. Linux 5.11, and later releases of
 * 5.10, took the queue away from what is told of a request: the caller says which it is. */
#include "tools.h"

const volatile bool with_queue;

HASH(starts, 4096, u64, u64);
u32 slots[32];
u64 bytes;
u64 requests;

SEC("tp_btf/block_rq_issue")
int issued(u64 *ctx)
{
	u64 request, now = ktime_get_ns();

	/* Kept apart: the compiler would calculate where to read, which the verifier does not like. */
	if (!with_queue) {
		request = ctx[0];
		asm volatile("" : "+r"(request));
	} else {
		request = ctx[1];
		asm volatile("" : "+r"(request));
	}

	map_update(&starts, &request, &now, 0);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int completed(u64 *ctx)
{
	u64 request = ctx[0], *start = map_lookup(&starts, &request);
	u32 slot;

	if (!start)
		return 0;
	slot = log2((ktime_get_ns() - *start) / 1000);
	if (slot < 32)
		__sync_fetch_and_add(&slots[slot], 1);
	__sync_fetch_and_add(&requests, 1);
	/* Bytes done in this part of the request. */
	__sync_fetch_and_add(&bytes, (u32)ctx[2]);
	map_delete(&starts, &request);
	return 0;
}
