//! The arguments of system calls: their tracepoints' records without a kernel to ask.
//!
//! The list is data, taken from the `format` files of a Linux 6.18 kernel for x86-64 (facts of
//! the kernel's system-call interface). Each line is a call's name, then its arguments in order.

use super::{EventName, Format, FormatField, matches};

/// One system call a line: `name type name, type name, …`, sorted by name.
const TABLE: &str = "\
accept int fd, struct sockaddr * upeer_sockaddr, int * upeer_addrlen\n\
accept4 int fd, struct sockaddr * upeer_sockaddr, int * upeer_addrlen, int flags\n\
access const char * filename, int mode\n\
acct const char * name\n\
add_key const char * _type, const char * _description, const void * _payload, size_t plen, key_serial_t ringid\n\
adjtimex struct __kernel_timex * txc_p\n\
alarm unsigned int seconds\n\
arch_prctl int option, unsigned long arg2\n\
bind int fd, struct sockaddr * umyaddr, int addrlen\n\
bpf int cmd, union bpf_attr * uattr, unsigned int size\n\
brk unsigned long brk\n\
cachestat unsigned int fd, struct cachestat_range * cstat_range, struct cachestat * cstat, unsigned int flags\n\
capget cap_user_header_t header, cap_user_data_t dataptr\n\
capset cap_user_header_t header, const cap_user_data_t data\n\
chdir const char * filename\n\
chmod const char * filename, umode_t mode\n\
chown const char * filename, uid_t user, gid_t group\n\
chroot const char * filename\n\
clock_adjtime const clockid_t which_clock, struct __kernel_timex * utx\n\
clock_getres const clockid_t which_clock, struct __kernel_timespec * tp\n\
clock_gettime const clockid_t which_clock, struct __kernel_timespec * tp\n\
clock_nanosleep const clockid_t which_clock, int flags, const struct __kernel_timespec * rqtp, struct __kernel_timespec * rmtp\n\
clock_settime const clockid_t which_clock, const struct __kernel_timespec * tp\n\
clone unsigned long clone_flags, unsigned long newsp, int * parent_tidptr, int * child_tidptr, unsigned long tls\n\
clone3 struct clone_args * uargs, size_t size\n\
close unsigned int fd\n\
close_range unsigned int fd, unsigned int max_fd, unsigned int flags\n\
connect int fd, struct sockaddr * uservaddr, int addrlen\n\
copy_file_range int fd_in, loff_t * off_in, int fd_out, loff_t * off_out, size_t len, unsigned int flags\n\
creat const char * pathname, umode_t mode\n\
dup unsigned int fildes\n\
dup2 unsigned int oldfd, unsigned int newfd\n\
dup3 unsigned int oldfd, unsigned int newfd, int flags\n\
epoll_create int size\n\
epoll_create1 int flags\n\
epoll_ctl int epfd, int op, int fd, struct epoll_event * event\n\
epoll_pwait int epfd, struct epoll_event * events, int maxevents, int timeout, const sigset_t * sigmask, size_t sigsetsize\n\
epoll_pwait2 int epfd, struct epoll_event * events, int maxevents, const struct __kernel_timespec * timeout, const sigset_t * sigmask, size_t sigsetsize\n\
epoll_wait int epfd, struct epoll_event * events, int maxevents, int timeout\n\
eventfd unsigned int count\n\
eventfd2 unsigned int count, int flags\n\
execve const char * filename, const char *const * argv, const char *const * envp\n\
execveat int fd, const char * filename, const char *const * argv, const char *const * envp, int flags\n\
exit int error_code\n\
exit_group int error_code\n\
faccessat int dfd, const char * filename, int mode\n\
faccessat2 int dfd, const char * filename, int mode, int flags\n\
fadvise64 int fd, loff_t offset, size_t len, int advice\n\
fallocate int fd, int mode, loff_t offset, loff_t len\n\
fanotify_init unsigned int flags, unsigned int event_f_flags\n\
fanotify_mark int fanotify_fd, unsigned int flags, __u64 mask, int dfd, const char * pathname\n\
fchdir unsigned int fd\n\
fchmod unsigned int fd, umode_t mode\n\
fchmodat int dfd, const char * filename, umode_t mode\n\
fchmodat2 int dfd, const char * filename, umode_t mode, unsigned int flags\n\
fchown unsigned int fd, uid_t user, gid_t group\n\
fchownat int dfd, const char * filename, uid_t user, gid_t group, int flag\n\
fcntl unsigned int fd, unsigned int cmd, unsigned long arg\n\
fdatasync unsigned int fd\n\
fgetxattr int fd, const char * name, void * value, size_t size\n\
file_getattr int dfd, const char * filename, struct file_attr * ufattr, size_t usize, unsigned int at_flags\n\
file_setattr int dfd, const char * filename, struct file_attr * ufattr, size_t usize, unsigned int at_flags\n\
flistxattr int fd, char * list, size_t size\n\
flock unsigned int fd, unsigned int cmd\n\
fork\n\
fremovexattr int fd, const char * name\n\
fsconfig int fd, unsigned int cmd, const char * _key, const void * _value, int aux\n\
fsetxattr int fd, const char * name, const void * value, size_t size, int flags\n\
fsmount int fs_fd, unsigned int flags, unsigned int attr_flags\n\
fsopen const char * _fs_name, unsigned int flags\n\
fspick int dfd, const char * path, unsigned int flags\n\
fstatfs unsigned int fd, struct statfs * buf\n\
fsync unsigned int fd\n\
ftruncate unsigned int fd, off_t length\n\
futex u32 * uaddr, int op, u32 val, const struct __kernel_timespec * utime, u32 * uaddr2, u32 val3\n\
futex_requeue struct futex_waitv * waiters, unsigned int flags, int nr_wake, int nr_requeue\n\
futex_wait void * uaddr, unsigned long val, unsigned long mask, unsigned int flags, struct __kernel_timespec * timeout, clockid_t clockid\n\
futex_waitv struct futex_waitv * waiters, unsigned int nr_futexes, unsigned int flags, struct __kernel_timespec * timeout, clockid_t clockid\n\
futex_wake void * uaddr, unsigned long mask, int nr, unsigned int flags\n\
futimesat int dfd, const char * filename, struct __kernel_old_timeval * utimes\n\
get_mempolicy int * policy, unsigned long * nmask, unsigned long maxnode, unsigned long addr, unsigned long flags\n\
get_robust_list int pid, struct robust_list_head ** head_ptr, size_t * len_ptr\n\
getcpu unsigned * cpup, unsigned * nodep, struct getcpu_cache * unused\n\
getcwd char * buf, unsigned long size\n\
getdents unsigned int fd, struct linux_dirent * dirent, unsigned int count\n\
getdents64 unsigned int fd, struct linux_dirent64 * dirent, unsigned int count\n\
getegid\n\
geteuid\n\
getgid\n\
getgroups int gidsetsize, gid_t * grouplist\n\
getitimer int which, struct __kernel_old_itimerval * value\n\
getpeername int fd, struct sockaddr * usockaddr, int * usockaddr_len\n\
getpgid pid_t pid\n\
getpgrp\n\
getpid\n\
getppid\n\
getpriority int which, int who\n\
getrandom char * ubuf, size_t len, unsigned int flags\n\
getresgid gid_t * rgidp, gid_t * egidp, gid_t * sgidp\n\
getresuid uid_t * ruidp, uid_t * euidp, uid_t * suidp\n\
getrlimit unsigned int resource, struct rlimit * rlim\n\
getrusage int who, struct rusage * ru\n\
getsid pid_t pid\n\
getsockname int fd, struct sockaddr * usockaddr, int * usockaddr_len\n\
getsockopt int fd, int level, int optname, char * optval, int * optlen\n\
gettid\n\
gettimeofday struct __kernel_old_timeval * tv, struct timezone * tz\n\
getuid\n\
getxattr const char * pathname, const char * name, void * value, size_t size\n\
getxattrat int dfd, const char * pathname, unsigned int at_flags, const char * name, struct xattr_args * uargs, size_t usize\n\
inotify_add_watch int fd, const char * pathname, u32 mask\n\
inotify_init\n\
inotify_init1 int flags\n\
inotify_rm_watch int fd, __s32 wd\n\
io_cancel aio_context_t ctx_id, struct iocb * iocb, struct io_event * result\n\
io_destroy aio_context_t ctx\n\
io_getevents aio_context_t ctx_id, long min_nr, long nr, struct io_event * events, struct __kernel_timespec * timeout\n\
io_pgetevents aio_context_t ctx_id, long min_nr, long nr, struct io_event * events, struct __kernel_timespec * timeout, const struct __aio_sigset * usig\n\
io_setup unsigned nr_events, aio_context_t * ctxp\n\
io_submit aio_context_t ctx_id, long nr, struct iocb ** iocbpp\n\
io_uring_enter unsigned int fd, u32 to_submit, u32 min_complete, u32 flags, const void * argp, size_t argsz\n\
io_uring_register unsigned int fd, unsigned int opcode, void * arg, unsigned int nr_args\n\
io_uring_setup u32 entries, struct io_uring_params * params\n\
ioctl unsigned int fd, unsigned int cmd, unsigned long arg\n\
ioperm unsigned long from, unsigned long num, int turn_on\n\
iopl unsigned int level\n\
ioprio_get int which, int who\n\
ioprio_set int which, int who, int ioprio\n\
kcmp pid_t pid1, pid_t pid2, int type, unsigned long idx1, unsigned long idx2\n\
keyctl int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5\n\
kill pid_t pid, int sig\n\
landlock_add_rule const int ruleset_fd, const enum landlock_rule_type rule_type, const void *const rule_attr, const __u32 flags\n\
landlock_create_ruleset const struct landlock_ruleset_attr *const attr, const size_t size, const __u32 flags\n\
landlock_restrict_self const int ruleset_fd, const __u32 flags\n\
lchown const char * filename, uid_t user, gid_t group\n\
lgetxattr const char * pathname, const char * name, void * value, size_t size\n\
link const char * oldname, const char * newname\n\
linkat int olddfd, const char * oldname, int newdfd, const char * newname, int flags\n\
listen int fd, int backlog\n\
listmount const struct mnt_id_req * req, u64 * mnt_ids, size_t nr_mnt_ids, unsigned int flags\n\
listxattr const char * pathname, char * list, size_t size\n\
listxattrat int dfd, const char * pathname, unsigned int at_flags, char * list, size_t size\n\
llistxattr const char * pathname, char * list, size_t size\n\
lremovexattr const char * pathname, const char * name\n\
lseek unsigned int fd, off_t offset, unsigned int whence\n\
lsetxattr const char * pathname, const char * name, const void * value, size_t size, int flags\n\
lsm_get_self_attr unsigned int attr, struct lsm_ctx * ctx, u32 * size, u32 flags\n\
lsm_list_modules u64 * ids, u32 * size, u32 flags\n\
lsm_set_self_attr unsigned int attr, struct lsm_ctx * ctx, u32 size, u32 flags\n\
madvise unsigned long start, size_t len_in, int behavior\n\
mbind unsigned long start, unsigned long len, unsigned long mode, const unsigned long * nmask, unsigned long maxnode, unsigned int flags\n\
membarrier int cmd, unsigned int flags, int cpu_id\n\
memfd_create const char * uname, unsigned int flags\n\
memfd_secret unsigned int flags\n\
migrate_pages pid_t pid, unsigned long maxnode, const unsigned long * old_nodes, const unsigned long * new_nodes\n\
mincore unsigned long start, size_t len, unsigned char * vec\n\
mkdir const char * pathname, umode_t mode\n\
mkdirat int dfd, const char * pathname, umode_t mode\n\
mknod const char * filename, umode_t mode, unsigned dev\n\
mknodat int dfd, const char * filename, umode_t mode, unsigned int dev\n\
mlock unsigned long start, size_t len\n\
mlock2 unsigned long start, size_t len, int flags\n\
mlockall int flags\n\
mmap unsigned long addr, unsigned long len, unsigned long prot, unsigned long flags, unsigned long fd, unsigned long off\n\
modify_ldt int func, void * ptr, unsigned long bytecount\n\
mount char * dev_name, char * dir_name, char * type, unsigned long flags, void * data\n\
mount_setattr int dfd, const char * path, unsigned int flags, struct mount_attr * uattr, size_t usize\n\
move_mount int from_dfd, const char * from_pathname, int to_dfd, const char * to_pathname, unsigned int flags\n\
move_pages pid_t pid, unsigned long nr_pages, const void ** pages, const int * nodes, int * status, int flags\n\
mprotect unsigned long start, size_t len, unsigned long prot\n\
mq_getsetattr mqd_t mqdes, const struct mq_attr * u_mqstat, struct mq_attr * u_omqstat\n\
mq_notify mqd_t mqdes, const struct sigevent * u_notification\n\
mq_open const char * u_name, int oflag, umode_t mode, struct mq_attr * u_attr\n\
mq_timedreceive mqd_t mqdes, char * u_msg_ptr, size_t msg_len, unsigned int * u_msg_prio, const struct __kernel_timespec * u_abs_timeout\n\
mq_timedsend mqd_t mqdes, const char * u_msg_ptr, size_t msg_len, unsigned int msg_prio, const struct __kernel_timespec * u_abs_timeout\n\
mq_unlink const char * u_name\n\
mremap unsigned long addr, unsigned long old_len, unsigned long new_len, unsigned long flags, unsigned long new_addr\n\
mseal unsigned long start, size_t len, unsigned long flags\n\
msgctl int msqid, int cmd, struct msqid_ds * buf\n\
msgget key_t key, int msgflg\n\
msgrcv int msqid, struct msgbuf * msgp, size_t msgsz, long msgtyp, int msgflg\n\
msgsnd int msqid, struct msgbuf * msgp, size_t msgsz, int msgflg\n\
msync unsigned long start, size_t len, int flags\n\
munlock unsigned long start, size_t len\n\
munlockall\n\
munmap unsigned long addr, size_t len\n\
name_to_handle_at int dfd, const char * name, struct file_handle * handle, void * mnt_id, int flag\n\
nanosleep struct __kernel_timespec * rqtp, struct __kernel_timespec * rmtp\n\
newfstat unsigned int fd, struct stat * statbuf\n\
newfstatat int dfd, const char * filename, struct stat * statbuf, int flag\n\
newlstat const char * filename, struct stat * statbuf\n\
newstat const char * filename, struct stat * statbuf\n\
newuname struct new_utsname * name\n\
open const char * filename, int flags, umode_t mode\n\
open_by_handle_at int mountdirfd, struct file_handle * handle, int flags\n\
open_tree int dfd, const char * filename, unsigned flags\n\
open_tree_attr int dfd, const char * filename, unsigned flags, struct mount_attr * uattr, size_t usize\n\
openat int dfd, const char * filename, int flags, umode_t mode\n\
openat2 int dfd, const char * filename, struct open_how * how, size_t usize\n\
pause\n\
perf_event_open struct perf_event_attr * attr_uptr, pid_t pid, int cpu, int group_fd, unsigned long flags\n\
personality unsigned int personality\n\
pidfd_getfd int pidfd, int fd, unsigned int flags\n\
pidfd_open pid_t pid, unsigned int flags\n\
pidfd_send_signal int pidfd, int sig, siginfo_t * info, unsigned int flags\n\
pipe int * fildes\n\
pipe2 int * fildes, int flags\n\
pivot_root const char * new_root, const char * put_old\n\
pkey_alloc unsigned long flags, unsigned long init_val\n\
pkey_free int pkey\n\
pkey_mprotect unsigned long start, size_t len, unsigned long prot, int pkey\n\
poll struct pollfd * ufds, unsigned int nfds, int timeout_msecs\n\
ppoll struct pollfd * ufds, unsigned int nfds, struct __kernel_timespec * tsp, const sigset_t * sigmask, size_t sigsetsize\n\
prctl int option, unsigned long arg2, unsigned long arg3, unsigned long arg4, unsigned long arg5\n\
pread64 unsigned int fd, char * buf, size_t count, loff_t pos\n\
preadv unsigned long fd, const struct iovec * vec, unsigned long vlen, unsigned long pos_l, unsigned long pos_h\n\
preadv2 unsigned long fd, const struct iovec * vec, unsigned long vlen, unsigned long pos_l, unsigned long pos_h, rwf_t flags\n\
prlimit64 pid_t pid, unsigned int resource, const struct rlimit64 * new_rlim, struct rlimit64 * old_rlim\n\
process_madvise int pidfd, const struct iovec * vec, size_t vlen, int behavior, unsigned int flags\n\
process_mrelease int pidfd, unsigned int flags\n\
process_vm_readv pid_t pid, const struct iovec * lvec, unsigned long liovcnt, const struct iovec * rvec, unsigned long riovcnt, unsigned long flags\n\
process_vm_writev pid_t pid, const struct iovec * lvec, unsigned long liovcnt, const struct iovec * rvec, unsigned long riovcnt, unsigned long flags\n\
pselect6 int n, fd_set * inp, fd_set * outp, fd_set * exp, struct __kernel_timespec * tsp, void * sig\n\
ptrace long request, long pid, unsigned long addr, unsigned long data\n\
pwrite64 unsigned int fd, const char * buf, size_t count, loff_t pos\n\
pwritev unsigned long fd, const struct iovec * vec, unsigned long vlen, unsigned long pos_l, unsigned long pos_h\n\
pwritev2 unsigned long fd, const struct iovec * vec, unsigned long vlen, unsigned long pos_l, unsigned long pos_h, rwf_t flags\n\
quotactl unsigned int cmd, const char * special, qid_t id, void * addr\n\
quotactl_fd unsigned int fd, unsigned int cmd, qid_t id, void * addr\n\
read unsigned int fd, char * buf, size_t count\n\
readahead int fd, loff_t offset, size_t count\n\
readlink const char * path, char * buf, int bufsiz\n\
readlinkat int dfd, const char * pathname, char * buf, int bufsiz\n\
readv unsigned long fd, const struct iovec * vec, unsigned long vlen\n\
reboot int magic1, int magic2, unsigned int cmd, void * arg\n\
recvfrom int fd, void * ubuf, size_t size, unsigned int flags, struct sockaddr * addr, int * addr_len\n\
recvmmsg int fd, struct mmsghdr * mmsg, unsigned int vlen, unsigned int flags, struct __kernel_timespec * timeout\n\
recvmsg int fd, struct user_msghdr * msg, unsigned int flags\n\
remap_file_pages unsigned long start, unsigned long size, unsigned long prot, unsigned long pgoff, unsigned long flags\n\
removexattr const char * pathname, const char * name\n\
removexattrat int dfd, const char * pathname, unsigned int at_flags, const char * name\n\
rename const char * oldname, const char * newname\n\
renameat int olddfd, const char * oldname, int newdfd, const char * newname\n\
renameat2 int olddfd, const char * oldname, int newdfd, const char * newname, unsigned int flags\n\
request_key const char * _type, const char * _description, const char * _callout_info, key_serial_t destringid\n\
restart_syscall\n\
rmdir const char * pathname\n\
rseq struct rseq * rseq, u32 rseq_len, int flags, u32 sig\n\
rt_sigaction int sig, const struct sigaction * act, struct sigaction * oact, size_t sigsetsize\n\
rt_sigpending sigset_t * uset, size_t sigsetsize\n\
rt_sigprocmask int how, sigset_t * nset, sigset_t * oset, size_t sigsetsize\n\
rt_sigqueueinfo pid_t pid, int sig, siginfo_t * uinfo\n\
rt_sigreturn\n\
rt_sigsuspend sigset_t * unewset, size_t sigsetsize\n\
rt_sigtimedwait const sigset_t * uthese, siginfo_t * uinfo, const struct __kernel_timespec * uts, size_t sigsetsize\n\
rt_tgsigqueueinfo pid_t tgid, pid_t pid, int sig, siginfo_t * uinfo\n\
sched_get_priority_max int policy\n\
sched_get_priority_min int policy\n\
sched_getaffinity pid_t pid, unsigned int len, unsigned long * user_mask_ptr\n\
sched_getattr pid_t pid, struct sched_attr * uattr, unsigned int usize, unsigned int flags\n\
sched_getparam pid_t pid, struct sched_param * param\n\
sched_getscheduler pid_t pid\n\
sched_rr_get_interval pid_t pid, struct __kernel_timespec * interval\n\
sched_setaffinity pid_t pid, unsigned int len, unsigned long * user_mask_ptr\n\
sched_setattr pid_t pid, struct sched_attr * uattr, unsigned int flags\n\
sched_setparam pid_t pid, struct sched_param * param\n\
sched_setscheduler pid_t pid, int policy, struct sched_param * param\n\
sched_yield\n\
seccomp unsigned int op, unsigned int flags, void * uargs\n\
select int n, fd_set * inp, fd_set * outp, fd_set * exp, struct __kernel_old_timeval * tvp\n\
semctl int semid, int semnum, int cmd, unsigned long arg\n\
semget key_t key, int nsems, int semflg\n\
semop int semid, struct sembuf * tsops, unsigned nsops\n\
semtimedop int semid, struct sembuf * tsops, unsigned int nsops, const struct __kernel_timespec * timeout\n\
sendfile64 int out_fd, int in_fd, loff_t * offset, size_t count\n\
sendmmsg int fd, struct mmsghdr * mmsg, unsigned int vlen, unsigned int flags\n\
sendmsg int fd, struct user_msghdr * msg, unsigned int flags\n\
sendto int fd, void * buff, size_t len, unsigned int flags, struct sockaddr * addr, int addr_len\n\
set_mempolicy int mode, const unsigned long * nmask, unsigned long maxnode\n\
set_mempolicy_home_node unsigned long start, unsigned long len, unsigned long home_node, unsigned long flags\n\
set_robust_list struct robust_list_head * head, size_t len\n\
set_tid_address int * tidptr\n\
setdomainname char * name, int len\n\
setfsgid gid_t gid\n\
setfsuid uid_t uid\n\
setgid gid_t gid\n\
setgroups int gidsetsize, gid_t * grouplist\n\
sethostname char * name, int len\n\
setitimer int which, struct __kernel_old_itimerval * value, struct __kernel_old_itimerval * ovalue\n\
setns int fd, int flags\n\
setpgid pid_t pid, pid_t pgid\n\
setpriority int which, int who, int niceval\n\
setregid gid_t rgid, gid_t egid\n\
setresgid gid_t rgid, gid_t egid, gid_t sgid\n\
setresuid uid_t ruid, uid_t euid, uid_t suid\n\
setreuid uid_t ruid, uid_t euid\n\
setrlimit unsigned int resource, struct rlimit * rlim\n\
setsid\n\
setsockopt int fd, int level, int optname, char * optval, int optlen\n\
settimeofday struct __kernel_old_timeval * tv, struct timezone * tz\n\
setuid uid_t uid\n\
setxattr const char * pathname, const char * name, const void * value, size_t size, int flags\n\
setxattrat int dfd, const char * pathname, unsigned int at_flags, const char * name, const struct xattr_args * uargs, size_t usize\n\
shmat int shmid, char * shmaddr, int shmflg\n\
shmctl int shmid, int cmd, struct shmid_ds * buf\n\
shmdt char * shmaddr\n\
shmget key_t key, size_t size, int shmflg\n\
shutdown int fd, int how\n\
sigaltstack const stack_t * uss, stack_t * uoss\n\
signalfd int ufd, sigset_t * user_mask, size_t sizemask\n\
signalfd4 int ufd, sigset_t * user_mask, size_t sizemask, int flags\n\
socket int family, int type, int protocol\n\
socketpair int family, int type, int protocol, int * usockvec\n\
splice int fd_in, loff_t * off_in, int fd_out, loff_t * off_out, size_t len, unsigned int flags\n\
statfs const char * pathname, struct statfs * buf\n\
statmount const struct mnt_id_req * req, struct statmount * buf, size_t bufsize, unsigned int flags\n\
statx int dfd, const char * filename, unsigned flags, unsigned int mask, struct statx * buffer\n\
swapoff const char * specialfile\n\
swapon const char * specialfile, int swap_flags\n\
symlink const char * oldname, const char * newname\n\
symlinkat const char * oldname, int newdfd, const char * newname\n\
sync\n\
sync_file_range int fd, loff_t offset, loff_t nbytes, unsigned int flags\n\
syncfs int fd\n\
sysfs int option, unsigned long arg1, unsigned long arg2\n\
sysinfo struct sysinfo * info\n\
syslog int type, char * buf, int len\n\
tee int fdin, int fdout, size_t len, unsigned int flags\n\
tgkill pid_t tgid, pid_t pid, int sig\n\
time __kernel_old_time_t * tloc\n\
timer_create const clockid_t which_clock, struct sigevent * timer_event_spec, timer_t * created_timer_id\n\
timer_delete timer_t timer_id\n\
timer_getoverrun timer_t timer_id\n\
timer_gettime timer_t timer_id, struct __kernel_itimerspec * setting\n\
timer_settime timer_t timer_id, int flags, const struct __kernel_itimerspec * new_setting, struct __kernel_itimerspec * old_setting\n\
timerfd_create int clockid, int flags\n\
timerfd_gettime int ufd, struct __kernel_itimerspec * otmr\n\
timerfd_settime int ufd, int flags, const struct __kernel_itimerspec * utmr, struct __kernel_itimerspec * otmr\n\
times struct tms * tbuf\n\
tkill pid_t pid, int sig\n\
truncate const char * path, long length\n\
umask int mask\n\
umount char * name, int flags\n\
unlink const char * pathname\n\
unlinkat int dfd, const char * pathname, int flag\n\
unshare unsigned long unshare_flags\n\
uprobe\n\
uretprobe\n\
userfaultfd int flags\n\
ustat unsigned dev, struct ustat * ubuf\n\
utime char * filename, struct utimbuf * times\n\
utimensat int dfd, const char * filename, struct __kernel_timespec * utimes, int flags\n\
utimes char * filename, struct __kernel_old_timeval * utimes\n\
vfork\n\
vhangup\n\
vmsplice int fd, const struct iovec * uiov, unsigned long nr_segs, unsigned int flags\n\
wait4 pid_t upid, int * stat_addr, int options, struct rusage * ru\n\
waitid int which, pid_t upid, struct siginfo * infop, int options, struct rusage * ru\n\
write unsigned int fd, const char * buf, size_t count\n\
writev unsigned long fd, const struct iovec * vec, unsigned long vlen\n\
";

