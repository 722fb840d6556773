// SPDX-License-Identifier: GPL-2.0-or-later
#include "metafmt/tool/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>

namespace drbd::metafmt::tool {
namespace {

const char* const kFlagOptions[] = {"--force", "-q", "--quiet", "--verbose", "-v", "--ignore-sanity-checks"};

bool is_flag_option(const std::string& word) {
    return std::find(std::begin(kFlagOptions), std::end(kFlagOptions), word) != std::end(kFlagOptions);
}

bool is_version(const std::string& word) {
    return word.size() == 3 && word[0] == 'v' && word[1] == '0' && word[2] >= '6' && word[2] <= '9';
}

// drbdmeta's order: MINOR VERSION DEVICE PLACEMENT COMMAND ...
std::vector<std::string> from_drbdmeta_order(const std::vector<std::string>& words) {
    size_t first = 0;
    while (first < words.size() && is_flag_option(words[first]))
        first++;
    if (words.size() < first + 2 || !is_version(words[first + 1]))
        return words;
    if (words[first + 1] != "v08")
        throw ToolError(kExitUsage, "Meta data version " + words[first + 1] +
                                        " is not supported, only v08 (DRBD 8.4). drbdmeta converts.");
    if (words.size() < first + 5)
        throw ToolError(kExitUsage, "usage: qdrbdmeta [--force] MINOR|- v08 DEVICE PLACEMENT COMMAND [arguments]");
    std::vector<std::string> short_form(words.begin(), words.begin() + static_cast<ptrdiff_t>(first));
    short_form.push_back(words[first + 4]);
    short_form.push_back(words[first + 2]);
    short_form.insert(short_form.end(), words.begin() + static_cast<ptrdiff_t>(first + 5), words.end());
    short_form.push_back("--meta=" + words[first + 3]);
    return short_form;
}

Placement parse_placement(const std::string& text) {
    if (text == "internal" || text == "flex-internal")
        return Placement::internal();
    if (text == "external" || text == "flex-external" || text == "flexible")
        return Placement::flexible_external();
    if (!text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos)
        return Placement::indexed_external(static_cast<uint32_t>(std::stoul(text)));
    throw ToolError(kExitUsage, "'" + text + "' is no placement: internal, external or an index number");
}

ActivityLogGeometry parse_stripes(uint32_t stripes, uint32_t stripe_size_kilobytes) {
    if (stripe_size_kilobytes < 4)
        throw ToolError(kExitUsage, "--al-stripe-size-kB " + std::to_string(stripe_size_kilobytes) +
                                        ": must be at least 4, one block of the activity log");
    if (stripe_size_kilobytes % 4 != 0)  // as drbdmeta does, which says nothing
        std::fprintf(stderr, "--al-stripe-size-kB %u is rounded down to %u, whole blocks of 4 kB\n",
                     stripe_size_kilobytes, stripe_size_kilobytes / 4 * 4);
    ActivityLogGeometry al{stripes, stripe_size_kilobytes / 4};
    if (auto checked = al.check(); !checked)
        throw ToolError(kExitUsage, checked.error().text);
    return al;
}

}  // namespace

Arguments parse_arguments(int argc, char** argv) {
    Arguments arguments;
    for (int i = 0; i < argc; i++)
        arguments.command_line += std::string(i == 0 ? "" : " ") + (i == 0 ? "qdrbdmeta" : argv[i]);

    CLI::App app{"Reads and writes DRBD 8.4 metadata (v08) of raw images and block devices that nobody uses.\n"
                 "drbdmeta's order of arguments is understood too: MINOR|- v08 DEVICE PLACEMENT COMMAND ...",
                 "qdrbdmeta"};
    app.require_subcommand(1);
    app.fallthrough();
    bool force = false, quiet = false, verbose = false;
    std::string placement = "internal";
    uint32_t stripes = 1, stripe_size_kilobytes = 32;
    uint64_t old_size = 0;
    app.add_flag("--force", force, "answer yes to every question");
    app.add_flag("-q,--quiet", quiet, "no remarks");
    app.add_flag("-v,--verbose", verbose, "accepted for drbdmeta's sake");
    app.add_flag("--ignore-sanity-checks", arguments.ignore_sanity_checks,
                 "create-md, restore-md: even if a file system is in the way");
    app.add_option("--meta", placement, "internal (default), external, or the index of a slot");

    struct Verb {
        const char* name;
        const char* help;
    };
    const Verb verbs[] = {
        {"create-md", "make new metadata"},
        {"wipe-md", "remove metadata"},
        {"dump-md", "print metadata as text"},
        {"restore-md", "write metadata from a dump"},
        {"verify-dump", "check a dump, write nothing"},
        {"show-gi", "data generations and flags, explained"},
        {"get-gi", "data generations and flags, one line"},
        {"set-gi", "change data generations and flags"},
        {"dstate", "state of the disk"},
        {"outdate", "mark the disk Outdated"},
        {"invalidate", "mark the disk Inconsistent; everything will be synced"},
        {"apply-al", "mark what the activity log says, and make the metadata clean"},
        {"check-resize", "move internal metadata to the end of a grown device"},
        {"read-dev-uuid", "print the device's identifier"},
        {"write-dev-uuid", "set the device's identifier"},
    };
    for (const Verb& verb : verbs) {
        CLI::App* sub = app.add_subcommand(verb.name, verb.help);
        sub->add_option("device", arguments.device, "raw image file or block device")->required();
        const std::string name = verb.name;
        if (name == "create-md") {
            sub->add_option("--peer-max-bio-size", arguments.peer_max_bio_size, "largest request the peer takes, bytes");
            sub->add_option("--al-stripes", stripes, "stripes of the activity log");
            sub->add_option("--al-stripe-size-kB", stripe_size_kilobytes, "size of a stripe");
        }
        if (name == "restore-md" || name == "verify-dump")
            sub->add_option("file", arguments.dump_file, "the dump")->required();
        if (name == "set-gi")
            sub->add_option("value", arguments.value, "as get-gi prints it; empty fields stay")->required();
        if (name == "write-dev-uuid")
            sub->add_option("value", arguments.value, "16 hexadecimal digits")->required();
        if (name == "check-resize")
            sub->add_option("--old-size", old_size, "size of the device before it grew, bytes");
    }

    std::vector<std::string> words(argv + 1, argv + argc);
    words = from_drbdmeta_order(words);
    std::reverse(words.begin(), words.end());
    try {
        app.parse(words);
    } catch (const CLI::ParseError& error) {
        const int status = app.exit(error, std::cout, std::cerr);
        throw ToolError(status == 0 ? kExitOk : kExitUsage, "");
    }
    arguments.verb = app.get_subcommands().front()->get_name();
    arguments.console = Console(force ? Confirmation::Forced : Confirmation::Ask, quiet);
    arguments.placement = parse_placement(placement);
    arguments.al = parse_stripes(stripes, stripe_size_kilobytes);
    if (old_size != 0)
        arguments.old_size_bytes = old_size;
    return arguments;
}

}  // namespace drbd::metafmt::tool
