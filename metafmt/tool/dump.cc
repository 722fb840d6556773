// SPDX-License-Identifier: GPL-2.0-or-later
// dump-md, restore-md, verify-dump: metadata as text and back.  The bitmap is
// streamed in both directions; holes of the file are never read.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <optional>
#include <vector>

#include "metafmt/bitmap_layout.h"
#include "metafmt/dump_text.h"
#include "metafmt/tool/commands.h"
#include "metafmt/tool/in_the_way.h"
#include "metafmt/tool/metadata_file.h"

namespace drbd::metafmt::tool {
namespace {

class StandardOutput : public TextSink {
  public:
    void write(std::string_view text) override {
        if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
            throw ToolError(kExitDevice, "cannot write to standard output: " + std::string(std::strerror(errno)));
    }
};

class DumpFile : public TextSource {
  public:
    explicit DumpFile(const std::string& path)
        : path_(path), fd_(path == "-" ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
        if (fd_ < 0)
            throw ToolError(kExitUsage, "cannot open dump " + path + ": " + std::strerror(errno));
    }
    ~DumpFile() { close(fd_); }
    DumpFile(const DumpFile&) = delete;
    DumpFile& operator=(const DumpFile&) = delete;

    Result<size_t> read(std::span<char> buffer) override {
        ssize_t got;
        do
            got = ::read(fd_, buffer.data(), buffer.size());
        while (got < 0 && errno == EINTR);
        if (got < 0)
            return Error::of(ErrorCode::Io, "cannot read dump %s: %s", path_.c_str(), std::strerror(errno));
        return static_cast<size_t>(got);
    }

  private:
    std::string path_;
    int fd_;
};

void print_header(const Arguments& arguments, const Device& device) {
    char when[64];
    char host[65] = "?";
    const time_t now = time(nullptr);
    struct tm local;
    std::strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S %z", localtime_r(&now, &local));
    (void)gethostname(host, sizeof host - 1);
    if (device.may_be_stale())
        std::printf("# Output might be stale, since %s is in use\n", device.path().c_str());
    std::printf("# DRBD meta data dump\n# %s [%lld]\n# %s> %s\n#\n\n", when, static_cast<long long>(now), host,
                arguments.command_line.c_str());
}

// Checks the dump against a device before anything is written, or, without
// one, by itself.
class Verifier : public DumpConsumer {
  public:
    Result<void> on_head(const DumpHead& head) override {
        head_ = head;
        return {};
    }
    Result<void> on_words(uint64_t, uint64_t) override { return {}; }
    const DumpHead& head() const { return head_; }

  private:
    DumpHead head_;
};

// Writes the bitmap; whatever the device's bitmap has no room for is cut.
class Restorer : public DumpConsumer {
  public:
    Restorer(Device& device, const Layout& layout, uint64_t bits) : device_(device), layout_(layout), bits_(bits) {
        buffer_.reserve(kBufferSize);
    }

    Result<void> on_head(const DumpHead&) override { return {}; }

    Result<void> on_words(uint64_t word, uint64_t count) override {
        const uint64_t bytes = std::min(count * sizeof word, end() - position_ - buffer_.size());
        if (word == 0 && bytes >= kBufferSize) {  // large gaps are holes already
            flush();
            position_ += bytes;
            return {};
        }
        for (uint64_t i = 0; i < bytes / sizeof word; i++) {
            const le64 raw = word;
            uint8_t encoded[sizeof word];
            std::memcpy(encoded, &raw, sizeof encoded);
            buffer_.insert(buffer_.end(), encoded, encoded + sizeof encoded);
            if (buffer_.size() == kBufferSize)
                flush();
        }
        return {};
    }

    void flush() {
        if (buffer_.empty())
            return;
        const uint64_t bits_before = position_ * 8;
        clear_bits_past_end(buffer_, std::min<uint64_t>(bits_ > bits_before ? bits_ - bits_before : 0,
                                                       buffer_.size() * 8));
        device_.write(to_bytes(layout_.bitmap) + Bytes(position_), buffer_);
        position_ += buffer_.size();
        buffer_.clear();
    }

  private:
    static constexpr size_t kBufferSize = 1 << 20;

    uint64_t end() const { return to_bytes(layout_.bitmap_size).value; }

