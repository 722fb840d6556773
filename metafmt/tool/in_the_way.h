// SPDX-License-Identifier: GPL-2.0-or-later
// What new metadata would destroy: a disk image's container (refused always, by
// force too: internal metadata in it would be somewhere in its clusters), a file
// system or volume that reaches the place or lies there, bytes nobody knows.
#pragma once

#include "metafmt/layout.h"
#include "metafmt/probe.h"
#include "metafmt/tool/commands.h"
#include "metafmt/tool/device.h"

namespace drbd::metafmt::tool {

Content probe_device(const Device& device);
void refuse_disk_image(const Device& device, const Content& content);
// Refuses what would lose its end or its beginning, asks where it seems to fit.
void check_content(const Arguments& arguments, const Content& content, const Layout& layout);
// Asks if the place is not empty.
void check_unknown_data(const Arguments& arguments, const Device& device, const Layout& layout);

}  // namespace drbd::metafmt::tool
