// SPDX-License-Identifier: GPL-2.0-or-later
// Is the peer still there?  Pings on meta (spec 1.5), and streams that the peer
// does not read (spec 1.4, send timeouts).
//
// In: what was received and sent, time.  Out: a ping to send, or the reason why
// the peer is lost.
// Invariants: whatever comes on data is a sign of life, but a ping that stays
// unanswered for `timeout` is the end all the same (meta alone may be cut); a
// ping that was asked for is answered only by one that was sent after it.
// A caller that slept over a deadline gets one more ping-timeout: the answer may
// be in its socket.
#pragma once

#include <cstdint>

#include "drbd-core.h"

namespace drbd {

class Pings {
  public:
    void begin(const DrbdNetConfig& config, uint64_t now_ms);
    void configure(const DrbdNetConfig& config);

    void on_data_received() { data_came_ = true; }
    void on_meta_received(uint64_t now_ms) { wait_anew(now_ms); }
    void on_sent(bool answer_wanted, uint64_t now_ms);
    // True: everything that was asked for is answered.
    bool on_answer(uint64_t now_ms);
    bool is_outstanding() const { return sent_ != answered_; }

    enum class Due : uint8_t { Nothing, Ping, Lost };
    Due check(uint64_t now_ms, bool was_late);
    uint64_t next_deadline_ms() const;

    uint64_t sent() const { return total_sent_; }
    uint64_t answered() const { return total_answered_; }
    unsigned last_ms() const { return last_ms_; }

  private:
    void wait_anew(uint64_t now_ms) {
        read_since_ms_ = now_ms;
        data_came_ = false;
    }

    uint64_t interval_ms_ = 10000, timeout_ms_ = 500, limit_ms_ = 6000;
    uint64_t read_since_ms_ = 0;     // what is waited for on meta, since then
    bool data_came_ = false;         // on data, since then
    uint64_t oldest_ms_ = 0;         // the first ping that is not answered
    uint64_t newest_ms_ = 0;
    uint64_t sent_ = 0, answered_ = 0, wanted_ = 0;
    uint64_t total_sent_ = 0, total_answered_ = 0;
    unsigned last_ms_ = 0;
    bool grace_used_ = false;
};

// One stream on which something waits to be sent.
class SendWatch {
  public:
    void begin(unsigned tries) {
        since_ms_ = UINT64_MAX;
        tries_ = left_ = tries;
        grace_used_ = false;
    }
    void configure(unsigned tries) { tries_ = tries; }
    // After any event: does something wait?
    void update(bool waits, uint64_t now_ms);
    void on_progress(uint64_t now_ms);

    // Nothing: no deadline has passed; Ping: one has, but it may go on; Lost: it
    // was the last.  `tries` 0 never ends.
    Pings::Due check(uint64_t now_ms, uint64_t timeout_ms, bool was_late);
    uint64_t next_deadline_ms(uint64_t timeout_ms) const {
        return since_ms_ == UINT64_MAX ? UINT64_MAX : since_ms_ + timeout_ms;
    }

  private:
    uint64_t since_ms_ = UINT64_MAX;
    unsigned tries_ = 1, left_ = 1;
    bool grace_used_ = false;
};

}  // namespace drbd
