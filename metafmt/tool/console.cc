// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/tool/console.h"

#include <unistd.h>

#include <iostream>

#include "metafmt/tool/tool_error.h"

namespace drbd::metafmt::tool {

void Console::confirm(const std::string& question) const {
    if (!quiet_ || !forced())
        std::cerr << question << "\n";
    if (forced()) {
        if (!quiet_)
            std::cerr << "*** confirmed by --force ***\n";
        return;
    }
    if (!isatty(STDIN_FILENO))
        throw ToolError(kExitNoMetadata,
                        "There is no terminal to ask, so the answer is no. --force answers yes.");
    std::cerr << "[type 'yes' to confirm] " << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "yes")
        throw ToolError(kExitNoMetadata, "Operation cancelled.");
}

void Console::remark(const std::string& text) const {
    if (!quiet_)
        std::cerr << text << "\n";
}

}  // namespace drbd::metafmt::tool
