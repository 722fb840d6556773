// SPDX-License-Identifier: GPL-2.0-or-later
// The replayer: a process that a test steers by lines on its standard input.
//
//   replayer OPTION=VALUE…
//     log= base-data= [base-md=] state-data= [state-md=]   files
//     data-sectors=N [internal=1] [md-begin=BYTES md-bytes=BYTES]
//     [trim=keep] [carry=FILE]   bits needed and allowed of an earlier crash
//   plan COUNT SEED       choose states; answers {"planned":N,"events":N}
//   next                  build the next state; answers its verdict, or {"end":true}
//   goto POINT MODE SEED  build that state; points only go up
//   judge                 the verdict after attach and detach
//   verify                compare the guest's area byte by byte
//   save FILE             needed and allowed bits, for carry=
// Each answer is one line of JSON.  State files must be copies of the base.

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>

#include "crash_plan.h"
#include "disk_cache.h"
#include "judge.h"

namespace powercut {

namespace {

using Options = std::map<std::string, std::string>;

uint64_t number(const Options& options, const char* name) {
    auto found = options.find(name);
    return found == options.end() ? 0 : std::stoull(found->second, nullptr, 0);
}

std::string text(const Options& options, const char* name) {
    auto found = options.find(name);
    return found == options.end() ? "" : found->second;
}

std::vector<uint32_t> touched_sectors(const SequenceLog& log, const Geometry& geometry) {
    std::vector<bool> seen(geometry.data_sectors);
    for (const Request& request : log.requests)
        if (request.kind != Kind::Flush && request.channel != Channel::Metadata)
            for (uint64_t s = request.offset / kSectorSize;
                 s < (request.offset + request.length) / kSectorSize && s < seen.size(); s++)
                seen[s] = true;
    std::vector<uint32_t> sectors;
    for (uint32_t s = 0; s < seen.size(); s++)
        if (seen[s])
            sectors.push_back(s);
    return sectors;
}

std::string quoted(const std::string& value) {
    std::string result = "\"";
    for (char c : value) {
        if (c == '"' || c == '\\')
            result += '\\';
        result += c;
    }
    return result + "\"";
}

std::string as_json(const Verdict& verdict) {
    std::string list = "[";
    for (const std::string& error : verdict.errors)
        list += (list.size() > 1 ? "," : "") + quoted(error);
    return list + "]";
}

class Replayer {
  public:
    std::string open(const Options& options);
    std::string answer(const std::string& line);

  private:
    std::string build(const CrashState& state);
    std::string plan(uint64_t count, uint64_t seed);
    std::string save(const std::string& path) const;
    std::string load_carry(const std::string& path);

    Geometry geometry_;
    SequenceLog log_;
    Content base_;
    std::vector<uint32_t> touched_;
    std::unique_ptr<DiskCache> cache_;
    std::unique_ptr<Judge> judge_;
    StateFiles files_;
    std::vector<CrashState> states_;
    size_t next_ = 0;
    uint64_t position_ = 0;
    const Content* current_ = nullptr;
};

std::string Replayer::open(const Options& options) {
    geometry_.data_sectors = number(options, "data-sectors");
    geometry_.internal = number(options, "internal") != 0;
    geometry_.metadata_begin = number(options, "md-begin");
    geometry_.metadata_bytes = number(options, "md-bytes");
    geometry_.has_metadata = geometry_.metadata_bytes != 0;
    log_ = read_log(text(options, "log").c_str());
    if (!log_.error.empty())
        return log_.error;
    std::string error = load_content(geometry_, text(options, "base-data"), text(options, "base-md"), base_);
    if (error.empty())
        error = files_.open(geometry_, text(options, "state-data"), text(options, "state-md"), base_);
    if (!error.empty())
        return error;
    touched_ = touched_sectors(log_, geometry_);
    cache_ = std::make_unique<DiskCache>(log_, geometry_, base_);
    const TrimRule trim = text(options, "trim") == "keep" ? TrimRule::MayKeep : TrimRule::ReadsAsZero;
    judge_ = std::make_unique<Judge>(geometry_, log_, base_, trim, touched_);
    const std::string carry = text(options, "carry");
    return carry.empty() ? "" : load_carry(carry);
}

std::string Replayer::build(const CrashState& state) {
    if (state.point < position_ || state.point > log_.events.size())
        return R"({"fatal":"crash points only go up and end with the log"})";
    for (; position_ < state.point; position_++) {
        cache_->on_event(position_);
        judge_->on_event(position_);
    }
    current_ = &cache_->build(state.mode, state.seed);
    const std::string error = files_.write(*current_, touched_);
    if (!error.empty())
        return R"({"fatal":)" + quoted(error) + "}";
    const Verdict verdict = judge_->before_attach(*current_);
    std::ostringstream out;
    out << R"({"point":)" << state.point << R"(,"mode":")" << kModeNames[static_cast<int>(state.mode)]
        << R"(","seed":)" << state.seed << R"(,"unstable":)" << cache_->unstable()
        << R"(,"attachable":)" << (judge_->attachable() ? "true" : "false")
        << R"(,"disk":)" << quoted(judge_->expected_disk())
        << R"(,"errors":)" << as_json(verdict) << "}";
    return out.str();
}

