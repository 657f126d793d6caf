/* What the tools share: as much of libbpf's headers and of the kernel's types as they ask for. */
#pragma once
#include "../objects/bpf.h"

#define COMM 16

static u64 (*const ktime_get_ns)(void) = (void *)5;
static u64 (*const current_pid_tgid)(void) = (void *)14;
static long (*const current_comm)(void *to, u32 size) = (void *)16;
static long (*const perf_output)(void *ctx, void *map, u64 flags, void *data, u64 size) = (void *)25;
static long (*const map_delete)(void *map, const void *key) = (void *)3;
static long (*const read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static long (*const read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static void *(*const ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const ringbuf_submit)(void *data, u64 flags) = (void *)132;

#define CURRENT_CPU 0xffffffffULL

/* Reads a member, of a type that is not the kernel's byte for byte. */
#define get(from, member)                                                  \
	({                                                                 \
		typeof((from)->member) __value;                            \
		read_kernel(&__value, sizeof(__value), &(from)->member);   \
		__value;                                                   \
	})

#define RING(name)                                   \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_RINGBUF);  \
		__uint(max_entries, 256 * 1024);     \
	} name SEC(".maps")

#define HASH(name, count, of, to)                    \
	struct {                                     \
		__uint(type, BPF_MAP_TYPE_HASH);     \
		__uint(max_entries, count);          \
		__type(key, of);                     \
		__type(value, to);                   \
	} name SEC(".maps")

struct task_struct {
	int pid;
	int tgid;
	int exit_code;
	u64 start_time;
	char comm[COMM];
	struct task_struct *real_parent;
} __relocated;

/* Where a kernel function's arguments and result are. */
struct pt_regs {
#if defined(__TARGET_ARCH_arm64)
	u64 regs[31];
#else
	u64 di, si, dx, cx, ax;
#endif
} __relocated;

#if defined(__TARGET_ARCH_arm64)
#define ARGUMENT1(ctx) get(ctx, regs[0])
#define ARGUMENT2(ctx) get(ctx, regs[1])
#define ARGUMENT3(ctx) get(ctx, regs[2])
#define RESULT(ctx) get(ctx, regs[0])
#else
#define ARGUMENT1(ctx) get(ctx, di)
#define ARGUMENT2(ctx) get(ctx, si)
#define ARGUMENT3(ctx) get(ctx, dx)
#define RESULT(ctx) get(ctx, ax)
#endif

/* The power of two at or below a number, up to 2^31. */
static __always_inline u32 log2(u64 value)
{
	u32 slot = 0;

#pragma unroll
	for (int shift = 32; shift > 0; shift /= 2) {
		if (value >> shift) {
			value >>= shift;
			slot += shift;
		}
	}
	return slot > 31 ? 31 : slot;
}

char LICENSE[] SEC("license") = "GPL";
