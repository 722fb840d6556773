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
#include <vector>

#include "cached_store.h"
#include "core/base/units.h"
#include "metafmt/layout.h"

namespace drbd::sim {

using SectorBytes = std::array<uint8_t, 512>;

// Value n of a buffer's sectors; both ends carry it, so that bytes that slipped
// are noticed.
constexpr uint64_t kTornValue = ~0ull;
void stamp(void* buffer, uint64_t sectors, const uint64_t* values);
uint64_t value_of(const void* sector);

struct DiskShape {
    uint64_t image_bytes = 0;
    bool internal = false;
    uint64_t metadata_bytes = 0;  // external only
};

enum class View { Current, Stable };

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
    // Grows whenever the metadata may have changed.
    uint64_t metadata_changes(View view) const {
        return view == View::Current ? metadata_.current_changes() : metadata_.stable_changes();
    }
    // At an offset of the metadata device, within the metadata.
    uint8_t metadata_byte(View view, uint64_t offset) const {
        return metadata_sector(view, offset / 512 - metadata_begin_)[offset % 512];
    }

    // Writes; a handle until it ends.
    uint32_t write_values(uint64_t sector, std::vector<uint64_t> values, bool fua);
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

    const CachedStore<uint64_t, 2048>& image() const { return image_; }

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
    CachedStore<uint64_t, 2048> image_;
    CachedStore<SectorBytes, 8> metadata_;
    std::vector<Write> writes_;
    std::vector<uint32_t> free_writes_;
    uint64_t last_ticket_ = 0;
};

}  // namespace drbd::sim
