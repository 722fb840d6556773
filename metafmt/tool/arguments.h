// SPDX-License-Identifier: GPL-2.0-or-later
// The command line, in its two forms:
//   qdrbdmeta COMMAND DEVICE [--meta internal|external|INDEX] [options]
//   qdrbdmeta [options] MINOR|- v08 DEVICE PLACEMENT COMMAND [arguments]
// The second is drbdmeta's; it is turned into the first and then parsed.
// Throws CLI::ParseError (help and usage errors) or ToolError.
#pragma once

#include "metafmt/tool/commands.h"

namespace drbd::metafmt::tool {

Arguments parse_arguments(int argc, char** argv);

}  // namespace drbd::metafmt::tool
