// SPDX-License-Identifier: GPL-2.0-or-later
// Content of the two disks, cheap to change and to compare.
//
// The guest's area is one number a sector: whose bytes are there (kZero,
// kBase, a guest request, or kForeign for bytes nobody wrote).  The metadata
// area is its bytes.  A Geometry says where each lies: with internal metadata
// both are on the data disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "log_reader.h"

namespace powercut {

inline constexpr uint32_t kZero = 0;
inline constexpr uint32_t kBase = 1;  // the pattern that the base image was filled with
inline constexpr uint32_t kForeign = UINT32_MAX;

struct Geometry {
    uint64_t data_sectors = 0;     // what the guest sees
    bool internal = false;
    bool has_metadata = false;     // false: plain node, guest's promises only
    uint64_t metadata_begin = 0;   // bytes on the metadata's disk
    uint64_t metadata_bytes = 0;
    Channel metadata_channel() const { return internal ? Channel::Data : Channel::Metadata; }
};

struct Content {
    std::vector<uint32_t> sectors;         // of the guest's area
    std::vector<unsigned char> metadata;   // of the metadata area
};

// Whose bytes a sector holds.
uint32_t identify(const unsigned char* bytes, uint64_t sector);

// Writes the bytes that `owner` has at that sector.
void regenerate(unsigned char* bytes, uint64_t sector, uint32_t owner);

// Reads the two base images; empty error on success.
std::string load_content(const Geometry& geometry, const std::string& data_path,
                         const std::string& metadata_path, Content& content);

// Follows content into files, writing only what changed since the last call.
// The driver may change the metadata area between calls, so that is written
// in full each time.
class StateFiles {
  public:
    std::string open(const Geometry& geometry, const std::string& data_path,
                     const std::string& metadata_path, const Content& base);
    std::string write(const Content& content, const std::vector<uint32_t>& candidates);
    std::string read_metadata(std::vector<unsigned char>& bytes) const;
    // The first guest sector whose bytes are not `content`'s, or kNever.
    uint64_t first_difference(const Content& content, const std::vector<uint32_t>& candidates) const;

  private:
    Geometry geometry_;
    int data_ = -1, metadata_ = -1;
    std::vector<uint32_t> written_;
};

}  // namespace powercut