    Device& device_;
    Layout layout_;
    uint64_t bits_;
    uint64_t position_ = 0;
    std::vector<uint8_t> buffer_;
};

DumpHead verify_file(const std::string& path) {
    DumpFile file(path);
    Verifier verifier;
    if (auto parsed = parse_dump(file, verifier); !parsed)
        throw ToolError(kExitUsage, "Parse error in " + path + ", " + parsed.error().text);
    return verifier.head();
}

Superblock superblock_of_dump(const DumpHead& head, const Layout& layout, Sector la_size) {
    Superblock superblock = superblock_for_creation(layout);
    superblock.uuids = head.uuids;
    superblock.flags = head.flags;
    superblock.device_uuid = head.device_uuid;
    superblock.la_size = la_size;
    superblock.la_peer_max_bio_size = head.la_peer_max_bio_size;
    return superblock;
}

}  // namespace

ExitStatus dump_md(const Arguments& arguments) {
    Device device(arguments.device, Access::Read);
    const MetadataFile md = open_metadata(device, arguments.placement);
    if (!md.superblock.is_clean()) {
        arguments.console.remark("Found meta data is \"unclean\", please apply-al first");
        if (!arguments.console.forced())
            return kExitNoMetadata;
    }
    print_header(arguments, device);
    StandardOutput output;
    write_dump_head(md.superblock, md.layout, output);
    const Bytes size = dump_bitmap_size(md.superblock);
    DumpBitmapWriter bitmap(size, output);
    device.walk(to_bytes(md.layout.bitmap), size,
                [&](Bytes, std::span<const uint8_t> data) { bitmap.add(data); },
                [&](Bytes, Bytes length) { bitmap.add_zeros(length); });
    bitmap.finish();
    return kExitOk;
}

ExitStatus verify_dump(const Arguments& arguments) {
    verify_file(arguments.dump_file);
    std::printf("input file parsed ok\n");
    return kExitOk;
}

// The text is read twice: once to know that all of it is good, once to write.
ExitStatus restore_md(const Arguments& arguments) {
    if (arguments.dump_file == "-")
        throw ToolError(kExitUsage, "restore-md reads the dump twice and needs a file, not standard input");
    const DumpHead head = verify_file(arguments.dump_file);
    Device device(arguments.device, Access::Write);
    const Layout layout = value_or_throw(layout_for_creation(arguments.placement, device.size(), head.al), kExitUsage);
    Sector la_size = head.la_size;
    const Sector largest = capacity_max(layout, bitmap_covers(layout.bitmap_size));
    if (la_size > largest) {
        la_size = largest;
        std::printf("# la-size-sect was too big (%" PRIu64 "), truncated (%" PRIu64 ")!\n", head.la_size.value,
                    la_size.value);
    }
    if (head.flags.bits == 0 && head.uuids.current != kUuidJustCreated)
        arguments.console.remark("The dump has no flags set; some versions of drbdmeta print none. The disk will be "
                                 "Inconsistent. set-gi can restore them.");
    const Content content = probe_device(device);
    refuse_disk_image(device, content);
    const auto before = read_block(device, layout.superblock);
    auto existing = decode_superblock(ConstBlock(before));
    if (existing || existing.error().code != ErrorCode::NoMetadata) {
        arguments.console.confirm("\nValid meta-data in place, overwrite?");
    } else {
        check_content(arguments, content, layout);
        check_unknown_data(arguments, device, layout);
    }

    device.zero(to_bytes(layout.superblock), Bytes(kBlockSize));
    device.sync();
    device.zero(to_bytes(layout.bitmap), to_bytes(layout.bitmap_size));
    DumpFile file(arguments.dump_file);
    Restorer restorer(device, layout, bitmap_bits(la_size));
    if (auto parsed = parse_dump(file, restorer); !parsed)
        throw ToolError(kExitUsage, "Parse error in " + arguments.dump_file + ", " + parsed.error().text);
    restorer.flush();
    initialize_activity_log(device, layout);
    write_superblock(device, layout, superblock_of_dump(head, layout, la_size));
    std::printf("Successfully restored meta data\n");
    return kExitOk;
}

}  // namespace drbd::metafmt::tool
