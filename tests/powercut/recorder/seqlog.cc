// SPDX-License-Identifier: GPL-2.0-or-later
// The sequence log: mapping, appending, the guest's pattern; and the C names
// under which Python reaches them.  Contract: seqlog.h.

#include "seqlog.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace powercut {

LogHeader* map_log(const char* path, uint64_t capacity) {
    int descriptor = open(path, O_RDWR | O_CLOEXEC | (capacity ? O_CREAT | O_TRUNC : 0), 0600);
    if (descriptor < 0)
        return nullptr;
    struct stat status;
    if ((capacity && ftruncate(descriptor, static_cast<off_t>(capacity)) < 0) ||
        fstat(descriptor, &status) < 0) {
        close(descriptor);
        return nullptr;
    }
    void* memory = mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_NORESERVE, descriptor, 0);
    close(descriptor);
    if (memory == MAP_FAILED)
        return nullptr;
    auto* log = static_cast<LogHeader*>(memory);
    if (capacity) {
        log->capacity = capacity;
        log->tail.store(kFirstRecord);
        log->next_id.store(1);
        log->magic = kLogMagic;
    }
    if (log->magic != kLogMagic) {
        munmap(memory, static_cast<size_t>(status.st_size));
        errno = EINVAL;
        return nullptr;
    }
    return log;
}

bool append(LogHeader* log, Kind kind, Phase phase, Channel channel, uint8_t flags, uint64_t id,
            uint64_t offset, uint64_t length, const void* payload, uint64_t payload_bytes) {
    const uint64_t size = sizeof(Record) + ((payload_bytes + 7) & ~uint64_t{7});
    if (log->tail.load() + size + sizeof(Record) > log->capacity)
        return false;
    const uint64_t place = log->tail.fetch_add(size);
    if (place + size > log->capacity)
        return false;
    auto* base = reinterpret_cast<unsigned char*>(log) + place;
    auto* record = reinterpret_cast<Record*>(base);
    record->kind = kind;
    record->phase = phase;
    record->channel = channel;
    record->flags = flags;
    record->id = id;
    record->offset = offset;
    record->length = length;
    record->payload_bytes = payload_bytes;
    if (payload_bytes)
        std::memcpy(base + sizeof(Record), payload, payload_bytes);
    record->committed.store(kCommitted, std::memory_order_release);
    return true;
}

void fill_pattern(void* buffer, uint64_t first_sector, uint64_t sectors, uint64_t request) {
    auto* word = static_cast<uint64_t*>(buffer);
    for (uint64_t sector = first_sector; sector < first_sector + sectors; sector++) {
        word[0] = kPatternMagic;
        word[1] = request;
        word[2] = sector;
        for (unsigned i = 3; i < kSectorSize / 8; i++)
            word[i] = (request * 0x9e3779b97f4a7c15 + sector) ^ i;
        word += kSectorSize / 8;
    }
}

}  // namespace powercut

extern "C" {

void* seqlog_map(const char* path, uint64_t capacity) {
    return powercut::map_log(path, capacity);
}

int seqlog_append(void* log, uint8_t kind, uint8_t phase, uint8_t channel, uint8_t flags,
                  uint64_t id, uint64_t offset, uint64_t length, const void* payload,
                  uint64_t payload_bytes) {
    using namespace powercut;
    return append(static_cast<LogHeader*>(log), Kind{kind}, Phase{phase}, Channel{channel}, flags,
                  id, offset, length, payload, payload_bytes);
}

void seqlog_fill_pattern(void* buffer, uint64_t first_sector, uint64_t sectors, uint64_t request) {
    powercut::fill_pattern(buffer, first_sector, sectors, request);
}

}  // extern "C"
