// Opens files by directories, some of which it then leaves: in folders a and b below its own.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int opened(int result) {
    if (result < 0) {
        perror("open_moved");
        exit(1);
    }
    return result;
}

static int folder(const char *path) {
    return opened(open(path, O_RDONLY | O_DIRECTORY));
}

int main(void) {
    // A directory that is left, by then.
    opened(chdir("a"));
    opened(open("left", O_RDWR | O_CREAT, 0600));
    opened(chdir("../b"));
    opened(open("stayed", O_RDWR | O_CREAT, 0600));
    open("absent", O_RDONLY);
    // A descriptor that is another directory's, by then.
    int first = folder("../a");
    opened(openat(first, "reused", O_RDWR | O_CREAT, 0600));
    opened(dup2(folder("."), first));
    int second = folder("../a");
    opened(openat(second, "./kept", O_RDWR | O_CREAT, 0600));
    // No path, and one that cannot be read.
    syscall(SYS_openat, AT_FDCWD, NULL, O_RDONLY);
    syscall(SYS_openat, AT_FDCWD, (char *)1, O_RDONLY);
    puts("opened");
    fflush(stdout);
    getchar();
    return 0;
}
