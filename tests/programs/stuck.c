/* Makes what a dump of a kernel is to show, and holds it until its standard input ends:
   a pipe whose mutex one thread holds, which waits for a page that nobody gives it, and for which two
   threads wait; a file whose rwsem one thread holds, which waits for another such page, for which a thread
   waits that holds the mutex of a second pipe, for which another waits; a network block device whose server, which is this process, does not answer one request,
   the thread that waits for that, and the kernel's worker that waits for the answer.
   Prints a line for each, "lacks WHAT" for what the kernel does not have, then "ready". */
#define _GNU_SOURCE
#include <endian.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096, DEVICE = 4 << 20, UNANSWERED = 2 << 20 };

struct thread {
  pthread_t handle;
  void (*run)(void);
  volatile int id;
};

static int full_pipe[2];
static char *nobodys_page, *nobodys_other_page;
static int faults, file, second_pipe[2], disk, sockets[2];
static volatile int answers;

static void *enter(void *pointer) {
  struct thread *thread = pointer;
  thread->id = syscall(SYS_gettid);
  thread->run();
  return 0;
}

static void begin(struct thread *thread) {
  if (pthread_create(&thread->handle, 0, enter, thread))
    exit(3);
  while (!thread->id)
    usleep(1000);
}

/* Waits until a thread is in this state, for ten seconds at most. */
static int is_in(const struct thread *thread, char wanted) {
  char name[64], text[256];
  snprintf(name, sizeof name, "/proc/self/task/%d/stat", thread->id);
  for (int times = 0, same = 0; times < 1000; times++) {
    FILE *file = fopen(name, "r");
    size_t length = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
      fclose(file);
    text[length] = 0;
    char *end = strrchr(text, ')');
    /* It may sleep for a moment on its way. */
    same = end && end[1] && end[2] == wanted ? same + 1 : 0;
    if (same == 5)
      return 1;
    usleep(10000);
  }
  return 0;
}

static void hold(void) {
  if (write(full_pipe[1], nobodys_page, PAGE) != PAGE)
    exit(4);
}

static void wait_for_it(void) {
  if (write(full_pipe[1], "", 1) != 1)
    exit(5);
}

static struct thread holder = {.run = hold};
static struct thread waiters[2] = {{.run = wait_for_it}, {.run = wait_for_it}};

