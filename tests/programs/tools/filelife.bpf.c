/* How long files live that are made and removed again. Linux 5.12 gave the removal another first argument, which
 * is told by a member of a structure that came with it. */
#include "tools.h"

struct qstr {
	const unsigned char *name;
} __relocated;

struct dentry {
	struct qstr d_name;
} __relocated;

struct path {
	struct dentry *dentry;
} __relocated;

struct file {
	u32 f_mode;
} __relocated;

/* From 5.12, and from 6.3. */
struct renamedata___namespaces {
	void *old_mnt_userns;
} __relocated;

struct renamedata___idmaps {
	void *new_mnt_idmap;
} __relocated;

struct renamedata___later {
	void *mnt_idmap;
} __relocated;

#define CREATED 0x100000

struct event {
	u64 age;
	u32 pid;
	char name[64];
};

const volatile u32 only_tgid;
HASH(made, 4096, u64, u64);
RING(events);

SEC("kprobe/vfs_open")
int opened(struct pt_regs *ctx)
{
	struct path *path = (void *)ARGUMENT1(ctx);
	struct file *file = (void *)ARGUMENT2(ctx);
	u64 dentry = (u64)get(path, dentry), now = ktime_get_ns();

	if (only_tgid && only_tgid != current_pid_tgid() >> 32)
		return 0;
	if (get(file, f_mode) & CREATED)
		map_update(&made, &dentry, &now, 0);
	return 0;
}

SEC("kprobe/vfs_unlink")
int removed(struct pt_regs *ctx)
{
	struct renamedata___namespaces *namespaces = 0;
	struct renamedata___idmaps *idmaps = 0;
	struct renamedata___later *later = 0;
	bool third = field_exists(namespaces->old_mnt_userns) ||
		     field_exists(idmaps->new_mnt_idmap) || field_exists(later->mnt_idmap);
	struct dentry *dentry = (void *)(third ? ARGUMENT3(ctx) : ARGUMENT2(ctx));
	u64 key = (u64)dentry, *start = map_lookup(&made, &key);
	struct event *event;

	if (!start)
		return 0;
	event = ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		event->age = ktime_get_ns() - *start;
		event->pid = current_pid_tgid() >> 32;
		read_kernel_str(event->name, sizeof(event->name), get(dentry, d_name.name));
		ringbuf_submit(event, 0);
	}
	map_delete(&made, &key);
	return 0;
}
