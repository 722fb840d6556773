// SPDX-License-Identifier: GPL-2.0-or-later
#include "core/peer/epoch.h"

#include "core/base/assert.h"

namespace drbd {

void ReceiverEpochs::end_write(uint64_t epoch) {
    DRBD_ASSERT(epoch >= oldest_ && epoch <= current_ && at(epoch).pending > 0);
    at(epoch).pending--;
}

bool ReceiverEpochs::end_current(wire::BarrierNumber number) {
    if (at(current_).set_size == 0)
        return false;
    DRBD_ASSERT(has_room());
    at(current_).number = number;
    at(++current_) = {};
    return true;
}

void ReceiverEpochs::remove_oldest() {
    DRBD_ASSERT(is_oldest_over());
    oldest_++;
}

// Numbers are never used twice, so that no late write can be counted wrongly.
void ReceiverEpochs::begin_connection() {
    DRBD_ASSERT(is_idle());
    oldest_ = ++current_;
    at(current_) = {};
}

}  // namespace drbd
