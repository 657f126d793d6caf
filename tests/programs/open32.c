/* Opens a file by the 32-bit system call table, as a 32-bit program does: "open32 PATH".
 * Prints the result, or "none" where the kernel has no such table. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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
    char *path = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (path == MAP_FAILED)
        return 3;
    strncpy(path, argv[1], 4095);
    long result;
    /* 5 is open() of i386. */
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(5L), "b"((long)path), "c"(0L), "d"(0L)
                     : "memory", "r8", "r9", "r10", "r11");
    printf("%d\n", (int)result);
    return 0;
}
