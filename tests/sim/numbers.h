// SPDX-License-Identifier: GPL-2.0-or-later
// Numbers as people write them, on the command line, in lists and in scripts: all of
// the text is the number, and it is in range.
#pragma once

#include <charconv>
#include <cstdint>
#include <string_view>

namespace drbd::sim {

// A whole decimal number.
inline bool read_number(std::string_view text, uint64_t low, uint64_t high, uint64_t& number) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
        return false;
    number = value;
    return true;
}

// Seconds with a decimal point, more than none.
inline bool read_seconds(std::string_view text, double most, double& seconds) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
    if (error != std::errc() || end != text.data() + text.size() || !(value > 0) || value > most)
        return false;
    seconds = value;
    return true;
}

}  // namespace drbd::sim
