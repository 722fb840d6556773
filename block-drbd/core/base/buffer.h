// SPDX-License-Identifier: GPL-2.0-or-later
// Memory for direct I/O, 4096-byte aligned and zeroed, taken when a disk is
// attached and given back when it is gone.  Large ones are not touched before
// they are used.  Running out of memory is an error, not an abort: a bitmap of
// 16 TiB needs half a gigabyte.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>

#include "core/base/result.h"
#include "core/base/units.h"

namespace drbd {

class AlignedBuffer {
  public:
    AlignedBuffer() = default;
    AlignedBuffer(const AlignedBuffer&) = delete;
    AlignedBuffer& operator=(const AlignedBuffer&) = delete;
    AlignedBuffer(AlignedBuffer&&) = delete;
    ~AlignedBuffer() { release(); }

    // `what` names the purpose in the error.
    Result<void> allocate(Bytes size, const char* what) {
        release();
        // calloc leaves untouched pages of a large area to the system.
        memory_ = static_cast<uint8_t*>(std::calloc(1, size.value + kAlignment));
        if (!memory_)
            return Error::of(ErrorCode::Exhausted, "not enough memory for the %s (%llu bytes)", what,
                             static_cast<unsigned long long>(size.value));
        const uintptr_t address = reinterpret_cast<uintptr_t>(memory_);
        data_ = {memory_ + (round_up(address, kAlignment) - address), size.value};
        return {};
    }

    void release() {
        std::free(memory_);
        memory_ = nullptr;
        data_ = {};
    }

    std::span<uint8_t> data() { return data_; }
    std::span<const uint8_t> data() const { return data_; }
    Bytes size() const { return Bytes(data_.size()); }

  private:
    static constexpr uint64_t kAlignment = 4096;

    uint8_t* memory_ = nullptr;
    std::span<uint8_t> data_;
};

}  // namespace drbd
