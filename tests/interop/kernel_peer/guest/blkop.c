/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * blkop: one block-level operation on a device, as exact as the kernel's
 * interface lets us ask for it.  It runs in the guests with kernel DRBD.
 *
 *  blkop write DEV OFF LEN SEED [fua]     O_DIRECT write, one request
 *  blkop many DEV OFF LEN SEED BS DEPTH   LEN bytes in BS pieces, DEPTH threads
 *  blkop fill DEV OFF LEN BYTE            O_DIRECT, constant byte
 *  blkop flush DEV                        fsync (an empty flush)
 *  blkop discard DEV OFF LEN              BLKDISCARD
 *  blkop zeroout DEV OFF LEN              BLKZEROOUT (no unmap wanted)
 *  blkop punch DEV OFF LEN                fallocate(PUNCH_HOLE): zeroes, may unmap
 *  blkop zerorange DEV OFF LEN            fallocate(ZERO_RANGE): zeroes, no unmap
 *  blkop check DEV OFF LEN SEED           O_DIRECT read and compare
 *  blkop race DEV OFF LEN COUNT SEED      COUNT rewrites of the same range
 *  blkop sum DEV OFF LEN                  64-bit FNV-1a of the range, O_DIRECT
 *
 * The data is a function of (absolute byte offset / 8, SEED) only:
 * word i = (i + 1) * 0x9E3779B97F4A7C15 ^ SEED * 0xD1B54A32D192ED03.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

static int fd;
static uint64_t base, len, bs, seed, next_piece;

static void pattern(uint64_t *p, uint64_t off, uint64_t n, uint64_t s)
{
	for (uint64_t i = 0; i < n / 8; i++)
		p[i] = (off / 8 + i + 1) * 0x9E3779B97F4A7C15ull ^ s * 0xD1B54A32D192ED03ull;
}

static void die(const char *what)
{
	fprintf(stderr, "blkop: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *buffer(uint64_t n)
{
	void *p;
	if (posix_memalign(&p, 4096, n))
		die("memory");
	return p;
}

static void wr(void *b, uint64_t off, uint64_t n, int flags)
{
	struct iovec v = { b, n };
	ssize_t r = pwritev2(fd, &v, 1, off, flags);
	if (r != (ssize_t)n) {
		if (r >= 0)
			errno = EIO;
		die("write");
	}
}

static void *worker(void *unused)
{
	void *b = buffer(bs);
	for (;;) {
		uint64_t i = __atomic_fetch_add(&next_piece, 1, __ATOMIC_RELAXED) * bs;
		if (i >= len)
			return unused;
		uint64_t n = len - i < bs ? len - i : bs;
		pattern(b, base + i, n, seed);
		wr(b, base + i, n, 0);
	}
}

int main(int c, char **v)
{
	if (c < 3)
		return fprintf(stderr, "usage: see blkop.c\n"), 2;
	const char *op = v[1];
	int rd = !strcmp(op, "check") || !strcmp(op, "sum");
	fd = open(v[2], (rd ? O_RDONLY : O_RDWR) | O_DIRECT);
	if (fd < 0)
		die(v[2]);
	uint64_t a[6] = { 0 };
	for (int i = 3; i < c && i < 9; i++)
		a[i - 3] = strtoull(v[i], NULL, 0);
	base = a[0], len = a[1], seed = a[2];
	uint64_t range[2] = { base, len };

	if (!strcmp(op, "write")) {
		void *b = buffer(len);
		pattern(b, base, len, seed);
		wr(b, base, len, c > 6 && !strcmp(v[6], "fua") ? RWF_DSYNC : 0);
	} else if (!strcmp(op, "fill")) {
		void *b = buffer(len);
		memset(b, (int)a[2], len);
		wr(b, base, len, 0);
	} else if (!strcmp(op, "many")) {
		pthread_t t[64];
		int n = a[4] ? (int)a[4] : 1;
		bs = a[3] ? a[3] : 4096;
		for (int i = 0; i < n; i++)
			pthread_create(&t[i], NULL, worker, NULL);
		for (int i = 0; i < n; i++)
			pthread_join(t[i], NULL);
	} else if (!strcmp(op, "race")) {
		void *b = buffer(len);
		for (uint64_t i = 0; i < a[2]; i++) {
			pattern(b, base, len, a[3] + i);
			wr(b, base, len, 0);
		}
	} else if (!strcmp(op, "flush")) {
		if (fsync(fd))
			die("fsync");
	} else if (!strcmp(op, "discard")) {
		if (ioctl(fd, BLKDISCARD, range))
			die("BLKDISCARD");
	} else if (!strcmp(op, "zeroout")) {
		if (ioctl(fd, BLKZEROOUT, range))
			die("BLKZEROOUT");
	} else if (!strcmp(op, "punch")) {
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, base, len))
			die("PUNCH_HOLE");
	} else if (!strcmp(op, "zerorange")) {
		if (fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, base, len))
			die("ZERO_RANGE");
	} else if (!strcmp(op, "check") || !strcmp(op, "sum")) {
		uint64_t step = 1 << 20, h = 0xcbf29ce484222325ull;
		uint64_t *b = buffer(step), *w = buffer(step);
		for (uint64_t o = 0; o < len; o += step) {
			uint64_t n = len - o < step ? len - o : step;
			if (pread(fd, b, n, base + o) != (ssize_t)n)
				die("read");
			if (op[0] == 's') {
				for (uint64_t i = 0; i < n; i++)
					h = (h ^ ((uint8_t *)b)[i]) * 0x100000001b3ull;
				continue;
			}
			pattern(w, base + o, n, seed);
			for (uint64_t i = 0; i < n / 8; i++)
				if (b[i] != w[i]) {
					printf("differs at byte %llu\n", (unsigned long long)(base + o + i * 8));
					return 1;
				}
		}
		if (op[0] == 's')
			printf("%016llx\n", (unsigned long long)h);
	} else {
		return fprintf(stderr, "blkop: unknown operation %s\n", op), 2;
	}
	close(fd);
	return 0;
}
