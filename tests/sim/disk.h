// SPDX-License-Identifier: GPL-2.0-or-later
// The disks of one volume on one host: image and metadata, external or internal.
//
// In: reads, writes, flushes, loss of power.  Out: bytes, and what a checker
// wants to know: current and stable content.  A sector of the image is not kept
// as bytes but as the value that its writer stamped on it (0: zeroes); a sector
// of metadata is 512 bytes.
// A write lands when it ends.  If its process dies before, any of its sectors
// may have landed; if it fails, too.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "cached_store.h"
#include "changes.h"
#include "core/base/units.h"
#include "metafmt/layout.h"

namespace drbd::sim {

using SectorBytes = std::array<uint8_t, 512>;

// The value of a sector's bytes; both ends carry it, so that bytes that slipped
// are noticed.
constexpr uint64_t kTornValue = ~0ull;
inline void stamp(void* sector, uint64_t value) {
    std::memcpy(sector, &value, 8);
    std::memcpy(static_cast<uint8_t*>(sector) + 504, &value, 8);
}
inline uint64_t value_of_ends(const void* one, const void* other) {
    uint64_t first, last;
    std::memcpy(&first, one, 8);
    std::memcpy(&last, other, 8);
    return first == last ? first : kTornValue;
}
inline uint64_t value_of(const void* sector) { return value_of_ends(sector, static_cast<const uint8_t*>(sector) + 504); }

struct DiskShape {
    uint64_t image_bytes = 0;
    bool internal = false;
    uint64_t metadata_bytes = 0;  // external only
};

enum class View { Current, Stable };

struct MetadataView;

class Disk {
  public:
    explicit Disk(const DiskShape& shape);

    const DiskShape& shape() const { return shape_; }
    uint64_t metadata_device_bytes() const { return shape_.internal ? shape_.image_bytes : shape_.metadata_bytes; }
    metafmt::Placement placement() const {
        return shape_.internal ? metafmt::Placement::internal() : metafmt::Placement::flexible_external();
    }

    // Image, in sectors.
    uint64_t value(View view, uint64_t sector) const {
        return view == View::Current ? image_.current(sector) : image_.stable(sector);
    }
    // Bytes, at an offset of the image or of the metadata device.
    void read_bytes(View view, bool metadata_device, uint64_t offset, void* buffer, uint64_t bytes) const;
    // Grows whenever this piece of the metadata may have changed; an offset of the metadata device.
    uint64_t metadata_changes(View view, uint64_t offset, uint64_t bytes) const {
        const ChangeCounts& counts = view == View::Current ? metadata_.current_changes() : metadata_.stable_changes();
        return counts.of(offset / 512 - metadata_begin_, bytes / 512);
    }
    const ChangeList& image_changes(View view) const {
        return view == View::Current ? image_.current_changes() : image_.stable_changes();
    }
    // What its superblock says, kept by who reads it (checkers/metadata_view.h).
    struct KnownSuperblock {
        uint64_t changes = ~uint64_t{0};
        std::shared_ptr<const MetadataView> content;
    };
    KnownSuperblock& known_superblock(View view) const { return known_superblock_[view == View::Stable]; }
    // At an offset of the metadata device, within the metadata.
    uint8_t metadata_byte(View view, uint64_t offset) const {
        return metadata_sector(view, offset / 512 - metadata_begin_)[offset % 512];
    }

    // Writes; a handle until it ends.
    uint32_t write_values(uint64_t sector, std::span<const uint64_t> values, bool fua);
    uint32_t write_bytes(bool metadata_device, uint64_t offset, const void* buffer, uint64_t bytes, bool fua);
    void end_write(uint32_t handle, bool ok, Rng& random);

    struct FlushPosition {
        uint64_t image, metadata;
    };
    FlushPosition flush_position() const { return {image_.position(), metadata_.position()}; }
    // Of one of the two devices; they are one if internal.
    void end_flush(const FlushPosition& position, bool metadata_device);

    // This one may never end.  Until it does, or until somebody takes the image anew, any part of it
    // may land at any time, whether its process lives or not.
    uint64_t hang(uint32_t handle);
    // False: it is over.
    bool land_hung(uint64_t ticket, Rng& random);
    bool has_hung() const;

    // The process is gone: what was under way has landed, or some of it; what hangs may still.
    void abandon_writes(Rng& random);
    // Another process has the image: nothing of the one before lands any more.
    void take(Rng& random);
    void lose_cache_of_process(Rng& random);  // an image format that caches itself
    void lose_power(Rng& random);

    static constexpr uint64_t kChunk = 256;  // sectors; writes far from each other fill few
    using Image = CachedStore<uint64_t, kChunk, ChangeList>;
    const Image& image() const { return image_; }

  private:
    struct Write {
        bool used = false, bytes = false, fua = false;
        uint64_t ticket = 0;               // of one that hangs
        uint64_t sector = 0;
        std::vector<uint64_t> values;
        std::vector<SectorBytes> content;
    };
    const SectorBytes& metadata_sector(View view, uint64_t index) const {
        return view == View::Current ? metadata_.current(index) : metadata_.stable(index);
    }
    uint32_t take_write();
    void land(Write& write, uint64_t index);
    void abandon(Rng& random, bool hung_too);

    DiskShape shape_;
    uint64_t metadata_begin_;  // first sector of the metadata store on its device
    Image image_;
    CachedStore<SectorBytes, 8, ChangeCounts> metadata_;
    mutable KnownSuperblock known_superblock_[2];
    std::vector<Write> writes_;
    std::vector<uint32_t> free_writes_;
    uint64_t last_ticket_ = 0;
};

}  // namespace drbd::sim
