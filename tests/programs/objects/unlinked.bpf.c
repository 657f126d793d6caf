/* Programs that use what another object has to define. */
#include "bpf.h"

char _license[] SEC("license") = "GPL";

extern int there(int number);
extern u64 numbers[4];

SEC("socket")
int calls(void *ctx)
{
	return there(3);
}

SEC("socket")
int reads(void *ctx)
{
	return numbers[3];
}

SEC("socket")
int whole(void *ctx)
{
	return 7;
}