/// Offset in a record of the number of the system call.
const NUMBER: u32 = 8;
/// Offset of the first argument, or of the result.
const FIRST: u32 = 16;

/// Gives the record of `sys_enter_X` or `sys_exit_X`; none of calls that are not in the table.
#[must_use]
pub fn format(event: &str) -> Option<Format> {
    let mut fields = vec![
        field("unsigned short", "common_type", 0, 2, false),
        field("unsigned char", "common_flags", 2, 1, false),
        field("unsigned char", "common_preempt_count", 3, 1, false),
        field("int", "common_pid", 4, 4, true),
        field("int", "__syscall_nr", NUMBER, 4, true),
    ];
    if let Some(name) = event.strip_prefix("sys_exit_") {
        arguments(name)?;
        fields.push(field("long", "ret", FIRST, 8, true));
    } else {
        let list = arguments(event.strip_prefix("sys_enter_")?)?;
        let each = list.split(", ").filter(|a| !a.is_empty());
        for (i, argument) in each.enumerate() {
            let (ty, name) = argument.rsplit_once(' ')?;
            let offset = FIRST + 8 * i as u32;
            fields.push(field(ty, name, offset, 8, false));
        }
    }
    Some(Format { fields })
}

/// Gives the tracepoints of the table that match a pattern.
#[must_use]
pub fn events(pattern: &str) -> Vec<EventName> {
    let names = TABLE.lines().filter_map(|l| l.split(' ').next());
    let mut events: Vec<EventName> = names
        .flat_map(|n| [format!("sys_enter_{n}"), format!("sys_exit_{n}")])
        .filter(|e| matches(pattern, e))
        .map(|event| EventName {
            category: "syscalls".to_owned(),
            event,
        })
        .collect();
    events.sort();
    events
}

/// Gives the arguments of a system call as the table has them.
fn arguments(name: &str) -> Option<&'static str> {
    let mut lines = TABLE.lines().map(|l| l.split_once(' ').unwrap_or((l, "")));
    lines.find(|(n, _)| *n == name).map(|(_, list)| list)
}

fn field(ty: &str, name: &str, offset: u32, size: u32, signed: bool) -> FormatField {
    FormatField {
        ty: ty.to_owned(),
        name: name.to_owned(),
        offset,
        size,
        signed,
    }
}
