// SPDX-License-Identifier: GPL-2.0-or-later
// The digest of played_digest.h: four lanes of FNV-1a, each with its own start.
#include "played_digest.h"

#include <cstring>

namespace drbd::sim {

void played_digest(const std::string& secret, const void* data, size_t length, uint8_t digest[DRBD_DIGEST_SIZE]) {
    const auto* bytes = static_cast<const uint8_t*>(data);
    for (unsigned lane = 0; lane < kPlayedDigestSize / 8; lane++) {
        uint64_t hash = 0xcbf29ce484222325u + lane * 0x9e3779b97f4a7c15u;
        for (char c : secret)
            hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
        for (size_t i = 0; i < length; i++)
            hash = (hash ^ bytes[i]) * 0x100000001b3u;
        hash ^= hash >> 29;
        std::memcpy(digest + lane * 8, &hash, 8);
    }
}

}  // namespace drbd::sim
