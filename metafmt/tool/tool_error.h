// SPDX-License-Identifier: GPL-2.0-or-later
// How a command ends early: a text for standard error and an exit status.
// Statuses follow drbdmeta, see docs/METADATA.md, "Exit status".
#pragma once

#include <stdexcept>
#include <string>

#include "core/base/result.h"

namespace drbd::metafmt::tool {

enum ExitStatus {
    kExitOk = 0,
    kExitNoMetadata = 1,    // no usable metadata; also: the person said no
    kExitInconsistent = 5,  // outdate on a disk that is not even consistent
    kExitUsage = 10,        // nonsense on the command line or in a dump
    kExitDevice = 20,       // the device cannot be used, or is in use
    kExitInTheWay = 40,     // existing data would be destroyed
};

class ToolError : public std::runtime_error {
  public:
    ToolError(ExitStatus status, const std::string& text) : std::runtime_error(text), status_(status) {}
    ExitStatus status() const { return status_; }

  private:
    ExitStatus status_;
};

template <typename T>
T value_or_throw(Result<T> result, ExitStatus status) {
    if (!result)
        throw ToolError(status, result.error().text);
    return std::move(result.value());
}

}  // namespace drbd::metafmt::tool
