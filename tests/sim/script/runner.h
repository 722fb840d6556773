// SPDX-License-Identifier: GPL-2.0-or-later
// Runs one script in a world of its own, with or without one more fault.
//
// In: a script; perhaps an injection: a fault, and after how many lines of the
// trace it happens.  Out: the trace of each step, what was wrong, and where a
// fault can be injected: after each event and each command that left lines.
// Invariants: a script leaves the same trace each time.  With an injection the
// expectations do not apply, but everything that the checkers of the simulation
// promise does; a step that cannot be done any more is passed over.  At the end
// the world is mended: both nodes together, equal, and at rest.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "script/injection.h"
#include "script/listing.h"
#include "script/script.h"
#include "world.h"

namespace drbd::sim {

class Runner {
  public:
    using Words = std::vector<std::string>;

    // Every step of the script makes sense: mistake_in() says nothing of any.
    Runner(const Script& script, const Injection* injection, bool print);

    void run();
    // Why this is no step; empty if it is one.
    static std::string mistake_in(const Words& words);

    const std::string& complaint() const { return complaint_; }
    // Where it was: a line of the script, 0 at the end.
    unsigned line() const { return line_; }
    const std::vector<std::vector<std::string>>& traces() const { return listing_.traces(); }
    const std::vector<uint64_t>& points() const { return points_; }
    bool has_injected() const { return has_injected_; }

  private:
    using Verb = void (Runner::*)(const Words&);
    struct Row;

    // runner.cc
    bool advance();                              // one event; false if there is none
    void look();                                 // between two events: a point, the injection
    // Until something holds; false: it does not come to that.
    template <typename F>
    bool wait(F&& done) {
        const Time limit = world_.queue().now() + (is_injected() ? 15 : 90) * kSecond;
        while (!done())
            if (world_.queue().now() > limit || !advance())
                return false;
        return true;
    }
    void finish(int host, uint64_t operation);   // waits for its end
    bool succeeded(int host, uint64_t operation);
    void complain(const std::string& what);
    bool is_injected() const { return injection_ != nullptr; }
    Node& node(int host) { return world_.node(host); }

    // verbs.cc
    void run_verb(const Words& words);
    static const Row* row_of(const Words& words);
    static const ScriptFault* fault_of(const Words& words);
    static bool names_host(const Words& words);
    static int host_of(const Words& words, size_t at = 1);
    static bool has(const Words& words, const char* word);
    template <typename F>
    static void for_hosts(const Words& words, F&& function);
    void pair(const Words&);
    void start(const Words&);
    void create_md(const Words&);
    void attach(const Words&);
    void detach(const Words&);
    void leave(const Words&);
    void connect(const Words&);
    void disconnect(const Words&);
    void promote(const Words&);
    void begin_promotion(const Words& words, size_t at);
    void end_promotion(int host);
    void demote(const Words&);
    void invalidate(const Words&);
    void invalidate_remote(const Words&);
    void outdate(const Words&);
    void new_uuid(const Words&);
    void set_secret(const Words&);
    void move_guest(int host, bool licence);
    bool issue(const Words& words, size_t at);   // a request; false if it cannot be
    void request(const Words&);
    std::optional<uint64_t> begin_operation(const Words& words);
    void begin_request(const Words&);
    void wait_for_requests(const Words&);
    void expect(const Words&);
    void drain(const Words&);
    void undrain(const Words&);
    void stall(const Words&);
    void slow(const Words&);
    void compare(const Words&);
    void left_behind(const Words&);
    void run_for(const Words&);

    const Script& script_;
    const Injection* injection_;
    World world_;
    Listing listing_;
    std::string complaint_;
    unsigned line_ = 0;
    uint64_t seen_ = 0;                          // lines, when last looked
    std::vector<uint64_t> points_;
    bool has_injected_ = false;
    int primary_ = 0;                            // whom the script wants
    bool formatted_[2] = {false, false};
    bool initialised_ = false;
    struct {
        uint64_t number = 0;                     // of the operation; 0: none was begun
        bool force = false;
    } promotion_[2];
    uint64_t begun_[2] = {0, 0};                 // operations that nobody waits for yet
};

}  // namespace drbd::sim
