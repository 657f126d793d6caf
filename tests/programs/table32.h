/* The 32-bit system call table, called from a 64-bit program as 32-bit ones do. */
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static void no_table(int signal)
{
    (void)signal;
    static const char text[] = "none\n";
    _exit(write(1, text, sizeof text - 1) < 0);
}

/* Gives a page that a 32-bit address can name, or null; where the kernel has no such table the program
 * prints "none" and ends at the call. */
static void *low_page(void)
{
    signal(SIGSEGV, no_table);
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return page == MAP_FAILED ? NULL : page;
}

/* Makes a system call of i386 by its number there. */
static int call32(long number, long first, long second, long third)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(first), "c"(second), "d"(third)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}
