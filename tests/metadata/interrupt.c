/* SPDX-License-Identifier: GPL-2.0-or-later
 * Preloaded into the program under test: kills it with SIGKILL at the N-th
 * change of a file (INTERRUPT_AT, from 1), before the call or, with
 * INTERRUPT_HALF, after half of a write's bytes.  Counts pwrite, fallocate and
 * fsync.  Without INTERRUPT_AT it writes the count to INTERRUPT_COUNT at exit.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static long calls;

static int is_the_one(void)
{
    const char *at = getenv("INTERRUPT_AT");

    return ++calls == (at ? atol(at) : -1);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);

    if (!real) {
        real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    }
    if (is_the_one()) {
        if (getenv("INTERRUPT_HALF")) {
            real(fd, data, length / 1024 * 512, offset);
        }
        raise(SIGKILL);
    }
    return real(fd, data, length, offset);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
    static int (*real)(int, int, off64_t, off64_t);

    if (!real) {
        real = (int (*)(int, int, off64_t, off64_t))dlsym(RTLD_NEXT, "fallocate64");
    }
    if (is_the_one()) {
        raise(SIGKILL);
    }
    return real(fd, mode, offset, length);
}

int fsync(int fd)
{
    static int (*real)(int);

    if (!real) {
        real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    }
    if (is_the_one()) {
        raise(SIGKILL);
    }
    return real(fd);
}

static __attribute__((destructor)) void report(void)
{
    const char *path = getenv("INTERRUPT_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;

    if (file) {
        fprintf(file, "%ld\n", calls);
        fclose(file);
    }
}
