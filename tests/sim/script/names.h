// SPDX-License-Identifier: GPL-2.0-or-later
// Names for what is drawn at random and would hide what happens: data
// generations become G1, G2 ... in the order in which a trace meets them.  Bit
// 0 is no part of a generation's identity; 0 and the identifier of a fresh disk
// have names of their own.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string>
#include <unordered_map>

#include "metafmt/data_generation.h"

namespace drbd::sim {

class Names {
  public:
    std::string generation(uint64_t uuid) {
        if (uuid == 0)
            return "-";
        if ((uuid & ~1ull) == metafmt::kUuidJustCreated)
            return "fresh";
        const auto found = generations_.try_emplace(uuid | 1, generations_.size() + 1).first;
        return "G" + std::to_string(found->second);
    }
    std::string generations(const metafmt::Uuids& u) {
        std::string text = generation(u.current);  // one after the other: the order in which they are met
        for (const uint64_t uuid : {u.bitmap, u.history[0], u.history[1]})
            text += ":" + generation(uuid);
        return text;
    }
    // Identifiers inside of the core's own texts: 16 hexadecimal digits.
    std::string in_text(const std::string& text) {
        std::string result;
        for (size_t at = 0; at < text.size();) {
            const size_t end = std::min(text.find_first_not_of("0123456789ABCDEFabcdef", at), text.size());
            if (end - at == 16)
                result += generation(std::strtoull(text.substr(at, 16).c_str(), nullptr, 16));
            else
                result += text.substr(at, end - at);
            if (end < text.size())
                result += text[end];
            at = end + 1;
        }
        return result;
    }

  private:
    std::unordered_map<uint64_t, size_t> generations_;
};

}  // namespace drbd::sim
