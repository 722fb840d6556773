// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/tool/in_the_way.h"

#include <algorithm>
#include <string>
#include <vector>

#include "metafmt/tool/tool_error.h"

namespace drbd::metafmt::tool {

Content probe_device(const Device& device) {
    std::vector<uint8_t> head(std::min(kProbeHeadSize.value, to_bytes(device.size()).value));
    device.read(Bytes(0), head);
    return probe_head(head);
}

void refuse_disk_image(const Device& device, const Content& content) {
    if (content.kind != ContentKind::DiskImage)
        return;
    throw ToolError(kExitInTheWay,
                    device.path() + " is a " + content.name +
                        ": its bytes are not those of the disk inside, so metadata cannot be written here. Open it in "
                        "qemu-storage-daemon and use the QMP command drbd-create-md, or keep the metadata on another "
                        "device (external).");
}

namespace {

// Internal metadata takes the end of the device.  What begins at its start
// must end before that, and even then only the owner knows.
void check_content_before_internal(const Arguments& arguments, const Content& content, const Layout& layout) {
    const Bytes end = to_bytes(layout.first_sector());
    const std::string found = arguments.device + " holds a " + content.name;
    if (content.size.value == 0) {
        arguments.console.confirm(found + ", which does not say where it ends. Metadata takes the device from byte " +
                                  std::to_string(end.value) + " on.\nDo you want to proceed?");
        return;
    }
    const std::string sizes = " of " + std::to_string(content.size.value / 1024) + " KiB; " +
                              std::to_string(end.value / 1024) + " KiB are left in front of the metadata";
    if (content.size > end)
        throw ToolError(kExitInTheWay,
                        found + sizes +
                            ".\nIt would lose its end. Use external metadata, shrink it first, enlarge the device, or "
                            "zero its first part if it is no longer needed. Operation refused.");
    arguments.console.confirm(found + sizes + ".\nIt seems to fit, but this is only a guess. Do you want to proceed?");
}

void check_content_before_external(const Arguments& arguments, const Content& content) {
    throw ToolError(kExitInTheWay, arguments.device + " holds a " + content.name +
                                       ", which external metadata would destroy.\nZero the first part of the device "
                                       "if it is no longer needed. Operation refused.");
}

}  // namespace

void check_content(const Arguments& arguments, const Content& content, const Layout& layout) {
    if (arguments.ignore_sanity_checks || content.kind == ContentKind::Nothing)
        return;
    if (arguments.placement.kind == PlacementKind::Internal)
        check_content_before_internal(arguments, content, layout);
    else if (arguments.placement.kind == PlacementKind::FlexibleExternal || arguments.placement.index == 0)
        check_content_before_external(arguments, content);
}

// Something nobody recognises, in the place where metadata shall be.
void check_unknown_data(const Arguments& arguments, const Device& device, const Layout& layout) {
    const Bytes begin = to_bytes(layout.first_sector());
    const Bytes length(std::min(to_bytes(layout.md_size).value, to_bytes(device.size()).value - begin.value));
    if (!device.is_zero(begin, length))
        arguments.console.confirm(arguments.device + ": there is some data between byte " +
                                  std::to_string(begin.value) + " and " + std::to_string((begin + length).value) +
                                  ", where the metadata would be.\nThis might destroy it. Do you want to proceed?");
}

}  // namespace drbd::metafmt::tool
