/* Opens N distinct paths below a folder from two threads: "N ROUND FOLDER".
 *
 * Files with an even number exist, those with an odd one do not. The paths of the first half are
 * bytes of a file that was mapped and never touched, each in a window of its own, so that the
 * system call is the first to touch the page. What each open gave is printed at the end:
 * "pid tid number result errno". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Faults map up to 16 pages around the one that was touched. */
#define WINDOW (64 * 1024)

static long count;
static char *cold;
static char (*warm)[256];
static struct { int tid, result, error; } *outcome;

static void *open_half(void *first)
{
    long half = count / 2;
    for (long i = (long)first; i < count; i += 2) {
        const char *path = i < half ? cold + i * WINDOW : warm[i - half];
        /* Not open(): a sanitizer or libc must not look at the path first. */
        long result = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        outcome[i].tid = (int)syscall(SYS_gettid);
        outcome[i].result = (int)result;
        outcome[i].error = result < 0 ? errno : 0;
        if (result >= 0)
            close((int)result);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    count = atol(argv[1]);
    const char *folder = argv[2];
    long half = count / 2;
    char name[256];

    snprintf(name, sizeof name, "%s/paths", folder);
    int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, half * WINDOW) < 0)
        return 3;
    warm = calloc(count - half, sizeof *warm);
    outcome = calloc(count, sizeof *outcome);
    for (long i = 0; i < count; i++) {
        int length = snprintf(name, sizeof name, "%s/f%ld", folder, i);
        if (i % 2 == 0) {
            int file = open(name, O_WRONLY | O_CREAT, 0600);
            if (file < 0)
                return 3;
            close(file);
        }
        if (i >= half)
            memcpy(warm[i - half], name, length + 1);
        else if (pwrite(fd, name, length + 1, i * WINDOW) < 0)
            return 3;
    }
    cold = mmap(NULL, half * WINDOW, PROT_READ, MAP_PRIVATE, fd, 0);
    if (cold == MAP_FAILED)
        return 3;

    /* The tracer starts now; a line says go. */
    printf("ready %d\n", getpid());
    fflush(stdout);
    if (getchar() == EOF)
        return 4;

    pthread_t threads[2];
    for (long i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, open_half, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (long i = 0; i < count; i++)
        printf("%d %ld %d %d\n", outcome[i].tid, i, outcome[i].result, outcome[i].error);
    return 0;
}
