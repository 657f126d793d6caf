/* How often files are read, written, removed and opened: by function entries, and by kprobes where the kernel
 * has no trampolines; the caller leaves out one of the two. */
#include "tools.h"

enum { READ, WRITE, UNLINK, OPEN, KINDS };

const volatile u32 only_tgid;
u64 counts[KINDS];

static __always_inline int count(u32 kind)
{
	if (only_tgid && only_tgid != current_pid_tgid() >> 32)
		return 0;
	__sync_fetch_and_add(&counts[kind], 1);
	return 0;
}

#define BOTH(function, kind)                \
	SEC("?fentry/" #function)           \
	int entered_##function(void *ctx)   \
	{                                   \
		return count(kind);         \
	}                                   \
	SEC("?kprobe/" #function)           \
	int probed_##function(void *ctx)    \
	{                                   \
		return count(kind);         \
	}

BOTH(vfs_read, READ)
BOTH(vfs_write, WRITE)
BOTH(vfs_unlink, UNLINK)
BOTH(vfs_open, OPEN)
