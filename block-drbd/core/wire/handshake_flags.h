// SPDX-License-Identifier: GPL-2.0-or-later
// Flag bits inside P_PROTOCOL, P_SIZES and P_UUIDS (docs/WIRE.md,
// "Handshake").  Decoders and encoders turn them into named booleans; nobody
// else sees them.
#pragma once

#include <cstdint>

namespace drbd::wire {

constexpr uint32_t kConnFlagDiscardMyData = 1;
constexpr uint32_t kConnFlagDryRun = 2;  // 92

constexpr uint16_t kDdsForced = 1;
constexpr uint16_t kDdsNoResync = 2;

constexpr uint64_t kUuidFlagDiscardMyData = 1;
constexpr uint64_t kUuidFlagCrashedPrimary = 2;
constexpr uint64_t kUuidFlagInconsistent = 4;
constexpr uint64_t kUuidFlagSkipInitialSync = 8;  // 90

}  // namespace drbd::wire
