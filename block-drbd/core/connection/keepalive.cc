// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/connection/keepalive.h"

#include <algorithm>

namespace drbd {

void Pings::begin(const DrbdNetConfig& config, uint64_t now_ms) {
    configure(config);
    wait_anew(now_ms);
    sent_ = answered_ = wanted_ = 0;
    grace_used_ = false;
}

void Pings::configure(const DrbdNetConfig& config) {
    interval_ms_ = config.ping_int * 1000ull;
    timeout_ms_ = config.ping_timeout * 100ull;
    limit_ms_ = std::max<uint64_t>(config.timeout * 100ull, timeout_ms_);
}

void Pings::on_sent(bool answer_wanted, uint64_t now_ms) {
    if (!is_outstanding()) {
        oldest_ms_ = now_ms;
        wait_anew(now_ms);
    }
    newest_ms_ = now_ms;
    sent_++;
    total_sent_++;
    if (answer_wanted)
        wanted_ = sent_;
}

bool Pings::on_answer(uint64_t now_ms) {
    if (!is_outstanding())
        return false;  // to none of ours: harmless
    answered_++;
    total_answered_++;
    grace_used_ = false;
    if (is_outstanding())
        oldest_ms_ = now_ms;  // the next one is behind it on the same stream
    else
        last_ms_ = static_cast<unsigned>(now_ms - newest_ms_);
    if (wanted_ == 0 || answered_ < wanted_)
        return false;
    wanted_ = 0;
    return true;
}

Pings::Due Pings::check(uint64_t now_ms, bool was_late) {
    if (now_ms < next_deadline_ms())
        return Due::Nothing;
    if (!is_outstanding()) {
        if (!data_came_)
            return Due::Ping;
        wait_anew(now_ms);
        return Due::Nothing;
    }
    if (was_late && !grace_used_) {
        grace_used_ = true;
        oldest_ms_ = now_ms;
        wait_anew(now_ms);
        return Due::Nothing;
    }
    if (now_ms >= oldest_ms_ + limit_ms_ || !data_came_)
        return Due::Lost;
    wait_anew(now_ms);
    return Due::Nothing;
}

uint64_t Pings::next_deadline_ms() const {
    if (!is_outstanding())
        return read_since_ms_ + interval_ms_;
    return std::min(read_since_ms_ + timeout_ms_, oldest_ms_ + limit_ms_);
}

void SendWatch::update(bool waits, uint64_t now_ms) {
    if (!waits)
        since_ms_ = UINT64_MAX;
    else if (since_ms_ == UINT64_MAX) {
        since_ms_ = now_ms;
        left_ = tries_;
    }
}

void SendWatch::on_progress(uint64_t now_ms) {
    if (since_ms_ != UINT64_MAX)
        since_ms_ = now_ms;
    left_ = tries_;
    grace_used_ = false;
}

Pings::Due SendWatch::check(uint64_t now_ms, uint64_t timeout_ms, bool was_late) {
    if (now_ms < next_deadline_ms(timeout_ms))
        return Pings::Due::Nothing;
    since_ms_ = now_ms;
    if (was_late && !grace_used_) {
        grace_used_ = true;
        return Pings::Due::Ping;
    }
    if (left_ == 0)
        return Pings::Due::Ping;
    return --left_ == 0 ? Pings::Due::Lost : Pings::Due::Ping;
}

}  // namespace drbd
