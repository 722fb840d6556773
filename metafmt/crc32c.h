// SPDX-License-Identifier: GPL-2.0-or-later
// The checksum of activity-log blocks: CRC-32C (Castagnoli, reflected), with
// initial value 0 and without the final inversion that most libraries apply
// (docs/METADATA.md, "Activity log").  In: bytes and, to continue a checksum,
// the value so far.  Out: the value.  raw("123456789") is 0x58e3fa20.
// The CPU's own instruction is used where it exists; the table gives the same
// result, and tests compare the two.
#pragma once

#include <cstdint>
#include <span>

namespace drbd::metafmt {

uint32_t crc32c_raw(std::span<const uint8_t> bytes, uint32_t crc = 0);

// The portable way, for machines without the instruction and for the tests.
uint32_t crc32c_raw_by_table(std::span<const uint8_t> bytes, uint32_t crc = 0);

}  // namespace drbd::metafmt
