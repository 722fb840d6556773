// SPDX-License-Identifier: GPL-2.0-or-later
// The window of a target's requests (request_window.h): it fills a line that is
// fast, and one that is long; it shrinks where answers queue up, and grows again.
#include "core/resync/request_window.h"

#include <gtest/gtest.h>

namespace drbd {
namespace {

// A line that brings so many bytes a millisecond after a way there and back:
// rounds of as many requests as the window allows.
class Line {
  public:
    Line(uint64_t bytes_per_ms, uint64_t round_trip_ms) : bytes_per_ms_(bytes_per_ms), round_trip_ms_(round_trip_ms) {}

    void play(RequestWindow& window, unsigned rounds) {
        for (unsigned i = 0; i < rounds; i++) {
            const uint64_t asked_ms = now_ms_;
            uint64_t brought = 0;
            for (const uint64_t all = window.bytes(); brought < all;) {
                const uint64_t size = window.request_bytes();
                brought += size;
                now_ms_ = asked_ms + round_trip_ms_ + brought / bytes_per_ms_;
                window.on_answer(size, asked_ms, now_ms_);
            }
            longest_ms_ = now_ms_ - asked_ms;
        }
    }
    uint64_t longest_ms() const { return longest_ms_; }

  private:
    uint64_t bytes_per_ms_, round_trip_ms_, now_ms_ = 1000, longest_ms_ = 0;
};

TEST(RequestWindow, opens_wholly_on_a_fast_line) {
    RequestWindow window;
    window.begin();
    Line(1 << 20, 0).play(window, 8);
    EXPECT_EQ(window.bytes(), kResyncWindow.value);
    EXPECT_EQ(window.request_bytes(), 4u << 20);
}

TEST(RequestWindow, opens_wholly_on_a_long_line) {
    RequestWindow window;
    window.begin();
    Line(1 << 20, 300).play(window, 8);
    EXPECT_EQ(window.bytes(), kResyncWindow.value);
}

TEST(RequestWindow, keeps_the_queue_of_a_slow_line_short) {
    RequestWindow window;
    window.begin();
    Line line(6 << 10, 1);  // 6 MiB/s
    line.play(window, 50);
    EXPECT_LE(line.longest_ms(), 2 * kResyncQueueMs);
    EXPECT_GE(window.bytes(), kResyncQueueMs * (6 << 10) / 4);
}

TEST(RequestWindow, never_closes) {
    RequestWindow window;
    window.begin();
    Line(10, 1).play(window, 50);
    EXPECT_GE(window.bytes(), kResyncWindowMin.value);
    EXPECT_GE(window.request_bytes(), kBlockSize);
}

TEST(RequestWindow, shrinks_once_for_a_round_of_requests) {
    RequestWindow window;
    window.begin();
    window.on_answer(4096, 1000, 1001);
    const uint64_t before = window.bytes();
    for (unsigned i = 0; i < 10; i++)
        window.on_answer(4096, 1001, 2000 + i);
    EXPECT_EQ(window.bytes(), before / 2);
    window.on_answer(4096, 2001, 3000);
    EXPECT_EQ(window.bytes(), before / 4);
}

TEST(RequestWindow, opens_again_when_the_line_is_free) {
    RequestWindow window;
    window.begin();
    Line(10, 1).play(window, 20);
    Line(1 << 20, 0).play(window, 40);
    EXPECT_EQ(window.bytes(), kResyncWindow.value);
}

}  // namespace
}  // namespace drbd
