// SPDX-License-Identifier: GPL-2.0-or-later
// qdrbdmeta: off-line metadata tool.  Parses, dispatches, turns errors into a
// text and an exit status.
#include <cstdio>
#include <iostream>

#include "metafmt/tool/arguments.h"
#include "metafmt/tool/commands.h"

namespace {

using namespace drbd::metafmt::tool;

struct VerbRow {
    const char* name;
    ExitStatus (*run)(const Arguments&);
};

constexpr VerbRow kVerbs[] = {
    {"create-md", create_md},   {"wipe-md", wipe_md},           {"dump-md", dump_md},
    {"restore-md", restore_md}, {"verify-dump", verify_dump},   {"show-gi", show_gi},
    {"get-gi", get_gi},         {"set-gi", set_gi},             {"dstate", dstate},
    {"outdate", outdate},       {"invalidate", invalidate},     {"apply-al", apply_al},
    {"check-resize", check_resize}, {"read-dev-uuid", read_dev_uuid}, {"write-dev-uuid", write_dev_uuid},
};

ExitStatus run(int argc, char** argv) {
    const Arguments arguments = parse_arguments(argc, argv);
    for (const VerbRow& row : kVerbs)
        if (arguments.verb == row.name)
            return row.run(arguments);
    throw ToolError(kExitUsage, "Unknown command '" + arguments.verb + "'.");
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const ExitStatus status = run(argc, argv);
        if (std::fflush(stdout) != 0) {
            std::perror("standard output");
            return kExitDevice;
        }
        return status;
    } catch (const ToolError& error) {
        std::fflush(stdout);
        if (error.what()[0] != '\0')
            std::cerr << error.what() << "\n";
        return error.status();
    } catch (const std::exception& error) {
        std::cerr << "qdrbdmeta: " << error.what() << "\n";
        return kExitDevice;
    }
}
