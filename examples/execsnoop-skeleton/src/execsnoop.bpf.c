/* Sends an event for each program that is executed. It stands alone: with libbpf's headers and a
 * vmlinux.h (`kscope btf dump --as c vmlinux`) the first part would be three includes. */
typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_RINGBUF 27

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *to, u32 size) = (void *)16;
static void *(*const bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;

char LICENSE[] SEC("license") = "GPL";

enum caller { CALLER_ROOT, CALLER_USER };

/* What user space gets. */
struct exec_event {
	u64 time;
	u32 pid;
	u32 uid;
	enum caller caller;
	char comm[16];
	bool first;
};

/* Makes clang keep the type: no map and no variable has it. */
const struct exec_event *unused_exec_event __attribute__((unused));

/* How often each user executed something. */
struct user {
	u64 count;
	u32 last_pid;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, struct user);
} users SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* Set before the load: the one process to tell of, 0 for all. */
const volatile u32 only_pid = 0;

/* Events that found no room. */
u64 lost = 0;

SEC("tracepoint/sched/sched_process_exec")
int handle_exec(void *ctx)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	u32 uid = (u32)bpf_get_current_uid_gid();
	struct user fresh = { .last_pid = pid };
	struct exec_event *event;
	struct user *user;

	if (only_pid && pid != only_pid)
		return 0;
	user = bpf_map_lookup_elem(&users, &uid);
	if (!user) {
		bpf_map_update_elem(&users, &uid, &fresh, 1);
		user = bpf_map_lookup_elem(&users, &uid);
		if (!user)
			return 0;
	}
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	event->time = bpf_ktime_get_ns();
	event->pid = pid;
	event->uid = uid;
	event->caller = uid ? CALLER_USER : CALLER_ROOT;
	event->first = user->count == 0;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	user->last_pid = pid;
	__sync_fetch_and_add(&user->count, 1);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
