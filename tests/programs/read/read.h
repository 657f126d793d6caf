/* What the eBPF programs of these tests need of headers. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __ulong(name, value) enum { name##__unique = value } name
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#define __hidden __attribute__((visibility("hidden")))
#define __weak __attribute__((weak))
#define __noinline __attribute__((noinline))
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __arena __attribute__((address_space(1)))
#define __core __attribute__((preserve_access_index))

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

static void *(*lookup)(void *map, const void *key) = (void *)1;
static u64 (*pid_tgid)(void) = (void *)14;
static long (*tail_call)(void *ctx, void *map, u32 index) = (void *)12;
static long (*each)(void *map, void *callback, void *data, u64 flags) = (void *)164;

char _license[] SEC("license") = "Dual MIT/GPL";
