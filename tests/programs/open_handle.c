/* Opens a file by its handle, as file servers do: "open_handle PATH". Prints what the 64-bit system
 * call gave and what the 32-bit one did, or "none" where the kernel has no such table. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static void no_table(int signal)
{
    (void)signal;
    static const char text[] = "none\n";
    _exit(write(1, text, sizeof text - 1) < 0);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    signal(SIGSEGV, no_table);
    struct file_handle *handle = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (handle == MAP_FAILED)
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
    long narrow;
    /* 342 is open_by_handle_at() of i386. */
    __asm__ volatile("int $0x80"
                     : "=a"(narrow)
                     : "a"(342L), "b"((long)other), "c"((long)handle), "d"((long)(O_RDONLY | O_NONBLOCK))
                     : "memory", "r8", "r9", "r10", "r11");
    printf("%d\n", (int)narrow);
    return 0;
}
