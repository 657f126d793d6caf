/* What the kernel defines: build options, variables, functions. */
#include "bpf.h"

char _license[] SEC("license") = "GPL";

extern int LINUX_KERNEL_VERSION __attribute__((section(".kconfig")));
extern unsigned CONFIG_HZ __attribute__((section(".kconfig")));
extern const void runqueues __attribute__((section(".ksyms")));
extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));

u64 out;

SEC("socket")
int options(void *ctx)
{
	return LINUX_KERNEL_VERSION + CONFIG_HZ;
}

SEC("socket")
int address(void *ctx)
{
	out = (u64)&runqueues;
	return 0;
}

SEC("tp_btf/sched_switch")
int function(u64 *ctx)
{
	bpf_rcu_read_lock();
	return 0;
}
