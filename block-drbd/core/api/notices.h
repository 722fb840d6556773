// SPDX-License-Identifier: GPL-2.0-or-later
// What an administrator should hear, in order: changes of state, ends of
// operations, warnings.  A bounded ring.  When it is full the oldest notice
// that is not the end of an operation makes room (a program may wait for
// those).
#pragma once

#include "core/base/limits.h"
#include "drbd-core.h"

namespace drbd {

class Notices {
  public:
    void state(int volume, uint64_t operation, const char* field, const char* old_value, const char* new_value,
               const char* reason);
    void operation(int volume, uint64_t operation, const char* command, bool success, const char* text);
    void peer_lost(const char* reason);
    void split_brain(int volume, const char* text);
    void resync(int volume, const DrbdResyncNotice& what, const char* text);
    [[gnu::format(printf, 3, 4)]] void warning(int volume, const char* format, ...);

    bool empty() const { return count_ == 0; }
    bool take(DrbdNotice& notice);

    // Operations that ended, newest first.
    bool past_operation(unsigned index, DrbdNotice& notice) const;

  private:
    DrbdNotice& add(DrbdNoticeKind kind, int volume);

    DrbdNotice ring_[kNoticesMax];
    unsigned first_ = 0;
    unsigned count_ = 0;
    DrbdNotice past_[kPastOperationsMax];
    unsigned past_count_ = 0;  // ever
};

}  // namespace drbd
