// SPDX-License-Identifier: GPL-2.0-or-later
// Content and the files that hold it.  Contract: image_state.h.

#include "image_state.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace powercut {

uint32_t identify(const unsigned char* bytes, uint64_t sector) {
    static const unsigned char zeroes[kSectorSize] = {};
    if (std::memcmp(bytes, zeroes, kSectorSize) == 0)
        return kZero;
    uint64_t words[2];
    std::memcpy(words, bytes, sizeof words);
    if (words[0] != kPatternMagic || words[1] == 0 || words[1] >= kForeign)
        return kForeign;
    unsigned char expected[kSectorSize];
    fill_pattern(expected, sector, 1, words[1]);
    if (std::memcmp(bytes, expected, kSectorSize) != 0)
        return kForeign;
    return static_cast<uint32_t>(words[1]);
}

void regenerate(unsigned char* bytes, uint64_t sector, uint32_t owner) {
    if (owner == kZero)
        std::memset(bytes, 0, kSectorSize);
    else if (owner == kForeign)
        std::memset(bytes, 0xee, kSectorSize);
    else
        fill_pattern(bytes, sector, 1, owner);
}

namespace {

std::string problem(const std::string& path) { return path + ": " + std::strerror(errno); }

std::string read_all(int descriptor, const std::string& path, uint64_t offset, unsigned char* bytes,
                     uint64_t length) {
    for (uint64_t done = 0; done < length;) {
        ssize_t got = pread(descriptor, bytes + done, length - done, static_cast<off_t>(offset + done));
        if (got <= 0)
            return got == 0 ? path + ": shorter than the geometry says" : problem(path);
        done += static_cast<uint64_t>(got);
    }
    return "";
}

}  // namespace

std::string load_content(const Geometry& geometry, const std::string& data_path,
                         const std::string& metadata_path, Content& content) {
    int data = open(data_path.c_str(), O_RDONLY | O_CLOEXEC);
    if (data < 0)
        return problem(data_path);
    content.sectors.assign(geometry.data_sectors, kZero);
    const off_t end = static_cast<off_t>(geometry.data_sectors * kSectorSize);
    for (off_t begin = lseek(data, 0, SEEK_DATA); begin >= 0 && begin < end;) {
        off_t hole = std::min(lseek(data, begin, SEEK_HOLE), end);
        std::vector<unsigned char> bytes(static_cast<size_t>(hole - begin));
        std::string error = read_all(data, data_path, static_cast<uint64_t>(begin), bytes.data(), bytes.size());
        if (!error.empty())
            return error;
        const uint64_t first = static_cast<uint64_t>(begin) / kSectorSize;
        for (uint64_t i = 0; i < bytes.size() / kSectorSize; i++)
            content.sectors[first + i] = identify(&bytes[i * kSectorSize], first + i);
        begin = hole < end ? lseek(data, hole, SEEK_DATA) : -1;
    }
    content.metadata.resize(geometry.metadata_bytes);
    std::string error;
    if (geometry.has_metadata) {
        const std::string& path = geometry.internal ? data_path : metadata_path;
        int metadata = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        error = metadata < 0 ? problem(path)
                             : read_all(metadata, path, geometry.metadata_begin,
                                        content.metadata.data(), geometry.metadata_bytes);
        close(metadata);
    }
    close(data);
    return error;
}

std::string StateFiles::open(const Geometry& geometry, const std::string& data_path,
                             const std::string& metadata_path, const Content& base) {
    geometry_ = geometry;
    written_ = base.sectors;
    data_ = ::open(data_path.c_str(), O_RDWR | O_CLOEXEC);
    if (data_ < 0)
        return problem(data_path);
    metadata_ = data_;
    if (geometry.has_metadata && !geometry.internal) {
        metadata_ = ::open(metadata_path.c_str(), O_RDWR | O_CLOEXEC);
        if (metadata_ < 0)
            return problem(metadata_path);
    }
    return "";
}

std::string StateFiles::write(const Content& content, const std::vector<uint32_t>& candidates) {
    std::vector<unsigned char> run;
    for (size_t i = 0; i < candidates.size();) {
        const uint32_t first = candidates[i];
        if (written_[first] == content.sectors[first]) {
            i++;
            continue;
        }
        run.clear();
        uint32_t sector = first;
        while (i < candidates.size() && candidates[i] == sector &&
               written_[sector] != content.sectors[sector]) {
            run.resize(run.size() + kSectorSize);
            regenerate(&run[run.size() - kSectorSize], sector, content.sectors[sector]);
            written_[sector] = content.sectors[sector];
            sector++;
            i++;
        }
        if (pwrite(data_, run.data(), run.size(), static_cast<off_t>(first * kSectorSize)) !=
            static_cast<ssize_t>(run.size()))
            return problem("state's data");
    }
    if (geometry_.has_metadata &&
        pwrite(metadata_, content.metadata.data(), geometry_.metadata_bytes,
               static_cast<off_t>(geometry_.metadata_begin)) !=
            static_cast<ssize_t>(geometry_.metadata_bytes))
        return problem("state's metadata");
    return "";
}

std::string StateFiles::read_metadata(std::vector<unsigned char>& bytes) const {
    bytes.resize(geometry_.metadata_bytes);
    return read_all(metadata_, "state's metadata", geometry_.metadata_begin, bytes.data(), bytes.size());
}

uint64_t StateFiles::first_difference(const Content& content,
                                      const std::vector<uint32_t>& candidates) const {
    std::vector<unsigned char> bytes;
    unsigned char expected[kSectorSize];
    for (size_t i = 0; i < candidates.size();) {
        const uint32_t first = candidates[i];
        uint32_t count = 0;
        while (i < candidates.size() && candidates[i] == first + count) {
            count++;
            i++;
        }
        bytes.resize(count * kSectorSize);
        if (pread(data_, bytes.data(), bytes.size(), static_cast<off_t>(first * kSectorSize)) !=
            static_cast<ssize_t>(bytes.size()))
            return first;
        for (uint32_t sector = first; sector < first + count; sector++) {
            regenerate(expected, sector, content.sectors[sector]);
            if (std::memcmp(&bytes[(sector - first) * kSectorSize], expected, kSectorSize) != 0)
                return sector;
        }
    }
    return kNever;
}

}  // namespace powercut
