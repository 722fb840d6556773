// SPDX-License-Identifier: GPL-2.0-or-later
// The recorder: a plugin of nbdkit that lies below the driver as its disks.
//
// Exports `data` and `md` of one process; each change request is appended to
// the sequence log as it arrives (Submit, with payload) and before it is
// answered (Complete).  FUA and flush stay what they are.  Reads see current
// content.  Requests run in parallel and wait a seeded random time before they
// take effect, so they complete out of order: a driver that relies on order
// without waiting for a completion or a flush is found out.
// A plain trim keeps the old bytes, as a disk may.
//
// Options: log=PATH data=PATH [md=PATH] [seed=N] [delay-us=N] [lag-us=N]
// [lag-permille=N]: up to delay-us for each, lag-us for some.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

#include "seqlog.h"

#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

namespace {

using powercut::Channel;
using powercut::Kind;
using powercut::Phase;

struct Disk {
    Channel channel;
    std::string path;
    unsigned char* bytes = nullptr;
    int64_t size = 0;
};

Disk disks[2] = {{Channel::Data, "", nullptr, 0}, {Channel::Metadata, "", nullptr, 0}};
std::string log_path;
powercut::LogHeader* sequence = nullptr;
uint64_t seed = 1, delay_us = 0, lag_us = 0, lag_permille = 0;

uint64_t mix(uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

void wait_seeded(uint64_t id) {
    const uint64_t draw = mix(seed * 0x9e3779b97f4a7c15 + id);
    uint64_t wait_us = delay_us ? draw % (delay_us + 1) : 0;
    if (lag_permille && (draw >> 32) % 1000 < lag_permille)
        wait_us += lag_us;
    if (wait_us == 0)
        return;
    timespec pause = {static_cast<time_t>(wait_us / 1000000),
                      static_cast<long>(wait_us % 1000000 * 1000)};
    nanosleep(&pause, nullptr);
}

int fail(const char* what) {
    nbdkit_error("%s", what);
    nbdkit_set_error(EIO);
    return -1;
}

// One change: Submit, the seeded wait, the effect, Complete.
template <typename Effect>
int record(Disk& disk, Kind kind, uint32_t flags, uint64_t offset, uint64_t length,
           const void* payload, Effect effect) {
    if ((offset | length) % powercut::kSectorSize)
        return fail("a request is not aligned to 512 bytes");
    const uint64_t id = sequence->next_id.fetch_add(1);
    const uint8_t bits = (flags & NBDKIT_FLAG_FUA) ? powercut::kFlagFua : 0;
    if (!append(sequence, kind, Phase::Submit, disk.channel, bits, id, offset, length, payload,
                payload ? length : 0))
        return fail("the sequence log is full: record with a larger one");
    wait_seeded(id);
    effect();
    if (!append(sequence, kind, Phase::Complete, disk.channel, bits, id, offset, length, nullptr, 0))
        return fail("the sequence log is full: record with a larger one");
    sequence->completed.fetch_add(1);
    return 0;
}

bool number(const char* key, const char* value, const char* name, uint64_t& target) {
    if (std::strcmp(key, name) != 0)
        return false;
    target = std::strtoull(value, nullptr, 0);
    return true;
}

int on_config(const char* key, const char* value) {
    if (std::strcmp(key, "log") == 0)
        log_path = value;
    else if (std::strcmp(key, "data") == 0)
        disks[0].path = value;
    else if (std::strcmp(key, "md") == 0)
        disks[1].path = value;
    else if (!number(key, value, "seed", seed) && !number(key, value, "delay-us", delay_us) &&
             !number(key, value, "lag-us", lag_us) &&
             !number(key, value, "lag-permille", lag_permille)) {
        nbdkit_error("unknown option %s: see the head of recorder_plugin.cc", key);
        return -1;
    }
    return 0;
}

int map_disk(Disk& disk) {
    int descriptor = open(disk.path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0) {
        nbdkit_error("%s: %s", disk.path.c_str(), std::strerror(errno));
        return -1;
    }
    disk.size = status.st_size;
    void* memory = mmap(nullptr, static_cast<size_t>(disk.size), PROT_READ | PROT_WRITE, MAP_SHARED,
                        descriptor, 0);
    close(descriptor);
    if (memory == MAP_FAILED) {
        nbdkit_error("%s: mmap: %s", disk.path.c_str(), std::strerror(errno));
        return -1;
    }
    disk.bytes = static_cast<unsigned char*>(memory);
    return 0;
}

int on_get_ready() {
    sequence = powercut::map_log(log_path.c_str(), 0);
    if (!sequence) {
        nbdkit_error("log %s: %s (make it first)", log_path.c_str(), std::strerror(errno));
        return -1;
    }
    for (Disk& disk : disks)
        if (!disk.path.empty() && map_disk(disk) < 0)
            return -1;
    return 0;
}

void* on_open(int) {
    const char* name = nbdkit_export_name();
    Disk* disk = name && std::strcmp(name, "md") == 0 ? &disks[1] : &disks[0];
    if (!disk->bytes) {
        nbdkit_error("no export of that name");
        return nullptr;
    }
    return disk;
}

Disk& disk_of(void* handle) { return *static_cast<Disk*>(handle); }

int on_pread(void* handle, void* buffer, uint32_t count, uint64_t offset, uint32_t) {
    std::memcpy(buffer, disk_of(handle).bytes + offset, count);
    return 0;
}

int on_pwrite(void* handle, const void* buffer, uint32_t count, uint64_t offset, uint32_t flags) {
    Disk& disk = disk_of(handle);
    return record(disk, Kind::Write, flags, offset, count, buffer,
                  [&] { std::memcpy(disk.bytes + offset, buffer, count); });
}

int on_zero(void* handle, uint32_t count, uint64_t offset, uint32_t flags) {
    Disk& disk = disk_of(handle);
    return record(disk, Kind::Zero, flags, offset, count, nullptr,
                  [&] { std::memset(disk.bytes + offset, 0, count); });
}

int on_trim(void* handle, uint32_t count, uint64_t offset, uint32_t flags) {
    return record(disk_of(handle), Kind::Trim, flags, offset, count, nullptr, [] {});
}

int on_flush(void* handle, uint32_t) {
    return record(disk_of(handle), Kind::Flush, 0, 0, 0, nullptr, [] {});
}

nbdkit_plugin make_plugin() {
    nbdkit_plugin plugin = {};
    plugin.name = "drbdrecorder";
    plugin.config = on_config;
    plugin.get_ready = on_get_ready;
    plugin.open = on_open;
    plugin.get_size = [](void* handle) { return disk_of(handle).size; };
    plugin.pread = on_pread;
    plugin.pwrite = on_pwrite;
    plugin.zero = on_zero;
    plugin.trim = on_trim;
    plugin.flush = on_flush;
    plugin.can_fua = [](void*) -> int { return NBDKIT_FUA_NATIVE; };
    plugin.can_multi_conn = [](void*) -> int { return 1; };
    plugin.block_size = [](void*, uint32_t* minimum, uint32_t* preferred, uint32_t* maximum) {
        *minimum = 512;
        *preferred = 4096;
        *maximum = 32 << 20;
        return 0;
    };
    return plugin;
}

nbdkit_plugin plugin = make_plugin();

}  // namespace

NBDKIT_REGISTER_PLUGIN(plugin)
