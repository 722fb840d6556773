/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * records: a writer of numbered, checksummed records, and the judge of what is
 * left of them.  It runs in a guest (static) and on the host.
 *
 *   records write DEVICE FROM [THREADS]   write records FROM, FROM+1, ... until
 *                                         killed, or until the device is full;
 *                                         prints "ack N" after N is stable
 *   records check DEVICE [SIZE] < RANGES  RANGES: lines "FIRST LAST"; every
 *                                         record in them must be there, whole;
 *                                         prints "checked N missing M", exit 1
 *                                         if M is not 0; SIZE: bytes that the
 *                                         writer saw, if DEVICE is larger
 *   records selftest                      the mapping and the checksum
 *
 * Invariants: a record has a 4 KiB slot of its own and is never written again
 * once acknowledged, so a write torn by a crash can only hurt a record that
 * nobody was promised.  Three ways to be stable take turns: O_DIRECT + fsync, a
 * write with RWF_DSYNC (FUA where the device has it), and the page cache +
 * fsync.  Lengths take turns between 512 bytes and 4 KiB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SLOT = 4096, GROUP = 8, THREADS_MAX = 16, HEADER_WORDS = 4 };

static const uint64_t magic = 0x7265636f72643031ull;    /* "record01" */

static const char *device;
static uint64_t groups;                 /* groups of GROUP slots on the device */
static uint64_t next_number;
static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what)
{
    fprintf(stderr, "records: %s: %s: %s\n", device ? device : "", what,
            strerror(errno));
    exit(2);
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 31;
    x *= 0x7fb5d329728ea185ull;
    x ^= x >> 27;
    x *= 0x81dadef4bc2dd44dull;
    return x ^ (x >> 33);
}

/* Eight neighbours, then a jump: an activity log sees hot and cold extents. */
static uint64_t offset_of(uint64_t n)
{
    uint64_t group = n / GROUP * 0x9e3779b1ull % groups;

    return (group * GROUP + n % GROUP) * SLOT;
}

static uint64_t length_of(uint64_t n)
{
    static const uint16_t lengths[] = { 4096, 512, 4096, 1536, 3072 };

    return lengths[n % 5];
}

/* Words: magic, number, checksum, length, then content that the number makes. */
static uint64_t checksum(const uint64_t *record, uint64_t length)
{
    uint64_t h = 0xcbf29ce484222325ull;

    for (uint64_t i = 0; i < length / 8; i++) {
        h = (h ^ (i == 2 ? 0 : record[i])) * 0x100000001b3ull;
        h ^= h >> 32;
    }
    return h;
}

static void make_record(uint64_t *record, uint64_t n)
{
    uint64_t length = length_of(n);

    record[0] = magic;
    record[1] = n;
    record[3] = length;
    for (uint64_t i = HEADER_WORDS; i < length / 8; i++) {
        record[i] = mix(n << 16 | i);
    }
    record[2] = checksum(record, length);
}

/* The device must hold a whole number of groups that shares no factor with the
 * multiplier (a prime), so that the mapping is a permutation. */
static void measure(int fd, uint64_t known_size)
{
    off_t size = known_size ? (off_t)known_size : lseek(fd, 0, SEEK_END);

    if (size < 0) {
        die("size");
    }
    groups = (uint64_t)size / SLOT / GROUP;
    if (groups % 0x9e3779b1ull == 0) {
        errno = EINVAL;
        die("too small");
    }
}

static void write_all(int fd, const void *data, uint64_t length, uint64_t at,
                      int flags)
{
    struct iovec v = { (void *)data, length };
    ssize_t r = pwritev2(fd, &v, 1, (off_t)at, flags);

    if (r != (ssize_t)length) {
        errno = r < 0 ? errno : EIO;
        die("write");
    }
}

/* Some file systems of a host know no O_DIRECT; every guest's device does. */
static int open_direct(int flags)
{
    int fd = open(device, flags | O_DIRECT);

    return fd < 0 && errno == EINVAL ? open(device, flags) : fd;
}

