/* Reads the arguments of USDT probes by the maps that libbpf's usdt.bpf.h declares: the place is told by a cookie or,
 * before Linux 5.15, by its address. */
#include "../tools/tools.h"

extern bool LINUX_HAS_BPF_COOKIE __kconfig __weak;

struct argument {
	u64 value;
	u32 kind;
	u16 reg;
	bool is_signed;
	u8 shift;
};

struct spec {
	struct argument args[12];
	u64 cookie;
	u16 count;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct spec);
} __bpf_usdt_specs SEC(".maps");

HASH(__bpf_usdt_ip_to_spec_id, 16, u64, u32);

static u64 (*const attach_cookie)(void *ctx) = (void *)174;

struct pt_regs___address {
#if defined(__TARGET_ARCH_arm64)
	u64 pc;
#else
	u64 ip;
#endif
} __relocated;

u64 hits;
u64 cookie;
u64 count;
/* The first argument, in a register, and the second, a number. */
u64 first;
u64 second;

SEC("usdt")
int probed(struct pt_regs *ctx)
{
	struct pt_regs___address *regs = (void *)ctx;
	struct spec *spec;
	u32 id;

	if (LINUX_HAS_BPF_COOKIE) {
		id = attach_cookie(ctx);
	} else {
#if defined(__TARGET_ARCH_arm64)
		u64 address = get(regs, pc);
#else
		u64 address = get(regs, ip);
#endif
		u32 *known = map_lookup(&__bpf_usdt_ip_to_spec_id, &address);

		if (!known)
			return 0;
		id = *known;
	}
	spec = map_lookup(&__bpf_usdt_specs, &id);
	if (!spec)
		return 0;
	__sync_fetch_and_add(&hits, 1);
	cookie = spec->cookie;
	count = spec->count;
	second = spec->args[1].value;
	if (spec->args[0].kind == 1)
		read_kernel(&first, sizeof(first), (void *)ctx + spec->args[0].reg);
	return 0;
}
