// SPDX-License-Identifier: GPL-2.0-or-later
// Verbs on the superblock's identifiers and flags: show-gi, get-gi, set-gi,
// dstate, outdate, invalidate, read-dev-uuid, write-dev-uuid.
#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <vector>

#include "metafmt/tool/commands.h"
#include "metafmt/tool/metadata_file.h"
#include "metafmt/tool/readable.h"

namespace drbd::metafmt::tool {
namespace {

// The flags that get-gi prints and set-gi takes, in their order there.
struct FlagRow {
    MdFlag flag;
    const char* legend;
};
constexpr FlagRow kFlags[] = {
    {MdFlag::Consistent, "Data consistency flag"},
    {MdFlag::WasUpToDate, "Data was/is currently up-to-date"},
    {MdFlag::PrimaryInd, "Node was/is currently primary"},
    {MdFlag::ConnectedInd, "Node was/is currently connected"},
    {MdFlag::FullSync, "Node was in the progress of setting all bits in the bitmap"},
    {MdFlag::PeerOutDated, "The peer's disk was out-dated or inconsistent"},
    {MdFlag::CrashedPrimary, "This node was a crashed primary, and has not seen its peer since "},
};
constexpr size_t kUuidDigits = 16;
constexpr size_t kUuidColumns = 4 * (kUuidDigits + 1);

std::string hex(uint64_t value) {
    char text[kUuidDigits + 1];
    std::snprintf(text, sizeof text, "%016" PRIX64, value);
    return text;
}

std::string gi_line(const Superblock& sb) {
    std::string line = hex(sb.uuids.current) + ":" + hex(sb.uuids.bitmap) + ":" + hex(sb.uuids.history[0]) + ":" +
                       hex(sb.uuids.history[1]);
    for (const FlagRow& row : kFlags)
        line += sb.flags.has(row.flag) ? ":1" : ":0";
    return line;
}

// Arrows from each column of the line to what it means.
void print_uuid_legend() {
    static const char* const names[] = {"Current data generation UUID", "Bitmap's base data generation UUID",
                                        "younger history UUID", "older history"};
    std::printf("\n");
    constexpr size_t kArrow[] = {7, 23, 41, 51};
    for (size_t i = 0; i < 4; i++) {
        std::string line;
        for (size_t j = 0; j < i; j++) {
            line.resize(kArrow[j], ' ');
            line += '|';
        }
        line.resize(kArrow[i], ' ');
        line += std::string(i == 3 ? "+-<  " : "+--<  ") + names[i] + "  >-";
        std::printf("%s\n", line.c_str());
    }
    std::printf("       V               V                 V         V\n");
}

void print_flag_legend() {
    constexpr size_t kCount = std::size(kFlags);
    std::string arrows(kUuidColumns, ' ');
    for (size_t i = 0; i < kCount; i++)
        arrows += i + 1 < kCount ? "^ " : "^";
    std::printf("%s\n", arrows.c_str());
    for (size_t i = 0; i < kCount; i++) {
        const std::string label = std::string("-<  ") + kFlags[i].legend + "  >--+";
        std::string line(kUuidColumns + 2 * i + 1 - label.size(), ' ');
        line += label;
        for (size_t j = i + 1; j < kCount; j++)
            line += " |";
        std::printf("%s\n", line.c_str());
    }
    std::printf("\n");
}

const char* disk_word(MdFlags flags) {
    if (!flags.has(MdFlag::Consistent))
        return "Inconsistent";
    return flags.has(MdFlag::WasUpToDate) ? "UpToDate" : "Outdated";
}

const char* dstate_word(StoredDiskState state) {
    switch (state) {
    case StoredDiskState::Inconsistent:
        return "Inconsistent";
    case StoredDiskState::Outdated:
        return "Outdated";
    case StoredDiskState::Consistent:
        return "Consistent";
    case StoredDiskState::UpToDate:
        return "UpToDate";
    }
    assertion_failed("unknown enumerator", __FILE__, __LINE__);
}

void print_state_words(const Superblock& sb) {
    std::printf("flags: %s%s, %s, %s%s%s\n", sb.flags.has(MdFlag::CrashedPrimary) ? "crashed " : "",
                sb.flags.has(MdFlag::PrimaryInd) ? "Primary" : "Secondary",
                sb.flags.has(MdFlag::ConnectedInd) ? "Connected" : "StandAlone", disk_word(sb.flags),
                sb.flags.has(MdFlag::FullSync) ? ", need full sync" : "",
                sb.flags.has(MdFlag::PeerOutDated) ? ", peer Outdated" : "");
    std::printf("meta-data: %s\n", sb.is_clean() ? "clean" : "need apply-al");
    if (sb.la_size.value == 0) {
        std::printf("zero size device -- never seen peer yet?\n");
        return;
    }
    std::printf("last agreed size: %s (%" PRIu64 " sectors)\n", readable_size(sb.la_size.value / 2).c_str(), sb.la_size.value);
    std::printf("last agreed max bio size: %u Byte\n", sb.la_peer_max_bio_size);
}

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> fields(1);
    for (char c : text)
        if (c == ':')
            fields.emplace_back();
        else
            fields.back() += c;
    return fields;
}

uint64_t parse_uuid(const std::string& text) {
    std::string digits = text.rfind("0x", 0) == 0 ? text.substr(2) : text;
    if (digits.empty() || digits.size() > kUuidDigits ||
        digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
        throw ToolError(kExitUsage, "'" + text + "' is no identifier: 1 to 16 hexadecimal digits");
    return std::stoull(digits, nullptr, 16);
}

// Fields that are empty or missing keep their value.
Superblock apply_gi(Superblock sb, const std::string& value) {
    uint64_t* const uuids[] = {&sb.uuids.current, &sb.uuids.bitmap, &sb.uuids.history[0], &sb.uuids.history[1]};
    const auto fields = split(value);
    if (fields.size() > std::size(uuids) + std::size(kFlags) + 1 ||
        (fields.size() == std::size(uuids) + std::size(kFlags) + 1 && !fields.back().empty()))
        throw ToolError(kExitUsage, "'" + value + "' has more than four identifiers and seven flags");
    for (size_t i = 0; i < fields.size(); i++) {
        if (fields[i].empty())
            continue;
        if (i < std::size(uuids))
            *uuids[i] = parse_uuid(fields[i]);
        else if (fields[i] == "0" || fields[i] == "1")
            sb.flags.assign(kFlags[i - std::size(uuids)].flag, fields[i] == "1");
        else
            throw ToolError(kExitUsage, "'" + fields[i] + "' is no flag: 0 or 1");
    }
    return sb;
}

}  // namespace

ExitStatus show_gi(const Arguments& arguments) {
    Device device(arguments.device, Access::Read);
    const MetadataFile md = open_metadata(device, arguments.placement);
    print_uuid_legend();
    std::printf("%s\n", gi_line(md.superblock).c_str());
    print_flag_legend();
    print_state_words(md.superblock);
    return kExitOk;
}

ExitStatus get_gi(const Arguments& arguments) {
    Device device(arguments.device, Access::Read);
    std::printf("%s\n", gi_line(open_metadata(device, arguments.placement).superblock).c_str());
    return kExitOk;
}

ExitStatus set_gi(const Arguments& arguments) {
    Device device(arguments.device, Access::Write);
    const MetadataFile md = open_metadata(device, arguments.placement);
    const Superblock changed = apply_gi(md.superblock, arguments.value);
    std::printf("previously %s\n", gi_line(md.superblock).c_str());
    std::printf("set GI to  %s\n", gi_line(changed).c_str());
    std::fflush(stdout);
    arguments.console.confirm("\nWrite new GI to disk?");
    write_superblock(device, md.layout, changed);
    return kExitOk;
}

ExitStatus dstate(const Arguments& arguments) {
    Device device(arguments.device, Access::Read);
    const MetadataFile md = open_metadata(device, arguments.placement);
    std::printf("%s\n", dstate_word(stored_disk_state(md.superblock.flags)));
    return kExitOk;
}

ExitStatus outdate(const Arguments& arguments) {
    Device device(arguments.device, Access::Write);
    MetadataFile md = open_metadata(device, arguments.placement);
    if (!md.superblock.flags.has(MdFlag::Consistent))
        throw ToolError(kExitInconsistent, "Device is inconsistent.");
    md.superblock.flags.clear(MdFlag::WasUpToDate);
    write_superblock(device, md.layout, md.superblock);
    return kExitOk;
}

ExitStatus invalidate(const Arguments& arguments) {
    Device device(arguments.device, Access::Write);
    MetadataFile md = open_metadata(device, arguments.placement);
    md.superblock.flags.clear(MdFlag::Consistent);
    md.superblock.flags.clear(MdFlag::WasUpToDate);
    md.superblock.flags.set(MdFlag::FullSync);
    write_superblock(device, md.layout, md.superblock);
    return kExitOk;
}

ExitStatus read_dev_uuid(const Arguments& arguments) {
    Device device(arguments.device, Access::Read);
    std::printf("%s\n", hex(open_metadata(device, arguments.placement).superblock.device_uuid).c_str());
    return kExitOk;
}

ExitStatus write_dev_uuid(const Arguments& arguments) {
    Device device(arguments.device, Access::Write);
    MetadataFile md = open_metadata(device, arguments.placement);
    md.superblock.device_uuid = parse_uuid(arguments.value);
    write_superblock(device, md.layout, md.superblock);
    return kExitOk;
}

}  // namespace drbd::metafmt::tool