static void *writer(void *unused)
{
    void *memory;
    int direct = open_direct(O_RDWR);
    int cached = open(device, O_RDWR);

    if (direct < 0 || cached < 0 || posix_memalign(&memory, SLOT, SLOT)) {
        die("open");
    }
    for (;;) {
        uint64_t n = __atomic_fetch_add(&next_number, 1, __ATOMIC_RELAXED);

        if (n >= groups * GROUP) {
            break;
        }
        make_record(memory, n);
        switch (n % 3) {
        case 0:
            write_all(direct, memory, length_of(n), offset_of(n), 0);
            if (fsync(direct)) {
                die("fsync");
            }
            break;
        case 1:
            write_all(direct, memory, length_of(n), offset_of(n), RWF_DSYNC);
            break;
        default:
            write_all(cached, memory, length_of(n), offset_of(n), 0);
            if (fsync(cached)) {
                die("fsync");
            }
        }
        pthread_mutex_lock(&output);
        printf("ack %llu\n", (unsigned long long)n);
        fflush(stdout);
        pthread_mutex_unlock(&output);
    }
    return unused;
}

static int write_records(uint64_t from, int threads)
{
    pthread_t thread[THREADS_MAX];
    int fd = open(device, O_RDONLY);

    if (fd < 0) {
        die("open");
    }
    measure(fd, 0);
    next_number = from;
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&thread[i], NULL, writer, NULL)) {
            die("thread");
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
    }
    printf("full\n");
    return 0;
}

static int check_records(uint64_t known_size)
{
    unsigned long long first, last;
    uint64_t checked = 0, missing = 0;
    uint64_t want[SLOT / 8];
    void *got;
    int fd = open_direct(O_RDONLY);

    if (fd < 0 || posix_memalign(&got, SLOT, SLOT)) {
        die("open");
    }
    measure(fd, known_size);
    while (scanf("%llu %llu", &first, &last) == 2) {
        for (uint64_t n = first; n <= last; n++) {
            make_record(want, n);
            if (pread(fd, got, SLOT, (off_t)offset_of(n)) != SLOT) {
                die("read");
            }
            checked++;
            if (memcmp(want, got, length_of(n))) {
                if (missing++ < 10) {
                    printf("record %llu at byte %llu is not there\n",
                           (unsigned long long)n,
                           (unsigned long long)offset_of(n));
                }
            }
        }
    }
    printf("checked %llu missing %llu\n", (unsigned long long)checked,
           (unsigned long long)missing);
    return missing ? 1 : 0;
}

/* Every slot is used exactly once, and a changed bit changes the checksum. */
static int selftest(void)
{
    static const uint64_t sizes[] = { 1, 7, 512, 8192, 8191, 131071 };
    uint64_t record[SLOT / 8];

    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        groups = sizes[s];
        uint8_t *seen = calloc(groups * GROUP, 1);

        for (uint64_t n = 0; n < groups * GROUP; n++) {
            if (seen[offset_of(n) / SLOT]++) {
                printf("record %llu has no slot of its own\n",
                       (unsigned long long)n);
                return 1;
            }
        }
        free(seen);
    }
    for (uint64_t bit = 0; bit < 512 * 8; bit++) {
        make_record(record, 1);
        record[bit / 64] ^= 1ull << bit % 64;
        if (bit / 64 != 2 && checksum(record, 512) == record[2]) {
            printf("bit %llu is not covered\n", (unsigned long long)bit);
            return 1;
        }
    }
    printf("ok\n");
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "selftest")) {
        return selftest();
    }
    device = argc > 2 ? argv[2] : NULL;
    if (argc >= 4 && !strcmp(argv[1], "write")) {
        int threads = argc > 4 ? atoi(argv[4]) : 1;

        if (threads >= 1 && threads <= THREADS_MAX) {
            return write_records(strtoull(argv[3], NULL, 0), threads);
        }
    }
    if ((argc == 3 || argc == 4) && !strcmp(argv[1], "check")) {
        return check_records(argc == 4 ? strtoull(argv[3], NULL, 0) : 0);
    }
    fprintf(stderr, "usage: records write DEVICE FROM [THREADS] | "
            "check DEVICE [SIZE] | selftest\n");
    return 2;
}
