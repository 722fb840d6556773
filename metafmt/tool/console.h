// SPDX-License-Identifier: GPL-2.0-or-later
// Talking to the person: questions before something is destroyed, remarks.
// Questions and remarks go to standard error; standard output carries only
// what a script may read.
#pragma once

#include <string>

namespace drbd::metafmt::tool {

enum class Confirmation { Ask, Forced };

class Console {
  public:
    Console(Confirmation confirmation, bool quiet) : confirmation_(confirmation), quiet_(quiet) {}

    // Returns if the answer is yes or --force was given.  Throws otherwise;
    // without a terminal nobody can answer, which is a no.
    void confirm(const std::string& question) const;
    void remark(const std::string& text) const;
    bool forced() const { return confirmation_ == Confirmation::Forced; }

  private:
    Confirmation confirmation_;
    bool quiet_;
};

}  // namespace drbd::metafmt::tool
