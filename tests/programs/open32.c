/* Opens a file by the 32-bit system call table, as a 32-bit program does: "open32 PATH".
 * Prints the result, or "none" where the kernel has no such table. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include "table32.h"

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    char *path = low_page();
    if (!path)
        return 3;
    strncpy(path, argv[1], 4095);
    /* 5 is open() of i386. */
    printf("%d\n", call32(5, (long)path, 0, 0));
    return 0;
}
