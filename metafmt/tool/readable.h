// SPDX-License-Identifier: GPL-2.0-or-later
// Sizes for people, as drbdmeta prints them: in the largest unit that leaves
// up to four digits, rounded.
#pragma once

#include <cstdint>
#include <iterator>
#include <string>

namespace drbd::metafmt::tool {

inline std::string readable_size(uint64_t kilobytes) {
    static const char* const units[] = {"KB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    for (; kilobytes >= 10000 && unit + 1 < std::size(units); unit++)
        kilobytes = (kilobytes + 512) / 1024;
    return std::to_string(kilobytes) + " " + units[unit];
}

}  // namespace drbd::metafmt::tool
