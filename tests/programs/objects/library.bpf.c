/* What unlinked.bpf.c asks for. */
#include "bpf.h"

char _license[] SEC("license") = "GPL";

u64 numbers[4] = {1, 2, 3, 4};

int there(int number)
{
	return number + 1;
}
