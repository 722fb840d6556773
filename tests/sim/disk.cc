// SPDX-License-Identifier: GPL-2.0-or-later
// The disks of disk.h.
#include "disk.h"

#include <algorithm>
#include <cstring>

#include "core/base/assert.h"

namespace drbd::sim {

namespace {

uint64_t first_metadata_sector(const DiskShape& shape) {
    if (!shape.internal)
        return 0;
    const auto layout = metafmt::layout_for_creation(metafmt::Placement::internal(), Sector(shape.image_bytes / 512), {});
    DRBD_ASSERT(layout.ok());
    return layout.value().first_sector().value;
}

uint64_t metadata_sectors(const DiskShape& shape) {
    return shape.internal ? shape.image_bytes / 512 - first_metadata_sector(shape) : shape.metadata_bytes / 512;
}

}  // namespace

Disk::Disk(const DiskShape& shape)
    : shape_(shape),
      metadata_begin_(first_metadata_sector(shape)),
      image_(shape.image_bytes / 512),
      metadata_(metadata_sectors(shape)) {}

void Disk::read_bytes(View view, bool metadata_device, uint64_t offset, void* buffer, uint64_t bytes) const {
    auto* at = static_cast<uint8_t*>(buffer);
    for (uint64_t sector = offset / 512; sector < (offset + bytes) / 512; sector++, at += 512) {
        const bool metadata = (metadata_device || shape_.internal) && sector >= metadata_begin_;
        if (metadata) {
            std::memcpy(at, metadata_sector(view, sector - metadata_begin_).data(), 512);
        } else {
            std::memset(at, 0, 512);
            stamp(at, value(view, sector));
        }
    }
}

uint32_t Disk::take_write() {
    if (free_writes_.empty()) {
        writes_.emplace_back();
        return static_cast<uint32_t>(writes_.size() - 1);
    }
    const uint32_t handle = free_writes_.back();
    free_writes_.pop_back();
    return handle;
}

uint32_t Disk::write_values(uint64_t sector, std::span<const uint64_t> values, bool fua) {
    DRBD_ASSERT(sector + values.size() <= image_.sectors());
    const uint32_t handle = take_write();
    Write& write = writes_[handle];
    write.used = true;
    write.bytes = false;
    write.fua = fua;
    write.sector = sector;
    write.values.assign(values.begin(), values.end());
    return handle;
}

uint32_t Disk::write_bytes(bool metadata_device, uint64_t offset, const void* buffer, uint64_t bytes, bool fua) {
    // The core writes bytes to metadata alone.
    DRBD_ASSERT((metadata_device || shape_.internal) && offset / 512 >= metadata_begin_);
    const uint32_t handle = take_write();
    Write& write = writes_[handle];
    write.used = write.bytes = true;
    write.fua = fua;
    write.sector = offset / 512 - metadata_begin_;
    write.content.resize(bytes / 512);
    std::memcpy(write.content.data(), buffer, bytes);
    DRBD_ASSERT(write.sector + write.content.size() <= metadata_.sectors());
    return handle;
}

void Disk::land(Write& write, uint64_t index) {
    if (write.bytes)
        metadata_.land(write.sector + index, write.content[index], write.fua);
    else
        image_.land(write.sector + index, write.values[index], write.fua);
}

void Disk::end_write(uint32_t handle, bool ok, Rng& random) {
    Write& write = writes_[handle];
    DRBD_ASSERT(write.used);
    const uint64_t sectors = write.bytes ? write.content.size() : write.values.size();
    const bool some = !ok && random.chance(0.5);
    if (!ok)
        write.fua = false;  // nothing was promised
    if (ok && !write.bytes)
        image_.land_all(write.sector, write.values, write.fua);
    for (uint64_t i = 0; i < sectors && (!ok || write.bytes); i++)
        if (ok || (some && random.chance(0.5)))
            land(write, i);
    write.used = false;
    write.ticket = 0;
    free_writes_.push_back(handle);
}

uint64_t Disk::hang(uint32_t handle) {
    return writes_[handle].ticket = ++last_ticket_;
}

bool Disk::land_hung(uint64_t ticket, Rng& random) {
    for (Write& write : writes_) {
        if (!write.used || write.ticket != ticket)
            continue;
        const uint64_t sectors = write.bytes ? write.content.size() : write.values.size();
        const bool all = random.chance(0.5);
        for (uint64_t i = 0; i < sectors; i++)
            if (all || random.chance(0.5))
                land(write, i);
        return true;
    }
    return false;
}

bool Disk::has_hung() const {
    return std::ranges::any_of(writes_, [](const Write& write) { return write.used && write.ticket != 0; });
}

void Disk::end_flush(const FlushPosition& position, bool metadata_device) {
    if (metadata_device || shape_.internal)
        metadata_.flush_end(position.metadata);
    if (!metadata_device || shape_.internal)
        image_.flush_end(position.image);
}

void Disk::abandon(Rng& random, bool hung_too) {
    for (uint32_t handle = 0; handle < writes_.size(); handle++)
        if (writes_[handle].used && (hung_too || writes_[handle].ticket == 0))
            end_write(handle, random.chance(0.4), random);
}

void Disk::abandon_writes(Rng& random) {
    abandon(random, false);
}

void Disk::take(Rng& random) {
    abandon(random, true);
}

void Disk::lose_cache_of_process(Rng& random) {
    image_.lose_power(random);
}

void Disk::lose_power(Rng& random) {
    abandon(random, true);
    image_.lose_power(random);
    metadata_.lose_power(random);
}

}  // namespace drbd::sim
