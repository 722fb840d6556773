// SPDX-License-Identifier: GPL-2.0-or-later
// The trace of a script: those events of the world's trace that belong to the
// protocol, and the packets, one line each, in the same columns: time, who,
// what, text.
// In: every line of the world's trace, every frame on the wire.  Out: lines for
// the step that is running; nothing while muted.
#pragma once

#include <string>
#include <vector>

#include "script/names.h"
#include "script/script.h"
#include "script/wire_tap.h"
#include "trace.h"

namespace drbd::sim {

class World;

class Listing final : public TraceListener {
  public:
    Listing(World& world, const Show& show);

    void begin_step() { traces_.emplace_back(); }
    const std::vector<std::vector<std::string>>& traces() const { return traces_; }
    void mute(bool on) { muted_ = on; }
    // Time counts from now on.
    void begin_time();
    // Number of lines so far.
    uint64_t heard() const { return heard_; }
    const WireTap& tap() const { return tap_; }
    void say(int who, const std::string& what, const std::string& text);

    void on_line(int who, const char* what, const uint64_t numbers[3]) override;
    void on_text(int who, const char* what, const char* text) override;

  private:
    void on_packet(int host, wire::Stream stream, const wire::Frame& frame);
    std::string metadata(int host, uint64_t offset, uint64_t flags) const;

    World& world_;
    Show show_;
    Names names_;
    WireTap tap_;
    std::string last_reason_[2];  // of a change of state, and when
    uint64_t last_change_[2] = {0, 0};
    bool muted_ = false;
    uint64_t begin_ = 0, heard_ = 0;
    std::vector<std::vector<std::string>> traces_;
};

}  // namespace drbd::sim
