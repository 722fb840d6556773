// SPDX-License-Identifier: GPL-2.0-or-later
// create-md and wipe-md.  create-md first finds out what would be destroyed
// (in_the_way.h, and other metadata) and refuses or asks; only then it writes:
// no superblock, log and bitmap, new superblock, each stable before the next.
#include <cstdio>
#include <vector>

#include "metafmt/probe.h"
#include "metafmt/tool/commands.h"
#include "metafmt/tool/in_the_way.h"
#include "metafmt/tool/metadata_file.h"

namespace drbd::metafmt::tool {
namespace {

const char* name_of_placement(Placement placement) {
    switch (placement.kind) {
    case PlacementKind::Internal:
        return "internal";
    case PlacementKind::FlexibleExternal:
        return "flexible external";
    case PlacementKind::IndexedExternal:
        return "indexed external";
    }
    assertion_failed("unknown enumerator", __FILE__, __LINE__);
}

std::string at_byte(Sector sector) { return "at byte " + std::to_string(to_bytes(sector).value); }

void remark_positions(const Console& console, const Layout& layout) {
    console.remark("md_offset " + std::to_string(to_bytes(layout.superblock).value) + "\nal_offset " +
                   std::to_string(to_bytes(layout.activity_log).value) + "\nbm_offset " +
                   std::to_string(to_bytes(layout.bitmap).value));
}

struct OtherPlace {
    Sector position;
    const char* name;
};

// Where other metadata of this device may be: it would be found later by a
// tool that looks there, so it is asked about and wiped.  Sector 0 is the
// start of the data of a device with internal metadata and is left alone; an
// indexed device has other slots in all these places.
std::vector<OtherPlace> other_places(const Device& device, const Layout& layout) {
    std::vector<OtherPlace> places;
    if (layout.placement.kind == PlacementKind::IndexedExternal)
        return places;
    Sector position;
    if (v07_internal_position(device.size(), position) && position != layout.superblock)
        places.push_back({position, "fixed internal"});
    auto internal = superblock_position(Placement::internal(), device.size());
    if (internal && internal.value() != layout.superblock)
        places.push_back({internal.value(), "internal"});
    return places;
}

bool confirm_metadata(const Arguments& arguments, const Device& device, Sector position, const char* place) {
    const auto block = read_block(device, position);
    const MetadataVersion version = probe_metadata(ConstBlock(block));
    if (version == MetadataVersion::None)
        return false;
    std::string question = "There appears to be a " + std::string(name_of(version)) + " " + place +
                           " meta data block already in place on " + arguments.device + " " + at_byte(position) + ".";
    if (version != MetadataVersion::V08)
        question += "\nIt is not converted: to keep what it says, convert it with drbdmeta first.";
    arguments.console.confirm(question + "\nDo you really want to overwrite the existing meta-data?");
    return true;
}

void warn_about_sector_zero(const Arguments& arguments, const Device& device, const Layout& layout) {
    if (layout.placement.kind != PlacementKind::Internal)
        return;
    const auto block = read_block(device, Sector(0));
    if (probe_metadata(ConstBlock(block)) != MetadataVersion::None)
        arguments.console.remark("Note: " + arguments.device +
                                 " begins with external meta data. It is data now and stays as it is.");
}

void write_new_metadata(Device& device, const Layout& layout, const std::vector<Sector>& stale,
                        uint32_t peer_max_bio_size) {
    const Bytes block(kBlockSize);
    device.zero(to_bytes(layout.superblock), block);
    for (Sector position : stale)
        device.zero(to_bytes(position), block);
    device.sync();

    std::fprintf(stderr, "initializing bitmap (%llu KB) to all zero\n",
                 static_cast<unsigned long long>(to_bytes(layout.bitmap_size).value / 1024));
    device.zero(to_bytes(layout.bitmap), to_bytes(layout.bitmap_size));
    std::printf("initializing activity log\n");
    initialize_activity_log(device, layout);

    std::printf("Writing meta data...\n");
    Superblock superblock = superblock_for_creation(layout);
    superblock.la_peer_max_bio_size = peer_max_bio_size;
    write_superblock(device, layout, superblock);
    std::printf("New drbd meta data block successfully created.\n");
}

}  // namespace

ExitStatus create_md(const Arguments& arguments) {
    Device device(arguments.device, Access::Write);
    const Layout layout =
        value_or_throw(layout_for_creation(arguments.placement, device.size(), arguments.al), kExitUsage);
    const Content content = probe_device(device);
    refuse_disk_image(device, content);

    remark_positions(arguments.console, layout);
    const bool replaces = confirm_metadata(arguments, device, layout.superblock, name_of_placement(arguments.placement));
    std::vector<Sector> stale;
    for (const OtherPlace& place : other_places(device, layout))
        if (confirm_metadata(arguments, device, place.position, place.name))
            stale.push_back(place.position);
    warn_about_sector_zero(arguments, device, layout);

    check_content(arguments, content, layout);
    if (!replaces)
        check_unknown_data(arguments, device, layout);
    write_new_metadata(device, layout, stale, arguments.peer_max_bio_size);
    return kExitOk;
}

ExitStatus wipe_md(const Arguments& arguments) {
    Device device(arguments.device, Access::Write);
    const Sector position = value_or_throw(superblock_position(arguments.placement, device.size()), kExitUsage);
    const auto block = read_block(device, position);
    // Unreadable metadata of ours can be wiped too; that is what the verb is for.
    if (probe_metadata(ConstBlock(block)) != MetadataVersion::V08) {
        arguments.console.remark("There appears to be no drbd meta data to wipe out?");
        return kExitOk;
    }
    arguments.console.confirm("\nDo you really want to wipe out the DRBD meta data?");
    std::printf("Wiping meta data...\n");
    device.zero(to_bytes(position), Bytes(kBlockSize));
    device.sync();
    std::printf("DRBD meta data block successfully wiped out.\n");
    return kExitOk;
}

}  // namespace drbd::metafmt::tool
