// SPDX-License-Identifier: GPL-2.0-or-later
// The verbs.  Each takes what the command line said, does one thing to one
// device, prints what a script may read to standard output, and returns the
// exit status; ToolError ends it early.  docs/METADATA.md, "Verbs".
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "metafmt/activity_log_geometry.h"
#include "metafmt/layout.h"
#include "metafmt/tool/console.h"
#include "metafmt/tool/tool_error.h"

namespace drbd::metafmt::tool {

struct Arguments {
    std::string command_line;  // for the header of a dump
    std::string verb;
    std::string device;
    Placement placement;
    Console console{Confirmation::Ask, false};
    bool ignore_sanity_checks = false;

    uint32_t peer_max_bio_size = 0;           // create-md
    ActivityLogGeometry al;                   // create-md
    std::string value;                        // set-gi, write-dev-uuid
    std::string dump_file;                    // restore-md, verify-dump
    std::optional<uint64_t> old_size_bytes;   // check-resize
};

ExitStatus create_md(const Arguments& arguments);
ExitStatus wipe_md(const Arguments& arguments);
ExitStatus dump_md(const Arguments& arguments);
ExitStatus restore_md(const Arguments& arguments);
ExitStatus verify_dump(const Arguments& arguments);
ExitStatus show_gi(const Arguments& arguments);
ExitStatus get_gi(const Arguments& arguments);
ExitStatus set_gi(const Arguments& arguments);
ExitStatus dstate(const Arguments& arguments);
ExitStatus outdate(const Arguments& arguments);
ExitStatus invalidate(const Arguments& arguments);
ExitStatus read_dev_uuid(const Arguments& arguments);
ExitStatus write_dev_uuid(const Arguments& arguments);
ExitStatus apply_al(const Arguments& arguments);
ExitStatus check_resize(const Arguments& arguments);

}  // namespace drbd::metafmt::tool
