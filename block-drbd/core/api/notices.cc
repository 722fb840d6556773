// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/api/notices.h"

#include <cstdarg>
#include <cstdio>

#include "core/base/assert.h"

namespace drbd {

DrbdNotice& Notices::add(DrbdNoticeKind kind, int volume) {
    if (count_ == kNoticesMax) {
        unsigned victim = 0;
        while (victim < count_ && ring_[(first_ + victim) % kNoticesMax].kind == DRBD_NOTICE_OPERATION)
            victim++;
        if (victim == count_)
            victim = 0;  // nothing but operations: the oldest has had its time
        for (unsigned i = victim; i > 0; i--)
            ring_[(first_ + i) % kNoticesMax] = ring_[(first_ + i - 1) % kNoticesMax];
        first_ = (first_ + 1) % kNoticesMax;
        count_--;
    }
    DrbdNotice& notice = ring_[(first_ + count_++) % kNoticesMax];
    notice = {};
    notice.kind = kind;
    notice.volume = volume;
    return notice;
}

void Notices::state(int volume, uint64_t operation, const char* field, const char* old_value,
                    const char* new_value, const char* reason) {
    DrbdNotice& notice = add(DRBD_NOTICE_STATE, volume);
    notice.operation = operation;
    notice.field = field;
    notice.old_value = old_value;
    notice.new_value = new_value;
    std::snprintf(notice.text, sizeof notice.text, "%s", reason);
}

void Notices::operation(int volume, uint64_t operation, const char* command, bool success, const char* text) {
    DrbdNotice& notice = add(DRBD_NOTICE_OPERATION, volume);
    notice.operation = operation;
    notice.command = command;
    notice.success = success;
    std::snprintf(notice.text, sizeof notice.text, "%s", text);
    past_[past_count_++ % kPastOperationsMax] = notice;
}

void Notices::peer_lost(const char* reason) {
    std::snprintf(add(DRBD_NOTICE_PEER_LOST, -1).text, DRBD_ERROR_SIZE, "%s", reason);
}

void Notices::split_brain(int volume, const char* text) {
    std::snprintf(add(DRBD_NOTICE_SPLIT_BRAIN, volume).text, DRBD_ERROR_SIZE, "%s", text);
}

void Notices::resync(int volume, const DrbdResyncNotice& what, const char* text) {
    DrbdNotice& notice = add(DRBD_NOTICE_RESYNC, volume);
    notice.resync = what;
    std::snprintf(notice.text, sizeof notice.text, "%s", text);
}

void Notices::warning(int volume, const char* format, ...) {
    DrbdNotice& notice = add(DRBD_NOTICE_WARNING, volume);
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(notice.text, sizeof notice.text, format, arguments);
    va_end(arguments);
}

bool Notices::take(DrbdNotice& notice) {
    if (count_ == 0)
        return false;
    notice = ring_[first_];
    first_ = (first_ + 1) % kNoticesMax;
    count_--;
    return true;
}

bool Notices::past_operation(unsigned index, DrbdNotice& notice) const {
    if (index >= kPastOperationsMax || index >= past_count_)
        return false;
    notice = past_[(past_count_ - 1 - index) % kPastOperationsMax];
    return true;
}

}  // namespace drbd
