/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the QEMU versions that the driver is built for.
 *
 * 10.1 asks for block status with a mask of BDRV_WANT_* where 10.0 has one
 * truth value, and hands class data and interface lists as const.
 */
#ifndef BLOCK_DRBD_COMPAT_H
#define BLOCK_DRBD_COMPAT_H

#if QEMU_VERSION_MAJOR > 10 || \
    (QEMU_VERSION_MAJOR == 10 && QEMU_VERSION_MINOR >= 1)
typedef unsigned int DrbdBlockStatusMode;
#define DRBD_CLASS_CONST const
#else
typedef bool DrbdBlockStatusMode;
#define DRBD_CLASS_CONST
#endif

#endif
