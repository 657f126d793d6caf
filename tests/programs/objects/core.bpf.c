// Asks every question of the running kernel's types. The members, sizes and values here are not the
// kernel's.
#include "bpf.h"

char LICENSE[] SEC("license") = "GPL";

struct list_head {
	struct list_head *next;
} __relocated;

struct task_struct {
	long no_such_member;
	char comm[2];
	int pid;
	unsigned in_execve : 1;
	unsigned sched_reset_on_fork : 1;
	struct task_struct *group_leader;
	struct list_head tasks;
} __relocated;

struct task_struct___flavour {
	int tgid;
} __relocated;

union sigval {
	int sival_int;
} __relocated;

typedef union sigval sigval_t;

enum pid_type {
	PIDTYPE_PID = 50,
	PIDTYPE_TGID = 51,
	PIDTYPE_NO_SUCH = 52,
};

u64 seen[16];

#define ask(field, what) __builtin_preserve_field_info(field, what)
#define ask_type(type, what) __builtin_preserve_type_info(*(typeof(type) *)0, what)
#define ask_id(type, what) __builtin_btf_type_id(*(typeof(type) *)0, what)
#define ask_constant(type, name, what) __builtin_preserve_enum_value(*(typeof(type) *)name, what)

SEC("raw_tp/sys_enter")
int asks(void *ctx)
{
	struct task_struct *task = (void *)current_task(), *leader = 0;
	struct task_struct___flavour *flavour;
	u64 bits = 0;

	seen[0] = ask(task->tasks.next, 0);
	seen[1] = ask(task->comm, 1);
	seen[2] = ask(task->pid, 2) + 2 * ask(task->no_such_member, 2);
	seen[3] = ask(task->pid, 3) + 2 * ask(task->sched_reset_on_fork, 3);
	// A bitfield: the load that holds it, and the shifts that leave it alone.
	read_kernel(&bits, ask(task->sched_reset_on_fork, 1) & 15,
		    (void *)task + ask(task->sched_reset_on_fork, 0));
	bits <<= ask(task->sched_reset_on_fork, 4);
	seen[4] = bits >> ask(task->sched_reset_on_fork, 5);
	seen[5] = ask_id(struct task_struct, 1);
	seen[6] = ask_type(struct task_struct, 0) + 2 * ask_type(sigval_t, 0);
	seen[7] = ask_type(struct task_struct, 1);
	seen[8] = ask_constant(enum pid_type, PIDTYPE_TGID, 0) +
		  2 * ask_constant(enum pid_type, PIDTYPE_NO_SUCH, 0);
	seen[9] = ask_constant(enum pid_type, PIDTYPE_TGID, 1);
	seen[10] = ask_id(struct list_head, 0) != 0;
	read_kernel(&leader, sizeof(leader), &task->group_leader);
	flavour = (void *)leader;
	read_kernel(&seen[11], sizeof(int), &flavour->tgid);
	return 0;
}

SEC("raw_tp/sys_enter")
int element(void *ctx)
{
	struct task_struct *task = (void *)current_task();
	char letter = 0;

	read_kernel(&letter, 1, &task->comm[1]);
	return letter;
}

SEC("raw_tp/sys_exit")
int reaches(void *ctx)
{
	struct task_struct *task = (void *)current_task();
	long nothing = 0;

	read_kernel(&nothing, sizeof(nothing), &task->no_such_member);
	return nothing;
}