static int lock(void) {
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register range = {.range = {.len = 2 * PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  faults = syscall(SYS_userfaultfd, O_CLOEXEC);
  if (faults < 0 || ioctl(faults, UFFDIO_API, &api) || pipe(full_pipe))
    return 0;
  nobodys_page = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  nobodys_other_page = nobodys_page + PAGE;
  range.range.start = (uintptr_t)nobodys_page;
  if (nobodys_page == MAP_FAILED || ioctl(faults, UFFDIO_REGISTER, &range))
    return 0;
  begin(&holder);
  if (!is_in(&holder, 'S'))
    return 0;
  printf("mutex_owner %d\n", holder.id);
  for (int i = 0; i < 2; i++) {
    begin(&waiters[i]);
    if (!is_in(&waiters[i], 'D'))
      return 0;
    printf("mutex_waiter %d\n", waiters[i].id);
  }
  return 1;
}

static void unlock(void) {
  struct uffdio_zeropage zero = {.range = {.start = (uintptr_t)nobodys_page, .len = 2 * PAGE}};
  if (ioctl(faults, UFFDIO_ZEROPAGE, &zero))
    exit(6);
  pthread_join(holder.handle, 0);
  for (int i = 0; i < 2; i++)
    pthread_join(waiters[i].handle, 0);
}

static void write_file(void) {
  if (pwrite(file, nobodys_other_page, PAGE, 0) != PAGE)
    exit(8);
}

/* Holds the pipe's mutex while it waits for the file's rwsem. */
static void empty_pipe(void) {
  if (splice(second_pipe[0], 0, file, 0, 1, 0) != 1)
    exit(9);
}

static void fill_pipe(void) {
  if (write(second_pipe[1], "", 1) != 1)
    exit(10);
}

static struct thread writer = {.run = write_file}, splicer = {.run = empty_pipe}, last = {.run = fill_pipe};

static int chain(void) {
  char name[] = "/tmp/stuck-XXXXXX";
  file = mkstemp(name);
  if (file < 0 || unlink(name) || pipe(second_pipe) || write(second_pipe[1], "", 1) != 1)
    return 0;
  begin(&writer);
  if (!is_in(&writer, 'S'))
    return 0;
  begin(&splicer);
  if (!is_in(&splicer, 'D'))
    return 0;
  begin(&last);
  if (!is_in(&last, 'D'))
    return 0;
  printf("rwsem_owner %d\nrwsem_waiter %d\nchain_waiter %d\n", writer.id, splicer.id, last.id);
  return 1;
}

static void unchain(void) {
  pthread_join(writer.handle, 0);
  pthread_join(splicer.handle, 0);
  pthread_join(last.handle, 0);
}

static void attend(void) { ioctl(disk, NBD_DO_IT); }

static int all(int take, void *bytes, size_t length) {
  for (char *at = bytes; length;) {
    ssize_t done = take ? read(sockets[1], at, length) : write(sockets[1], at, length);
    if (done <= 0)
      return 0;
    at += done;
    length -= done;
  }
  return 1;
}

/* Every page of the device is zeros. */
static void serve(void) {
  static char zeros[PAGE];
  struct nbd_request request;
  while (all(1, &request, sizeof request)) {
    struct nbd_reply reply = {.magic = htobe32(NBD_REPLY_MAGIC)};
    if (request.type == htobe32(NBD_CMD_DISC))
      break;
    memcpy(&reply.handle, &request.handle, sizeof reply.handle);
    uint32_t length = request.type == htobe32(NBD_CMD_READ) ? be32toh(request.len) : 0;
    if (be64toh(request.from) == UNANSWERED)
      while (!answers)
        usleep(10000);
    all(0, &reply, sizeof reply);
    for (; length; length -= length < PAGE ? length : PAGE)
      all(0, zeros, length < PAGE ? length : PAGE);
  }
  close(sockets[1]);
}

static void read_block(void) {
  int file = open("/dev/nbd0", O_RDONLY | O_DIRECT | O_CLOEXEC);
  void *page = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (file < 0 || page == MAP_FAILED || pread(file, page, PAGE, UNANSWERED) != PAGE)
    exit(7);
  close(file);
}

static struct thread attendant = {.run = attend}, server = {.run = serve}, reader = {.run = read_block};

static int block(void) {
  disk = open("/dev/nbd0", O_RDWR | O_CLOEXEC);
  if (disk < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) ||
      ioctl(disk, NBD_SET_BLKSIZE, PAGE) || ioctl(disk, NBD_SET_SIZE_BLOCKS, DEVICE / PAGE) ||
      ioctl(disk, NBD_SET_SOCK, sockets[0]))
    return 0;
  begin(&server);
  begin(&attendant);
  if (!is_in(&attendant, 'S'))
    return 0;
  begin(&reader);
  if (!is_in(&reader, 'D'))
    return 0;
  printf("block_reader %d\nblock_device nbd0\nblock_sector %d\nwork_function recv_work\n", reader.id,
         UNANSWERED / 512);
  return 1;
}

static void unblock(void) {
  answers = 1;
  pthread_join(reader.handle, 0);
  ioctl(disk, NBD_DISCONNECT);
  pthread_join(server.handle, 0);
  pthread_join(attendant.handle, 0);
}

int main(void) {
  char byte;
  int locked = lock(), chained = locked && chain(), blocked = block();
  if (!locked)
    puts("lacks a page that nobody gives");
  if (!chained)
    puts("lacks a file that is locked while it is written");
  if (!blocked)
    puts("lacks a network block device");
  puts("ready");
  fflush(stdout);
  while (read(0, &byte, 1) > 0)
    ;
  if (locked)
    unlock();
  if (chained)
    unchain();
  if (blocked)
    unblock();
  /* Threads of what did not come to be end with the process. */
  _exit(0);
}
