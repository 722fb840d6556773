// SPDX-License-Identifier: GPL-2.0-or-later
// The checker of equal_images.h.
#include "checkers/equal_images.h"

#include <algorithm>

#include "checkers/metadata_view.h"

namespace drbd::sim {

namespace {

constexpr uint64_t kAtOnce = 2048;  // sectors
static_assert(kAtOnce % Disk::kChunk == 0);

}  // namespace

std::string check_equal_images(const Disk& a, const Disk& b) {
    const auto read = read_superblock(a, View::Current);
    // Internal metadata lies behind the data.
    const uint64_t end = std::min<uint64_t>(a.image().sectors(), read.valid ? read.superblock.la_size.value : ~0ull);
    const auto other = read_superblock(b, View::Current);
    if (read.valid && other.valid && (read.superblock.uuids.current | 1) != (other.superblock.uuids.current | 1))
        return "equal_images: the nodes are of two data generations although both are UpToDate and at rest";
    std::string found;
    uint64_t compared = ~uint64_t{0};
    auto compare = [&](uint64_t chunk) {
        const uint64_t first = chunk / kAtOnce * kAtOnce;
        if (first == compared)
            return;
        compared = first;
        for (uint64_t s = first; s < first + kAtOnce && s < end && found.empty(); s++) {
            const uint64_t va = a.value(View::Current, s), vb = b.value(View::Current, s);
            if (va != vb)
                found = "equal_images: sector " + std::to_string(s) + ": A has write " + std::to_string(va >> 12) + ", B has write " +
                        std::to_string(vb >> 12);
        }
    };
    a.image().for_each_chunk([&](uint64_t first, const uint64_t*) { compare(first); });
    b.image().for_each_chunk([&](uint64_t first, const uint64_t*) { compare(first); });
    return found;
}

}  // namespace drbd::sim
