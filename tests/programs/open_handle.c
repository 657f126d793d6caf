/* Opens a file by its handle, as file servers do: "open_handle PATH". Prints what the 64-bit system
 * call gave and what the 32-bit one did, or "none" where the kernel has no such table. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include "table32.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    struct file_handle *handle = low_page();
    if (!handle)
        return 3;
    handle->handle_bytes = MAX_HANDLE_SZ;
    int mount;
    /* Where the file system has no handles, one that is wrong is refused all the same. */
    if (syscall(SYS_name_to_handle_at, AT_FDCWD, argv[1], handle, &mount, 0) < 0)
        handle->handle_bytes = 1;
    /* Any file tells which file system it is. */
    int other = open(argv[1], O_RDONLY);
    long result = syscall(SYS_open_by_handle_at, other, handle, O_RDONLY | O_NONBLOCK);
    printf("%ld\n", result < 0 ? -(long)errno : result);
    fflush(stdout);
    /* 342 is open_by_handle_at() of i386. */
    printf("%d\n", call32(342, other, (long)handle, O_RDONLY | O_NONBLOCK));
    return 0;
}