std::string Replayer::plan(uint64_t count, uint64_t seed) {
    states_ = plan_states(log_, geometry_, count, seed);
    next_ = 0;
    return "{\"planned\":" + std::to_string(states_.size()) + ",\"events\":" +
           std::to_string(log_.events.size()) + "}";
}

std::string Replayer::save(const std::string& path) const {
    std::ofstream file(path);
    for (size_t i = 0; i < judge_->needed().size(); i++)
        file << (judge_->needed()[i] ? '1' : '0') << (judge_->allowed()[i] ? '1' : '0');
    return file.flush() ? "{}" : R"({"fatal":"cannot write the bits"})";
}

std::string Replayer::load_carry(const std::string& path) {
    std::ifstream file(path);
    std::string bits((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (bits.size() != 2 * ((geometry_.data_sectors + 7) / 8))
        return path + ": not the bits of this geometry";
    std::vector<bool> needed(bits.size() / 2), allowed(bits.size() / 2);
    for (size_t i = 0; i < needed.size(); i++) {
        needed[i] = bits[2 * i] == '1';
        allowed[i] = bits[2 * i + 1] == '1';
    }
    judge_->carry(needed, allowed);
    return "";
}

std::string Replayer::answer(const std::string& line) {
    std::istringstream words(line);
    std::string command, argument;
    uint64_t first = 0, second = 0;
    words >> command;
    if (command == "plan" && words >> first >> second)
        return plan(first, second);
    if (command == "next")
        return next_ < states_.size() ? build(states_[next_++]) : R"({"end":true})";
    if (command == "goto" && words >> first >> argument >> second)
        for (unsigned i = 0; i < kModeCount; i++)
            if (argument == kModeNames[i])
                return build({first, static_cast<Mode>(i), second});
    if (command == "judge") {
        std::vector<unsigned char> bytes;
        const std::string error = files_.read_metadata(bytes);
        if (!error.empty())
            return R"({"fatal":)" + quoted(error) + "}";
        return R"({"errors":)" + as_json(judge_->after_attach(bytes)) + "}";
    }
    if (command == "verify") {
        const uint64_t sector = files_.first_difference(*current_, touched_);
        Verdict verdict;
        if (sector != kNever)
            verdict.add("attach: sector " + std::to_string(sector) + " of the guest's area was changed");
        return R"({"errors":)" + as_json(verdict) + "}";
    }
    if (command == "save" && words >> argument)
        return save(argument);
    return R"({"fatal":"unknown command: see the head of main.cc"})";
}

}  // namespace

}  // namespace powercut

int main(int count, char** words) {
    powercut::Options options;
    for (int i = 1; i < count; i++) {
        const char* sign = std::strchr(words[i], '=');
        if (!sign) {
            std::fprintf(stderr, "%s: not OPTION=VALUE\n", words[i]);
            return 2;
        }
        options[std::string(words[i], static_cast<size_t>(sign - words[i]))] = sign + 1;
    }
    powercut::Replayer replayer;
    const std::string error = replayer.open(options);
    std::cout << (error.empty() ? "{}" : "{\"fatal\":" + powercut::quoted(error) + "}") << std::endl;
    std::string line;
    while (error.empty() && std::getline(std::cin, line))
        std::cout << replayer.answer(line) << std::endl;
    return error.empty() ? 0 : 1;
}
