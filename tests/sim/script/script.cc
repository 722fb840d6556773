// SPDX-License-Identifier: GPL-2.0-or-later
// Reads and rewrites the files of script.h.
#include "script/script.h"

#include <cstdlib>
#include <fstream>
#include <sstream>

namespace drbd::sim {

namespace {

constexpr const char* kIndent = "    ";

std::vector<std::string> words_of(const std::string& line) {
    std::istringstream stream(line);
    std::vector<std::string> words;
    for (std::string word; stream >> word;)
        words.push_back(word);
    return words;
}

unsigned number(const std::string& text) {
    return static_cast<unsigned>(std::strtoul(text.c_str(), nullptr, 0));
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
    static const struct { const char* key; unsigned Options::*member; } numbers[] = {
        {"volumes", &Options::volumes}, {"version", &Options::version_max}, {"timeout", &Options::timeout},
        {"ping-timeout", &Options::ping_timeout}, {"ping-int", &Options::ping_int}, {"connect-int", &Options::connect_int},
        {"ko-count", &Options::ko_count}, {"drain-timeout", &Options::drain_timeout}, {"max-epoch-size", &Options::max_epoch_size}, {"max-requests", &Options::max_requests},
    };
    for (const auto& row : numbers)
        if (key == row.key) {
            o.*row.member = number(value);
            return true;
        }
    if (key == "show" || key == "hide")
        return show(script.show, value, key == "show");
    if (key == "size-kib") {
        o.image_bytes = static_cast<uint64_t>(number(value)) << 10;
    } else if (key == "protocol" && value.size() == 1 && value[0] >= 'A' && value[0] <= 'C') {
        o.protocol = static_cast<DrbdProtocol>(value[0] - 'A' + 1);
    } else if (key == "on-io-error" && (value == "detach" || value == "pass-on")) {
        o.on_io_error = value == "detach" ? DRBD_ON_IO_ERROR_DETACH : DRBD_ON_IO_ERROR_PASS_ON;
    } else if (key == "metadata" && (value == "internal" || value == "external")) {
        o.internal = value == "internal";
    } else if (key == "secret-a" || key == "secret-b") {
        o.secret[key == "secret-b"] = value;
    } else if (key == "integrity" && (value == "on" || value == "off")) {
        o.integrity = value == "on";
    } else {
        return false;
    }
    return true;
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
    if (!file) {
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
            script.steps.push_back({static_cast<unsigned>(script.lines.size()), words, {}});
        } else if (!script.steps.empty() || words.size() != 3 || !set(script, words[1], words[2])) {
            script.error = where + "'set KEY VALUE' with a known key, before the first step";
            return script;
        }
    }
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
