// SPDX-License-Identifier: GPL-2.0-or-later
// libFuzzer: any bytes as a stream of packets.  The first four bytes choose
// stream and where it begins, version, features and the size of the pieces; the
// rest is fed, decoded and encoded again as in tests/unit/core/wire.
#include <cstddef>
#include <cstdint>

#include "corpus.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace drbd;
    using namespace drbd::wire;
    if (size < 4)
        return 0;
    // An accepted socket, one that this end dialled, or the middle of a connection.
    const unsigned begin = data[0] >> 1 & 3;
    Recording recording;
    recording.stream = data[0] & 1 ? Stream::Meta : Stream::Data;
    recording.accepted = begin == 1;
    recording.agreed = begin != 1 && begin != 2;
    recording.agreement = {kVersionMin + data[1] % (kVersionMax - kVersionMin + 1), {data[2] & kFeaturesKnown}};
    Translator translator(recording.agreement, Sector(131072));
    (void)listen(recording, {data + 4, size - 4}, 1 + data[3] * size_t{8}, translator);
    return 0;
}
