// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: any bytes as a bitmap.  What the sender makes of it, the receiver
// must turn into the same bitmap, and must be complete exactly at the end.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "packets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace drbd;
    using namespace drbd::wire;
    if (size < 3)
        return 0;
    const Agreement agreement{kVersionMin + data[0] % (kVersionMax - kVersionMin + 1), {}};
    const RunLengths run_lengths = data[1] & 1 ? RunLengths::On : RunLengths::Off;
    // Every byte of input stands for 1 to 32 equal bytes of the bitmap.
    const unsigned repeat = 1 + data[1] / 8;
    const uint64_t bits = (size - 3) * repeat * 8 + data[2] % 8;
    Bitmap bitmap, copy;
    DRBD_ASSERT(bitmap.allocate(Sector(bits * kSectorsPerBlock)).ok());
    DRBD_ASSERT(copy.allocate(Sector(bits * kSectorsPerBlock)).ok());
    for (size_t i = 0; i < (size - 3) * repeat; i++)
        bitmap.data()[i] = data[3 + i / repeat];
    bitmap.loaded();
    BitmapReceiver receiver(copy);
    const auto packets = send_bitmap(bitmap, {agreement, 0}, run_lengths);
    for (size_t i = 0; i < packets.size(); i++) {
        OnePacket packet(agreement, Stream::Data, packets[i]);
        DRBD_ASSERT(packet.ok());
        const auto transfer = receiver.on_packet(packet.frame());
        DRBD_ASSERT(transfer.ok());
        DRBD_ASSERT((transfer.value() == BitmapTransfer::Complete) == (i + 1 == packets.size()));
    }
    DRBD_ASSERT(copy.count() == bitmap.count());
    for (uint64_t page = 0; page < bitmap.pages(); page++)
        DRBD_ASSERT(std::equal(bitmap.page(page).begin(), bitmap.page(page).end(), copy.page(page).begin()));
    return 0;
}
