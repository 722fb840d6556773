// SPDX-License-Identifier: GPL-2.0-or-later
// A raw image file or block device that holds metadata.  Opening it for
// writing makes it ours alone: QEMU's image locks on both kinds, O_EXCL on a
// block device (which a kernel DRBD minor, a mount or LVM already holds).
// Offsets and lengths are Bytes from the start.  Failures throw ToolError with
// the path and the place.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "core/base/units.h"

namespace drbd::metafmt::tool {

enum class Access { Read, Write };

class Device {
  public:
    Device(const std::string& path, Access access);
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    const std::string& path() const { return path_; }
    Sector size() const { return size_; }

    // Opened to read while somebody else writes: what is read may be stale.
    bool may_be_stale() const { return may_be_stale_; }

    void read(Bytes offset, std::span<uint8_t> buffer) const;
    void write(Bytes offset, std::span<const uint8_t> data);
    void zero(Bytes offset, Bytes length);  // deallocates where that reads as zero
    void sync();

    // Walks a range in order: `data` gets what was read, `hole` what the file
    // knows to be zero.  Pieces are multiples of 4096 if the range is.
    void walk(Bytes offset, Bytes length, const std::function<void(Bytes, std::span<const uint8_t>)>& data,
              const std::function<void(Bytes, Bytes)>& hole) const;

    // The last 4 KiB block before `end` that is not all zero; false if none.
    bool last_nonzero_block(Bytes end, Bytes& position) const;
    bool is_zero(Bytes offset, Bytes length) const;

  private:
    void open_exclusively(Access access);
    void find_size();
    Bytes next_data(Bytes offset, Bytes end) const;
    Bytes end_of_data(Bytes offset, Bytes end) const;

    std::string path_;
    int fd_ = -1;
    bool is_block_ = false;
    bool may_be_stale_ = false;
    Sector size_;
};

}  // namespace drbd::metafmt::tool
