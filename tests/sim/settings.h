// SPDX-License-Identifier: GPL-2.0-or-later
// What an administrator configures of one node, and may change in its life; and
// which settings a node has had, and since when.
// In: what was configured (Node::configure()).  Out: the settings of now, and how
// long something may take that began under earlier ones.
// They belong to the host, as a file of the administrator does: a process that is
// started again has the last ones.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

#include "drbd-core.h"
#include "event_queue.h"

namespace drbd::sim {

struct Settings {
    DrbdProtocol protocol = DRBD_PROTOCOL_C;
    unsigned version_max = 101;
    bool features_given = false;
    uint32_t features = 0;
    bool integrity = false;           // digests of all data
    unsigned timeout = 60, ping_timeout = 5, connect_int = 3, ping_int = 10, ko_count = 7, max_epoch_size = 0, max_buffers = 0;
    unsigned drain_timeout = 0;       // 0: ko-count times timeout
    unsigned after_sb[3] = {0, 0, 0}; // by the number of Primaries, as the wire numbers them (spec 3.2)
    bool always_asbp = false;
    unsigned rr_conflict = 0;
    bool no_use_rle = false;
    DrbdOnIoError on_io_error = DRBD_ON_IO_ERROR_DETACH;
};

// discard-local and discard-remote are each other's, seen from the peer.
constexpr unsigned peers_policy(unsigned policy) { return policy == 5 ? 6 : policy == 6 ? 5 : policy; }

constexpr Time kNoLimit = UINT64_MAX;

// Until TCP gives up what it cannot bring to the peer (the shim sets TCP_USER_TIMEOUT); 0: its own.
inline Time user_timeout(const Settings& s) { return Time{s.ko_count} * s.timeout * 100 * kMillisecond; }

// How long a guest's request may take: whoever does not answer is dropped after
// ko-count timeouts; then there may be a generation to write, and slow disks on the way.
inline Time request_limit(const Settings& s) {
    return s.ko_count == 0 ? kNoLimit : (s.ko_count + 2) * s.timeout * 100 * kMillisecond + 60 * kSecond;
}

// Until a peer that does not answer is given up, by a clock that is slow.
inline Time give_up_limit(const Settings& s) {
    return s.ko_count == 0 ? kNoLimit : s.ko_count * s.timeout * 100 * kMillisecond * 5 / 4 + 20 * kSecond;
}

inline Time drain_limit(const Settings& s) {
    const unsigned timeout = s.drain_timeout != 0 ? s.drain_timeout : std::max(s.ko_count, 1u) * s.timeout;
    return timeout * 100 * kMillisecond * 5 / 4 + 20 * kSecond;
}

class SettingsLog {
  public:
    explicit SettingsLog(const Settings& first) : all_{{0, first}} {}

    void add(Time now, const Settings& settings) { all_.push_back({now, settings}); }
    const Settings& now() const { return all_.back().settings; }

    // Should what began then be over, if it may take limit(settings)?  Of several
    // that held meanwhile the longest counts; where one had no limit, time counts
    // from its end.
    template <typename Limit>
    bool is_overdue(Time began, Time now, Limit&& limit) const {
        Time most = 0, until = now;
        for (auto entry = all_.rbegin(); entry != all_.rend(); ++entry) {
            const Time own = limit(entry->settings);
            if (own == kNoLimit) {
                began = std::max(began, until);
                break;
            }
            most = std::max(most, own);
            until = entry->since;
            if (entry->since <= began)
                break;
        }
        return most != 0 && now > began + most;
    }

  private:
    struct Entry {
        Time since;
        Settings settings;
    };
    std::deque<Entry> all_;  // an entry that somebody reads stays where it is
};

}  // namespace drbd::sim
