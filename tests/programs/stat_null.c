/* Asks for the status of an open file alone, without a path: "stat_null". */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void) {
  struct statx status;
  /* Kernels before 6.11 want an empty path and give EFAULT. */
  return syscall(SYS_statx, 0, 0, AT_EMPTY_PATH, STATX_BASIC_STATS, &status) ? 1 : 0;
}
