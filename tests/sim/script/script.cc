// SPDX-License-Identifier: GPL-2.0-or-later
// Reads and rewrites the files of script.h.
#include "script/script.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "numbers.h"

namespace drbd::sim {

namespace {

constexpr const char* kIndent = "    ";
constexpr uint64_t kSizeKibMax = 64ull << 20;  // the bitmap is in memory
constexpr double kSecondsMax = 1e6;

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

// A quiet world: nothing happens that the script does not say.
Options quiet() {
    Options o;
    o.image_bytes = 256 << 10;
    o.disk_latency = 200;
    o.link = {.latency = kMillisecond, .jitter = 0, .window = 256 << 10};
    o.short_sends = o.late_sends = 0;
    o.depth = 0;
    o.requests = 0;
    return o;
}

bool show(Show& show, const std::string& what, bool on) {
    static const struct { const char* name; bool Show::*member; } rows[] = {
        {"handshake", &Show::handshake}, {"pings", &Show::pings}, {"metadata", &Show::metadata}, {"disk", &Show::disk},
    };
    for (const auto& row : rows)
        if (what == row.name) {
            show.*row.member = on;
            return true;
        }
    return false;
}

// `set KEY VALUE`; false if there is no such key or value.
bool set(Script& script, const std::string& key, const std::string& value) {
    Options& o = script.options;
    // What the core takes.
    static const struct { const char* key; unsigned Options::*member; unsigned low, high; } numbers[] = {
        {"volumes", &Options::volumes, 1, 2},
        {"version", &Options::version_max, 86, 101},
        {"timeout", &Options::timeout, 1, 600},
        {"ping-timeout", &Options::ping_timeout, 1, 300},
        {"ping-int", &Options::ping_int, 1, 120},
        {"connect-int", &Options::connect_int, 1, 120},
        {"ko-count", &Options::ko_count, 0, 200},
        {"drain-timeout", &Options::drain_timeout, 0, 100000},
        {"max-epoch-size", &Options::max_epoch_size, 1, 20000},
        {"max-requests", &Options::max_requests, 1, 100000},
    };
    uint64_t number = 0;
    for (const auto& row : numbers)
        if (key == row.key) {
            if (!read_number(value, row.low, row.high, number))
                return false;
            o.*row.member = static_cast<unsigned>(number);
            return true;
        }
    if (key == "show" || key == "hide")
        return show(script.show, value, key == "show");
    if (key == "size-kib") {
        if (!read_number(value, 4, kSizeKibMax, number))
            return false;
        o.image_bytes = number << 10;
    } else if (key == "protocol" && value.size() == 1 && value[0] >= 'A' && value[0] <= 'C') {
        o.protocol = static_cast<DrbdProtocol>(value[0] - 'A' + 1);
    } else if (key == "on-io-error" && (value == "detach" || value == "pass-on")) {
        o.on_io_error = value == "detach" ? DRBD_ON_IO_ERROR_DETACH : DRBD_ON_IO_ERROR_PASS_ON;
    } else if (key == "metadata" && (value == "internal" || value == "external")) {
        o.internal = value == "internal";
    } else if (key == "secret-a" || key == "secret-b") {
        o.secret[key == "secret-b"] = value;
    } else if (key == "after-sb-1pri" && (value == "disconnect" || value == "discard-secondary")) {
        o.after_sb[1] = value == "disconnect" ? 0 : 8;  // as the wire numbers them (spec 3.2)
    } else if (key == "integrity" && (value == "on" || value == "off")) {
        o.integrity = value == "on";
    } else {
        return false;
    }
    return true;
}

// The numbers of a step; empty if they are numbers.
std::string complaint_about(const Script& script, const std::vector<std::string>& words) {
    const size_t at = words[0] == "begin" ? 1 : 0;
    const std::string verb = at < words.size() ? words[at] : "";
    const bool request = verb == "read" || verb == "write" || verb == "zeroes" || verb == "discard";
    uint64_t sector = 0, sectors = 0;
    double seconds = 0;
    auto word = [&](size_t n) { return n < words.size() ? words[n] : std::string(); };
    if (request && (!read_number(word(at + 2), 0, kSizeKibMax * 2, sector) || !read_number(word(at + 3), 1, kSizeKibMax * 2, sectors)))
        return "'" + verb + " HOST SECTOR SECTORS' with whole numbers, and one sector at least";
    if (verb == "run" && (words.size() != 2 || !read_seconds(word(1), kSecondsMax, seconds)))
        return "'run SECONDS' with more than 0, and no more than " + std::to_string(static_cast<int>(kSecondsMax));
    if (verb == "stall" && (words.size() != 4 || (word(1) != "data" && word(1) != "meta") || !read_seconds(word(3), kSecondsMax, seconds)))
        return "'stall data HOST SECONDS', or meta, with more than 0 seconds";
    if (verb == "slow" && (words.size() < 4 || words.size() > 5 || (words.size() == 5 && word(4) != "metadata") || !read_number(word(2), 0, script.options.volumes - 1, sector) || !read_seconds(word(3), kSecondsMax, seconds)))
        return "'slow HOST VOLUME SECONDS', or with 'metadata' behind it, with a volume that there is, and more than 0 seconds";
    return "";
}

bool is_trace(const std::string& line) {
    return line.rfind(kIndent, 0) == 0;
}

}  // namespace

Script read_script(const std::string& path) {
    Script script;
    script.path = path;
    script.options = quiet();
    std::ifstream file(path);
    std::error_code error;
    if (!file || std::filesystem::is_directory(path, error)) {
        script.error = path + ": cannot be opened";
        return script;
    }
    for (std::string line; std::getline(file, line);) {
        script.lines.push_back(line);
        const std::string where = path + ":" + std::to_string(script.lines.size()) + ": ";
        if (is_trace(line)) {
            if (script.steps.empty()) {
                script.error = where + "a trace before the first step";
                return script;
            }
            script.steps.back().expected.push_back(line.substr(std::char_traits<char>::length(kIndent)));
            continue;
        }
        const std::vector<std::string> words = words_of(line);
        if (words.empty() || words[0][0] == '#')
            continue;
        if (words[0] != "set") {
            if (const std::string wrong = complaint_about(script, words); !wrong.empty()) {
                script.error = where + wrong;
                return script;
            }
            script.steps.push_back({static_cast<unsigned>(script.lines.size()), words, {}});
        } else if (!script.steps.empty() || words.size() != 3 || !set(script, words[1], words[2])) {
            script.error = where + "'set KEY VALUE' with a known key and a value that it takes, before the first step";
            return script;
        }
    }
    if (script.steps.empty())
        script.error = path + ":" + std::to_string(std::max<size_t>(script.lines.size(), 1)) + ": no steps";
    return script;
}

std::string with_traces(const Script& script, const std::vector<std::vector<std::string>>& traces) {
    std::string text;
    size_t step = 0;
    for (size_t i = 0; i < script.lines.size(); i++) {
        if (is_trace(script.lines[i]))
            continue;
        text += script.lines[i] + "\n";
        if (step == script.steps.size() || script.steps[step].line != i + 1)
            continue;
        if (step < traces.size())
            for (const std::string& line : traces[step])
                text += kIndent + line + "\n";
        step++;
    }
    return text;
}

}  // namespace drbd::sim
