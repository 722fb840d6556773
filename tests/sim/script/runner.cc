// SPDX-License-Identifier: GPL-2.0-or-later
// The course of a script (runner.h); what each verb does is in verbs.cc.
#include "script/runner.h"

namespace drbd::sim {

namespace {

constexpr uint64_t kSeed = 1;  // latencies within a script; any would do

}  // namespace

Runner::Runner(const Script& script, const Injection* injection, bool print)
    : script_(script), injection_(injection), world_(kSeed, script.options, print), listing_(world_, script.show) {}

void Runner::complain(const std::string& what) {
    if (complaint_.empty())
        complaint_ = what;
}

void Runner::run() {
    for (const Step& step : script_.steps) {
        line_ = step.line;
        listing_.begin_step();
        run_verb(step.words);
        look();
        if (!world_.complaint().empty() || !complaint_.empty())
            break;
    }
    if (complaint_.empty() && world_.complaint().empty()) {
        line_ = 0;
        listing_.mute(true);
        world_.admin().take_over(primary_, formatted_, initialised_);
        world_.expect_bits();
        world_.admin().begin();
        world_.mend();
    }
    // What a step waited for in vain says less than the promise that ended the world.
    if (!world_.complaint().empty())
        complaint_ = world_.complaint();
}

void Runner::look() {
    if (listing_.heard() == seen_)
        return;
    seen_ = listing_.heard();
    points_.push_back(seen_);
    if (injection_ && !has_injected_ && seen_ >= injection_->after) {
        has_injected_ = true;
        listing_.say(-1, "INJECTED", injection_->fault->name);
        injection_->fault->happen(world_, injection_->fault->host);
    }
}

bool Runner::advance() {
    look();
    if (!world_.step())
        return false;
    look();
    return true;
}

void Runner::finish(int host, uint64_t number) {
    if (number == 0)
        return;  // refused
    const uint64_t incarnation = node(host).incarnation();
    const bool ended = wait([&] {
        const Operation* operation = node(host).operation(number);
        return incarnation != node(host).incarnation() || !operation || !operation->pending;
    });
    if (!ended)
        listing_.say(host, "pending", "the command does not end");
}

bool Runner::succeeded(int host, uint64_t number) {
    const Operation* operation = node(host).operation(number);
    return number != 0 && operation && operation->success;
}

}  // namespace drbd::sim
