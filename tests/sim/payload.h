// SPDX-License-Identifier: GPL-2.0-or-later
// Payload in the memory of a process and on its way between two.
//
// A sector of it is its value on both ends (disk.h) and zeroes between them.  So
// memory for payload is taken from one place, whoever copies it there copies the
// ends alone, and a buffer that was given back is zero between the ends when it
// is taken again.  What is copied stays true byte by byte: where ends do not
// meet ends all bytes move, and the buffer is said not to be plain any more.
// With AddressSanitizer nobody touches a buffer that was given back, nor what
// lies between two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace drbd::sim {

void* take_payload_memory(size_t bytes);  // aligned to a sector; its ends hold anything
void give_payload_memory_back(void* memory, size_t bytes, bool plain);
bool is_payload_memory(const void* at);

// One that knows its size, plain always.
class PayloadBuffer {
  public:
    PayloadBuffer() = default;
    PayloadBuffer(const PayloadBuffer&) = delete;
    PayloadBuffer& operator=(const PayloadBuffer&) = delete;
    ~PayloadBuffer() {
        if (data_)
            give_payload_memory_back(data_, size_, true);
    }

    void take(size_t bytes);  // once
    uint8_t* data() { return data_; }
    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }

  private:
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

// Bytes on their way: of payload the ends alone.
class WireBytes {
  public:
    WireBytes() = default;
    // Its memory is that of `used`, which nobody needs any more.
    WireBytes(std::vector<uint8_t> used, std::span<const uint8_t> bytes, bool payload);

    size_t size() const { return size_; }
    void shorten(size_t bytes) { size_ -= bytes; }
    void flip_bit(size_t at);
    std::vector<uint8_t> take_memory() { return std::move(held_); }

    // All of them, from there on; `room` is where they are made, if they must be.
    std::span<const uint8_t> bytes(size_t from, std::vector<uint8_t>& room) const;
    // The two ends of a sector that begins there, 16 bytes, and of the next ones behind them; null: these
    // are no payload, or no sector begins there.
    const uint8_t* ends_at(size_t from) const {
        const size_t at = skipped_ + from;
        return is_payload_ && at % 512 == 0 ? held_.data() + at / 512 * 16 : nullptr;
    }
    // Into memory for payload; false if that is not plain any more.
    [[nodiscard]] bool copy(size_t from, size_t bytes, uint8_t* to) const;

  private:
    void expand(size_t from, size_t bytes, uint8_t* to) const;

    std::vector<uint8_t> held_;  // all bytes; of payload 16 a sector
    size_t size_ = 0;
    unsigned skipped_ = 0;       // of the first sector
    bool is_payload_ = false;
};

}  // namespace drbd::sim
